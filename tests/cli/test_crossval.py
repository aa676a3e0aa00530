"""`siglum crossval`, as a person would use it."""

import json
from pathlib import Path

import numpy as np
import pytest

FLAGS = ("--epochs", "2", "--batch-size", "16", "--val", "0", "--threads", "1")


@pytest.fixture(scope="module")
def done(siglum, signs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crossval") / "cv"
    said = siglum("crossval", f"folder:{signs}", "--folds", 3, "--repeats", 2, "-o", folder, *FLAGS)
    assert said.returncode == 0, said.stderr
    assert "of 72 right" in said.stdout and "2 repeats of 3 folds" in said.stdout
    assert "Drawn writer by writer (4):" in said.stdout
    return folder


def test_what_each_picture_was_read_as_is_kept(done: Path, signs: Path) -> None:
    with np.load(done / "out-of-fold.npz", allow_pickle=False) as kept:
        assert kept["log_probs"].shape == (2, 72, 3)
        assert kept["classes"].tolist() == ["cross", "ring", "stroke"]
        assert all((signs / name).exists() for name in kept["files"])


def test_given_again_nothing_is_trained_again(siglum, done: Path, signs: Path) -> None:
    command = ("crossval", f"folder:{signs}", "--folds", 3, "--repeats", 2, "-o", done, *FLAGS)
    said = siglum(*command, "--json")

    assert said.returncode == 0, said.stderr
    assert "to go)" not in said.stdout
    found = json.loads(said.stdout[said.stdout.index("{") :])
    assert found["pictures"] == 72 and len(found["confusion"]) == 3


def test_it_is_a_study_and_has_a_page(siglum, done: Path, tmp_path: Path) -> None:
    said = siglum(
        "study", "report", done / "study.toml", "--folder", done, "-o", tmp_path / "page.html"
    )

    assert said.returncode == 0, said.stderr
    assert "Nadeau and Bengio, 6 folds" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--repeats", 0), "repeats must be at least 1, got 0."),
        (("--fold", 1), "fold must be left out: all folds are trained."),
        (("--folds", 30), "folds must be at most the 24 pictures of the smallest class"),
        (("--test", "mnist5k"), "Cannot combine folds with test"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    siglum, signs: Path, tmp_path: Path, flags: tuple[object, ...], message: str
) -> None:
    said = siglum("crossval", f"folder:{signs}", "-o", tmp_path / "cv", *FLAGS, *flags)

    assert said.returncode == 2
    assert message in said.stderr and said.stderr.count("\n") == 1


def test_another_cross_validation_is_not_written_over(siglum, done: Path, signs: Path) -> None:
    said = siglum("crossval", f"folder:{signs}", "--folds", 4, "-o", done, *FLAGS)

    assert said.returncode == 2
    assert "must hold nothing or the same cross-validation" in said.stderr
