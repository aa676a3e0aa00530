"""A comparison's page: escaped, alone, the same in three formats, and honest about what lacks."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from siglum.config import TrainConfig
from siglum.errors import ConfigError, RunError
from siglum.lab.compare import Arm, Comparison, compare
from siglum.lab.device import choose_device
from siglum.lab.finding import finding
from siglum.lab.runs import Run
from siglum.lab.trainer import train
from siglum.report.comparison import About, Format, write_comparison
from siglum.report.comparison_plots import drawn, short_names
from siglum.report.comparison_tables import arms_table, reached_table
from tests.report.test_report import Page

HOSTILE = "<b onclick=alert(1)>$x_{1}$ | `a`</b>"


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, signs: Path, later_signs: Path) -> list[Run]:
    """Two ways to train, two seeds each, of two epochs."""
    folder, machine = tmp_path_factory.mktemp("runs"), choose_device("cpu", "float32", threads=1)
    settings = {"data": f"folder:{signs}", "test": f"folder:{later_signs}", "epochs": 2}
    settings |= {"batch_size": 16, "val": 0.2}
    return [
        train(TrainConfig(**settings, lr=lr, seed=seed), folder / f"{lr}-{seed}", machine)
        for lr in (0.1, 0.001)
        for seed in (0, 1)
    ]


@pytest.fixture(scope="session")
def comparison(runs: list[Run]) -> Comparison:
    return compare(
        [
            Arm(HOSTILE, tuple(runs[:2]), failed=((2, "the loss was <i>no number</i>."),)),
            Arm("slow", tuple(runs[2:]), published={"test": 0.987, "val": 0.9}, missing=3),
        ]
    )


def written(comparison: Comparison, folder: Path, format: Format, question: str = "Why?") -> str:
    path = folder / f"page.{format}"
    about = About(
        "A <title>",
        question,
        ("It <helps>.", "It harms."),
        ("It <did>.",),
        "A <note>.",
        "siglum study run x",
    )
    write_comparison(comparison, about, path, format)
    return path.read_text()


@pytest.fixture(scope="session")
def html(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(comparison, tmp_path_factory.mktemp("pages"), "html")


def test_an_arms_name_is_never_markup(html: str, comparison: Comparison, tmp_path: Path) -> None:
    page = Page(html)
    markdown = written(comparison, tmp_path, "md")

    assert "<b onclick" not in html and "<i>no" not in html and "<title>" in html
    assert HOSTILE in page.text and "A <title>" in page.text
    assert not page.values("onclick")
    assert "<b onclick" not in markdown and "<i>no" not in markdown and "&lt;b onclick" in markdown


def test_the_finding_comes_first(html: str, comparison: Comparison, tmp_path: Path) -> None:
    said = finding(comparison)
    text = Page(html).text.replace("\N{NO-BREAK SPACE}", " ")

    assert text.index("Why?") < text.index(said) < text.index("Arms")
    assert json.loads(written(comparison, tmp_path, "json"))["finding"] == said
    assert "slow" in said and "2 seeds, 30 test pictures" in said
    assert written(comparison, tmp_path, "md").split("\n\n")[2].startswith("**")


def test_refers_to_nothing_elsewhere(html: str) -> None:
    page = Page(html)

    assert "http://" not in html and "https://" not in html and "@import" not in html
    assert not page.values("src")
    assert all(target.startswith("#") for target in page.values("href"))
    assert "default-src 'none'" in html and html.startswith("<!doctype html>")


def test_identifiers_are_unique_and_lead_somewhere(html: str) -> None:
    page = Page(html)
    identifiers = page.values("id")
    leads = [target.removeprefix("#") for target in page.values("href")]
    leads += re.findall(r"url\(#([^)]*)\)", html)

    assert len(set(identifiers)) == len(identifiers)
    assert set(leads) <= set(identifiers)


def test_every_chapter_opens_with_a_finding(html: str) -> None:
    chapters = re.findall(r'<section id="(\w+)">\s*<h2>.*?</h2>\s*<p class="finding">([^<]*)', html)

    assert [anchor for anchor, _ in chapters] == [
        *(
            "arms",
            "writers",
            "learning",
            "reached",
            "figures",
            "pairs",
            "missing",
            "settings",
            "repeat",
        )
    ]
    assert all(said.strip().endswith(".") for _, said in chapters)


def test_what_failed_and_what_lacks_is_said_in_words(html: str) -> None:
    text = Page(html).text.replace("\N{NO-BREAK SPACE}", " ")

    assert "3 trainings not finished yet and 1 training failed: what is said here rests on" in text
    assert "seed 2: failed, because the loss was <i>no number</i>." in text
    assert "slow: 3 trainings not finished yet." in text


def test_published_figures_stand_in_columns_of_their_own(comparison: Comparison) -> None:
    table = arms_table(comparison)
    column = table.head.index("published test, %")

    assert table.head[column - 3] == "test, %" and table.head[column - 1] == "95 %"
    assert [row[column] for row in table.rows] == ["–", "98.70"]


def test_pretraining_has_columns_only_where_there_was_some(comparison: Comparison) -> None:
    pretrained = replace(comparison.arms[0], pretrained=True)
    with_pretraining = replace(comparison, arms=(pretrained, comparison.arms[1]))

    assert "with pretraining" not in arms_table(comparison).head
    assert "with pretraining" in arms_table(with_pretraining).head
    assert "seconds with pretraining" in reached_table(with_pretraining).head


def test_the_commands_train_every_run_again(html: str) -> None:
    commands = re.findall(r"^(?:<pre>)?(siglum train .*?)(?:</pre>)?$", html, flags=re.MULTILINE)

    assert len(commands) == 4
    assert sum("--seed 1" in line for line in commands) == 2
    assert sum("--lr 0.001" in line for line in commands) == 2


def test_json_holds_everything(comparison: Comparison, tmp_path: Path) -> None:
    said = json.loads(written(comparison, tmp_path, "json"))

    assert (said["title"], said["question"]) == ("A <title>", "Why?")
    assert [arm["name"] for arm in said["arms"]] == [HOSTILE, "slow"]
    assert len(said["arms"][1]["curves"][1]["records"]) == 2
    assert said["pairs"][0]["seeds"][1]["seed"] == 1
    assert said["differing"] == ["lr"]


def test_markdown_tables_are_whole(comparison: Comparison, tmp_path: Path) -> None:
    """Every row of a table has as many cells as its head, whatever an arm is called."""
    tables = re.findall(r"(?:^\|.*\|\n)+", written(comparison, tmp_path, "md"), flags=re.MULTILINE)

    assert len(tables) >= 7
    for table in tables:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1, table


def test_without_a_question_and_with_one_seed_there_is_a_page(
    runs: list[Run], tmp_path: Path
) -> None:
    comparison = compare([Arm("a", (runs[0],)), Arm("b", (runs[2],))])
    html = written(comparison, tmp_path, "html", question="")

    assert 'class="question"' not in html
    assert "one seed cannot tell the arms from the luck of the start." in Page(html).text
    assert "With one seed in common only networks can be told apart, not arms." in html


def test_of_many_arms_best_worst_and_published_are_drawn(comparison: Comparison) -> None:
    first = comparison.arms[0]
    assert first.test is not None
    arms = tuple(
        replace(
            first,
            name=f"arm {n}",
            test=replace(first.test, mean=0.5 + n / 100),
            published={"test": 0.9} if n == 4 else {},
        )
        for n in range(12)
    )
    many = replace(comparison, arms=arms, pairs=(), reached=comparison.reached[:1] * 12)

    assert [arm.outcome.name for arm in drawn(many)] == ["arm 0", "arm 4", "arm 11"]
    assert [row[0] for row in arms_table(many).rows] == [f"arm {n}" for n in range(11, -1, -1)]


def test_short_names_stay_different() -> None:
    assert short_names(["model=a", "model=b"]) == ["a", "b"]
    assert short_names(["init=a", "model=a"]) == ["init=a", "model=a"]
    long = [f"{'x' * 30}{end}{'y' * 30}" for end in "ab"]
    assert len(set(short_names(long))) == 2


def test_the_same_comparison_makes_the_same_page(
    comparison: Comparison, html: str, tmp_path: Path
) -> None:
    assert written(comparison, tmp_path, "html") == html


def test_an_unknown_format_is_named(comparison: Comparison, tmp_path: Path) -> None:
    message = "format must be one of html, json, md, got 'pdf'."
    with pytest.raises(ConfigError, match=re.escape(message)):
        written(comparison, tmp_path, "pdf")  # type: ignore[arg-type]


def test_a_place_that_cannot_be_written_is_named(comparison: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "page.md"

    message = (
        f"{path} must be a place that can be written, got 'No such file or directory'. "
        "Choose another with -o."
    )
    with pytest.raises(RunError, match=re.escape(message)):
        write_comparison(comparison, About(""), path, "md")


def test_what_it_is_for_is_told_first(comparison: Comparison, tmp_path: Path) -> None:
    """Note, hypotheses and command stand before the figures, and are never markup."""
    page, text = (written(comparison, tmp_path, kind) for kind in ("html", "md"))

    for written_page, end in ((page, "<main>"), (text, "## Arms")):
        head = written_page[: written_page.index(end)]
        assert "Answered after the runs: It &lt;did&gt;." in head.replace("\n", " ")
        assert head.count("Answered") == 1 and "It harms." in head
        assert "It &lt;helps&gt;." in head and "A &lt;note&gt;." in head
        assert "siglum study run x" in head


def test_weights_chosen_by_the_pictures_measured_are_said_to_be(comparison: Comparison) -> None:
    from dataclasses import replace

    from siglum.report.comparison import _account

    outcomes = tuple(
        replace(o, configs=tuple({**c, "checkpoint": "best"} for c in o.configs))
        for o in comparison.arms
    )
    chosen = replace(comparison, arms=outcomes, part="val")

    assert "which flatters them a little" in _account(chosen)
    assert "flatters" not in _account(replace(chosen, part="test"))
