"""Dropout whose random numbers do not cost more than the network.

torch draws one number a value, on one thread: in a small network a quarter of the step. Here one
64-bit draw decides four values.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Module):
    """Set each value to 0 with probability `p`, and scale the others so that the mean stays.

    With `at_test` it does so in evaluation as well, which is wrong and at times what was published.

    What is computed is `torch.nn.Dropout`'s: values are dropped independently of each other. The
    probability is met to within 1 / 131072 (16 bits decide), and the scale is exact for the
    probability really used. Follows `torch.manual_seed`. On a GPU torch's own is quick and used.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, "Dropout: a simple way
    to prevent neural networks from overfitting", Journal of Device Learning Research 15.
    """

    def __init__(self, p: float = 0.5, at_test: bool = False) -> None:
        super().__init__()
        assert 0 <= p < 1, p
        self.p, self.at_test = p, at_test

    def forward(self, images: Tensor) -> Tensor:
        """Return values of the same shape, dtype and memory layout; usually all in evaluation."""
        if self.p == 0 or not (self.training or self.at_test):
            return images
        if images.device.type != "cpu":
            return F.dropout(images, self.p)
        return images * keep_mask(images, self.p)

    def extra_repr(self) -> str:
        """Show what is set in the printed network."""
        return f"p={self.p}, at_test=True" if self.at_test else f"p={self.p}"


def keep_mask(like: Tensor, p: float) -> Tensor:
    """Return 0 with probability `p` and 1 / (1 - p) otherwise, in the layout of `like`."""
    dropped = round(p * 65536)
    seed = int(torch.randint(2**63 - 1, ()))
    raw = np.random.SFC64(seed).random_raw(-(-like.numel() // 4)).view(np.int16)
    draws = torch.from_numpy(raw[: like.numel()])  # uniform over -32768 .. 32767
    if like.is_contiguous():
        draws = draws.view(like.shape)
    elif like.is_contiguous(memory_format=torch.channels_last):
        batch, channels, height, width = like.shape
        draws = draws.view(batch, height, width, channels).permute(0, 3, 1, 2)
    else:
        draws = draws.view(like.shape)
    return (draws >= dropped - 32768).to(like.dtype).mul_(65536 / (65536 - dropped))
