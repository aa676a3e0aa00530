"""Changes that make a printed character look written, a batch at a time.

Each picture draws its own amounts: a few are hardly changed, some are changed in many ways. What is
drawn by the batch alone is which pictures a change reaches.
Shapes: B pictures, S the side; ink is 1, paper 0.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Change = Callable[[Tensor, Generator], Tensor]

CELLS = 7  # of the bending grid, a side, its edge included: strokes bend, they do not tremble


def elastic(images: Tensor, generator: Generator) -> Tensor:
    """Turn, slant, stretch, shift, lean in perspective and bend, in one resampling.

    Source: Simard, Steinkraus, Platt 2003, "Best practices for convolutional neural networks
    applied to visual document analysis" (elastic distortions); here a downscale grid of shifts.
    """
    batch, size = len(images), images.shape[-1]
    strength = torch.rand(batch, generator=generator)
    draw = torch.randn(8, batch, generator=generator) * (0.35 + 0.65 * strength)
    turn, slant = draw[0] * math.radians(7), draw[1] * 0.16
    scale_x, scale_y = torch.exp(draw[2] * 0.11), torch.exp(draw[3] * 0.11)
    cos, sin = turn.cos(), turn.sin()
    rows_x = torch.stack([cos * scale_x, (slant * cos - sin) * scale_x, draw[4] * 0.06], dim=-1)
    rows_y = torch.stack([sin * scale_y, (slant * sin + cos) * scale_y, draw[5] * 0.06], dim=-1)
    grid = F.affine_grid(torch.stack([rows_x, rows_y], dim=1), [batch, 1, size, size], False)
    lean = 1 + (draw[6:8].T[:, None, None] * 0.08 * grid).sum(dim=-1, keepdim=True)  # (B, S, S, 1)
    shifts = _spread(torch.randn(batch, 2, CELLS, CELLS, generator=generator), size)
    amount = 0.14 * torch.rand(batch, 1, 1, 1, generator=generator)
    grid = grid * lean + amount * shifts.permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def split(images: Tensor, generator: Generator) -> Tensor:
    """Move what lies beyond a line, twice, as strokes go astray that are drawn one by one."""
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
    """Make strokes wider or thinner: blur, then cut at a level of each picture's own."""
    size = images.shape[-1]
    blurred = _blur(images, size / 28)
    level = 0.18 + 0.40 * torch.rand(len(images), 1, 1, 1, generator=generator)
    sharp = 0.5 / level + 3 * torch.rand(len(images), 1, 1, 1, generator=generator)  # paper: 0
    # Strokes thinner than the blur never reach a level: the level follows each picture's darkest.
    top = blurred.amax(dim=(2, 3), keepdim=True).clamp_min(1e-3)
    return (blurred * (sharp / top) - level * sharp + 0.5).clamp(0, 1)


def pen_skips(images: Tensor, generator: Generator) -> Tensor:
    """Take ink away where a smooth random field is low, as a dry pen does."""
    batch, size = len(images), images.shape[-1]
    field = _spread(torch.randn(batch, 1, 10, 10, generator=generator), size)
    level = 0.45 + 0.5 * torch.rand(batch, 1, 1, 1, generator=generator)
    return images * ((field + level) * 5).clamp(0, 1)


def ghost(images: Tensor, generator: Generator) -> Tensor:
    """Draw every stroke a second time, a little elsewhere."""
    batch = len(images)
    matrix = torch.eye(2, 3).repeat(batch, 1, 1)
    matrix += 0.05 * torch.randn(batch, 2, 3, generator=generator)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return torch.maximum(images, F.grid_sample(images, grid, align_corners=False))


def downscale(images: Tensor, generator: Generator) -> Tensor:
    """Shrink and enlarge again, as small or blurred pictures come out."""
    size = images.shape[-1]
    low = int(size * (0.4 + 0.35 * torch.rand(1, generator=generator).item()))
    eye = torch.eye(size)[None]
    down = F.interpolate(eye, low, mode="area")
    through = F.interpolate(down, size, mode="linear", align_corners=False)[0]  # (S, S)
    return through.T @ images @ through


def cutout(images: Tensor, generator: Generator) -> Tensor:
    """Lay a strip of paper or of ink over a part: something cut off, or a neighbour's stroke."""
    batch, size = len(images), images.shape[-1]
    angle = 2 * math.pi * torch.rand(batch, 1, 1, generator=generator)
    place = torch.rand(batch, 1, 1, generator=generator) * 2 - 1
    width = 0.04 + 0.08 * torch.rand(batch, 1, 1, generator=generator)
    axis = torch.linspace(-1, 1, size)
    across = angle.cos() * axis[None, None, :] + angle.sin() * axis[None, :, None] - place
    strip = (across.abs() < width)[:, None]
    ink = (torch.rand(batch, 1, 1, 1, generator=generator) < 0.3).float()
    edge = strip & (place.abs() > 0.75)[:, None]  # ink lies at the rim; paper anywhere
    return torch.where(torch.where(ink > 0, edge, strip), ink, images)


def noise(images: Tensor, generator: Generator) -> Tensor:
    """Add grain and change how dark the ink is."""
    batch = len(images)
    grain = torch.randn(images.shape, generator=generator)
    amount = 0.12 * torch.rand(batch, 1, 1, 1, generator=generator)
    power = torch.exp(0.5 * torch.randn(batch, 1, 1, 1, generator=generator))
    return (images.clamp_min(1e-4).pow(power) + amount * grain).clamp(0, 1)


def _some(images: Tensor, generator: Generator, share: float, change: Change) -> Tensor:
    """Change a random share of the pictures, and leave the others."""
    chosen = torch.rand(len(images), generator=generator) < share
    rows = chosen.nonzero().flatten()
    if not len(rows):
        return images
    changed = images.clone()
    changed[rows] = change(images[rows], generator)
    return changed


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian of `sigma` px; beyond the edge there is paper."""
    place = torch.arange(images.shape[-1])
    weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
    weights /= sigma * math.sqrt(2 * math.pi)
    return weights @ images @ weights


def _spread(cells: Tensor, size: int) -> Tensor:
    """Spread (B, C, G, G) smoothly over (B, C, S, S), by cubic B-splines with an edge to spare."""
    grid = cells.shape[-1]
    place = torch.linspace(1, grid - 2, size)[:, None] - torch.arange(grid)
    near = place.abs()
    weights = torch.where(
        near < 1, 2 / 3 - near**2 + near**3 / 2, (2 - near).clamp_min(0) ** 3 / 6
    )  # (S, G)
    return weights @ cells @ weights.T


CHANGES: tuple[tuple[Change, float], ...] = (  # and the share of pictures that each reaches
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
    images: Tensor, generator: Generator, changes: Sequence[tuple[Change, float]] = CHANGES
) -> Tensor:
    """Bend, part, thicken, thin, break, double, blur and soil: float32 (B, 1, S, S) in [0, 1]."""
    for change, share in changes:
        images = _some(images, generator, share, change)
    return images
