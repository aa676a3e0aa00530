"""Read a page: find its characters in reading order, and extract the ink of each.

Shapes: C channels, H x W pixels, S the side of the frame, P components, G characters.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.images import ink
from siglum.images.components import (
    Box,
    group_boxes,
    group_characters,
    reading_order,
    stroke_width,
)
from siglum.images.ruling import punch_holes

WORKING = 2048  # px, the longer side on which a page is searched
SIMILAR = 2  # times larger or smaller than others may be a character at the border
BROAD = 3  # stroke widths: broader things at the border are no characters
DUST = 0.2  # of a character's height: smaller things with nothing near are dust
SIDEWAYS = 0.7  # of the characters: if so many are wider than high, the page may lie on its side


class Character(NamedTuple):
    """One character of a page."""

    box: Box  # px of the page
    ink: NDArray[np.uint8]  # (S, S), 0 for paper and 255 for full ink


class Page(NamedTuple):
    """The characters of a page."""

    rows: list[list[Character]]  # from the top, each from the left
    inverted: bool  # dark ink on light paper was inverted
    sideways: bool  # the page may be turned by a quarter


def read_page(image: NDArray[np.uint8], preprocess: Preprocess) -> Page:
    """Find the characters of a page (C, H, W); size and margins of `preprocess` frame each."""
    extraction = ink.extract(image, WORKING, whole_page=True)
    components, factor = extraction.components, extraction.factor
    members, stroke = _written(extraction)
    if not len(members):
        return Page([], extraction.binarized.inverted, sideways=False)
    group = group_characters(components.boxes[members], stroke)
    boxes = group_boxes(components.boxes[members], group)
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(axis=1)
    large = np.flatnonzero(longer >= DUST * np.median(longer))

    def character(number: int) -> Character:
        selected = np.zeros(len(components), dtype=bool)
        selected[members[group == number]] = True
        top, left, bottom, right = box = components.bounding_box(selected)
        mask = components.mask(selected)
        width = stroke_width(mask[top:bottom, left:right])
        flat = ink.flatten(extraction.binarized, mask, box)
        framed, _ = ink.frame(flat, width, preprocess.size, preprocess.margins or ink.FILL)
        return Character((factor * top, factor * left, factor * bottom, factor * right), framed)

    rows = [[character(large[i]) for i in row] for row in reading_order(boxes[large])]
    lying = (sides[large, 1] > sides[large, 0]).mean() >= SIDEWAYS and len(large) > 3
    return Page(rows, extraction.binarized.inverted, bool(lying))


def _written(extraction: ink.Extraction) -> tuple[NDArray[np.int64], float]:
    """Return the components that belong to characters, and their mean stroke width, px.

    Things at the border may be cut off, or the edge of a table: they count where they resemble
    those inside, unless they lie in a corner.
    """
    components = extraction.components
    certain = components.overlapping(extraction.binarized.share > extraction.binarized.threshold)
    borders = components.at_border.sum(axis=1)
    inner = certain & (borders == 0)
    inner = inner if inner.any() else certain
    if not inner.any():
        return np.flatnonzero(inner), 0.0
    stroke = stroke_width(components.mask(inner))
    large = certain & (components.areas >= ink.SPECK * stroke**2)
    large &= ~punch_holes(components, large)
    longer = components.lengths
    usual = float(np.median(longer[inner & large])) if (inner & large).any() else np.inf
    similar = (longer >= usual / SIMILAR) & (longer <= SIMILAR * usual)
    similar &= components.areas <= BROAD * stroke * longer
    return np.flatnonzero(large & ((borders == 0) | (similar & (borders == 1)))), stroke
