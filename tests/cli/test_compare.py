"""`siglum compare` and `siglum label-issues` as a user calls them."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.conftest import CLASSES


@pytest.fixture(scope="module")
def runs(siglum: Call, signs: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    for lr in ("0.1", "0.000001"):
        for seed in ("0", "1"):
            flags = ("--epochs", 1, "--batch-size", 16, "--val", "0.4", "--threads", 1)
            more = ("--lr", lr, "--seed", seed, "-o", folder / f"{lr}-{seed}")
            assert siglum("train", f"folder:{signs}", *flags, *more).returncode == 0
    return sorted(folder.iterdir())


def test_compare_prints_the_finding_and_writes_every_kind_of_file(
    siglum: Call, runs: list[Path], tmp_path: Path
) -> None:
    done = siglum("compare", *runs, "-o", tmp_path / "page.html", "--plots", tmp_path / "plots")

    assert done.returncode == 0, done.stderr
    assert "lr=0.1" in done.stdout and "95 % CI" in done.stdout and "2 seeds" in done.stdout
    assert "<html" in (tmp_path / "page.html").read_text()
    assert (tmp_path / "plots" / "val_accuracy-by-index.svg").exists()
    for suffix in (".json", ".csv"):
        assert siglum("compare", *runs, "-o", tmp_path / f"n{suffix}").returncode == 0
    refused = siglum("compare", *runs, "-o", "page.doc")
    assert "--out must end in .html, .json, .csv, got 'page.doc'." in refused.stderr
    printed = json.loads(siglum("compare", *runs, "--json").stdout)
    assert printed["headline"] in done.stdout and len(printed["variants"]) == 2


@pytest.fixture(scope="module")
def exchanged(later_signs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The later signs with the folders of crosses and rings exchanged."""
    folder = tmp_path_factory.mktemp("exchanged") / "set"
    for kind, name in zip(CLASSES, ("ring", "cross", "stroke"), strict=True):
        shutil.copytree(later_signs / kind, folder / name)
    return folder


def test_exchanged_classes_are_named_relabelled_and_trained_on(
    siglum: Call, run: Path, exchanged: Path, tmp_path: Path
) -> None:
    flags = ("--relabel-to", "new.csv")
    done = siglum("label-issues", run, f"folder:{exchanged}", *flags, cwd=tmp_path)
    lines = (tmp_path / "new.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if line[0] != "#"))
    truth = {"cross": "ring", "ring": "cross", "stroke": "stroke"}

    assert done.returncode == 0, done.stderr
    assert "cross is ring, ring is cross" in done.stdout
    assert "30 predictions written to new.csv" in done.stdout
    assert sum(row["new"] == truth[row["old"]] for row in rows) >= 28
    assert all(0 <= float(row["margin"]) <= float(row["probability"]) <= 1 for row in rows)
    flags = ("--epochs", 1, "--batch-size", 8, "--threads", 1, "-o", "trained")
    assert siglum("train", "manifest:new.csv", *flags, cwd=tmp_path).returncode == 0


def test_only_probable_predictions_are_written_and_copies_are_counted(
    siglum: Call, run: Path, later_signs: Path, tmp_path: Path
) -> None:
    spec, flags = f"folder:{later_signs}", ("--relabel-to", "n.csv", "--json")
    more = ("--min-probability", 0.9, "--against", spec)
    done = siglum("label-issues", run, spec, *flags, *more, cwd=tmp_path)
    result = json.loads(done.stdout)
    lines = (tmp_path / "n.csv").read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if line[0] != "#"))

    assert all(float(row["probability"]) >= 0.9 for row in rows) and len(rows) <= 30
    assert result["headline"].startswith("Labels and predictions agree on ")
    (copies,) = result["copies"].values()
    assert copies["copied"]["hits"] == copies["occurring"]["hits"] == 30
