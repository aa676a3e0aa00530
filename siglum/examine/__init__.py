"""Look inside a network: its layers, and a run with the images that it is shown.

Images are loaded when they are first used, so that a table of layers waits for none.
Shapes: N images, B in a batch, P planes, C channels, S side, K classes, D features.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from siglum.errors import ConfigError, SiglumError, closest_match
from siglum.formatting import count as count_of
from siglum.images.decode import as_text
from siglum.images.imageset import ImageSet
from siglum.lab.device import Device
from siglum.lab.run_folder import Run
from siglum.lab.train_run import NO_DATA, PARTS, load_same_data
from siglum.lab.training_loop import Data, evaluate, normalise_batch, to_unit
from siglum.recogniser.predict import preprocess_images, stack

BATCH = 2  # images that the table of layers is made with, as in report 2
FUNCTIONS = {
    *("conv2d", "linear", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"),
    *("relu", "relu_", "leaky_relu", "elu", "gelu", "silu", "hardswish", "sigmoid", "tanh"),
    *("softmax", "log_softmax", "dropout", "batch_norm", "layer_norm", "flatten", "mean"),
    *("scaled_dot_product_attention", "add", "cat"),
}
KINDS = {"conv": "convolution", "relu": "ReLU", "re lu": "ReLU", "cat": "join"}
KINDS["multihead attention"] = "attention"


class NotApplicableError(ConfigError):
    """A panel does not apply to this network or these images."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Some images to look at."""

    images: ImageSet
    labels: NDArray[np.int64]  # (N,); -1 where the true class is unknown
    names: list[str]  # N, such as "test image 12"
    description: str  # which images they are: "10 test images spread over the set"


@dataclass(frozen=True)
class Layer:
    """One step of a network."""

    name: str  # as the network calls it, such as "conv1" or "encoder.0.relu"
    kind: str  # such as "convolution"
    detail: str  # PyTorch's own description of a module's settings
    output: tuple[int, ...]  # shape, the batch first; empty if there is none
    parameters: int
    multiply_adds: int  # for one image


@dataclass(eq=False)
class Examination:
    """A run and what to show of it; raises ConfigError or DataError at once where it cannot."""

    run: Run
    device: Device
    files: Sequence[Path] = ()  # images to show, instead of the run's own
    part: str | None = None  # a key of PARTS; by default test, or validation without test images
    layer: str | None = None  # name of the layer to show
    count: int | None = None  # images; each panel has its own default
    checkpoint: str | None = None
    numbers: Sequence[int] = ()  # of images of the part, from 1
    wrong: bool = False  # only misclassified images of the part

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ConfigError(f"count must be at least 1, got {self.count}.")
        if bool(self.files) + bool(self.numbers) + self.wrong > 1:
            raise ConfigError("Files, --image and --wrong exclude each other; choose one.")
        self.preprocess, self.classes = self.run.preprocess, self.run.classes
        self.device = replace(self.device, precision="float32", channels_last=False)
        self.model = self.device.to(self.run.model(self.checkpoint)).eval()
        side = self.preprocess.size
        self.layers = layers(self.model, (self.preprocess.planes, side, side))
        if self.layer is not None and self.layer not in (names := [s.name for s in self.layers]):
            hint = closest_match(self.layer, names) or " --only layers lists them."
            raise ConfigError(f"No such layer: {self.layer!r}.{hint}")
        if self.files or self.part or self.numbers:
            self.sample(1)

    @cached_property
    def data(self) -> Data:
        """The run's own images; raises NotApplicableError if they cannot be loaded again."""
        if self.run.config.data == NO_DATA:
            raise NotApplicableError("This needs images. Name image files, or --data SOURCE.")
        try:
            return load_same_data(self.run)
        except SiglumError as error:
            raise NotApplicableError(f"Cannot load the run's images again: {error}") from None

    @cached_property
    def own_images(self) -> tuple[str, ImageSet]:
        """The part to show, a value of PARTS, and its images, or NotApplicableError."""
        present = {p: images for p in reversed(PARTS) if (images := self.data.parts[p]) is not None}
        part = self.part or next(iter(present))
        if part not in present:
            rule = f"part must be one that the run has ({', '.join(present)})"
            raise NotApplicableError(f"{rule}, got {part!r}.")
        return PARTS[part], present[part]

    def sample(self, default: int) -> Sample:
        """Return the images to show: the files, or `default` images of the part."""
        wanted = self.count or default
        if self.files:
            files = self.files[: self.count]
            planes = stack(preprocess_images(files, self.preprocess))[0]
            images = ImageSet.from_arrays(planes, np.zeros(len(files), int), self.classes)
            names = [as_text(file.name) for file in files]
            return Sample(images, np.full(len(files), -1), names, count_of(len(files), "file"))
        part, images = self.own_images
        rows, choice = np.arange(min(wanted, len(images))), "The first {}"
        if self.numbers:
            rows, choice = np.array(self.numbers) - 1, "{}"
            if rows.min() < 0 or rows.max() >= len(images):
                raise ConfigError(f"image must be a number from 1 to {len(images):,}.")
        elif self.wrong:
            wrong = np.flatnonzero(self.predict(images).argmax(axis=1) != images.labels)
            rows, choice = wrong[:wanted], "{} that are misclassified"
            if not len(rows):
                raise NotApplicableError(f"All {len(images):,} {part} images are correct.")
        elif len(images) > 1 and (np.diff(images.labels) >= 0).all():  # sorted: the first are alike
            rows, choice = spread(len(images), wanted), "{} spread over the set"
        description = choice.format(count_of(len(rows), f"{part} image"))
        names = [f"{part} image {row + 1}" for row in rows]
        return Sample(images.subset(rows), images.labels[rows], names, description)

    def to_input(self, images: ImageSet) -> Tensor:
        """Return images as the network's input, on its device: float32 (N, P, S, S)."""
        return self.device.to_batch(normalise_batch(to_unit(images.images), self.preprocess))

    def pixels(self, images: ImageSet) -> NDArray[np.float32]:
        """Return images in [0, 1] without position planes: float32 (N, C, S, S)."""
        return to_unit(images.images[:, : self.preprocess.channels]).numpy()

    def predict(self, images: ImageSet) -> NDArray[np.float32]:
        """Return log-probabilities: float32 (N, K)."""
        return evaluate(self.model, images, self.preprocess, self.device)

    def features(self, images: ImageSet) -> Tensor:
        """Return the inputs of the last layer that has parameters: float32 (N, D)."""
        modules, features = dict(self.model.named_modules()), list[Tensor]()
        names = [step.name for step in self.layers if step.parameters and step.name in modules]
        with modules[names[-1]].register_forward_pre_hook(
            lambda _, inputs: features.append(inputs[0].flatten(1).float().cpu())
        ):
            self.predict(images)
        return torch.cat(features)


