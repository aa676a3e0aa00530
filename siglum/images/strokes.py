"""Pen strokes -> picture: the only rasteriser.

A pen lays round dots along a line. They are as wide as the pen, a little wider or narrower by
pressure, which changes evenly from point to point; a picture is what all the dots cover. So a
further point on a straight line changes nothing, ends and joins are round, and one point is a dot.
Only sums, products, quotients and square roots are taken, which IEEE 754 rounds in one way: every
machine draws the same bytes.
Shapes: P points of a stroke, M pieces of lines, H x W pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.errors import DataError

Stroke = NDArray[np.float64]  # (P, 4): x, y, milliseconds, pressure, in that order
Floats = NDArray[np.float64]

VERSION = 1  # of the JSON form
SIZE = 256  # px of a picture's longer side
WIDTH = 1 / 40  # of a line at middle pressure, in longer sides of the pad
LIGHT, HARD = 0.75, 1.25  # of that width, at no pressure and at full pressure

MAX_STROKES = 1_000
MAX_POINTS = 10_000  # of all strokes together
MAX_LENGTH = 1_000  # of all lines together, in longer sides of the pad
MAX_ASPECT = 4
BOUNDS = {  # what a number of a point may be
    "x": (-1.0, 2.0),  # a pen may leave the pad without being lifted
    "y": (-1.0, 2.0),
    "t": (0.0, 86_400_000.0),
    "pressure": (0.0, 1.0),
}
DIGITS = (5, 5, 1, 3)  # kept of each: finer than a pad's pixel, a pad's clock and a pen's pressure
BATCH = 1 << 17  # pixels of pieces at once: they stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Drawing:
    """What was drawn on a pad."""

    strokes: tuple[Stroke, ...]  # x and y from 0 to 1 across the pad, y downwards
    aspect: float = 1.0  # the pad's width divided by its height

    @property
    def sides(self) -> tuple[float, float]:
        """The pad's width and height; the longer one is 1."""
        return min(self.aspect, 1.0), min(1 / self.aspect, 1.0)


