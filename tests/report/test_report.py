"""A report is one file, escapes names, says how certain it is, and shows what can be read."""

import base64
import csv
import hashlib
import html
import json
import re
import shlex
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cyclopts
import numpy as np
import pytest

from siglum import cli
from siglum.cli.lab import train as train_cli
from siglum.config import TrainConfig
from siglum.errors import RunError
from siglum.lab.device import choose_device
from siglum.lab.run_folder import Run
from siglum.lab.train_run import train
from siglum.report.sections import Facts, draw_plots, train_command, write_report
from siglum.stats import wilson
from tests.report.conftest import HOSTILE


class Page(HTMLParser):
    """The elements of a page, and its text with plain spaces."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(page)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] for _, attrs in self.elements if attribute in attrs]


def report_of(run: Run, folder: Path) -> str:
    write_report(run, folder / "page.html")
    return (folder / "page.html").read_text()


def copy_with(run: Run, folder: Path, file: str, **changes: object) -> Run:
    shutil.copytree(run.path, folder)
    values = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**values, **changes}))
    return Run(folder)


def test_a_page_requests_nothing_and_runs_only_its_own_script(
    tiny_run: Run, tiny_page: str, tmp_path: Path
) -> None:
    page = Page(tiny_page)
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", tiny_page, flags=re.DOTALL)
    figures = re.findall(r'<svg class="plot".*?</svg>', tiny_page, flags=re.DOTALL)
    colours = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", "".join(figures)))
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]

    assert re.findall(r"script-src ([^;]*);", tiny_page) == [f"'sha256-{d}'" for d in digests]
    assert "http://" not in tiny_page and "https://" not in tiny_page
    assert not re.findall(r"url\((?!#)|@import", tiny_page)
    assert all(source.startswith("data:image/png;base64,") for source in page.values("src"))
    assert figures and all(c == "none" or c.startswith("var(--") for c in colours), colours
    assert HOSTILE in tiny_run.classes and HOSTILE in page.text
    assert HOSTILE not in tiny_page and not page.values("onerror")
    assert report_of(tiny_run, tmp_path) == tiny_page and tiny_page.endswith("</html>\n")


def test_identifiers_are_unique_and_references_resolve(tiny_page: str) -> None:
    page = Page(tiny_page)
    identifiers = Counter(page.values("id"))
    targets = page.values("href")
    references = (
        [target.removeprefix("#") for target in targets]
        + page.values("popovertarget")
        + re.findall(r"url\(#([^)]*)\)", tiny_page)
    )

    assert all(target.startswith("#") for target in targets)
    assert max(identifiers.values()) == 1 and set(references) <= set(identifiers)


def test_every_section_opens_with_a_finding_that_has_a_number(tiny_page: str) -> None:
    findings = re.findall(
        r'<section id="\w+">\n<h2>.*?</h2>\n<p class="finding">(.*?)</p>', tiny_page, re.DOTALL
    )

    assert len(findings) == tiny_page.count("<section ") == 8
    assert all(re.search(r"\d", text) and text.endswith(".") for text in findings)


def test_the_first_screen_says_what_was_done_how_well_and_how_certain(
    tiny_run: Run, tiny_page: str
) -> None:
    assert tiny_run.result is not None
    rate, text = wilson(tiny_run.result["test"]["hits"], 30), Page(tiny_page).text

    assert f"glyph_net recognises {100 * rate.value:.0f} % of 30 test images of later" in text
    assert f"(95 % CI {100 * rate.low:.0f} to {100 * rate.high:.0f} %)." in text
    assert "Trained on 3 classes with 57 images for 1 epoch" in text


def test_a_cell_opens_as_many_images_as_it_counts(tiny_run: Run, tiny_page: str) -> None:
    predictions = tiny_run.predictions()
    predicted = predictions["test_log_probs"].argmax(axis=1)
    counts = Counter(zip(predictions["test_labels"].tolist(), predicted.tolist(), strict=True))
    parts = re.split(r'<div popover id="cell-(\d+)-(\d+)"', tiny_page.split("</section>")[2])

    assert counts == {
        (int(label), int(prediction)): cell.count("<img ")
        for label, prediction, cell in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    }


def test_mistakes_come_most_confident_first(tiny_run: Run, tiny_page: str) -> None:
    predictions, images = tiny_run.predictions(), Facts(tiny_run).images
    log_probs, labels = predictions["test_log_probs"], predictions["test_labels"]
    wrong = np.flatnonzero(log_probs.argmax(axis=1) != labels)
    order = wrong[np.argsort(-log_probs[wrong].max(axis=1), kind="stable")][:24]

    assert len(order) and images is not None and images.files is not None
    assert re.findall(r'<bdi class="file">(.*?)</bdi>', tiny_page.replace("<wbr>", "")) == [
        images.files[row] for row in order
    ]


@pytest.mark.parametrize(
    ("val", "text", "sections"),
    [
        (0.2, "of 15 validation images of signs", 8),
        (0.0, "was not measured: no images were held out, and none to test.", 4),
    ],
)
def test_without_test_images_the_headline_says_what_was_measured(
    signs: Path, tmp_path: Path, val: float, text: str, sections: int
) -> None:
    config = TrainConfig(data=f"folder:{signs}", epochs=1, batch_size=16, val=val)
    run = train(config, tmp_path / "run", choose_device("cpu", "float32", threads=1))
    page = report_of(run, tmp_path)

    assert text in Page(page).text and page.count("<section ") == sections


def test_one_prediction_for_every_image_is_the_headline(tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "run")
    arrays = tiny_run.predictions()
    arrays["test_log_probs"] = np.tile(np.log([0.2, 0.6, 0.2]), (30, 1)).astype(np.float32)
    np.savez(tmp_path / "run" / "predictions.npz", **arrays)
    text = Page(report_of(Run(tmp_path / "run"), tmp_path)).text

    assert f"glyph_net predicts {tiny_run.classes[1]} for every image: 33 % (95 % CI" in text


@pytest.mark.parametrize(
    "changes", [{"data": "folder:no/such/place"}, {"test": None}], ids=["gone", "changed"]
)
def test_images_that_are_gone_or_changed_are_not_shown(
    tiny_run: Run, tmp_path: Path, changes: dict[str, Any]
) -> None:
    page = report_of(copy_with(tiny_run, tmp_path / "run", "config.json", **changes), tmp_path)

    assert '<p class="notice">' in page and "<img" not in page
    assert "recognises" in Page(page).text and page.endswith("</html>\n")


@pytest.mark.parametrize("file", ["env.json", "result.json", "log.jsonl", "predictions.npz"])
def test_a_damaged_run_still_has_a_report_that_names_the_damage(
    tiny_run: Run, tmp_path: Path, file: str
) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "run")
    (tmp_path / "run" / file).write_bytes(b"\x00 damaged\n")
    page = report_of(Run(tmp_path / "run"), tmp_path)

    assert file in page.split("<main>")[0] and page.endswith("</html>\n")


def test_an_unfinished_run_has_no_report(tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()

    with pytest.raises(RunError, match="is not finished. Finish it with: siglum train --resume"):
        write_report(Run(tmp_path / "run"), tmp_path / "page.html")


def test_every_plot_is_saved_as_png_svg_and_csv(tiny_run: Run, tmp_path: Path) -> None:
    names = draw_plots(Facts(tiny_run))
    for plot in names.values():
        plot.save(tmp_path)

    assert {"accuracy-images", "loss-epochs", "images-per-class", "confusion"} <= set(names)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}{suffix}" for name in names for suffix in (".png", ".svg", ".csv")
    }
    rows = list(csv.reader((tmp_path / "confusion.csv").read_text().splitlines()))[1:]
    assert [row[0] for row in rows] == list(tiny_run.classes) and tiny_run.result is not None
    hits = tiny_run.result["test"]["hits"]
    assert sum(int(row[1 + label]) for label, row in enumerate(rows)) == hits


@pytest.mark.parametrize("file", ["curve.png", "curve.pdf", "curve"])
def test_the_command_refuses_to_write_a_page_under_an_image_name(
    tiny_run: Run, tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.run(["report", str(tiny_run.path), "-o", str(tmp_path / file)])
    message = capsys.readouterr().err

    assert code == 2 and not (tmp_path / file).exists()
    assert "out must end in .html" in message and "--plots DIR" in message


CONFIGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "another model": {"model": "mnist_net", "model_options": {"filters": 90, "dropout": 0.25}},
    "against a recipe": {"model": "mnist_net", "optimizer": "nesterov", "augment": ("affine",)},
    "switched off": {"optimizer": "sgd", "augment": (), "val": 0.0, "label_smoothing": 0.0},
    "two of a kind": {"augment": ("affine", "affine")},
    "booleans": {"model": "picture_net", "model_options": {"mirror": False, "shifts": True}},
    "negative": {"mean": -0.5, "std": 1e-05},
    "looks like a flag": {"writers": r"-(\d+)\.", "split": "writer"},
    "for the shell": {"data": "folder:my 'signs' $HOME; ls", "test": 'folder:"two" *'},
    "the first fold": {"folds": 5},
    "many": {"epochs": 7, "lr": 0.0123456789, "size": 32, "seed": 11, "channels": 3},
}


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS)
def test_the_printed_command_parses_back_to_the_same_settings(settings: dict[str, Any]) -> None:
    config = TrainConfig(**settings)
    words = shlex.split(train_command(config))
    app = cyclopts.App(name="siglum train")
    app.default(train_cli)
    _, bound, _ = app.parse_args(words[2:], exit_on_error=False, print_error=False)
    parsed = bound.arguments.get("settings")
    values = parsed.model_dump(include=parsed.model_fields_set) if parsed else {}

    assert words[:2] == ["siglum", "train"]
    assert TrainConfig(data=bound.arguments["source"], **values) == config


def test_reproducing_lists_the_whole_chain_and_its_files(
    tiny_run: Run, tmp_path: Path, signs: Path
) -> None:
    config = TrainConfig(data=f"folder:{signs}", init=str(tiny_run.path), epochs=1, batch_size=16)
    child = train(config, tmp_path / "child", choose_device("cpu", "float32", threads=1))
    blocks = [
        html.unescape(b) for b in re.findall("<pre>(.*?)</pre>", report_of(child, tmp_path), re.S)
    ]
    rows = list(csv.reader(blocks[0].splitlines()))

    assert rows == [["cross", HOSTILE]]
    assert "--rename=tiny-classes.csv" in blocks[1] and blocks[1].endswith(f"-o {tiny_run.path}")
    assert blocks[2] == train_command(child.config)
    shutil.move(tiny_run.path, tmp_path / "moved")
    try:
        assert "Not complete." in report_of(child, tmp_path)
    finally:
        shutil.move(tmp_path / "moved", tiny_run.path)
