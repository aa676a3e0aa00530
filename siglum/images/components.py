"""Connected components of a mask, and their grouping into characters and rows.

Shapes: H x W pixels, R horizontal runs of ink, P components, G groups (characters).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # (H, W)
Floats = NDArray[np.floating]
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
    boxes: Boxes

    def __len__(self) -> int:
        return len(self.areas)

    @property
    def at_border(self) -> NDArray[np.bool_]:
        """Which sides of each box lie at the border of the mask: (P, 4)."""
        return np.concatenate([self.boxes[:, :2] <= 0, self.boxes[:, 2:] >= self.shape], axis=1)

    @property
    def sides(self) -> Ints:
        """Height and width of each box (P, 2), px."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    def mask(self, selected: NDArray[np.bool_]) -> Mask:
        """Return the mask (H, W) of the selected components (P,)."""
        runs = selected[self.labels]
        return fill_runs(self.starts[runs], self.ends[runs], *self.shape)

    def stroke_width(self, selected: NDArray[np.bool_]) -> float:
        """Return the mean stroke width, px, of the selected components (P,)."""
        return stroke_width(self.mask(selected))

    def containing(self, pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which components (P,) have a true pixel among the mask's pixels, row by row."""
        labels = np.repeat(self.labels, self.ends - self.starts)
        return np.bincount(labels, pixels, len(self)) > 0


def find_components(mask: Mask) -> Components:
    """Label the 8-connected components of a mask by runs along its rows.

    Source: Shiloach and Vishkin 1982, "An O(log n) parallel connectivity algorithm".
    """
    stride = mask.shape[1] + 1
    starts, ends = find_runs(mask)
    # Runs of the next row that touch this one, corners included.
    first = np.searchsorted(ends, starts + stride)
    counts = np.searchsorted(starts, ends + stride, side="right") - first
    upper = np.repeat(np.arange(len(starts)), counts)
    lower = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + first[upper]
    root = np.arange(len(starts))
    root[lower] = upper  # every run points upwards, to a run of its component
    while True:
        while (root[root] != root).any():
            root = root[root]
        one, other = root[upper], root[lower]
        if (one == other).all():
            break
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
    is_first = root == np.arange(len(root))
    labels, count = (is_first.cumsum() - 1)[root], np.count_nonzero(is_first)
    areas = np.bincount(labels, ends - starts, count).astype(np.int64)
    boxes = np.zeros((count, 4), dtype=np.int64)
    boxes[:, :2] = mask.shape
    rows, columns = np.divmod(starts, stride)
    np.minimum.at(boxes[:, 0], labels, rows)
    np.minimum.at(boxes[:, 1], labels, columns)
    np.maximum.at(boxes[:, 2], labels, rows + 1)
    np.maximum.at(boxes[:, 3], labels, columns + ends - starts)
    return Components(mask.shape, starts, ends, labels, areas, boxes)


def find_runs(mask: Mask) -> tuple[Ints, Ints]:
    """Return starts and ends of the runs along the rows of a mask, as in `Components`."""
    height, width = mask.shape
    flat = np.zeros(height * (width + 1) + 1, dtype=bool)
    flat[1:].reshape(height, width + 1)[:, :-1] = mask
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return edges[::2], edges[1::2]


def fill_runs(starts: Ints, ends: Ints, height: int, width: int) -> Mask:
    """Return the mask (H, W) of runs."""
    lengths = ends - starts
    flat = np.zeros(height * (width + 1), dtype=bool)
    offsets = np.repeat(starts - lengths.cumsum() + lengths, lengths)
    flat[offsets + np.arange(len(offsets))] = True
    return flat.reshape(height, width + 1)[:, :-1]


def stroke_width(mask: Mask) -> float:
    """Return twice the area by the perimeter, at least 1 px; a third less for slanting strokes."""
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


def union(boxes: Boxes) -> Box:
    """Return the box around some boxes."""
    top, left = boxes[:, :2].min(axis=0).tolist()
    bottom, right = boxes[:, 2:].max(axis=0).tolist()
    return top, left, bottom, right


def group_characters(boxes: Boxes, stroke: float) -> tuple[Ints, Boxes]:
    """Return the character (P,) of each component, in [0, G), and the box of each (G, 4).

    Components belong together where their boxes are less than a stroke's width apart, and where
    one of them is small and lies above, below or close beside the other.
    """
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    height = float(np.median(longer[longer >= SMALL * longer.max()]))
    starts, ends = boxes[:, None, :2], boxes[:, None, 2:]
    gaps = np.maximum(starts, boxes[:, :2]) - np.minimum(ends, boxes[:, 2:])  # negative: overlap
    farther, (down, across) = gaps.max(axis=2), gaps.transpose(2, 0, 1)
    small = longer < SMALL * height
    near = (farther < NEAR * NEAR * height) | ((across < 0) & (down < NEAR * height))
    joined = (farther < stroke) | (near & (small[:, None] | small))
    group = np.arange(len(boxes))
    while True:
        lowest = np.where(joined, group, len(boxes)).min(axis=1)
        if (lowest == group).all():
            break
        group = lowest
    numbers, group = np.unique(group, return_inverse=True)
    return group, np.array([union(boxes[group == number]) for number in range(len(numbers))])


def count_characters(boxes: Boxes, stroke: float) -> int:
    """Estimate how many characters stand side by side."""
    heights = boxes[:, 2] - boxes[:, 0]
    tall = boxes[heights >= TALL * heights.max()]
    tall = tall[tall[:, 1].argsort()]
    gaps = tall[1:, 1] - np.maximum.accumulate(tall[:, 3])[:-1]
    return 1 + int((gaps >= 2 * stroke).sum())


def reading_order(boxes: Boxes) -> list[list[int]]:
    """Return the groups (G, 4) in rows from the top, each from the left; rows may rise or fall."""
    middles, lefts = (boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 1]
    reach = float(np.median(boxes[:, 2] - boxes[:, 0])) * LEVEL
    row = np.arange(len(boxes))
    for group in lefts.argsort(kind="stable"):
        # A row continues with the nearest group to the right on about the same level.
        ahead = (np.abs(middles - middles[group]) < reach) & (lefts > lefts[group])
        if ahead.any():
            nearest = np.where(ahead, lefts, lefts.max() + 1).argmin()
            row[row == row[nearest]] = row[group]
    rows = [np.flatnonzero(row == number) for number in np.unique(row)]
    rows.sort(key=lambda members: float(middles[members].mean()))
    return [members[lefts[members].argsort()].tolist() for members in rows]
