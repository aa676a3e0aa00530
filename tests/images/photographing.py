"""Drawings by code, and what cameras, papers and pens do to them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Picture = NDArray[np.uint8]

SIGNS = {  # polylines in a unit square, x before y
    "zed": [[(0.2, 0.1), (0.8, 0.15), (0.25, 0.85), (0.85, 0.9)]],
    "four": [[(0.6, 0.9), (0.6, 0.1), (0.15, 0.65), (0.85, 0.62)]],
    "eta": [[(0.2, 0.2), (0.3, 0.7)], [(0.25, 0.4), (0.6, 0.15), (0.75, 0.4), (0.7, 0.95)]],
    "i": [[(0.5, 0.35), (0.5, 0.9)], [(0.5, 0.12), (0.5, 0.14)]],
}


def coverage(
    sign: str,
    side: int = 160,
    *,
    stroke: float = 0.05,
    height: int = 0,
    width: int = 0,
    column: int | None = None,
    row: int | None = None,
) -> NDArray[np.float64]:
    """Draw a sign of `side` px: how much of each pixel is ink, (H, W), in [0, 1]."""
    height, width = height or 2 * side, width or 2 * side
    left = (width - side) // 2 if column is None else column
    top = (height - side) // 2 if row is None else row
    fine = 4
    image = Image.new("L", (fine * width, fine * height))
    draw = ImageDraw.Draw(image)
    radius = fine * side * stroke / 2
    for line in SIGNS[sign]:
        points = [(fine * (left + side * x), fine * (top + side * y)) for x, y in line]
        draw.line(points, fill=255, width=max(1, round(2 * radius)))
        for x, y in points:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(image.reduce(fine)) / 255


def on_paper(
    ink: NDArray[np.float64],
    paper: tuple[float, ...] = (255, 255, 255),
    pen: tuple[float, ...] = (0, 0, 0),
    light: NDArray[np.float64] | float = 1.0,
    grain: float = 0.0,
    seed: int = 0,
) -> Picture:
    """Lay ink (H, W) on paper in some light: uint8 (3, H, W)."""
    noise = np.random.RandomState(seed).normal(0, grain, ink.shape) if grain else 0.0
    planes = [light * ((1 - ink) * p + ink * q) + noise for p, q in zip(paper, pen, strict=True)]
    return np.clip(np.rint(np.stack(planes)), 0, 255).astype(np.uint8)


def gradient(shape: tuple[int, int], darkest: float) -> NDArray[np.float64]:
    """Light that falls from the top left corner to the bottom right one."""
    down, right = (np.linspace(0, 1, length) for length in shape)
    return 1 - (1 - darkest) * (down[:, None] + right) / 2


def shadow(shape: tuple[int, int], depth: float, across: float = 0.5) -> NDArray[np.float64]:
    """Light with the hard, slanting edge of a shadow through the picture."""
    down, right = (np.linspace(0, 1, length) for length in shape)
    return np.where(right + 0.3 * down[:, None] < across + 0.15, 1.0, 1 - depth)


def vignette(shape: tuple[int, int], darkest: float) -> NDArray[np.float64]:
    """Light that falls off towards the corners."""
    down, right = (np.linspace(-1, 1, length) ** 2 for length in shape)
    return 1 - (1 - darkest) * (down[:, None] + right) / 2


def difference(one: Picture, other: Picture) -> float:
    """The mean difference of two frames, as a share of the ink of the first."""
    return float(np.abs(one.astype(int) - other).sum() / one.astype(int).sum())


def likeness(one: Picture, other: Picture, reach: int = 1) -> float:
    """The highest correlation of two frames, blurred by a pixel, under shifts of up to `reach`."""
    one, other = (
        np.asarray(Image.fromarray(p).filter(ImageFilter.BoxBlur(1))) for p in (one, other)
    )
    shifts = range(-reach, reach + 1)
    return max(
        float(np.corrcoef(one.ravel(), np.roll(other, (i, j), (0, 1)).ravel())[0, 1])
        for i in shifts
        for j in shifts
    )
