"""The layers of a network: sizes, parameters, multiply-adds, outputs.

A forward pass is observed: modules by hooks, and the functions between them (`F.relu(...)`) by
PyTorch's function mode. A module without submodules is one layer, whatever it calls.
Shapes: B images, C channels, S the side of the image.
"""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

BATCH = 2  # images that the table of layers is made with, as in report 2
FUNCTIONS = {
    *("conv2d", "linear", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"),
    *("relu", "relu_", "leaky_relu", "elu", "gelu", "silu", "hardswish", "sigmoid", "tanh"),
    *("softmax", "log_softmax", "dropout", "batch_norm", "layer_norm", "flatten", "mean"),
    *("scaled_dot_product_attention", "add", "cat"),
}
KINDS = {"conv": "convolution", "relu": "ReLU", "re lu": "ReLU", "cat": "join"}
KINDS["multihead attention"] = "attention"


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
    """Makes a layer of every module without submodules, and of known functions between them."""

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
