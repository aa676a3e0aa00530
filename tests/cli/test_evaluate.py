"""What a run kept of its own pictures, and classes that are counted as one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from siglum.cli.lab import merge_classes
from siglum.lab.run_folder import Run
from siglum.lab.train_run import load_data
from tests.conftest import CLASSES


def test_held_out_images_are_measured_by_default(siglum, run: Path, signs: Path) -> None:
    """Neither without a source nor when the run's own source is named are training images used."""
    result = Run(run).result
    assert result is not None
    for flags in ([], [f"folder:{signs}"], [f"{signs}/../signs"], ["--part", "val"]):
        text = siglum("evaluate", run, *flags)
        measured = json.loads(siglum("evaluate", run, *flags, "--json").stdout)

        assert measured["part"] == "val" and measured["trained_on"] == 0
        assert measured["accuracy"]["hits"] == result["val"]["hits"]
        assert measured["accuracy"]["total"] == result["val"]["total"] == 15
        assert measured["loss"] == pytest.approx(result["val"]["loss"])
        assert "(validation images)" in text.stdout


def test_training_images_are_named_in_the_headline(siglum, run: Path) -> None:
    text = siglum("evaluate", run, "--part", "train")
    measured = json.loads(siglum("evaluate", run, "--part", "train", "--json").stdout)

    assert measured["accuracy"]["total"] == measured["trained_on"] == 57
    assert "training images; the run was trained on 57 of these 57 images" in text.stdout


def test_training_images_in_another_source_are_counted(
    siglum, run: Path, signs: Path, later_signs: Path, tmp_path: Path
) -> None:
    shutil.copytree(later_signs, tmp_path / "mixed")
    trained = load_data(Run(run).config).train.files
    assert trained is not None
    for name in trained:
        target = tmp_path / "mixed" / Path(name).parent / f"copy-{Path(name).name}"
        shutil.copy(signs / name, target)

    text = siglum("evaluate", run, f"folder:{tmp_path / 'mixed'}")

    assert "the run was trained on 58 of these 87 images" in text.stdout


def test_images_of_the_run_that_it_started_from_count_as_trained_on(
    siglum, run: Path, signs: Path, tmp_path: Path
) -> None:
    """Another seed holds out other images; --merge accepts the names from before --rename."""
    (tmp_path / "names.csv").write_text("cross,x\n")
    (tmp_path / "groups.csv").write_text("cross,lines\nstroke,lines\n")
    shutil.copytree(run, tmp_path / "old" / "first")
    flags = ("--init", "old/first", "--seed", 1, "--val", 0.2, "--epochs", 1)
    rename = ("--rename", "names.csv")
    done = siglum("train", signs, "-o", "old/child", *flags, *rename, cwd=tmp_path)
    (tmp_path / "old").rename(tmp_path / "new")
    text = siglum("evaluate", "new/child", "--merge", "groups.csv", cwd=tmp_path)
    record = json.loads(siglum("evaluate", "new/child", "--json", cwd=tmp_path).stdout)
    whole = siglum("evaluate", "new/child", signs, *rename, "--json", cwd=tmp_path)
    siglum("report", "new/child", cwd=tmp_path)
    page = (tmp_path / "new" / "child" / "report.html").read_text()

    count = record["trained_on"]
    assert count > 5 and f"trained on {count} of the images that measure this run" in done.stdout
    assert f"was trained on {count} of these 15 images" in text.stdout
    assert f"But the initial weights were trained on {count} of them." in " ".join(page.split())
    assert record["classes"] == ["ring", "stroke", "x"] and "lines" in text.stdout
    assert json.loads(whole.stdout)["trained_on"] == 57 + count


def test_images_that_changed_or_are_gone_are_no_others(siglum, signs: Path, tmp_path: Path) -> None:
    shutil.copytree(signs, tmp_path / "set")
    assert siglum("train", "set", "--epochs", 1, "-o", "run", cwd=tmp_path).returncode == 0
    shutil.copy(signs / "ring" / "w0_00.png", tmp_path / "set" / "ring" / "new.png")
    changed = siglum("evaluate", "run", "--part", "train", cwd=tmp_path)
    (tmp_path / "set").rename(tmp_path / "moved")
    moved = siglum("evaluate", "run", "moved", cwd=tmp_path)

    assert changed.returncode == 2 and "changed after training" in changed.stderr
    assert "trained on an unknown number of these 73 images" in moved.stdout


