"""Augmentation that makes a printed character look handwritten, one batch at a time.

Each step applies to a random part of the batch; all but `downscale` draw a strength per image.
Shapes: B images, S the side; ink is 1, paper 0.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from siglum.lab.augment import AUGMENTATIONS, Augmentation, affine_grid, resample

BLUR = 1.5  # px at most, where strokes change: 3.5 px is their width in a large frame
CELLS = 7  # per side of the elastic grid: coarse, so that strokes bend and do not tremble


def elastic(images: Tensor, generator: Generator) -> Tensor:
    """Apply a random affine map, perspective and elastic distortion in one resampling.

    Source: Simard, Steinkraus, Platt 2003, "Best practices for convolutional neural networks
    applied to visual document analysis" (elastic distortions); here with a coarse grid of shifts.
    """
    batch, size = len(images), images.shape[-1]
    strength = torch.rand(batch, generator=generator)
    draw = torch.randn(8, batch, generator=generator) * (0.35 + 0.65 * strength)
    grid = affine_grid(
        images,
        angle=draw[0] * math.radians(7),
        scales=torch.exp(draw[2:4] * 0.11),
        shear=draw[1] * 0.16,
        shifts=draw[4:6] * 0.06,
    )
    tilt = draw[6:8].T[:, None, None] * 0.08  # (B, 1, 1, 2)
    perspective = 1 + (tilt * grid).sum(dim=-1, keepdim=True)  # (B, S, S, 1)
    shifts = _upsample(torch.randn(batch, 2, CELLS, CELLS, generator=generator), size)
    amount = 0.14 * _random(images, generator)
    return resample(images, grid * perspective + amount * shifts.permute(0, 2, 3, 1))


def split(images: Tensor, generator: Generator) -> Tensor:
    """Shift the part beyond a random line, twice, like badly placed strokes."""
    batch, size = len(images), images.shape[-1]
    angle = 2 * math.pi * torch.rand(batch, 2, 1, 1, generator=generator)
    position = torch.rand(batch, 2, 1, 1, generator=generator) * 1.2 - 0.6
    sharp = 3 + 25 * torch.rand(batch, 2, 1, 1, generator=generator)
    axis = torch.linspace(-1, 1, size)
    across = angle.cos() * axis + angle.sin() * axis[:, None] - position  # (B, 2, S, S)
    shifts = 0.10 * torch.randn(batch, 2, 2, generator=generator)
    moves = torch.einsum("blyx,blc->byxc", torch.sigmoid(sharp * across) - 0.5, shifts)
    grid = F.affine_grid(torch.eye(2, 3).repeat(batch, 1, 1), list(images.shape), False)
    return resample(images, grid + moves)


def ghost(images: Tensor, generator: Generator) -> Tensor:
    """Draw every stroke a second time, slightly displaced."""
    batch = len(images)
    matrix = torch.eye(2, 3).repeat(batch, 1, 1)
    matrix += 0.05 * torch.randn(batch, 2, 3, generator=generator)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return torch.maximum(images, resample(images, grid))


def stroke_width(images: Tensor, generator: Generator) -> Tensor:
    """Make strokes wider or thinner: blur, then apply a random threshold."""
    size = images.shape[-1]
    sigma = min(size / 28, BLUR)
    position = torch.arange(size)
    weights = torch.exp(-((position[:, None] - position) ** 2) / (2 * sigma**2))
    weights /= sigma * math.sqrt(2 * math.pi)
    blurred = weights @ images @ weights
    level = 0.26 + 0.34 * _random(images, generator)
    sharp = 0.5 / level + 3 * _random(images, generator)  # paper: 0
    # Strokes thinner than the blur never reach a fixed threshold: scale by the darkest pixel.
    top = blurred.amax(dim=(2, 3), keepdim=True).clamp_min(1e-3)
    return (blurred * (sharp / top) - level * sharp + 0.5).clamp(0, 1)


def pen_skips(images: Tensor, generator: Generator) -> Tensor:
    """Remove ink where a smooth random field is low, like a dry pen."""
    cells = torch.randn(len(images), 1, 10, 10, generator=generator)
    level = 0.45 + 0.5 * _random(images, generator)
    return images * ((_upsample(cells, images.shape[-1]) + level) * 5).clamp(0, 1)


def downscale(images: Tensor, generator: Generator) -> Tensor:
    """Shrink and enlarge, like a small or blurred photograph."""
    size = images.shape[-1]
    low = int(size * (0.4 + 0.35 * torch.rand(1, generator=generator).item()))
    down = F.interpolate(torch.eye(size)[None], low, mode="area")
    resize = F.interpolate(down, size, mode="linear", align_corners=False)[0]  # (S, S)
    return resize.T @ images @ resize


def cutout(images: Tensor, generator: Generator) -> Tensor:
    """Cover a strip with paper, or with ink near the edge, like a neighbour's stroke."""
    angle = 2 * math.pi * _random(images, generator)
    position = _random(images, generator) * 2 - 1
    width = 0.04 + 0.08 * _random(images, generator)
    axis = torch.linspace(-1, 1, images.shape[-1])
    strip = (angle.cos() * axis + angle.sin() * axis[:, None] - position).abs() < width
    ink = (_random(images, generator) < 0.3).float()
    edge = strip & (position.abs() > 0.75)  # ink only near the edge; paper anywhere
    return torch.where(torch.where(ink > 0, edge, strip), ink, images)


def noise(images: Tensor, generator: Generator) -> Tensor:
    """Add grain and change the darkness of the ink."""
    grain = torch.randn(images.shape, generator=generator)
    amount = 0.12 * _random(images, generator)
    power = torch.exp(0.5 * torch.randn(len(images), 1, 1, 1, generator=generator))
    return (images.clamp_min(1e-4).pow(power) + amount * grain).clamp(0, 1)


STEPS: dict[Augmentation, float] = {  # steps, and the share of images that each applies to
    elastic: 1.0,
    split: 0.5,
    ghost: 0.15,
    stroke_width: 0.5,
    pen_skips: 0.20,
    downscale: 0.15,
    cutout: 0.10,
    noise: 0.25,
}


def handwriting(images: Tensor, generator: Generator, plain: float = 0.0) -> Tensor:
    """Apply the steps of `STEPS`, each to a random share of the images (B, 1, S, S).

    Args:
        plain: share of images that are only turned, scaled, slanted and shifted instead.
    """
    if plain:
        few = torch.rand(len(images), generator=generator) < plain
        simple = AUGMENTATIONS["strong_affine"](images[few], generator)
        images = images.index_copy(0, few.nonzero().flatten(), simple)
        rest = (~few).nonzero().flatten()
        return images.index_copy(0, rest, handwriting(images[rest], generator))
    for step, share in STEPS.items():
        rows = (torch.rand(len(images), generator=generator) < share).nonzero().flatten()
        if len(rows):
            images = images.index_copy(0, rows, step(images[rows], generator))
    return images


def _random(images: Tensor, generator: Generator) -> Tensor:
    """Draw a number of [0, 1) for each image: float32 (B, 1, 1, 1)."""
    return torch.rand(len(images), 1, 1, 1, generator=generator)


def _upsample(cells: Tensor, size: int) -> Tensor:
    """Interpolate (B, C, G, G) to (B, C, S, S) with cubic B-splines."""
    grid = cells.shape[-1]
    near = (torch.linspace(1, grid - 2, size)[:, None] - torch.arange(grid)).abs()
    weights = torch.where(
        near < 1, 2 / 3 - near**2 + near**3 / 2, (2 - near).clamp_min(0) ** 3 / 6
    )  # (S, G)
    return weights @ cells @ weights.T
