import pytest
import torch
import torch.nn.functional as F

from siglum.errors import ConfigError
from siglum.lab import models
from siglum.lab.models.mnist_net import MnistNet


def test_computes_what_was_published() -> None:
    """conv 5x5, pool, ReLU, conv 5x5, dropout, pool, ReLU, 980-50-10, written out plainly."""
    model = MnistNet(10).eval()
    images = torch.rand(3, 1, 28, 28)

    x = F.relu(F.max_pool2d(F.conv2d(images, model.conv1.weight, model.conv1.bias, padding=2), 2))
    x = F.conv2d(x, model.conv2.weight, model.conv2.bias, padding=2)
    x = F.relu(F.max_pool2d(x, 2)).view(3, 980)
    x = F.relu(x @ model.hidden.weight.T + model.hidden.bias)
    expected = x @ model.head.weight.T + model.head.bias

    torch.testing.assert_close(model(images), expected)


def test_drops_half_of_the_second_convolution_in_training() -> None:
    model = MnistNet(10)
    seen = []
    model.dropout.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))

    model(torch.rand(8, 1, 28, 28))

    ((before, after),) = seen
    assert before.shape == (8, 20, 14, 14)
    assert 0.45 < (after == 0).float().mean() < 0.55


@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("filters", [5, 10, 90])
def test_linear_layers_follow_kernel_and_filters(kernel_size: int, filters: int) -> None:
    options = {"kernel_size": kernel_size, "filters": filters}
    model = models.build("mnist_net", 10, options=options)

    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert model.conv2.out_channels == 2 * filters


def test_no_filters_are_refused() -> None:
    with pytest.raises(ConfigError, match="filters must be at least 1, got 0"):
        MnistNet(10, filters=0)


def test_a_kernel_larger_than_the_picture_is_refused() -> None:
    with pytest.raises(ConfigError, match="kernel_size must be from 1 to the picture's 28 px"):
        MnistNet(10, kernel_size=29)
