"""The layers of a network: sizes, parameters, multiply-adds, outputs, and its diagram.

A forward pass is observed: modules by hooks, and the functions between them (`F.relu(...)`) by
PyTorch's function mode. A module without submodules is one layer, whatever it calls.
Shapes: B images, C channels, S the side of the image.
"""

import copy
import itertools
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrow, Rectangle
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from siglum.errors import ConfigError, nearest
from siglum.examine import Examination, Result, pixel_axes
from siglum.report.page import Table
from siglum.report.plots import Palette

BATCH = 2  # images that the table of layers is made with, as in report 2
FUNCTIONS = {
    *("conv2d", "linear", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"),
    *("relu", "relu_", "leaky_relu", "elu", "gelu", "silu", "hardswish", "sigmoid", "tanh"),
    *("softmax", "log_softmax", "dropout", "batch_norm", "layer_norm", "flatten", "mean"),
    *("scaled_dot_product_attention", "add", "cat"),
}
KINDS = {"conv": "convolution", "relu": "ReLU", "cat": "join", "multihead attention": "attention"}


@dataclass(frozen=True)
class Layer:
    """One step of a network."""

    name: str  # as the network calls it, such as "conv1" or "encoder.0.relu"
    kind: str  # such as "convolution"
    detail: str  # PyTorch's own description of a module's settings
    output: tuple[int, ...]  # shape, the batch first; empty if there is none
    parameters: int
    multiply_adds: int  # for one image


def layers(model: nn.Module, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """Return every layer of a network in the order of a forward pass, the input first.

    Nothing is computed: the tensors have sizes but no values. A network whose code needs values is
    called with zeros instead.

    Args:
        shape: Of one image: C, S, S.
    """
    try:
        steps = _observe_zeros(model, shape, "meta")
    except (NotImplementedError, RuntimeError, TypeError, ValueError):
        steps = _observe_zeros(model, shape, "cpu")
    names = {step.name for step in steps}
    listed = {
        id(parameter)
        for name, module in model.named_modules()
        if name in names
        for parameter in module.parameters()
    }
    others = {n: p.numel() for n, p in model.named_parameters() if id(p) not in listed}
    if others:
        steps.append(Layer(", ".join(others), "parameters", "", (), sum(others.values()), 0))
    return (Layer("input", "input", "", (BATCH, *shape), 0, 0), *steps)


@torch.no_grad()
def layer_outputs(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return the output of every layer by the names that `layers` gives them.

    Args:
        images: float32 (B, C, S, S), normalised; the network is switched to evaluation.
    """
    outputs: dict[str, Tensor] = {}

    def add(layer: Layer, value: Tensor) -> None:
        outputs[layer.name] = value.clone()  # a later layer may work in place

    with _observe(model.eval(), add):
        model(images)
    return outputs


def find_layer(model: nn.Module, name: str, shape: tuple[int, int, int]) -> Layer:
    """Return the layer of that name.

    Raises:
        ConfigError: if there is none; the message gives the closest name.
    """
    by_name = {layer.name: layer for layer in layers(model, shape)}
    if name in by_name:
        return by_name[name]
    hint = nearest(name, list(by_name)) or " List them with: siglum examine RUN --only layers"
    raise ConfigError(f"No such layer: {name!r}.{hint}")


def layer_table(examination: Examination) -> Result:
    """Return the table of layers, with their sum."""
    steps = layers(examination.model, examination.shape)
    parameters = sum(layer.parameters for layer in steps)
    products = sum(layer.multiply_adds for layer in steps)
    columns = ("layer", "kind", "settings", "output", "parameters", "multiply-adds")
    rows: list[tuple[object, ...]] = [("total", "", "", "", parameters, products)]
    for layer in reversed(steps):
        output = " × ".join(map(str, layer.output)) or "–"
        numbers = layer.parameters or "", layer.multiply_adds or ""
        rows.insert(0, (layer.name, layer.kind, layer.detail, output, *numbers))
    finding = f"{len(steps) - 1} steps, {parameters:,} parameters, {products:,} multiply-adds"
    arrays = {
        name: np.array([getattr(layer, name) for layer in steps])
        for name in ("name", "kind", "parameters", "multiply_adds")
    }
    return Result(f"{finding} per image", arrays, table=Table(columns, rows, 4))


def printout(examination: Examination) -> Result:
    """Return PyTorch's own printout of the network."""
    name = type(examination.model).__name__
    return Result(f"{name}, as PyTorch prints it", text=str(examination.model))


def diagram(examination: Examination) -> Result:
    """Draw a box for every size that an image takes on its way, and the steps below it."""
    boxes: list[tuple[tuple[int, ...], list[str]]] = []
    modules = dict(examination.model.named_modules())
    for layer in layers(examination.model, examination.shape):
        kernel = getattr(modules.get(layer.name), "kernel_size", None)
        height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        step = f"{layer.kind} {height} × {width}" if kernel else layer.kind
        if not layer.output:
            continue
        if boxes and boxes[-1][0] == layer.output[1:] and not layer.multiply_adds:
            boxes[-1][1].append(step)
        else:
            boxes.append((layer.output[1:], [step]))
    rows = math.ceil(len(boxes) / 10)
    columns = math.ceil(len(boxes) / rows)
    texts = [_count_repeats(steps) for _, steps in boxes]
    down = 150 + 15 * max(map(len, texts))
    largest = max((shape[-1] for shape, _ in boxes if len(shape) == 3), default=1)

    def draw(palette: Palette) -> Figure:
        width = max(104, 1040 / columns)
        with pixel_axes(palette, width * columns, down * rows) as (figure, axes):
            patches: list[Rectangle] = []
            for number, ((shape, _), lines) in enumerate(zip(boxes, texts, strict=True)):
                x, y = width * (number % columns + 0.5), number // columns * down + 75
                axes.text(x, y - 65, " × ".join(map(str, shape)), ha="center")
                solid = _solid(shape, x, y, largest)
                patches += solid
                for line, text in enumerate(lines):
                    place = (x, y + 62 + 15 * line)
                    axes.text(*place, text, ha="center", size=11, color=palette.quiet)
                if number + 1 < len(boxes):
                    start = max(box.get_x() + box.get_width() for box in solid) + 4
                    arrow = FancyArrow(start, y, 14, 0, head_width=7, length_includes_head=True)
                    axes.add_patch(arrow).set_color(palette.quiet)
            boxes_drawn = PatchCollection(
                patches, facecolor=palette.paper, edgecolor=palette.ink, linewidth=0.8
            )
            axes.add_collection(boxes_drawn)
            return figure

    return Result(layer_table(examination).finding, draw=draw)


def _count_repeats(steps: list[str]) -> list[str]:
    """Return steps in order; one that is repeated is counted."""
    runs = [(step, len(list(group))) for step, group in itertools.groupby(steps)]
    return [step if times == 1 else f"{step}, {times} times" for step, times in runs]


def _solid(shape: tuple[int, ...], x: float, y: float, largest: int) -> list[Rectangle]:
    """Return maps as sheets, tokens as rows, a vector as a bar; sizes are not to scale."""
    if len(shape) == 3:
        side, sheets = 10 + 62 * math.sqrt(shape[-1] / largest), min(shape[0].bit_length(), 9)
        left, top = x - side / 2 - 1.5 * sheets, y - side / 2 - 1.5 * sheets
        return [
            Rectangle((left + 3 * sheet, top + 3 * (sheets - 1 - sheet)), side, side)
            for sheet in reversed(range(sheets))
        ]
    if len(shape) == 2:
        rows = min(shape[0], 12)
        return [Rectangle((x - 30, y + 8 * (row - rows / 2)), 60, 8) for row in range(rows)]
    high = min(14 * math.log2(1 + math.prod(shape)), 100)
    return [Rectangle((x - 6, y - high / 2), 12, high)]


def _observe_zeros(model: nn.Module, shape: tuple[int, int, int], device: str) -> list[Layer]:
    steps: list[Layer] = []
    model = copy.deepcopy(model).to(device).eval()
    with torch.no_grad(), _observe(model, lambda layer, _: steps.append(layer)):
        model(torch.zeros(BATCH, *shape, device=device))
    return steps


@contextmanager
def _observe(model: nn.Module, add: Callable[[Layer, Tensor], None]) -> Iterator[None]:
    """Call `add` with every layer and its output while the network is called."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with FlopCounterMode(display=False) as counter:
        observer = _Observer(counter, add)
        handles = [model.register_forward_pre_hook(observer.start)]
        for name, module in list(model.named_modules())[1:]:
            handles.append(module.register_forward_pre_hook(observer.enter(name, module)))
            handles.append(module.register_forward_hook(observer.leave))
        torch.backends.mha.set_fastpath_enabled(False)  # the fast path calls no submodules
        try:
            with observer:
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for handle in handles:
                handle.remove()


class _Observer(TorchFunctionMode):
    """Makes a layer of every module without submodules, and of known functions between them."""

    def __init__(self, counter: FlopCounterMode, add: Callable[[Layer, Tensor], None]) -> None:
        super().__init__()
        self.counter, self.add = counter, add
        self.batch = 0
        self.path: list[str] = []  # of the modules that are being called
        self.inside = False  # a module without submodules
        self.names: set[str] = set()
        self.counted: set[int] = set()  # parameters: one that is used twice counts once
        self.flops = 0

    def start(self, _: nn.Module, args: tuple[Any, ...]) -> None:
        self.batch = len(args[0])

    def enter(self, name: str, module: nn.Module) -> Callable[..., None]:
        def hook(*_: object) -> None:
            self.path.append(name)
            self.inside = self.inside or _is_layer(module)

        return hook

    def leave(self, module: nn.Module, _: object, output: Any) -> None:
        name = self.path.pop()
        if not _is_layer(module):
            return
        self.inside = False
        new = [p for p in module.parameters() if id(p) not in self.counted]
        self.counted |= {id(p) for p in new}
        detail = "" if isinstance(module, nn.Flatten) else module.extra_repr()
        if isinstance(module, nn.MultiheadAttention):
            detail = f"{module.num_heads} heads"
        self._add(name, type(module).__name__, detail, output, sum(p.numel() for p in new))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in FUNCTIONS and not self.inside and self._is_step(name, args, output):
            name = name.rstrip("_")
            self._add(".".join([*self.path[-1:], name]), name, "", output, 0)
        return output

    def _is_step(self, name: str, args: tuple[Any, ...], output: Any) -> bool:
        if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != self.batch:
            return False
        return name != "cat" or (output.ndim == 4 and len(args[0]) > 1)

    def _add(self, name: str, kind: str, detail: str, output: Any, parameters: int) -> None:
        value = output[0] if isinstance(output, tuple) else output
        unique, number = name, 1
        while unique in self.names:
            number += 1
            unique = f"{name}_{number}"
        self.names.add(unique)
        before, self.flops = self.flops, self.counter.get_total_flops()
        products = (self.flops - before) // 2 // self.batch
        shape = tuple(value.shape)
        self.add(Layer(unique, _kind(kind), detail, shape, parameters, products), value)


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.MultiheadAttention) or not any(module.children())


def _kind(name: str) -> str:
    """Return "max pool" for MaxPool2d and max_pool2d."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name.removesuffix("2d").removesuffix("1d"))
    words = (
        words.lower().removeprefix("adaptive ").replace("avg", "average").replace("re lu", "relu")
    )
    return KINDS.get(words, words)
