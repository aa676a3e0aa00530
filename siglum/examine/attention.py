"""Self-attention: how much each cell of an image passes to the others.

Attention shows which cells a cell takes from, not what it makes of them; later layers mix cells
that are mixed already.
Shapes: B images, S the side, L layers, A heads, T tokens, one per cell, row by row.
"""

from math import isqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from siglum.examine import Examination, NotApplicableError, Result, Tile, draw_tiles
from siglum.formatting import probability

LIMIT = 4.0  # end of the scale, in units of even attention


def attention_panel(examination: Examination) -> Result:
    """Return the attention over the first image: weights (L, A, T, T) and shares (L, A, h, w)."""
    _attention_layers(examination.model)  # before images are loaded
    images = examination.images(1)
    planes, image = images.planes[:1], examination.pixels(images)[0]
    weights = attention(examination.model, examination.to_input(planes))
    flat = received(weights)[:, 0].cpu().numpy()
    side = isqrt(flat.shape[-1])
    if side * side != flat.shape[-1]:
        raise NotApplicableError(
            f"Attention is drawn over a square of cells; the network has {flat.shape[-1]} tokens."
        )
    shares = flat.reshape(*flat.shape[:2], side, side)
    probs = examination.logits(planes).softmax(dim=1)[0]
    rows = [
        [
            Tile(image, share / LIMIT, title=f"head {head}" if head <= len(heads) else "mean")
            for head, share in enumerate([*heads, heads.mean(axis=0)], 1)
        ]
        for heads in shares
    ]
    labels = [f"layer {number}" for number in range(1, len(rows) + 1)]
    scale = f"{LIMIT:.0f} times even attention"
    draw = draw_tiles(rows, 84, labels=labels, scale=scale, signed=False)

    layer, head, row, column = (i + 1 for i in np.unravel_index(shares.argmax(), shares.shape))
    prediction = examination.classes[int(probs.argmax())]
    finding = (
        f"{images.names[0]}, recognised as {prediction} ({probability(float(probs.max()))}): "
        f"highest attention on row {row}, column {column} of {side} × {side} cells, in layer "
        f"{layer}, head {head}: {shares.max():.1f} times even attention"
    )
    arrays = {"image": image, "weights": weights[:, 0].cpu().numpy(), "shares": shares}
    return Result(finding, arrays, draw)


@torch.no_grad()
def attention(model: nn.Module, images: Tensor) -> Tensor:
    """Return how much every cell takes from every other, in every layer and head.

    Args:
        model: With at least one `nn.MultiheadAttention`; it is switched to evaluation.
        images: float32 (B, C, S, S), normalised as in training.

    Returns:
        float32 (L, B, A, T, T): from the cell of the last axis to that of the one before; rows sum
        to 1.

    Raises:
        NotApplicableError: if the network has no attention, or the layers' tokens differ.

    Source: Vaswani and others 2017, "Attention is all you need", arXiv:1706.03762, equation 1.
    """
    layers = _attention_layers(model)
    model.eval()
    weights: list[Tensor] = []
    handles: list[Any] = []
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fast path never calls the modules
    try:
        for layer in layers.values():
            handles.append(layer.register_forward_pre_hook(_request_weights, with_kwargs=True))
            handles.append(layer.register_forward_hook(lambda *a: weights.append(a[2][1])))
        model(images)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()
    if len({weight.shape for weight in weights}) != 1:
        raise NotApplicableError("The layers with attention have different numbers of tokens.")
    return torch.stack(weights)


def received(weights: Tensor) -> Tensor:
    """Return the mean attention to each cell, in units of even attention.

    Args:
        weights: float32 (L, B, A, T, T), from `attention`.

    Returns:
        float32 (L, B, A, T).
    """
    return weights.mean(dim=-2) * weights.shape[-1]


def _attention_layers(model: nn.Module) -> dict[str, nn.MultiheadAttention]:
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.MultiheadAttention)}
    if not layers:
        raise NotApplicableError(
            f"{type(model).__name__} has no attention. conv_transformer is a network that has it."
        )
    return layers


def _request_weights(
    _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, {**kwargs, "need_weights": True, "average_attn_weights": False}
