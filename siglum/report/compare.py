"""The page of a comparison or a study as HTML, its numbers as JSON or CSV, and its plots."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from siglum.errors import ConfigError
from siglum.files import write_atomic
from siglum.formatting import count, percent, source_name
from siglum.lab.compare import (
    PARTS,
    Comparison,
    Effects,
    Estimate,
    VariantSummary,
    format_setting,
    headline,
    t_interval,
)
from siglum.lab.study import StudyFile
from siglum.lab.training import Epoch
from siglum.report.page import Section, Table, render_figure, render_page, render_table
from siglum.report.plots import (
    SERIES,
    Plot,
    label_ends,
    new_axes,
    percent_axis,
    short_labels,
    styled,
    to_csv,
)
from siglum.report.sections import training_chain

SUFFIXES = (".html", ".json", ".csv")
MIN_BAND = 3  # seeds; with two, a t interval is 13 standard deviations wide
MAX_DRAWN = len(SERIES)  # variants in a plot
LABEL = 20  # characters
SPLITS = {"train": "training", "val": "validation"}
X_LABELS = {"index": "epochs", "seconds": "seconds of training"}
NO_STUDY = StudyFile()
PANELS = (("index", "train"), ("index", "val"), ("seconds", "val"))

Curves = Mapping[str, list[tuple[Epoch, ...]]]  # by variant, the epochs of each seed
Lines = Mapping[str, list[tuple[float, float, float, float]]]  # x, accuracy, ends of its interval


def write_comparison(
    comparison: Comparison, path: Path, title: str, study: StudyFile = NO_STUDY, command: str = ""
) -> None:
    """Write a comparison as HTML, JSON or CSV, by the suffix of `path`.

    Args:
        study: the file that asked for the runs; its texts stand on the page.
        command: that reproduces all of it.
    """
    check_suffix(path)
    if path.suffix == ".html":
        write_atomic(path, _page(comparison, title, study, command))
    elif path.suffix == ".json":
        texts = study.model_dump(include={"question", "hypotheses", "answers", "note"})
        data = {"title": title, **texts, "command": command, **to_json(comparison)}
        write_atomic(path, json.dumps(data, indent=2) + "\n")
    else:
        table = variants_table(comparison)
        write_atomic(path, to_csv([table.columns, *table.rows]))


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return the headline and all numbers as values for strict JSON, where NaN becomes None."""

    def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in items}

    return {"headline": headline(comparison), **asdict(comparison, dict_factory=plain)}


def check_suffix(path: Path) -> None:
    """Raise ConfigError unless `write_comparison` writes the kind of file that `path` names."""
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"--out must end in {', '.join(SUFFIXES)}, got {str(path)!r}.")


def variants_table(comparison: Comparison) -> Table:
    """Return the table of variants: n, accuracy with interval, loss, time, published figures."""
    part, variants = comparison.part, list(comparison.variants)
    if len(variants) > MAX_DRAWN:
        variants.sort(key=lambda v: -v.accuracy[part].mean if v.seeds else 1.0)
    nothing = Estimate((), np.nan)
    accuracy = [v.accuracy.get(part, nothing) for v in variants]
    writers = [v.writer_ci or (None, None) for v in variants]
    columns = {
        "variant": [v.name for v in variants],
        "seeds": [str(len(v.seeds)) for v in variants],
        f"{PARTS[part]}, %": [_number(a.mean, 100) for a in accuracy],
        "std": [_number(a.std, 100) for a in accuracy],
        "95 % CI": [_interval(a.low, a.high) for a in accuracy],
        "95 % CI, other writers": [_interval(*ends) for ends in writers],
        **{
            f"published {words}, %": [_number(v.published.get(name), 100) for v in variants]
            for name, words in PARTS.items()
        },
        "loss, nats": [_number(v.loss.mean, 1, 3) for v in variants],
        "ECE": [_number(v.ece.mean, 1, 3) for v in variants],
        "parameters": [_number(v.parameters, 1, 0) for v in variants],
        "seconds": [_number(v.seconds.mean, 1, 1) for v in variants],
    }
    if part == "test":
        columns["validation, %"] = [
            _number(v.accuracy.get("val", nothing).mean, 100) for v in variants
        ]
    if any(v.seconds.mean != v.total_seconds.mean for v in comparison.finished):
        columns["with pretraining"] = [_number(v.total_seconds.mean, 1, 1) for v in variants]
    columns = {name: cells for name, cells in columns.items() if set(cells) - {"–"}}
    methods = sorted({v.accuracy[part].method for v in comparison.finished})
    caption = (
        f"Means over seeds; std: over seeds; 95 % CI: {'; '.join(methods)}. Student's t covers the "
        "chance of the seeds, Wilson's interval that of the images. One seed cannot tell variants "
        "from the luck of the start. Seconds: training alone."
    )
    if len(comparison.machines) > 1:
        caption += " The runs come from different machines: do not compare seconds."
    return Table(list(columns), list(zip(*columns.values(), strict=True)), caption=caption)


