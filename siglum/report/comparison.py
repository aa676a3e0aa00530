"""Arms side by side as one page: self-contained HTML, Markdown, or JSON."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from markupsafe import Markup

from siglum.config import TrainConfig
from siglum.errors import choose
from siglum.lab.compare import Comparison, Outcome, finding, shown
from siglum.report import comparison_plots as plots
from siglum.report import comparison_tables as tables
from siglum.report import files, words
from siglum.report.comparison_tables import Table
from siglum.report.page import render, text
from siglum.report.plot import SERIES
from siglum.report.repeat import command

Format = Literal["html", "md", "json"]
HYPOTHESES = "Expected before the runs:"


@dataclass(frozen=True)
class Chapter:
    """A part of the page: a finding, and what it stands on."""

    anchor: str
    title: str
    finding: str
    tables: tuple[Table, ...] = ()
    folded: tuple[tuple[str, Table], ...] = ()  # under a line to open
    figures: tuple[tuple[str, tuple[Markup, ...]], ...] = ()
    caption: str = ""  # of the figures
    listed: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()  # arm, command lines


@dataclass(frozen=True)
class About:
    """What a comparison is for; what is empty is not told."""

    title: str
    question: str = ""  # that it is to answer
    hypotheses: tuple[str, ...] = ()  # written before the runs
    note: str = ""  # what a reader must know
    command: str = ""  # that makes all of it


def write_comparison(comparison: Comparison, about: About, path: Path, format: Format) -> Path:
    """Write a comparison's page to `path`, in one step, and return `path`.

    Raises:
        RunError: if `path` cannot be written.
    """
    write = choose({"html": _html, "md": _markdown, "json": _json}, format, "format")
    raw = write(comparison, about).encode("utf-8", "backslashreplace")
    return files.replace(path, raw)


def _html(comparison: Comparison, about: About) -> str:
    script = text("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    looks = {
        arm.outcome.name: (SERIES[arm.colour], "dashed" if arm.broken else "solid")
        for arm in plots.drawn(comparison)
    }
    return render(
        "comparison.html",
        hypotheses=HYPOTHESES,
        about=about,
        finding=_held(finding(comparison)),
        account=_account(comparison),
        warning=_warning(comparison),
        chapters=_chapters(comparison),
        looks=looks,
        style=Markup(text("page.css") + text("comparison.css")),
        script=Markup(script),
        digest=digest,
    )


def _held(said: str) -> str:
    """Keep what belongs together on one line."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\bp) (?=[=<])|(?<=[=<]) (?=\d)", words.SPACE, said)


