"""Any picture -> canonical ink: light on dark, cut out, mass centred in a square frame.

The steps are small functions in the order in which `normalise` takes them. Ink is what an even
threshold tells from even paper. Shrinking averages over areas, and thin strokes are then
strengthened until they are as dark as thick ones, so that none fades away.
Shapes: C channels, H x W pixels as found, S the side of the frame, P planes, R runs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siglum.config import Preprocess
from siglum.images import pictures

CONTRAST = 24  # of 255, the least between paper and ink; a blank page's grain stays below
SPECK = 0.25  # of the stroke's width squared: a dot is about one, dust is less
MARGIN = 1 / 14  # of the frame, free on either side of the longer side of the ink

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Evidence:
    """What was found in a picture, and what was done to it."""

    inverted: bool  # whether dark ink on light paper was made light ink on dark
    box: Box  # around the ink: top, left, bottom, right (the last two exclusive), px
    height: float  # of the box, in heights of the picture
    width: float  # of the box, in heights of the picture too, so that it may be above 1
    place: float  # of the box's middle: 0 at the picture's top, 1 at its bottom
    stroke: float  # mean width of a stroke, px of the picture
    scale: float  # px of the frame for one of the picture

    @property
    def empty(self) -> bool:
        """Whether there was no ink; then box and stroke are 0, place is 0.5 and scale is 1."""
        return self.box[2] == 0


def normalise(picture: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], Evidence]:
    """Return a picture's ink in the middle of a frame, and how it came there.

    Args:
        picture: (H, W) or (C, H, W), of any polarity, on paper of one shade.
        size: S, the side of the frame, px.

    Returns:
        uint8 (S, S), 0 for paper and 255 for full ink; all 0 where there is no ink.
    """
    grey = pictures.with_channels(picture[None] if picture.ndim == 2 else picture, 1)
    inverted = bool(pictures.on_light_paper(grey[None])[0])
    light = 255 - grey[0] if inverted else grey[0]
    above = threshold(light)
    mask = light > above
    if above == 255 or not mask.any():
        return np.zeros((size, size), np.uint8), Evidence(
            inverted, (0, 0, 0, 0), height=0, width=0, place=0.5, stroke=0, scale=1
        )
    mask, stroke = without_specks(mask)
    top, left, bottom, right = box = box_of(mask)
    ink = flattened(light, mask)[top:bottom, left:right]
    framed, scale = into_frame(ink, stroke, size)
    height = len(light)
    return framed, Evidence(
        inverted,
        box,
        height=(bottom - top) / height,
        width=(right - left) / height,
        place=(top + bottom) / 2 / height,
        stroke=stroke,
        scale=scale,
    )


def planes(picture: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """Return what a network is to see of (C, H, W), in bytes: uint8 (P, S, S).

    With `fit` "glyph" the ink is light on dark whatever it was; else it stays as it is. With
    `place` three even planes follow the ink: the height, width and place of its `Evidence`.
    """
    if preprocess.fit != "glyph":
        return pictures.fit(picture, preprocess)
    ink, found = normalise(picture, preprocess.size)
    if not preprocess.place:
        return ink[None]
    facts = np.clip([found.height, found.width, found.place], 0, 1)
    even = np.rint(255 * facts).astype(np.uint8)[:, None, None].repeat(ink.size, axis=1)
    return np.concatenate([ink[None], even.reshape(-1, *ink.shape)])


def threshold(light: NDArray[np.uint8]) -> int:
    """Return the level above which a pixel is ink; 255 where paper and ink are too near.

    Source: Otsu 1979, "A threshold selection method from gray-level histograms", IEEE
    Transactions on Systems, Man, and Cybernetics 9(1): the variance between the two is greatest.
    """
    counts = np.bincount(light.ravel(), minlength=256).astype(np.float64)
    below, total = counts.cumsum(), (counts * np.arange(256)).cumsum()
    above = light.size - below
    with np.errstate(divide="ignore", invalid="ignore"):
        contrast = (total[-1] - total) / above - total / below  # of the two means
    contrast[(below == 0) | (above == 0)] = 0
    # A gap in the histogram is a plateau; its middle is as far from the paper as from the ink.
    best = np.flatnonzero((score := below * above * contrast**2) >= score.max() * (1 - 1e-9))
    level = int(best[len(best) // 2])
    return level if contrast[level] >= CONTRAST else 255


def without_specks(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], float]:
    """Return (H, W) without the parts that are too small for a dot, and the stroke's width, px.

    Parts hang together also by their corners. The width is that of the largest part.
    """
    starts, ends, parts = _parts(mask)
    areas = np.bincount(parts, weights=ends - starts)
    largest = _drawn(mask.shape, starts, ends, parts == areas.argmax())
    stroke = stroke_width(largest)
    big = areas[parts] >= SPECK * stroke**2
    return _drawn(mask.shape, starts, ends, big), stroke


def stroke_width(mask: NDArray[np.bool_]) -> float:
    """Return twice the area by the length of the outline, px; at least 1.

    The outline is counted in sides of pixels, so that slanting strokes come out up to a third
    too thin.
    """
    edged = np.pad(mask, 1)
    outline = (edged[1:] != edged[:-1]).sum() + (edged[:, 1:] != edged[:, :-1]).sum()
    return max(float(2 * mask.sum() / outline), 1.0)


def box_of(mask: NDArray[np.bool_]) -> Box:
    """Return top, left, bottom and right of what is true, the last two exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def flattened(light: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return ink between 0 and 1, float32 (H, W), nothing but the mask and its soft edge.

    Paper is the commonest level outside the mask, full ink the middle one inside.
    """
    near = np.pad(mask, 1)
    near = near[:-2] | near[1:-1] | near[2:]
    near = near[:, :-2] | near[:, 1:-1] | near[:, 2:]
    outside = light[~mask]
    paper = float(np.bincount(outside).argmax()) if len(outside) else 0.0
    full = max(float(np.median(light[mask])), paper + 1)
    ink = np.clip((light.astype(np.float32) - paper) / (full - paper), 0, 1)
    return np.where(near, ink, np.float32(0))


def into_frame(
    ink: NDArray[np.float32], stroke: float, size: int
) -> tuple[NDArray[np.uint8], float]:
    """Scale (H, W) to fill a frame but for its margin, and lay its mass into the middle.

    Where there is more ink on one side, the box moves to the other, up to the edge of the frame.

    Returns:
        uint8 (S, S), and the scale.
    """
    height, width = ink.shape
    scale = (size - 2 * max(1, round(size * MARGIN))) / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    small = np.asarray(Image.fromarray(ink).resize((columns, rows), how))
    small = np.clip(small / min(stroke * scale, 1.0), 0, 1)  # a stroke of half a pixel is half dark
    framed = np.zeros((size, size), dtype=np.uint8)
    top, left = _start(small.sum(axis=1), size), _start(small.sum(axis=0), size)
    framed[top : top + rows, left : left + columns] = np.rint(255 * small)
    return framed, scale


def _start(mass: NDArray[np.floating], size: int) -> int:
    """Return where rows of this mass begin, so that its centre is as near the middle as can be."""
    centre = float((mass * (np.arange(len(mass)) + 0.5)).sum() / mass.sum())
    return min(max(round(size / 2 - centre), 0), size - len(mass))


Runs = NDArray[np.int64]  # (R,)


def _parts(mask: NDArray[np.bool_]) -> tuple[Runs, Runs, Runs]:
    """Cut a mask into runs along its rows: their starts, ends and the number of their part.

    Starts and ends are counted through the mask with one column of nothing behind each row.
    """
    stride = mask.shape[1] + 1
    steps = np.diff(np.pad(mask, ((0, 0), (0, 1))).ravel().astype(np.int8), prepend=0)
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
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
            return starts, ends, part


def _drawn(
    shape: tuple[int, ...], starts: Runs, ends: Runs, chosen: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the mask (H, W) of the chosen runs."""
    height, width = shape
    steps = np.zeros(height * (width + 1) + 1, dtype=np.int8)
    steps[starts[chosen]] = 1
    steps[ends[chosen]] -= 1
    return steps[:-1].cumsum(dtype=np.int8).astype(bool).reshape(height, width + 1)[:, :-1]
