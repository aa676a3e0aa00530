"""The page of a comparison or a study as HTML, its numbers as JSON or CSV, and its plots."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, PercentFormatter
from scipy.stats import t as student_t

from siglum.errors import ConfigError
from siglum.files import read_json, write_atomic
from siglum.formatting import number, percent
from siglum.lab.compare import PARTS, Comparison, format_setting
from siglum.lab.study import StudyFile
from siglum.report import plots
from siglum.report.page import TEMPLATES, Table, load, render_page
from siglum.report.plots import Plot, short_labels
from siglum.report.sections import training_chain

SECTIONS = ("variants", "pairs", "curves", "settings", "reproduce")
X_LABELS = {"index": "epochs", "seconds": "seconds of training"}
CURVES = {  # name of a plot: x and y, columns of the epochs
    f"{split}_{measure}-by-{x}": (x, f"{split}_{measure}")
    for measure in ("accuracy", "loss")
    for x, split in (("index", "train"), ("index", "val"), ("seconds", "val"), ("index", "test"))
}
COSTS = {"parameters": "parameters", "seconds": "seconds of training"}  # of the variants
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)  # of accuracy
MAX_LABELS = 12  # points named in a plot; of more, those that no cheaper variant reaches
MIN_BAND = 3  # seeds; with two, a t interval is the mean plus and minus 9 standard deviations
MAX_LINES = len(plots.SERIES)
NO_STUDY = StudyFile()


def write_comparison(
    comparison: Comparison,
    path: Path,
    title: str,
    study: StudyFile = NO_STUDY,
    command: str = "",
    chosen: Comparison | None = None,
) -> None:
    """Write a comparison as HTML, JSON or CSV, by the suffix of `path`.

    Of a search, `comparison` is that on the validation images; `chosen` is the best trial's test.
    """
    if path.suffix == ".html":
        write_atomic(path, _page(comparison, title, study, command, chosen))
    elif path.suffix == ".json":
        texts = study.model_dump(include={"question", "hypotheses", "answers", "note"})
        data = {"title": title, **texts, "command": command, **to_json(comparison)}
        if chosen is not None:  # these images chose the best
            data |= {"headline": _headline(comparison, chosen), "pairs": []}
        write_atomic(path, json.dumps(data, indent=2) + "\n")
    elif path.suffix == ".csv":
        write_atomic(path, comparison.variants.to_csv(index=False))
    else:
        raise ConfigError(f"--out must end in .html, .json, .csv, got {str(path)!r}.")


def headline(comparison: Comparison) -> str:
    """Return the finding of a comparison in one sentence, with n."""
    pairs = comparison.pairs
    names = {"first": "second", "first_accuracy": "second_accuracy"}
    swapped = pairs.rename(columns=names | {new: old for old, new in names.items()})
    swapped = swapped.assign(difference=-pairs.difference, low=-pairs.high, high=-pairs.low)
    values = {"part": PARTS[comparison.part], "selection": PARTS[comparison.selection]}
    pairs = pairs.where(pairs.difference >= 0, swapped)  # the better variant first
    template = load("headline.txt", comparison=comparison, pairs=pairs, **values)
    return " ".join(str(template).split())


def _headline(comparison: Comparison, chosen: Comparison | None) -> str:
    if chosen is None:
        return headline(comparison)
    best = comparison.finished.set_index("variant").accuracy[comparison.best]
    return f"Chosen by validation accuracy ({percent(best)}): {headline(chosen)}"


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return the headline and all tables as values for strict JSON, where NaN becomes None."""
    values = {"headline": headline(comparison), **vars(comparison)}
    for name, value in values.items():
        if isinstance(value, pd.DataFrame):
            orient = "index" if name in ("grid", "settings") else "records"
            values[name] = json.loads(value.to_json(orient=orient, double_precision=15))
    return values


def tables(comparison: Comparison) -> dict[str, Table]:
    """Return the tables of variants, paired differences and main effects."""
    pairs, variants = comparison.pairs, comparison.variants
    words = pairs.significant.map({True: "yes", False: "no"})
    pairs = pairs.assign(significant=words.where(pairs.p.notna(), "one seed"))
    if len(variants) > MAX_LINES:
        variants = variants.sort_values("accuracy", ascending=False)
    if comparison.seeds.seconds.equals(comparison.seeds.total_seconds):
        variants = variants.drop(columns="total_seconds")
    frames = {"variants": variants, "pairs": pairs, "effects": comparison.effects}
    result = {}
    # By table: header, columns of the data (two for an interval), format and factor.
    for name, columns in read_json(TEMPLATES / "comparison.json").items():
        data, cells = frames[name], {}
        for header, names, style, factor in columns:
            if names[0] in data and (data.empty or data[names[0]].notna().any()):
                cells[header] = [
                    "–" if pd.isna(row[0]) else " to ".join(style.format(factor * v) for v in row)
                    for row in data[names].itertuples(index=False)
                ]
        texts = sum(style == "{}" for _, _, style, _ in columns)
        result[name] = Table(list(cells), list(zip(*cells.values(), strict=True)), texts)
    return result