def pairs_table(comparison: Comparison) -> Table:
    """Return the table of paired differences, in percentage points."""
    rows = [
        (
            *(pair.first, pair.second, str(pair.seeds), f"{pair.images:,}"),
            *(_number(pair.value, 100, sign="+"), _interval(pair.low, pair.high)),
            "–" if pair.p is None else f"{pair.p:.2g}",
            "yes" if pair.is_significant else "no" if pair.p is not None else "one seed",
        )
        for pair in comparison.pairs
    ]
    caption = (
        f"On the same {PARTS[comparison.part]} images with the same seeds. 95 % CI: over seeds and "
        "images, never narrower than over seeds alone; for one seed over images. p: after Holm's "
        "correction for all pairs. Significant: 0 lies outside the interval and p is below 0.05. "
        "No does not mean equal: every difference inside the interval is possible."
    )
    columns = ("variant", "minus", "seeds", "images", "points", "95 % CI", "p", "significant")
    return Table(columns, rows, 2, caption)


def _effects_tables(effects: Effects | None) -> list[Table]:
    if effects is None:
        return []
    levels = [
        (setting, value, _number(mean, 100), _number(effects.margins[setting], 100))
        for setting, means in effects.means.items()
        for value, mean in means.items()
    ]
    shares = [
        (name, _number(share, 100, 1), _number(effects.p_values.get(name), 1, 3))
        for name, share in effects.shares.items()
    ]
    caption = (
        "Analysis of variance; seeds are blocks; p after Holm's correction. The best of many cells "
        "is favoured by chance: select by validation accuracy, report the test accuracy."
    )
    return [
        Table(("setting", "value", "mean accuracy, %", "± (95 % CI)"), levels, 2),
        Table(("source of variance", "share, %", "p"), shares, 1, caption),
    ]


def _number(value: float | None, scale: float, digits: int = 2, sign: str = "") -> str:
    return "–" if value is None or np.isnan(value) else f"{scale * value:{sign},.{digits}f}"


def _interval(low: float | None, high: float | None) -> str:
    ends = _number(low, 100), _number(high, 100)
    return "–" if "–" in ends else " to ".join(ends)


