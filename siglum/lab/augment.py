"""Changes made to training pictures, a batch at a time, that leave a character what it is.

Each is `(images, generator) -> images` on float (B, C, H, W) in [0, 1], paper 0, ink 1.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Augmentation = Callable[[Tensor, Generator], Tensor]


def affine(images: Tensor, generator: Generator) -> Tensor:
    """Turn by up to 8 degrees, scale each axis by up to 8 %, slant by 0.1, shift by 5 %.

    One `grid_sample` for the whole batch, with a draw of its own for every picture.
    """
    draw = _uniform(6, len(images), generator)
    turn = draw[0] * math.radians(8)
    scale_x, scale_y = torch.exp(draw[1] * 0.08), torch.exp(draw[2] * 0.08)
    slant, right, down = draw[3] * 0.1, draw[4] * 0.1, draw[5] * 0.1  # 2 is the whole width
    cos, sin = turn.cos(), turn.sin()
    rows_x = torch.stack([cos * scale_x, (slant * cos - sin) * scale_x, right], dim=-1)
    rows_y = torch.stack([sin * scale_y, (slant * sin + cos) * scale_y, down], dim=-1)
    return _sample(images, torch.stack([rows_x, rows_y], dim=1))


def rotate(images: Tensor, generator: Generator) -> Tensor:
    """Turn every other picture, by chance, by up to 20 degrees: as published in report 1."""
    draw = _uniform(2, len(images), generator)
    turn = torch.where(draw[1] < 0, draw[0] * math.radians(20), 0.0)
    zero = torch.zeros_like(turn)
    rows_x = torch.stack([turn.cos(), -turn.sin(), zero], dim=-1)
    rows_y = torch.stack([turn.sin(), turn.cos(), zero], dim=-1)
    return _sample(images, torch.stack([rows_x, rows_y], dim=1))


def _uniform(count: int, batch: int, generator: Generator) -> Tensor:
    """Draw from [-1, 1): float32 (count, B)."""
    return torch.rand(count, batch, generator=generator) * 2 - 1


def _sample(images: Tensor, matrices: Tensor) -> Tensor:
    """Read each picture through its 2 x 3 matrix, from where a pixel goes to where it came from."""
    grid = F.affine_grid(matrices.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid.to(images.dtype), padding_mode="zeros", align_corners=False)


AUGMENTATIONS: dict[str, Augmentation] = {"affine": affine, "rotate": rotate}