def template_values(
    comparison: Comparison, study: StudyFile = NO_STUDY, command: str = ""
) -> dict[str, Any]:
    """Return the variables of the templates of a comparison's sections."""
    settings = comparison.settings
    differing = settings.loc[:, settings.nunique() > 1]
    shared = settings.iloc[0].drop(differing.columns)
    columns = ["variant", *differing]
    paths = [Path(path) for paths in comparison.seeds.run for path in paths]
    steps = [step for path in paths for step in training_chain(path)[0]]
    return {
        **tables(comparison),
        "differing": Table(columns, list(differing.itertuples(name=None)), len(columns)),
        "shared": Table(("setting of all", "value"), list(shared.items()), 2),
        "commands": dict.fromkeys(filter(None, [command, *(step[0] for step in steps)])),
        "renames": {file: text for _, file, text in steps if text},
        "comparison": comparison,
        "study": study,
        "num_runs": len(paths),
        "part": PARTS[comparison.part],
        "selection": PARTS[comparison.selection],
        "plots": draw(comparison),
        "curves": CURVES,
    }


def _page(
    comparison: Comparison, title: str, study: StudyFile, command: str, chosen: Comparison | None
) -> bytes:
    values, anchors = template_values(comparison, study, command), [*SECTIONS]
    if chosen is not None:
        anchors.remove("pairs")  # these images chose the best
        values["plots"] = draw_search(comparison) + values["plots"]
    opening = load("comparison.html", anchor="opening", **values)
    return render_page(
        title,
        "comparison",
        {anchor: load("comparison.html", anchor=anchor, **values) for anchor in anchors},
        headline=_headline(comparison, chosen),
        summary=filter(None, opening.summary.splitlines()),
        notices=filter(None, opening.notices.splitlines()),
    )


def draw(comparison: Comparison) -> list[Plot]:
    """Draw accuracy by a numeric setting and by costs, and curves of the best variants."""
    accuracy, result = f"{PARTS[comparison.part]} accuracy".capitalize(), []
    points = comparison.finished.set_index("variant").rename(columns={"accuracy": "y"})
    data = []  # name, title, label of x, and lines
    numbers = comparison.grid.select_dtypes("number")
    for setting in numbers.columns[numbers.nunique() >= MIN_BAND][:1]:
        others = comparison.grid.drop(columns=setting).map(format_setting).to_dict("records")
        names = [" ".join(f"{k}={v}" for k, v in values.items()) for values in others]
        lines = points[["y", "low", "high"]].join(numbers[setting].rename("x"))
        lines["line"] = pd.Series(names, comparison.grid.index).str.replace("variant=", "")
        if lines.line.nunique() <= MAX_LINES:
            lines = lines.sort_values("x", kind="stable")
            data.append(("accuracy", f"{accuracy} by {setting}", str(setting), lines))
    best = points.y.nlargest(MAX_LINES).index
    for name, (x, y) in CURVES.items():
        curves = comparison.epochs[comparison.epochs.variant.isin(best)].dropna(subset=y)
        epochs = curves.assign(epoch=curves["index"]).groupby(["variant", "epoch"], sort=False)
        lines = epochs.agg(x=(x, "mean"), y=(y, "mean"), n=(y, "size"), sem=(y, "sem"))
        half = (lines["sem"] * student_t.ppf(0.975, lines.n - 1)).where(lines.n >= MIN_BAND)
        lines = lines.assign(low=lines.y - half, high=lines.y + half).reset_index()
        if len(lines):
            split, measure = y.replace("val", "validation").replace("train", "training").split("_")
            title = f"{split} {measure} by {X_LABELS[x].split()[0]}".capitalize()
            title += " (not for choosing)" if split == "test" else ""
            data.append((name, title, X_LABELS[x], lines.rename(columns={"variant": "line"})))
    for name, title, label, lines in data:
        lines = lines[["line", "x", "y", "low", "high"]]
        ends = lines.groupby("line").y.last() if name in CURVES else lines.y
        texts = [number(v) if "loss" in name else percent(v) for v in (ends.min(), ends.max())]
        title += f": {' to '.join(dict.fromkeys(texts))}".replace(" % to", " to")
        title += " at the end" if name in CURVES else ""
        medians = lines.groupby("line").y.median()  # a bad start would flatten all other lines
        low = max(medians.min() - 0.02 if name in CURVES else lines.low.min(), 0.0)
        limits = (0, 2.5 * medians.max() or None) if "loss" in name else (low, 1)
        figure = plots.draw_lines(lines, label, limits, (460, 264))
        result.append(Plot(name, title, figure, lines.to_dict("list"), "Bands: 95 % intervals."))
    for column, label in COSTS.items():
        costs = points.dropna(subset=column)
        costs = costs.sort_values([column, "y"], ascending=[True, False])
        if costs[column].max() > 2 * costs[column].min() > 0:
            title = f"{accuracy} by {label}: {100 * costs.y.min():.1f} to {percent(costs.y.max())}"
            figure = _draw_costs(costs.assign(x=costs[column]), label)
            table = costs.reset_index()[["variant", column, "y", "low", "high"]].to_dict("list")
            caption = "Bars: 95 % intervals. Scales: logarithmic; of accuracy, logit."
            result.append(Plot(f"accuracy-by-{column}", title, figure, table, caption))
    return result


