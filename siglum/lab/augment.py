"""Augmentations of training images, one batch at a time.

Each is `(images, generator) -> images` on float (B, C, S, S) in [0, 1]; paper is 0, ink 1.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Augmentation = Callable[[Tensor, Generator], Tensor]


def augment(
    images: Tensor, augmentations: Sequence[Augmentation], generator: Generator, channels: int
) -> Tensor:
    """Augment the first `channels` of a batch; position channels do not change."""
    ink, planes = images[:, :channels], images[:, channels:]
    for augmentation in augmentations:
        ink = augmentation(ink, generator)
    return torch.cat([ink, planes], dim=1) if planes.shape[1] else ink


def affine(
    images: Tensor, generator: Generator, degrees: float, scale: float, shear: float, shift: float
) -> Tensor:
    """Rotate, scale each axis, shear and shift by random amounts within limits.

    `shear` is px sideways per px upwards, `shift` a share of the side.
    """
    draw = torch.rand(6, len(images), generator=generator) * 2 - 1
    grid = affine_grid(
        images,
        angle=draw[0] * math.radians(degrees),
        scales=torch.exp(draw[1:3] * scale),
        shear=draw[3] * shear,
        shifts=draw[4:6] * (2 * shift),  # 2 is the whole side
    )
    return resample(images, grid)


def rotate(images: Tensor, generator: Generator) -> Tensor:
    """Rotate half of the images, at random, by up to 20 degrees: as published in report 1."""
    draw = torch.rand(2, len(images), generator=generator) * 2 - 1
    angle = torch.where(draw[1] < 0, draw[0] * math.radians(20), 0.0)
    zeros = torch.zeros(2, len(images))
    return resample(images, affine_grid(images, angle, zeros + 1, zeros[0], zeros))


def flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror half of the images, at random, left to right: for photographs, not characters."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def crop(images: Tensor, generator: Generator) -> Tensor:
    """Shift by whole pixels, each way by up to a fourteenth of the side (2 px of 28)."""
    batch, _, height, width = images.shape
    margin = max(1, round(width / 14))
    shifts = torch.randint(2 * margin + 1, (2, batch, 1), generator=generator)
    rows = torch.arange(height) + shifts[0]  # (B, H) of the padded image
    columns = torch.arange(width) + shifts[1]
    padded = F.pad(images, (margin,) * 4)
    index = torch.arange(batch)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def random_erasing(images: Tensor, generator: Generator) -> Tensor:
    """Erase a rectangle of half of the images, at random: each side is a tenth to a half.

    Source: Zhong, Zheng, Kang, Li, Yang 2017, "Random erasing data augmentation", arXiv:1708.04896,
    with paper instead of random values.
    """
    batch, _, height, width = images.shape
    draw = torch.rand(5, batch, 1, generator=generator)
    inside = []
    for side, share, position in ((height, draw[0], draw[1]), (width, draw[2], draw[3])):
        length = (side * (0.1 + 0.4 * share)).round()
        start = ((side - length + 1) * position).floor()
        pixels = torch.arange(side)
        inside.append((pixels >= start) & (pixels < start + length))  # (B, side)
    erased = (draw[4] < 0.5)[:, :, None] & inside[0][:, :, None] & inside[1][:, None]
    return images.masked_fill(erased[:, None], 0)


def affine_grid(
    images: Tensor, angle: Tensor, scales: Tensor, shear: Tensor, shifts: Tensor
) -> Tensor:
    """Return the input position (B, S, S, 2) of each pixel; angle and shear (B,), others (2, B)."""
    cos, sin = angle.cos(), angle.sin()
    rows_x = torch.stack([cos * scales[0], (shear * cos - sin) * scales[0], shifts[0]], dim=-1)
    rows_y = torch.stack([sin * scales[1], (shear * sin + cos) * scales[1], shifts[1]], dim=-1)
    return F.affine_grid(torch.stack([rows_x, rows_y], dim=1), list(images.shape), False)


def resample(images: Tensor, grid: Tensor) -> Tensor:
    """Sample images at the positions of a grid (B, S, S, 2); paper surrounds them."""
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


AUGMENTATIONS: dict[str, Augmentation] = {
    "affine": partial(affine, degrees=8, scale=0.08, shear=0.1, shift=0.05),
    "crop": crop,
    "random_erasing": random_erasing,
    "flip": flip,
    "rotate": rotate,
    # For few images of many classes, cropped to the ink (`resize` glyph).
    "strong_affine": partial(affine, degrees=16, scale=0.18, shear=0.3, shift=0.06),
}
