"""The networks by name.

A network is `Net(num_classes, in_channels=1, image_size=...)` that maps images (B, C, S, S) to
logits (B, K); no softmax, device or dtype inside. Ours are a `layers.Network`, too.
"""

import importlib.util
import inspect
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from siglum.config import Option, Preprocess, TrainConfig
from siglum.errors import ConfigError, choose, closest_match
from siglum.lab.models import baselines
from siglum.lab.models.cnn import CNN
from siglum.lab.models.conv_transformer import ConvPool, ConvTransformer
from siglum.lab.models.glyph_net import GlyphNet
from siglum.lab.models.layers import Fitted, Network
from siglum.lab.models.patch_transformer import PatchTransformer
from siglum.lab.models.picture_net import PictureNet
from siglum.lab.models.sign_net import SignNet
from siglum.lab.models.torchvision_networks import MobileNetV3, TorchvisionNetwork


class NetworkError(ConfigError):
    """A network cannot be built with these options, or fails on its images."""


FITTED: dict[str, type[Fitted]] = {  # in one call, instead of by steps
    "hog_svm": baselines.HogSvm,
    "knn": baselines.NearestNeighbours,
    "logistic_regression": baselines.LogisticRegression,
    "nearest_mean": baselines.NearestMean,
}
MODELS: dict[str, Callable[..., nn.Module]] = {
    "cnn": CNN,
    "conv_pool": ConvPool,
    "conv_transformer": ConvTransformer,
    "glyph_net": GlyphNet,
    "mnist_net": CNN,
    "mnist_net2": partial(CNN, layers=3),
    "mnist_net3": partial(CNN, first_pool="average", first_pool_size=3),
    "mobilenet_v3_large": partial(MobileNetV3, "mobilenet_v3_large"),
    "mobilenet_v3_small": partial(MobileNetV3, "mobilenet_v3_small"),
    "patch_transformer": PatchTransformer,
    "picture_net": PictureNet,
    "resnet18": partial(TorchvisionNetwork, "resnet18"),
    "sign_net": SignNet,
    "vgg11": partial(TorchvisionNetwork, "vgg11"),
    **FITTED,
}


def build(
    name: str,
    num_classes: int,
    in_channels: int = 1,
    image_size: int = 28,
    options: Mapping[str, Option] | None = None,
) -> nn.Module:
    """Return a new network with random weights, tried on two blank images.

    `name` is a key of `MODELS`, or "file.py:Class" for one of your own, whose code runs. `options`
    are the network's further arguments.
    """
    options = options or {}
    cls = _import(name) if ".py:" in name else choose(MODELS, name, "model")
    parameters = list(inspect.signature(cls).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    arguments = (num_classes, in_channels, image_size)[: len(positional)]
    _check_options(name, parameters[len(arguments) :], options)
    images = torch.zeros(2, in_channels, image_size, image_size)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers without outputs, which fail next
            model = cls(*arguments, **options)
            if not isinstance(model, Network):  # `view` needs contiguous tensors
                model.contiguous_only = True  # type: ignore[assignment]
                model.register_forward_pre_hook(_make_contiguous)
            logits = model.eval()(images)
            if not isinstance(logits, Tensor) or logits.shape != (2, num_classes):
                got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise ValueError(f"it must return logits {(2, num_classes)}, got {got}")
    except ConfigError as error:  # of an option
        raise NetworkError(str(error)) from None
    except Exception as error:  # the code may be the user's own
        shape = f"{in_channels} x {image_size} x {image_size}"
        raise failed(name, f"on 2 images of {shape}", error) from error
    return model.train()


def build_for(config: TrainConfig, preprocess: Preprocess, num_classes: int) -> nn.Module:
    """Return the network that `config` names, for images of this kind."""
    size = preprocess.size
    return build(config.model, num_classes, preprocess.planes, size, config.model_options)


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def failed(name: str, action: str, error: BaseException) -> NetworkError:
    """Return the one-line error for a network that raised `error`."""
    first = (str(error).strip().splitlines() or [""])[0]
    return NetworkError(
        f"{name} failed {action}: {type(error).__name__}: {first[:200].rstrip('.')}. "
        "Check its options, or its layers, against --size and --channels."
    )


def _check_options(
    name: str, parameters: list[inspect.Parameter], options: Mapping[str, Option]
) -> None:
    by_name = {parameter.name: parameter for parameter in parameters}
    for option, value in options.items():
        if option not in by_name:
            raise ConfigError(
                f"{name} has no option {option!r}. Options: {', '.join(by_name) or 'none'}."
                f"{closest_match(option, by_name)}"
            )
        kind = by_name[option].annotation
        accepted = (int, float) if kind is float else kind
        if isinstance(kind, type) and not isinstance(value, accepted):
            raise ConfigError(f"{option} of {name} must be {kind.__name__}, got {value!r}.")


def _make_contiguous(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # `contiguous` would keep the channels-last strides of a single channel.
    return tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in inputs)


def _import(name: str) -> type[nn.Module]:
    """Return the class of "file.py:Class"; the file's code runs."""
    file, _, class_name = name.rpartition(":")
    if not Path(file).is_file():
        raise ConfigError(f"model must be file.py:Class with a file that exists, got {name!r}.")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None and spec.loader is not None, file
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"Cannot import {file}: {type(error).__name__}: {error}.") from error
    model = getattr(module, class_name, None)
    if not (isinstance(model, type) and issubclass(model, nn.Module)):
        raise ConfigError(f"model must name a torch module in {file}, got {class_name!r}.")
    return model
