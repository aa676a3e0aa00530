"""The networks by name.

A model is `Model(num_classes, in_channels=1, image_size=...)` with `num_features`,
`forward_features(images) -> (B, D)`, `head`, and `forward(images)` equal to
`head(forward_features(images))`; no softmax, device or dtype inside.
"""

import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from siglum.config import Option
from siglum.errors import ConfigError, choose, nearest
from siglum.lab.models.conv_pool import ConvPool
from siglum.lab.models.conv_transformer import ConvTransformer
from siglum.lab.models.glyph_net import GlyphNet
from siglum.lab.models.mnist_net import MnistNet, MnistNet2, MnistNet3
from siglum.lab.models.mobilenet_v3 import MobileNetV3Large, MobileNetV3Small
from siglum.lab.models.picture_net import PictureNet
from siglum.lab.models.sign_net import SignNet

MODELS: dict[str, type[nn.Module]] = {
    "conv_pool": ConvPool,
    "conv_transformer": ConvTransformer,
    "glyph_net": GlyphNet,
    "mnist_net": MnistNet,
    "mnist_net2": MnistNet2,
    "mnist_net3": MnistNet3,
    "mobilenet_v3_large": MobileNetV3Large,
    "mobilenet_v3_small": MobileNetV3Small,
    "picture_net": PictureNet,
    "sign_net": SignNet,
}


def build(
    name: str,
    num_classes: int,
    in_channels: int = 1,
    image_size: int = 28,
    options: Mapping[str, Option] | None = None,
) -> nn.Module:
    """Return a new network with random weights.

    Args:
        name: a key of `MODELS`, or "file.py:Class" for one of your own.
        options: the network's further arguments by name.

    Raises:
        ConfigError: if the name or an option is unknown, or an option's value does not fit.
    """
    model = _import(name) if ".py:" in name else choose(MODELS, name, "model")
    known = dict(list(inspect.signature(model).parameters.items())[3:])
    for option, value in (options or {}).items():
        if option not in known:
            free = ", ".join(known) or "none"
            raise ConfigError(
                f"model_options of {name} must be among: {free}, got {option!r}."
                f"{nearest(option, known)}"
            )
        kind = known[option].annotation
        if isinstance(kind, type) and not isinstance(value, kind):
            raise ConfigError(f"{option} of {name} must be {kind.__name__}, got {value!r}.")
    return model(num_classes, in_channels, image_size, **(options or {}))


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _import(name: str) -> type[nn.Module]:
    """Return the class of "file.py:Class"; the file's code runs."""
    file, _, class_name = name.rpartition(":")
    if not Path(file).is_file():
        raise ConfigError(f"model must be file.py:Class with a file that exists, got {name!r}.")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None and spec.loader is not None, file
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = getattr(module, class_name, None)
    if not (isinstance(model, type) and issubclass(model, nn.Module)):
        raise ConfigError(f"model must name a torch module in {file}, got {class_name!r}.")
    return model
