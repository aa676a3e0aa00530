"""The networks by name.

A network maps images (B, C, S, S) to logits (B, K). Ours are `Net(num_classes, in_channels=1,
image_size=...)` and a `layers.Network`; one from a file may also return log-probabilities, and its
constructor gets only the arguments that it has.
"""

import ast
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from siglum.config import Option, Preprocess, TrainConfig
from siglum.errors import ConfigError, choose, closest_match, first_line
from siglum.files import sha256
from siglum.lab.models.baselines import LINEAR, LinearBaseline, NearestNeighbours
from siglum.lab.models.convolutional import CNN, GlyphNet, PictureNet
from siglum.lab.models.layers import Fitted, Network
from siglum.lab.models.pretrained import MobileNetV3, SignNet, TorchvisionNetwork
from siglum.lab.models.transformers import ConvPool, ConvTransformer, PatchTransformer


class NetworkError(ConfigError):
    """A network cannot be built with these options, or fails on its images."""


FITTED: dict[str, Callable[..., Fitted]] = {  # in one call, instead of by steps
    "knn": NearestNeighbours,
    **{kind: partial(LinearBaseline, kind) for kind in LINEAR},
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
TORCHVISION = "torchvision:"  # before the name of one of its networks
ARGUMENTS = (  # names of a constructor's parameters: classes, channels, side of the image
    ("num_classes", "n_classes", "classes", "num_labels", "num_outputs", "output_size"),
    ("in_channels", "in_chans", "input_channels"),
    ("image_size", "img_size"),
)


def build(
    name: str,
    num_classes: int | None,
    in_channels: int = 1,
    image_size: int = 28,
    options: Mapping[str, Option] | None = None,
) -> nn.Module:
    """Return a new network with random weights, tried on two blank images.

    `name` is a key of `MODELS`, "torchvision:NAME", or "file.py:Class" for one of your own, whose
    code runs. `options` are the network's further arguments. Without `num_classes`, it has its own.
    """
    options, values = options or {}, (num_classes, in_channels, image_size)
    create: Callable[..., nn.Module]
    if name.startswith(TORCHVISION):
        from torchvision.models import get_model  # takes a second to import

        create = partial(get_model, name.removeprefix(TORCHVISION), weights=None)
        arguments = {} if num_classes is None else {"num_classes": num_classes}
    else:
        create = _import(name) if ".py:" in name else choose(MODELS, name, "model")
        parameters = inspect.signature(create).parameters
        arguments = _arguments(parameters.values(), values, options)
        _check_options(name, {n: p for n, p in parameters.items() if n not in arguments}, options)
    images = torch.zeros(2, in_channels, image_size, image_size)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers without outputs, which fail next
            model = create(**arguments, **options)
            if not isinstance(model, Network):  # `view` needs contiguous tensors
                model.contiguous_only = True
                # `contiguous` would keep the channels-last strides of a single channel.
                copy = partial(torch.clone, memory_format=torch.contiguous_format)
                model.register_forward_pre_hook(lambda _, inputs: tuple(map(copy, inputs)))
            logits = model.eval()(images)
            if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 2:
                got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise ValueError(f"it must return logits {(2, num_classes)}, got {got}")
    except ConfigError as error:  # of an option
        raise NetworkError(str(error)) from None
    except (Exception, SystemExit) as error:  # the code may be the user's own
        shape = f"{in_channels} x {image_size} x {image_size}"
        raise failed(name, f"on 2 images of {shape}", error) from error
    if num_classes not in (None, logits.shape[1]):
        rule = f"{name} must have an output for each of the {num_classes} classes, got"
        remedy = "Use the images that it was made for."
        raise ConfigError(f"{rule} {logits.shape[1]} outputs. {remedy}")
    return model.train()


def build_for(config: TrainConfig, preprocess: Preprocess, num_classes: int | None) -> nn.Module:
    """Return the network that `config` names, for images of this kind."""
    size = preprocess.size
    return build(config.model, num_classes, preprocess.planes, size, config.model_options)


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def failed(name: str, action: str, error: BaseException) -> NetworkError:
    """Return the one-line error for a network that raised `error`."""
    return NetworkError(
        f"{name} failed {action}: {type(error).__name__}: {first_line(error)[:200]}. "
        "Check its options, or its layers, against --size and --channels."
    )


def _check_options(
    name: str, parameters: Mapping[str, inspect.Parameter], options: Mapping[str, Option]
) -> None:
    for option, value in options.items():
        if option not in parameters:
            known = f"{', '.join(parameters) or 'none'}.{closest_match(option, parameters)}"
            raise ConfigError(f"{name} has no option {option!r}. Options: {known}")
        kind = parameters[option].annotation
        accepted = (int, float) if kind is float else kind
        if kind in (bool, int, float, str) and not isinstance(value, accepted):
            raise ConfigError(f"{option} of {name} must be {kind.__name__}, got {value!r}.")


def find_class(*files: Path, class_name: str | None = None) -> str:
    """Return "file.py:Class" for the network in files, whose code is read and not run.

    Without `class_name`, it is the only `nn.Module` that no other class uses. Copies count once.
    """
    networks: dict[tuple[str, str], Path] = {}  # by class and code
    parts: set[str] = set()
    problem = f"No matching nn.Module in {', '.join(map(str, files)) or 'any .py file'}"
    for file in files:
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError) as error:
            problem = f"Cannot read {file}: {error}"
            continue
        modules = {*vars(nn)}
        for node in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
            if any(base in modules or base.endswith("Module") for base in bases):
                modules.add(node.name)
                networks.setdefault((node.name, ast.unparse(node)), file)
                names = {getattr(n, "id", getattr(n, "attr", "")) for n in ast.walk(node)}
                parts |= names - {node.name}
    names = {class_name} if class_name else {name for name, _ in networks} - parts
    found = [f"{file}:{name}" for (name, _), file in networks.items() if name in names]
    if len(found) > 1:
        problem = f"There are several networks: {', '.join(Path(n).name for n in found)}. Name one"
    if len(found) != 1:
        raise ConfigError(f"{problem}.")
    return found[0]


