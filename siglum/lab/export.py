"""A run as a bundle, which needs no torch to be used.

torch writes the network as ONNX; onnxruntime must then give what torch gives, on real pictures, one
at a time and several at once, or there is no bundle. Two exports of a run are the same bytes.
Shapes: M golden pictures, P planes, S the side of the square, K classes.
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
from siglum.lab.device import Device
from siglum.lab.models import count_parameters
from siglum.lab.runs import Run
from siglum.lab.trainer import Data, load_data
from siglum.lab.training import evaluate, normalise_batch, to_unit
from siglum.recogniser import bundle as bundles
from siglum.recogniser.bundle import Bundle, Card, ReferenceOutputs
from siglum.recogniser.calibration import Calibration
from siglum.recogniser.onnx import Network
from siglum.recogniser.predict import TOLERANCE, open_bundle, relative_error

BATCHES = (1, 7)
KEPT = 4  # of the golden pictures that were compared
OPSET = 18  # of 2022; onnxruntime 1.14 and later compute it
WORDS = {"val": "validation", "test": "test", "train": "training"}
RANDOM = "random noise"

Predictions = tuple[NDArray[np.floating], NDArray[np.integer]]  # log-probabilities (N, K), labels


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    bundle: Bundle
    warning: str | None  # why its golden pictures are no real ones


def export(
    run: Run, path: Path, machine: Device, weights: str | None = None, licence: str = ""
) -> Exported:
    """Write a run as a bundle, and open it again as anybody would.

    Args:
        path: where no file is yet.
        machine: that computes what the run did not keep; float32.
        weights: "best" or "last"; by default what the run stands for.
        licence: under which the bundle may be used.

    Raises:
        RunError: if `path` exists, the network cannot be written as ONNX, or onnxruntime gives
            something else than torch.
    """
    check_place(path)
    model, preprocess = run.model(weights), run.preprocess
    data, warning = _pictures(run)
    images, golden_are = _golden(data, preprocess)
    logits = _by_torch(model, images, preprocess)
    raw = to_onnx(model, preprocess, run.config.model)
    largest = _compare(Network(raw, preprocess), ReferenceOutputs(images, logits), run)
    predictions = _predictions(run, model, weights, data, machine)
    bundle = Bundle(
        model=raw,
        preprocess=preprocess,
        classes=run.classes,
        calibration=_calibration(predictions.get("val")),
        card=_card(run, model, weights, predictions, golden_are, largest, licence),
        reference=ReferenceOutputs(images[:KEPT], logits[:KEPT]),
    )
    open_bundle(bundle, path.name)
    bundles.save(bundle, path)
    return Exported(path, bundle, warning)


def check_place(path: Path) -> None:
    """Raise RunError where no new bundle can be written at `path`."""
    if path.suffix != bundles.SUFFIX or path.exists():
        found = "one that exists" if path.exists() else path.name
        raise RunError(
            f"out must be a new file that ends in {bundles.SUFFIX}, got {found}. "
            "Choose another with -o."
        )


def to_onnx(model: nn.Module, preprocess: Preprocess, name: str, output: str = "logits") -> bytes:
    """Return a network as ONNX: float32 (N, P, S, S) to (N, K), N free.

    Args:
        model: on the CPU, in evaluation mode.
        name: of the network, for messages.
        output: what it gives.

    Raises:
        RunError: if torch cannot write it.
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
        except Exception as error:  # a network of one's own may do anything
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RunError(
                f"{name} must be a network that torch can write as ONNX with any number of "
                f"pictures, got {first[:300]!r}. Write it without branches that depend on the "
                "pictures or on their number."
            ) from error
    assert program is not None
    proto = program.model_proto
    _strip(proto)
    return bytes(proto.SerializeToString(deterministic=True))


def _strip(proto: Any) -> None:
    """Remove what computes nothing; it names files and lines of the machine it was made on."""
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
    """Keep torch's and onnxscript's reports of their progress off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _pictures(run: Run) -> tuple[Data | None, str | None]:
    """Return the run's pictures, or why they cannot be read any more."""
    try:
        return load_data(run.config, run.classes), None
    except SiglumError as error:
        return None, str(error)


