"""Whether self-attention relates the upper and the lower curve of a 3.

Of every picture the cells with ink are found. The rows of their box are halved, the middle one of
an odd number belonging to neither half; the curves are the ink of the upper and of the lower half
in the right half of the box, its middle column included. That is where the two bellies of a 3 lie,
whatever its size and place; it says nothing of signs that are built otherwise. What flows is the
mean weight from a cell of one curve to a cell of the other, both ways, as times an even share. It
is laid beside the mean weight between other cells with ink that are as far apart: cells may attend
to each other because both have ink, or because of where they lie; that relates no curves.
Shapes: N pictures, L layers, A heads, T tokens, a cell each, row by row; S the side of the picture.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.lab.examine.attention import attention

INK = 0.5  # a pixel is ink above it, of the strongest ink: a thin stroke grows pale when shrunk
LEAST = 0.05  # share of a cell's pixels that are ink, for the cell to have ink
DRAWS = 10_000  # of the bootstrap
AT_ONCE = 8  # pictures that the network is shown in one call

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curves:
    """The cells of one picture."""

    ink: NDArray[np.bool_]  # (T,)
    upper: NDArray[np.bool_]  # (T,), right-hand ink of the upper half
    lower: NDArray[np.bool_]  # (T,)


@dataclass(frozen=True, eq=False)
class Flows:
    """What flows in N pictures, in times an even share."""

    between: Floats  # (N, L, A), from curve to curve
    matched: Floats  # (N, L, A), the same where there are other pairs as far apart
    beside: Floats  # (N, L, A), between those other pairs of cells with ink


@dataclass(frozen=True, eq=False)
class Ratio:
    """A ratio of means over the pictures, for every layer and head."""

    value: Floats  # (L, A)
    low: Floats  # (L, A), of 95 % intervals that hold for all heads together
    high: Floats  # (L, A)


def curves(picture: NDArray[np.floating], side: int, cell: int) -> Curves | None:
    """Return the curves of a picture; None if one of them has no cell.

    Args:
        picture: (S, S), ink in [0, 1].
        side: cells a side; T is its square.
        cell: px a side of a cell; what lies beyond the last cell is left out.
    """
    dark = picture[: side * cell, : side * cell] > INK * picture.max()
    inked = dark.reshape(side, cell, side, cell).mean(axis=(1, 3)) >= LEAST
    if not inked.any():
        return None
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    middle, centre = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    row, column = np.indices((side, side))
    right = inked & (column >= centre)
    upper, lower = right & (row < middle), right & (row > middle)
    if not upper.any() or not lower.any():
        return None
    return Curves(inked.ravel(), upper.ravel(), lower.ravel())


def flow(weights: NDArray[np.floating], found: Curves) -> tuple[Floats, Floats, Floats]:
    """Return `between`, `matched` and `beside` of one picture, each (L, A).

    Pairs are matched by their distance: every distance counts as often as the curves have it. The
    last two are NaN where no distance has other pairs.

    Args:
        weights: (L, A, T, T), of `attention`.
    """
    tokens = weights.shape[-1]
    row, column = np.divmod(np.arange(tokens), isqrt(tokens))
    apart = (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2  # squared, so whole
    pairs = np.outer(found.upper, found.lower)
    pairs |= pairs.T
    others = np.outer(found.ink, found.ink) & ~pairs & (apart > 0)
    shares = weights.astype(np.float64) * tokens
    distances = [d for d in np.unique(apart[pairs]) if (others & (apart == d)).any()]
    empty = np.full(weights.shape[:2], np.nan)
    matched, beside, total = np.zeros_like(empty), np.zeros_like(empty), 0
    for distance in distances:
        here, there = pairs & (apart == distance), others & (apart == distance)
        count = int(here.sum())
        matched += shares[..., here].sum(axis=-1)
        beside += count * shares[..., there].mean(axis=-1)
        total += count
    between = shares[..., pairs].mean(axis=-1)
    return between, matched / total if total else empty, beside / total if total else empty


def flows(model: nn.Module, images: Tensor, found: list[Curves]) -> Flows:
    """Return what flows in every picture.

    Args:
        model: with attention; it is switched to evaluation.
        images: float32 (N, C, S, S), as the network sees them.
        found: N, of the same pictures.
    """
    rows: list[tuple[Floats, Floats, Floats]] = []
    for start in range(0, len(images), AT_ONCE):
        weights = attention(model, images[start : start + AT_ONCE]).cpu().numpy()
        for index in range(weights.shape[1]):
            rows.append(flow(weights[:, index], found[start + index]))
    between, matched, beside = (np.stack(column) for column in zip(*rows, strict=True))
    return Flows(between, matched, beside)


def ratio(above: Floats, below: Floats | None = None, seed: int = 0) -> Ratio:
    """Return mean(above) / mean(below) over the pictures, with intervals.

    Pictures are drawn again with replacement. The intervals are widened so that in 95 of 100 such
    measurements they hold for all heads at once (Bonferroni). Pictures with NaN are left out.

    Args:
        above: (N, L, A).
        below: (N, L, A) of the same pictures; 1 where none is given.

    Source: Efron, Tibshirani 1993, "An introduction to the bootstrap", section 13.3.
    """
    below = np.ones_like(above) if below is None else below
    whole = ~np.isnan(above + below).any(axis=(1, 2))
    above, below = above[whole], below[whole]
    count, shape = len(above), above.shape[1:]
    drawn = np.random.RandomState(seed).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    draws = (drawn @ above.reshape(count, -1)) / (drawn @ below.reshape(count, -1))
    tail = 0.025 / above[0].size
    low, high = np.quantile(draws, (tail, 1 - tail), axis=0)
    value = above.mean(axis=0) / below.mean(axis=0)
    return Ratio(value, low.reshape(shape), high.reshape(shape))
