"""Where each cell of a picture looks, in a network whose cells are read by self-attention.

What attention shows is which cells a cell takes from, not what it makes of them; later layers mix
cells that have been mixed already.
Shapes: B images, S the side, L layers, A heads, T tokens, a cell each, row by row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.lab.examine.subject import DoesNotApplyError, Subject, ink


@dataclass(frozen=True, eq=False)
class Attention:
    """One picture, and how much its cells give to the others."""

    name: str  # of the picture
    picture: NDArray[np.float32]  # (C, S, S), in [0, 1]
    answer: str
    probability: float  # in [0, 1]
    layers: tuple[str, ...]  # L names
    weights: NDArray[np.float32]  # (L, A, T, T), each row summing to 1
    shares: NDArray[np.float32]  # (L, A, h, w), what each cell gives; 1 is an even share


def examine_attention(subject: Subject) -> Attention:
    """Return where the attention lies over the first picture.

    Raises:
        DoesNotApplyError: if the network has no attention, or its tokens are no square of cells.
    """
    _modules(subject.model)
    shown = subject.pictures(1).first(1)
    given = attention(subject.model, seen := subject.seen(shown.images))
    shares = received(given)[:, 0].cpu().numpy()
    side = isqrt(shares.shape[-1])
    if side * side != shares.shape[-1]:
        raise DoesNotApplyError(
            f"Attention is drawn over a square of cells, and the network has {shares.shape[-1]}."
        )
    with torch.no_grad():
        probs = subject.model(seen).float().softmax(dim=1)[0]
    return Attention(
        name=shown.names[0],
        picture=ink(shown, subject.preprocess)[0],
        answer=subject.classes[int(probs.argmax())],
        probability=float(probs.max()),
        layers=tuple(attentive(subject.model)),
        weights=given[:, 0].cpu().numpy(),
        shares=shares.reshape(*shares.shape[:2], side, side),
    )


@torch.no_grad()
def attention(model: nn.Module, images: Tensor) -> Tensor:
    """Return how much every cell takes from every other, in every layer and head.

    Args:
        model: with at least one `nn.MultiheadAttention`; it is switched to evaluation.
        images: float32 (B, C, S, S), normalised as in training.

    Returns:
        float32 (L, B, A, T, T); from the cell of the last axis to that of the one before, each row
        summing to 1.

    Raises:
        DoesNotApplyError: if the network has no attention, or not the same tokens in all layers.

    Source: Vaswani and others 2017, "Attention is all you need", arXiv:1706.03762, equation 1.
    """
    modules = _modules(model)
    model.eval()
    found: list[Tensor] = []
    handles: list[Any] = []
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it would never call the modules
    try:
        for module in modules.values():
            handles.append(module.register_forward_pre_hook(_ask, with_kwargs=True))
            handles.append(module.register_forward_hook(_keep(found)))
        model(images)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()
    if len({weights.shape for weights in found}) != 1:
        raise DoesNotApplyError("Attention is compared between layers that have the same tokens.")
    return torch.stack(found)


def attentive(model: nn.Module) -> dict[str, nn.MultiheadAttention]:
    """Return the layers of a network that attend, by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.MultiheadAttention)}


def _modules(model: nn.Module) -> dict[str, nn.MultiheadAttention]:
    """Return what `attentive` finds; raise DoesNotApplyError if that is nothing."""
    modules = attentive(model)
    if not modules:
        raise DoesNotApplyError(
            "Attention can be shown of networks that have it, such as conv_transformer; "
            f"{type(model).__name__} has none."
        )
    return modules


def received(weights: Tensor) -> Tensor:
    """Return what each cell gives on average, times the number of cells: 1 everywhere if even.

    Args:
        weights: float32 (L, B, A, T, T), of `attention`.

    Returns:
        float32 (L, B, A, T).
    """
    return weights.mean(dim=-2) * weights.shape[-1]


def _ask(
    _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Make a module return its weights, a head apart."""
    return args, {**kwargs, "need_weights": True, "average_attn_weights": False}


def _keep(found: list[Tensor]) -> Callable[..., None]:
    def hook(_: nn.Module, _args: object, output: tuple[Tensor, Tensor]) -> None:
        found.append(output[1])

    return hook