def file_digest(name: str) -> str | None:
    """Return the SHA-256 of the file of "file.py:Class", or None for another network."""
    file, colon, _ = name.rpartition(".py:")
    return sha256(path) if colon and (path := Path(f"{file}.py")).is_file() else None


def _arguments(
    parameters: Iterable[inspect.Parameter],
    values: tuple[int | None, ...],
    options: Mapping[str, Option],
) -> dict[str, int]:
    """Return the values for the parameters with known names; else for the first required ones."""
    free = [p for p in parameters if p.name not in options and p.kind is not p.VAR_KEYWORD]
    named = {
        parameter.name: value
        for parameter in free
        for names, value in zip(ARGUMENTS, values, strict=True)
        if parameter.name in names and value is not None
    }
    required = [p.name for p in free if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    return named or dict(zip(required, filter(None, values), strict=False))


def _import(name: str) -> type[nn.Module]:
    """Return the class of "file.py:Class"; the file's code runs and may import its neighbours."""
    file, _, class_name = name.rpartition(":")
    if not Path(file).is_file():
        raise ConfigError(f"No such file: {file}. The class {class_name} must be in it.")
    spec = importlib.util.spec_from_file_location(f"network {Path(file).stem}", file)
    assert spec is not None and spec.loader is not None, file
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # for dataclasses
    before = {*sys.modules}
    sys.path.insert(0, folder := str(Path(file).resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigError(f"Cannot import {file}: {reason}.") from error
    finally:
        with suppress(ValueError):
            sys.path.remove(folder)
        for new in {*sys.modules} - before:  # a network elsewhere may have such neighbours
            path, origin = Path(folder, *new.split(".")), getattr(sys.modules[new], "__file__", "")
            if origin in (f"{path}.py", str(path / "__init__.py")):
                del sys.modules[new]
    model = getattr(module, class_name, None)
    if not (isinstance(model, type) and issubclass(model, nn.Module)):
        raise ConfigError(f"model must name a torch module in {file}, got {class_name!r}.")
    return model
