"""Connected components of a mask, and their grouping into characters and rows.

Shapes: H x W pixels, R horizontal runs of ink, P components, G groups (characters).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # (H, W)
Ints = NDArray[np.int64]
Box = tuple[int, int, int, int]  # top, left, bottom, right; the last two exclusive, px
Boxes = NDArray[np.int64]  # (P, 4), each a box

NEAR = 0.5  # of a character's height: largest gap between a dot and its letter
SMALL = 0.5  # of a character's height: smaller components belong to a neighbour, if one is near
LEVEL = 0.6  # of the usual height: largest step up or down to the next character of a row
TALL = 0.5  # of the tallest: smallest height of a character beside others


@dataclass(frozen=True)
class Components:
    """The 8-connected components of a mask, in the order of their first pixels."""

    shape: tuple[int, int]  # H, W
    starts: Ints  # (R,), positions in the flattened mask with one empty column after each row
    ends: Ints  # (R,), exclusive
    labels: Ints  # (R,), the component of each run
    areas: Ints  # (P,), px
    perimeters: Ints  # (P,), sides of pixels
    boxes: Boxes

    def __len__(self) -> int:
        return len(self.areas)

    @property
    def at_border(self) -> NDArray[np.bool_]:
        """Which sides of each box lie at the border of the mask: (P, 4)."""
        ends = self.boxes[:, 2:] >= np.array(self.shape)
        return np.concatenate([self.boxes[:, :2] <= 0, ends], axis=1)

    @property
    def lengths(self) -> Ints:
        """The longer side of each box (P,), px."""
        longer: Ints = (self.boxes[:, 2:] - self.boxes[:, :2]).max(axis=1)
        return longer

    def mask(self, selected: NDArray[np.bool_]) -> Mask:
        """Return the mask (H, W) of the selected components (P,)."""
        height, width = self.shape
        runs = selected[self.labels]
        edges = np.zeros(height * (width + 1) + 1, dtype=np.int8)
        edges[self.starts[runs]] = 1
        edges[self.ends[runs]] = -1
        mask: Mask = edges[:-1].cumsum(dtype=np.int8).view(bool).reshape(height, width + 1)[:, :-1]
        return mask

    def overlapping(self, mask: Mask) -> NDArray[np.bool_]:
        """Return which components (P,) contain a pixel of a mask (H, W)."""
        if not len(self):
            return np.zeros(0, dtype=bool)
        flat = np.zeros((self.shape[0], self.shape[1] + 1), dtype=bool)
        flat[:, :-1] = mask
        edges = np.stack([self.starts, self.ends], axis=1).ravel()
        inside = np.logical_or.reduceat(flat.ravel(), edges)[::2]
        return np.bincount(self.labels, inside, len(self)) > 0

    def bounding_box(self, selected: NDArray[np.bool_]) -> Box:
        """Return the box around the selected components (P,)."""
        boxes = self.boxes[selected]
        top, left = boxes[:, :2].min(axis=0).tolist()
        bottom, right = boxes[:, 2:].max(axis=0).tolist()
        return top, left, bottom, right

    def stroke_width(self, selected: NDArray[np.bool_] | np.integer) -> float:
        """Return the mean stroke width of the selected components (P,), or of one; px."""
        perimeter = float(self.perimeters[selected].sum())
        return max(2 * float(self.areas[selected].sum()) / perimeter, 1.0)


def find_components(mask: Mask) -> Components:
    """Label the 8-connected components of a mask by runs along its rows."""
    height, width = mask.shape
    stride = width + 1
    flat = np.zeros(height * stride + 1, dtype=bool)
    flat[1:].reshape(height, stride)[:, :-1] = mask
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    starts, ends = edges[::2], edges[1::2]
    # Runs of the next row that touch this one, corners included.
    first = np.searchsorted(ends, starts + stride)
    counts = np.searchsorted(starts, ends + stride, side="right") - first
    upper = np.repeat(np.arange(len(starts)), counts)
    lower = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + first[upper]
    labels, count = _label_runs(len(starts), upper, lower)
    lengths = ends - starts
    contact = np.minimum(ends[upper] + stride, ends[lower])
    contact -= np.maximum(starts[upper] + stride, starts[lower])  # 0 where only corners touch
    areas = np.bincount(labels, lengths, count).astype(np.int64)
    inner = np.bincount(labels[upper], contact, count).astype(np.int64)
    perimeters = 2 * (np.bincount(labels, minlength=count) + areas - inner)
    boxes = np.empty((count, 4), dtype=np.int64)
    boxes[:, :2], boxes[:, 2:] = np.iinfo(np.int64).max, 0
    rows, lefts = starts // stride, starts % stride
    np.minimum.at(boxes[:, 0], labels, rows)
    np.minimum.at(boxes[:, 1], labels, lefts)
    np.maximum.at(boxes[:, 2], labels, rows + 1)
    np.maximum.at(boxes[:, 3], labels, lefts + lengths)
    return Components((height, width), starts, ends, labels, areas, perimeters, boxes)


def _label_runs(count: int, upper: Ints, lower: Ints) -> tuple[Ints, int]:
    """Number the sets of runs that the pairs (upper, lower) connect, by first run.

    Source: Galler and Fischer 1964, "An improved equivalence algorithm", Communications of the
    ACM 7(5).
    """
    root = np.arange(count)
    root[lower] = upper
    while True:  # every run points upwards; each round doubles the distance
        above = root[root]
        if (above == root).all():
            break
        root = above
    joined = root[upper] != root[lower]
    first = np.arange(count)
    if joined.any():
        parent = first.tolist()
        pairs = np.unique(np.stack([root[upper[joined]], root[lower[joined]]]), axis=1)
        for one, other in pairs.T.tolist():
            while parent[one] != one:
                parent[one] = one = parent[parent[one]]
            while parent[other] != other:
                parent[other] = other = parent[parent[other]]
            parent[max(one, other)] = min(one, other)
        for run, lowest in enumerate(parent):  # a parent never comes after its run
            parent[run] = parent[lowest]
        root = np.array(parent)[root]
    is_first = root == first
    number = is_first.cumsum() - 1
    return number[root], int(np.count_nonzero(is_first))


def stroke_width(mask: Mask) -> float:
    """Return twice the area divided by the perimeter, at least 1 px.

    The perimeter counts sides of pixels, so slanting strokes come out up to a third too thin.
    """
    padded = pad(mask, 1, 1)
    perimeter = np.count_nonzero(padded[1:] != padded[:-1])
    perimeter += np.count_nonzero(padded[:, 1:] != padded[:, :-1])
    return max(2 * np.count_nonzero(mask) / perimeter, 1.0)


def pad(values: NDArray[Any], down: int, across: int, outside: int = 0) -> NDArray[Any]:
    """Surround (H, W) with a constant; ten times as fast as `numpy.pad` on small arrays."""
    height, width = values.shape
    padded = np.full((height + 2 * down, width + 2 * across), outside, values.dtype)
    padded[down : down + height, across : across + width] = values
    return padded


def bounding_box(mask: Mask) -> Box:
    """Return the box around the pixels that are true."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def group_characters(boxes: Boxes, stroke: float) -> Ints:
    """Return the character (P,) of each component, in [0, G).

    Components belong together where their boxes are less than a stroke's width apart, and where
    one of them is small and lies above, below or close beside the other.
    """
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    height = float(np.median(longer[longer >= SMALL * longer.max()]))
    down, across = _gaps(boxes[:, 0], boxes[:, 2]), _gaps(boxes[:, 1], boxes[:, 3])
    small = longer < SMALL * height
    either_small = small[:, None] | small
    touching = np.maximum(down, across) < stroke
    stacked = (across < 0) & (down < NEAR * height)
    adjacent = np.maximum(down, across) < NEAR * NEAR * height
    joined = touching | (either_small & (stacked | adjacent))
    number = np.arange(len(boxes))
    while True:
        lowest = np.where(joined, number, len(boxes)).min(axis=1)
        if (lowest == number).all():
            return np.unique(number, return_inverse=True)[1]
        number = lowest


