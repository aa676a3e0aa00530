"""How it learned: loss and accuracy against epochs, pictures shown and seconds."""

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, MaxNLocator

from siglum import stats
from siglum.lab.training import Epoch, Point
from siglum.report import words
from siglum.report.facts import Facts
from siglum.report.page import render
from siglum.report.plot import FIRST, SECOND, End, axes, label_ends, svg
from siglum.report.section import Section

MOST = 80  # points of a training curve

Measure = Literal["accuracy", "loss"]
Against = Callable[[Point | Epoch], float]


def learning(facts: Facts) -> Section:
    """Draw loss and accuracy against each of the three measures of effort."""
    epochs, last = facts.epochs, facts.epochs[-1]
    shown = (
        f"{words.count(len(epochs), 'epoch')} ({words.count(last.examples, 'picture')} shown, "
        f"{words.duration(last.seconds)})"
    )
    validated = facts.env["counts"]["val"]
    best = max(epochs, key=lambda epoch: epoch.val_accuracy or 0.0)
    if last.val_accuracy is None:
        right = f"{100 * last.train_accuracy:.1f}{words.SPACE}%"
        finding = f"In {shown} training accuracy reached {right}; nothing was held out to validate."
        accuracy = f"Accuracy: {right} of the changed training pictures in the last epoch"
        loss = f"Loss: {words.number(last.train_loss)} nats a training picture in the last epoch"
    else:
        end, top = (_validated(epoch, validated) for epoch in (last, best))
        finding = f"In {shown} validation accuracy reached {words.percent(end)}"
        accuracy = f"Accuracy: {end.hits:,} of {validated:,} validation pictures right at the end"
        if top.hits > end.hits:
            accuracy += f", {top.hits:,} after epoch {best.index}"
        loss = f"Loss: {words.number(last.val_loss or 0.0)} nats a validation picture at the end"
    panels = [
        (accuracy, [_panel(facts, "accuracy", name, x) for name, x in _against(facts).items()]),
        (loss, [_panel(facts, "loss", name, x) for name, x in _against(facts).items()]),
    ]
    rates = [(epoch, _validated(epoch, validated)) for epoch in epochs]
    html = render(
        "learning.html", facts=facts, panels=panels, epochs=rates, validated=validated > 0
    )
    return Section("How it learned", words.sentence(finding), html)


def _against(facts: Facts) -> dict[str, Against]:
    an_epoch = facts.epochs[0].examples
    return {
        "epochs": lambda at: at.examples / an_epoch,
        "pictures shown": lambda at: at.examples,
        "seconds of training": lambda at: at.seconds,
    }


def _validated(epoch: Epoch, total: int) -> stats.Rate:
    return stats.wilson(round((epoch.val_accuracy or 0.0) * total), total)


def _smoothed(points: list[Point]) -> list[Point]:
    """Average neighbours, so that at most MOST points remain, each at the end of its stretch."""
    stretch = math.ceil(len(points) / MOST)
    groups = [points[i : i + stretch] for i in range(0, len(points), stretch)]
    return [
        replace(
            group[-1],
            loss=statistics.fmean(point.loss for point in group),
            accuracy=statistics.fmean(point.accuracy for point in group),
        )
        for group in groups
    ]


def _floor(points: list[Point], validated: list[Epoch]) -> float:
    """Return where the accuracy axis begins: below most of what there is to see, on a tenth."""
    seen = [statistics.median(point.accuracy for point in points)]
    seen += [epoch.val_accuracy or 0.0 for epoch in validated]
    return min(math.floor(10 * min(seen)) / 10, 0.9)


def _panel(facts: Facts, measure: Measure, against: str, x: Against) -> Markup:
    points = _smoothed([point for epoch in facts.epochs for point in epoch.curve])
    values = [getattr(point, measure) for point in points]
    with axes(336, 232) as made:
        made.plot([x(point) for point in points], values, color=SECOND, linewidth=1.25)
        ends = [End(x(points[-1]), values[-1], "training", SECOND)]
        validated = [e for e in facts.epochs if getattr(e, f"val_{measure}") is not None]
        if validated:
            places = [x(epoch) for epoch in validated]
            values = [getattr(epoch, f"val_{measure}") for epoch in validated]
            if measure == "accuracy":
                rates = [_validated(epoch, facts.env["counts"]["val"]) for epoch in validated]
                low, high = [rate.low for rate in rates], [rate.high for rate in rates]
                made.fill_between(places, low, high, color=FIRST, alpha=0.15, linewidth=0)
            marker = "o" if len(places) <= 30 else ""
            made.plot(places, values, color=FIRST, marker=marker, markersize=4, clip_on=False)
            ends.append(End(places[-1], values[-1], "validation", FIRST))
        made.set_xlim(0, x(points[-1]))
        if measure == "accuracy":
            made.set_ylim(_floor(points, validated), 1)
            made.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.0f} %"))
            made.yaxis.set_major_locator(MaxNLocator(5))
        else:
            made.set_ylim(0, None)
            made.yaxis.set_major_locator(MaxNLocator(5))
        made.xaxis.set_major_locator(MaxNLocator(4, integer=against == "epochs", min_n_ticks=1))
        made.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        made.set_xlabel(against)
        label_ends(made, ends)
        name = f"{measure}-{against.partition(' ')[0]}"
        return svg(made, name, f"{measure} against {against}")
