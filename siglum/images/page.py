"""Read a page: find its characters in reading order, and extract the ink of each.

Shapes: C channels, H x W pixels, S the side of the frame, P components, G characters.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.images import components, ink, ruling
from siglum.images.components import Box

WORKING = 2048  # px, the longer side on which a page is searched
SIMILAR = 2  # times larger or smaller than others may be a character at the border
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
    parts, factor = extraction.components, extraction.factor
    members, stroke = _characters(extraction)
    if not len(members):
        return Page([], extraction.report.inverted, sideways=False)
    group, boxes = components.group_characters(parts.boxes[members], stroke)
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(axis=1)
    large = np.flatnonzero(longer >= DUST * np.median(longer))

    def character(number: int) -> Character:
        selected = np.zeros(len(parts), dtype=bool)
        selected[members[group == number]] = True
        framed, _ = ink.frame(
            ink.flatten(extraction, selected),
            components.stroke_width(parts.mask(selected)),
            preprocess.size,
            preprocess.margins or ink.FILL,
        )
        top, left, bottom, right = (factor * boxes[number]).tolist()
        return Character((top, left, bottom, right), framed)

    rows = [[character(large[i]) for i in row] for row in components.reading_order(boxes[large])]
    lying = (sides[large, 1] > sides[large, 0]).mean() >= SIDEWAYS and len(large) > 3
    return Page(rows, extraction.report.inverted, bool(lying))


def _characters(extraction: ink.Extraction) -> tuple[NDArray[np.int64], float]:
    """Return the components that belong to characters, and their mean stroke width, px."""
    parts, certain = extraction.components, extraction.certain
    borders, longer = parts.at_border.sum(axis=1), parts.sides.max(axis=1)
    inner = certain & (borders == 0)
    inner = inner if inner.any() else certain
    if not inner.any():
        return np.flatnonzero(inner), 0.0
    stroke = components.stroke_width(parts.mask(inner))
    large = certain & (parts.areas >= ink.SPECK * stroke**2)
    usual = np.median(longer[inner])
    # Ink at the border may be the edge of a table: it counts where it is as large as others.
    cut = (borders == 1) & (longer >= usual / SIMILAR) & (longer <= SIMILAR * usual)
    return np.flatnonzero(large & (inner | cut) & ~ruling.punch_holes(parts, large)), stroke
