"""Pen strokes: their JSON form, and the only rasteriser."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from siglum.errors import DataError

Stroke = NDArray[np.float64]  # (points, 4): x, y, milliseconds, pressure

VERSION = 1  # of the JSON form
SIZE = 256  # px of the longer side of an image
WIDTH = 1 / 40  # of a line at medium pressure, in longer sides of the pad
LIGHT, HARD = 0.75, 1.25  # of that width, at no pressure and at full pressure
SCALE = 4  # lines are drawn so much larger, then averaged

MAX_STROKES = 1_000
MAX_POINTS = 10_000  # of all strokes together
MAX_LENGTH = 1_000  # of all lines together, in longer sides of the pad
MAX_ASPECT = 4
BOUNDS = {  # of the numbers of a point
    "x": (-1.0, 2.0),  # a pen may leave the pad without being lifted
    "y": (-1.0, 2.0),
    "t": (0.0, 86_400_000.0),
    "pressure": (0.0, 1.0),
}
DIGITS = (5, 5, 1, 3)  # decimals of each: finer than a pad's pixel, clock and pressure


@dataclass(frozen=True, eq=False)
class Drawing:
    """Strokes on a pad."""

    strokes: tuple[Stroke, ...]  # x and y from 0 to 1 across the pad, y downwards
    aspect: float = 1.0  # the pad's width divided by its height

    @property
    def sides(self) -> tuple[float, float]:
        """The pad's width and height; the longer one is 1."""
        return min(self.aspect, 1.0), min(1 / self.aspect, 1.0)


def rasterise(drawing: Drawing, size: int = SIZE, width: float = WIDTH) -> NDArray[np.uint8]:
    """Render a drawing as light ink on black, antialiased, with round caps and joins.

    Args:
        size: px of the pad's longer side.
        width: of a line at medium pressure, in longer sides of the pad; at least a pixel is drawn.

    Returns:
        uint8 (H, W), 255 times the share of each pixel that is covered.
    """
    across, down = drawing.sides
    height, length = max(1, round(size * down)), max(1, round(size * across))
    canvas = Image.new("L", (SCALE * length, SCALE * height))
    pen = ImageDraw.Draw(canvas)
    for stroke in drawing.strokes:
        points = stroke[:, :2] * (across, down) * size * SCALE
        widths = (LIGHT + (HARD - LIGHT) * stroke[:, 3]) * width * size * SCALE
        widths = np.maximum(widths, SCALE)
        # Where pressure changes, short pieces follow the width.
        steps = np.ceil(np.abs(np.diff(widths))).astype(int).clip(1)
        places = np.arange(steps.sum() + 1)
        knots = np.concatenate([[0], steps.cumsum()])
        points = np.stack([np.interp(places, knots, axis) for axis in points.T], axis=1)
        widths = np.interp(places, knots, widths)
        for (x, y), radius in zip(points.tolist(), (widths / 2).tolist(), strict=True):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
        if np.ptp(widths) < 1:
            pen.line([*map(tuple, points.tolist())], 255, round(widths[0]), joint="curve")
            continue
        for (x, y), (u, v), broad in zip(
            points[:-1].tolist(), points[1:].tolist(), (widths[:-1] + widths[1:]) / 2, strict=True
        ):
            pen.line((x, y, u, v), 255, round(broad))
    return np.asarray(canvas.reduce(SCALE))


def parse(value: Any) -> Drawing:
    """Return the drawing that an untrusted JSON value describes.

    Numbers are rounded to `DIGITS`, so that a drawing and its JSON are equal.

    Raises:
        DataError: if the value breaks the format in docs/samples-format.md.
    """
    if not isinstance(value, dict) or value.keys() != {"version", "aspect", "strokes"}:
        keys = sorted(map(str, value)) if isinstance(value, dict) else _preview(value)
        raise DataError(f"drawing must have aspect, strokes and version only, got {keys!s:.80}.")
    if type(value["version"]) is not int or value["version"] != VERSION:
        raise DataError(
            f"version must be {VERSION}, got {_preview(value['version'])}. "
            "A newer Siglum may have written it: pip install --upgrade siglum"
        )
    aspect = float(_check("aspect", value["aspect"], 1 / MAX_ASPECT, MAX_ASPECT))
    lists = value["strokes"]
    if not isinstance(lists, list) or not all(isinstance(points, list) for points in lists):
        raise DataError(f"strokes must be a list of lists of points, got {_preview(lists)}.")
    count = sum(map(len, lists))
    for name, number, limit in (
        ("strokes", len(lists), MAX_STROKES),
        ("points", count, MAX_POINTS),
    ):
        if number > limit:
            raise DataError(
                f"{name} must be at most {limit:,}, got {number:,}. Draw one character."
            )
    drawing = Drawing(tuple(_parse_stroke(p, n) for n, p in enumerate(lists, start=1)), aspect)
    lines = [np.diff(stroke[:, :2] * drawing.sides, axis=0) for stroke in drawing.strokes]
    total = sum(float(np.hypot(*line.T).sum()) for line in lines)
    if total > MAX_LENGTH:
        raise DataError(
            f"lines must be at most {MAX_LENGTH:,} sides of the pad long, got {total:,.0f}. "
            "Draw one character."
        )
    return drawing


def to_json(drawing: Drawing) -> dict[str, Any]:
    """Return the JSON value of a parsed drawing."""
    strokes = [stroke.tolist() for stroke in drawing.strokes]
    return {"version": VERSION, "aspect": drawing.aspect, "strokes": strokes}


def _parse_stroke(points: list[Any], number: int) -> Stroke:
    if not points:
        raise DataError(f"stroke {number} must have a point, got none. Leave it out.")
    for row, point in enumerate(points, start=1):
        name = f"point {row} of stroke {number}"
        if not isinstance(point, list) or len(point) != len(BOUNDS):
            raise DataError(f"{name} must be [{', '.join(BOUNDS)}], got {_preview(point)}.")
        for (field, (low, high)), coordinate in zip(BOUNDS.items(), point, strict=True):
            if type(coordinate) not in (float, int) or not low <= coordinate <= high:
                _check(f"{field} of {name}", coordinate, low, high)
    columns = zip(np.array(points, dtype=np.float64).T, DIGITS, strict=True)
    return np.stack([np.round(column, digits) for column, digits in columns], axis=1)


def _check(name: str, value: Any, low: float, high: float) -> Any:
    if type(value) not in (int, float) or not low <= value <= high:
        raise DataError(f"{name} must be a number in [{low:g}, {high:g}], got {_preview(value)}.")
    return value


def _preview(value: Any) -> str:
    """Describe a JSON value for a message, however deep or long it is."""
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'a table'} of {len(value):,}"
    return repr(value)[:40]
