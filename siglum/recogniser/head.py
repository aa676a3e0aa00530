"""The few-shot head: logits of classes, from features and the vectors of the classes.

A class may have several shapes, such as σ and ς: each has a prototype. The fonts and the drawings
of a class are vectors of it, too, so that a drawing far from the mean is recognised again.
A prior of size and position separates `o` from `O` where samples come from one kind of paper; it
never rejects an image. A position is (height, width, centre) of the ink in image heights, as in
`InkReport`; values above 1 count as 1; NaN where unknown.
Shapes: N samples, K classes, R vectors of them, M background classes, D features of length 1.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Logits = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class PositionPrior:
    """Where the ink of each class usually is, and how much that counts."""

    mean: Floats  # (K, 3)
    std: Floats  # (3,), above 0
    gain: float  # from 0 to 1

    def logits(self, positions: Floats) -> Floats:
        """Return (N, K): 0 for the nearest class, below 0 for others; 0 for unknown positions."""
        offset = (np.clip(positions, 0, 1)[:, None] - self.mean) / self.std  # (N, K, 3)
        return (self.gain * student_t(offset)).astype(np.float32)


def student_t(offset: Logits) -> Logits:
    """Log density (N, K) with two degrees of freedom: far from all classes, it hardly differs."""
    distance = (offset**2).sum(axis=2)
    log_density = np.nan_to_num(-2.5 * np.log1p(distance / 2))  # (degrees + 3) / 2 = 2.5
    return np.asarray(log_density - log_density.max(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Mixture:
    """Several vectors per class: its logit is a soft maximum of theirs."""

    counts: Labels  # (K,): the vectors of each class, in label order
    softness: float  # above 0

    def pool(self, logits: Logits) -> Logits:
        """Return logits (N, K + M) for those of the classes' vectors and of others (N, R + M)."""
        rows = self.counts.sum()
        logits, others = logits[:, :rows], logits[:, rows:]
        highest = logits.max(axis=1, keepdims=True)
        powers = logits - highest
        powers /= self.softness
        np.exp(powers, out=powers)
        sums = np.add.reduceat(powers, np.cumsum(self.counts) - self.counts, axis=1)
        with np.errstate(divide="ignore"):  # far below the highest it is -inf
            return np.hstack([highest + self.softness * np.log(sums), others])


@dataclass(frozen=True, eq=False)
class Head:
    """Computes `scale * (unit(outputs - centre) @ vectors.T) + bias`.

    Its V rows are R vectors of K classes, and M background classes.
    """

    vectors: NDArray[Any]  # float32, float16 or int8 (V, D)
    scale: Floats  # (V,)
    bias: Floats  # (V,)
    centre: Floats  # (D,)
    position: PositionPrior | None = None  # of the K classes
    mixture: Mixture | None = None  # None: one vector per class

    @cached_property
    def unit_vectors(self) -> Floats:
        """The vectors, scaled to length 1: float32 (V, D)."""
        return unit(self.vectors.astype(np.float32))

    @cached_property
    def _columns(self) -> Floats:
        return np.ascontiguousarray(self.vectors.T, dtype=np.float32)

    def features(self, outputs: Floats) -> Floats:
        """Centre the network's outputs (N, D), and scale them to length 1."""
        return unit(outputs - self.centre)

    def logits(self, features: Floats, positions: Floats | None = None) -> Floats:
        """Return float32 (N, K + M) for features (N, D) and the ink's positions (N, 3)."""
        return self.logits_and_nearest(features, positions)[0]

    def logits_and_nearest(
        self, features: Floats, positions: Floats | None = None
    ) -> tuple[Floats, Floats | None]:
        """Return the logits, and the similarity (N,) to the nearest vector of a class.

        With one vector per class it is None; the largest logit says the same.
        """
        logits, nearest = features @ self._columns * self.scale, None
        if self.mixture is not None:
            nearest = logits[:, : self.mixture.counts.sum()].max(axis=1)
        logits += self.bias
        if self.mixture is not None:
            logits = self.mixture.pool(logits)
        if self.position is not None and positions is not None:
            logits[:, : len(self.position.mean)] += self.position.logits(positions)
        return logits.astype(np.float32), nearest


def unit(rows: Logits) -> Floats:
    """Scale rows to length 1; rows of zeros stay zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-12), np.float32)


def to_int8(rows: NDArray[Any]) -> tuple[NDArray[np.int8], Floats]:
    """Return rows (N, D) as int8, and what to multiply each by (N,).

    The error is at most 1 / 254 of the largest number of a row.
    """
    scale = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny) / 127
    return np.rint(rows / scale[:, None]).astype(np.int8), scale.astype(np.float32)
