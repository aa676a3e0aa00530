"""Augmentation that makes a printed character look handwritten, one batch at a time.

Each step has its own random strength for every image and applies to a random part of the batch.
Shapes: B images, S the side; ink is 1, paper 0.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Step = Callable[[Tensor, Generator], Tensor]

CELLS = 7  # per side of the elastic grid: coarse, so that strokes bend and do not tremble


def elastic(images: Tensor, generator: Generator) -> Tensor:
    """Apply a random affine map, perspective and elastic distortion in one resampling.

    Source: Simard, Steinkraus, Platt 2003, "Best practices for convolutional neural networks
    applied to visual document analysis" (elastic distortions); here with a coarse grid of shifts.
    """
    batch, size = len(images), images.shape[-1]
    strength = torch.rand(batch, generator=generator)
    draw = torch.randn(8, batch, generator=generator) * (0.35 + 0.65 * strength)
    angle, shear = draw[0] * math.radians(7), draw[1] * 0.16
    scale_x, scale_y = torch.exp(draw[2] * 0.11), torch.exp(draw[3] * 0.11)
    cos, sin = angle.cos(), angle.sin()
    rows_x = torch.stack([cos * scale_x, (shear * cos - sin) * scale_x, draw[4] * 0.06], dim=-1)
    rows_y = torch.stack([sin * scale_y, (shear * sin + cos) * scale_y, draw[5] * 0.06], dim=-1)
    grid = F.affine_grid(torch.stack([rows_x, rows_y], dim=1), [batch, 1, size, size], False)
    perspective = 1 + (draw[6:8].T[:, None, None] * 0.08 * grid).sum(
        dim=-1, keepdim=True
    )  # (B, S, S, 1)
    shifts = _upsample(torch.randn(batch, 2, CELLS, CELLS, generator=generator), size)
    amount = 0.14 * torch.rand(batch, 1, 1, 1, generator=generator)
    grid = grid * perspective + amount * shifts.permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def split(images: Tensor, generator: Generator) -> Tensor:
    """Shift the part beyond a random line, twice, like badly placed strokes."""
    batch, size = len(images), images.shape[-1]
    angle = 2 * math.pi * torch.rand(batch, 2, 1, 1, generator=generator)
    place = torch.rand(batch, 2, 1, 1, generator=generator) * 1.2 - 0.6
    sharp = 3 + 25 * torch.rand(batch, 2, 1, 1, generator=generator)
    axis = torch.linspace(-1, 1, size)
    across = angle.cos() * axis + angle.sin() * axis[:, None] - place  # (B, 2, S, S)
    shifts = 0.10 * torch.randn(batch, 2, 2, generator=generator)
    moves = torch.einsum("blyx,blc->byxc", torch.sigmoid(sharp * across) - 0.5, shifts)
    grid = F.affine_grid(torch.eye(2, 3).repeat(batch, 1, 1), list(images.shape), False)
    return F.grid_sample(images, grid + moves, padding_mode="zeros", align_corners=False)


def stroke_width(images: Tensor, generator: Generator) -> Tensor:
    """Make strokes wider or thinner: blur, then apply a random threshold."""
    size = images.shape[-1]
    blurred = _blur(images, size / 28)
    level = 0.18 + 0.40 * torch.rand(len(images), 1, 1, 1, generator=generator)
    sharp = 0.5 / level + 3 * torch.rand(len(images), 1, 1, 1, generator=generator)  # paper: 0
    # Strokes thinner than the blur never reach a fixed threshold: scale by the darkest pixel.
    top = blurred.amax(dim=(2, 3), keepdim=True).clamp_min(1e-3)
    return (blurred * (sharp / top) - level * sharp + 0.5).clamp(0, 1)


def pen_skips(images: Tensor, generator: Generator) -> Tensor:
    """Remove ink where a smooth random field is low, like a dry pen."""
    batch, size = len(images), images.shape[-1]
    field = _upsample(torch.randn(batch, 1, 10, 10, generator=generator), size)
    level = 0.45 + 0.5 * torch.rand(batch, 1, 1, 1, generator=generator)
    return images * ((field + level) * 5).clamp(0, 1)


def ghost(images: Tensor, generator: Generator) -> Tensor:
    """Draw every stroke a second time, slightly displaced."""
    batch = len(images)
    matrix = torch.eye(2, 3).repeat(batch, 1, 1)
    matrix += 0.05 * torch.randn(batch, 2, 3, generator=generator)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return torch.maximum(images, F.grid_sample(images, grid, align_corners=False))


def downscale(images: Tensor, generator: Generator) -> Tensor:
    """Shrink and enlarge, like a small or blurred photograph."""
    size = images.shape[-1]
    low = int(size * (0.4 + 0.35 * torch.rand(1, generator=generator).item()))
    eye = torch.eye(size)[None]
    down = F.interpolate(eye, low, mode="area")
    resize = F.interpolate(down, size, mode="linear", align_corners=False)[0]  # (S, S)
    return resize.T @ images @ resize


def cutout(images: Tensor, generator: Generator) -> Tensor:
    """Cover a strip with paper, or with ink near the edge, like a neighbour's stroke."""
    batch, size = len(images), images.shape[-1]
    angle = 2 * math.pi * torch.rand(batch, 1, 1, generator=generator)
    place = torch.rand(batch, 1, 1, generator=generator) * 2 - 1
    width = 0.04 + 0.08 * torch.rand(batch, 1, 1, generator=generator)
    axis = torch.linspace(-1, 1, size)
    across = angle.cos() * axis[None, None, :] + angle.sin() * axis[None, :, None] - place
    strip = (across.abs() < width)[:, None]
    ink = (torch.rand(batch, 1, 1, 1, generator=generator) < 0.3).float()
    edge = strip & (place.abs() > 0.75)[:, None]  # ink only near the edge; paper anywhere
    return torch.where(torch.where(ink > 0, edge, strip), ink, images)


