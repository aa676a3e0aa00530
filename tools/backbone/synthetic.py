"""Generate synthetic signs: a few strokes between the points of a coarse grid.

Most begin on another stroke.
Shapes: P points of a path.

Source: Lake, Salakhutdinov and Tenenbaum 2015, "Human-level concept learning through probabilistic
program induction", Science 350 (the model of strokes; the numbers here are not fitted to drawings).
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.random import RandomState

from tools.backbone.signs import Floats, Sign, build_sign

SEED = 1
GRID = 4  # points a side on which strokes begin and end
COUNTS = (0.12, 0.27, 0.30, 0.20, 0.11)  # chance of 1, 2, ... strokes
JOINED = 0.65  # chance of a stroke to begin on one that is there
SHAPES = {"line": 0.40, "arc": 0.22, "corner": 0.16, "curve": 0.14, "ring": 0.08}
POINTS = 20  # of a path, about


def invent(count: int) -> Iterator[Sign]:
    """Make up signs."""
    for number in range(count):
        paths = _invent(RandomState([SEED, number]))
        if sign := build_sign(f"synthetic {number}", paths):
            yield sign


def _invent(random: RandomState) -> list[Floats]:
    count = 1 + int(random.choice(len(COUNTS), p=COUNTS))
    paths: list[Floats] = []
    for number in range(count):
        begin = _corner(random)
        if number and random.rand() < JOINED:
            path = paths[random.randint(number)]
            along = random.choice([0.0, 0.5, 1.0, random.rand()])
            begin = path[round(along * (len(path) - 1))]
        paths.append(_stroke(begin, count == 1, random))
    return paths


def _stroke(begin: Floats, alone: bool, random: RandomState) -> Floats:
    names, chances = zip(*SHAPES.items(), strict=True)
    shape = random.choice(names, p=chances)
    if alone and shape in ("line", "ring"):  # too plain to be all of a sign
        shape = random.choice(["curve", "corner", "arc"])
    if shape == "ring":
        turn = np.linspace(0, 2 * math.pi, 9) + random.uniform(0, 2 * math.pi)
        radii = random.uniform(0.08, 0.3) * np.array([1.0, random.uniform(0.7, 1.4)])
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=1) * radii
        ring[-1] = ring[0]
        return _smooth(ring - ring[0] + begin)
    more = {"line": 1, "arc": 1, "corner": random.randint(2, 4), "curve": random.randint(2, 5)}
    points = [begin]
    while len(points) <= more[shape] + 2 * (alone and shape != "arc"):
        corner = _corner(random)
        if np.abs(corner - points[-1]).max() > 0.2:
            points.append(corner)
    if shape == "arc":
        way = points[1] - points[0]
        aside = np.array([-way[1], way[0]]) * random.choice([-1, 1]) * random.uniform(0.2, 0.6)
        points.insert(1, (points[0] + points[1]) / 2 + aside)
    return _smooth(np.array(points)) if shape in ("arc", "curve") else np.array(points)


def _smooth(points: Floats) -> Floats:
    """Return a smooth path (P, 2) through points.

    Source: Catmull, Rom 1974, "A class of local interpolating splines".
    """
    pieces = len(points) - 1
    t = np.linspace(0, pieces, max(POINTS, 4 * pieces) + 1)
    piece = np.minimum(t.astype(int), pieces - 1)
    t = (t - piece)[:, None]
    before, after = 2 * points[0] - points[1], 2 * points[-1] - points[-2]
    if np.array_equal(points[0], points[-1]):
        before, after = points[-2], points[1]
    longer = np.concatenate([[before], points, [after]])
    a, b, c, d = (longer[piece + number] for number in range(4))
    bend = 2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)
    return np.asarray(b + t / 2 * (c - a + t * bend))


def _corner(random: RandomState) -> Floats:
    return np.asarray(random.randint(0, GRID, 2) / (GRID - 1))