def _page(comparison: Comparison, title: str, study: StudyFile, command: str) -> bytes:
    finished, differing = comparison.finished, comparison.differing
    configs = [config for variant in finished for config in variant.configs]
    data = " and ".join(dict.fromkeys(source_name(str(config["data"])) for config in configs))
    runs, variants = count(len(configs), "run"), count(len(finished), "variant")
    machines = "; ".join(comparison.machines)
    summary = [study.question, f"{runs} of {variants} on {data}: {machines}.", study.note]
    for hypothesis, answer in zip_longest(study.hypotheses, study.answers, fillvalue="open."):
        summary.append(f"Hypothesis, before the runs: {hypothesis} Result: {answer}")
    notices = [
        f"{v.name}, seed {seed}, failed: {reason}"
        for v in comparison.variants
        for seed, reason in v.failed
    ]
    if missing := sum(v.missing for v in comparison.variants):
        notices.append(f"{count(missing, 'run')} not finished; the results rest on the others.")
    if comparison.part == "val" and any(config["checkpoint"] == "best" for config in configs):
        notices.append("Weights were selected on these very images, which is optimistic.")
    values = [
        [v.name] + [" or ".join({format_setting(c[k]): 0 for c in v.configs}) for k in differing]
        for v in finished
    ]
    shared = [(name, format_setting(value)) for name, value in comparison.shared.items()]
    paths = [Path(path) for variant in finished for path in variant.runs]
    chains = [training_chain(path)[0] for path in paths]
    commands = [command, *(step[0] for chain in chains for step in chain)]
    every = plots(comparison)
    curves = [plot for plot in every if "-by-" in plot.name]
    others = [plot for plot in every if "-by-" not in plot.name]
    tables = [variants_table(comparison), *_effects_tables(comparison.effects)]
    settings = [
        Table(("variant", *differing), values, 1 + len(differing)),
        Table(("setting of all", "value"), shared, 2),
    ]
    best = f"Highest accuracy, selected by validation where there is one: {comparison.best.name}."
    significant = sum(pair.is_significant for pair in comparison.pairs)
    pairs = f"Significant: {significant} of {count(len(comparison.pairs), 'pair')}."
    text = f"Settings that differ between the variants: {len(differing)}."
    legend = "Thin lines: seeds. Thick: means. Bands, from 3 seeds on: 95 % intervals of the mean."
    code = Markup("<pre>{}</pre>").format("\n".join(dict.fromkeys(filter(None, commands))))
    sections = [
        Section("variants", "Variants", best, _figures(others) + _tables(tables)),
        Section("pairs", "Paired differences", pairs, _tables([pairs_table(comparison)])),
        Section("curves", "Learning curves", legend, _figures(curves)),
        Section("settings", "Settings", text, _tables(settings)),
        Section("reproduce", "Reproduce", "These commands train all of it again.", code),
    ]
    return render_page(
        title,
        "comparison",
        sections,
        headline=headline(comparison),
        summary=filter(None, summary),
        notices=notices,
    )


def _tables(tables: Iterable[Table]) -> Markup:
    return Markup().join(map(render_table, tables))


def _figures(plots: Iterable[Plot]) -> Markup:
    html = Markup().join(map(render_figure, plots))
    return Markup('<div class="side-by-side">{}</div>').format(html)


def plots(comparison: Comparison) -> list[Plot]:
    """Return the plots: accuracy by a numeric setting, main effects, and learning curves.

    Of more than 8 variants the curves show the best, the worst and those with published figures.
    """
    part, variants, effects = comparison.part, comparison.finished, comparison.effects
    name, result = f"{PARTS[part]} accuracy".capitalize(), []
    if line_plot := _lines(variants, part):
        setting, lines = line_plot
        caption = "Means over seeds with 95 % intervals."
        figure = _draw_points(lines, None, setting)
        result.append(Plot("accuracy", f"{name} by {setting}", figure, caption=caption))
    for setting, means in effects.means.items() if effects else ():
        margin = np.nan_to_num(effects.margins[setting]) if effects else 0.0
        points = [(float(i), m, m - margin, m + margin) for i, m in enumerate(means.values())]
        figure = _draw_points({"": points}, list(means), setting)
        columns: dict[str, Sequence[object]] = {setting: [*means], "accuracy": [*means.values()]}
        result.append(Plot(f"effect-of-{setting}", f"{name}: effect of {setting}", figure, columns))
    if len(variants) > MAX_DRAWN:
        ranked = sorted(variants, key=lambda v: -v.accuracy[part].mean)
        chosen = [ranked[0], ranked[-1], *(v for v in ranked[1:-1] if v.published)]
        variants = chosen[:MAX_DRAWN]
    for measure in ("accuracy", "loss"):
        for x, split in PANELS:
            y = f"{split}_{measure}"
            curves = {v.name: [seed for seed in v.epochs if _series(seed, y)] for v in variants}
            if curves := {name: seeds for name, seeds in curves.items() if seeds}:
                title = f"{SPLITS[split]} {measure} by {X_LABELS[x]}".capitalize()
                columns = {
                    f"{name}, run {number}, {series}": _series(seed, series)
                    for name, seeds in curves.items()
                    for number, seed in enumerate(seeds, 1)
                    for series in (x, y)
                }
                figure = _draw_curves(curves, x, y)
                result.append(Plot(f"{y}-by-{x}", title, figure, columns))
    return result


