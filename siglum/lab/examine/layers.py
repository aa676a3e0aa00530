"""What a network does to a picture, layer by layer: sizes, parameters, multiply-adds, values.

A forward pass is watched: modules by their hooks, and the functions that a network calls by itself
(`F.relu(...)`) by torch's function mode. A module without parts is one layer, whatever it calls.
Shapes: B images, C channels, S the side of the picture.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from siglum.errors import ConfigError, nearest

BATCH = 2  # images that the table of layers is made with, as in report 2

MODULES = {
    "Conv2d": "convolution",
    "MaxPool2d": "max pool",
    "AvgPool2d": "average pool",
    "AdaptiveAvgPool2d": "average pool",
    "BatchNorm1d": "batch norm",
    "BatchNorm2d": "batch norm",
    "LayerNorm": "layer norm",
    "Linear": "linear",
    "Dropout": "dropout",
    "Flatten": "flatten",
    "MultiheadAttention": "attention",
}
FUNCTIONS = {
    "conv2d": "convolution",
    "linear": "linear",
    "max_pool2d": "max pool",
    "avg_pool2d": "average pool",
    "adaptive_avg_pool2d": "average pool",
    "adaptive_max_pool2d": "max pool",
    "mean": "mean",
    "relu": "ReLU",
    "relu_": "ReLU",
    "leaky_relu": "leaky ReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "hardswish": "hardswish",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "softmax": "softmax",
    "log_softmax": "log-softmax",
    "scaled_dot_product_attention": "attention",
    "dropout": "dropout",
    "batch_norm": "batch norm",
    "layer_norm": "layer norm",
    "flatten": "flatten",
    "add": "add",
    "cat": "join",
}


@dataclass(frozen=True)
class Layer:
    """One step of a network."""

    name: str  # as the network calls it, such as "conv1" or "encoder.0.relu"
    kind: str  # in words, such as "convolution"
    detail: str  # its sizes, such as "10 filters 5 x 5, padding 2"
    output: tuple[int, ...]  # shape of what comes out, the batch first; empty if nothing does
    parameters: int
    multiply_adds: int  # for one picture


def layers(model: nn.Module, shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """Return every layer of a network in the order of a forward pass, the input first.

    Nothing is computed: the pass is made with tensors that have sizes but no values. A network
    whose code needs the values is called with zeros instead.

    Args:
        shape: of one picture: C, S, S.
    """
    try:
        rows = [row for row, _ in _watched(copy.deepcopy(model).to("meta"), shape, "meta")]
    except (NotImplementedError, RuntimeError, TypeError, ValueError):
        rows = [row for row, _ in _watched(copy.deepcopy(model).cpu(), shape, "cpu")]
    listed = {name for row in rows for name in _parameters_of(model, row.name)}
    others = {name: p.numel() for name, p in model.named_parameters() if name not in listed}
    if others:
        rows.append(Layer(", ".join(others), "parameters", "", (), sum(others.values()), 0))
    return (Layer("input", "input", "", (BATCH, *shape), 0, 0), *rows)


@torch.no_grad()
def values(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return what comes out of every layer, by the names that `layers` gives them.

    Args:
        images: float32 (B, C, S, S), normalised; the network is switched to evaluation.
    """
    found: list[tuple[Layer, Tensor]] = []
    with _watching(model.eval(), lambda layer, value: found.append((layer, value.clone()))):
        model(images)
    return {layer.name: value for layer, value in found}


def find_layer(model: nn.Module, name: str, shape: tuple[int, int, int]) -> Layer:
    """Return the layer of that name.

    Raises:
        ConfigError: if there is none; the message gives the nearest name.
    """
    by_name = {layer.name: layer for layer in layers(model, shape)}
    if name in by_name:
        return by_name[name]
    known = list(by_name)
    listed = ", ".join(known) if len(known) <= 16 else f"one of its {len(known)}"
    hint = nearest(name, known) or " 'siglum examine RUN --only layers' lists them."
    raise ConfigError(f"layer must be a layer of the network ({listed}), got {name!r}.{hint}")


def _watched(
    model: nn.Module, shape: tuple[int, int, int], device: str
) -> list[tuple[Layer, Tensor]]:
    found: list[tuple[Layer, Tensor]] = []
    with torch.no_grad(), _watching(model.eval(), lambda *both: found.append(both)):
        model(torch.zeros(BATCH, *shape, device=device))
    return found


