"""Contracts over the table of networks, and a user's own network."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siglum.config import TrainConfig
from siglum.errors import ConfigError
from siglum.lab import models
from siglum.lab.device import Device
from siglum.lab.trainer import train

PARAMETERS = {  # of 1 channel: size, classes, count
    "conv_pool": (200, 62, 100_670),
    "conv_transformer": (200, 62, 12_200_766),
    "glyph_net": (28, 10, 29_434),
    "mnist_net": (28, 10, 54_840),
    "mnist_net2": (28, 10, 34_370),
    "mnist_net3": (28, 10, 21_840),
    "mobilenet_v3_large": (64, 10, 2_983_482),
    "mobilenet_v3_small": (64, 10, 933_930),
    "picture_net": (28, 10, 1_940_970),
    "sign_net": (40, 10, 689_120),
}


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def test_every_model_has_its_parameter_count_pinned() -> None:
    assert models.MODELS.keys() == PARAMETERS.keys()


@pytest.mark.parametrize("name", models.MODELS)
def test_parameter_count(name: str) -> None:
    size, classes, count = PARAMETERS[name]

    assert models.count_parameters(models.build(name, classes, 1, size)) == count


@pytest.mark.parametrize("name", models.MODELS)
def test_head_reads_the_features(name: str, images: Tensor) -> None:
    """`forward` is exactly `head(forward_features(...))`, so the head can be swapped."""
    model = models.build(name, 7, 1, 32).eval()

    features = model.forward_features(images)

    assert features.shape == (4, model.num_features)
    torch.testing.assert_close(model.head(features), model(images))


@pytest.mark.parametrize("size", [32, 47, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", models.MODELS)
def test_takes_any_size_and_channels(name: str, channels: int, size: int) -> None:
    model = models.build(name, 5, channels, size).eval()

    assert model(torch.zeros(2, channels, size, size)).shape == (2, 5)


@pytest.mark.parametrize("name", models.MODELS)
def test_gradient_reaches_every_parameter(name: str, images: Tensor) -> None:
    torch.manual_seed(0)
    model = models.build(name, 4, 1, 32)

    F.cross_entropy(model(images), torch.arange(4)).backward()

    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", models.MODELS)
def test_overfits_four_images(name: str, images: Tensor) -> None:
    """With dropout off, which would need many more steps; the deep ones need a lower rate."""
    torch.manual_seed(0)
    model, labels = models.build(name, 4, 1, 32), torch.arange(4)
    lr = 3e-4 if models.count_parameters(model) > 500_000 else 3e-3
    for module in model.modules():
        if hasattr(module, "p"):
            module.p = 0.0
        if isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    for _ in range(30):
        for _ in range(5):
            optimizer.zero_grad()
            F.cross_entropy(model.train()(images), labels).backward()
            optimizer.step()
        if (predicted := model.eval()(images).argmax(dim=1).tolist()) == [0, 1, 2, 3]:
            break

    assert predicted == [0, 1, 2, 3]


def test_unknown_model_names_the_nearest() -> None:
    message = (
        f"model must be one of {', '.join(sorted(models.MODELS))}, got 'mnist_nett'. "
        "Did you mean 'mnist_net'?"
    )
    with pytest.raises(ConfigError) as error:
        models.build("mnist_nett", 10)

    assert str(error.value) == message


def test_an_unknown_option_names_the_options() -> None:
    with pytest.raises(ConfigError) as error:
        models.build("mnist_net", 10, options={"filter": 3})

    assert str(error.value) == (
        "mnist_net has no option 'filter'. Options: kernel_size, filters, dropout_at_test. "
        "Did you mean 'filters'?"
    )


def test_an_own_network_is_imported_from_its_file(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\n"
        "class Mine(nn.Sequential):\n"
        "    def __init__(self, num_classes, in_channels=1, image_size=28):\n"
        "        super().__init__(nn.Flatten(),\n"
        "            nn.Linear(in_channels * image_size**2, num_classes))\n"
    )

    assert models.build(f"{file}:Mine", 3)(torch.zeros(2, 1, 28, 28)).shape == (2, 3)


def test_an_own_network_may_have_no_arguments_and_reshape_with_view(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    """The shape of many courses' first network; `view` needs contiguous tensors."""
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "from torch.nn.functional import max_pool2d, relu\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv1, self.conv2 = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5)\n"
        "        self.fc = nn.Linear(320, 3)\n"
        "    def forward(self, x):\n"
        "        x = relu(max_pool2d(self.conv1(x), 2))\n"
        "        x = relu(max_pool2d(self.conv2(x), 2))\n"
        "        return self.fc(x.view(-1, 320))\n"
    )
    changes = {"model": f"{tmp_path / 'own.py'}:Net", "epochs": 1}
    run = train(tiny_config.model_copy(update=changes), tmp_path / "run", machine)

    assert run.result is not None and run.result["test"]["total"] == 30


def test_a_class_that_is_not_in_the_file_is_an_error(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("")

    with pytest.raises(ConfigError, match="model must name a torch module in .*, got 'Mine'"):
        models.build(f"{file}:Mine", 3)