def noise(images: Tensor, generator: Generator) -> Tensor:
    """Add grain and change the darkness of the ink."""
    batch = len(images)
    grain = torch.randn(images.shape, generator=generator)
    amount = 0.12 * torch.rand(batch, 1, 1, 1, generator=generator)
    power = torch.exp(0.5 * torch.randn(batch, 1, 1, 1, generator=generator))
    return (images.clamp_min(1e-4).pow(power) + amount * grain).clamp(0, 1)


def _apply_to_share(images: Tensor, generator: Generator, share: float, step: Step) -> Tensor:
    """Apply a step to a random share of the images."""
    selected = torch.rand(len(images), generator=generator) < share
    rows = selected.nonzero().flatten()
    if not len(rows):
        return images
    changed = images.clone()
    changed[rows] = step(images[rows], generator)
    return changed


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian of `sigma` px; paper surrounds the image."""
    place = torch.arange(images.shape[-1])
    weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
    weights /= sigma * math.sqrt(2 * math.pi)
    return weights @ images @ weights


def _upsample(cells: Tensor, size: int) -> Tensor:
    """Interpolate (B, C, G, G) to (B, C, S, S) with cubic B-splines."""
    grid = cells.shape[-1]
    place = torch.linspace(1, grid - 2, size)[:, None] - torch.arange(grid)
    near = place.abs()
    weights = torch.where(
        near < 1, 2 / 3 - near**2 + near**3 / 2, (2 - near).clamp_min(0) ** 3 / 6
    )  # (S, G)
    return weights @ cells @ weights.T


STEPS: tuple[tuple[Step, float], ...] = (  # and the share of images that each applies to
    (elastic, 1.0),
    (split, 0.5),
    (ghost, 0.15),
    (stroke_width, 0.75),
    (pen_skips, 0.20),
    (downscale, 0.15),
    (cutout, 0.10),
    (noise, 0.25),
)


def handwriting(
    images: Tensor, generator: Generator, steps: Sequence[tuple[Step, float]] = STEPS
) -> Tensor:
    """Apply `steps`, each to its share of the images: float32 (B, 1, S, S) in [0, 1]."""
    for step, share in steps:
        images = _apply_to_share(images, generator, share, step)
    return images
