"""Self-attention: how much each cell of an image passes to the others.

Attention shows which cells a cell takes from, not what it makes of them; later layers mix cells
that are mixed already.
Shapes: B images, S the side, L layers, A heads, T tokens, one per cell, row by row.
"""

from math import isqrt
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from siglum.examine import (
    Examination,
    NotApplicableError,
    Result,
    cell,
    draw_heat,
    draw_image,
    draw_scale,
    label,
)
from siglum.formatting import probability
from siglum.report.plots import Palette, new_figure

LIMIT = 4.0  # end of the scale, in units of even attention


def attention_panel(examination: Examination) -> Result:
    """Return the attention over the first image: weights (L, A, T, T) and shares (L, A, h, w).

    Raises:
        NotApplicableError: if the network has no attention, or its tokens are no square of cells.
    """
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
    num_layers, heads = shares.shape[:2]
    probs = examination.logits(planes).softmax(dim=1)[0]

    def draw(palette: Palette) -> Figure:
        width = min(96, 968 / (heads + 1) - 8)
        step, size = width + 8, len(image[0]) - 0.5
        figure = new_figure(palette, 72 + (heads + 1) * step, 24 + num_layers * step + 44)
        for row, column in np.ndindex(num_layers, heads + 1):
            x, y = 72 + column * step, 24 + row * step
            share = shares[row, column] if column < heads else shares[row].mean(axis=0)
            axes = cell(figure, palette, x, y, width)
            draw_image(axes, image, strength=0.7)
            draw_heat(axes, share, LIMIT, extent=(-0.5, size, size, -0.5), zorder=0)
            if row == 0:
                text = f"head {column + 1}" if column < heads else "mean"
                label(figure, x, 10, text, palette.quiet)
            if column == 0:
                label(figure, 0, y + 12, f"layer {row + 1}", palette.ink)
        y = 24 + num_layers * step + 6
        draw_scale(figure, palette, 72, y, f"{LIMIT:.0f}", signed=False)
        label(figure, 252, y + 5, "times even attention", palette.quiet, 11)
        return figure

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