def drawn(drawing: Drawing, size: int = SIZE, width: float = WIDTH) -> NDArray[np.uint8]:
    """Return what a drawing looks like, as light ink on black.

    Args:
        size: px of the pad's longer side.
        width: of a line at middle pressure, in longer sides of the pad. None is ever thinner than
            a pixel.

    Returns:
        uint8 (H, W), the share of each pixel that is covered, 255 for all of it.
    """
    across, down = drawing.sides
    shape = max(1, round(size * down)), max(1, round(size * across))
    if not drawing.strokes:
        return np.zeros(shape, np.uint8)
    scale = np.array([across * size, down * size])
    beginnings, ends = (
        np.concatenate([stroke[cut] if len(stroke) > 1 else stroke for stroke in drawing.strokes])
        for cut in (slice(None, -1), slice(1, None))
    )
    pressures = np.stack([beginnings[:, 3], ends[:, 3]])
    radii = (LIGHT + (HARD - LIGHT) * pressures) * max(width * size, 1 / LIGHT) / 2
    pieces, side = _pieces(beginnings[:, :2] * scale, ends[:, :2] * scale, radii, shape)
    inside = slice(side, side + shape[0]), slice(side, side + shape[1])
    # In the margin nothing is to be drawn, which is as if all of it were ink already.
    field = np.full((shape[0] + 2 * side, shape[1] + 2 * side), -np.inf, np.float32)
    field[inside] = np.inf
    batch = max(1, BATCH // side**2)
    for start in range(0, len(pieces.x), batch):
        chunk = _Pieces(*(values[start : start + batch] for values in pieces))
        if start:
            unfinished = _unfinished(field, chunk, side)
            chunk = _Pieces(*(values[unfinished] for values in chunk))
        _lay(field, chunk, side)
    covered = np.clip(np.float32(0.5) - field[inside], 0, 1)
    ink: NDArray[np.uint8] = np.rint(255 * covered).astype(np.uint8)
    return ink


class _Pieces(NamedTuple):
    """Short pieces of lines: each (M,), px, float32 but for the corner."""

    x: NDArray[Any]  # where the whole line begins
    y: NDArray[Any]
    along_x: NDArray[Any]  # its direction, of length 1
    along_y: NDArray[Any]
    first: NDArray[Any]  # from where on the line
    last: NDArray[Any]  # to where
    radius: NDArray[Any]  # where the whole line begins
    growth: NDArray[Any]  # of the radius, for each px along the line; within (-1, 1)
    top: NDArray[Any]  # the corner of a box that holds all that it covers
    left: NDArray[Any]


def _pieces(a: Floats, b: Floats, radii: Floats, shape: tuple[int, int]) -> tuple[_Pieces, int]:
    """Cut lines from `a` to `b` (M, 2) into pieces that fit small boxes; return the box's side."""
    way = b - a
    length = np.sqrt((way * way).sum(axis=1))
    # A dot that holds the other one, and all between them, stands for the line.
    swallowed = length <= np.abs(radii[1] - radii[0])
    larger = swallowed & (radii[1] > radii[0])
    a = np.where(larger[:, None], b, a)
    radius = np.where(larger, radii[1], radii[0])
    divisor = np.where(swallowed, 1, length)
    growth = np.where(swallowed, 0, (radii[1] - radii[0]) / divisor)
    along = np.where(swallowed[:, None], [1, 0], way / divisor[:, None])
    length = np.where(swallowed, 0, length)

    widest = 2 * float(radii.max())
    step = widest + 2  # about where boxes have the fewest pixels for a line's length
    side = math.ceil(widest + step) + 3
    count = np.maximum(np.ceil(length / step), 1).astype(np.int64)
    line = np.repeat(np.arange(len(a)), count)
    number = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count)
    first = length[line] * number / count[line]
    last = length[line] * (number + 1) / count[line]
    tips = a[line] + along[line] * first[:, None], a[line] + along[line] * last[:, None]
    corner = np.floor(np.minimum(*tips) - widest / 2 - 1).astype(np.int64)  # (M, 2): left, top
    seen = (corner + side > 0).all(axis=1) & (corner < shape[::-1]).all(axis=1)
    line = line[seen]
    facts = (*a[line].T, *along[line].T, first[seen], last[seen], radius[line], growth[line])
    narrow = [values.astype(np.float32) for values in facts]
    return _Pieces(*narrow, *corner[seen, ::-1].T), side


def _unfinished(field: NDArray[np.float32], pieces: _Pieces, side: int) -> NDArray[np.bool_]:
    """Say for which pieces (M,) there is a pixel in the box that is not all ink yet.

    What is scribbled over again and again costs no more than what is scribbled over once.
    """
    sums = (field > -0.5).cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32)
    above, before = pieces.top + side - 1, pieces.left + side - 1
    below, behind = above + side, before + side
    within = sums[below, behind] - sums[above, behind] - sums[below, before] + sums[above, before]
    return np.asarray(within > 0)


def _lay(field: NDArray[np.float32], pieces: _Pieces, side: int) -> None:
    """Lower a field, whose margin is `side`, to each pixel's distance from the pieces' edges, px.

    The nearest dot is not the one abreast of the pixel where the radius grows along the line, but
    one a little further on: from the minimum of sqrt(across^2 + s^2) - growth * s over s.
    """
    columns = [np.asarray(values)[:, None, None] for values in pieces]
    x, y, along_x, along_y, first, last, radius, growth, top, left = columns
    places = np.arange(side)
    right = (left + places[None, None, :] + 0.5 - x).astype(np.float32)  # (M, 1, side)
    down = (top + places[None, :, None] + 0.5 - y).astype(np.float32)  # (M, side, 1)
    along = along_x * right + along_y * down  # (M, side, side)
    across = along_x * down - along_y * right
    nearest = along
    if pieces.growth.any():
        nearest = along + growth / np.sqrt(1 - growth * growth) * np.abs(across)
    nearest = np.clip(nearest, first, last)
    along -= nearest
    distance = np.sqrt(along * along + across * across)
    distance -= radius + growth * nearest
    rows, starts = pieces.top + side, pieces.left + side
    for box, row, start in zip(distance, rows.tolist(), starts.tolist(), strict=True):
        part = field[row : row + side, start : start + side]
        np.minimum(part, box, out=part)


