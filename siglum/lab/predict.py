"""Read picture files with a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

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


def predict(
    run: Run, files: Sequence[Path], machine: Machine, weights: str | None = None
) -> tuple[list[Answer], list[Unreadable]]:
    """Answer for every file that can be read, in order; and say which cannot, and why.

    Each picture's ink is judged by itself: most of a light border means dark ink.
    """
    preprocess, fitted, read = run.preprocess, [], []
    unreadable: list[Unreadable] = []
    for file in files:
        try:
            image = _read(file, preprocess.channels)
        except DataError as error:
            unreadable.append((str(file), str(error)))
            continue
        light = pictures.on_light_paper(image[None])
        square = normalise.planes(image, preprocess)
        fitted.append(255 - square if pictures.inverted(light, preprocess)[0] else square)
        read.append((str(file), preprocess.ink == "light" and bool(light[0])))
    if not read:
        return [], unreadable
    classes = run.classes
    batch = ImageSet.of(np.stack(fitted), np.zeros(len(read), int), classes)
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
        for (file, light), row, (first, second) in zip(read, probs, ranked[:, :2], strict=True)
    ], unreadable


def _read(file: Path, channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if not file.is_file():
        raise DataError("is no file" if file.exists() else "is not there")
    try:
        with file.open("rb") as opened:
            return pictures.decode(opened.read(pictures.MAX_BYTES + 1), channels)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from None
