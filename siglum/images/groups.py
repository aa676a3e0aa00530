"""Parts of ink that belong to one character, and characters in the order of reading.

Every length is measured by the strokes' width and the characters' height, so that neither the
page's size nor the hand decides.
Shapes: P parts, G groups.
"""

import numpy as np
from numpy.typing import NDArray

NEAR = 0.5  # of a character's height: a dot or a piece of a broken stroke is not further away
SMALL = 0.5  # of a character's height: what is smaller is no character by itself, if one is near
LEVEL = 0.6  # of the usual height: so far up or down the next character of a row may be
TALL = 0.5  # of the tallest: characters side by side are at least so high

Boxes = NDArray[np.int64]  # (P, 4): top, left, bottom, right, the last two exclusive, px


def grouped(boxes: Boxes, stroke: float) -> NDArray[np.int64]:
    """Return the number of each part's group (P,), in [0, G).

    Parts are one character where their boxes are less than a stroke's width apart, and where one
    of them is small and stands above, below or right beside the other.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(axis=1)
    height = float(np.median(longer[longer >= SMALL * longer.max()]))
    down = gaps(boxes[:, 0], boxes[:, 2])
    across = gaps(boxes[:, 1], boxes[:, 3])
    small = longer < SMALL * height
    either_small = small[:, None] | small
    touching = np.maximum(down, across) < stroke
    above = (across < 0) & (down < NEAR * height)
    beside = np.maximum(down, across) < NEAR * NEAR * height
    joined = touching | (either_small & (above | beside))
    number = np.arange(len(boxes))
    while True:  # the lowest number of all that are joined
        lowest = np.where(joined, number, len(boxes)).min(axis=1)
        if (lowest == number).all():
            return np.unique(number, return_inverse=True)[1]
        number = lowest


def gaps(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how far each is from each along one axis (P, P), px; negative where they overlap."""
    return np.maximum(starts[:, None], starts) - np.minimum(ends[:, None], ends)


def around(boxes: Boxes, number: NDArray[np.int64]) -> Boxes:
    """Return the boxes around the groups (G, 4)."""
    members = [boxes[number == group] for group in range(int(number.max()) + 1)]
    ends = [np.concatenate([part[:, :2].min(0), part[:, 2:].max(0)]) for part in members]
    return np.stack(ends)


def likely_characters(boxes: Boxes, stroke: float) -> int:
    """Say how many characters parts look like: groups side by side of about one height."""
    if len(boxes) < 2:
        return len(boxes)
    found = around(boxes, grouped(boxes, stroke))
    heights = found[:, 2] - found[:, 0]
    tall = found[heights >= TALL * heights.max()]
    tall = tall[tall[:, 1].argsort()]
    apart = tall[1:, 1] - np.maximum.accumulate(tall[:, 3])[:-1]
    return 1 + int((apart >= 2 * stroke).sum())


def rows(boxes: Boxes) -> list[list[int]]:
    """Return groups (G, 4) in the order of reading: rows from above, each from the left.

    From each character a row goes on to the nearest one on its right whose middle is at most
    `LEVEL` above or below its own, so that a row may rise or fall.
    """
    middles = (boxes[:, 0] + boxes[:, 2]) / 2
    reach = float(np.median(boxes[:, 2] - boxes[:, 0])) * LEVEL
    row = np.arange(len(boxes))
    for group in np.argsort(boxes[:, 1], kind="stable"):
        level = np.abs(middles - middles[group]) < reach
        ahead = np.flatnonzero(level & (boxes[:, 1] > boxes[group, 1]))
        if len(ahead):
            nearest = ahead[boxes[ahead, 1].argmin()]
            row[row == row[nearest]] = row[group]
    found = [np.flatnonzero(row == name) for name in np.unique(row)]
    found.sort(key=lambda members: float(middles[members].mean()))
    return [members[boxes[members, 1].argsort()].tolist() for members in found]
