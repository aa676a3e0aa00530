"""How often `siglum find` lists the character that a person drew, and how long it takes.

    OMP_NUM_THREADS=1 python -m benchmarks.find

Greek letters and digits are photos and drawings of `handdrawn` under SIGLUM_DATA; all characters of
the backbone compete. PRIOR and RECENT of `siglum.recogniser.find` were chosen on writers with odd
numbers, so even writers are the fair test. Rare characters are drawn by code, each by ten hands. A
row of an answer counts if it holds the character or, for Greek, its other shape. Intervals are 95 %
over writers. `used before` passes the letters or digits as `recent`. An answer starts from strokes.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.fewshot import VARIANT_SHAPES, images, interval, show
from siglum.recogniser import find
from siglum.recogniser.predict import default_backbone, preprocess_images

HANDS = 10
RARE = {  # points (x, y) of strokes, in percent of a square
    "木": "10,35 90,35; 50,5 50,95; 50,35 35,60 10,80; 50,35 65,60 90,80",
    "日": "25,10 25,90; 25,10 75,10 75,90; 25,50 75,50; 25,90 75,90",
    "人": "50,10 45,45 30,70 10,90; 47,40 60,65 90,90",
    "あ": "20,25 80,22; 45,5 43,40 48,85; 68,38 60,60 42,82 22,85 15,70 30,50 55,42 80,50 88,68 "
    "78,85 60,92",
    "א": "20,10 80,90; 80,10 75,35 55,48; 40,36 25,55 25,90",
    "ש": "10,10 18,60 25,90 75,88 88,50 90,10; 50,10 48,40 20,62",
    "✓": "10,55 35,90 90,10",
}


def drawings() -> Iterator[tuple[str, list[list[list[float]]]]]:
    """Yield rare characters and their strokes as each hand draws them."""
    random = np.random.default_rng(5)
    for character, text in RARE.items():
        for _ in range(HANDS):
            turn, wide, slant, high = random.normal(0, (0.06, 0.05, 0.08, 0.05))
            hand = np.array([[1 + wide, slant], [np.sin(turn), 1 + high]])
            strokes = []
            for line in text.split("; "):
                points = np.array([point.split(",") for point in line.split()], float) / 100
                points += random.normal(0, 0.012, points.shape)
                strokes.append((300 * points @ hand.T).tolist())
            yield character, strokes


def place(character: str, matches: list[find.Match]) -> int:
    """Return the place of the row that holds a character, or its other shape; 99 for none."""
    for number, match in enumerate(matches):
        members = {match.character, *match.lookalikes}
        if character in members | {VARIANT_SHAPES.get(member) for member in members}:
            return number
    return 99


def row(name: str, places: NDArray[np.int64], writers: NDArray[Any]) -> dict[str, object]:
    """Return how often the character is among the first one, five and ten rows."""
    result: dict[str, object] = {"characters": name, "images": len(places)}
    groups = np.unique(writers, return_inverse=True)[1]
    for top in (1, 5, 10):
        hits = (places < top).astype(np.float64)
        low, high = interval(hits, groups, len(hits))
        result[f"top {top}, %"] = f"{100 * hits.mean():.1f} ({100 * low:.0f} to {100 * high:.0f})"
    return result


def main() -> None:
    backbone, rows = default_backbone(), []
    for name in ("greek", "digits"):
        data = images(backbone, name)
        for way, recent in (("writers", ()), ("writers, used before", data.classes)):
            answers = (find.rank(one, recent=recent) for one in data.features)
            names = [data.classes[label] for label in data.labels]
            places = np.array(list(map(place, names, answers)))
            for some, chosen in (("all", data.tune | True), ("even", data.tune)):
                rows.append(row(f"{name}, {some} {way}", places[chosen], data.writers[chosen]))
    rare, times = [], []
    for character, strokes in drawings():
        start = time.perf_counter()
        (ink,) = preprocess_images([strokes], backbone.preprocess)
        matches = find.rank(backbone.features(ink.planes)[0])
        times.append(1000 * (time.perf_counter() - start))
        rare.append(place(character, matches))
    rows.append(row("rare characters", np.array(rare), np.arange(len(rare))))
    show(rows)
    print("An answer: median {:.1f}, p95 {:.1f} ms".format(*np.percentile(times[1:], (50, 95))))


if __name__ == "__main__":
    main()
