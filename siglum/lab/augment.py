"""Augmentations of training images, one batch at a time.

Each is `(images, generator) -> images` on float (B, C, H, W) in [0, 1]; paper is 0, ink 1.
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
    """Augment the first `channels` of a batch; position channels do not change."""
    ink, planes = images[:, :channels], images[:, channels:]
    for augmentation in augmentations:
        ink = augmentation(ink, generator)
    return torch.cat([ink, planes], dim=1) if planes.shape[1] else ink


def affine(images: Tensor, generator: Generator) -> Tensor:
    """Rotate by up to 8 degrees, scale each axis by up to 8 %, shear by 0.1, shift by 5 %."""
    return _affine(images, generator, degrees=8, scale=0.08, shear=0.1, shift=0.05)


def strong_affine(images: Tensor, generator: Generator) -> Tensor:
    """Rotate by up to 16 degrees, scale each axis by up to 18 %, shear by 0.3, shift by 6 %.

    For few images of many classes, cropped to the ink (`resize` "glyph").
    """
    return _affine(images, generator, degrees=16, scale=0.18, shear=0.3, shift=0.06)


def _affine(
    images: Tensor,
    generator: Generator,
    *,
    degrees: float,
    scale: float,
    shear: float,
    shift: float,
) -> Tensor:
    """Apply a random affine map to each image, in one `grid_sample` for the batch.

    Args:
        degrees: largest rotation either way.
        scale: largest change of each axis' logarithm.
        shear: px sideways per px upwards.
        shift: share of the image's side.
    """
    draw = _uniform(6, len(images), generator)
    angles, shears = draw[0] * math.radians(degrees), draw[3] * shear
    scale_x, scale_y = torch.exp(draw[1] * scale), torch.exp(draw[2] * scale)
    right, down = draw[4] * (2 * shift), draw[5] * (2 * shift)  # 2 is the whole width
    cos, sin = angles.cos(), angles.sin()
    rows_x = torch.stack([cos * scale_x, (shears * cos - sin) * scale_x, right], dim=-1)
    rows_y = torch.stack([sin * scale_y, (shears * sin + cos) * scale_y, down], dim=-1)
    return _sample(images, torch.stack([rows_x, rows_y], dim=1))


def rotate(images: Tensor, generator: Generator) -> Tensor:
    """Rotate half of the images, at random, by up to 20 degrees: as published in report 1."""
    draw = _uniform(2, len(images), generator)
    angle = torch.where(draw[1] < 0, draw[0] * math.radians(20), 0.0)
    zero = torch.zeros_like(angle)
    rows_x = torch.stack([angle.cos(), -angle.sin(), zero], dim=-1)
    rows_y = torch.stack([angle.sin(), angle.cos(), zero], dim=-1)
    return _sample(images, torch.stack([rows_x, rows_y], dim=1))


def flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror half of the images, at random, left to right: for photographs, not characters."""
    mirrored = _uniform(1, len(images), generator)[0] < 0
    return torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(-1), images)


def crop(images: Tensor, generator: Generator) -> Tensor:
    """Shift by whole pixels, each way by up to a fourteenth of the side (2 px of 28)."""
    batch, _, height, width = images.shape
    margin = max(1, round(width / 14))
    shifts = torch.randint(2 * margin + 1, (2, batch, 1), generator=generator).to(images.device)
    rows = torch.arange(height, device=images.device) + shifts[0]  # (B, H) of the padded image
    columns = torch.arange(width, device=images.device) + shifts[1]
    padded = F.pad(images, (margin,) * 4)
    index = torch.arange(batch, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def random_erasing(images: Tensor, generator: Generator) -> Tensor:
    """Erase a rectangle of half of the images, at random: each side is a tenth to a half.

    Source: Zhong, Zheng, Kang, Li, Yang 2017, "Random erasing data augmentation", arXiv:1708.04896,
    with paper instead of random values.
    """
    batch, _, height, width = images.shape
    draw = torch.rand(5, batch, 1, generator=generator).to(images.device)
    inside = []
    for side, share, position in ((height, draw[0], draw[1]), (width, draw[2], draw[3])):
        length = (side * (0.1 + 0.4 * share)).round()
        start = ((side - length + 1) * position).floor()
        pixels = torch.arange(side, device=images.device)
        inside.append((pixels >= start) & (pixels < start + length))  # (B, side)
    erased = (draw[4] < 0.5)[:, :, None] & inside[0][:, :, None] & inside[1][:, None]
    return images.masked_fill(erased[:, None], 0)


def _uniform(count: int, batch: int, generator: Generator) -> Tensor:
    """Draw from [-1, 1): float32 (count, B)."""
    return torch.rand(count, batch, generator=generator) * 2 - 1


def _sample(images: Tensor, matrices: Tensor) -> Tensor:
    """Resample each image by its 2 x 3 matrix, which maps output to input coordinates."""
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
