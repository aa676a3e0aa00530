"""Read pictures with a bundle.

Shapes: N pictures, P planes, S the side of the square, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.errors import DataError
from siglum.images.ink import PreprocessedFiles
from siglum.recogniser import bundle as bundles
from siglum.recogniser import decide
from siglum.recogniser.bundle import Bundle, Golden
from siglum.recogniser.decide import Reading
from siglum.recogniser.head import logits_of
from siglum.recogniser.network import Network
from siglum.recogniser.place import Places

TOLERANCE = 1e-4  # of the largest golden logit: float32 summed in another order stays below 1e-5


class Answer(NamedTuple):
    """What a network says of one picture file."""

    file: str
    answer: str
    probability: float  # in [0, 1]
    runner_up: str  # empty where there is one class only
    runner_up_probability: float  # in [0, 1]
    inverted: bool  # whether dark ink was made light
    may_be: tuple[str, ...]  # the prediction set: what it may be, the likeliest first
    none_of_these: bool  # whether it looks like none of the classes; `answer` is the nearest then
    doubts: tuple[str, ...]  # about the picture, in sentences; empty where its ink was not cut out


@dataclass(frozen=True, eq=False)
class Recogniser:
    """A bundle that was checked whole, with its network ready to run."""

    bundle: Bundle
    network: Network

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names, in label order."""
        return self.bundle.classes

    def logits(
        self, images: NDArray[np.uint8], places: Places | None = None
    ) -> NDArray[np.float32]:
        """Return float32 (N, K + M), M outsiders, for bytes (N, P, S, S), not calibrated yet.

        Args:
            places: (N, 3), of the ink in its picture; rows of NaN where it is not known.
        """
        head = self.bundle.head
        if not len(images):
            rows = len(self.classes) if head is None else len(head.vectors)
            return np.empty((0, rows), np.float32)
        outputs = self.network.run(images)
        return outputs if head is None else logits_of(outputs, head, places)

    def read(self, images: NDArray[np.uint8], places: Places | None = None) -> Reading:
        """Return calibrated probabilities, prediction sets and what is none of the classes.

        Where ink is cut out, a picture without any is none of them.
        """
        logits = self.logits(images, places)
        reading = decide.read(logits, self.bundle.calibration, len(self.classes))
        if self.bundle.preprocess.cuts_out:
            blank = ~images[:, 0].any(axis=(1, 2))
            reading = reading._replace(none=reading.none | blank)
        return reading


def load(path: Path, threads: int = 1) -> Recogniser:
    """Open a bundle, check all of it, and run it on its golden pictures.

    Args:
        threads: of the CPU; 0 for one a core.

    Raises:
        DataError: if it is no bundle, damaged, not allowed, or does not compute here what it
            computed where it was made.
    """
    return opened(bundles.read(path), path.name, threads)


def opened(bundle: Bundle, name: str, threads: int = 1) -> Recogniser:
    """Make a bundle ready and run it on its golden pictures; see `load`."""
    member = f"{bundles.MODEL} in {name}"
    network = Network(bundle.model, bundle.preprocess, threads, member)
    recogniser = Recogniser(bundle, network)
    if bundle.head is not None:
        width = network.run(bundle.golden.images[:1]).shape[1]
        if width != len(bundle.head.centre):
            raise DataError(
                f"{name} must have a network that gives the features its head takes "
                f"({len(bundle.head.centre)}), got {width}."
            )
    found = recogniser.logits(bundle.golden.images)
    if bundle.head is not None:
        found = found[:, : len(bundle.classes)]  # behind them come outsiders
    if found.shape != bundle.golden.logits.shape:
        raise DataError(
            f"{name} must name every output of its network once, got {len(bundle.classes)} names "
            f"for {found.shape[1]} outputs."
        )
    share, where = difference(found, bundle.golden)
    if not share <= TOLERANCE:
        raise DataError(
            f"{name} must compute here what it computed where it was made, to {TOLERANCE} of its "
            f"largest logit, got {share:.2g} {said(where, bundle.classes)}. Make it again."
        )
    return recogniser


def answers(seen: PreprocessedFiles, reading: Reading, classes: Sequence[str]) -> list[Answer]:
    """Name the likeliest class of each picture, the runner-up, and what it may be."""
    ranked = reading.probs.argsort(axis=1)[:, ::-1]
    found = []
    for row, (file, order) in enumerate(zip(seen.files, ranked, strict=True)):
        names = [classes[label] for label in order[:2]] + [""]
        chances = [float(reading.probs[row, label]) for label in order[:2]] + [0.0]
        may_be = tuple(classes[label] for label in order if reading.sets[row, label])
        none = bool(reading.none[row])
        found.append(
            Answer(
                file,
                names[0],
                chances[0],
                names[1],
                chances[1],
                seen.inverted[row],
                may_be,
                none,
                seen.warnings[row],
            )
        )
    return found


def difference(found: NDArray[np.floating], golden: Golden) -> tuple[float, tuple[int, int]]:
    """Return the largest difference from the golden logits, by the largest of them, and where.

    NaN where anything is not finite.
    """
    gap = np.abs(found.astype(np.float64) - golden.logits)
    where = np.unravel_index(int(np.argmax(gap)), gap.shape)  # NaN counts as the largest
    largest = max(float(np.abs(golden.logits).max()), float(np.finfo(np.float32).tiny))
    return float(gap[where]) / largest, (int(where[0]), int(where[1]))


def said(where: tuple[int, int], classes: Sequence[str]) -> str:
    """Say in words which logit is meant."""
    picture, label = where
    return f"at golden picture {picture + 1}, class {classes[label]!r}"