@contextmanager
def _watching(model: nn.Module, see: Callable[[Layer, Tensor], None]) -> Iterator[None]:
    """Call `see` with every layer and its output while the network is called."""
    batches: list[int] = []
    fast = torch.backends.mha.get_fastpath_enabled()
    with FlopCounterMode(display=False) as counter:
        watch = _Watch(counter, see, batches)
        handles = [model.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))]
        for name, module in model.named_modules():
            if module is model:
                continue
            handles.append(module.register_forward_pre_hook(watch.enter(name, module)))
            handles.append(module.register_forward_hook(watch.leave(module)))
        torch.backends.mha.set_fastpath_enabled(False)  # it would leave the parts uncalled
        try:
            with watch:
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for handle in handles:
                handle.remove()


class _Watch(TorchFunctionMode):
    """Makes a layer of every module without parts, and of every known function between them."""

    def __init__(
        self, counter: FlopCounterMode, see: Callable[[Layer, Tensor], None], batches: list[int]
    ) -> None:
        super().__init__()
        self.counter, self.see, self.batches = counter, see, batches
        self.path: list[str] = []  # of the modules that are being called
        self.inside: list[str] | None = None  # what a module without parts has called so far
        self.taken: set[str] = set()
        self.counted: set[int] = set()  # parameters, so that one used twice counts once
        self.flops = 0

    def enter(self, name: str, module: nn.Module) -> Callable[..., None]:
        def hook(*_: object) -> None:
            self.path.append(name)
            if _whole(module):
                self.inside = []

        return hook

    def leave(self, module: nn.Module) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: object, output: Any) -> None:
            name = self.path.pop()
            if not _whole(module):
                return
            called, self.inside = self.inside or [], None
            kind = MODULES.get(type(module).__name__, type(module).__name__)
            new = [p for p in module.parameters() if id(p) not in self.counted]
            self.counted |= {id(p) for p in new}
            self._see(name, kind, _detail(module, called), output, sum(p.numel() for p in new))

        return hook

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in FUNCTIONS and self._is_step(name, args, output):
            if self.inside is not None:
                self.inside.append(_called(name, args))
            else:
                place = ".".join([*self.path[-1:], name.rstrip("_")])
                self._see(place, FUNCTIONS[name], _called(name, args, short=True), output, 0)
        return output

    def _is_step(self, name: str, args: tuple[Any, ...], output: Any) -> bool:
        if not isinstance(output, Tensor) or output.ndim < 2 or not self.batches:
            return False
        if name == "cat":  # joined maps; of a single part it is bookkeeping
            return output.ndim == 4 and len(args[0]) > 1 and len(output) == self.batches[-1]
        return len(output) == self.batches[-1]

    def _see(self, name: str, kind: str, detail: str, output: Any, parameters: int) -> None:
        value = output[0] if isinstance(output, tuple) else output
        unique, number = name, 1
        while unique in self.taken:
            number += 1
            unique = f"{name}_{number}"
        self.taken.add(unique)
        before, self.flops = self.flops, self.counter.get_total_flops()
        each = (self.flops - before) // 2 // self.batches[-1]
        self.see(Layer(unique, kind, detail, tuple(value.shape), parameters, each), value)


def _whole(module: nn.Module) -> bool:
    """Whether a module is one layer."""
    return isinstance(module, nn.MultiheadAttention) or not any(module.children())


def _parameters_of(model: nn.Module, layer: str) -> list[str]:
    """Return the names of the parameters of a layer that is a module; of a function, none."""
    modules = dict(model.named_modules())
    if layer not in modules:
        return []
    return [f"{layer}.{name}" for name, _ in modules[layer].named_parameters()]


def _detail(module: nn.Module, called: list[str]) -> str:
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        said = [f"{module.out_channels} filters {height} × {width}"]
        said += [f"stride {module.stride[0]}"] if module.stride[0] > 1 else []
        said += [f"padding {module.padding[0]}"] if any(module.padding) else []
        said += [f"{module.groups} groups"] if module.groups > 1 else []
        return ", ".join(said)
    if isinstance(module, nn.Linear):
        return f"{module.in_features} to {module.out_features}"
    if isinstance(module, nn.MultiheadAttention):
        return f"{module.num_heads} heads"
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return _sides(module.kernel_size)
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return f"{module.num_features} channels"
    if isinstance(module, nn.Flatten):
        return ""
    own = not type(module).__module__.startswith("torch.")
    return ", ".join([*(called if own else []), *filter(None, [module.extra_repr()])])


def _called(name: str, args: tuple[Any, ...], short: bool = False) -> str:
    """Describe a function's call: "max pool 2 × 2"; `short` leaves its name out."""
    sides = _sides(args[1]) if "pool2d" in name and len(args) > 1 else ""
    return sides if short else f"{FUNCTIONS[name]} {sides}".strip()


def _sides(size: Any) -> str:
    height, width = (size, size) if isinstance(size, int) else size
    return f"{height} × {width}"
