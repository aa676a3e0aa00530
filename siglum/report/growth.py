"""Accuracy against a setting that is a number, such as the pictures a class: a learning curve."""

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from siglum.lab.compare import Comparison
from siglum.lab.growth import Growth
from siglum.report import words
from siglum.report.chapter import Chapter
from siglum.report.comparison_plots import (
    BROKEN,
    HEIGHT,
    LETTER,
    SAMPLE,
    SOLID,
    WIDTH,
    name_lines,
    short_names,
)
from siglum.report.comparison_tables import NONE, Table
from siglum.report.plot import SERIES, axes, svg
from siglum.report.settings_words import setting

STRETCH = 8  # from this ratio of the largest value to the least on, they stand by their logarithm


def growth_chapter(comparison: Comparison) -> Chapter | None:
    """Draw the curve of every way to train, with its band and the published figures."""
    growth = comparison.growth
    if growth is None:
        return None
    seeds = sorted({len(spot.figure.values) for line in growth.lines for spot in line.spots})
    caption = (
        f"Means over seeds ({words.count(seeds[-1], 'seed')} at each place"
        f"{', fewer at some' if len(seeds) > 1 else ''}), on the {comparison.kind} pictures."
    )
    if any(spot.band for line in growth.lines for spot in line.spots):
        caption += " Bands are 95 % intervals of the mean, by Student's t over the seeds."
    if any(spot.published is not None for line in growth.lines for spot in line.spots):
        caption += " Open circles are published figures."
    return Chapter(
        "growth",
        f"Accuracy against {setting(growth.setting)}",
        growth_finding(growth, comparison.kind),
        figures=(("", (_plot(growth, comparison.kind),)),),
        beside="curve",
        caption=caption,
        tables=(_table(growth, comparison.kind),),
    )


def growth_finding(growth: Growth, kind: str) -> str:
    """Tell what each way to train comes to from the least value to the largest, and its best."""
    told = []
    for line in growth.lines[:4]:
        first, last = line.spots[0], line.spots[-1]
        best = max(line.spots, key=lambda spot: spot.figure.mean)
        name = f"{line.name}: " if line.name else ""
        said = f"{name}{_percent(first.figure.mean)} at {first.value:g}"
        said += f", {_percent(last.figure.mean)} at {last.value:g}"
        if best not in (first, last):
            said += f" (most at {best.value:g}, {_percent(best.figure.mean)})"
        told.append(said)
    more = len(growth.lines) - len(told)
    also = f"; and {more} more" if more > 0 else ""
    return (
        f"{kind.capitalize()} accuracy against {setting(growth.setting)}: {'; '.join(told)}{also}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}{words.SPACE}%"


def _plot(growth: Growth, kind: str) -> Markup:
    names = short_names([line.name or kind for line in growth.lines])
    right = round(LETTER * max(map(len, names))) + SAMPLE + 20
    values = sorted({spot.value for line in growth.lines for spot in line.spots})
    with axes(WIDTH, HEIGHT, right=right) as made:
        ends = []
        for index, (line, name, colour) in enumerate(
            zip(growth.lines, names, SERIES, strict=False)
        ):
            style = BROKEN if index >= SOLID else "-"
            xs = [spot.value for spot in line.spots]
            means = [spot.figure.mean for spot in line.spots]
            bands = [spot.band for spot in line.spots]
            if all(bands):
                low, high = zip(*(band for band in bands if band), strict=True)
                alpha = 0.15 if len(growth.lines) <= SOLID else 0.07
                made.fill_between(xs, low, high, color=colour, alpha=alpha, linewidth=0)
            made.plot(xs, means, "o", linestyle=style, color=colour, markersize=5)
            told = [(s.value, s.published) for s in line.spots if s.published is not None]
            if told:
                made.plot(
                    *zip(*told, strict=True), "o", color=colour, markersize=8, fillstyle="none"
                )
            ends.append((means[-1], name, colour, style))
        _across(made, values)
        made.yaxis.set_major_locator(MaxNLocator(5))
        made.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.4g} %"))
        least, most = made.get_ylim()
        made.set_ylim(max(least, 0.0), min(most, 1.0))
        made.set_xlabel(setting(growth.setting))
        name_lines(made, ends)
        return svg(made, "growth", f"{kind} accuracy against {setting(growth.setting)}")


def _across(made: Axes, values: list[float]) -> None:
    if values[0] > 0 and values[-1] / values[0] >= STRETCH:
        made.set_xscale("log")
        made.xaxis.set_minor_locator(NullLocator())
    made.xaxis.set_major_locator(FixedLocator(values))
    made.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))


def _table(growth: Growth, kind: str) -> Table:
    many = len(growth.lines) > 1
    published = any(spot.published is not None for line in growth.lines for spot in line.spots)
    rows = []
    for line in growth.lines:
        for spot in line.spots:
            found = spot.figure
            row = [line.name] * many + [f"{spot.value:,.10g}", str(len(found.values))]
            row.append(f"{100 * found.mean:.2f}")
            row.append(NONE if found.deviation is None else f"{100 * found.deviation:.2f}")
            known = found.low is not None and found.high is not None
            row.append(
                f"{100 * (found.low or 0):.2f}–{100 * (found.high or 0):.2f}" if known else NONE
            )
            if published:
                row.append(NONE if spot.published is None else f"{100 * spot.published:.2f}")
            rows.append(tuple(row))
    head = ["way"] * many + [setting(growth.setting), "seeds", f"{kind}, %", "± over seeds", "95 %"]
    return Table((*head, *(["published, %"] * published)), tuple(rows))
