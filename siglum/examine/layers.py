"""The layers of a network: sizes, parameters, multiply-adds, outputs.

A forward pass is observed: modules by hooks, and the functions between them (`F.relu(...)`) by
PyTorch's function mode. A module without submodules is one layer, whatever it calls.
Shapes: B images, C channels, S the side of the image.
"""

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

BATCH = 2  # images that the table of layers is made with, as in report 2
FUNCTIONS = {
    *("conv2d", "linear", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"),
    *("relu", "relu_", "leaky_relu", "elu", "gelu", "silu", "hardswish", "sigmoid", "tanh"),
    *("softmax", "log_softmax", "dropout", "batch_norm", "layer_norm", "flatten", "mean"),
    *("scaled_dot_product_attention", "add", "cat"),
}
KINDS = {
    "conv": "convolution",
    "relu": "ReLU",
    "re lu": "ReLU",
    "cat": "join",
    "multihead attention": "attention",
}


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
    modules = [module for name, module in model.named_modules() if name in names]
    listed = {id(parameter) for module in modules for parameter in module.parameters()}
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
    words = words.lower().removeprefix("adaptive ").replace("avg", "average")
    return KINDS.get(words, words)