def spread(total: int, count: int) -> NDArray[np.int64]:
    """Return at most `count` rows, spread evenly over `total`."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64))


def layers(model: nn.Module, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """Return every layer in the order of a forward pass, the input first; `shape` is C, S, S."""
    zeros = torch.zeros(BATCH, *shape, device=next(model.parameters()).device)
    steps = [layer for layer, _ in observe(model, zeros)]
    names = {step.name for step in steps}
    listed = {id(p) for n, m in model.named_modules() if n in names for p in m.parameters()}
    others = {n: p.numel() for n, p in model.named_parameters() if id(p) not in listed}
    if others:
        steps.append(Layer(", ".join(others), "parameters", "", (), sum(others.values()), 0))
    return (Layer("input", "input", "", (BATCH, *shape), 0, 0), *steps)


@torch.no_grad()
def observe(model: nn.Module, images: Tensor) -> list[tuple[Layer, Tensor]]:
    """Return every layer of a forward pass on normalised images (B, C, S, S) with its output."""
    observer = _Observer(model.eval(), len(images))
    with (
        hooks.register_module_forward_pre_hook(lambda module, _: observer.path.append(module)),
        hooks.register_module_forward_hook(observer.leave),
        sdpa_kernel(SDPBackend.MATH),  # the only way of attention that is counted on every device
        observer.counter,
        observer,
    ):
        model(images)
    return observer.steps


class _Observer(TorchFunctionMode):
    """Makes a layer of every module without submodules, and of known functions between them.

    Hooks observe the modules, and PyTorch's function mode the functions, such as `F.relu(...)`.
    """

    def __init__(self, model: nn.Module, batch: int) -> None:
        super().__init__()
        self.names = {module: name for name, module in model.named_modules()}
        self.batch = batch
        self.steps: list[tuple[Layer, Tensor]] = []
        self.path: list[nn.Module] = []  # the modules that are being called
        self.calls: Counter[str] = Counter()
        self.counted: set[int] = set()  # parameters: one that is used twice counts once
        self.counter, self.flops = FlopCounterMode(display=False), 0

    def leave(self, module: nn.Module, _: object, output: Any) -> None:
        self.path.pop()
        if not _is_layer(module) or any(map(_is_layer, self.path)):
            return
        new = [p for p in module.parameters() if id(p) not in self.counted]
        self.counted |= {id(p) for p in new}
        heads = getattr(module, "num_heads", None)  # which attention's own text leaves out
        detail = f"{heads} heads" if heads else module.extra_repr()
        value = output[0] if isinstance(output, tuple) else output
        self._add(module, "", value, detail, sum(p.numel() for p in new))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").replace("__iadd__", "add")  # `x += y`
        if (
            name in FUNCTIONS
            and not any(map(_is_layer, self.path))
            and isinstance(output, Tensor)
            and output.ndim >= 2
            and len(output) == self.batch
            and (name != "cat" or (output.ndim == 4 and len(args[0]) > 1))
        ):
            self._add(self.path[-1], name.rstrip("_"), output)
        return output

    def _add(
        self, module: nn.Module, function: str, value: Tensor, detail: str = "", parameters: int = 0
    ) -> None:
        kind = type(module).__name__
        path = self.names.get(module, kind)  # `forward` may create modules
        name = ".".join(filter(None, (path, function)))
        self.calls[name] += 1
        if self.calls[name] > 1:
            name = f"{name}_{self.calls[name]}"
        before, self.flops = self.flops, self.counter.get_total_flops()
        products = (self.flops - before) // 2 // self.batch
        # "max pool" for MaxPool2d and max_pool2d
        kind = (function or kind).removesuffix("2d").removesuffix("1d")
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", kind).lower().removeprefix("adaptive ")
        words = words.replace("avg", "average")
        shape = tuple(value.shape)
        layer = Layer(name, KINDS.get(words, words), detail, shape, parameters, products)
        self.steps.append((layer, value.clone()))  # a later layer may work in place


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.MultiheadAttention) or not any(module.children())
