"""Signs as a hand draws them: lists of strokes, each a list of (x, y) on a pad, y downwards."""

import json
import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

Strokes = list[list[tuple[float, float]]]

SIGNS: dict[str, dict[str, Strokes]] = json.loads(
    (Path(__file__).parent / "signs.json").read_text(encoding="utf-8")
)
ALL = SIGNS["digits"] | SIGNS["Greek"] | SIGNS["own"] | SIGNS["others"]


def draw(name: str, seed: int = 0) -> Strokes:
    """Draw a sign a little differently for each seed: moved, larger or smaller, and slanted."""
    chance = random.Random(f"{name} {seed}")
    right, down = chance.uniform(-0.04, 0.04), chance.uniform(-0.04, 0.04)
    size, slant = chance.uniform(0.88, 1.08), chance.uniform(-0.1, 0.1)

    def move(x: float, y: float) -> tuple[float, float]:
        x += slant * (0.5 - y)
        noise = chance.gauss(0, 0.002), chance.gauss(0, 0.002)
        return 0.5 + right + size * (x - 0.5) + noise[0], 0.5 + down + size * (y - 0.5) + noise[1]

    return [[move(x, y) for x, y in stroke] for stroke in ALL[name]]


def record(strokes: Strokes, width: int = 640, height: int = 480) -> bytes:
    """A film, as raw Y4M, of a sign on paper on a dark desk, never quite still."""
    frames = [b"YUV4MPEG2 W%d H%d F30:1 Ip A1:1 C420jpeg\n" % (width, height)]
    for right in (0, 2, 4, 2):
        paper = Image.new("L", (width, height), 60)
        ImageDraw.Draw(paper).rectangle((100, 30, width - 100, height - 30), fill=200)
        for stroke in strokes:
            points = [
                (width / 3 + right + height * x / 2, height * (1 / 4 + y / 2)) for x, y in stroke
            ]
            ImageDraw.Draw(paper).line(points, 60, 7, "curve")
        frames.append(b"FRAME\n" + paper.tobytes() + b"\x80" * (width * height // 2))
    return b"".join(frames)


def to_json(strokes: Strokes) -> dict[str, Any]:
    """Strokes as the protocol has them."""
    points = [[[x, y, 0, 0.5] for x, y in stroke] for stroke in strokes]
    return {"version": 1, "aspect": 1.0, "strokes": points}
