"""Whether pictures came cut out, centred and on even paper, and how much of the side ink fills.

MNIST did: its digits fill 20 of 28 pixels, with their mass in the middle. A network that was
trained on such pictures reads a photo once its ink has been brought into the same frame.
Shapes: M pictures, C channels, S the side.
"""

import numpy as np
from numpy.typing import NDArray

from siglum.images.imageset import ImageSet

Mask = NDArray[np.bool_]
Floats = NDArray[np.floating]

LOOKED_AT = 1000  # pictures of a set, spread evenly over it
MOST = 0.95  # of them must agree
INK = 25  # of 255: what is above is ink, and paper is even where its border is below
NEAR = 1.5 / 28  # of the side: so much may ink be off, in size and from the middle


def measured(images: ImageSet) -> float | None:
    """Return the share of the side that the longer side of the ink fills; None where it varies.

    Also None where the ink reaches the border, or is not in the middle by its mass or by its box.

    Args:
        images: grey and square, of light ink.
    """
    channels, height, side = images.shape
    if channels != 1 or height != side:
        return None
    rows = np.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).round().astype(int)
    ink = images.take(rows)[:, 0]  # (M, S, S)
    marked = ink > INK
    marked = marked[marked.any(axis=(1, 2))]
    if len(marked) < MOST * len(rows):
        return None
    ink = ink[ink.max(axis=(1, 2)) > INK].astype(np.float32)
    tops, bottoms = _ends(np.asarray(marked.any(axis=2)))
    lefts, rights = _ends(np.asarray(marked.any(axis=1)))
    longer = np.maximum(bottoms - tops, rights - lefts)
    usual = float(np.median(longer))
    near = NEAR * side
    inside = (np.minimum(tops, lefts) > 0) & (np.maximum(bottoms, rights) < side)
    places = np.arange(side) + 0.5
    mass = ink.sum(axis=(1, 2))
    by_mass = _near_middle(ink.sum(axis=2) @ places / mass, ink.sum(axis=1) @ places / mass, side)
    by_box = _near_middle((tops + bottoms) / 2, (lefts + rights) / 2, side)
    agreed = inside & (np.abs(longer - usual) <= near)
    centred = max((agreed & by_mass).mean(), (agreed & by_box).mean())
    return usual / side if centred >= MOST else None


def same(found: float | None, frame: float) -> bool:
    """Say whether pictures already are in a frame."""
    return found is not None and abs(found - frame) <= NEAR


def _ends(marked: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and one behind the last that is true of each row of (M, S)."""
    return marked.argmax(axis=1), marked.shape[1] - marked[:, ::-1].argmax(axis=1)


def _near_middle(down: Floats, right: Floats, side: int) -> Mask:
    off = np.maximum(np.abs(down - side / 2), np.abs(right - side / 2))
    return np.asarray(off <= NEAR * side)
