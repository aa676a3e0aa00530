"""Short pretrainings with one thing changed in each: what is changed, and nothing else."""

import argparse

import pytest
import torch
from torch import Generator

from benchmarks import pretraining
from siglum.images import alphabets
from siglum.lab import written as ways
from siglum.lab.augment import AUGMENTATIONS

OPTIONS = argparse.Namespace(source="fonts:free-fonts", pictures=250_000, seed=3)


@pytest.mark.parametrize("name", pretraining.ARMS)
def test_an_arm_is_the_recipe_but_for_what_it_names(name: str) -> None:
    arm = pretraining.ARMS[name]
    plain = pretraining.base(OPTIONS, pretraining.Arm()).model_dump()
    config = pretraining.base(OPTIONS, arm).model_dump()

    assert {key for key in config if config[key] != plain[key]} <= set(arm.changes)
    assert config["epochs"] * config["epoch_size"] == OPTIONS.pictures
    assert set(arm.kinds) <= set(pretraining.KINDS)
    assert arm.left_out or all(change in AUGMENTATIONS for change in config["augment"])


def test_every_arm_but_the_first_changes_something() -> None:
    plain, *others = pretraining.ARMS.values()

    assert plain == pretraining.Arm()
    assert all(arm != plain for arm in others)


def test_a_change_is_left_out_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "written without parted"
    monkeypatch.setitem(AUGMENTATIONS, name, None)
    pretraining.register(pretraining.without(ways.parted))
    images = torch.zeros(4, 1, 40, 40)
    images[:, :, 10:30, 18:21] = 1
    rest = [pair for pair in ways.CHANGES if pair[0] is not ways.parted]
    expected = ways.written(images, Generator().manual_seed(0), rest)

    assert len(rest) == len(ways.CHANGES) - 1
    assert torch.equal(AUGMENTATIONS[name](images, Generator().manual_seed(0)), expected)


def test_what_the_settings_name_is_among_the_common_characters() -> None:
    common = set(alphabets.resolve(pretraining.COMMON))

    assert set(alphabets.resolve(pretraining.NAMED)) < common
    assert 1000 < len(common) < 3000
