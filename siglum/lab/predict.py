"""Read picture files with a run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from siglum.images.decode import Unreadable
from siglum.images.imageset import ImageSet
from siglum.images.ink import preprocess_files
from siglum.lab.device import Device
from siglum.lab.runs import Run
from siglum.lab.training import evaluate
from siglum.recogniser import decide
from siglum.recogniser.predict import Answer, answers


def predict(
    run: Run, files: Sequence[Path], machine: Device, weights: str | None = None
) -> tuple[list[Answer], tuple[Unreadable, ...]]:
    """Answer for every file that can be read, in order; and say which cannot, and why."""
    preprocess, classes = run.preprocess, run.classes
    seen = preprocess_files(files, preprocess)
    if not seen.files:
        return [], seen.unreadable
    reading = decide.plain(probs(run, seen.images, machine, weights))
    return answers(seen, reading, classes), seen.unreadable


def probs(
    run: Run, images: NDArray[np.uint8], machine: Device, weights: str | None = None
) -> NDArray[np.floating]:
    """Return probabilities (N, K) for bytes (N, P, S, S) that are as the network sees them."""
    batch = ImageSet.from_arrays(images, np.zeros(len(images), int), run.classes)
    model = machine.to(run.model(weights))
    return np.exp(evaluate(model, batch, run.preprocess, machine))
