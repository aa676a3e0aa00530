"""`siglum relabel` from end to end, as a process, on a small folder of signs."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from siglum import cli
from siglum.cli import relabel_words as words
from siglum.lab.association import diagnose
from tests.conftest import CLASSES


@pytest.fixture(scope="module")
def exchanged(later_signs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The later signs, with rings in the folder of crosses and crosses in that of rings."""
    folder = tmp_path_factory.mktemp("exchanged") / "set"
    folder.mkdir()
    for kind, name in zip(CLASSES, ("ring", "cross", "stroke"), strict=True):
        shutil.copytree(later_signs / kind, folder / name)
    return folder


def read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the first lines and the rows of a manifest."""
    lines = path.read_text().splitlines()
    return [x for x in lines if x[0] == "#"], [*csv.DictReader(x for x in lines if x[0] != "#")]


def test_a_set_under_exchanged_names_is_put_right_and_trained_on(
    siglum, run: Path, exchanged: Path, tmp_path: Path
) -> None:
    spec = f"folder:{exchanged}"
    done = siglum("relabel", run, spec, "-o", "new.csv", "--threads", 1, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "cross is ring, ring is cross" in done.stdout
    assert "kept        30 of 30 pictures" in done.stdout
    head, rows = read(tmp_path / "new.csv")
    assert head[0] == f"# source: {spec}" and not any("part:" in line for line in head)
    assert [row["file"] for row in rows] == sorted(row["file"] for row in rows)
    assert all(row["file"].startswith(f"{row['old']}/") for row in rows)
    right = {"cross": "ring", "ring": "cross", "stroke": "stroke"}
    assert sum(row["new"] == right[row["old"]] for row in rows) >= 28
    assert all(0 <= float(row["margin"]) <= float(row["probability"]) <= 1 for row in rows)

    told = siglum("data", "manifest:new.csv", "--json", cwd=tmp_path)
    assert sum(json.loads(told.stdout)["all"]["counts"]) == 30, told.stderr
    flags = ("--epochs", 1, "--batch-size", 8, "--threads", 1, "-o", "trained")
    trained = siglum("train", "manifest:new.csv", *flags, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    measured = siglum("evaluate", run, "manifest:new.csv", "--json", cwd=tmp_path)
    assert json.loads(measured.stdout)["accuracy"]["hits"] == 30, measured.stderr


def test_everything_is_there_as_json_and_only_the_sure_are_kept(
    siglum, run: Path, later_signs: Path, signs: Path, tmp_path: Path
) -> None:
    flags = ("--at-least", 0.8, "--against", f"folder:{signs}", "--threads", 1, "--json")
    done = siglum("relabel", run, f"folder:{later_signs}", "-o", "new.csv", *flags, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    _, rows = read(tmp_path / "new.csv")
    assert len(rows) == told["kept"] <= told["pictures"] == 30
    assert all(float(row["probability"]) >= 0.8 for row in rows)
    assert np.sum(told["diagnosis"]["counts"]) == 30
    assert told["diagnosis"]["kind"] == "agree" and told["diagnosis"]["association"]["p"] < 1e-6
    assert told["thresholds"][0]["kept"] == 30
    (part,) = told["against"]["parts"]
    assert part["size"] == 72 and part["copied"]["total"] == 30


def test_copies_are_found_in_the_set_that_the_run_learned_from(
    siglum, run: Path, signs: Path, tmp_path: Path
) -> None:
    spec = f"folder:{signs}"
    done = siglum("relabel", run, spec, "-o", "n.csv", "--against", spec, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "72 of 72 (100.00 %" in text and "copies of pictures of" in text
    assert "its new labels are next to recall" in text


def test_a_part_is_kept_with_the_manifest(siglum, run: Path, tmp_path: Path) -> None:
    flags = ("--part", "test", "--precision", 0.9, "--threads", 1)
    done = siglum("relabel", run, "mnist5k", "-o", "n.csv", *flags, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    head, rows = read(tmp_path / "n.csv")
    assert head[:2] == ["# source: mnist5k", "# part: test"]
    assert {row["file"] for row in rows} <= {str(number) for number in range(1000)}


@pytest.fixture(scope="module")
def without_validation(siglum, signs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "blind"
    flags = ("--epochs", 1, "--val", 0, "--batch-size", 16, "--threads", 1)
    done = siglum("train", f"folder:{signs}", "-o", path, *flags)
    assert done.returncode == 0, done.stderr
    return path


def test_without_validation_probabilities_are_taken_as_they_are(
    siglum, without_validation: Path, later_signs: Path, tmp_path: Path
) -> None:
    given = ("relabel", without_validation, f"folder:{later_signs}", "-o", "new.csv")
    done = siglum(*given, cwd=tmp_path)

    assert done.returncode == 0
    assert done.stderr == (
        f"siglum: {without_validation} has no validation predictions, so its probabilities are "
        "taken as they are (temperature 1)\n"
    )
    assert "temperature: 1.000000" in (tmp_path / "new.csv").read_text()
    refused = siglum(*given[:-1], "other.csv", "--precision", 0.9, cwd=tmp_path)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "precision must be measured on validation pictures" in refused.stderr


MISTAKES = {
    "no out": (("RUN", "SET"), "--out"),
    "unreadable": (("RUN", "folder:nowhere", "-o", "n.csv"), "must name a folder, got nothing"),
    "unknown": (("RUN", "foldr:x", "-o", "n.csv"), "Did you mean 'folder'?"),
    "empty": (("RUN", "idx:.", "-o", "n.csv"), "idx:. must hold pictures, got none."),
    "unfinished": (("UNFINISHED", "SET", "-o", "n.csv"), "must be finished to hold predictions"),
    "no run": (("nowhere", "SET", "-o", "n.csv"), "nowhere must be a run's folder"),
    "taken": (("RUN", "SET", "-o", "taken.csv"), "out must not exist yet, got taken.csv"),
    "no folder": (("RUN", "SET", "-o", "no/n.csv"), "out must lie in a folder that exists"),
    "manifest": (("RUN", "manifest:taken.csv", "-o", "n.csv"), "source must hold the pictures"),
    "both": (
        ("RUN", "SET", "-o", "n.csv", "--at-least", "0.5", "--precision", "0.9"),
        "at_least must stand alone",
    ),
    "bounds": (("RUN", "SET", "-o", "n.csv", "--at-least", "2"), "at_least must be in [0, 1]"),
    "none kept": (
        ("RUN", "SET", "-o", "n.csv", "--at-least", "1"),
        "must reach the threshold 1.0, got 0.",
    ),
    "part": (
        ("RUN", "SET", "-o", "n.csv", "--part", "test"),
        "part must be one of all, got 'test'",
    ),
    "against": (
        ("RUN", "SET", "-o", "n.csv", "--against", "folder:nowhere"),
        "folder:nowhere must name a folder, got nothing",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(
    mistake: str, run: Path, later_signs: Path, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.csv").write_text("mine")
    shutil.copytree(run, tmp_path / "unfinished")
    for name in ("result.json", "predictions.npz"):
        (tmp_path / "unfinished" / name).unlink()
    arguments, message = MISTAKES[mistake]
    places = {"RUN": str(run), "SET": f"folder:{later_signs}", "UNFINISHED": "unfinished"}

    code = cli.run(["relabel", *(places.get(word, word) for word in arguments)])

    error = capsys.readouterr().err.strip()
    assert code == 2, error
    assert error.startswith("siglum: ") and message in error
    assert "\n" not in error
    assert (tmp_path / "taken.csv").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken.csv", "unfinished"]


def told(old: np.ndarray, new: np.ndarray, accuracy=None) -> str:
    names = tuple("0123456789")
    return " ".join(
        words.diagnosis(diagnose(old, new, names, names, accuracy), names, names, accuracy)
    )


def test_every_verdict_has_its_words() -> None:
    random = np.random.RandomState(0)
    new = random.randint(0, 10, 3000)
    some = random.rand(3000) < 0.2
    weak = np.where(random.rand(3000) < 0.5, new // 2, random.randint(0, 10, 3000))

    assert "Old and new labels agree" in told(new, new)
    assert "validated nothing" in told(new, new)
    by_lot = told(np.where(some, random.randint(0, 10, 3000), new), new)
    assert "part of the labels is wrong" in by_lot and "spread over the classes" in by_lot
    assert "The wrong ones gather: 4 for 9" in told(np.where(some & (new == 9), 4, new), new)
    assert "0 is 9, 1 is 0" in told((new + 1) % 10, new)
    assert "is as if" in told(np.where(some, random.randint(0, 10, 3000), (new + 1) % 10), new)
    assert "Old class 3 holds several: 3" in told(np.where(new == 5, 3, new), new)
    assert "have nothing to do with" in told(random.permutation(new), new)
    avoided = (new + random.randint(1, 10, 3000)) % 10
    assert "Labels name what their pictures are not" in told(avoided, new)
    assert "0 never 9" in told((avoided + 1) % 10, new)
    assert "in no simple way" in told(weak, new)
    assert "only one class" in told(np.zeros(3000, np.int64), new)