def test_a_run_with_test_images_of_its_own_is_measured_on_the_named_source(
    siglum, signs: Path, later_signs: Path, tmp_path: Path
) -> None:
    siglum("train", signs, "--test", later_signs, "--epochs", 1, "-o", tmp_path / "run")
    totals = [siglum("evaluate", tmp_path / "run", *named).stdout for named in ((), (signs,))]

    assert "of 30)" in totals[0] and "(test images)" in totals[0]
    assert "of 6)" in totals[1] and "(validation images)" in totals[1]


def test_the_classes_that_a_run_chose_and_renamed_are_measured(siglum, tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("0,zero\n")
    flags = ("--model", "nearest_mean", "--rename", tmp_path / "names.csv")
    for name, more in (("ten", ()), ("two", ("--classes", "zero", "--classes", 1))):
        done = siglum("train", "mnist5k", *flags, *more, "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
    ten, two = (siglum("evaluate", tmp_path / name, "mnist5k") for name in ("ten", "two"))

    assert "of 1,000)" in ten.stdout and "of 200)" in two.stdout


def test_a_fold_is_evaluated_on_its_own_test_images(siglum, signs: Path, tmp_path: Path) -> None:
    flags = ("--folds", 3, "--fold", 1, "--epochs", 1, "--batch-size", 16, "--threads", 1)
    done = siglum("train", f"folder:{signs}", "-o", tmp_path / "fold", *flags)
    assert done.returncode == 0, done.stderr
    result = Run(tmp_path / "fold").result
    assert result is not None

    measured = json.loads(siglum("evaluate", tmp_path / "fold", "--json").stdout)
    best = siglum("evaluate", tmp_path / "fold", "--checkpoint", "best", "--json")
    last = json.loads(best.stdout)

    assert measured["part"] == last["part"] == "test"
    assert measured["accuracy"]["hits"] == result["test"]["hits"]
    assert measured["accuracy"]["total"] == last["accuracy"]["total"] == 24


def test_a_run_without_held_out_images_has_no_default(siglum, signs: Path, tmp_path: Path) -> None:
    flags = ("--val", 0, "--epochs", 1, "--batch-size", 16, "--threads", 1)
    assert siglum("train", f"folder:{signs}", "-o", tmp_path / "all", *flags).returncode == 0

    done = siglum("evaluate", tmp_path / "all")

    assert done.returncode == 2
    assert "has no test and no validation images" in done.stderr and "--part train" in done.stderr


def test_merge_counts_classes_of_a_group_as_one(
    siglum, run: Path, later_signs: Path, tmp_path: Path
) -> None:
    (tmp_path / "groups.csv").write_text("cross,lines\nstroke,lines\n")
    flags = (f"folder:{later_signs}", "--merge", tmp_path / "groups.csv")
    plain = json.loads(siglum("evaluate", run, flags[0], "--json").stdout)
    done = siglum("evaluate", run, *flags, "--json")

    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["classes"] == ["lines", "ring"]
    assert [rate["total"] for rate in measured["recall"]] == [20, 10]
    assert measured["accuracy"]["hits"] >= plain["accuracy"]["hits"]


def test_probabilities_of_a_group_are_added() -> None:
    """Each of two classes less likely than a third, both together more; a class's own name."""
    log_probs = np.log([[0.3, 0.4, 0.3], [0.2, 0.8, 0.0 + 1e-12]])
    names, merged, labels = merge_classes(CLASSES, {"cross": "stroke"}, log_probs, np.array([2, 1]))

    assert names == ("stroke", "ring") and labels.tolist() == [0, 1]
    np.testing.assert_allclose(np.exp(merged), [[0.6, 0.4], [0.2, 0.8]])
