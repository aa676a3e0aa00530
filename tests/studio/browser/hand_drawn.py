"""Signs as a hand draws them: lists of strokes, each a list of (x, y) on a pad, y downwards."""

import itertools
import math
import random
from typing import Any

Points = list[tuple[float, float]]
Strokes = list[Points]


def arc(x: float, y: float, across: float, down: float, start: float, end: float) -> Points:
    """Part of an ellipse, from one angle to another, degrees clockwise from the right."""
    steps = max(8, round(abs(end - start) / 12))
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + across * math.cos(angle), y + down * math.sin(angle)) for angle in angles]


def line(*corners: tuple[float, float]) -> Points:
    """Straight from corner to corner."""
    points = [corners[0]]
    for (x, y), (right, down) in itertools.pairwise(corners):
        points += [(x + (right - x) * n / 8, y + (down - y) * n / 8) for n in range(1, 9)]
    return points


DIGITS: dict[str, Strokes] = {
    "0": [arc(0.5, 0.5, 0.18, 0.3, -80, 285)],
    "1": [line((0.4, 0.32), (0.54, 0.2), (0.53, 0.8))],
    "2": [arc(0.49, 0.36, 0.17, 0.16, -170, 40) + line((0.6, 0.48), (0.32, 0.8), (0.7, 0.79))],
    "3": [arc(0.47, 0.35, 0.16, 0.15, -150, 85) + arc(0.47, 0.65, 0.18, 0.16, -85, 150)],
    "4": [line((0.46, 0.2), (0.3, 0.58), (0.7, 0.57)), line((0.6, 0.4), (0.58, 0.82))],
    "5": [line((0.64, 0.2), (0.38, 0.21), (0.36, 0.45)) + arc(0.47, 0.62, 0.19, 0.18, -110, 140)],
    "6": [
        line((0.6, 0.2), (0.46, 0.32), (0.36, 0.5)) + arc(0.5, 0.63, 0.15, 0.17, 190, -170),
    ],
    "7": [line((0.31, 0.22), (0.69, 0.22), (0.46, 0.8))],
    "8": [arc(0.5, 0.36, 0.13, 0.15, 90, -270) + arc(0.5, 0.66, 0.16, 0.15, -90, 270)],
    "9": [arc(0.5, 0.38, 0.15, 0.16, 0, -360) + line((0.65, 0.38), (0.63, 0.6), (0.56, 0.82))],
}

GREEK: dict[str, Strokes] = {
    "α": [
        line((0.7, 0.34), (0.62, 0.5))
        + arc(0.46, 0.53, 0.16, 0.19, -10, -320)
        + line((0.6, 0.6), (0.64, 0.68), (0.72, 0.71))
    ],
    "β": [
        line((0.37, 0.92), (0.38, 0.34))
        + arc(0.49, 0.32, 0.11, 0.12, 180, 440)
        + arc(0.5, 0.57, 0.15, 0.14, -85, 150)
    ],
    "γ": [
        line(
            (0.3, 0.36),
            (0.38, 0.38),
            (0.5, 0.62),
            (0.47, 0.86),
            (0.43, 0.84),
            (0.5, 0.62),
            (0.68, 0.35),
        )
    ],
    "δ": [
        line((0.62, 0.24), (0.52, 0.18), (0.44, 0.24), (0.54, 0.42))
        + arc(0.48, 0.62, 0.15, 0.18, -60, 295)
    ],
    "θ": [arc(0.5, 0.5, 0.15, 0.3, -80, 285), line((0.36, 0.5), (0.64, 0.5))],
    "λ": [line((0.36, 0.22), (0.45, 0.26), (0.68, 0.78)), line((0.52, 0.45), (0.33, 0.78))],
    "π": [
        line((0.28, 0.4), (0.74, 0.38)),
        line((0.42, 0.4), (0.38, 0.74)),
        line((0.6, 0.4), (0.6, 0.66), (0.68, 0.74)),
    ],
    "φ": [arc(0.5, 0.5, 0.2, 0.17, -90, 270), line((0.5, 0.18), (0.5, 0.9))],
    "ψ": [
        line((0.3, 0.32), (0.31, 0.45))
        + arc(0.5, 0.46, 0.19, 0.2, 175, 5)
        + line((0.69, 0.45), (0.7, 0.32)),
        line((0.5, 0.2), (0.5, 0.9)),
    ],
    "ω": [arc(0.4, 0.5, 0.13, 0.19, -130, -380) + arc(0.62, 0.5, 0.13, 0.19, 200, -50)],
}

SIGNS: dict[str, Strokes] = {  # in no font
    "zig": [line((0.2, 0.3), (0.35, 0.7), (0.5, 0.3), (0.65, 0.7), (0.8, 0.3))],
    "ladder": [
        line((0.35, 0.2), (0.35, 0.8)),
        line((0.65, 0.2), (0.65, 0.8)),
        line((0.35, 0.4), (0.65, 0.4)),
        line((0.35, 0.6), (0.65, 0.6)),
    ],
    "wheel": [
        arc(0.5, 0.5, 0.26, 0.26, -90, 270),
        line((0.26, 0.5), (0.74, 0.5)),
        line((0.5, 0.26), (0.5, 0.74)),
    ],
}

ALL = DIGITS | GREEK | SIGNS


def draw(name: str, seed: int = 0) -> Strokes:
    """Draw a sign a little differently for each seed: moved, larger or smaller, and slanted."""
    chance = random.Random(f"{name} {seed}")
    right, down = chance.uniform(-0.04, 0.04), chance.uniform(-0.04, 0.04)
    size, slant = chance.uniform(0.88, 1.08), chance.uniform(-0.1, 0.1)
    return [
        [
            (
                0.5 + right + size * (x - 0.5 + slant * (0.5 - y)) + chance.gauss(0, 0.002),
                0.5 + down + size * (y - 0.5) + chance.gauss(0, 0.002),
            )
            for x, y in stroke
        ]
        for stroke in ALL[name]
    ]


def to_json(strokes: Strokes) -> dict[str, Any]:
    """Strokes as the protocol has them."""
    points = [[[x, y, 0, 0.5] for x, y in stroke] for stroke in strokes]
    return {"version": 1, "aspect": 1.0, "strokes": points}
