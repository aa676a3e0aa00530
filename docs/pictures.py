"""Make docs/pictures.png: drawings by code, as they were taken, as ink, and what is said of them.

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


def drawn(lines: Lines, left: int = 80, top: int = 80, side: int = 160, stroke: int = 9) -> NDArray:
    """Return how much of each pixel is ink (H, W), in [0, 1]."""
    image = Image.new("L", (4 * SIDE, 4 * SIDE))
    draw = ImageDraw.Draw(image)
    for line in lines:
        points = [(4 * (left + side * x), 4 * (top + side * y)) for x, y in line]
        draw.line(points, 255, 4 * stroke, "curve")
    return np.asarray(image.reduce(4)) / 255


def taken(ink: NDArray, paper: tuple, pen: tuple, light: NDArray | float = 1.0) -> NDArray:
    """Return a picture of ink on paper in some light: uint8 (3, H, W)."""
    grain = np.random.RandomState(0).normal(0, 2, ink.shape)
    planes = [light * ((1 - ink) * p + ink * q) + grain for p, q in zip(paper, pen, strict=True)]
    return np.clip(np.rint(np.stack(planes)), 0, 255).astype(np.uint8)


def main() -> None:
    """Draw, cut out and write the sheet."""
    down, right = np.mgrid[:SIDE, :SIDE] / SIDE
    shadow = np.where(right + 0.3 * down < 0.62, 1.0, 0.45)
    ruled = drawn(ZED)
    ruled[300:302] = 0.4
    paper, pen = (222, 214, 200), (60, 60, 72)
    shown = {
        "pen on paper, hard shadow": taken(drawn(FOUR), paper, pen, shadow),
        "pencil in falling light": taken(
            drawn(ZED, stroke=4), paper, (170, 165, 158), 1 - 0.3 * (down + right)
        ),
        "chalk on a board": taken(drawn(FOUR, stroke=12), (48, 62, 56), (205, 208, 200)),
        "yellow felt pen": taken(drawn(ZED, stroke=16), (255, 255, 255), (250, 230, 40)),
        "a ruled line below": taken(ruled, paper, pen),
        "two characters": taken(
            np.maximum(drawn(ZED, 30, 100, 120), drawn(FOUR, 170, 100, 120)), paper, pen
        ),
        "cut off by the edge": taken(drawn(FOUR, -40, 60, 220), paper, pen),
        "nothing but paper": taken(np.zeros((SIDE, SIDE)), paper, pen),
    }
    rows = []
    for name, picture in shown.items():
        ink, found = normalise(picture, 64)
        rows.append((name, picture, ink, found))
    comparison(rows).save(HERE / "pictures.png", optimize=True)


if __name__ == "__main__":
    main()
