"""Whether it is as sure as it is right: the reliability diagram."""

from markupsafe import Markup
from matplotlib.ticker import FuncFormatter

from siglum import stats
from siglum.report import words
from siglum.report.facts import Facts, Measured
from siglum.report.page import render
from siglum.report.plot import FIRST, QUIET, End, axes, label_ends, svg
from siglum.report.section import Section
from siglum.stats import Bin, Rate


def certainty(facts: Facts) -> Section | None:
    """Draw accuracy against probability, with intervals."""
    measured = facts.measured
    if measured is None:
        return None
    measures = measured.measures
    sure, accuracy = float(measured.confidence.mean()), measures.accuracy
    if sure < accuracy.low:
        verdict = "It is less sure than it could be"
    elif sure > accuracy.high:
        verdict = "It is surer than it should be"
    else:
        pictures = words.count(accuracy.total, "picture")
        verdict = f"It is as sure as it is right, as far as {pictures} can tell"
    finding = (
        f"{verdict}: {100 * sure:.1f}{words.SPACE}% on average, and right in "
        f"{words.percent(accuracy)}"
    )
    rows = [(group, _rate(group)) for group in measures.reliability]
    html = render("certainty.html", plot=_plot(measured), measured=measured, rows=rows)
    return Section("How sure it is", words.sentence(finding), html)


def _rate(group: Bin) -> Rate:
    return stats.wilson(round(group.accuracy * group.count), group.count)


def _plot(measured: Measured) -> Markup:
    groups = measured.measures.reliability
    rates = [_rate(group) for group in groups]
    x, y = [group.confidence for group in groups], [rate.value for rate in rates]
    down = [rate.value - rate.low for rate in rates]
    up = [rate.high - rate.value for rate in rates]
    with axes(504, 440, left=56, right=72, bottom=52, top=32) as made:
        made.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 4)))
        label_ends(made, [End(1, 1, "as sure\nas right", QUIET)])
        made.errorbar(
            x, y, (down, up), color=FIRST, linewidth=0, elinewidth=1.25, marker="o", clip_on=False
        )
        made.set_xlim(0, 1.01)
        made.set_ylim(0, 1.01)
        for axis in (made.xaxis, made.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        made.set_xlabel("probability that it gave its answer")
        made.text(-0.02, 1.05, "right", color=QUIET, transform=made.transAxes, ha="right")
        return svg(made, "reliability", "share of right answers against their probability")
