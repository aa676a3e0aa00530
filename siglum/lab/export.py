"""Export a run as a bundle, which needs no torch; predict images with a run.

torch converts the network to ONNX; onnxruntime must reproduce torch's outputs for one and for
several images, or no bundle is written. Two exports of a run are the same bytes.
Shapes: N images, P planes, S the side of the square, K classes.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from siglum import stats
from siglum.config import Preprocess
from siglum.errors import RunError, SiglumError
from siglum.images.imageset import ImageSet
from siglum.lab.device import Device, choose_device
from siglum.lab.models import count_parameters
from siglum.lab.runs import Run
from siglum.lab.trainer import PART_NAMES, Data, load_data, predict_part
from siglum.lab.training import evaluate, normalise_batch, to_unit
from siglum.recogniser import bundle as bundles
from siglum.recogniser.bundle import Bundle, Card, ReferenceOutputs
from siglum.recogniser.calibration import Calibration
from siglum.recogniser.onnx import Network
from siglum.recogniser.predict import TOLERANCE, Recogniser, open_bundle, relative_error

BATCHES = (1, 7)  # images that are compared at once
NUM_REFERENCE = 4  # of the compared images are stored in the bundle
OPSET = 18  # of 2022; onnxruntime 1.14 and later


@dataclass(frozen=True)
class Exported:
    """A written bundle."""

    path: Path
    bundle: Bundle
    warning: str | None  # why its reference images are random


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
) -> Exported:
    """Write a run as a bundle, and open it again.

    Args:
        path: a new file.
        device: computes predictions that the run did not store; float32.
        checkpoint: "best", "last" or "lowest_loss"; by default the run's own.
        licence: of the bundle.

    Raises:
        RunError: if `path` exists, the network cannot be converted, or onnxruntime's outputs
            differ from torch's.
    """
    check_place(path)
    model, preprocess = run.model(checkpoint), run.preprocess
    data: Data | None = None
    warning = None
    try:
        data = load_data(run.config, run.classes)
    except SiglumError as error:
        warning = str(error)
    images, source = _reference_images(data, preprocess)
    logits = _torch_logits(model, images, preprocess)
    raw = to_onnx(model, preprocess, run.config.model)
    difference = _compare(Network(raw, preprocess), images, logits, run)
    predictions = {}
    for part in ("val", "test"):
        with contextlib.suppress(SiglumError):  # without that part, or without its images
            predictions[part] = predict_part(run, part, checkpoint, device)
    calibration = Calibration()
    if val := predictions.get("val"):
        temperature = stats.fit_temperature(val.log_probs, val.labels)
        calibration = Calibration(temperature=temperature, num_samples=len(val.labels))
    config, env = run.config, run.env
    card = Card(
        title=f"{config.model} trained on {config.data}",
        command=str(env.get("command", "")),
        network=config.model,
        parameters=count_parameters(model),
        data={"source": config.data, "test": config.test, "counts": env.get("counts", {})},
        settings={
            **config.model_dump(mode="json"),
            "checkpoint": checkpoint or config.checkpoint,
        },
        measured={
            part: stats.wilson(int((p.log_probs.argmax(axis=1) == p.labels).sum()), len(p.labels))
            for part, p in predictions.items()
        },
        reference=source,
        difference=difference,
        versions=versions(run),
        licence=licence,
    )
    bundle = Bundle(
        model=raw,
        preprocess=preprocess,
        classes=run.classes,
        calibration=calibration,
        card=card,
        reference=ReferenceOutputs(images[:NUM_REFERENCE], logits[:NUM_REFERENCE]),
    )
    open_bundle(bundle, path.name)
    bundles.save(bundle, path)
    return Exported(path, bundle, warning)


def check_place(path: Path) -> None:
    """Raise RunError if a new bundle cannot be written at `path`."""
    if path.suffix != bundles.SUFFIX:
        raise RunError(f"out must end in {bundles.SUFFIX}, got {str(path)!r}.")
    if path.exists():
        raise RunError(f"{path} already exists. Choose another name with -o.")


def versions(run: Run) -> dict[str, str]:
    """Return the versions of the packages that trained a run, and that export it."""
    exporting = {name: version(name) for name in ("onnx", "onnxscript", "onnxruntime")}
    return {**run.env.get("versions", {}), **exporting}


def to_onnx(model: nn.Module, preprocess: Preprocess, name: str, output: str = "logits") -> bytes:
    """Convert a network to ONNX: float32 (N, P, S, S) to (N, K), any N.

    Args:
        model: on the CPU, in evaluation mode.
        name: of the network, for messages.
        output: name of the output.

    Raises:
        RunError: if torch cannot convert it.
    """
    shape = (2, preprocess.planes, preprocess.size, preprocess.size)
    with warnings.catch_warnings(), _silent():
        warnings.simplefilter("ignore")  # torch's and onnxscript's own deprecations
        try:
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
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RunError(
                f"Cannot convert {name} to ONNX: {first[:300].rstrip('.')}. Write it without "
                "branches that depend on the images or their number."
            ) from error
    assert program is not None
    proto = program.model_proto
    _strip(proto)
    return bytes(proto.SerializeToString(deterministic=True))


def _strip(proto: Any) -> None:
    """Remove metadata: it names files of this machine."""
    proto.ClearField("metadata_props")
    proto.ClearField("doc_string")
    proto.graph.ClearField("metadata_props")
    proto.graph.ClearField("value_info")
    for part in (*proto.graph.node, *proto.graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for value in (*proto.graph.input, *proto.graph.output):
        value.ClearField("metadata_props")


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Silence the progress messages of torch and onnxscript."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _reference_images(data: Data | None, preprocess: Preprocess) -> tuple[NDArray[np.uint8], str]:
    """Return images to compare on, held out if there are any, and where they are from."""
    count = sum(BATCHES)
    parts = {} if data is None else {"val": data.val, "test": data.test, "train": data.train}
    for part, images in parts.items():
        if images is not None and len(images):
            rows = np.linspace(0, len(images) - 1, count).astype(int)
            return images.take(rows), PART_NAMES[part]
    shape = (count, preprocess.planes, preprocess.size, preprocess.size)
    return np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8), "random noise"


@torch.inference_mode()
def _torch_logits(
    model: nn.Module, images: NDArray[np.uint8], preprocess: Preprocess
) -> NDArray[np.float32]:
    batches = np.split(images, np.cumsum(BATCHES)[:-1])
    logits = [model(normalise_batch(to_unit(batch), preprocess)).float() for batch in batches]
    return torch.cat(logits).numpy()


def _compare(
    network: Network, images: NDArray[np.uint8], logits: NDArray[np.float32], run: Run
) -> float:
    """Return the largest difference between onnxruntime and torch, relative to the logits."""
    batches = np.split(images, np.cumsum(BATCHES)[:-1])
    error = relative_error(np.concatenate([network(batch) for batch in batches]), logits)
    if not error <= TOLERANCE:
        raise RunError(
            f"onnxruntime does not reproduce {run.path}: its outputs differ by {error:.2g} of the "
            f"largest logit, more than {TOLERANCE}. No bundle was written."
        )
    return error
