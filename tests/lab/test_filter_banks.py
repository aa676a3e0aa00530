"""Filter banks respond to what they are named for, and take the place of the first filters."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from siglum.config import TrainConfig
from siglum.errors import ConfigError
from siglum.lab import models, transfer
from siglum.lab.device import Device
from siglum.lab.filter_banks import FILTER_BANKS, gabor, laws, sobel
from siglum.lab.run_folder import Run
from siglum.lab.train_run import train
from siglum.report.sections import training_chain


@pytest.mark.parametrize("size", [5, 7, 8])
def test_gabor_filters_respond_to_waves_of_their_orientation(size: int) -> None:
    filters = gabor(18, size)  # 2 wavelengths in 9 orientations
    filters -= filters.mean(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    for turn in range(9):
        angle = math.pi * turn / 9
        wave = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / size)
        responses = np.abs((filters[1::2] * wave).sum(axis=(1, 2)))  # those of k px
        assert responses.argmax() == turn


@pytest.mark.parametrize("size", [3, 4, 5, 7])
def test_sobel_filters_respond_to_slopes_of_their_direction(size: int) -> None:
    """The response falls with the cosine of the angle between the slope and the direction."""
    filters, (y, x) = sobel(12, size), np.mgrid[:size, :size]
    for turn in range(12):
        angles = 2 * math.pi * (np.arange(12) - turn) / 12
        direction = 2 * math.pi * turn / 12
        responses = (filters * (x * np.cos(direction) + y * np.sin(direction))).sum(axis=(1, 2))
        np.testing.assert_allclose(responses / responses[turn], np.cos(angles), atol=1e-9)


def test_masks_are_the_published_ones() -> None:
    assert len(np.unique(gabor(32, 3).round(6), axis=0)) == 32
    np.testing.assert_allclose(sobel(4, 3)[0], [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], atol=1e-9)
    level, edge, spot = [1, 4, 6, 4, 1], [-1, -2, 0, 2, 1], [1, 0, -2, 0, 1]
    wave, ripple = [-1, 2, 0, -2, 1], [1, -4, 6, -4, 1]
    masks = laws(30, 5)

    for first, second in ((level, edge), (edge, level), (spot, spot), (wave, ripple)):
        expected = np.outer(first, second)
        assert any(np.allclose(np.abs(mask), np.abs(expected)) for mask in masks[:24])
    np.testing.assert_allclose(masks[24:], -masks[:6])


@pytest.mark.parametrize("name", FILTER_BANKS)
@pytest.mark.parametrize(
    ("model", "key", "channels"),
    [("cnn", "conv1", 1), ("resnet18", "conv1", 1), ("patch_transformer", "embed", 3)],
)
def test_a_bank_replaces_the_first_filters(name: str, model: str, key: str, channels: int) -> None:
    torch.manual_seed(0)
    network = models.build(model, 3, channels, 32)
    before = {k: tensor.clone() for k, tensor in network.state_dict().items()}
    init = transfer.load_pretrained(network, ("a", "b", "c"), name)
    after = network.state_dict()
    changed = [k for k, tensor in after.items() if not torch.equal(before[k], tensor)]

    assert changed == init["adopted"] == [f"{key}.weight"]
    assert {*init["reset"]} == {*after} - {*changed}
    filters, random = after[changed[0]], before[changed[0]]
    assert torch.allclose(filters.mean(dim=(2, 3)), torch.zeros(1), atol=1e-6)
    assert torch.allclose(filters[:, 0].std(dim=(1, 2)), random.std().expand(len(filters)))
    assert (init["run"], init["seconds"], init["examples"]) == (name, 0.0, 0)


def test_frozen_filters_do_not_change_and_the_run_names_them(
    tiny_config: TrainConfig, machine: Device, tmp_path: Path
) -> None:
    changes = {"init": "sobel", "freeze": ("features.0",), "epochs": 1}
    run = train(tiny_config.model_copy(update=changes), tmp_path / "run", machine)
    weights = run.model().get_submodule("features.0").weight[:, 0]
    expected = torch.from_numpy(sobel(16, 5)).float()
    text = transfer.describe(run)

    torch.testing.assert_close(weights / weights.std(), expected / expected.std())
    assert text.startswith("filters of sobel: 400 numbers; the rest random; frozen: features.0")
    steps, incomplete = training_chain(Run(run.path).path)
    assert len(steps) == 1 and "--init=sobel" in steps[0][0] and not incomplete


@pytest.mark.parametrize(
    "network", [nn.Linear(2, 2), nn.Conv2d(1, 2, (3, 5)), nn.Conv2d(1, 2, 2)], ids=repr
)
def test_networks_without_such_filters_are_refused(network: nn.Module) -> None:
    message = "^init 'laws' needs a convolution with square filters of 3 px or more.$"
    with pytest.raises(ConfigError, match=message):
        transfer.load_pretrained(nn.Sequential(network), (), "laws")
