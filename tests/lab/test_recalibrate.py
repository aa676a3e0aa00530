"""Measured statistics, against the network as it was."""

import copy

import pytest
import torch
from torch import Tensor, nn

from siglum.lab import models
from siglum.lab.recalibrate import folded, recalibrate


@pytest.fixture
def batches() -> list[Tensor]:
    """Of different sizes; the statistics are of all pictures alike."""
    images = torch.rand(40, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return [images[:25], images[25:]]


def test_statistics_are_those_of_what_goes_in() -> None:
    """A normalisation alone: mean and variance of the pictures, and what it computed before."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3)
    with torch.no_grad():
        for tensor, low in ((norm.weight, 0.5), (norm.running_var, 0.5), (norm.bias, -1.0)):
            tensor.uniform_(low, low + 2)
        norm.running_mean.uniform_(-1, 1)
    images = torch.rand(50, 3, 4, 4) * 3 + 2
    before = norm.eval()(images)
    norm.train()

    assert recalibrate(norm, images.split(7)) == 50
    assert norm.training
    torch.testing.assert_close(norm.running_mean, images.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, images.var((0, 2, 3), unbiased=False))
    torch.testing.assert_close(norm.eval()(images), before)
    torch.testing.assert_close(norm.train()(images), before)  # all of them are one batch


def test_a_network_computes_what_it_did(batches: list[Tensor]) -> None:
    """In evaluation to 1e-4, and of the measured pictures as one batch in training, too."""
    torch.manual_seed(0)
    model = models.build("mobilenet_v3_small", 5, 3, 64)
    for conv in model.modules():
        if isinstance(conv, nn.Conv2d):
            conv.weight.data *= 2  # random weights make less and less of a picture otherwise
    recalibrate(model, batches)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # fold it away, as the weights of a file may be
            scale = module.weight.data / (module.running_var + module.eps).sqrt()
            module.bias.data -= scale * module.running_mean
            module.weight.data = scale * (1 + module.eps) ** 0.5
            module.running_mean.zero_()
            module.running_var.fill_(1)
    images = torch.cat(batches)
    before = model.eval().forward_features(images)
    assert folded(model.state_dict())

    recalibrate(model, batches)

    assert not folded(model.state_dict())
    scale = before.abs().max().item()
    after = model.eval().forward_features(images)
    torch.testing.assert_close(after, before, atol=1e-4 * scale, rtol=1e-4)
    torch.testing.assert_close(
        model.train().forward_features(images), before, atol=1e-3 * scale, rtol=1e-3
    )


def test_only_the_statistics_of_nothing_count_as_folded() -> None:
    state = copy.deepcopy(models.build("glyph_net", 3).state_dict())
    assert folded(state)
    state["features.1.running_mean"][0] = 0.1
    assert not folded(state)
    assert not folded(models.build("mnist_net", 3).state_dict())
