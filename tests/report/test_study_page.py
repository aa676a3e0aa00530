"""What a study's page has beside a comparison's: effects, learning curves, writers."""

import itertools
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from siglum.config import TrainConfig
from siglum.lab.arms import Arm
from siglum.lab.by_writer import ByWriter, Reading, Writer
from siglum.lab.compare import Comparison
from siglum.lab.effects import effects_of
from siglum.lab.growth import growth_of
from siglum.lab.outcome import Figure, Outcome, figure, outcome_of
from siglum.report.by_writer import writers_chapter
from siglum.report.comparison import About, headline, write_comparison
from siglum.report.effects import effects_chapter
from siglum.report.growth import growth_chapter
from siglum.stats import wilson
from tests.report.test_report import Page

FILTERS = (5, 20, 90)


def outcome(name: str, accuracies: list[float]) -> Outcome:
    (empty,), _ = outcome_of([Arm(name, ())], "test")
    found = figure(accuracies)
    config = TrainConfig(epochs=1).model_dump()
    return replace(
        empty,
        seeds=tuple(range(len(accuracies))),
        runs=("runs/one",) * len(accuracies),
        configs=(config,) * len(accuracies),
        test=found,
        val=found,
        loss=found,
        ece=found,
        parameters=7,
    )


@pytest.fixture(scope="module")
def grid() -> Comparison:
    """Two networks and three numbers of filters, which matter; kernels do not."""
    random = np.random.RandomState(0)
    levels = {
        f"model={m}, filters={f}, kernel_size={k}": {"model": m, "filters": f, "kernel_size": k}
        for m, f, k in itertools.product(("net <b>", "other"), FILTERS, (3, 5))
    }
    outcomes = tuple(
        outcome(name, list(0.8 + 0.03 * FILTERS.index(at["filters"]) + random.randn(3) / 500))
        for name, at in levels.items()
    )
    effects, why = effects_of(outcomes, levels, "test")
    return Comparison(
        part="test",
        arms=outcomes,
        levels=(),
        reached=((),) * len(outcomes),
        span=None,
        pairs=(),
        shared={},
        differing=(),
        machines=("a machine",),
        effects=effects,
        no_effects=why,
    )


def test_the_finding_of_a_grid_is_what_its_settings_do(grid: Comparison) -> None:
    said = headline(grid).replace("\N{NO-BREAK SPACE}", " ")

    assert re.match(
        r"Of the variance of test accuracy: filters 9\d % \(\d\d\.\d\d % at 5 to \d\d\.\d\d % at "
        r"90\), ",
        said,
    )
    assert "kernel size under 1 % (" in said and "; not shown)" in said
    assert "seeds and chance" in said


def test_the_chapter_of_effects_tells_luck_and_draws_every_cell(grid: Comparison) -> None:
    chapter = effects_chapter(grid)
    assert chapter is not None
    drawn = "".join(plot for _, plots in chapter.figures for plot in plots)

    assert [len(plots) for _, plots in chapter.figures] == [3, 1, 2]  # main, two together, maps
    assert "net &lt;b&gt;" in drawn and "net <b>" not in drawn
    assert chapter.finding.startswith("Best cell by validation: model=")
    assert [line.split(",")[0] for line in chapter.listed] == [
        "The best of 12 cells is favoured by luck: of 12 that were all equal",
        "A single training varies by 0.22 points (standard deviation). If the 6 cells of one "
        "network were one and the same network",
        "A single training varies by 0.22 points (standard deviation). If all 12 cells were one "
        "and the same network",
    ]
    shares, levels = chapter.tables
    assert [row[0] for row in shares.rows][:4] == [
        *("network", "filters", "kernel size", "network × filters")
    ]
    assert len(levels.rows) == 2 + 3 + 2


def test_markdown_shows_a_picture_that_lies_beside_it(grid: Comparison, tmp_path: Path) -> None:
    write_comparison(grid, About("grid"), tmp_path / "grid.md", "md")
    picture = tmp_path / "grid-effects.svg"

    assert "![What each setting does](grid-effects.svg)" in (tmp_path / "grid.md").read_text()
    text = picture.read_text()
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(--" not in text and len(text) < 200_000


def test_html_holds_the_figures_itself(grid: Comparison, tmp_path: Path) -> None:
    write_comparison(grid, About("grid"), tmp_path / "grid.html", "html")
    html = (tmp_path / "grid.html").read_text()
    identifiers = Page(html).values("id")

    assert len(set(identifiers)) == len(identifiers)
    assert not (tmp_path / "grid-effects.svg").exists() and "net <b>" not in html


def test_a_grid_that_is_not_whole_says_why(grid: Comparison) -> None:
    chapter = effects_chapter(replace(grid, effects=None, no_effects="No seed is in all."))

    assert chapter is not None and chapter.finding == "No seed is in all." and not chapter.figures
    assert effects_chapter(replace(grid, effects=None)) is None


def test_a_learning_curve_has_its_finding_its_table_and_published_figures(
    grid: Comparison,
) -> None:
    levels = {
        f"{w} {n}": {"arm": w, "samples_per_class": n} for w in ("frozen", "own") for n in (1, 3, 9)
    }
    outcomes = [
        replace(
            outcome(name, [0.5 + at["samples_per_class"] / 30, 0.6, 0.7]), published={"test": 0.8}
        )
        for name, at in levels.items()
    ]
    growth = growth_of(outcomes, levels, "test")
    chapter = growth_chapter(replace(grid, effects=None, growth=growth))
    assert chapter is not None
    said = chapter.finding.replace("\N{NO-BREAK SPACE}", " ")

    assert said == (
        "Test accuracy against pictures a class: frozen: 61.1 % at 1, 70.0 % at 9; own: 61.1 % at "
        "1, 70.0 % at 9."
    )
    assert "Open circles are published figures." in chapter.caption
    assert len(chapter.tables[0].rows) == 6 and chapter.tables[0].rows[0][-1] == "80.00"


def test_writers_stand_in_a_table_the_worst_first(grid: Comparison) -> None:
    def read(hits: float, total: int) -> Reading:
        return Reading(hits, wilson(round(hits), total))

    name = grid.arms[0].name
    found = ByWriter(
        (name,),
        (Writer("w1", 4, (read(1.5, 4),)), Writer("w2", 5, (read(5.0, 5),))),
        ((0.3, 0.95),),
    )
    chapter = writers_chapter(replace(grid, arms=grid.arms[:1], writers=found))
    assert chapter is not None
    said = chapter.finding.replace("\N{NO-BREAK SPACE}", " ")

    assert said == (
        f"{name} reads 72.2 % of the pictures of 2 writers; over other writers that is between "
        "30 and 95 %. It reads 1 of them without a mistake, and w1 worst: 1.5 of 4."
    )
    assert [row[:3] for row in chapter.tables[0].rows] == [
        ("w1", "4", "1.5"),
        ("w2", "5", "5"),
        ("all writers", "9", "6.5"),
    ]
    assert writers_chapter(grid) is None


def test_a_figure_without_an_interval_makes_no_band() -> None:
    from siglum.lab.growth import Spot

    assert Spot(1.0, Figure((0.5,), 0.5, None, None, None, "none"), None).band is None