def _gaps(starts: Ints, ends: Ints) -> Ints:
    """Return the distances between all intervals (P, P), negative where they overlap."""
    return np.maximum(starts[:, None], starts) - np.minimum(ends[:, None], ends)


def group_boxes(boxes: Boxes, group: Ints) -> Boxes:
    """Return the box around each group (G, 4)."""
    members = [boxes[group == number] for number in range(int(group.max()) + 1)]
    return np.stack([np.r_[some[:, :2].min(0), some[:, 2:].max(0)] for some in members])


def count_characters(boxes: Boxes, stroke: float) -> int:
    """Estimate how many characters stand side by side."""
    if len(boxes) < 2:
        return len(boxes)
    groups = group_boxes(boxes, group_characters(boxes, stroke))
    heights = groups[:, 2] - groups[:, 0]
    tall = groups[heights >= TALL * heights.max()]
    tall = tall[tall[:, 1].argsort()]
    gaps = tall[1:, 1] - np.maximum.accumulate(tall[:, 3])[:-1]
    return 1 + int((gaps >= 2 * stroke).sum())


def reading_order(boxes: Boxes) -> list[list[int]]:
    """Return the groups (G, 4) in rows from the top, each from the left.

    A row continues with the nearest group to the right whose middle is at most `LEVEL` above or
    below, so that rows may rise or fall.
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
    rows = [np.flatnonzero(row == number) for number in np.unique(row)]
    rows.sort(key=lambda members: float(middles[members].mean()))
    return [members[boxes[members, 1].argsort()].tolist() for members in rows]
