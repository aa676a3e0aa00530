"""Folds, the runs of all folds as one, and how sure a cross-validation is."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from siglum.config import TrainConfig, build
from siglum.errors import ConfigError, RunError
from siglum.images.imageset import ImageSet
from siglum.lab import crossval, studies
from siglum.lab.compare import compare
from siglum.lab.device import Device
from siglum.lab.folds import folds
from siglum.lab.paired import over_splits
from siglum.lab.pooled import Pooled
from siglum.lab.recipes.study import arms_of_study, run_study
from siglum.lab.trainer import load_data

WRITERS = tuple("abcdefgh")


def images(counts: tuple[int, ...], by: int = 1) -> ImageSet:
    labels = np.repeat(np.arange(len(counts)), counts)
    made = ImageSet.from_arrays(
        np.zeros((len(labels), 8, 8), np.uint8), labels, "xyz"[: len(counts)]
    )
    return replace(made, writers=tuple(WRITERS[i // by % 8] for i in range(len(labels))))


def test_every_picture_is_held_out_once_and_classes_evenly() -> None:
    parts = folds(images((10, 15, 20)), 5, seed=1)

    assert sorted(np.concatenate([held for _, held in parts]).tolist()) == list(range(45))
    for kept, held in parts:
        assert not set(kept) & set(held) and len(kept) + len(held) == 45
        assert np.bincount(images((10, 15, 20)).labels[held]).tolist() == [2, 3, 4]
    assert folds(images((10, 15, 20)), 5, seed=2)[0][1].tolist() != parts[0][1].tolist()


def test_by_writer_no_writer_is_on_both_sides() -> None:
    pictures = images((24, 24))
    assert pictures.writers is not None
    names = np.array(pictures.writers)
    for kept, held in folds(pictures, 4, seed=0, by_writer=True):
        assert not set(names[kept]) & set(names[held]) and len(held)


@pytest.mark.parametrize(
    ("count", "by_writer", "message"),
    [
        (5, False, "folds must be at most the 3 pictures of the smallest class, 'y' of arrays, "
         "got 5. Ask for fewer folds, or leave the class out."),
        (9, True, "folds must be at most the 8 writers of arrays, got 9. Ask for fewer folds, or "
         "use --split stratified."),
    ],
)  # fmt: skip
def test_too_many_folds_are_refused(count: int, by_writer: bool, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        folds(images((30, 3)), count, 0, by_writer)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fold": 1}, "fold needs folds, got fold 1 alone. Set folds, too."),
        ({"folds": 3, "fold": 3}, "fold must be below folds, which is 3, got 3."),
        ({"folds": 3, "test": "mnist5k"}, "Cannot combine folds with test 'mnist5k': one "
         "fold is the test part. Leave out test, or folds."),
        ({"folds": 1}, "folds must be at least 2, got 1."),
        ({"samples_per_class": 0}, "samples_per_class must be at least 1, got 0."),
    ],
)  # fmt: skip
def test_folds_that_are_not_there_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        build(TrainConfig, settings)


def test_the_corrected_t_is_that_of_its_authors() -> None:
    """By hand: 4 folds of a mean of 2 and a variance of 1; 1/4 + 1/3 is 7/12."""
    values = [2 - np.sqrt(1.5), 2, 2, 2 + np.sqrt(1.5)]
    low, high, _ = over_splits(values, ratio=1 / 3)

    assert (high - low) / 2 == pytest.approx(3.1824 * np.sqrt(7 / 12), rel=1e-3)
    assert over_splits([0.0, 0.0, 0.0], 0.25) == (0.0, 0.0, 1.0)


def test_a_fold_is_the_test_part_and_the_rest_is_split_as_ever(signs: Path) -> None:
    config = TrainConfig(data=f"folder:{signs}", folds=4, fold=2, val=0.2, samples_per_class=5)
    data = load_data(config)

    assert data.test is not None and data.val is not None and data.whole is not None
    assert data.fold is not None and len(data.test) == 18 and len(data.whole) == 72
    assert data.train.counts.tolist() == [5, 5, 5]
    names = [set(part.files or ()) for part in (data.train, data.val, data.test)]
    assert not names[0] & names[1] and not names[0] & names[2] and not names[1] & names[2]
    # What is validated on does not depend on how many are trained on.
    again = load_data(config.model_copy(update={"samples_per_class": None}))
    assert again.val is not None and again.val.fingerprint == data.val.fingerprint


TEXT = """
seeds = [0, 1]
[base]
data = "folder:{signs}"
batch_size = 16
epochs = {epochs}
val = 0
folds = 3
[arms.slow]
lr = 0.001
[arms.fast]
lr = 0.1
"""


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory, signs: Path, machine: Device) -> Path:
    """A study of two arms, each trained on three folds by two seeds."""
    folder = tmp_path_factory.mktemp("folds")
    (folder / "study.toml").write_text(TEXT.format(signs=signs, epochs=3))
    study = studies.read(folder / "study.toml", folder)
    assert len(study.cells) == 12 and study.cells[1].name == "slow, seed 0, fold 2 of 3"
    run_study(study.needed(), folder, machine, lambda *_: lambda _: None)
    return folder


def repeats(folder: Path) -> list[Pooled]:
    arm = arms_of_study(studies.read(folder / "study.toml", folder), folder)[1]
    return [run for run in arm.runs if isinstance(run, Pooled)]


def test_the_folds_of_a_seed_are_one_run_of_the_whole_source(pooled: Path, signs: Path) -> None:
    first, second = repeats(pooled)
    whole = load_data(TrainConfig(data=f"folder:{signs}", val=0)).train
    found = first.predictions()

    assert found["test_labels"].tolist() == whole.labels.tolist()
    assert found["test_log_probs"].shape == (72, 3)
    assert first.env["data"]["test"] == second.env["data"]["test"] == whole.fingerprint
    right = (found["test_log_probs"].argmax(axis=1) == whole.labels).sum()
    assert first.result["test"]["hits"] == right and first.result["test"]["total"] == 72
    assert first.ratio == pytest.approx(0.5)


def test_arms_are_compared_over_folds(pooled: Path) -> None:
    comparison = compare(arms_of_study(studies.read(pooled / "study.toml", pooled), pooled))
    (pair,) = comparison.pairs

    assert pair.pictures == 72 and len(pair.seeds) == 2
    assert pair.over_seeds is not None and pair.over_both is not None
    assert pair.over_both.high - pair.over_both.low >= pair.over_seeds.high - pair.over_seeds.low
    assert comparison.watched == "train" and comparison.writers is not None
    found = comparison.arms[1].test
    assert found is not None and found.interval.startswith("Nadeau and Bengio, 6 folds")


def test_a_fold_that_is_missing_leaves_the_seed_out(pooled: Path) -> None:
    first, _ = repeats(pooled)
    with pytest.raises(RunError, match="must hold every picture once, and do not"):
        Pooled(first.runs[:2] + first.runs[:1]).predictions()


def test_what_a_cross_validation_found_adds_up(pooled: Path, tmp_path: Path) -> None:
    runs = repeats(pooled)
    found = crossval.measure(runs)

    assert np.sum(found.confusion) == 2 * 72 and (found.repeats, found.folds) == (2, 3)
    assert found.right == pytest.approx(np.trace(found.confusion) / 2)
    assert [c.pictures for c in found.classes] == [24, 24, 24]
    assert found.writers == 4 and found.over_writers is not None
    path = crossval.write_out_of_fold(runs, [f"{i}.png" for i in range(72)], tmp_path / "out.npz")
    with np.load(path, allow_pickle=False) as kept:
        assert kept["log_probs"].shape == (2, 72, 3) and kept["files"][71] == "71.png"
        assert kept["seeds"].tolist() == [0, 1] and len(kept["writers"]) == 72


def test_few_pictures_are_told_in_words_that_claim_no_more(pooled: Path) -> None:
    found = crossval.measure(repeats(pooled))
    all_right = replace(found.accuracy, mean=1.0, low=0.701, high=1.0)
    few = replace(found, pictures=9, right=9.0, accuracy=all_right)

    assert crossval.in_words(few) == (
        "9 of 9 right; with so few the true rate is between 70 and 100 %"
    )


def test_a_study_file_holds_what_was_set(tmp_path: Path) -> None:
    settings = {"data": 'folder:a "b"', "seed": 4, "classes": ("x", "y"), "rename": {"ä b": "x"}}
    settings |= {"model_options": {"width": 2}, "mean": None, "position_channels": False}
    file = crossval.place(tmp_path / "cv", crossval.study_text(settings, 5, 2))
    study = studies.read(file, tmp_path)
    config = study.cells[0].config

    assert len(study.cells) == 10 and study.seeds == (4, 5)
    assert (config.data, config.classes, config.rename) == (
        'folder:a "b"',
        ("x", "y"),
        {"ä b": "x"},
    )
    assert config.model_options == {"width": 2} and config.folds == 5
    with pytest.raises(RunError, match="must hold nothing or the same cross-validation"):
        crossval.place(tmp_path / "cv", crossval.study_text(settings, 4, 2))
