"""Report 2's networks compute what plain torch computes; kernels and filters are free."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siglum.lab import models
from siglum.lab.models.mnist_net import MnistNet

NETWORKS = ("mnist_net", "mnist_net2", "mnist_net3")


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "num_features"), [("mnist_net", 980), ("mnist_net2", 270), ("mnist_net3", 320)]
)
def test_computes_the_published_network(name: str, num_features: int, images: Tensor) -> None:
    model = models.build(name, 10).eval()
    assert isinstance(model, MnistNet)

    x = images
    for number in range(1, 4 if name == "mnist_net2" else 3):
        layer = getattr(model, f"conv{number}")
        x = F.conv2d(x, layer.weight, layer.bias, padding=2)
        mean = name == "mnist_net3" and number == 1
        x = F.relu(F.avg_pool2d(x, 3) if mean else F.max_pool2d(x, 2))
    assert x.flatten(1).shape == (3, num_features)
    x = F.relu(x.flatten(1) @ model.hidden.weight.T + model.hidden.bias)
    torch.testing.assert_close(model(images), model.head(x))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("mnist_net", (20, 14, 14)), ("mnist_net2", (30, 7, 7)), ("mnist_net3", (20, 9, 9))],
)
def test_drops_half_of_the_last_convolution_in_training(
    name: str, shape: tuple[int, ...], images: Tensor
) -> None:
    model = models.build(name, 10)
    calls: list[tuple[Tensor, Tensor]] = []
    model.dropout.register_forward_hook(lambda _, inputs, output: calls.append((inputs[0], output)))

    model(images)

    ((before, after),) = calls
    assert before.shape[1:] == shape
    assert 0.45 < (after == 0).float().mean() < 0.55
    assert torch.equal(model.eval()(images), model(images))


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_at_test_drops_in_evaluation_too(name: str, images: Tensor) -> None:
    """The same seed drops the same values in evaluation as in training."""
    model = models.build(name, 10, options={"dropout_at_test": True})
    torch.manual_seed(1)
    training = model.train()(images)
    torch.manual_seed(1)

    assert torch.equal(model.eval()(images), training)
    assert not torch.equal(model(images), training)
