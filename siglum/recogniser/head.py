"""A last layer in numpy, for recognisers whose network ends in features.

Shapes: N pictures, D features, K classes, M outsiders.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siglum.errors import DataError
from siglum.recogniser.place import Places, Whereabouts, place_logits

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Head:
    """A vector a row: `logits = scale * ((features - centre) @ vectors.T) + bias`.

    With `cosine` the features, less the centre, are first brought to length 1. The first rows are
    the K classes. Rows behind them are outsiders: signs that nobody asked for, which say how near
    a picture is to something else.
    """

    vectors: NDArray[Any]  # float32, float16 or int8 (K + M, D)
    scale: Floats  # (K + M,)
    bias: Floats  # (K + M,)
    centre: Floats  # (D,)
    cosine: bool
    whereabouts: Whereabouts | None = None  # of the K classes: their size and place, where it helps

    def __post_init__(self) -> None:
        rows, width = self.vectors.shape
        if {self.scale.shape, self.bias.shape} != {(rows,)} or self.centre.shape != (width,):
            raise DataError(
                f"head must have a scale and a bias a vector ({rows}) and a centre a feature "
                f"({width}), got {self.scale.shape}, {self.bias.shape} and {self.centre.shape}."
            )

    @cached_property
    def columns(self) -> Floats:
        """The vectors as float32 (D, K + M)."""
        return np.ascontiguousarray(self.vectors.T, dtype=np.float32)


def logits_of(features: Floats, head: Head, places: Places | None = None) -> Floats:
    """Return float32 (N, K + M) of features (N, D).

    Args:
        places: (N, 3), of the ink; rows of NaN where it is not known.
    """
    moved = features - head.centre
    if head.cosine:
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        moved /= np.maximum(length, np.finfo(np.float32).tiny)
    logits = moved @ head.columns * head.scale + head.bias
    if head.whereabouts is not None and places is not None:
        logits[:, : len(head.whereabouts.middle)] += place_logits(places, head.whereabouts)
    return logits.astype(np.float32)


def small(vectors: Floats, scale: float = 1.0) -> tuple[NDArray[np.int8], Floats]:
    """Return rows (K, D) in a byte a number, and what gives them back, `scale` times: (K,).

    Of the largest number of its row each number is then off by at most 1 / 254.
    """
    largest = np.maximum(np.abs(vectors).max(axis=1), np.finfo(np.float32).tiny)
    rows = np.rint(vectors * (127 / largest)[:, None]).astype(np.int8)
    return rows, (scale * largest / 127).astype(np.float32)
