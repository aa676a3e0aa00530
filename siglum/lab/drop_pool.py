"""Dropout, ReLU and 2 x 2 max pooling in one pass over the values.

Written apart, the three read and write the largest maps of a network eight times and draw one
random number a value; at 200 x 200 that is more than half of a training step. Here it is one pass
each way (`loops.py`). ReLU may come after the maximum, since both it and dropout keep the order of
what is not dropped.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

WHOLE = {torch.bfloat16: torch.int16, torch.float32: torch.int32}  # numbers of the same width


class DropPool(nn.Module):
    """What `MaxPool2d(2)(Dropout(p)(ReLU(images)))` computes.

    Each value is dropped with probability `p`, to within 1 / 131072 (16 bits decide), independently
    of the others; the others are scaled by the exact inverse of the share kept. Follows
    `torch.manual_seed`. On a GPU, and in other precisions, torch's own layers are used.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        assert 0 <= p < 1, p
        self.p = p

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H // 2, W // 2)."""
        if not self.training:
            return F.relu(F.max_pool2d(images, 2))
        if images.device.type != "cpu" or images.dtype not in WHOLE:
            return F.relu(F.max_pool2d(F.dropout(images, self.p), 2))
        pooled: Tensor = _DropPool.apply(images, self.p)
        return pooled

    def extra_repr(self) -> str:
        """Show `p` in the printed network."""
        return f"p={self.p}"


class _DropPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, p: float) -> Tensor:
        from siglum.lab import loops  # late: numba takes half a second to import

        batch, channels, height, width = ctx.shape = images.shape
        dropped = round(p * 65536)
        ctx.scale = 65536 / (65536 - dropped)
        pooled = _channels_last(batch, channels, height // 2, width // 2, images)
        ctx.route = np.empty((batch, height // 2, width // 2, channels), np.int8)
        seed = int(torch.randint(2**63 - 1, ()))
        loops.pool(_whole(images), _whole(pooled), ctx.route, np.uint64(seed), dropped - 32768)
        return pooled.mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        from siglum.lab import loops

        gradient = gradients[0] * ctx.scale
        batch, channels, height, width = ctx.shape
        back = _channels_last(batch, channels, height, width, gradient)
        if height % 2 or width % 2:
            back.zero_()  # the last row or column was in no window
        loops.unpool(_whole(gradient), ctx.route, _whole(back))
        return back, None


def _channels_last(batch: int, channels: int, height: int, width: int, like: Tensor) -> Tensor:
    """Return an empty tensor with the channels innermost, whatever the sizes."""
    strides = (height * width * channels, 1, width * channels, channels)
    return torch.empty_strided(
        (batch, channels, height, width), strides, dtype=like.dtype, device=like.device
    )


def _whole(images: Tensor) -> NDArray[np.signedinteger]:
    """Return the bits of (B, C, H, W) as whole numbers (B, H, W, C), in the same memory if laid so.

    Floating-point numbers above zero order as their bits do, and those below have negative bits.
    """
    inner = images.permute(0, 2, 3, 1).contiguous()
    return inner.view(WHOLE[images.dtype]).numpy()
