"""The tables of a comparison, as words: one writing for HTML, Markdown and the terminal."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from siglum.lab.arms import say
from siglum.lab.compare import Comparison, Interval, Outcome, Reached
from siglum.lab.finding import shown
from siglum.lab.outcome import Figure

NONE = "–"


@dataclass(frozen=True)
class Table:
    """Rows of words."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1  # columns at the left that are no numbers
    caption: str = ""


def arms_table(comparison: Comparison) -> Table:
    """Tabulate what one reads first: accuracy with interval, published figure, size, seconds."""
    part, kind, outcomes = comparison.part, comparison.kind, ranked(comparison)
    published = [o.published for o in outcomes]
    with_pretraining = any(o.pretrained for o in outcomes)
    other = "val" if part == "test" and any(o.val for o in outcomes) else None
    head = ["arm", "seeds", f"{kind}, %", "± over seeds", "95 %"]
    head += [f"published {kind}, %"] * any(part in p for p in published)
    head += ["validation, %"] * (other is not None)
    head += ["published validation, %"] * any(other in p for p in published)
    head += ["parameters", "seconds"] + ["with pretraining"] * with_pretraining
    rows = []
    for o in outcomes:
        measured = {"test": o.test, "val": o.val}[part]
        row = [o.name, str(len(o.seeds)), _percent(measured), _deviation(measured), _span(measured)]
        if any(part in p for p in published):
            row.append(_of_hundred(o.published.get(part)))
        if other:
            row.append(_percent(o.val))
        if any(other in p for p in published):
            row.append(_of_hundred(o.published.get("val")))
        row.append(NONE if o.parameters is None else f"{o.parameters:,}")
        row.append(_seconds(o.seconds))
        if with_pretraining:
            row.append(_seconds(o.seconds_with_pretraining))
        rows.append(tuple(row))
    intervals = {f.interval for o in outcomes if (f := {"test": o.test, "val": o.val}[part])}
    caption = (
        "Means over seeds; ±: standard deviation over seeds; 95 %: "
        f"{'; '.join(sorted(intervals))}. Student's t over seeds tells of the luck of the start, "
        "Wilson's interval of the luck of the pictures; neither of both. Seconds are of training "
        "alone, validation left out."
    )
    if with_pretraining and any(o.runs and o.seconds_with_pretraining is None for o in outcomes):
        caption += f" {NONE} with pretraining: what the weights of a file took is not known."
    if len(comparison.machines) > 1:
        caption += " The runs were made on different machines: seconds cannot be compared."
    return Table(tuple(head), tuple(rows), caption=caption)


def short_table(comparison: Comparison) -> Table:
    """Tabulate the arms for a terminal."""
    rows = []
    for o in ranked(comparison):
        measured = {"test": o.test, "val": o.val}[comparison.part]
        row = (o.name, str(len(o.seeds)), _percent(measured), _deviation(measured), _span(measured))
        rows.append(
            (*row, NONE if o.parameters is None else f"{o.parameters:,}", _seconds(o.seconds))
        )
    head = ("arm", "seeds", f"{comparison.kind}, %", "±", "95 %", "parameters", "seconds")
    return Table(head, tuple(rows))


def figures_table(comparison: Comparison) -> Table:
    """Tabulate every final figure, mean ± standard deviation over seeds."""
    span = comparison.span
    head = ["arm", "train, %", "validation, %", "test, %", "gap, points"]
    head += [f"{comparison.kind} loss, nats", "ECE"] + ["area"] * (span is not None)
    rows = []
    for o in ranked(comparison):
        row = [o.name, _both(o.train, 100), _both(o.val, 100), _both(o.test, 100)]
        row += [_both(o.gap, 100), _both(o.loss, 1, 3), _both(o.ece, 1, 3)]
        row += [_both(o.area, 1, 3)] * (span is not None)
        rows.append(tuple(row))
    caption = (
        "Mean ± standard deviation over seeds. Train: accuracy in the last epoch, on changed "
        "pictures, under dropout, while the weights still moved; gap: train minus validation "
        "accuracy in the last epoch, which may lie below 0 for that reason. Loss: negative "
        "log-likelihood. ECE: expected calibration error, 15 bins."
    )
    if span:
        caption += (
            f" Area: mean {comparison.watching} accuracy between {span[0]:,} and {span[1]:,} "
            "pictures shown, the stretch that all runs have."
        )
    return Table(tuple(head), tuple(rows), caption=caption)