@plots.styled
def draw_search(comparison: Comparison) -> list[Plot]:
    """Draw the accuracy of each trial, and by each dimension with lines where all else is equal."""
    grid, result = comparison.grid, []
    y = comparison.variants.set_index("variant").accuracy.reindex(grid.index)
    texts, low = grid.map(format_setting), max(float(y.min()), 4 * y.median() - 3 * y.max())
    for name in ("trial", *texts):
        figure, axes = plots.new_axes(460, 232)
        axes.set(ylim=(max(low - 0.02, 0), min(y.max() + 0.02, 1)), xlabel=name)
        axes.set_ylabel(f"axis starts at {percent(max(low - 0.02, 0))}" if low > 0.02 else "")
        axes.yaxis.set_major_formatter(PercentFormatter(1, None, " %"))
        if name == "trial":
            x = pd.Series(range(1, len(y) + 1), y.index)
            axes.plot(x, y.cummax().ffill(), color=plots.SERIES[1], label="best so far")
            axes.plot(x, y, "o", ms=4, color=plots.SERIES[0], label="trial")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.legend(bbox_to_anchor=(1, 0.5))
            title = f"Best of {len(y)} trials: {percent(y.max())} in trial {x[y.idxmax()]}"
        else:
            is_number = pd.api.types.is_numeric_dtype(grid[name])
            ordered = grid[name].sort_values() if is_number else grid[name]
            values = list(texts[name][ordered.index].unique())
            is_range = is_number and len(values) > MAX_LABELS
            x = grid[name] if is_range else texts[name].map(values.index)
            others = ["|".join(row) for row in texts.drop(columns=name).to_numpy()]
            spread = 0.0
            for _, line in y.groupby(others):
                line = line.loc[x[line.index].sort_values().index]
                spread = max(spread, float(line.max() - line.min()))
                axes.plot(x[line.index], line, "o-", ms=4, lw=1, color=plots.SERIES[0], alpha=0.6)
            axes.plot(x[comparison.best], y[comparison.best], "o", ms=9, color=plots.ACCENT)
            if not is_range:
                axes.set_xticks(range(len(values)), plots.short_labels(values, 12))
            elif x.min() > 0 and x.max() > 50 * x.min():
                axes.set_xscale("log")
            title = f"{name}: up to {100 * spread:.1f} points apart, all else equal"
            if spread == 0:  # trials from ranges have no two values in common
                title = f"{name}: {texts[name][comparison.best]} in the best trial"
        columns = {name: list(grid.get(name, x)), "accuracy": list(y)}
        caption = "" if y.min() >= low else f"{(y < low).sum()} below the axis."
        result.append(Plot(f"search-{name.replace('.', '-')}", title, figure, columns, caption))
    return result


@plots.styled
def _draw_costs(costs: pd.DataFrame, label: str) -> Figure:
    figure, axes = plots.new_axes(460, 300)
    costs = costs.assign(**costs[["low", "y", "high"]].clip(0.0005, 0.9999))  # no infinite logits
    bars = costs.y - costs.low, costs.high - costs.y
    axes.errorbar(costs.x, costs.y, bars, fmt="o", ms=5, lw=1.2, color=plots.SERIES[0])
    axes.set(xscale="log", yscale="logit", xlabel=label)
    axes.margins(0.06)
    bottom, top = axes.get_ylim()
    ticks = [level for level in LEVELS if bottom < level < top]
    if len(ticks) < 3:
        ticks = [v for v in MaxNLocator(4).tick_values(bottom, top) if bottom < v < top]
    axes.set_yticks(ticks, [f"{100 * tick:.4g} %" for tick in ticks])
    ratio = costs.x.max() / costs.x.min()
    steps = LogLocator(subs=(1,) if ratio > 50 else (1, 2, 5))
    axes.xaxis.set_major_locator(steps if ratio > 8 else MaxNLocator(4))
    axes.xaxis.set_major_formatter(EngFormatter() if label == "parameters" else "{x:,g}")
    axes.minorticks_off()
    if len(costs) > MAX_LABELS:
        costs = costs[costs.y > costs.y.cummax().shift(fill_value=0)].tail(MAX_LABELS)
    names = short_labels(list(costs.index))
    plots.add_labels(axes, list(zip(costs.x, costs.y, names, strict=True)))
    return figure
