"""Find what is printed on paper and not written: ruled lines, form boxes and punch holes.

Shapes: H x W pixels, R vertical runs of ink, P components.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siglum.images.components import Boxes, Components, Mask, find_components, stroke_width

Floats = NDArray[np.floating]

SLOPES = np.linspace(-0.1, 0.1, 27)  # of lines, px per px
TOLERANCE = 1 / 256  # of a line's length, the distance of its ink from straight
THICK = 1 / 80  # of the longer side, the thickest line
COVERED = 0.7  # of a line, the least share with ink
REACHED = 0.03  # of the side, the distance at which a line ends at the border
SMALLEST = 96  # px of the longer side: smaller pictures were cropped, and show no ruling
MANY = 4  # lines that need no further evidence
FINE, PALE = 0.6, 0.75  # of the strokes' width and darkness: below, a line is ruling
SPAN = 0.4  # of a page, the shortest line that is ruling by itself
SIDE = 0.9  # of a frame's side that has ink
BAND = 0.08  # of a frame's side, the width of the band that holds it
EQUAL = 0.06  # relative difference of the boxes of a form
ROUND, SOLID, HOLE, MARGIN = 1.25, 0.7, 1.6, 0.12  # of a punch hole, see `punch_holes`


@dataclass(frozen=True)
class Lines:
    """Nearly horizontal lines, and the pixels that belong to nothing else."""

    mask: Mask  # (H, W)
    bands: Mask  # (H, W), with all ink that crosses them
    positions: list[float]  # of the middle of each, in heights
    thickness: float  # px


def may_have_ruling(components: Components) -> bool:
    """Whether a closer look is worth its time: lines from border to border, or a frame."""
    if max(components.shape) < SMALLEST:
        return False
    border, boxes = components.at_border, components.boxes
    long = components.lengths >= max(components.shape) / 16  # grain is shorter
    if (border[:, :2] & border[:, 2:]).any() or (long & border.any(axis=1)).sum() > MANY:
        return True
    # The ink of a frame is longer than the outline of its box.
    sides = boxes[:, 2:] - boxes[:, :2]
    large = sides.min(axis=1) >= max(12, max(components.shape) / 8)
    return bool((large & (components.perimeters >= 3.6 * sides.sum(axis=1))).any())


def find_ruling(share: Floats, mask: Mask, whole_page: bool) -> tuple[Mask | None, bool]:
    """Return the pixels of ruled lines and boxes (H, W), and whether lines were left in doubt.

    Lines that are as dark and as broad as the writing are ruling only if there are many.

    Args:
        share: (H, W), of the paper's light that is missing.
        mask: (H, W), what may be ink.
        whole_page: lines need not reach the borders, and boxes of one size are a form.
    """
    span = SPAN if whole_page else 1 - 2 * REACHED
    thickest = max(3, THICK * max(mask.shape))
    across, down = find_lines(mask, span, thickest), find_lines(mask.T, span, thickest)
    ruling = _crossed(across, down)
    inner = sum(REACHED < p < 1 - REACHED for p in across.positions + down.positions)
    count = len(across.positions) + len(down.positions)
    doubtful = False
    if count:
        thickness = max(across.thickness, down.thickness)
        if not _is_ruling(share, mask, ruling, thickness, inner):
            ruling, doubtful = np.zeros_like(mask), bool((mask & ~ruling).any())
    boxes, unclear = _find_boxes(share, mask & ~ruling, whole_page)
    ruling = ruling | boxes
    return (ruling if ruling.any() else None), doubtful or unclear


def _crossed(across: Lines, down: Lines) -> Mask:
    return across.mask | down.mask.T | (across.bands & down.bands.T)


def _is_ruling(share: Floats, mask: Mask, lines: Mask, thickness: float, count: int) -> bool:
    rest = mask & ~lines
    components = find_components(rest)
    large = components.areas >= 4 * thickness**2
    if not large.any():
        return count > MANY
    if count >= MANY:
        return True
    strokes = components.mask(large)
    fine = thickness <= FINE * stroke_width(strokes)
    return fine or float(np.median(share[lines])) <= PALE * float(np.median(share[strokes]))


def find_lines(mask: Mask, span: float, thickest: float) -> Lines:
    """Find thin straight lines along at least `span` of the width of a mask (H, W).

    Ink that crosses a line stays: only runs as short as the line is thick belong to it.
    Source: the removal of staff lines by run lengths, as in Fujinaga 2004, "Staff detection and
    removal".
    """
    height, width = mask.shape
    nothing = np.zeros_like(mask)
    none = Lines(nothing, nothing, [], 0.0)
    bands = nothing.copy()
    columns = np.zeros((width, height + 1), dtype=bool)
    columns[:, :-1] = mask.T
    edges = np.flatnonzero(np.diff(columns.ravel(), prepend=False))
    starts, ends = edges[::2], edges[1::2]
    thin = ends - starts <= thickest
    starts, ends = starts[thin], ends[thin]
    if len(starts) < span * COVERED * width:
        return none
    x, top = np.divmod(starts, height + 1)
    y = top + (ends - starts) / 2
    step = max(1.5, TOLERANCE * width)
    best = none
    counts: NDArray[np.int64] = np.zeros(1, np.int64)
    slope = 0.0
    for candidate in SLOPES:
        level = ((y - candidate * (x - width / 2)) / step + width).astype(np.int64)
        found = np.bincount(level)
        if (found**2).sum() > (counts**2).sum():
            counts, slope = found, candidate
    level = y - slope * (x - width / 2)
    pairs = counts[:-1] + counts[1:]
    order = pairs.argsort()[::-1]
    taken = np.zeros(len(starts), dtype=bool)
    positions, thicknesses = [], []
    for index in order[pairs[order] >= COVERED * COVERED * span * width]:
        middle = (index + 1 - width) * step
        near = np.abs(level - middle) <= step
        if not near.any() or taken[near].mean() > 0.5:
            continue
        middle = float(np.median(level[near]))
        near = (np.abs(level - middle) <= 1.5 * step) & ~taken
        rows = np.rint(middle + slope * (np.arange(width) - width / 2)).astype(int)
        reach = int(np.ceil(1.5 * step))
        inked = np.zeros(width, dtype=bool)
        for offset in range(-reach, reach + 1):
            at = rows + offset
            inside = (at >= 0) & (at < height)
            inked[inside] |= mask[at[inside], np.flatnonzero(inside)]
        places = np.flatnonzero(inked)
        length = places[-1] - places[0] + 1 if len(places) else 0
        if length < span * width or len(places) < COVERED * length:
            continue
        thickness = float(np.median((ends - starts)[near]))
        near &= (ends - starts) <= 1.6 * thickness + 1
        taken |= near
        reach = int(np.ceil(thickness / 2)) + 1
        for offset in range(-reach, reach + 1):
            at = rows + offset
            inside = (at >= 0) & (at < height)
            bands[at[inside], np.flatnonzero(inside)] = True
        positions.append(middle / height)
        thicknesses.append(thickness)
    if not positions:
        return best
    flat = np.zeros(width * (height + 1) + 1, dtype=np.int8)
    flat[starts[taken]] = 1
    flat[ends[taken]] = -1
    lines = flat[:-1].cumsum(dtype=np.int8).view(bool).reshape(width, height + 1)[:, :-1].T
    return Lines(lines, bands & mask, positions, float(np.median(thicknesses)))


def _find_boxes(share: Floats, mask: Mask, whole_page: bool) -> tuple[Mask, bool]:
    """Return the pixels of rectangular frames around other ink, and whether some are doubtful."""
    ruling, doubtful = np.zeros_like(mask), False
    thickest = max(3, THICK * max(mask.shape))
    components = find_components(mask)
    frames = [n for n in _large(components, mask) if _is_frame(mask, components.boxes[n])]
    boxes = components.boxes[frames]
    for box in boxes:
        top, left, bottom, right = box.tolist()
        part = mask[top:bottom, left:right]
        lines = [find_lines(some, SIDE * SIDE, thickest) for some in (part, part.T)]
        printed = _crossed(*lines)
        rest = part & ~printed
        if not printed.any() or (not _has_equals(box, boxes) and not _contains_ink(rest)):
            continue
        thickness = max(lines[0].thickness, lines[1].thickness)
        same = whole_page and _has_equals(box, boxes)
        cells = len(lines[0].positions) + len(lines[1].positions) - MANY
        if same or _is_ruling(share[top:bottom, left:right], part, printed, thickness, cells):
            ruling[top:bottom, left:right] |= printed
        else:
            doubtful = True
    return ruling, doubtful


def _large(components: Components, mask: Mask) -> NDArray[np.int64]:
    if not len(components):
        return np.zeros(0, np.int64)
    sides = components.boxes[:, 2:] - components.boxes[:, :2]
    return np.flatnonzero(sides.min(axis=1) >= max(12, max(mask.shape) / 40))


def _is_frame(mask: Mask, box: NDArray[np.int64]) -> bool:
    top, left, bottom, right = box.tolist()
    part = mask[top:bottom, left:right]
    height, width = part.shape
    down, across = max(2, round(BAND * height)), max(2, round(BAND * width))
    sides = (
        part[:down].any(0),
        part[-down:].any(0),
        part[:, :across].any(1),
        part[:, -across:].any(1),
    )
    return min(float(side.mean()) for side in sides) >= SIDE


def _has_equals(box: NDArray[np.int64], boxes: Boxes) -> bool:
    sides = boxes[:, 2:] - boxes[:, :2]
    own = box[2:] - box[:2]
    return int((np.abs(sides - own) <= EQUAL * own).all(axis=1).sum()) >= 3


def _contains_ink(rest: Mask) -> bool:
    """Whether something large lies inside a frame, away from its sides."""
    height, width = rest.shape
    down, across = round(BAND * height), round(BAND * width)
    inside = find_components(rest[down : height - down, across : width - across])
    return len(inside) > 0 and int(inside.lengths.max()) >= 0.15 * min(height, width)


def punch_holes(components: Components, certain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the round solid blobs (P,) near the border, apart from all strokes and broader."""
    boxes = components.boxes
    sides = boxes[:, 2:] - boxes[:, :2]
    diameters = sides.max(axis=1)
    holes: NDArray[np.bool_] = (
        certain & (diameters >= 5) & (diameters <= ROUND * sides.min(axis=1) + 1)
    )
    holes &= components.areas >= SOLID * sides.prod(axis=1)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / np.array(components.shape)
    holes &= (np.minimum(centres, 1 - centres) <= MARGIN).any(axis=1)
    strokes = certain & ~holes
    if max(components.shape) < SMALLEST or not holes.any() or not strokes.any():
        return np.zeros(len(components), dtype=bool)
    main = np.where(strokes, components.areas, 0).argmax()
    gaps = np.maximum(boxes[main, :2] - boxes[:, 2:], boxes[:, :2] - boxes[main, 2:]).max(axis=1)
    holes &= (diameters >= HOLE * components.stroke_width(main)) & (gaps >= diameters)
    return holes
