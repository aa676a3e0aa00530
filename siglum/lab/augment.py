"""Changes made to training pictures, a batch at a time, that leave what they show what it is.

Each is `(images, generator) -> images` on float (B, C, H, W) in [0, 1], paper 0, ink 1.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from siglum.lab.handwriting import handwriting

Augmentation = Callable[[Tensor, Generator], Tensor]


def augment(
    images: Tensor, augmentations: Sequence[Augmentation], generator: Generator, channels: int
) -> Tensor:
    """Change the first `channels` of a batch; the planes behind them are no picture, and stay."""
    ink, planes = images[:, :channels], images[:, channels:]
    for augmentation in augmentations:
        ink = augmentation(ink, generator)
    return torch.cat([ink, planes], dim=1) if planes.shape[1] else ink


def affine(images: Tensor, generator: Generator) -> Tensor:
    """Turn by up to 8 degrees, scale each axis by up to 8 %, slant by 0.1, shift by 5 %."""
    return _affine(images, generator, turn=8, scale=0.08, slant=0.1, shift=0.05)


def strong_affine(images: Tensor, generator: Generator) -> Tensor:
    """Turn by up to 16 degrees, scale each axis by up to 18 %, slant by 0.3, shift by 6 %.

    For few pictures of many classes, cut out and centred (`fit` "glyph").
    """
    return _affine(images, generator, turn=16, scale=0.18, slant=0.3, shift=0.06)


def _affine(
    images: Tensor, generator: Generator, *, turn: float, scale: float, slant: float, shift: float
) -> Tensor:
    """Change each picture by draws of its own, in one `grid_sample` for the whole batch.

    Args:
        turn: degrees at most, either way.
        scale: of the logarithm of each axis.
        slant: px sideways a px upwards.
        shift: of the picture's side.
    """
    draw = _uniform(6, len(images), generator)
    turns, slants = draw[0] * math.radians(turn), draw[3] * slant
    scale_x, scale_y = torch.exp(draw[1] * scale), torch.exp(draw[2] * scale)
    right, down = draw[4] * (2 * shift), draw[5] * (2 * shift)  # 2 is the whole width
    cos, sin = turns.cos(), turns.sin()
    rows_x = torch.stack([cos * scale_x, (slants * cos - sin) * scale_x, right], dim=-1)
    rows_y = torch.stack([sin * scale_y, (slants * sin + cos) * scale_y, down], dim=-1)
    return _sample(images, torch.stack([rows_x, rows_y], dim=1))


def rotate(images: Tensor, generator: Generator) -> Tensor:
    """Turn every other picture, by chance, by up to 20 degrees: as published in report 1."""
    draw = _uniform(2, len(images), generator)
    turn = torch.where(draw[1] < 0, draw[0] * math.radians(20), 0.0)
    zero = torch.zeros_like(turn)
    rows_x = torch.stack([turn.cos(), -turn.sin(), zero], dim=-1)
    rows_y = torch.stack([turn.sin(), turn.cos(), zero], dim=-1)
    return _sample(images, torch.stack([rows_x, rows_y], dim=1))


def flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror every other picture, by chance, left to right: for things, not for characters."""
    mirrored = _uniform(1, len(images), generator)[0] < 0
    return torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(-1), images)


def crop(images: Tensor, generator: Generator) -> Tensor:
    """Shift by whole pixels, each way by up to a fourteenth of the side (2 px of 28)."""
    batch, _, height, width = images.shape
    most = max(1, round(width / 14))
    shifts = torch.randint(2 * most + 1, (2, batch, 1), generator=generator).to(images.device)
    rows = torch.arange(height, device=images.device) + shifts[0]  # (B, H) of the padded picture
    columns = torch.arange(width, device=images.device) + shifts[1]
    padded = F.pad(images, (most, most, most, most))
    each = torch.arange(batch, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def random_erasing(images: Tensor, generator: Generator) -> Tensor:
    """Make a rectangle of every other picture, by chance, paper: each side a tenth to a half.

    Source: Zhong, Zheng, Kang, Li, Yang 2017, "Random erasing data augmentation", arXiv:1708.04896,
    with paper for its random values.
    """
    batch, _, height, width = images.shape
    draw = torch.rand(5, batch, 1, generator=generator).to(images.device)
    inside = []
    for side, share, place in ((height, draw[0], draw[1]), (width, draw[2], draw[3])):
        length = (side * (0.1 + 0.4 * share)).round()
        start = ((side - length + 1) * place).floor()
        pixels = torch.arange(side, device=images.device)
        inside.append((pixels >= start) & (pixels < start + length))  # (B, side)
    chosen = (draw[4] < 0.5)[:, :, None] & inside[0][:, :, None] & inside[1][:, None]
    return images.masked_fill(chosen[:, None], 0)


def _uniform(count: int, batch: int, generator: Generator) -> Tensor:
    """Draw from [-1, 1): float32 (count, B)."""
    return torch.rand(count, batch, generator=generator) * 2 - 1


def _sample(images: Tensor, matrices: Tensor) -> Tensor:
    """Read each picture through its 2 x 3 matrix, from where a pixel goes to where it came from."""
    grid = F.affine_grid(matrices.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid.to(images.dtype), padding_mode="zeros", align_corners=False)


AUGMENTATIONS: dict[str, Augmentation] = {
    "affine": affine,
    "crop": crop,
    "random_erasing": random_erasing,
    "flip": flip,
    "rotate": rotate,
    "strong_affine": strong_affine,
    "handwriting": handwriting,
}
