"""Prototype classifier: one vector per class, fitted to font prototypes and a few drawings.

Shapes: N images, K classes, M background classes, D features. Features have length 1.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siglum.recogniser.position import PositionPrior, Positions

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Head:
    """Last layer: `logits = scale * ((features - centre) @ vectors.T) + bias`.

    With `cosine`, the centred features are first scaled to length 1. The first K rows are the
    classes; the M rows after them are background classes, used to reject other signs.
    """

    vectors: NDArray[Any]  # float32, float16 or int8 (K + M, D)
    scale: Floats  # (K + M,)
    bias: Floats  # (K + M,)
    centre: Floats  # (D,)
    cosine: bool
    position: PositionPrior | None = None  # of the K classes

    @cached_property
    def unit_vectors(self) -> Floats:
        """The vectors, scaled to length 1: float32 (K + M, D)."""
        return unit(self.vectors.astype(np.float32))

    @cached_property
    def _columns(self) -> Floats:
        return np.ascontiguousarray(self.vectors.T, dtype=np.float32)

    def features(self, outputs: Floats) -> Floats:
        """Centre the network's outputs (N, D) and, with `cosine`, scale them to length 1."""
        centred = outputs - self.centre
        return unit(centred) if self.cosine else centred

    def logits(self, features: Floats, positions: Positions | None = None) -> Floats:
        """Return float32 (N, K + M) for features (N, D) and the ink's positions (N, 3)."""
        logits = features @ self._columns * self.scale + self.bias
        if self.position is not None and positions is not None:
            logits[:, : len(self.position.mean)] += self.position.logits(positions)
        return logits.astype(np.float32)


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """Prototypes and the logits of each sample under a fit without that sample."""

    prototypes: Floats  # (K, D), each of length 1
    loo_logits: Floats  # (N, K); -inf at the own class if that would have nothing left


def ridge(
    features: Floats, labels: Labels, font_prototypes: Floats, penalty: float, scale: float
) -> RidgeFit:
    """Fit least squares towards 1 for the own class and 0 for others, shrunk towards the fonts.

    The vectors are then scaled to length 1, as font prototypes are: classes with samples would
    otherwise score higher than classes without.

    Args:
        features: (N, D).
        labels: (N,), in [0, K).
        font_prototypes: (K, D); rows of zeros where fonts do not have the class.
        penalty: strength of the shrinkage, in samples.
        scale: of the cosines.

    Source: Hastie, Tibshirani, Friedman 2009, "The elements of statistical learning", sections
    3.4.1 and 7.10.1 (equation 7.64: leave-one-out predictions in closed form).
    """
    x = features.astype(np.float64)
    prior = font_prototypes.astype(np.float64)
    targets = np.zeros((len(x), len(prior)))
    targets[np.arange(len(x)), labels] = 1
    gram = x.T @ x + penalty * np.eye(x.shape[1])
    solution = np.linalg.inv(gram) @ x.T  # (D, N); the penalty keeps this well-conditioned
    vectors = prior + (solution @ (targets - x @ prior.T)).T
    # Without sample n, each vector loses `step[n]` times column n of `solution`.
    leverage, logits = (x * solution.T).sum(axis=1)[:, None], x @ vectors.T
    step = (targets - logits) / np.maximum(1 - leverage, 1e-9)
    logits -= leverage * step
    squared = (vectors**2).sum(axis=1) - 2 * step * (solution.T @ vectors.T)
    squared += (solution**2).sum(axis=0)[:, None] * step**2
    loo_logits = logits / np.sqrt(np.maximum(squared, 1e-12))
    single = np.bincount(labels, minlength=len(prior))[labels] == 1
    rows = np.flatnonzero(single & ~prior[labels].any(axis=1))
    loo_logits[rows, labels[rows]] = -np.inf
    return RidgeFit(unit(vectors), (scale * loo_logits).astype(np.float32))


def unit(rows: NDArray[np.floating]) -> Floats:
    """Scale rows to length 1; rows of zeros stay zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Floats = (rows / np.maximum(length, 1e-12)).astype(np.float32)
    return scaled


def quantize(vectors: Floats, scale: float = 1.0) -> tuple[NDArray[np.int8], Floats]:
    """Quantize rows (K, D) to int8, and return the scale (K,) that restores `scale * vectors`.

    The error is at most 1 / 254 of the largest number of the row.
    """
    largest = np.maximum(np.abs(vectors).max(axis=1), np.finfo(np.float32).tiny)
    rows = np.rint(vectors * (127 / largest)[:, None]).astype(np.int8)
    return rows, (scale * largest / 127).astype(np.float32)
