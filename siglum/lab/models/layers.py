"""Layers that several networks share."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from siglum.errors import ConfigError


class Network(nn.Module):
    """A network whose logits are `head(forward_features(images))`: the head can be exchanged."""

    head: nn.Module

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D); by default through all parts but the head."""
        for name, part in self.named_children():
            if name != "head":
                images = part(images)
        return images

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to logits (B, K)."""
        logits: Tensor = self.head(self.forward_features(images))
        return logits


class Fitted(Network):
    """A network that is fitted to all training images in one call, instead of by steps."""

    def fit(self, images: Tensor, labels: Tensor) -> None:
        """Fit to standardised images (N, C, S, S), on the CPU, with labels (N,)."""
        raise NotImplementedError


class Dropout(nn.Module):
    """`torch.nn.Dropout` with random bits that take a tenth of the time on a CPU.

    One 64-bit draw decides four values, so `p` is exact to 1 / 131072; the scale is the exact
    inverse. With `at_test` it also drops in evaluation, as report 2 does.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, "Dropout: a simple way
    to prevent neural networks from overfitting", Journal of Machine Learning Research 15.
    """

    def __init__(self, p: float = 0.5, at_test: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {p}.")
        self.p, self.at_test = p, at_test

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape, dtype and memory format."""
        if self.p == 0 or not (self.training or self.at_test):
            return values
        if values.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(values, self.p)
        dropped = round(self.p * 65536)
        bits = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        draws = bits.view(torch.int16)[: values.numel()]  # uniform over -32768 .. 32767
        mask = torch.empty_like(values)
        flat = mask if values.is_contiguous() or values.ndim != 4 else mask.permute(0, 2, 3, 1)
        torch.ge(draws.view(flat.shape), dropped - 32768, out=flat)
        return values * mask.mul_(65536 / (65536 - dropped))


def encoder_layer(
    dim: int, heads: int, hidden: int, dropout: float, **options: Any
) -> nn.TransformerEncoderLayer:
    """Return torch's layer with the faster dropout."""
    dropouts = {name: Dropout(dropout) for name in ("dropout", "dropout1", "dropout2")}
    layer = nn.TransformerEncoderLayer(dim, heads, hidden, dropout, batch_first=True, **options)
    for name, module in dropouts.items():
        setattr(layer, name, module)
    return layer


def request_weights(attention: nn.MultiheadAttention) -> RemovableHandle:
    """Let torch's attention return its weights, too, and compute by plain matrix products."""
    request = {"need_weights": True, "average_attn_weights": False}
    return attention.register_forward_pre_hook(
        lambda _, args, kwargs: (args, kwargs | request), with_kwargs=True
    )


def check_minimum(minimum: int, **options: int) -> None:
    """Raise ConfigError for the first option that is below the minimum."""
    for name, value in options.items():
        if value < minimum:
            raise ConfigError(f"{name} must be at least {minimum}, got {value}.")
