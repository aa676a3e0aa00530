"""Augmentations of training images, one batch at a time.

Each is `(images, generator) -> images` on float (B, C, S, S) in [0, 1]; paper is 0, ink 1.
`handwriting` makes a printed character look handwritten, in steps.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Augmentation = Callable[[Tensor, Generator], Tensor]

CELLS = 7  # per side of the elastic grid: coarse, so that strokes bend and do not tremble


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
    images: Tensor, generator: Generator, degrees: float, scale: float, shear: float, shift: float
) -> Tensor:
    draw = _uniform(6, len(images), generator)
    grid = _affine_grid(
        images,
        angle=draw[0] * math.radians(degrees),
        scales=torch.exp(draw[1:3] * scale),  # of the axes
        shear=draw[3] * shear,  # px sideways per px upwards
        shifts=draw[4:6] * (2 * shift),  # 2 is the whole side
    )
    return _sample(images, grid)


def rotate(images: Tensor, generator: Generator) -> Tensor:
    """Rotate half of the images, at random, by up to 20 degrees: as published in report 1."""
    draw = _uniform(2, len(images), generator)
    angle = torch.where(draw[1] < 0, draw[0] * math.radians(20), 0.0)
    zeros = torch.zeros(2, len(images))
    return _sample(images, _affine_grid(images, angle, zeros + 1, zeros[0], zeros))


def flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror half of the images, at random, left to right: for photographs, not characters."""
    mirrored = _uniform(1, len(images), generator)[0] < 0
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


def elastic(images: Tensor, generator: Generator) -> Tensor:
    """Apply a random affine map, perspective and elastic distortion in one resampling.

    Source: Simard, Steinkraus, Platt 2003, "Best practices for convolutional neural networks
    applied to visual document analysis" (elastic distortions); here with a coarse grid of shifts.
    """
    batch, size = len(images), images.shape[-1]
    strength = torch.rand(batch, generator=generator)
    draw = torch.randn(8, batch, generator=generator) * (0.35 + 0.65 * strength)
    grid = _affine_grid(
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
    return _sample(images, grid * perspective + amount * shifts.permute(0, 2, 3, 1))


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
    return _sample(images, grid + moves)


def ghost(images: Tensor, generator: Generator) -> Tensor:
    """Draw every stroke a second time, slightly displaced."""
    batch = len(images)
    matrix = torch.eye(2, 3).repeat(batch, 1, 1)
    matrix += 0.05 * torch.randn(batch, 2, 3, generator=generator)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return torch.maximum(images, _sample(images, grid))


def stroke_width(images: Tensor, generator: Generator) -> Tensor:
    """Make strokes wider or thinner: blur, then apply a random threshold."""
    size = images.shape[-1]
    sigma = size / 28  # px
    position = torch.arange(size)
    weights = torch.exp(-((position[:, None] - position) ** 2) / (2 * sigma**2))
    weights /= sigma * math.sqrt(2 * math.pi)
    blurred = weights @ images @ weights
    level = 0.18 + 0.40 * _random(images, generator)
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


HANDWRITING: dict[Augmentation, float] = {  # steps, and the share of images that each applies to
    elastic: 1.0,
    split: 0.5,
    ghost: 0.15,
    stroke_width: 0.75,
    pen_skips: 0.20,
    downscale: 0.15,
    cutout: 0.10,
    noise: 0.25,
}


def handwriting(images: Tensor, generator: Generator) -> Tensor:
    """Apply the steps of `HANDWRITING`, each to a random share of the images (B, 1, S, S)."""
    for step, share in HANDWRITING.items():
        rows = (torch.rand(len(images), generator=generator) < share).nonzero().flatten()
        if len(rows):
            images = images.index_copy(0, rows, step(images[rows], generator))
    return images


def _uniform(count: int, batch: int, generator: Generator) -> Tensor:
    """Draw from [-1, 1): float32 (count, B)."""
    return torch.rand(count, batch, generator=generator) * 2 - 1


def _random(images: Tensor, generator: Generator) -> Tensor:
    """Draw a number of [0, 1) for each image: float32 (B, 1, 1, 1)."""
    return torch.rand(len(images), 1, 1, 1, generator=generator)


def _affine_grid(
    images: Tensor, angle: Tensor, scales: Tensor, shear: Tensor, shifts: Tensor
) -> Tensor:
    """Return the input position (B, S, S, 2) of each pixel; angle and shear (B,), others (2, B)."""
    cos, sin = angle.cos(), angle.sin()
    rows_x = torch.stack([cos * scales[0], (shear * cos - sin) * scales[0], shifts[0]], dim=-1)
    rows_y = torch.stack([sin * scales[1], (shear * sin + cos) * scales[1], shifts[1]], dim=-1)
    return F.affine_grid(torch.stack([rows_x, rows_y], dim=1), list(images.shape), False)


def _sample(images: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def _upsample(cells: Tensor, size: int) -> Tensor:
    """Interpolate (B, C, G, G) to (B, C, S, S) with cubic B-splines."""
    grid = cells.shape[-1]
    near = (torch.linspace(1, grid - 2, size)[:, None] - torch.arange(grid)).abs()
    weights = torch.where(
        near < 1, 2 / 3 - near**2 + near**3 / 2, (2 - near).clamp_min(0) ** 3 / 6
    )  # (S, G)
    return weights @ cells @ weights.T


AUGMENTATIONS: dict[str, Augmentation] = {
    "affine": affine,
    "crop": crop,
    "random_erasing": random_erasing,
    "flip": flip,
    "rotate": rotate,
    "strong_affine": strong_affine,
    "handwriting": handwriting,
}
