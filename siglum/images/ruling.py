"""Find what is printed on paper and not written: ruled lines, form boxes, dotted lines, holes.

Shapes: H x W pixels, R vertical runs of ink, P components.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.images.components import Components, Floats, Mask, fill_runs, find_components, find_runs

Selection = NDArray[np.bool_]  # (P,)

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
DOTS = 5  # small components on one level that make a dotted line


class Lines(NamedTuple):
    """Straight lines in a mask."""

    mask: Mask  # (H, W), the pixels that belong to nothing else
    inner: int  # lines that do not lie at the border
    thickness: float  # px; 0 without lines


def find_ruling(
    share: Floats, mask: Mask, components: Components, whole_page: bool
) -> tuple[Mask, bool]:
    """Return the pixels of ruled lines and boxes (H, W), and whether others are doubtful.

    Lines that are as dark and as broad as the writing are ruling only if there are many. On a
    `whole_page`, lines need not reach the borders, and boxes of one size are a form.
    """
    thickest = max(3, THICK * max(mask.shape))
    lines = _find_grid(mask, SPAN if whole_page else 1 - 2 * REACHED, thickest)
    printed = bool(lines.thickness) and _is_ruling(share, mask, lines)
    ruling = lines.mask if printed else np.zeros_like(mask)
    doubtful = not printed and bool(lines.thickness and (mask & ~lines.mask).any())
    rest = mask & ~ruling
    components = find_components(rest) if printed else components
    large = components.sides.min(axis=1) >= max(12, max(mask.shape) / 40)
    areas = [np.s_[top:bottom, left:right] for top, left, bottom, right in components.boxes[large]]
    areas = [area for area in areas if _is_frame(rest[area])]
    shapes = np.array([rest[area].shape for area in areas])
    for area, shape in zip(areas, shapes, strict=True):
        lines = _find_grid(rest[area], SIDE * SIDE, thickest)
        is_form = (np.abs(shapes - shape) <= EQUAL * shape).all(axis=1).sum() >= 3
        margin = round(BAND * shape.min())
        inner = (rest[area] & ~lines.mask)[margin:-margin, margin:-margin]
        writing = find_components(inner).sides.max(initial=0) >= 0.15 * shape.min()
        if not lines.thickness or not (is_form or writing):
            continue
        if (whole_page and is_form) or _is_ruling(share[area], rest[area], lines):
            ruling[area] |= lines.mask
        else:
            doubtful = True
    return ruling, doubtful


def _find_grid(mask: Mask, span: float, thickest: float) -> Lines:
    """Find the lines in both directions; where they cross, the second ones hold the pixels."""
    across = _find_lines(mask, span, thickest)
    down = _find_lines((mask & ~across.mask).T, span, thickest)
    thickness = max(across.thickness, down.thickness)
    return Lines(across.mask | down.mask.T, across.inner + down.inner, thickness)


def _find_lines(mask: Mask, span: float, thickest: float) -> Lines:
    """Find nearly horizontal thin lines along at least `span` of the width of a mask (H, W).

    Ink that crosses a line stays: only runs as short as the line is thick belong to it.
    Source: the removal of staff lines by run lengths, as in Fujinaga 2004, "Staff detection and
    removal".
    """
    height, width = mask.shape
    starts, ends = find_runs(mask.T)
    lengths = ends - starts
    thin = lengths <= thickest
    starts, ends, lengths = starts[thin], ends[thin], lengths[thin]
    if len(starts) < span * COVERED * width:
        return Lines(np.zeros_like(mask), 0, 0.0)
    x, y = np.divmod(starts + lengths / 2, height + 1)
    step = max(1.5, TOLERANCE * width)
    levels = y + width - SLOPES[:, None] * (x - width / 2)  # of each slope; none is negative
    squares = [(np.bincount(each.astype(int)) ** 2).sum() for each in levels / step]
    level = levels[np.argmax(squares)]
    counts = np.convolve(np.bincount(level.astype(int)), np.ones(round(2 * step)), "same")
    candidates = np.flatnonzero(counts >= COVERED * COVERED * span * width)
    chosen, inner, thicknesses = np.zeros(len(starts), dtype=bool), 0, []
    for rows in np.split(candidates, np.flatnonzero(np.diff(candidates) > 1) + 1):
        near = np.abs(level - rows.sum() / max(len(rows), 1) - 0.5) <= 1.5 * step
        columns = np.unique(x[near])
        length = np.ptp(columns) + 1 if len(columns) else 0
        if length < span * width or len(columns) < COVERED * length:
            continue
        thickness = float(np.median(lengths[near]))
        chosen |= near & (lengths <= 1.6 * thickness + 1)
        inner += REACHED < (np.median(level[near]) - width) / height < 1 - REACHED
        thicknesses.append(thickness)
    lines = fill_runs(starts[chosen], ends[chosen], width, height).T
    return Lines(lines, inner, float(np.median(thicknesses)) if thicknesses else 0.0)


def _is_ruling(share: Floats, mask: Mask, lines: Lines) -> bool:
    """Whether lines are printed: many, or finer or paler than the strokes among them."""
    components = find_components(mask & ~lines.mask)
    large = components.areas >= 4 * lines.thickness**2
    if not large.any():
        return lines.inner > MANY
    pale = np.median(share[lines.mask]) <= PALE * np.median(share[components.mask(large)])
    fine = lines.thickness <= FINE * components.stroke_width(large)
    return bool(lines.inner >= MANY or fine or pale)


def _is_frame(part: Mask) -> bool:
    """Whether there is ink along all four sides."""
    down, across = (max(2, round(BAND * length)) for length in part.shape)
    sides = part[:down], part[-down:], part[:, :across].T, part[:, -across:].T
    return min(float(side.any(axis=0).mean()) for side in sides) >= SIDE


def punch_holes(components: Components, certain: Selection) -> Selection:
    """Return the round solid blobs (P,) near the border, apart from all strokes and broader."""
    boxes, sides = components.boxes, components.sides
    if max(components.shape) < SMALLEST:
        return np.zeros_like(certain)
    diameters = sides.max(axis=1)
    holes: Selection = certain & (diameters >= 5) & (diameters <= ROUND * sides.min(axis=1) + 1)
    holes &= components.areas >= SOLID * sides.prod(axis=1)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / components.shape
    holes &= (np.minimum(centres, 1 - centres) <= MARGIN).any(axis=1)
    main = np.where(certain & ~holes, components.areas, 0).argmax()
    if not holes.any() or holes[main]:
        return np.zeros_like(holes)
    stroke = components.stroke_width(np.arange(len(holes)) == main)
    gaps = np.maximum(boxes[main, :2] - boxes[:, 2:], boxes[:, :2] - boxes[main, 2:]).max(axis=1)
    holes &= (diameters >= HOLE * stroke) & (gaps >= diameters)
    return holes


def dotted_lines(components: Components, certain: Selection, length: int) -> Selection:
    """Return the dots (P,) of dotted lines, thin beside a character of that `length`, px."""
    dots, boxes, sides = np.zeros_like(certain), components.boxes, components.sides
    for across, along in ((0, 1), (1, 0)) if certain.sum() >= DOTS else ():
        thin = certain & (sides[:, across] <= length / 8) & (sides[:, along] <= length / 2)
        rows = (boxes[:, across] + boxes[:, across + 2]) // (length / 4)
        for row in np.unique(rows[thin]):
            level = thin & (np.abs(rows - row) <= 1)
            extent = np.ptp(boxes[level][:, [along, along + 2]])
            if level.sum() >= DOTS and extent >= components.shape[along] / 2:
                dots |= level
    return dots
