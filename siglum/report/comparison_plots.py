"""The figures of a comparison: curves of all seeds, accuracies and differences with intervals.

At most as many arms as there are colours are drawn: of more, the best, the worst and those with a
published figure.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import IdentityTransform

from siglum.lab.compare import Comparison, Outcome, Pair
from siglum.lab.finding import shown
from siglum.lab.outcome import Curve, Middle, Record
from siglum.report.plot import INK, LINE, QUIET, SERIES, TEXT, axes, svg

WIDTH, HEIGHT = 432, 264
LONGEST = 20  # characters of a name beside a line
LETTER = 8.0  # px, wide enough for most
SAMPLE = 16  # px of a line drawn before its name
SOLID = 4  # arms whose lines are whole; later ones are broken, so that colour is not alone
BROKEN = (0, (7, 2, 2, 2))
DASHED = (0, (4, 4))  # a published figure
TALL = 44  # px of a row
PAIRS = 8  # rows of differences at most

LineStyle = Any  # matplotlib's: a name, or an offset with lengths
Measure = Literal["accuracy", "loss"]
Against = Literal["epochs", "pictures shown", "seconds", "seconds, pretraining counted in"]


@dataclass(frozen=True)
class Drawn:
    """An arm in the figures: what it is called and how its lines look."""

    outcome: Outcome
    label: str  # short
    colour: str  # a key of SERIES
    broken: bool


def drawn(comparison: Comparison) -> list[Drawn]:
    """Choose the arms that are drawn, in their order, and give each a look of its own."""
    there = [outcome for outcome in comparison.arms if outcome.seeds]
    if len(there) > len(SERIES):
        ranked = sorted(there, key=lambda o: -o.figure(comparison.part).mean)
        chosen = [ranked[0], ranked[-1]]
        chosen += [o for o in ranked[1:-1] if o.published][: len(SERIES) - 2]
        there = [outcome for outcome in there if outcome in chosen]
    labels = short_names([outcome.name for outcome in there])
    return [
        Drawn(outcome, label, colour, index >= SOLID)
        for index, (outcome, label, colour) in enumerate(zip(there, labels, SERIES, strict=False))
    ]


def short_names(names: Sequence[str]) -> list[str]:
    """Shorten names for use beside lines: without what each begins with, and in the middle."""
    plain = [name.removeprefix("model=").removeprefix("init=") for name in names]
    if len(set(plain)) < len(names):
        plain = list(names)
    short = [
        n if len(n) <= LONGEST else f"{n[: LONGEST // 2]}…{n[-LONGEST // 2 + 1 :]}" for n in plain
    ]
    if len(set(short)) == len(names):
        return short
    return [f"{number} {name[: LONGEST - 2]}" for number, name in enumerate(short, 1)]


def curves(comparison: Comparison) -> list[tuple[str, list[Markup]]]:
    """Draw the accuracy and loss that were watched against each measure of effort, with titles."""
    arms = [arm for arm in drawn(comparison) if arm.outcome.middle]
    if not arms:
        return []
    measures: list[tuple[str, Measure]] = [
        (f"Accuracy on the {comparison.watching} pictures", "accuracy"),
        (f"Loss on the {comparison.watching} pictures, nats", "loss"),
    ]
    against: list[Against] = ["epochs", "pictures shown", "seconds"]
    before = [curve.seconds_before for arm in arms for curve in arm.outcome.curves]
    if any(arm.outcome.pretrained for arm in arms) and None not in before:
        against.append("seconds, pretraining counted in")
    return [(title, [_curves(arms, name, x) for x in against]) for title, name in measures]


def accuracies(comparison: Comparison) -> Markup:
    """Draw the accuracy of each arm, its seeds, its interval, and the published figure."""
    arms, part = drawn(comparison), comparison.part
    with axes(WIDTH, 60 + TALL * len(arms), left=24, right=24, bottom=48, top=12) as made:
        for row, arm in enumerate(arms):
            found = arm.outcome.figure(part)
            y = -float(row)
            if found.low is not None and found.high is not None:
                made.plot([found.low, found.high], [y, y], color=arm.colour, linewidth=2)
            made.plot(
                found.values,
                [y] * len(found.values),
                "o",
                markersize=4,
                color=arm.colour,
                alpha=0.5,
            )
            made.plot([found.mean], [y], "o", markersize=8, color=arm.colour)
            told = f"{arm.label}: {100 * found.mean:.{_places(comparison)}f} %"
            if part in arm.outcome.published:
                value = arm.outcome.published[part]
                made.plot(
                    [value, value],
                    [y - 0.25, y + 0.25],
                    color=QUIET,
                    linewidth=1.25,
                    linestyle=DASHED,
                )
                told += f"  (dashed: published, {100 * value:.{_places(comparison)}f} %)"
            _above(made, y, told)
        _rows(made, len(arms))
        made.set_xlabel(f"right of the {comparison.kind} pictures")
        return svg(made, "accuracies", f"{comparison.kind} accuracy of each arm with its interval")


def differences(comparison: Comparison) -> Markup | None:
    """Draw the difference of each pair with its interval: over both where there is one."""
    pairs = [pair for pair in comparison.pairs if pair.seeds]
    if not pairs:
        return None
    labels = {arm.outcome.name: arm.label for arm in drawn(comparison)}
    pairs.sort(key=lambda pair: abs(pair.difference or 0.0), reverse=True)
    pairs = pairs[:PAIRS]
    with axes(WIDTH, 60 + TALL * len(pairs), left=24, right=24, bottom=48, top=12) as made:
        made.axvline(0, color=QUIET, linewidth=1)
        for row, pair in enumerate(pairs):
            y, (low, high) = -float(row), interval_of(pair)
            colour = INK if shown(pair) else QUIET
            made.plot([low, high], [y, y], color=colour, linewidth=2)
            made.plot([pair.difference or 0.0], [y], "o", markersize=8, color=colour)
            names = [labels.get(n) or short_names([n])[0] for n in (pair.first, pair.second)]
            _above(made, y, " over ".join(names))
        _rows(made, len(pairs))
        low, high = made.get_xlim()
        made.set_xlim(min(low, 0), max(high, 0))
        made.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.4g}"))
        made.set_xlabel(f"points of {comparison.kind} accuracy")
        return svg(made, "differences", "difference of each pair with its interval")


def interval_of(pair: Pair) -> tuple[float, float]:
    """Return the interval over seeds and pictures, or over pictures where there is one seed."""
    if pair.over_both is not None:
        return pair.over_both.low, pair.over_both.high
    assert pair.over_pictures is not None, pair
    return pair.over_pictures


def _places(comparison: Comparison) -> int:
    pictures = max((pair.pictures for pair in comparison.pairs), default=0)
    return 2 if pictures >= 1000 else 1


def _above(made: Axes, y: float, text: str) -> None:
    made.text(0, y + 0.3, text, color=INK, transform=made.get_yaxis_transform(), parse_math=False)


def _rows(made: Axes, count: int) -> None:
    made.set_ylim(0.4 - count, 0.75)
    made.set_yticks([])
    made.grid(axis="x", color=LINE, linewidth=1)
    made.xaxis.set_major_locator(MaxNLocator(4))
    made.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.4g} %"))


def _curves(arms: list[Drawn], measure: Measure, against: Against) -> Markup:
    labels = [arm.label for arm in arms]
    lines = (
        [(arm, arm.outcome.published.get("val")) for arm in arms] if measure == "accuracy" else []
    )
    published = [(arm, value) for arm, value in lines if value is not None]
    told = "published" if len(published) == 1 else "publ. {:.14}"
    labels += [told.format(arm.label) for arm, _ in published]
    right = round(LETTER * max(map(len, labels))) + SAMPLE + 20
    with axes(WIDTH, HEIGHT, right=right) as made:
        furthest = 0.0
        ends: list[tuple[float, str, str, LineStyle]] = []
        for arm in arms:
            x = _against(against, arm.outcome)
            style: LineStyle = BROKEN if arm.broken else "-"
            middle = arm.outcome.middle
            look: dict[str, Any] = {"color": arm.colour, "linestyle": style}
            places = [x(m, None) for m in middle]
            bands = [getattr(m, f"{measure}_band") for m in middle]
            if all(bands):
                low, high = zip(*bands, strict=True)
                alpha = 0.12 if len(arms) <= SOLID else 0.05
                made.fill_between(places, low, high, color=arm.colour, alpha=alpha, linewidth=0)
            if len(arm.outcome.curves) > 1:
                for curve in arm.outcome.curves:
                    records = curve.records
                    values = [getattr(record, measure) for record in records]
                    xs = [x(record, curve) for record in records]
                    made.plot(xs, values, linewidth=0.75, alpha=0.6, **look)
                    furthest = max(furthest, *xs)
            values = [getattr(m, measure) for m in middle]
            marker = "o" if len(places) <= 12 else ""
            made.plot(places, values, marker=marker, markersize=4, **look)
            furthest = max(furthest, *places)
            ends.append((values[-1], arm.label, arm.colour, style))
        for arm, value in published:
            made.axhline(value, color=arm.colour, linewidth=1, linestyle=DASHED)
            ends.append((value, told.format(arm.label), arm.colour, DASHED))
        made.set_xlim(0, furthest)
        _upright(made, measure, arms, [value for _, value in published])
        made.xaxis.set_major_locator(MaxNLocator(3, integer=against == "epochs", min_n_ticks=1))
        made.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        made.set_xlabel(against)
        name_lines(made, ends)
        words = against.replace(",", "").split()
        return svg(made, f"{measure}-{words[0]}-{words[-1]}", f"{measure} against {against}")


def _against(
    against: Against, outcome: Outcome
) -> Callable[[Record | Middle, Curve | None], float]:
    """Return what tells the place of a seed's record, or of the mean where there is no curve."""
    if against == "epochs":
        return lambda at, _: at.epoch
    if against == "pictures shown":
        return lambda at, _: at.examples
    if against == "seconds":
        return lambda at, _: at.seconds
    # Drawn only where the cost of every parent is known.
    before = statistics.fmean(curve.seconds_before or 0.0 for curve in outcome.curves)
    return lambda at, curve: at.seconds + ((curve.seconds_before or 0.0) if curve else before)