def _markdown(comparison: Comparison, about: About) -> str:
    lines = [f"# {_plain(about.title)}", ""]
    lines += [f"*{_plain(about.question)}*", ""] * bool(about.question)
    lines += [f"**{_plain(finding(comparison))}**", "", _plain(_account(comparison)), ""]
    lines += [_plain(_warning(comparison)), ""] * bool(_warning(comparison))
    lines += [_plain(about.note), ""] * bool(about.note)
    if about.hypotheses:
        lines += [HYPOTHESES, "", *(f"- {_plain(line)}" for line in about.hypotheses), ""]
    lines += ["```", about.command, "```", ""] * bool(about.command)
    for chapter in _chapters(comparison):
        lines += [f"## {chapter.title}", "", _plain(chapter.finding), ""]
        for table in chapter.tables:
            lines += _rows(table)
        for summary, table in chapter.folded:
            lines += [f"### {summary}", "", *_rows(table)]
        lines += [f"- {_plain(line)}" for line in chapter.listed]
        lines += [""] * bool(chapter.listed)
        for arm, commands in chapter.commands:
            lines += [f"{_plain(arm)}:", "", "```", commands, "```", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _json(comparison: Comparison, about: About) -> str:
    said = {**asdict(about), "finding": finding(comparison)}
    return json.dumps({**said, **asdict(comparison)}, indent=2, ensure_ascii=False) + "\n"


def _plain(said: str) -> str:
    """Keep what others named from being markup."""
    for sign in "\\`*[]|":
        said = said.replace(sign, f"\\{sign}")
    said = said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(said.split())


def _rows(table: Table) -> list[str]:
    def row(cells: tuple[str, ...]) -> str:
        return f"| {' | '.join(map(_plain, cells))} |"

    sides = ["---"] * table.texts + ["--:"] * (len(table.head) - table.texts)
    lines = [row(table.head), f"| {' | '.join(sides)} |", *map(row, table.rows), ""]
    return lines + [_plain(table.caption), ""] * bool(table.caption)


def _account(comparison: Comparison) -> str:
    there = [outcome for outcome in comparison.arms if outcome.seeds]
    runs = sum(len(outcome.seeds) for outcome in there)
    data = {str(config["data"]) for outcome in there for config in outcome.configs}
    where = words.source(data.pop()) if len(data) == 1 else f"{len(data)} sources"
    made = f"{words.count(runs, 'run')} of {words.count(len(there), 'arm')} on {where}"
    said = f"{made}: {'; '.join(comparison.machines)}."
    if comparison.part == "val" and any(
        config["weights"] == "best" for outcome in there for config in outcome.configs
    ):
        said += (
            " Weights are those of the epoch that read these very pictures best, which flatters "
            "them a little."
        )
    return said


def _warning(comparison: Comparison) -> str:
    missing = sum(outcome.missing for outcome in comparison.arms)
    failed = sum(len(outcome.failed) for outcome in comparison.arms)
    said = []
    if missing:
        said.append(f"{words.count(missing, 'training')} not finished yet")
    if failed:
        said.append(f"{words.count(failed, 'training')} failed")
    return f"{' and '.join(said)}: what is said here rests on the others." if said else ""


def _chapters(comparison: Comparison) -> list[Chapter]:
    makers: list[Callable[[Comparison], Chapter | None]] = [
        _arms,
        _learning,
        _reached,
        _figures,
        _pairs,
        _missing,
        _settings,
        _repeat,
    ]
    return [chapter for make in makers if (chapter := make(comparison)) is not None]


def _arms(comparison: Comparison) -> Chapter:
    there = [outcome for outcome in comparison.arms if outcome.seeds]
    most = max(there, key=lambda o: o.figure(comparison.part).mean)
    least = min(there, key=lambda o: o.figure(comparison.part).mean)
    said = f"{most.name} reads most of the {comparison.kind} pictures, {_share(most, comparison)}"
    if most is not least:
        said += f"; {least.name} fewest, {_share(least, comparison)}"
    drawn = [plots.accuracies(comparison)]
    differences = plots.differences(comparison)
    caption = (
        "Left: large dots are means, small dots seeds, lines the 95 % intervals of the table below."
        if differences
        else "Large dots are means, small dots seeds, lines the 95 % intervals of the table below."
    )
    if differences:
        drawn.append(differences)
        caption += (
            " Right: differences of pairs on the same pictures with the same seeds; lines are 95 % "
            "intervals over seeds and pictures, or over pictures alone where there is one seed; "
            "grey where no difference is shown."
        )
    if len(there) > len(SERIES):
        caption += f" Of {len(there)} arms the best, the worst and those with published figures."
    return Chapter(
        "arms",
        "Arms",
        f"{said}.",
        tables=(tables.arms_table(comparison),),
        figures=(("", tuple(drawn)),),
        caption=caption,
    )


def _share(outcome: Outcome, comparison: Comparison) -> str:
    found = outcome.figure(comparison.part)
    said = f"{100 * found.mean:.2f}{words.SPACE}%"
    if found.low is None or found.high is None:
        return said
    return f"{said} (95 %: {100 * found.low:.2f} to {100 * found.high:.2f}, {found.interval})"


def _learning(comparison: Comparison) -> Chapter | None:
    drawn = plots.curves(comparison)
    if not drawn:
        return None
    arms = [outcome for outcome in comparison.arms if outcome.middle]
    least = min(outcome.middle[-1].epoch for outcome in arms)
    at = {o.name: next(m for m in o.middle if m.epoch == least).accuracy for o in arms}
    if len(at) > 4:
        ends = sorted(at, key=lambda name: -at[name])
        at = {name: at[name] for name in (ends[0], ends[-1])}
    said = "; ".join(f"{name}: {100 * share:.2f} %" for name, share in at.items())
    seeds = sorted({len(outcome.curves) for outcome in arms})
    many = words.count(seeds[0], "seed")
    if len(seeds) > 1:
        many = f"{seeds[0]} to {seeds[-1]} seeds"
    bands = any(m.accuracy_band for outcome in arms for m in outcome.middle)
    caption = f"{many} an arm. "
    if seeds != [1]:
        caption += "Thin lines are seeds, thick ones their means. "
    if bands:
        caption += "Bands are 95 % intervals of the mean, by Student's t over the seeds. "
    elif seeds != [1]:
        caption += "No bands: fewer than 3 seeds. "
    caption += "Measured after every epoch; seconds are of training alone, validation left out."
    if any("val" in outcome.published for outcome in arms):
        caption += " Dashed lines are published figures."
    return Chapter(
        "learning",
        "How they learned",
        f"After {words.count(least, 'epoch')} validation accuracy: {said}.",
        figures=tuple((title, tuple(made)) for title, made in drawn),
        caption=caption,
    )


def _reached(comparison: Comparison) -> Chapter | None:
    if not any(outcome.middle for outcome in comparison.arms):
        return None
    title = "Time to an accuracy"
    if not comparison.levels:
        said = (
            "No level tells the arms apart: every run reached at its first look what any reached."
        )
        return Chapter("reached", title, said)
    whole = [
        i
        for i in range(len(comparison.levels))
        if all(not way[i].never for way in comparison.reached)
    ]
    index = whole[-1] if whole else 0
    there = [
        (outcome.name, way[index])
        for outcome, way in zip(comparison.arms, comparison.reached, strict=True)
        if outcome.curves
    ]
    told = []
    for name, way in sorted(there, key=lambda each: _first(each[1].examples))[:4]:
        epochs = [epoch for epoch in way.epochs if epoch is not None]
        part = f" ({way.never} of {len(way.epochs)} seeds never)" if way.never and epochs else ""
        mean = f"{sum(epochs) / len(epochs):.1f}" if epochs else "never"
        told.append(f"{name}: {mean}{part}")
    level = tables.level_name(comparison.levels[index])
    said = f"Epochs to {level} of the validation pictures. {'; '.join(told)}."
    return Chapter("reached", title, said, tables=(tables.reached_table(comparison),))


def _first(values: tuple[int | None, ...]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else float("inf")


def _figures(comparison: Comparison) -> Chapter:
    there = [outcome for outcome in comparison.arms if outcome.loss]
    best = min(there, key=lambda o: o.loss.mean if o.loss else 0.0)
    assert best.loss is not None and best.ece is not None
    said = (
        f"{best.name} is the least surprised by the {comparison.kind} pictures: a loss of "
        f"{words.number(best.loss.mean)} nats, with a calibration error of "
        f"{words.number(best.ece.mean)}."
    )
    folded = (("Every run", tables.seeds_table(comparison)),)
    made = tables.figures_table(comparison)
    return Chapter("figures", "Final figures", said, tables=(made,), folded=folded)


def _pairs(comparison: Comparison) -> Chapter | None:
    if not comparison.pairs:
        return None
    tested = [pair for pair in comparison.pairs if pair.over_both]
    if not any(pair.seeds for pair in comparison.pairs):
        said = "No two arms have a seed in common, so that nothing can be paired."
    elif not tested:
        said = "With one seed in common only networks can be told apart, not arms."
    else:
        many = sum(map(shown, tested))
        said = f"{many or 'None'} of {words.count(len(tested), 'pair')} shows a difference."
        said = said.replace("shows", "show") if many > 1 else said
    folded = (
        ("Over seeds and over pictures alone", tables.apart_table(comparison)),
        ("Seed by seed", tables.mcnemar_table(comparison)),
    )
    made = tables.pairs_table(comparison)
    return Chapter("pairs", "Paired tests", said, tables=(made,), folded=folded)


def _missing(comparison: Comparison) -> Chapter | None:
    said = []
    for outcome in comparison.arms:
        if outcome.missing:
            count = words.count(outcome.missing, "training")
            said.append(f"{outcome.name}: {count} not finished yet.")
        said += [
            f"{outcome.name}, seed {seed}: failed, because {reason}"
            for seed, reason in outcome.failed
        ]
    warning = _warning(comparison)
    return Chapter("missing", "What is not here", warning, listed=tuple(said)) if said else None


def _settings(comparison: Comparison) -> Chapter:
    total = len(comparison.shared) + len(comparison.differing)
    names = ", ".join(comparison.differing)
    said = f"The arms differ in {len(comparison.differing)} of {total} settings"
    return Chapter(
        "settings",
        "Settings",
        f"{said}: {names}." if names else f"{said}.",
        tables=(tables.differing_table(comparison),) * bool(names),
        folded=(("What all have in common", tables.shared_table(comparison)),),
    )


def _repeat(comparison: Comparison) -> Chapter:
    commands = tuple(
        (outcome.name, "\n".join(command(TrainConfig(**config)) for config in outcome.configs))
        for outcome in comparison.arms
        if outcome.configs
    )
    lines = sum(len(outcome.configs) for outcome in comparison.arms)
    said = f"{words.count(lines, 'command')} trains all of it again.".replace(
        "commands trains", "commands train"
    )
    return Chapter("repeat", "To repeat it", said, commands=commands)
