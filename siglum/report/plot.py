"""The look of the plots: matplotlib draws, the page's stylesheet colours.

Figures are drawn in placeholder colours that become custom properties of the page, so that one
drawing serves light, dark and print. Lengths are px.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, QUIET, LINE = "#010101", "#020202", "#030303"
PAPER, ACCENT = "#0c0c0c", "#0d0d0d"
# Series, Okabe-Ito. The stylesheet of every page has the first two, that of comparisons all.
SERIES = {
    "#040404": "first",
    "#050505": "second",
    "#060606": "third",
    "#070707": "fourth",
    "#080808": "fifth",
    "#090909": "sixth",
    "#0a0a0a": "seventh",
    "#0b0b0b": "eighth",
}
FIRST, SECOND = list(SERIES)[:2]
VARIABLES = {INK: "ink", QUIET: "quiet", LINE: "line", PAPER: "paper", ACCENT: "accent"} | SERIES
TEXT = 13
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "siglum",
    "font.family": "sans-serif",
    "font.size": TEXT,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": QUIET,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 1,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "ytick.major.size": 0,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class End:
    """The last point of a line, and what the line is."""

    x: float
    y: float
    text: str
    colour: str


@contextmanager
def axes(
    width: int, height: int, *, left: int = 48, right: int = 84, bottom: int = 48, top: int = 12
) -> Iterator[Axes]:
    """Give axes of a new figure, with room around them for the labels."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        figure.patch.set_visible(False)
        inside = (width - left - right) / width, (height - bottom - top) / height
        made = figure.add_axes((left / width, bottom / height, *inside))
        made.patch.set_visible(False)
        yield made


def label_ends(axes: Axes, ends: list[End]) -> None:
    """Name lines at their ends, in the order they end in, far enough apart to be read."""
    ends = sorted(ends, key=lambda end: end.y)
    lines = [float(axes.transData.transform((end.x, end.y))[1]) for end in ends]
    places = list(lines)
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + TEXT + 4)
    above = max(places[-1] - axes.bbox.y1, 0)
    for end, line, place in zip(ends, lines, places, strict=True):
        axes.annotate(
            end.text,
            (end.x, end.y),
            (10, place - above - line),
            textcoords="offset pixels",
            color=end.colour,
            va="center",
            annotation_clip=False,
        )


def svg(axes: Axes, name: str, title: str) -> Markup:
    """Return the figure of `axes` as an element of the page.

    Args:
        name: of one figure only; sets its identifiers apart from those of the others.
        title: what it shows, for those who do not see it.
    """
    figure = axes.figure
    assert isinstance(figure, Figure), figure
    file = io.StringIO()
    with matplotlib.rc_context(STYLE):
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})  # type: ignore[no-untyped-call]
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="|(?<=href=")#|(?<=url\()#', lambda m: f"{m[0]}{name}-", text)
    text = text.replace("xlink:href", "href")
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    text = re.sub(r"(font: \d+px) [^;\"]*", r"\1 ui-sans-serif, system-ui, sans-serif", text)
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    head = Markup(
        '<svg class="plot" viewBox="0 0 {w} {h}" width="{w}" role="img" aria-label="{t}">'
    )
    opened = head.format(w=width, h=height, t=title)
    return opened + Markup(re.sub(r"^<svg[^>]*>", "", text))


LIGHT = {  # what stands alone is drawn on paper, by the values that the pages have for light
    "ink": "#1c1b19",
    "quiet": "#6b675f",
    "line": "#e4e0d8",
    "first": "#0072b2",
    "second": "#d55e00",
    "third": "#009e73",
    "fourth": "#cc79a7",
    "fifth": "#e69f00",
    "sixth": "#56b4e9",
    "seventh": "#1c1b19",
    "eighth": "#8c7f00",
}
PAPER = "#fbfaf7"


def standalone(plots: list[Markup], across: int = 2, gap: int = 24) -> str:
    """Return figures of pages as one SVG file, side by side and one below the other."""
    sizes = [
        (int(w), int(h)) for p in plots for w, h in re.findall(r'viewBox="0 0 (\d+) (\d+)"', p)[:1]
    ]
    placed, top, widest = [], gap, 0
    for start in range(0, len(plots), across):
        left, row = gap, range(start, min(start + across, len(plots)))
        for i in row:
            width, height = sizes[i]
            at = f'<svg x="{left}" y="{top}" height="{height}"'
            placed.append(re.sub(r"^<svg", at, str(plots[i])))
            left += width + gap
        top, widest = top + max(sizes[i][1] for i in row) + gap, max(widest, left)
    text = "".join(placed)
    for name, colour in LIGHT.items():
        text = text.replace(f"var(--{name})", colour)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {widest} {top}" width="{widest}">'
        f'<rect width="100%" height="100%" fill="{PAPER}"/>{text}</svg>\n'
    )
