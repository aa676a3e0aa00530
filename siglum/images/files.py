"""Picture files one by one, as a network sees them.

Shapes: N files, P planes, S the side of the square.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.images import decode, evidence, normalise
from siglum.images.decode import Unreadable, as_text


class Fitted(NamedTuple):
    """Picture files as a network sees them, and those that cannot be read."""

    images: NDArray[np.uint8]  # (N, P, S, S), P planes
    files: tuple[str, ...]  # N names
    inverted: tuple[bool, ...]  # N times: whether dark ink was made light
    places: NDArray[np.float32]  # (N, 3): the ink's height, width and middle; NaN if not cut out
    doubts: tuple[tuple[str, ...], ...]  # N times: what is doubtful about it; see `evidence.doubts`
    unreadable: tuple[Unreadable, ...]


def fitted(files: Sequence[Path], preprocess: Preprocess) -> Fitted:
    """Read files, each judged by itself: by all of it where its ink is cut out, else by its border.

    Of what is cut out, nothing more than about twice the working size is decoded.
    """
    enough = 2 * normalise.WORKING if preprocess.cuts_out else decode.MAX_SIDE
    squares, names, inverted, places, doubts = [], [], [], [], []
    unreadable: list[Unreadable] = []
    for file in files:
        try:
            image = decode.read(file, None if preprocess.cuts_out else preprocess.channels, enough)
        except DataError as error:
            unreadable.append((as_text(str(file)), str(error)))
            continue
        square, found = normalise.seen(image, preprocess)
        light = decode.has_light_background(image[None])
        squares.append(255 - square if decode.needs_inversion(light, preprocess)[0] else square)
        names.append(as_text(str(file)))
        dark = bool(light[0]) if found is None else found.inverted
        inverted.append(preprocess.ink == "light" and dark)
        doubts.append(() if found is None else tuple(evidence.doubts(found)))
        places.append(
            (math.nan,) * 3 if found is None else (found.height, found.width, found.place)
        )
    empty = np.empty((0, preprocess.planes, preprocess.size, preprocess.size), np.uint8)
    images = np.stack(squares) if squares else empty
    placed = np.array(places, np.float32).reshape(-1, 3)
    return Fitted(images, tuple(names), tuple(inverted), placed, tuple(doubts), tuple(unreadable))
