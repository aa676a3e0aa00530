"""The figures of a grid: a curve for each setting, an interaction, a heat map for each network."""

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from siglum.lab.effects import Effects
from siglum.report.comparison_plots import BROKEN, HEIGHT, LETTER, SAMPLE, SOLID, WIDTH, name_lines
from siglum.report.plot import FIRST, INK, QUIET, SERIES, axes, svg
from siglum.report.settings_words import setting

LONGEST = 14  # characters of a value under an axis
FAINT, STRONG = 0.06, 0.62  # of a heat map's hue, at the least and at the most


def main_effects(effects: Effects, kind: str) -> list[Markup]:
    """Draw, for each setting, the mean accuracy at each of its values, on one scale."""
    ends = [
        level.mean + side * (level.half or 0.0)
        for levels in effects.main
        for level in levels
        for side in (-1, 1)
    ]
    made = []
    for index, levels in enumerate(effects.main):
        name = effects.settings[index]
        with axes(WIDTH, HEIGHT, left=56, right=16) as place:
            xs = range(len(levels))
            means = [level.mean for level in levels]
            halves = [level.half or 0.0 for level in levels]
            line = "-" if effects.numbers[index] else "none"
            place.errorbar(xs, means, halves, fmt="o", linestyle=line, color=FIRST, markersize=6)
            _values(place, effects.values[index])
            _shares(place, min(ends), max(ends))
            place.set_xlabel(setting(name))
            made.append(svg(place, f"main-{index}", f"{kind} accuracy by {setting(name)}"))
    return made


def interaction(effects: Effects, pair: tuple[int, int], kind: str) -> Markup:
    """Draw mean accuracies by two settings: the second across, a line for each value of the first.

    Lines that run side by side mean that one setting does the same whatever the other is.
    """
    first, second = pair
    others = tuple(a for a in range(len(effects.settings)) if a not in pair)
    means = effects.cells.mean(axis=others)
    if first > second:
        means = means.T
    labels = [f"{setting(effects.settings[first])} {value}" for value in effects.values[first]]
    if not effects.numbers[first]:
        labels = list(effects.values[first])
    right = round(LETTER * max(map(len, labels))) + SAMPLE + 20
    with axes(WIDTH, HEIGHT, left=56, right=right) as made:
        ends = []
        for index, (row, label, colour) in enumerate(zip(means, labels, SERIES, strict=False)):
            style = BROKEN if index >= SOLID else "-"
            made.plot(range(len(row)), row, "o", linestyle=style, color=colour, markersize=4)
            ends.append((float(row[-1]), label, colour, style))
        _values(made, effects.values[second])
        _shares(made, float(means.min()), float(means.max()))
        made.set_xlabel(setting(effects.settings[second]))
        name_lines(made, ends)
        return svg(made, "interaction", f"{kind} accuracy by two settings together")


def heat_maps(effects: Effects) -> list[Markup]:
    """Draw the cells: the last two settings down and across, a map for each value of the first."""
    cells = effects.cells
    while cells.ndim > 3:  # of four settings and more, the ones between are averaged
        cells = cells.mean(axis=1)
    if cells.ndim == 2:
        return [_heat(effects, cells, "", cells.min(), cells.max(), 0)]
    return [
        _heat(effects, cells[i], value, cells.min(), cells.max(), i)
        for i, value in enumerate(effects.values[0])
    ]


def _heat(
    effects: Effects, cells: NDArray[np.float64], title: str, low: float, high: float, number: int
) -> Markup:
    down, across = effects.values[-2], effects.values[-1]
    width, height = 92 + 64 * len(across), 72 + 32 * len(down)
    with axes(width, height, left=76, right=16, top=28, bottom=44) as made:
        made.set_xlim(0, len(across))
        made.set_ylim(len(down), 0)
        for row, column in np.ndindex(*cells.shape):
            value = float(cells[row, column])
            heat = FAINT + (STRONG - FAINT) * (value - low) / max(high - low, 1e-9)
            made.add_patch(Rectangle((column, row), 1, 1, facecolor=FIRST, alpha=heat, linewidth=0))
            text = f"{100 * value:.2f}" if high - low < 0.2 else f"{100 * value:.1f}"
            made.text(column + 0.5, row + 0.5, text, color=INK, ha="center", va="center")
        row, column = np.unravel_index(int(cells.argmax()), cells.shape)
        made.add_patch(
            Rectangle(
                (column + 0.03, row + 0.05), 0.94, 0.9, fill=False, edgecolor=INK, linewidth=1.5
            )
        )
        made.grid(visible=False)
        made.set_xticks([i + 0.5 for i in range(len(across))], across)
        made.set_yticks([i + 0.5 for i in range(len(down))], down)
        made.set_xlabel(setting(effects.settings[-1]))
        made.set_ylabel(setting(effects.settings[-2]))
        made.set_title(title, loc="left", fontsize=13, color=QUIET)
        return svg(made, f"heat-{number}", f"test accuracy of each cell, {title}".rstrip(", "))


def _values(made: Axes, values: tuple[str, ...]) -> None:
    short = [
        v if len(v) <= LONGEST else f"{v[: LONGEST // 2]}…{v[-LONGEST // 2 + 1 :]}" for v in values
    ]
    made.set_xticks(range(len(values)), short if len(set(short)) == len(short) else values)
    made.set_xlim(-0.3, len(values) - 0.7)


def _shares(made: Axes, low: float, high: float) -> None:
    room = max(high - low, 0.002) * 0.08
    made.set_ylim(max(low - room, 0.0), min(high + room, 1.0))
    made.yaxis.set_major_locator(MaxNLocator(5))
    made.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.4g} %"))