def seeds_table(comparison: Comparison) -> Table:
    """Tabulate every run."""
    rows = []
    for o in ranked(comparison):
        for i, (seed, run) in enumerate(zip(o.seeds, o.runs, strict=True)):
            shares = [_of_hundred(f.values[i] if f else None) for f in (o.train, o.val, o.test)]
            seconds = f"{o.seconds.values[i]:.1f}" if o.seconds else NONE
            rows.append((o.name, run, str(seed), *shares, seconds))
    head = ("arm", "run", "seed", "train, %", "validation, %", "test, %", "seconds")
    return Table(head, tuple(rows), texts=2)


def reached_table(comparison: Comparison) -> Table:
    """Tabulate when each arm first reached each level."""
    pretrained = any(o.pretrained for o in comparison.arms)
    head = ["reached", "arm", "seeds there", "epochs", "pictures shown", "seconds"]
    head += ["pictures with pretraining", "seconds with pretraining"] * pretrained
    ways = {o.name: way for o, way in zip(comparison.arms, comparison.reached, strict=True)}
    rows = []
    for index, level in enumerate(comparison.levels):
        for o in ranked(comparison):
            if o.curves:
                way = ways[o.name][index]
                rows.append((level_name(level), o.name, *_way(way, pretrained)))
    caption = (
        f"The first time that {comparison.watching} accuracy, looked at after every epoch, was "
        "at or above the level; means over the seeds that got there. A mean over only some of the "
        "seeds flatters the arm."
    )
    return Table(tuple(head), tuple(rows), texts=2, caption=caption)


def pairs_table(comparison: Comparison) -> Table:
    """Tabulate the paired tests that decide."""
    head = ["arm", "against", "seeds", "pictures", "points", "95 %", "p", "Holm"]
    rows = [
        (
            *(pair.first, pair.second, str(len(pair.seeds)), f"{pair.pictures:,}"),
            NONE if pair.difference is None else signed(pair.difference),
            *_cells(pair.over_both),
            "yes" if shown(pair) else "no" if pair.over_both else NONE,
        )
        for pair in comparison.pairs
    ]
    caption = (
        f"On the {comparison.kind} pictures, with the seeds that both arms have. Points: the "
        "difference, in hundredths of the pictures. 95 %: over seeds and pictures, both kinds of "
        "luck added up, and never narrower than over seeds alone. Holm: p adjusted for the number "
        "of tests on this page. Shown: 0 lies outside the interval, and the adjusted p is below "
        "0.05."
    )
    return Table((*head, "shown"), tuple(rows), texts=2, caption=caption)


def apart_table(comparison: Comparison) -> Table:
    """Tabulate the paired tests that know one kind of luck each."""
    head = ("arm", "against", "95 % over seeds", "p", "Holm", "95 % over pictures")
    rows = tuple(
        (pair.first, pair.second, *_cells(pair.over_seeds), _points(pair.over_pictures))
        for pair in comparison.pairs
    )
    caption = (
        "Of the difference, points. Over seeds: Student's paired t, the pictures as they are. Over "
        "pictures: bootstrap of each picture's mean over the seeds, 2,000 draws, the networks as "
        "they are."
    )
    return Table(head, rows, texts=2, caption=caption)


def mcnemar_table(comparison: Comparison) -> Table:
    """Tabulate McNemar's test of every pair of networks of one seed."""
    rows = [
        (
            *(pair.first, pair.second, str(seed.seed)),
            *(f"{n:,}" for n in (seed.both, seed.only_first, seed.only_second, seed.neither)),
            signed(seed.difference),
            *_cells(seed.over_pictures),
        )
        for pair in comparison.pairs
        for seed in pair.seeds
    ]
    head = ["arm", "against", "seed", "both right", "only the first", "only the second", "neither"]
    head += ["difference, points", "95 %", "p", "Holm"]
    caption = (
        "Counts of pictures. 95 %: bootstrap over pictures; p: McNemar's exact test. These tell "
        "two networks apart, not two arms."
    )
    return Table(tuple(head), tuple(rows), texts=2, caption=caption)


