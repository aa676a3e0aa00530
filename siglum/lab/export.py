"""Export a run as a bundle, which needs no torch; predict images with a run.

torch converts the network to ONNX; onnxruntime must reproduce torch's outputs for one and for
several images, or no bundle is written. Two exports of a run are the same bytes.
Shapes: N images, P planes, S the side of the square, K classes.
"""

import contextlib
import io
import logging
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from siglum import stats
from siglum.config import Preprocess
from siglum.errors import RunError, SiglumError, first_line
from siglum.images.imageset import ImageSet
from siglum.lab.device import Device, choose_device
from siglum.lab.models import count_parameters
from siglum.lab.run_folder import Run
from siglum.lab.train_run import predict_part
from siglum.lab.training_loop import evaluate, normalise_batch, to_unit
from siglum.recogniser import bundle as bundles
from siglum.recogniser.bundle import Bundle, Card, ReferenceOutputs
from siglum.recogniser.calibration import Calibration
from siglum.recogniser.onnx import Network
from siglum.recogniser.predict import TOLERANCE, Recogniser, open_bundle, relative_error

BATCHES = (1, 7)  # images that are compared at once
NUM_REFERENCE = 4  # of the compared images are stored in the bundle
EXPORTERS = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18  # of 2022; onnxruntime 1.14 and later


def open_run(run: Run, device: Device | None = None, checkpoint: str | None = None) -> Recogniser:
    """Return a run's network as a recogniser; its probabilities are not calibrated."""
    device = device or choose_device(precision="float32")
    model, preprocess = device.to(run.model(checkpoint)), run.preprocess

    def network(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batch = ImageSet.from_arrays(images, np.zeros(len(images), int), run.classes)
        return evaluate(model, batch, preprocess, device)

    none = ReferenceOutputs(np.empty(0, np.uint8), np.empty(0, np.float32))
    bundle = Bundle(b"", preprocess, run.classes, Calibration(), Card(), none)
    return Recogniser(bundle, network)


def export(
    run: Run, path: Path, device: Device, checkpoint: str | None = None, licence: str = ""
) -> Bundle:
    """Write a run as a bundle at `path`, a new file, and open it again.

    `device` computes predictions that the run did not store. Raises RunError if onnxruntime's
    outputs differ from torch's.
    """
    bundles.check_new(path)
    model, preprocess, config, env = run.model(checkpoint), run.preprocess, run.config, run.env
    shape = (sum(BATCHES), preprocess.planes, preprocess.size, preprocess.size)
    images = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    raw = to_onnx(model, preprocess, config.model)
    logits, difference = compare_onnx(model, raw, preprocess, images)
    if not difference <= TOLERANCE:
        problem = f"its outputs differ by {difference:.2g} of the largest logit, more than"
        reason = f"{problem} {TOLERANCE}. No bundle was written."
        raise RunError(f"onnxruntime does not reproduce {run.path}: {reason}")
    measured, calibration = {}, Calibration()
    for part in ("val", "test"):
        with contextlib.suppress(SiglumError):  # without that part, or without its images
            _, log_probs, labels = predict_part(run, part, checkpoint, device)
            measured[part] = stats.measure(log_probs, labels, len(run.classes)).accuracy
            if part == "val":
                temperature = stats.fit_temperature(log_probs, labels)
                calibration = Calibration(temperature=temperature, num_samples=len(labels))
    card = Card(
        title=f"{config.model} trained on {config.data}",
        command=env["command"],
        network=config.model,
        parameters=count_parameters(model),
        data={"source": config.data, "test": config.test, "counts": env["counts"]},
        settings=config.model_dump(mode="json") | {"checkpoint": checkpoint or config.checkpoint},
        measured=measured,
        reference="random noise",
        difference=difference,
        versions={**env["versions"], **{name: version(name) for name in EXPORTERS}},
        licence=licence,
    )
    reference = ReferenceOutputs(images[:NUM_REFERENCE], logits[:NUM_REFERENCE])
    bundle = Bundle(raw, preprocess, run.classes, calibration, card, reference)
    open_bundle(bundle, path.name)
    bundles.save(bundle, path)
    return bundle


def compare_onnx(
    model: nn.Module, raw: bytes, preprocess: Preprocess, images: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], float]:
    """Return PyTorch's outputs for sum(BATCHES) images, and how far onnxruntime's are off."""
    batches = np.split(images, np.cumsum(BATCHES)[:-1])
    with torch.inference_mode():
        outputs = [model(normalise_batch(to_unit(batch), preprocess)).float() for batch in batches]
    expected, network = torch.cat(outputs).numpy(), Network(raw, preprocess)
    outputs_onnx = np.concatenate([network(batch) for batch in batches])
    return expected, relative_error(outputs_onnx, expected)


def to_onnx(model: nn.Module, preprocess: Preprocess, name: str, output: str = "logits") -> bytes:
    """Convert a network on the CPU, in evaluation mode, to ONNX: (N, P, S, S) to (N, K), any N."""
    shape = (2, preprocess.planes, preprocess.size, preprocess.size)
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # torch's and onnxscript's own deprecations
            program = torch.onnx.export(
                model,
                (torch.zeros(shape),),
                dynamo=True,
                input_names=["images"],
                output_names=[output],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # a user's own network may do anything
        problem = f"Cannot convert {name} to ONNX: {first_line(error)[:300]}."
        remedy = "Write it without branches that depend on the images or their number."
        raise RunError(f"{problem} {remedy}") from error
    finally:
        logging.disable(disabled)
    assert program is not None
    proto: Any = program.model_proto
    # Metadata names files of this machine.
    nodes = (*proto.graph.node, *proto.graph.initializer)
    for part in (proto, proto.graph, *nodes, *proto.graph.input, *proto.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    proto.graph.ClearField("value_info")
    return bytes(proto.SerializeToString(deterministic=True))
