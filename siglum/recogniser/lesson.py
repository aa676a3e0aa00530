"""What a recogniser is taught with: class names, and ink with what the backbone makes of it.

Shapes: N samples, K classes, S the side of the frame, D features.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.errors import ConfigError, DataError
from siglum.images.imageset import ImageSet
from siglum.images.ink import InkReport
from siglum.recogniser import backbone as backbones
from siglum.recogniser.bundle import Samples
from siglum.recogniser.predict import Recogniser

MOST = 10_000  # classes


@dataclass(frozen=True, eq=False)
class Lesson:
    """Classes and samples, with the features of each, so that adding one more is quick."""

    classes: tuple[str, ...]  # K
    samples: Samples  # of N drawings
    features: NDArray[np.float32]  # (N, D), each of length 1

    def __len__(self) -> int:
        return len(self.samples.labels)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Samples a class: (K,)."""
        return np.bincount(self.samples.labels, minlength=len(self.classes)).astype(np.int64)


class LeftOut(NamedTuple):
    """Numbers of pictures of a set that are no samples, or that contradict each other."""

    blank: tuple[int, ...]
    repeated: tuple[int, ...]
    contradicting: tuple[tuple[int, int], ...]  # equal to the pixel, and of two classes; both taken


def begin(backbone: Recogniser, classes: Sequence[str]) -> Lesson:
    """Return a lesson of some classes without samples.

    Raises:
        ConfigError: if there are fewer than two classes, too many, or one is named twice.
    """
    names = tuple(classes)
    commonest = Counter(names).most_common(1)
    if commonest and commonest[0][1] > 1:
        raise ConfigError(f"classes must be named once each, got {commonest[0][0]!r} twice.")
    if not 2 <= len(names) <= MOST:
        raise ConfigError(
            f"classes must be 2 to {MOST:,}, got {len(names)}. "
            "A recogniser tells signs apart, so name at least two."
        )
    size = backbone.bundle.preprocess.size
    nothing = Samples(
        np.empty((0, size, size), np.uint8), np.empty(0, np.int64), np.empty((0, 3), np.float32)
    )
    return Lesson(names, nothing, backbones.features(backbone, nothing.ink))


def added(
    backbone: Recogniser, lesson: Lesson, ink: NDArray[np.uint8], label: int, place: InkReport
) -> Lesson:
    """Return a lesson with one more sample: ink (S, S) of class `label`, and how it lay.

    Raises:
        DataError: if there is no ink.
    """
    if not ink.any():
        raise DataError(f"a sample of {lesson.classes[label]!r} must show ink, got none. Draw it.")
    placed = np.array([[place.height, place.width, place.position]], np.float32)
    return _with(backbone, lesson, ink[None], np.array([label]), placed)


def removed(lesson: Lesson, samples: Sequence[int]) -> Lesson:
    """Return a lesson without some samples, by their numbers."""
    stay = np.setdiff1d(np.arange(len(lesson)), np.array(samples, np.int64))
    old = lesson.samples
    return replace(
        lesson,
        samples=Samples(old.ink[stay], old.labels[stay], old.places[stay]),
        features=lesson.features[stay],
    )


def of_images(backbone: Recogniser, lesson: Lesson, images: ImageSet) -> tuple[Lesson, LeftOut]:
    """Return a lesson with the pictures of a set, whose classes are among the lesson's.

    Of pictures of one class that are equal to the pixel one is taken: the others say nothing new,
    and would vouch for each other where each is to be judged by the rest.

    Args:
        images: fitted as the backbone wants it, with planes of place behind the ink.

    Raises:
        DataError: if a class is not the lesson's, or no picture shows ink.
    """
    position = {name: label for label, name in enumerate(lesson.classes)}
    if unknown := [name for name in images.classes if name not in position]:
        raise DataError(
            f"{images.source} must hold only classes that are taught, got {unknown[0]!r}."
        )
    labels = np.array([position[name] for name in images.classes], np.int64)[images.labels]
    whole = images.images
    ink = whole[:, 0]
    blank = np.flatnonzero(~ink.any(axis=(1, 2)))
    if len(blank) == len(ink):
        raise DataError(f"{images.source} must show ink in its pictures, got none that does.")
    first: dict[bytes, dict[int, int]] = {}  # by ink and class, the first row of each
    repeated, contradicting = [], []
    for row in np.flatnonzero(ink.any(axis=(1, 2))).tolist():
        rows = first.setdefault(ink[row].tobytes(), {})
        label = int(labels[row])
        if label in rows:
            repeated.append(row)
            continue
        if rows:
            contradicting.append((next(iter(rows.values())), row))
        rows[label] = row
    good = np.setdiff1d(np.arange(len(ink)), [*blank, *repeated])
    places = whole[good][:, 1:, 0, 0].astype(np.float32) / np.float32(255.0)
    left_out = LeftOut(tuple(blank.tolist()), tuple(repeated), tuple(contradicting))
    return _with(backbone, lesson, ink[good], labels[good], places), left_out


def _with(
    backbone: Recogniser,
    lesson: Lesson,
    ink: NDArray[np.uint8],
    labels: NDArray[np.int64],
    places: NDArray[np.floating],
) -> Lesson:
    old = lesson.samples
    return replace(
        lesson,
        samples=Samples(
            np.concatenate([old.ink, ink]),
            np.concatenate([old.labels, labels.astype(np.int64)]),
            np.concatenate([old.places, places.astype(np.float32)]),
        ),
        features=np.concatenate([lesson.features, backbones.features(backbone, ink)]),
    )
