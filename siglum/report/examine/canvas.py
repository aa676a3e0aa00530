"""What the drawings of `siglum examine` are made on: a sheet measured in px, from the top down.

One drawing serves the page and a file of its own. On the page its colours are placeholders that
become custom properties of the page, and ink is black that the stylesheet turns light in the dark;
heat has a hue of its own over whatever the paper is.
Shapes: C channels, h x w values.
"""

import io
import re
import textwrap
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from siglum.report import plot

WIDTH = 1040  # of a page's figure, px
LINE = 26  # height of a line of the title of a file's drawing, px
LETTER = 9.5  # width of one of its letters, px, at most on average
FOR, AGAINST = (213, 94, 0), (30, 120, 190)  # hues of heat, Okabe-Ito's nearest
MARGIN = 20  # around a file's drawing, px
Box = tuple[float, float, float, float]  # x, y, width, height, px
INK_LINK = "siglum-ink"  # marks pictures of ink, which matplotlib can give nothing but a link


@dataclass(frozen=True)
class Look:
    """The colours of a drawing."""

    ink: str
    quiet: str
    line: str
    paper: str
    accent: str
    picture: tuple[int, int, int]  # of full ink in pictures
    titled: bool  # whether the title stands above, as it does in a file


PAGE = Look(plot.INK, plot.QUIET, plot.LINE, plot.PAPER, plot.ACCENT, (0, 0, 0), False)
SHEET = Look("#1c1b19", "#6b675f", "#e4e0d8", "#fbfaf7", "#b3402a", (28, 27, 25), True)


@dataclass(frozen=True)
class Canvas:
    """A sheet; (0, 0) is its top left corner."""

    axes: Axes
    look: Look
    title: str


def canvas(width: float, height: float, look: Look, title: str) -> Canvas:
    """Return an empty sheet, in px; a file's has room for its title and a margin."""
    told = textwrap.wrap(title, max(20, int(width / LETTER))) if look.titled else []
    top, edge = (LINE * len(told) + 18, MARGIN) if look.titled else (0, 0)
    whole = width + 2 * edge, height + top + 2 * edge
    figure = Figure(figsize=(whole[0] / 72, whole[1] / 72), dpi=72)
    figure.patch.set_visible(look.titled)
    figure.patch.set_facecolor(look.paper)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-edge, width + edge)
    axes.set_ylim(height + edge, -edge - top)
    axes.set_autoscale_on(False)
    made = Canvas(axes, look, title)
    for number, line in enumerate(told):
        write(made, 0, -top + 10 + LINE * number, line, size=17)
    return made


def write(
    on: Canvas,
    x: float,
    y: float,
    text: str,
    *,
    size: float = 13,
    colour: str | None = None,
    ha: str = "left",
    va: str = "center",
    bold: bool = False,
    halo: bool = False,
) -> None:
    """Write a line of text; what others chose is never taken for mathematics."""
    put = on.axes.text(
        x,
        y,
        text,
        fontsize=size,
        color=colour or on.look.ink,
        ha=ha,
        va=va,
        weight="bold" if bold else "normal",
        parse_math=False,
    )
    if halo:
        from matplotlib import patheffects

        put.set_path_effects([patheffects.withStroke(linewidth=4, foreground=on.look.paper)])