def parse(value: Any) -> Drawing:
    """Return the drawing that a JSON value stands for; nothing of it is trusted.

    Numbers are rounded to `DIGITS`, so that a drawing and its JSON are the same.

    Raises:
        DataError: if it is anything else than docs/samples-format.md says.
    """
    if not isinstance(value, dict) or value.keys() != {"version", "aspect", "strokes"}:
        found = sorted(map(str, value)) if isinstance(value, dict) else _shown(value)
        raise DataError(
            f"drawing must have aspect, strokes and version and nothing else, got {found!s:.80}."
        )
    if type(value["version"]) is not int or value["version"] != VERSION:
        raise DataError(
            f"version must be {VERSION}, got {_shown(value['version'])}. "
            "A newer Siglum may have written it: pip install --upgrade siglum"
        )
    aspect = _number("aspect", value["aspect"], 1 / MAX_ASPECT, MAX_ASPECT)
    lists = value["strokes"]
    if not isinstance(lists, list) or not all(isinstance(points, list) for points in lists):
        raise DataError(f"strokes must be a list of lists of points, got {_shown(lists)}.")
    if len(lists) > MAX_STROKES:
        raise DataError(
            f"strokes must be at most {MAX_STROKES:,}, got {len(lists):,}. Draw one character."
        )
    if (count := sum(map(len, lists))) > MAX_POINTS:
        raise DataError(
            f"points must be at most {MAX_POINTS:,} in all, got {count:,}. Draw one character."
        )
    strokes = tuple(_stroke(points, number) for number, points in enumerate(lists, start=1))
    drawing = Drawing(strokes, aspect)
    sides = np.array(drawing.sides)
    length = sum(
        float(np.sqrt((np.diff(s[:, :2] * sides, axis=0) ** 2).sum(axis=1)).sum()) for s in strokes
    )
    if length > MAX_LENGTH:
        raise DataError(
            f"lines must be at most {MAX_LENGTH:,} sides of the pad long in all, "
            f"got {length:,.0f}. Draw one character."
        )
    return drawing


def to_json(drawing: Drawing) -> dict[str, Any]:
    """Return the JSON value that stands for a drawing that was parsed."""
    strokes = [stroke.tolist() for stroke in drawing.strokes]
    return {"version": VERSION, "aspect": drawing.aspect, "strokes": strokes}


def _stroke(points: Sequence[Any], number: int) -> Stroke:
    if not points:
        raise DataError(f"stroke {number} must have a point, got none. Leave it out.")
    for place, point in enumerate(points, start=1):
        if not isinstance(point, list) or len(point) != len(BOUNDS):
            raise DataError(
                f"point {place} of stroke {number} must be [{', '.join(BOUNDS)}], "
                f"got {_shown(point)}."
            )
        for (name, (low, high)), found in zip(BOUNDS.items(), point, strict=True):
            if type(found) not in (float, int) or not low <= found <= high:
                _number(f"{name} of point {place} of stroke {number}", found, low, high)
    columns = zip(np.array(points, dtype=np.float64).T, DIGITS, strict=True)
    return np.stack([np.round(column, digits) for column, digits in columns], axis=1)


def _number(name: str, value: Any, low: float, high: float) -> float:
    """Return a number of JSON that must lie in [low, high]."""
    if type(value) not in (int, float) or not low <= value <= high:
        raise DataError(f"{name} must be a number in [{low:g}, {high:g}], got {_shown(value)}.")
    return float(value)


def _shown(value: Any) -> str:
    """Return a piece of a JSON value for a message, however deep or long it is."""
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'a table'} of {len(value):,}"
    return repr(value)[:40]
