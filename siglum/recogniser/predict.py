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
from siglum.images.files import Fitted, fitted
from siglum.images.listing import Unreadable
from siglum.recogniser import bundle as bundles
from siglum.recogniser.bundle import Bundle, Golden
from siglum.recogniser.head import logits_of
from siglum.recogniser.network import Network

TOLERANCE = 1e-4  # of the largest golden logit: float32 summed in another order stays below 1e-5


class Answer(NamedTuple):
    """What a network says of one picture file."""

    file: str
    answer: str
    probability: float  # in [0, 1]
    runner_up: str  # empty where there is one class only
    runner_up_probability: float  # in [0, 1]
    inverted: bool  # whether dark ink was made light


@dataclass(frozen=True, eq=False)
class Recogniser:
    """A bundle that was checked whole, with its network ready to run."""

    bundle: Bundle
    network: Network

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names, in label order."""
        return self.bundle.classes

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 (N, K) for bytes (N, P, S, S), before they are calibrated."""
        outputs = self.network.run(images)
        return outputs if self.bundle.head is None else logits_of(outputs, self.bundle.head)

    def probs(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return calibrated probabilities, float64 (N, K), for bytes (N, P, S, S)."""
        if not len(images):
            return np.empty((0, len(self.classes)))
        scaled = self.logits(images).astype(np.float64) / self.bundle.calibration.temperature
        likely = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return likely / likely.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


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


def predict(
    recogniser: Recogniser, files: Sequence[Path]
) -> tuple[list[Answer], tuple[Unreadable, ...]]:
    """Answer for every file that can be read, in order; and say which cannot, and why."""
    seen = fitted(files, recogniser.bundle.preprocess)
    probs = recogniser.probs(seen.images)
    return answers(seen, probs, recogniser.classes), seen.unreadable


def answers(seen: Fitted, probs: NDArray[np.floating], classes: Sequence[str]) -> list[Answer]:
    """Name the likeliest class and the runner-up of each picture, by probabilities (N, K)."""
    ranked = probs.argsort(axis=1)[:, ::-1][:, :2]
    return [
        Answer(
            file,
            classes[best[0]],
            float(row[best[0]]),
            classes[best[1]] if len(best) > 1 else "",
            float(row[best[1]]) if len(best) > 1 else 0.0,
            light,
        )
        for file, light, row, best in zip(seen.files, seen.inverted, probs, ranked, strict=True)
    ]


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
