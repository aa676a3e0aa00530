"""Folds hold every image out once, by class or by writer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from siglum.config import TrainConfig
from siglum.errors import ConfigError
from siglum.images.imageset import ImageSet
from siglum.lab.train_run import folds, load_data

WRITERS = tuple("abcdefgh")


def images(counts: tuple[int, ...]) -> ImageSet:
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = np.zeros((len(labels), 8, 8), np.uint8)
    made = ImageSet.from_arrays(pixels, labels, "xyz"[: len(counts)])
    return replace(made, writers=tuple(WRITERS[i % 8] for i in range(len(labels))))


def test_every_image_is_held_out_once_by_class_or_by_writer() -> None:
    pictures = images((10, 15, 20))
    parts, others = folds(pictures, 5, seed=1), folds(pictures, 4, seed=0, by_writer=True)

    for every in (parts, others):
        assert sorted(np.concatenate([held for _, held in every]).tolist()) == list(range(45))
        assert all(not set(kept) & set(held) and len({*kept, *held}) == 45 for kept, held in every)
    for _, held in parts:
        assert np.bincount(pictures.labels[held]).tolist() == [2, 3, 4]
    names = np.array(pictures.writers)
    assert not any(set(names[kept]) & set(names[held]) for kept, held in others)
    assert folds(pictures, 5, seed=2)[0][1].tolist() != parts[0][1].tolist()


def test_too_many_folds_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most the 3 images of the smallest class in arrays"):
        folds(images((30, 3)), 5, 0)
    with pytest.raises(ConfigError, match="folds must be at most the 8 writers in arrays, got 9"):
        folds(images((30, 3)), 9, 0, by_writer=True)


def test_a_fold_is_the_test_part_and_the_rest_is_split(signs: Path) -> None:
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
