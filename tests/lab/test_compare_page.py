"""The page of a comparison: complete, self-contained, and safe with hostile names."""

import csv
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from untrained import MakeRun, correct

from siglum.errors import ConfigError
from siglum.files import read_json
from siglum.lab.compare import Comparison, Variant, compare_runs
from siglum.lab.search import Search
from siglum.lab.study import StudyFile
from siglum.report.compare import draw, headline, write_comparison

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def grid(make_run: MakeRun) -> Comparison:
    """Three numbers of epochs by three learning rates with two seeds, and one hostile name."""
    variants = [
        Variant(
            f"{HOSTILE} {lr}, epochs={epochs}",
            tuple(
                make_run(f"{lr}-{epochs}-{s}", correct(90 - 20 * epochs + s, s), seed=s, lr=lr,
                         way=(0.5, 0.9)[: epochs or 1])
                for s in range(2)
            ),
            failed=((7, "the loss became NaN"),) if epochs == 1 else (),
            missing=epochs == 2,
            published={"test": 0.9} if epochs == 1 else {},
            levels={"lr": f"rate-that-is-far-too-long-to-be-read-{lr}", "epochs": epochs},
        )
        for lr in (0.1, 0.2, 0.3)
        for epochs in (1, 2, 3)
    ]  # fmt: skip
    return compare_runs(variants)


def test_the_page_has_everything_and_nothing_from_outside(grid: Comparison, tmp_path: Path) -> None:
    study = StudyFile(
        question="a question?", hypotheses=("we expect x",), answers=("yes",), note="a note"
    )
    for name in ("page.html", "again.html"):
        write_comparison(grid, tmp_path / name, "a title", study, "siglum study run f")
    html = (tmp_path / "page.html").read_text()

    texts = ["a question?", "we expect x", "yes", "a note", "study run f", "Reproduce"]
    texts += ["seed 7, failed: the loss became NaN", "3 runs not finished", "Paired differences"]
    texts += ["siglum train", "published test", "Main effects", "axis starts at"]
    for text in texts:
        assert text in html.replace("\N{NO-BREAK SPACE}", " "), text
    assert HOSTILE not in html and "&lt;script&gt;alert(1)" in html
    assert not re.findall(r'(?:src|href)="(?!#|data:)', html)
    identifiers = re.findall(r'\bid="([^"]+)"', html)
    assert len(identifiers) == len(set(identifiers))
    assert html == (tmp_path / "again.html").read_text()


def test_json_and_csv_hold_the_numbers(grid: Comparison, make_run: MakeRun, tmp_path: Path) -> None:
    for suffix in (".json", ".csv"):
        write_comparison(grid, tmp_path / f"numbers{suffix}", "t")
    data = read_json(tmp_path / "numbers.json")  # strict: no NaN
    rows = list(csv.DictReader((tmp_path / "numbers.csv").read_text().splitlines()))

    assert data["headline"] == headline(grid) and len(data["variants"]) == len(rows) == 9
    assert float(rows[2]["accuracy"]) == pytest.approx(data["variants"][2]["accuracy"])
    assert data["variants"][0]["val"] is None and data["variants"][1]["missing"] == 1
    variants = [Variant("a", (make_run("a", correct(5)),)), Variant("b", (), missing=2)]
    write_comparison(compare_runs(variants), tmp_path / "n.html", "t")
    page = (tmp_path / "n.html").read_text()
    assert "2 runs not finished" in page and "– to –" not in page
    with pytest.raises(ConfigError, match="--out must end in .html, .json, .csv, got 'x.md'"):
        write_comparison(grid, Path("x.md"), "t")


