"""The page as a whole: whole, self-contained, escaped, and honest about what is not there."""

import base64
import hashlib
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from siglum import report
from siglum.config import TrainConfig
from siglum.errors import RunError
from siglum.lab.device import choose_device
from siglum.lab.runs import Run
from siglum.lab.trainer import train
from siglum.report.facts import gather

HOSTILE = "<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] for _, attrs in self.elements if attribute in attrs]


def altered(run: Run, folder: Path, file: str, **changes: object) -> Run:
    """A copy of a run with some values of one of its files changed."""
    shutil.copytree(run.path, folder)
    values = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**values, **changes}))
    return Run(folder)


def written(run: Run, folder: Path) -> str:
    return report.write(run, folder / "page.html").read_text()


def test_the_file_is_whole_and_alone(tiny_run: Run, tmp_path: Path) -> None:
    path = report.write(tiny_run, tmp_path / "page.html")

    assert path.read_text().endswith("</html>\n")
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_run_makes_the_same_page(tiny_run: Run, tiny_page: str, tmp_path: Path) -> None:
    assert written(tiny_run, tmp_path) == tiny_page


def test_refers_to_nothing_elsewhere(tiny_page: str) -> None:
    page = Page(tiny_page)

    assert not re.findall(r"https?://|//[a-z]|url\((?!#)|@import", tiny_page.split("<body>")[0])
    assert "http://" not in tiny_page and "https://" not in tiny_page
    assert all(source.startswith("data:image/png;base64,") for source in page.values("src"))
    assert all(target.startswith("#") for target in page.values("href"))
    assert not {"link", "iframe", "object", "embed", "form"} & {tag for tag, _ in page.elements}


def test_its_policy_allows_its_own_script_and_no_other(tiny_page: str) -> None:
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", tiny_page, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]

    assert re.findall(r"script-src ([^;]*);", tiny_page) == [f"'sha256-{d}'" for d in digests]


def test_a_class_name_is_never_markup(tiny_run: Run, tiny_page: str) -> None:
    page = Page(tiny_page)

    assert HOSTILE in tiny_run.classes
    assert HOSTILE not in tiny_page
    assert HOSTILE in page.text
    assert not page.values("onerror")


def test_identifiers_are_unique_and_lead_somewhere(tiny_page: str) -> None:
    page = Page(tiny_page)
    identifiers = Counter(page.values("id"))
    leads = [target.removeprefix("#") for target in page.values("href")]
    leads += page.values("popovertarget") + re.findall(r"url\(#([^)]*)\)", tiny_page)

    assert not [name for name, times in identifiers.items() if times > 1]
    assert set(leads) <= set(identifiers)


@pytest.mark.parametrize("anchor", report.SECTIONS)
def test_every_section_opens_with_a_finding_that_has_a_number(anchor: str, tiny_run: Run) -> None:
    section = report.SECTIONS[anchor](gather(tiny_run))

    assert section is not None
    assert section.finding.endswith(".")
    assert re.search(r"\d|No mistakes|One command", section.finding), section.finding


def test_the_first_lines_say_what_how_well_and_how_sure(tiny_run: Run, tiny_page: str) -> None:
    assert tiny_run.result is not None
    hits = tiny_run.result["test"]["hits"]
    text = Page(tiny_page).text.replace("\N{NO-BREAK SPACE}", " ")

    assert f"glyph_net reads {hits} of 30 test pictures of later right; with so few, the" in text
    assert "It learned from 57 training pictures of 3 classes in 1 epoch" in text


def test_every_setting_is_on_it(tiny_page: str) -> None:
    heads = re.findall(r'<th scope="row">([a-z_]+)</th>', tiny_page)

    assert set(TrainConfig.model_fields) <= set(heads)


def test_a_cell_opens_as_many_pictures_as_it_counts(tiny_run: Run, tiny_page: str) -> None:
    predictions = tiny_run.predictions()
    read = predictions["test_log_probs"].argmax(axis=1)
    cells = Counter(zip(predictions["test_labels"].tolist(), read.tolist(), strict=True))
    parts = re.split(r'<div popover id="cell-(\d+)-(\d+)"', tiny_page.split("</section>")[2])
    shown = {
        (int(label), int(predicted)): html.count("<img ")
        for label, predicted, html in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    }

    assert shown == cells


def test_surest_mistakes_are_those_with_the_highest_probability(
    tiny_run: Run, tiny_page: str
) -> None:
    predictions = tiny_run.predictions()
    log_probs, labels = predictions["test_log_probs"], predictions["test_labels"]
    wrong = np.flatnonzero(log_probs.argmax(axis=1) != labels)
    surest = wrong[np.argsort(-log_probs[wrong].max(axis=1), kind="stable")][:24]
    shown = gather(tiny_run).shown

    assert len(surest) > 0 and shown is not None and shown.files is not None
    files = re.findall(r'<bdi class="file">([^<]*)</bdi>', tiny_page)
    assert files == [shown.files[i] for i in surest]


def test_without_a_test_part_it_reports_the_validation_pictures(
    signs: Path, tmp_path: Path
) -> None:
    config = TrainConfig(data=f"folder:{signs}", epochs=1, batch_size=16, val=0.2)
    run = train(config, tmp_path / "run", choose_device("cpu", "float32", threads=1))
    text = Page(written(run, tmp_path)).text.replace("\N{NO-BREAK SPACE}", " ")

    assert "of 15 validation pictures of signs right" in text
    assert "There was no test part" in text


def test_without_test_and_validation_it_says_that_nothing_measured_it(
    signs: Path, tmp_path: Path
) -> None:
    config = TrainConfig(data=f"folder:{signs}", epochs=1, batch_size=16, val=0)
    run = train(config, tmp_path / "run", choose_device("cpu", "float32", threads=1))
    html = written(run, tmp_path)

    assert "Nothing measured <bdi>glyph_net</bdi>" in html
    assert re.findall(r'<section id="(\w+)"', html) == [
        "pictures",
        "learning",
        "settings",
        "repeat",
    ]


def test_missing_pictures_are_said_to_be_missing(tiny_run: Run, tmp_path: Path) -> None:
    gone = altered(tiny_run, tmp_path / "run", "config.json", data="folder:no/such/place")
    html = written(gone, tmp_path)

    assert "No pictures." in html and "folder:no/such/place" in html
    assert "<img" not in html
    assert html.endswith("</html>\n")


def test_changed_pictures_are_not_shown(tiny_run: Run, tmp_path: Path) -> None:
    fingerprints = {**tiny_run.env["data"], "test": "0" * 32}
    html = written(altered(tiny_run, tmp_path / "run", "env.json", data=fingerprints), tmp_path)

    assert f"the test part of {tiny_run.config.test} has changed since the training." in html
    assert "<img" not in html


def test_an_unfinished_run_has_no_page(tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "run")
    (tmp_path / "run" / "predictions.npz").unlink()

    message = f"{tmp_path / 'run'} must be finished to hold predictions. "
    with pytest.raises(RunError, match=re.escape(message)):
        report.write(Run(tmp_path / "run"), tmp_path / "page.html")


def test_a_place_that_cannot_be_written_is_named(tiny_run: Run, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "page.html"

    message = (
        f"{path} must be a place that can be written, got 'No such file or directory'. "
        "Choose another with -o."
    )
    with pytest.raises(RunError, match=re.escape(message)):
        report.write(tiny_run, path)
