"""Draw images and heat maps as rows of tiles.

Shapes: C channels, S side, h x w a kernel or a map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from siglum.report import plots

STRIP = 860  # width of a vector, px
FOR, AGAINST = (213, 94, 0), (30, 120, 190)  # hues of heat maps
NOTE: dict[str, Any] = {"color": plots.QUIET, "fontsize": 11}


@dataclass(frozen=True, eq=False)
class Tile:
    """An image, a heat map, or one over the other, with a line above and a line below."""

    ink: NDArray[np.floating] | None = None  # (C, S, S), in [0, 1]
    heat: NDArray[np.floating] | None = None  # (h, w), in [-1, 1]: blue below 0, orange above
    title: str = ""
    note: str = ""
    wrong: bool = False


@plots.styled
def draw_tiles(
    rows: Sequence[Sequence[Tile]],
    side: float,
    *,
    labels: Sequence[str] = (),
    scale: str = "",
    signed: bool = True,
) -> Figure:
    """Draw rows of tiles.

    Args:
        side: Of a tile, px. A vector, a heat map of one row, is drawn as a low strip instead.
        labels: Texts to the left of the rows.
        scale: What the strongest hue stands for; draws the scale of the heat maps below.
        signed: Whether heat maps have values below 0.
    """
    figure, axes = pixel_axes()
    start, gap = 170.0 if labels else 1.0, 6 if side < 60 else 16
    end, y = start + STRIP, 0.0
    for row, label in zip(rows, labels or [""] * len(rows), strict=True):
        top, high, x = y + (20 if any(tile.title for tile in row) else 2), side, start
        for tile in row:
            wide, values = side, 0 if tile.heat is None else tile.heat.shape[1]
            if tile.heat is not None and len(tile.heat) == 1 < values:
                wide, high = min(18 * values, STRIP), 18
            _draw_tile(axes, tile, x, top, wide, high)
            x += wide + gap
        lines = label.split("\n") if label else []
        for number, text in enumerate(lines):
            axes.text(0, top + 12 + 15 * number, text, **(NOTE if number else {}))
        below = 20 if any(tile.note for tile in row) else 0
        end, y = max(end, x), max(top + high + gap + below, y + 10 + 16 * len(lines))
    if scale:
        ramp = np.linspace(-1 if signed else 0, 1, 65)[None]
        _draw_tile(axes, Tile(heat=ramp), start, y + 4, 160, 10)
        axes.text(start, y + 29, f"−{scale}" if signed else "0", **NOTE)
        axes.text(start + 160, y + 29, scale, ha="right", **NOTE)
        y += 40
    resize(axes, end, y)
    return figure


def _draw_tile(axes: Axes, tile: Tile, x: float, y: float, wide: float, high: float) -> None:
    place: dict[str, Any] = {"extent": (x, x + wide, y + high, y), "aspect": "auto"}
    if tile.ink is not None:
        axes.imshow(to_pixels(tile.ink, 1 if tile.heat is None else 0.3), **place)
    if tile.heat is not None:
        hue = np.where((tile.heat >= 0)[..., None], FOR, AGAINST)
        axes.imshow(_to_rgba(hue, np.abs(tile.heat)), **place)
    colour = plots.ACCENT if tile.wrong else plots.LINE
    axes.add_patch(Rectangle((x, y), wide, high, fill=False, edgecolor=colour, linewidth=1))
    axes.text(x, y - 5, tile.title, color=plots.ACCENT if tile.wrong else plots.INK)
    axes.text(x, y + high + 14, tile.note, **NOTE)


def wrap(tiles: Sequence[Tile], columns: int) -> list[Sequence[Tile]]:
    """Break tiles into rows."""
    return [tiles[start : start + columns] for start in range(0, len(tiles), columns)]


def pixel_axes() -> tuple[Figure, Axes]:
    """Return a figure and axes over all of it, without ticks; `resize` sets their size."""
    figure = Figure()
    axes = figure.add_axes((0, 0, 1, 1), autoscale_on=False)
    axes.set_axis_off()
    return figure, axes


def resize(axes: Axes, width: float, height: float) -> None:
    """Set the size of `pixel_axes`: data are px from the top left."""
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.figure.set_size_inches(width / 72, height / 72)  # type: ignore[union-attr]


def to_pixels(image: NDArray[np.floating], strength: float = 1) -> NDArray[np.uint8]:
    """Return an image (C, S, S) as RGBA: one channel as black ink, three in their colours."""
    if len(image) == 3:
        return _to_rgba(255 * image.transpose(1, 2, 0), np.full(image.shape[1:], strength))
    return _to_rgba(0, strength * image[0])


def _to_rgba(colour: Any, opacity: NDArray[np.floating]) -> NDArray[np.uint8]:
    pixels = np.empty((*opacity.shape, 4))
    pixels[..., :3], pixels[..., 3] = colour, 255 * opacity
    return np.asarray(np.rint(pixels.clip(0, 255)), np.uint8)
