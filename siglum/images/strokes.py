"""Pen strokes: their JSON form, and the only rasteriser."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from siglum.errors import DataError

Stroke = NDArray[np.float64]  # (points, 4): x, y, milliseconds, pressure

VERSION = 1  # of the JSON form
SIZE = 256  # px of the longer side of an image
WIDTH = 1 / 40  # of a line at medium pressure, in longer sides of the pad
LIGHT, HARD = 0.75, 1.25  # of that width, at no pressure and at full pressure
SCALE = 4  # lines are drawn so much larger, then averaged
STEPS = (1e5, 1e5, 10, 1000)  # of one unit of a point: finer than a pad's pixel, clock, pressure

MAX_STROKES = 1_000
MAX_POINTS = 10_000  # of all strokes together
MAX_LENGTH = 1_000  # of all lines together, in longer sides of the pad

Coordinate = Annotated[float, Field(strict=True, ge=-1, le=2)]  # a pen may leave the pad
Time = Annotated[float, Field(strict=True, ge=0, le=86_400_000)]
Pressure = Annotated[float, Field(strict=True, ge=0, le=1)]
Point = tuple[Coordinate, Coordinate, Time, Pressure]
Points = Annotated[list[Point], Field(min_length=1, max_length=MAX_POINTS)]


class Document(BaseModel):
    """The JSON form of a drawing; docs/samples-format.md describes it."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    version: Literal[1]
    aspect: Annotated[float, Field(strict=True, ge=1 / 4, le=4)]
    strokes: Annotated[list[Points], Field(max_length=MAX_STROKES)]


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
    """Render a drawing as light ink on black, antialiased, `size` px along its longer side.

    The `width` is that of a line at medium pressure, in longer sides of the pad.
    """
    sides = np.array(drawing.sides)
    canvas = Image.new("L", [SCALE * max(1, round(size * side)) for side in sides.tolist()])
    pen = ImageDraw.Draw(canvas)
    for stroke in drawing.strokes:
        widths = (LIGHT + (HARD - LIGHT) * stroke[:, 3]) * width * size * SCALE
        widths = np.maximum(widths, SCALE)  # at least a pixel
        points = stroke[:, :2] * sides * size * SCALE
        for (x, y), radius in zip(points.tolist(), widths / 2, strict=True):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
        pairs = np.concatenate([points[:-1], points[1:]], axis=1)
        for line, broad in zip(pairs.tolist(), (widths[:-1] + widths[1:]) / 2, strict=True):
            pen.line(line, 255, round(broad))
    return np.asarray(canvas.reduce(SCALE))


def parse(value: Any) -> Drawing:
    """Return the drawing of an untrusted JSON value; DataError if it breaks the format."""
    try:
        document = Document.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, ("drawing", *first["loc"])))
        raise DataError(f"{name}: {first['msg']}, got {first['input']!r:.40}.") from None
    strokes = tuple(np.rint(np.array(points) * STEPS) / STEPS for points in document.strokes)
    drawing = Drawing(strokes, document.aspect)
    lines = [np.diff(stroke[:, :2] * drawing.sides, axis=0) for stroke in strokes]
    length = sum(float(np.hypot(*line.T).sum()) for line in lines)
    if sum(map(len, strokes)) > MAX_POINTS or length > MAX_LENGTH:
        limits = f"{MAX_POINTS:,} points, and lines of {MAX_LENGTH:,} sides of the pad"
        raise DataError(f"a drawing has at most {limits}. Draw one character.")
    return drawing


def fit_to_pad(strokes: Sequence[ArrayLike], columns: int = 3) -> Drawing:
    """Scale strokes to the middle of a pad. Points are x, y in any unit, and ms in column 3."""
    try:
        arrays = [array for one in strokes if len(array := np.asarray(one, np.float64))]
        timed = [np.column_stack([one[:, :columns], np.zeros(len(one))])[:, :3] for one in arrays]
        flat = np.concatenate(timed)
        low, high = flat.min(axis=0), flat.max(axis=0)
        origin = np.append((low + high)[:2] / 2, low[2])
    except (ValueError, IndexError, TypeError, OverflowError):
        raise DataError("strokes must be lists of points (x, y)") from None
    scale = 0.6 / max(float((high - low)[:2].max()), 1e-9)
    scaled = [((scale, scale, 1) * (one - origin) + (0.5, 0.5, 0)).tolist() for one in timed]
    lists = [[[*point, 0.5] for point in stroke] for stroke in scaled]
    return parse({"version": VERSION, "aspect": 1.0, "strokes": lists})


def to_json(drawing: Drawing) -> dict[str, Any]:
    """Return the JSON value of a parsed drawing."""
    strokes = [stroke.tolist() for stroke in drawing.strokes]
    return {"version": VERSION, "aspect": drawing.aspect, "strokes": strokes}
