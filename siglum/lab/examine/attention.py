"""Where each cell of a picture looks, in a network whose cells are read by self-attention.

What attention shows is which cells a cell takes from, not what it makes of them; later layers mix
cells that have been mixed already.
Shapes: B images, S the side, L layers, A heads, T tokens, a cell each, row by row.
"""

import torch
from torch import Tensor

from siglum.errors import ConfigError
from siglum.lab.models.conv_transformer import ConvTransformer, EncoderLayer


@torch.inference_mode()
def attention(model: torch.nn.Module, images: Tensor) -> Tensor:
    """Return how much every cell takes from every other, in every layer and head.

    Args:
        model: a `conv_transformer` with at least one layer; it is switched to evaluation.
        images: float32 (B, C, S, S), normalised as in training.

    Returns:
        float32 (L, B, A, T, T); from the cell of the last axis to that of the one before, each row
        summing to 1.

    Raises:
        ConfigError: if the network has no attention.

    Source: Vaswani and others 2017, "Attention is all you need", arXiv:1706.03762, equation 1.
    """
    if not isinstance(model, ConvTransformer) or not len(model.encoder):
        raise ConfigError(
            f"attention must be looked for in a conv_transformer with layers, got "
            f"{type(model).__name__}."
        )
    model.eval()
    tokens, layers = model.tokens(images), []
    for layer in model.encoder:
        assert isinstance(layer, EncoderLayer), layer
        _, weights = layer.attention(
            tokens, tokens, tokens, need_weights=True, average_attn_weights=False
        )
        layers.append(weights)
        tokens = layer(tokens)
    return torch.stack(layers)


def received(weights: Tensor) -> Tensor:
    """Return what each cell gives on average, times the number of cells: 1 everywhere if even.

    Args:
        weights: float32 (L, B, A, T, T), of `attention`.

    Returns:
        float32 (L, B, A, T).
    """
    return weights.mean(dim=-2) * weights.shape[-1]