def test_accuracy_is_drawn_against_size_and_time(make_run: MakeRun, tmp_path: Path) -> None:
    """Of 12 variants all are named; of more, those that no smaller one reaches."""
    for count, named in ((12, 12), (14, 11)):
        variants = [
            Variant(f"v{n}", (make_run(f"{count}-{n}", correct(abs(10 - n)), way=(0.5,) * (n + 1),
                                       parameters=10 * 2**n),))
            for n in range(count)
        ]  # fmt: skip
        comparison = compare_runs(variants)
        every = {plot.name: plot for plot in draw(comparison)}
        plot = every["accuracy-by-parameters"]
        assert plot.title.startswith("Test accuracy by parameters: 99.0 to 100.0 %")
        assert plot.columns["parameters"] == [10 * 2**n for n in range(count)]
        assert len(plot.figure.axes[0].texts) == named
        write_comparison(comparison, tmp_path / "page.html", "t")
        for name in ("parameters", "seconds"):
            assert f'id="accuracy-by-{name}' in (tmp_path / "page.html").read_text()
        heights = sorted(text.xyann[1] for text in plot.figure.axes[0].texts)
        assert all(b - a > 0.077 for a, b in pairwise(heights)) and heights[0] >= 0


def test_the_page_of_a_search_shows_its_trials_by_validation_and_one_test(
    make_run: MakeRun, tmp_path: Path
) -> None:
    variants = [
        Variant(f"{x}: x={x}", (make_run(f"{x}", correct(10 * x), part="val"),), levels={"x": x})
        for x in (1, 2, 3)
    ]
    chosen = compare_runs([Variant("1: x=1", (make_run("test", correct(200)),))])
    search = Search(strategy="linear", dimensions={"x": [1, 2, 3]})
    study = StudyFile(hypotheses=("a", "b"), answers=("yes",), search=search)
    comparison = compare_runs(variants, part="val")
    write_comparison(comparison, tmp_path / "page.html", "t", study, chosen=chosen)
    html = (tmp_path / "page.html").read_text().replace("\N{NO-BREAK SPACE}", " ")

    texts = ["Chosen by validation accuracy (99.0 %): 1: x=1: test accuracy 80.0 % (95 % CI"]
    texts += ["Best of 3 trials: 99.0 % in trial 1", "x: up to 2.0 points apart, all else equal"]
    texts += ["Search strategy: linear", "1 hypothesis not answered yet", "Not answered yet."]
    for text in texts:
        assert text in html, text
    assert "Paired differences" not in html
    write_comparison(comparison, tmp_path / "page.json", "t", study, chosen=chosen)
    data = read_json(tmp_path / "page.json")
    assert data["headline"].startswith(texts[0]) and not data["pairs"]


def test_labels_of_an_axis_are_where_they_say(grid: Comparison) -> None:
    for accuracy in (0.845, 0.9995):
        plots = draw(replace(grid, epochs=grid.epochs.assign(val_accuracy=accuracy)))
        axis = next(p for p in plots if p.name == "val_accuracy-by-index").figure.axes[0].yaxis
        ticks = axis.get_majorticklocs()
        texts = axis.get_major_formatter().format_ticks(ticks)
        assert [float(text[:-2]) for text in texts] == pytest.approx(100 * ticks)


def test_every_plot_can_be_saved_and_curves_show_training_and_validation(
    grid: Comparison, tmp_path: Path
) -> None:
    every = {plot.name: plot for plot in draw(grid)}
    for name in ("train_accuracy-by-index", "val_loss-by-seconds", "accuracy"):
        every[name].save(tmp_path)

    assert {"train_loss-by-index", "val_accuracy-by-seconds"} <= set(every)
    assert (tmp_path / "accuracy.png").stat().st_size > 1000
    assert (tmp_path / "train_accuracy-by-index.csv").read_text().startswith("line,x,y,low,high")
    assert every["val_accuracy-by-index"].title.endswith(" % at the end")
    labels = re.findall(r">([^<>]*0\.[123])<", (tmp_path / "accuracy.svg").read_text())
    assert len(set(labels)) >= 3, "labels that were shortened stay distinct"