def pairs_short(comparison: Comparison) -> Table:
    """Tabulate the paired tests for a terminal."""
    rows = []
    for pair in comparison.pairs:
        over = pair.over_both
        mcnemar = pair.seeds[0].over_pictures if len(pair.seeds) == 1 else None
        p, adjusted = (
            (f"{over.p:.2g}", f"{over.adjusted:.2g}")
            if over
            else (f"{mcnemar.p:.2g} (McNemar)", f"{mcnemar.adjusted:.2g}")
            if mcnemar
            else (NONE, NONE)
        )
        interval = _points((over.low, over.high) if over else pair.over_pictures)
        points = NONE if pair.difference is None else signed(pair.difference)
        name = f"{pair.first} - {pair.second}"
        rows.append((name, str(len(pair.seeds)), points, interval, p, adjusted))
    head = ("difference", "seeds", "points", "95 %", "p", "Holm")
    return Table(head, tuple(rows))


def differing_table(comparison: Comparison) -> Table:
    """Tabulate the settings in which the arms differ."""
    outcomes = [o for o in ranked(comparison) if o.configs]
    rows = tuple((o.name, *(_setting(o, n) for n in comparison.differing)) for o in outcomes)
    return Table(("arm", *comparison.differing), rows, texts=1 + len(comparison.differing))


def shared_table(comparison: Comparison) -> Table:
    """Tabulate the settings that all runs have in common."""
    rows = tuple((name, say(value)) for name, value in comparison.shared.items())
    return Table(("setting", "value"), rows, texts=2)


def ranked(comparison: Comparison) -> Sequence[Outcome]:
    """Return the arms in the order given; where they are many, the best first."""
    if len(comparison.arms) <= 8:
        return comparison.arms

    def key(outcome: Outcome) -> float:
        return -outcome.figure(comparison.part).mean if outcome.seeds else 1.0

    return sorted(comparison.arms, key=key)


def level_name(level: float) -> str:
    """Write a level: "99.5 %"."""
    return f"{100 * level:.4g} %"


def signed(share: float) -> str:
    """Write a difference in points with its sign."""
    return f"{100 * share:+.2f}"


def _setting(outcome: Outcome, name: str) -> str:
    values: dict[str, Any] = {say(config[name]): None for config in outcome.configs}
    return "; ".join(values)


def _way(way: Reached, pretrained: bool) -> tuple[str, ...]:
    there = len(way.epochs) - way.never
    if not there:
        return (f"0 of {way.never}: never", *(NONE,) * (5 if pretrained else 3))
    some = f": {way.never} never" if way.never else ""
    cells = [f"{there} of {len(way.epochs)}{some}", _mean(way.epochs, 1), _mean(way.examples, 0)]
    cells.append(_mean(way.seconds, 1))
    if pretrained:
        cells += [_mean(way.examples_with_pretraining, 0), _mean(way.seconds_with_pretraining, 1)]
    return tuple(cells)


def _mean(values: Sequence[float | None], places: int) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.fmean(known):,.{places}f}" if known else NONE


def _percent(figure: Figure | None) -> str:
    return NONE if figure is None else f"{100 * figure.mean:.2f}"


def _deviation(figure: Figure | None) -> str:
    return NONE if figure is None or figure.deviation is None else f"{100 * figure.deviation:.2f}"


def _span(figure: Figure | None) -> str:
    if figure is None or figure.low is None or figure.high is None:
        return NONE
    return f"{100 * figure.low:.2f}–{100 * figure.high:.2f}"


def _both(figure: Figure | None, scale: float, places: int = 2) -> str:
    if figure is None:
        return NONE
    mean = f"{scale * figure.mean:.{places}f}"
    if figure.deviation is None:
        return mean
    return f"{mean} ± {scale * figure.deviation:.{places}f}"


def _seconds(figure: Figure | None) -> str:
    return NONE if figure is None else f"{figure.mean:,.1f}"


def _of_hundred(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.2f}"


def _points(over: tuple[float, float] | None) -> str:
    return NONE if over is None else f"{signed(over[0])} to {signed(over[1])}"


def _cells(over: Interval | None) -> tuple[str, str, str]:
    if over is None:
        return NONE, NONE, NONE
    return _points((over.low, over.high)), f"{over.p:.2g}", f"{over.adjusted:.2g}"
