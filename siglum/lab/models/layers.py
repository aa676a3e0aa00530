"""Layers that several networks share."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Module):
    """`torch.nn.Dropout` with random bits that cost a tenth on a CPU.

    One 64-bit draw decides four values, so `p` is exact to 1 / 131072; the scale is the exact
    inverse. With `at_test` it also drops in evaluation, as report 2 does.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, "Dropout: a simple way
    to prevent neural networks from overfitting", Journal of Machine Learning Research 15.
    """

    def __init__(self, p: float = 0.5, at_test: bool = False) -> None:
        super().__init__()
        assert 0 <= p < 1, p
        self.p, self.at_test = p, at_test

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape, dtype and memory format."""
        if self.p == 0 or not (self.training or self.at_test):
            return values
        if values.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(values, self.p)
        return values * dropout_mask(values, self.p)

    def extra_repr(self) -> str:
        """Show the options in the printed network."""
        return f"p={self.p}, at_test=True" if self.at_test else f"p={self.p}"


def dropout_mask(values: Tensor, p: float) -> Tensor:
    """Return 0 with probability `p` and 1 / (1 - p) otherwise, in the layout of `values`."""
    dropped = round(p * 65536)
    bits = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    draws = bits.view(torch.int16)[: values.numel()]  # uniform over -32768 .. 32767
    mask = torch.empty_like(values)
    flat = mask.permute(0, 2, 3, 1) if _is_channels_last(values) else mask
    torch.ge(draws.view(flat.shape), dropped - 32768, out=flat)
    return mask.mul_(65536 / (65536 - dropped))


def _is_channels_last(values: Tensor) -> bool:
    return not values.is_contiguous() and values.is_contiguous(memory_format=torch.channels_last)
