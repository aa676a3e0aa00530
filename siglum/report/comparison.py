"""Arms side by side as one page: self-contained HTML, Markdown, or JSON."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from siglum.errors import choose
from siglum.lab.compare import Comparison
from siglum.lab.finding import finding
from siglum.report import comparison_plots as plots
from siglum.report import files, words
from siglum.report.by_writer import writers_chapter
from siglum.report.chapter import Chapter
from siglum.report.comparison_chapters import (
    arms_chapter,
    figures_chapter,
    learning_chapter,
    missing_chapter,
    pairs_chapter,
    reached_chapter,
    repeat_chapter,
    settings_chapter,
    warning,
)
from siglum.report.comparison_tables import Table
from siglum.report.effects import effects_chapter, effects_finding
from siglum.report.growth import growth_chapter, growth_finding
from siglum.report.page import whole
from siglum.report.plot import SERIES, standalone

Format = Literal["html", "md", "json"]
HYPOTHESES = "Expected before the runs:"
ANSWER = "Answered after the runs:"
LONG = 100  # rows of a folded table, and lines of commands, above which Markdown leaves them out


@dataclass(frozen=True)
class About:
    """What a comparison is for; what is empty is not told."""

    title: str
    question: str = ""  # that it is to answer
    hypotheses: tuple[str, ...] = ()  # written before the runs
    answers: tuple[str, ...] = ()  # to the first of them, written after the runs
    note: str = ""  # what a reader must know
    command: str = ""  # that makes all of it

    @property
    def expected(self) -> list[tuple[str, str]]:
        """Each hypothesis with its answer, "" for one that has none yet."""
        return list(zip_longest(self.hypotheses, self.answers, fillvalue=""))


def write_comparison(comparison: Comparison, about: About, path: Path, format: Format) -> Path:
    """Write a comparison's page to `path`, in one step, and return `path`.

    Raises:
        RunError: if `path` cannot be written.
    """
    write = choose({"html": _html, "md": _markdown, "json": _json}, format, "format")
    chapters = [] if format == "json" else _chapters(comparison)
    if format == "md":
        for chapter in chapters:
            if chapter.beside:
                drawn = standalone([plot for _, plots in chapter.figures for plot in plots])
                files.replace(_beside(path, chapter), drawn.encode())
    raw = write(comparison, about, chapters, path).encode("utf-8", "backslashreplace")
    return files.replace(path, raw)


def headline(comparison: Comparison) -> str:
    """Return what the comparison shows, in one sentence: of a grid, its curve or its effects."""
    if comparison.growth is not None:
        return growth_finding(comparison.growth, comparison.kind)
    if comparison.effects is not None:
        return effects_finding(comparison.effects, comparison.kind)
    return finding(comparison)


def _beside(path: Path, chapter: Chapter) -> Path:
    return path.with_name(f"{path.stem}-{chapter.beside}.svg")


def _html(comparison: Comparison, about: About, chapters: list[Chapter], path: Path) -> str:
    looks = {
        arm.outcome.name: (SERIES[arm.colour], "dashed" if arm.broken else "solid")
        for arm in plots.drawn(comparison)
    }
    return whole(
        "comparison.html",
        about.title,
        "comparison",
        [(chapter.anchor, chapter.title) for chapter in chapters],
        ["comparison.css"],
        hypotheses=HYPOTHESES,
        answered=ANSWER,
        about=about,
        finding=_held(headline(comparison)),
        account=_account(comparison),
        warning=warning(comparison),
        chapters=chapters,
        looks=looks,
    )


def _held(said: str) -> str:
    """Keep what belongs together on one line."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\bp) (?=[=<])|(?<=[=<]) (?=\d)", words.SPACE, said)


def _markdown(comparison: Comparison, about: About, chapters: list[Chapter], path: Path) -> str:
    lines = [f"# {_plain(about.title)}", ""]
    lines += [f"*{_plain(about.question)}*", ""] * bool(about.question)
    lines += [f"**{_plain(headline(comparison))}**", "", _plain(_account(comparison)), ""]
    lines += [_plain(warning(comparison)), ""] * bool(warning(comparison))
    lines += [_plain(about.note), ""] * bool(about.note)
    if about.hypotheses:
        lines += [HYPOTHESES, ""]
        for expected, answer in about.expected:
            lines.append(f"- {_plain(expected)}")
            lines += [f"  {ANSWER} {_plain(answer)}"] * bool(answer)
        lines.append("")
    lines += ["```", about.command, "```", ""] * bool(about.command)
    for chapter in chapters:
        lines += [f"## {chapter.title}", "", _plain(chapter.finding), ""]
        if chapter.beside:
            lines += [f"![{chapter.title}]({_beside(path, chapter).name})", ""]
            lines += [_plain(chapter.caption), ""]
        for table in chapter.tables:
            lines += _rows(table)
        for summary, table in chapter.folded:
            lines += [f"### {summary}", ""]
            if len(table.rows) > LONG:
                lines += [f"{len(table.rows)} rows: in the HTML page.", ""]
            else:
                lines += _rows(table)
        lines += [f"- {_plain(line)}" for line in chapter.listed]
        lines += [""] * bool(chapter.listed)
        many = sum(commands.count("\n") + 1 for _, commands in chapter.commands)
        if many > LONG:
            lines += ["They stand in the HTML page.", ""]
        for arm, commands in chapter.commands if many <= LONG else ():
            lines += [f"{_plain(arm)}:", "", "```", commands, "```", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _json(comparison: Comparison, about: About, chapters: list[Chapter], path: Path) -> str:
    said = {**asdict(about), "finding": headline(comparison)}
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
        config["checkpoint"] == "best" for outcome in there for config in outcome.configs
    ):
        said += (
            " Weights are those of the epoch that read these very pictures best, which flatters "
            "them a little."
        )
    return said


def _chapters(comparison: Comparison) -> list[Chapter]:
    makers: list[Callable[[Comparison], Chapter | None]] = [
        growth_chapter,
        effects_chapter,
        arms_chapter,
        writers_chapter,
        learning_chapter,
        reached_chapter,
        figures_chapter,
        pairs_chapter,
        missing_chapter,
        settings_chapter,
        repeat_chapter,
    ]
    return [chapter for make in makers if (chapter := make(comparison)) is not None]
