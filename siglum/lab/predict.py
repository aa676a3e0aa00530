"""Read picture files with a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.images import normalise, pictures
from siglum.images.imageset import ImageSet
from siglum.images.listing import Unreadable
from siglum.lab.device import Machine
from siglum.lab.runs import Run
from siglum.lab.training import evaluate


class Answer(NamedTuple):
    """What a network says of one picture file."""

    file: str
    answer: str
    probability: float  # in [0, 1]
    runner_up: str
    runner_up_probability: float  # in [0, 1]
    inverted: bool  # whether dark ink was made light


class Fitted(NamedTuple):
    """Picture files as a network sees them, and those that cannot be read."""

    images: NDArray[np.uint8]  # (N, P, S, S), P planes
    files: tuple[str, ...]  # N names
    inverted: tuple[bool, ...]  # N times: whether dark ink was made light
    unreadable: tuple[Unreadable, ...]


def fitted(files: Sequence[Path], preprocess: Preprocess) -> Fitted:
    """Read files, each judged by itself: most of a light border means dark ink."""
    squares, names, inverted = [], [], []
    unreadable: list[Unreadable] = []
    for file in files:
        try:
            image = _read(file, preprocess.channels)
        except DataError as error:
            unreadable.append((str(file), str(error)))
            continue
        light = pictures.on_light_paper(image[None])
        square = normalise.planes(image, preprocess)
        squares.append(255 - square if pictures.inverted(light, preprocess)[0] else square)
        names.append(str(file))
        inverted.append(preprocess.ink == "light" and bool(light[0]))
    empty = np.empty((0, preprocess.planes, preprocess.size, preprocess.size), np.uint8)
    images = np.stack(squares) if squares else empty
    return Fitted(images, tuple(names), tuple(inverted), tuple(unreadable))


def predict(
    run: Run, files: Sequence[Path], machine: Machine, weights: str | None = None
) -> tuple[list[Answer], tuple[Unreadable, ...]]:
    """Answer for every file that can be read, in order; and say which cannot, and why."""
    preprocess, classes = run.preprocess, run.classes
    seen = fitted(files, preprocess)
    if not seen.files:
        return [], seen.unreadable
    batch = ImageSet.of(seen.images, np.zeros(len(seen.files), int), classes)
    model = machine.place(run.model(weights))
    probs = np.exp(evaluate(model, batch, preprocess, machine))  # (N, K)
    ranked = probs.argsort(axis=1)[:, ::-1]
    return [
        Answer(
            file,
            classes[first],
            float(row[first]),
            classes[second],
            float(row[second]),
            light,
        )
        for file, light, row, (first, second) in zip(
            seen.files, seen.inverted, probs, ranked[:, :2], strict=True
        )
    ], seen.unreadable


def _read(file: Path, channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if not file.is_file():
        raise DataError("is no file" if file.exists() else "is not there")
    try:
        with file.open("rb") as opened:
            return pictures.decode(opened.read(pictures.MAX_BYTES + 1), channels)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from None
