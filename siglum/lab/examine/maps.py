"""What every layer makes of one picture.

Shapes: M maps, h x w cells.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from siglum.lab.examine.layers import layers, values
from siglum.lab.examine.subject import DoesNotApplyError, Subject, ink


@dataclass(frozen=True, eq=False)
class Maps:
    """The outputs of the layers, in their order."""

    name: str  # of the picture
    picture: NDArray[np.float32]  # (C, S, S), in [0, 1]
    kinds: tuple[str, ...]  # of each layer, in words
    maps: dict[str, NDArray[np.float32]]  # by layer: (M, h, w); a vector is (1, 1, M)


def maps(subject: Subject) -> Maps:
    """Return what every layer makes of the first picture; of `subject.layer` only, if given.

    Raises:
        DoesNotApplyError: if there is nothing to show of the layer.
    """
    shown = subject.pictures(1).first(1)
    kinds = {layer.name: layer.kind for layer in layers(subject.model, subject.shape)}
    found = {
        name: as_maps(value[0])
        for name, value in values(subject.model, subject.seen(shown.images)).items()
        if kinds.get(name) not in ("flatten", "dropout", None)  # the same numbers again
    }
    if subject.layer is not None:
        if subject.layer not in found:
            raise DoesNotApplyError(
                "layer must be one that makes something new of a picture to show its maps, "
                f"got {subject.layer!r}."
            )
        found = {subject.layer: found[subject.layer]}
    picture = ink(shown, subject.preprocess)[0]
    return Maps(shown.names[0], picture, tuple(kinds[name] for name in found), found)


def as_maps(value: Tensor) -> NDArray[np.float32]:
    """Return one picture's output as maps, float32 (M, h, w).

    Tokens (T, M), a cell each, are laid out as the square that they come from, where T is one;
    a vector (M) becomes a strip (1, 1, M).
    """
    if value.ndim == 2 and (side := isqrt(len(value))) ** 2 == len(value):
        value = value.T.reshape(-1, side, side)
    elif value.ndim == 2:
        value = value[None]
    elif value.ndim == 1:
        value = value[None, None]
    return value.float().cpu().numpy()
