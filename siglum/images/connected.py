"""The connected parts of a mask, found by runs along its rows.

Shapes: H x W pixels, R runs, P parts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # (H, W)
Runs = NDArray[np.int64]  # (R,)
Box = tuple[int, int, int, int]  # top, left, bottom, right, the last two exclusive, px


@dataclass(frozen=True)
class Parts:
    """Pixels that hang together, also by their corners."""

    shape: tuple[int, int]  # H, W
    starts: Runs  # counted through the mask with one column of nothing behind each row
    ends: Runs
    part: Runs  # the number of each run's part, in [0, P)
    areas: NDArray[np.int64]  # (P,), px
    boxes: NDArray[np.int64]  # (P, 4): top, left, bottom, right, the last two exclusive

    def __len__(self) -> int:
        return len(self.areas)

    @property
    def cut(self) -> NDArray[np.bool_]:
        """Which sides of each part's box lie at the border of the mask (P, 4)."""
        ends = self.boxes[:, 2:] >= np.array(self.shape)
        return np.concatenate([self.boxes[:, :2] <= 0, ends], axis=1)

    def drawn(self, chosen: NDArray[np.bool_]) -> Mask:
        """Return the mask (H, W) of some of the parts (P,)."""
        height, width = self.shape
        runs = chosen[self.part]
        edges = np.empty(2 * np.count_nonzero(runs) + 2, dtype=np.int64)
        edges[0], edges[-1] = 0, height * (width + 1)
        edges[1:-1:2], edges[2:-1:2] = self.starts[runs], self.ends[runs]
        inked = np.arange(len(edges) - 1) % 2 == 1  # between starts and ends, by turns
        drawn: Mask = inked.repeat(np.diff(edges)).reshape(height, width + 1)[:, :-1]
        return drawn

    def holding(self, mask: Mask) -> NDArray[np.bool_]:
        """Say of each part (P,) whether it holds a pixel of a mask (H, W) that lies within all."""
        places = np.flatnonzero(mask)
        places = places + places // self.shape[1]  # for the column of nothing behind each row
        runs = np.searchsorted(self.starts, places, side="right") - 1
        return np.bincount(self.part[runs], minlength=len(self)) > 0


def parts_of(mask: Mask) -> Parts:
    """Cut a mask into its parts, in the order of their first pixels."""
    height, width = mask.shape
    stride = width + 1
    line = np.zeros(height * stride + 1, dtype=bool)  # nothing, and then row by row
    line[1:].reshape(height, stride)[:, :-1] = mask
    edges = np.flatnonzero(line[1:] != line[:-1])
    starts, ends = edges[::2], edges[1::2]
    # The runs of the next row that touch: those that end at or behind our start, and ...
    first = np.searchsorted(ends, starts + stride)
    counts = np.searchsorted(starts, ends + stride, side="right") - first
    upper = np.repeat(np.arange(len(starts)), counts)
    lower = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + first[upper]
    part = np.arange(len(starts))
    while True:  # each run takes the lowest number around it, and then that number's number
        low = np.minimum(part[upper], part[lower])
        before = part.copy()
        np.minimum.at(part, before[upper], low)
        np.minimum.at(part, before[lower], low)
        part = part[part]
        if (part == before).all():
            break
    part = np.unique(part, return_inverse=True)[1]
    count = int(part.max(initial=-1)) + 1
    areas = np.bincount(part, weights=ends - starts, minlength=count).astype(np.int64)
    boxes = np.empty((count, 4), dtype=np.int64)
    boxes[:, :2], boxes[:, 2:] = np.iinfo(np.int64).max, 0
    rows, left = starts // stride, starts % stride
    for column, values in ((0, rows), (1, left)):
        np.minimum.at(boxes[:, column], part, values)
    for column, values in ((2, rows + 1), (3, left + ends - starts)):
        np.maximum.at(boxes[:, column], part, values)
    return Parts((mask.shape[0], mask.shape[1]), starts, ends, part, areas, boxes)


def stroke_width(mask: Mask) -> float:
    """Return twice the area by the length of the outline, px; at least 1.

    The outline is counted in sides of pixels, so that slanting strokes come out up to a third
    too thin.
    """
    edged = np.pad(mask, 1)
    outline = np.count_nonzero(edged[1:] != edged[:-1])
    outline += np.count_nonzero(edged[:, 1:] != edged[:, :-1])
    return max(2 * np.count_nonzero(mask) / outline, 1.0)


def box_of(mask: Mask) -> Box:
    """Return the box around what is true."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
