"""Report 2's networks: what they compute, against torch written plainly, and what is free."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siglum.errors import ConfigError
from siglum.lab import models
from siglum.lab.models.mnist_net import MnistNet, MnistNet2, MnistNet3

NETWORKS = ("mnist_net", "mnist_net2", "mnist_net3")


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def conv(model: MnistNet, number: int, x: Tensor) -> Tensor:
    layer = getattr(model, f"conv{number}")
    return F.conv2d(x, layer.weight, layer.bias, padding=2)


def linear(model: MnistNet, x: Tensor) -> Tensor:
    x = F.relu(x.flatten(1) @ model.hidden.weight.T + model.hidden.bias)
    return x @ model.head.weight.T + model.head.bias


def test_mnist_net_computes_what_was_published(images: Tensor) -> None:
    model = MnistNet(10).eval()

    x = F.relu(F.max_pool2d(conv(model, 1, images), 2))
    x = F.relu(F.max_pool2d(conv(model, 2, x), 2))

    assert x.flatten(1).shape == (3, 980)
    torch.testing.assert_close(model(images), linear(model, x))


def test_mnist_net2_computes_what_was_published(images: Tensor) -> None:
    model = MnistNet2(10).eval()

    x = F.relu(F.max_pool2d(conv(model, 1, images), 2))
    x = F.relu(F.max_pool2d(conv(model, 2, x), 2))
    x = F.relu(F.max_pool2d(conv(model, 3, x), 2))

    assert x.flatten(1).shape == (3, 270)
    torch.testing.assert_close(model(images), linear(model, x))


def test_mnist_net3_computes_what_was_published(images: Tensor) -> None:
    model = MnistNet3(10).eval()

    x = F.relu(F.avg_pool2d(conv(model, 1, images), 3))
    x = F.relu(F.max_pool2d(conv(model, 2, x), 2))

    assert x.flatten(1).shape == (3, 320)
    torch.testing.assert_close(model(images), linear(model, x))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("mnist_net", (20, 14, 14)), ("mnist_net2", (30, 7, 7)), ("mnist_net3", (20, 9, 9))],
)
def test_drops_half_of_the_last_convolution_in_training(
    name: str, shape: tuple[int, ...], images: Tensor
) -> None:
    model = models.build(name, 10)
    seen: list[tuple[Tensor, Tensor]] = []
    model.dropout.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))

    model(images)

    ((before, after),) = seen
    assert before.shape[1:] == shape
    assert 0.45 < (after == 0).float().mean() < 0.55
    assert torch.equal(model.eval()(images), model(images))


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_stays_on_at_test_where_asked(name: str, images: Tensor) -> None:
    """The same seed drops the same values in evaluation as in training."""
    model = models.build(name, 10, options={"dropout_at_test": True})
    torch.manual_seed(1)
    training = model.train()(images)
    torch.manual_seed(1)

    assert torch.equal(model.eval()(images), training)
    assert not torch.equal(model(images), training)


def counted(name: str, kernel: int, filters: int) -> int:
    """Parameters at 1x28x28 and 10 classes, from the sizes alone."""
    widths = {"mnist_net": (20,), "mnist_net2": (20, 30), "mnist_net3": (20,)}[name]
    side, channels, total = 28, 1, 0
    for number, width in enumerate((filters, *widths)):
        total += (channels * kernel**2 + 1) * width
        side = (side + 1 - kernel % 2) // (3 if name == "mnist_net3" and number == 0 else 2)
        channels = width
    return total + (channels * side**2 + 1) * 50 + 51 * 10


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("filters", [5, 10, 20, 50, 90])
def test_linear_layers_follow_kernel_and_filters(name: str, kernel_size: int, filters: int) -> None:
    """The 75 networks of the published grid, as it was meant."""
    options = {"kernel_size": kernel_size, "filters": filters}
    model = models.build(name, 10, options=options).eval()

    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert models.count_parameters(model) == counted(name, kernel_size, filters)
    assert [model.conv1.out_channels, model.conv2.out_channels] == [filters, 20]


@pytest.mark.parametrize(
    ("name", "kernel_size", "filters", "count"),
    [
        ("mnist_net", 5, 90, 96_920),
        ("mnist_net2", 2, 5, 27_435),
        ("mnist_net3", 6, 90, 93_710),
    ],
)
def test_some_counts_are_pinned(name: str, kernel_size: int, filters: int, count: int) -> None:
    options = {"kernel_size": kernel_size, "filters": filters}

    assert models.count_parameters(models.build(name, 10, options=options)) == count


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "filters must be at least 1, got 0."),
        ({"filters": -3}, "filters must be at least 1, got -3."),
        ({"kernel_size": 0}, "kernel_size must be from 1 to the image's 28 px, got 0."),
        ({"kernel_size": 29}, "kernel_size must be from 1 to the image's 28 px, got 29."),
        ({"filters": 2.5}, "filters of {name} must be int, got 2.5."),
        ({"dropout_at_test": "on"}, "dropout_at_test of {name} must be bool, got 'on'."),
    ],
)
def test_what_cannot_be_is_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        models.build(name, 10, options=options)

    assert str(error.value) == message.format(name=name)


@pytest.mark.parametrize(("name", "pools"), [("mnist_net2", 3), ("mnist_net3", 2)])
def test_an_image_too_small_for_the_pools_is_refused(name: str, pools: int) -> None:
    with pytest.raises(ConfigError) as error:
        models.build(name, 10, image_size=5)

    assert str(error.value) == (
        f"size must be large enough for the {pools} pools of the network, got 5 px. "
        "Use larger images."
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_the_largest_kernel_that_fits_is_taken(name: str) -> None:
    model = models.build(name, 10, image_size=8, options={"kernel_size": 8}).eval()

    assert model(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