def _golden(data: Data | None, preprocess: Preprocess) -> tuple[NDArray[np.uint8], str]:
    """Return pictures to compare on, spread over a part of the run's data, and what they are."""
    count = sum(BATCHES)
    for part, images in _parts(data).items():
        spread = np.linspace(0, len(images) - 1, count).astype(int)
        return images.take(spread), f"{WORDS[part]} pictures"
    shape = (count, preprocess.planes, preprocess.size, preprocess.size)
    return np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8), RANDOM


def _parts(data: Data | None) -> dict[str, ImageSet]:
    """Return the parts of a run's pictures that there are, those held out first."""
    if data is None:
        return {}
    parts = {"val": data.val, "test": data.test, "train": data.train}
    return {part: images for part, images in parts.items() if images is not None and len(images)}


@torch.inference_mode()
def _by_torch(
    model: nn.Module, images: NDArray[np.uint8], preprocess: Preprocess
) -> NDArray[np.float32]:
    batches = np.split(images, np.cumsum(BATCHES)[:-1])
    logits = [model(normalise_batch(to_unit(batch), preprocess)).float() for batch in batches]
    return torch.cat(logits).numpy()


def _compare(network: Network, golden: ReferenceOutputs, run: Run) -> float:
    """Return the largest difference of onnxruntime from torch, by the largest logit.

    Raises:
        RunError: if it is above `TOLERANCE`.
    """
    batches = np.split(golden.images, np.cumsum(BATCHES)[:-1])
    found = np.concatenate([network.run(batch) for batch in batches])
    share = relative_error(found, golden.logits)
    if not share <= TOLERANCE:
        raise RunError(
            f"{run.path} must give the same by onnxruntime as by torch, to {TOLERANCE} of its "
            f"largest logit, got {share:.2g}. There is no bundle."
        )
    return share


def _predictions(
    run: Run, model: nn.Module, weights: str | None, data: Data | None, machine: Device
) -> dict[str, Predictions]:
    """Return what these weights say of the run's validation and test pictures, where there are.

    What the run kept is of the weights that it stands for; for others it is computed.
    """
    if run.result is not None and weights in (None, run.config.checkpoint):
        kept = run.predictions()
        return {
            part: (kept[f"{part}_log_probs"], kept[f"{part}_labels"])
            for part in ("val", "test")
            if f"{part}_labels" in kept
        }
    placed = machine.to(model)
    return {
        part: (evaluate(placed, images, run.preprocess, machine), images.labels)
        for part, images in _parts(data).items()
        if part != "train"
    }


def _calibration(predictions: Predictions | None) -> Calibration:
    if predictions is None:
        return Calibration()
    log_probs, labels = predictions
    temperature = stats.fit_temperature(log_probs, labels)
    return Calibration(temperature=temperature, num_samples=len(labels))


def _card(
    run: Run,
    model: nn.Module,
    weights: str | None,
    predictions: dict[str, Predictions],
    golden_are: str,
    largest: float,
    licence: str,
) -> Card:
    config, env = run.config, run.env
    measured = {}
    for part, (log_probs, labels) in predictions.items():
        measured[part] = stats.wilson(int((log_probs.argmax(axis=1) == labels).sum()), len(labels))
    return Card(
        title=f"{config.model} trained on {config.data}",
        command=str(env.get("command", "")),
        network=config.model,
        parameters=count_parameters(model),
        data={"source": config.data, "test": config.test, "counts": env.get("counts", {})},
        settings={**config.model_dump(mode="json"), "checkpoint": weights or config.checkpoint},
        measured=measured,
        reference=golden_are,
        difference=largest,
        versions=versions(run),
        licence=licence,
    )


def versions(run: Run) -> dict[str, str]:
    """Return the versions of what made a run, and of what exports it."""
    exporting = {name: version(name) for name in ("onnx", "onnxscript", "onnxruntime")}
    return {**run.env.get("versions", {}), **exporting}
