"""A last layer in numpy, for recognisers whose network ends in features.

Shapes: N pictures, D features, K classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siglum.errors import DataError


@dataclass(frozen=True, eq=False)
class Head:
    """A vector a class: `logits = (features - centre) @ vectors.T + bias`.

    With `cosine` the features, less the centre, are first brought to length 1.
    """

    vectors: NDArray[np.floating]  # float32 or float16 (K, D)
    bias: NDArray[np.float32]  # (K,)
    centre: NDArray[np.float32]  # (D,)
    cosine: bool

    def __post_init__(self) -> None:
        classes, width = self.vectors.shape
        if self.bias.shape != (classes,) or self.centre.shape != (width,):
            raise DataError(
                f"head must have a bias a class ({classes}) and a centre a feature ({width}), got "
                f"{self.bias.shape} and {self.centre.shape}."
            )


def logits_of(features: NDArray[np.float32], head: Head) -> NDArray[np.float32]:
    """Return float32 (N, K) of features (N, D)."""
    moved = features - head.centre
    if head.cosine:
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        moved /= np.maximum(length, np.finfo(np.float32).tiny)
    return (moved @ head.vectors.T.astype(np.float32) + head.bias).astype(np.float32)