def _series(seed: Sequence[Epoch], name: str) -> list[float]:
    values = [getattr(epoch, name) for epoch in seed]
    return [] if None in values else values


def _lines(variants: Sequence[VariantSummary], part: str) -> tuple[str, Lines] | None:
    """Return the first numeric setting of the grid, and accuracy by it for each of the others."""
    for setting in variants[0].levels:
        values = {v.levels[setting] for v in variants}
        if len(values) < MIN_BAND or not all(type(value) in (int, float) for value in values):
            continue
        lines: dict[str, list[tuple[float, float, float, float]]] = {}
        for v in sorted(variants, key=lambda v: float(v.levels[setting])):
            others = [f"{k}={format_setting(o)}" for k, o in v.levels.items() if k != setting]
            accuracy = v.accuracy[part]
            low, high = (accuracy.mean if e is None else e for e in (accuracy.low, accuracy.high))
            point = (v.levels[setting], accuracy.mean, low, high)
            lines.setdefault(" ".join(others).replace("variant=", ""), []).append(point)
        if len(lines) <= MAX_DRAWN:
            return setting, lines
    return None


@styled
def _draw_points(lines: Lines, ticks: list[str] | None, x: str) -> Figure:
    """Draw accuracy with intervals by a setting; `ticks` name values that are no numbers."""
    labels, ends = short_labels(list(lines), LABEL), []
    right = 40 + 8 * max(map(len, labels))
    figure, panel = new_axes(460, 264, left_margin=80, right_margin=right)
    for points, label, colour in zip(lines.values(), labels, SERIES, strict=False):
        xs, ys, low, high = np.array(points).T
        panel.errorbar(xs, ys, (ys - low, high - ys), fmt="o-", color=colour, capsize=3)
        ends.append((xs[-1], ys[-1], label, colour))
    if ticks is not None:
        panel.set_xticks(range(len(ticks)), short_labels(ticks, LABEL))
    panel.set_xlabel(x)
    _set_accuracy_axis(panel, *panel.get_ylim())
    label_ends(panel, ends)
    return figure


@styled
def _draw_curves(curves: Curves, x: str, y: str) -> Figure:
    labels, ends, medians = short_labels(list(curves), LABEL), [], []
    right = 40 + 8 * max(map(len, labels))
    figure, panel = new_axes(460, 264, left_margin=80, right_margin=right)
    for seeds, label, colour in zip(curves.values(), labels, SERIES, strict=False):
        length = min(map(len, seeds))
        xs = np.mean([_series(seed, x)[:length] for seed in seeds], axis=0)
        ys = np.array([_series(seed, y)[:length] for seed in seeds])
        for seed in seeds:
            panel.plot(_series(seed, x), _series(seed, y), color=colour, lw=0.75, alpha=0.6)
        if len(seeds) >= MIN_BAND:
            low, high = np.array([t_interval(column) for column in ys.T]).T
            panel.fill_between(xs, low, high, color=colour, alpha=0.12, lw=0)
        panel.plot(xs, ys.mean(axis=0), color=colour, marker="o" if length <= 12 else "")
        ends.append((float(xs[-1]), float(ys[:, -1].mean()), label, colour))
        medians.append(float(np.median(ys.mean(axis=0))))
    panel.set_xlabel(X_LABELS[x])
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=x == "index"))
    if y.endswith("accuracy"):
        _set_accuracy_axis(panel, min(medians) - 0.02, 1.0)
    else:  # the first epochs of a run that starts high would flatten all others
        panel.set_ylim(0, 2.5 * max(medians) or None)
    label_ends(panel, ends)
    return figure


def _set_accuracy_axis(panel: Axes, low: float, high: float) -> None:
    """Label an axis of accuracy, and say where it starts unless that is 0 %."""
    panel.set_ylim(max(low, 0.0), min(high, 1.0))
    percent_axis(panel.yaxis, digits=0 if high - low > 0.1 else 1)
    if low > 0:
        panel.set_ylabel(f"axis starts at {percent(low)}")
