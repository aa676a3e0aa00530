"""Draw plots with matplotlib in light colours, for which a page puts CSS variables.

So one drawing serves files and light, dark and printed pages. Functions that draw are decorated
with `styled`. Lengths are px.
"""

import io
import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from siglum.files import to_csv, write_atomic
from siglum.formatting import percent, shorten

STYLE = matplotlib.rc_params_from_file(Path(__file__).parent / "plots.mplstyle", False, False)
INK, QUIET, LINE, PAPER, ACCENT = "#1c1b19", "#6b675f", "#e4e0d8", "#fbfaf7", "#b3402a"
# Okabe and Ito's colours.
SERIES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1c1b19", "#8c7f00"]
LABEL_STEP = 0.078  # between two labels of points, in heights of the axes: 12 lines fit
VARIABLES = {colour: f"series-{index}" for index, colour in enumerate(SERIES)}
VARIABLES |= {INK: "ink", QUIET: "quiet", LINE: "line", PAPER: "paper", ACCENT: "accent"}

styled = matplotlib.rc_context(STYLE)


@dataclass(frozen=True)
class Plot:
    """A figure, its finding as the title, and its numbers."""

    name: str
    title: str
    figure: Figure
    columns: Mapping[str, Sequence[object]] = field(default_factory=dict)  # of the CSV file
    caption: str = ""  # with the number of images

    def svg(self) -> Markup:
        """Return the plot as an element of a page on which its name is unique."""
        self.figure.patch.set_visible(False)
        text = _render(self.figure, ".svg").decode()
        text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
        text = re.sub(r'\bid="|(?<=href=")#|(?<=url\()#', rf"\g<0>{self.name}-", text)
        for colour, variable in VARIABLES.items():
            text = text.replace(f": {colour}", f": var(--{variable})")
        width, height = (round(72 * inches) for inches in self.figure.get_size_inches())
        head = Markup(
            '<svg class="plot" viewBox="0 0 {w} {h}" width="{w}" role="img" aria-label="{title}">'
        ).format(w=width, h=height, title=self.title)
        return head + Markup(re.sub(r"^<svg[^>]*>", "", text))

    @styled
    def image(self, suffix: str) -> bytes:
        """Return the plot as .png (144 dpi) or .svg, with its title above and its caption below."""
        figure = self.figure
        figure.patch.set_visible(True)
        width, height = figure.get_size_inches() * 72
        texts = []
        for text, size, y, align, colour in (
            (self.title, 17, 1 + 12 / height, "bottom", INK),
            (self.caption, 12, -8 / height, "top", QUIET),
        ):
            wrapped = textwrap.fill(text.replace(" %", "\xa0%"), max(24, int(width / size * 1.8)))
            texts.append(figure.text(8 / width, y, wrapped, fontsize=size, va=align, color=colour))
        image = _render(figure, suffix, bbox_inches="tight", pad_inches=0.25)
        for added in texts:
            added.remove()
        return image

    def save(self, folder: Path) -> None:
        """Write NAME.png, NAME.svg and NAME.csv into a folder."""
        for suffix in (".png", ".svg"):
            write_atomic(folder / f"{self.name}{suffix}", self.image(suffix))
        rows = zip(*self.columns.values(), strict=True)
        write_atomic(folder / f"{self.name}.csv", to_csv([[*self.columns], *rows]))


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a new figure and its axes: no frame, a hairline grid on y, room for all labels."""
    figure = Figure(figsize=(width / 72, height / 72))
    return figure, figure.add_subplot()


@styled
def draw_lines(
    lines: pd.DataFrame, x: str, limits: tuple[float, float | None], size: tuple[float, float]
) -> Figure:
    """Draw lines with bands: columns line, x, y, low, high; shares if the upper limit of y is 1."""
    figure, axes = new_axes(*size)
    groups, labels = lines.groupby("line", sort=False), short_labels(list(lines.line.unique()))
    for (_, line), label, colour in zip(groups, labels, SERIES, strict=False):
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.12, lw=0)
        marker = "o" if len(line) <= 12 else ""
        axes.plot(line.x, line.y, color=colour, marker=marker, label=label)
    axes.set(xlabel=x, ylim=limits)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=x == "epochs", min_n_ticks=1))
    axes.xaxis.set_major_formatter(EngFormatter() if x == "images" else "{x:,.10g}")
    if limits[1] == 1:
        axes.set_ylabel(f"axis starts at {percent(limits[0])}" if limits[0] else "")
        digits = 0 if limits[0] < 0.9 else None
        axes.yaxis.set_major_formatter(PercentFormatter(1, digits, " %"))
    if any(labels):  # a grid of one setting has one line without a name
        axes.legend(bbox_to_anchor=(1, 0.5))
    return figure


def add_labels(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Name points (x, y, name), at most 12, in the margin on the right, one below the other."""
    to_axes, height = axes.transData + axes.transAxes.inverted(), -LABEL_STEP
    for number, (x, y, name) in enumerate(sorted(points, key=lambda point: point[1]), 1):
        highest = 1 - LABEL_STEP * (len(points) - number)
        height = min(max(float(to_axes.transform((x, y))[1]), height + LABEL_STEP), highest)
        line = {"arrowstyle": "-", "color": QUIET, "linewidth": 0.6, "relpos": (0, 0.5)}
        place: Any = {"textcoords": "axes fraction", "va": "center", "annotation_clip": False}
        axes.annotate(name, (x, y), (1.06, height), arrowprops=line, **place)


def short_labels(names: Sequence[str], width: int = 24) -> list[str]:
    """Shorten names for labels; those that become equal get their number in front."""
    labels = [shorten(text, width) for text in names]
    return [
        label if labels.count(label) == 1 else f"{number} {shorten(text, width - 3)}"
        for number, (label, text) in enumerate(zip(labels, names, strict=True), 1)
    ]


@styled
def _render(figure: Figure, suffix: str, **options: Any) -> bytes:
    file = io.BytesIO()
    metadata = {"Date": None} if suffix == ".svg" else None
    # A font may lack the letters of a class name: a PNG shows boxes, a browser finds another font.
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        figure.savefig(file, format=suffix[1:], dpi=144, metadata=metadata, **options)
    return file.getvalue()