def _upright(made: Axes, measure: Measure, arms: list[Drawn], published: list[float]) -> None:
    # Room for most of what there is to see, so that what differs at the end is seen to differ.
    made.yaxis.set_major_locator(MaxNLocator(5))
    if measure == "loss":
        highest = max(statistics.median(m.loss for m in arm.outcome.middle) for arm in arms)
        made.set_ylim(0, 2.5 * highest or None)
        return
    middles = [statistics.median(m.accuracy for m in arm.outcome.middle) for arm in arms]
    lowest = min([*middles, *published])
    step = 0.1 if lowest < 0.9 else 0.05 if lowest < 0.96 else 0.01
    made.set_ylim(max(math.floor((lowest - step / 4) / step) * step, 0), 1)
    made.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.4g} %"))


def name_lines(made: Axes, ends: list[tuple[float, str, str, LineStyle]]) -> None:
    """Name lines at the right, in the order they end in, each after a piece of it."""
    box = made.bbox
    ends = sorted(ends, key=lambda end: end[0])
    places = [float(made.transData.transform((0, end[0]))[1]) for end in ends]
    for i, place in enumerate(places):
        places[i] = max(place, box.y0, places[i - 1] + TEXT + 4 if i else box.y0)
    above = max(places[-1] - box.y1, 0)
    for (_, text, colour, style), place in zip(ends, places, strict=True):
        y = place - above
        line = Line2D(
            [box.x1 + 8, box.x1 + 8 + SAMPLE],
            [y, y],
            color=colour,
            linestyle=style,
            linewidth=1.25 if style == DASHED else 2,
            transform=IdentityTransform(),
        )
        made.figure.add_artist(line)
        made.annotate(
            text,
            (0, 0),
            (box.x1 + 12 + SAMPLE, y),
            xycoords="figure pixels",
            textcoords="figure pixels",
            color=INK,
            va="center",
            annotation_clip=False,
            parse_math=False,
        )
