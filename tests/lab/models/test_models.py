"""Contracts over the table of networks, and a user's own network."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.config import TrainConfig
from siglum.errors import ConfigError
from siglum.lab import models
from siglum.lab.device import Device
from siglum.lab.train_run import train

PARAMETERS = {  # of 1 channel: size, classes, count
    "cnn": (28, 10, 54_840),
    "conv_pool": (200, 62, 100_670),
    "conv_transformer": (200, 62, 12_200_766),
    "glyph_net": (28, 10, 29_434),
    "hog_svm": (28, 10, 12_970),
    "knn": (28, 10, 7_840),
    "logistic_regression": (28, 10, 7_850),
    "mnist_net": (28, 10, 54_840),
    "mnist_net2": (28, 10, 34_370),
    "mnist_net3": (28, 10, 21_840),
    "mobilenet_v3_large": (64, 10, 2_983_482),
    "mobilenet_v3_small": (64, 10, 933_930),
    "nearest_mean": (28, 10, 7_850),
    "patch_transformer": (28, 10, 104_842),
    "picture_net": (28, 10, 1_940_970),
    "resnet18": (64, 10, 11_182_666),
    "sign_net": (56, 62, 2_177_214),
    "vgg11": (64, 10, 9_226_634),
}


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if hasattr(module, "p"):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return model


def test_parameter_counts_are_pinned() -> None:
    assert models.MODELS.keys() == PARAMETERS.keys()
    for name, (size, classes, count) in PARAMETERS.items():
        assert models.count_parameters(models.build(name, classes, 1, size)) == count, name


@pytest.mark.parametrize("name", models.MODELS)
def test_head_reads_the_features(name: str, images: Tensor) -> None:
    """`forward` is exactly `head(forward_features(...))`, so the head can be swapped."""
    model = models.build(name, 7, 1, 32).eval()

    features = model.forward_features(images)

    assert len(features) == 4 and features.ndim == 2
    torch.testing.assert_close(model.head(features), model(images))


@pytest.mark.parametrize(("channels", "size"), [(1, 47), (3, 64)])
@pytest.mark.parametrize("name", models.MODELS)
def test_accepts_any_size_and_channels(name: str, channels: int, size: int) -> None:
    model = models.build(name, 5, channels, size).eval()

    assert model(torch.zeros(2, channels, size, size)).shape == (2, 5)


@pytest.mark.parametrize("name", [n for n in models.MODELS if n not in models.FITTED])
def test_overfits_four_images_and_trains_every_parameter(name: str, images: Tensor) -> None:
    """Without dropout, which would need many more steps; the deep ones need a lower rate."""
    torch.manual_seed(0)
    model, labels = without_dropout(models.build(name, 4, 1, 32)), torch.arange(4)
    lr = 3e-4 if models.count_parameters(model) > 500_000 else 3e-3
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    for step in range(30):
        for _ in range(5):
            optimizer.zero_grad()
            F.cross_entropy(model.train()(images), labels).backward()
            optimizer.step()
        for parameter_name, parameter in model.named_parameters() if step == 0 else ():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name
        if (predicted := model.eval()(images).argmax(dim=1).tolist()) == [0, 1, 2, 3]:
            break

    assert predicted == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "size", "options", "message"),
    [
        ("mnist_nett", 28, {}, "model must be one of .*, got 'mnist_nett'. Did you mean 'mnist_ne"),
        (
            "mnist_net",
            28,
            {"filter": 3},
            "mnist_net has no option 'filter'. Options: layers, filters, growth, .* Did you "
            "mean 'filters'",
        ),
        ("mnist_net", 28, {"filters": 2.5}, "filters of mnist_net must be int, got 2.5."),
        ("mnist_net", 28, {"filters": 0}, "filters must be at least 1, got 0.$"),
        ("mnist_net2", 5, {}, "layers, kernel_size, .* got none after convolution 3 of 3.$"),
        ("conv_transformer", 31, {}, "conv_transformer failed on 2 images of .* too small"),
        ("glyph_net", 28, {"width": -2}, "glyph_net failed on 2 images"),
        ("glyph_net", 28, {"dropout": 1}, r"dropout must be in \[0, 1\), got 1.$"),
        ("patch_transformer", 28, {"heads": 7}, "heads must divide dim 48, got 7.$"),
        ("patch_transformer", 8, {"patch": 9}, "patch must be at most the image side 8, got 9.$"),
        ("patch_transformer", 28, {"stride": 0}, "stride must be at least 1, got 0.$"),
        ("patch_transformer", 28, {"pool": "max"}, "pool must be one of class, mean, got 'max'.$"),
    ],
)
def test_names_options_and_sizes_that_do_not_fit_are_refused(
    name: str, size: int, options: dict, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        models.build(name, 10, 1, size, options)


def test_an_own_network_is_imported_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\n"
        "class Mine(nn.Sequential):\n"
        "    def __init__(self, num_classes, in_channels=1, image_size=28):\n"
        "        super().__init__(nn.Flatten(),\n"
        "            nn.Linear(in_channels * image_size**2, num_classes))\n"
    )

    assert models.build(f"{file}:Mine", 3)(torch.zeros(2, 1, 28, 28)).shape == (2, 3)
    with pytest.raises(ConfigError, match="model must name a torch module in .*, got 'Yours'"):
        models.build(f"{file}:Yours", 3)
    file.write_text("raise ValueError(' \\n')")
    with pytest.raises(ConfigError, match=r"Cannot import .*: ValueError: ValueError\.$"):
        models.build(f"{file}:Mine", 3)


def test_networks_in_two_folders_have_neighbours_of_one_name(tmp_path: Path) -> None:
    for size in (2, 3):
        folder = tmp_path / str(size)
        (folder / "parts").mkdir(parents=True)
        (folder / "sizes.py").write_text(f"SIZE = {size}")
        (folder / "parts" / "__init__.py").write_text("from sizes import SIZE\n")
        code = "from torch.nn import Linear\nfrom parts import SIZE\nclass Net(Linear):\n"
        code += "    def __init__(self):\n        super().__init__(28, SIZE)\n"
        (folder / "net.py").write_text(
            f"{code}    def forward(self, x):\n        return super().forward(x[:, 0, 0])\n"
        )

        assert models.build(f"{folder}/net.py:Net", size).out_features == size


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
