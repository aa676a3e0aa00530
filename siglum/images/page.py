"""A page of several characters: where each is, in the order of reading, and its canonical ink.

The paper and the ink are found on the whole page, by the same steps as in one picture.
Shapes: C channels, H x W pixels, S the side of the frame, P parts, G characters.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.images import groups, normalise
from siglum.images.connected import Box, stroke_width
from siglum.images.normalise import SPECK, Ink

WORKING = 2048  # px, the longer side on which a page is looked at
LONG = 2  # times longer or shorter than other parts may be what is at the border
BROAD = 3  # strokes' widths: what is at the border and so much broader all along is so, too
LEAST = 0.2  # of a character's height: what is smaller and has nothing near it is dust
LYING = 0.7  # of the characters: if so many are wider than high, the page may lie sideways


class Character(NamedTuple):
    """One character of a page."""

    box: Box  # px of the page
    ink: NDArray[np.uint8]  # (S, S), 0 for paper and 255 for full ink


class Page(NamedTuple):
    """What was found on a page."""

    rows: list[list[Character]]  # from above, each from the left
    inverted: bool  # whether dark ink on light paper was made light ink on dark
    sideways: bool  # whether the page may have been turned by a quarter


def read(picture: NDArray[np.uint8], preprocess: Preprocess) -> Page:
    """Find the characters of a page; a page that lies sideways is read as it lies.

    Args:
        picture: (C, H, W).
        preprocess: its size and frame are those of each character's ink.
    """
    found = normalise.find(picture, WORKING)
    parts = found.parts
    chosen, stroke = own_parts(found)
    if not len(chosen):
        return Page([], found.dark.inverted, False)
    number = groups.grouped(parts.boxes[chosen], stroke)
    boxes = groups.around(parts.boxes[chosen], number)
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    large = np.flatnonzero(longer >= LEAST * np.median(longer))
    fill = preprocess.frame or normalise.FILL

    def character(group: int) -> Character:
        members = np.zeros(len(parts), dtype=bool)
        members[chosen[number == group]] = True
        mask = parts.drawn(members)
        top, left, bottom, right = boxes[group].tolist()
        width = stroke_width(mask[top:bottom, left:right])
        ink = normalise.flattened(found.dark, mask, (top, left, bottom, right))
        framed, _ = normalise.into_frame(ink, width, preprocess.size, fill)
        factor = found.factor
        return Character((factor * top, factor * left, factor * bottom, factor * right), framed)

    rows = [[character(large[i]) for i in row] for row in groups.rows(boxes[large])]
    sides = boxes[large, 2:] - boxes[large, :2]
    lying = (sides[:, 1] > sides[:, 0]).mean() >= LYING and len(large) > 3
    return Page(rows, found.dark.inverted, bool(lying))


def own_parts(found: Ink) -> tuple[NDArray[np.int64], float]:
    """Return the numbers of the parts that were written, and the mean width of their strokes, px.

    What is at the border may be cut off, or the edge of a table: it is kept where it is like what
    is not at the border, unless it lies in a corner.
    """
    parts = found.parts
    sure = parts.holding(found.dark.share > found.dark.above)
    borders = parts.cut.sum(axis=1)
    cut = borders > 0
    inner = sure & ~cut if (sure & ~cut).any() else sure
    if not inner.any():
        return np.flatnonzero(inner), 0.0
    stroke = stroke_width(parts.drawn(inner))
    written = parts.areas >= SPECK * stroke**2
    longer = (parts.boxes[:, 2:] - parts.boxes[:, :2]).max(axis=1)
    usual = float(np.median(longer[inner & written])) if (inner & written).any() else np.inf
    alike = (longer >= usual / LONG) & (longer <= LONG * usual)
    alike &= parts.areas <= BROAD * stroke * longer
    return np.flatnonzero(sure & written & (alike & (borders == 1) | ~cut)), stroke
