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
    outlines: NDArray[np.int64]  # (P,), sides of pixels
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
        """Say of each part (P,) whether it holds a pixel of a mask (H, W)."""
        if not len(self):
            return np.zeros(0, dtype=bool)
        line = np.zeros((self.shape[0], self.shape[1] + 1), dtype=np.uint8)
        line[:, :-1] = mask
        edges = np.stack([self.starts, self.ends], axis=1).ravel()
        held = np.maximum.reduceat(line.ravel(), edges)[::2]
        return np.bincount(self.part, held, len(self)) > 0

    def around(self, chosen: NDArray[np.bool_]) -> Box:
        """Return the box around some of the parts (P,)."""
        boxes = self.boxes[chosen]
        top, left = boxes[:, :2].min(axis=0).tolist()
        bottom, right = boxes[:, 2:].max(axis=0).tolist()
        return top, left, bottom, right

    def stroke(self, chosen: NDArray[np.bool_] | np.integer) -> float:
        """Return the mean width of the strokes of some parts (P,) or one, as `stroke_width`."""
        outline = self.outlines[chosen].sum()
        return max(2 * float(self.areas[chosen].sum()) / float(outline), 1.0)


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
    part, count = numbered(len(starts), upper, lower)
    lengths = ends - starts
    shared = np.minimum(ends[upper] + stride, ends[lower])
    shared -= np.maximum(starts[upper] + stride, starts[lower])  # 0 where only corners touch
    areas = np.bincount(part, lengths, count).astype(np.int64)
    within = np.bincount(part[upper], shared, count).astype(np.int64)
    outlines = 2 * (np.bincount(part, minlength=count) + areas - within)
    boxes = np.empty((count, 4), dtype=np.int64)
    boxes[:, :2], boxes[:, 2:] = np.iinfo(np.int64).max, 0
    rows, left = starts // stride, starts % stride
    for column, values in ((0, rows), (1, left)):
        np.minimum.at(boxes[:, column], part, values)
    for column, values in ((2, rows + 1), (3, left + lengths)):
        np.maximum.at(boxes[:, column], part, values)
    return Parts((height, width), starts, ends, part, areas, outlines, boxes)


def numbered(runs: int, upper: Runs, lower: Runs) -> tuple[Runs, int]:
    """Return the number of each run's part, by the first run, and how many parts there are.

    Every run hangs from one above it, and so, in the end, from a topmost one; few topmost runs are
    joined further down.
    Source: Galler and Fischer 1964, "An improved equivalence algorithm", Communications of the
    ACM 7(5).

    Args:
        upper, lower: pairs of runs that touch.
    """
    top = np.arange(runs)
    top[lower] = upper
    while True:  # each hangs from what that hangs from, which doubles the steps
        above = top[top]
        if (above == top).all():
            break
        top = above
    joined = top[upper] != top[lower]
    first = np.arange(runs)
    if joined.any():
        parent = first.tolist()
        ones, others = top[upper[joined]].tolist(), top[lower[joined]].tolist()
        for one, other in zip(ones, others, strict=True):
            while parent[one] != one:
                parent[one] = one = parent[parent[one]]
            while parent[other] != other:
                parent[other] = other = parent[parent[other]]
            parent[max(one, other)] = min(one, other)
        for run, lowest in enumerate(parent):  # no run's parent is behind it
            parent[run] = parent[lowest]
        top = np.array(parent)[top]
    firsts = top == first
    number = firsts.cumsum() - 1
    return number[top], int(np.count_nonzero(firsts))


def stroke_width(mask: Mask) -> float:
    """Return twice the area by the length of the outline, px; at least 1.

    The outline is counted in sides of pixels, so that slanting strokes come out up to a third
    too thin.
    """
    height, width = mask.shape
    edged = np.zeros((height + 2, width + 2), dtype=bool)
    edged[1:-1, 1:-1] = mask
    outline = np.count_nonzero(edged[1:] != edged[:-1])
    outline += np.count_nonzero(edged[:, 1:] != edged[:, :-1])
    return max(2 * np.count_nonzero(mask) / outline, 1.0)


def box_of(mask: Mask) -> Box:
    """Return the box around what is true."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