def short(text: str, most: int) -> str:
    """Return a name of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def ink(
    on: Canvas, picture: NDArray[np.floating], x: float, y: float, side: float, strength: float = 1
) -> None:
    """Draw a picture (C, h, w) in [0, 1]: of one channel ink on the paper, else in its colours."""
    if len(picture) == 3:
        pixels = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
        pixels = np.dstack([pixels, np.full(pixels.shape[:2], round(255 * strength), np.uint8)])
        place(on, pixels, x, y, side, side)
        return
    place(on, _hued(picture[0] * strength, on.look.picture), x, y, side, side, link=INK_LINK)


def heat(
    on: Canvas,
    values: NDArray[np.floating],
    x: float,
    y: float,
    width: float,
    most: float,
    height: float | None = None,
) -> None:
    """Draw values (h, w) from -`most` to `most`: orange above 0, blue below, paper at 0."""
    scaled = np.clip(np.abs(values) / (most or 1), 0, 1)
    pixels = np.where((values >= 0)[..., None], _hued(scaled, FOR), _hued(scaled, AGAINST))
    place(on, pixels, x, y, width, height or width)


def place(
    on: Canvas,
    pixels: NDArray[np.uint8],
    x: float,
    y: float,
    width: float,
    height: float,
    link: str | None = None,
) -> None:
    """Put (h, w, 4) at a place; what is much finer than the sheet is made smaller."""
    wide, high = round(2 * width), round(2 * height)
    if pixels.shape[1] > 1.5 * wide or pixels.shape[0] > 1.5 * high:
        smaller = min(wide, pixels.shape[1]), min(high, pixels.shape[0])
        pixels = np.asarray(Image.fromarray(pixels).resize(smaller, Image.Resampling.BOX))
    put = on.axes.imshow(
        pixels,
        extent=(x, x + width, y + height, y),
        interpolation="none",
        aspect="auto",
        zorder=1,
    )
    put.set_url(link)


def frames(on: Canvas, boxes: list[Box], colour: str | None = None, width: float = 1) -> None:
    """Draw lines around boxes."""
    paths = [[(x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)] for x, y, w, h in boxes]
    lines(on, paths, colour, width)


def lines(
    on: Canvas, paths: list[list[tuple[float, float]]], colour: str | None = None, width: float = 1
) -> None:
    """Draw lines through points."""
    drawn = LineCollection(paths, colors=colour or on.look.line, linewidths=width, zorder=2)
    on.axes.add_collection(drawn, autolim=False)


def scale(on: Canvas, x: float, y: float, most: str, signed: bool, width: float = 160) -> None:
    """Draw what the hues of heat stand for, 10 px high."""
    ramp = np.linspace(-1 if signed else 0, 1, 65)[None]
    heat(on, ramp, x, y, width, 1, height=10)
    frames(on, [(x, y, width, 10)])
    low = f"−{most}" if signed else "0"
    write(on, x, y + 19, low, size=11, colour=on.look.quiet)
    if signed:
        write(on, x + width / 2, y + 19, "0", size=11, colour=on.look.quiet, ha="center")
    write(on, x + width, y + 19, most, size=11, colour=on.look.quiet, ha="right")


def svg(on: Canvas, name: str) -> Markup:
    """Return a drawing in `PAGE`'s look as an element of the page."""
    with _any_letters():
        drawn = str(plot.svg(on.axes, name, on.title))
    marked = re.sub(
        rf'<a href="{INK_LINK}"[^>]*>(.*?)</a>', r'<g class="ink">\1</g>', drawn, flags=re.DOTALL
    )
    return Markup(marked)


def raw(on: Canvas, ending: str) -> bytes:
    """Return a drawing in `SHEET`'s look as a file: ".png", twice as fine, or ".svg"."""
    file = io.BytesIO()
    figure = on.axes.figure
    assert isinstance(figure, Figure), figure
    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "siglum"}
    with matplotlib.rc_context(style), _any_letters():
        if ending == ".png":
            figure.set_dpi(144)
            FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]
            return file.getvalue()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return re.sub(
        rb'<a xlink:href="%b"[^>]*>' % INK_LINK.encode(), b"<g>", file.getvalue()
    ).replace(b"</a>", b"</g>")


def _hued(strength: NDArray[np.floating], hue: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return one hue with values in [0, 1] as its strength: uint8 (h, w, 4)."""
    pixels = np.empty((*strength.shape, 4), np.uint8)
    pixels[..., :3] = hue
    pixels[..., 3] = np.rint(255 * np.clip(strength, 0, 1))
    return pixels


def _any_letters() -> AbstractContextManager[object]:
    """Draw class names of any script; a letter that the font lacks is a box in a PNG."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)
