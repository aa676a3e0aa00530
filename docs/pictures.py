"""Make docs/pictures.png: photos made by code, their ink, and the warnings about it.

Run by hand: python docs/pictures.py
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from siglum.images.contact_sheet import comparison
from siglum.images.ink import normalise

HERE = Path(__file__).resolve().parent
SIDE = 320
FOUR = [[(0.6, 0.9), (0.6, 0.1), (0.15, 0.65), (0.85, 0.62)]]
ZED = [[(0.2, 0.1), (0.8, 0.15), (0.25, 0.85), (0.85, 0.9)]]

Lines = list[list[tuple[float, float]]]


def draw_ink(
    lines: Lines, left: int = 80, top: int = 80, side: int = 160, stroke: int = 9
) -> NDArray:
    """Return how much of each pixel is ink (H, W), in [0, 1]."""
    image = Image.new("L", (4 * SIDE, 4 * SIDE))
    draw = ImageDraw.Draw(image)
    for line in lines:
        points = [(4 * (left + side * x), 4 * (top + side * y)) for x, y in line]
        draw.line(points, 255, 4 * stroke, "curve")
    return np.asarray(image.reduce(4)) / 255


def photograph(ink: NDArray, paper: tuple, pen: tuple, light: NDArray | float = 1.0) -> NDArray:
    """Return a photo of ink on paper in some light: uint8 (3, H, W)."""
    grain = np.random.RandomState(0).normal(0, 2, ink.shape)
    planes = [light * ((1 - ink) * p + ink * q) + grain for p, q in zip(paper, pen, strict=True)]
    return np.clip(np.rint(np.stack(planes)), 0, 255).astype(np.uint8)


def main() -> None:
    """Draw, normalise, and save the sheet."""
    down, right = np.mgrid[:SIDE, :SIDE] / SIDE
    shadow = np.where(right + 0.3 * down < 0.62, 1.0, 0.45)
    ruled = draw_ink(ZED)
    ruled[300:302] = 0.4
    paper, pen = (222, 214, 200), (60, 60, 72)
    photos = {
        "pen on paper, hard shadow": photograph(draw_ink(FOUR), paper, pen, shadow),
        "pencil in falling light": photograph(
            draw_ink(ZED, stroke=4), paper, (170, 165, 158), 1 - 0.3 * (down + right)
        ),
        "chalk on a board": photograph(draw_ink(FOUR, stroke=12), (48, 62, 56), (205, 208, 200)),
        "yellow felt pen": photograph(draw_ink(ZED, stroke=16), (255, 255, 255), (250, 230, 40)),
        "a ruled line below": photograph(ruled, paper, pen),
        "two characters": photograph(
            np.maximum(draw_ink(ZED, 30, 100, 120), draw_ink(FOUR, 170, 100, 120)), paper, pen
        ),
        "cut off by the edge": photograph(draw_ink(FOUR, -40, 60, 220), paper, pen),
        "nothing but paper": photograph(np.zeros((SIDE, SIDE)), paper, pen),
    }
    rows = []
    for name, image in photos.items():
        ink, report = normalise(image, 64)
        rows.append((name, image, ink, report))
    comparison(rows).save(HERE / "pictures.png", optimize=True)


if __name__ == "__main__":
    main()
