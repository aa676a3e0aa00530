"""Generate synthetic signs, each drawn by several simulated hands.

A sign is a few strokes between the points of a coarse grid; most begin on another stroke. A hand
moves, turns, stretches and bends each stroke by itself, which no warping of a whole image does.
Shapes: P points of a path.

Source: Lake, Salakhutdinov and Tenenbaum 2015, "Human-level concept learning through probabilistic
program induction", Science 350 (the model of strokes; the numbers here are not fitted to drawings).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from siglum.images.strokes import Drawing, rasterise

VERSION = 1  # of everything that decides what is drawn
GRID = 4  # points a side on which strokes begin and end
COUNTS = (0.12, 0.27, 0.30, 0.20, 0.11)  # chance of 1, 2, ... strokes
JOINED = 0.65  # chance of a stroke to begin on one that is there
SHAPES = {"line": 0.40, "arc": 0.22, "corner": 0.16, "curve": 0.14, "ring": 0.08}
POINTS = 20  # of a path, about
SIZE = 112  # px of the pad
FREE = 0.25  # share of the pad around the grid, which a hand may use up

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Part:
    """One stroke of a sign."""

    points: Floats  # (P, 2) that it goes through, from 0 to 1 across the grid
    smooth: bool
    joined: tuple[int, float] | None = None  # the earlier part that it begins on, and how far along


def invent(random: RandomState) -> tuple[Part, ...]:
    """Make up a sign."""
    count = 1 + int(random.choice(len(COUNTS), p=COUNTS))
    parts: list[Part] = []
    for number in range(count):
        joined = None
        if number and random.rand() < JOINED:
            along = random.choice([0.0, 0.5, 1.0, random.rand()])
            joined = (random.randint(number), float(along))
        begin = _corner(random) if joined is None else _at(path(parts[joined[0]]), joined[1])
        parts.append(_part(begin, joined, alone=count == 1, random=random))
    return tuple(parts)


def rasterise_by_hand(
    sign: tuple[Part, ...], random: RandomState, pen: tuple[float, float]
) -> NDArray[np.uint8]:
    """Draw a sign as some hand might: uint8 (H, W), light ink on black.

    Args:
        pen: width of the thinnest and the broadest pen, in sides of the pad.
    """
    care = random.uniform(0.3, 1.5)  # how far a hand goes astray
    paths: list[Floats] = []
    for part in sign:
        points = part.points + random.normal(0, 0.030 * care, part.points.shape)
        middle = points.mean(axis=0)
        points = (points - middle) @ _rotation(random, care) + middle
        points += random.normal(0, 0.035 * care, 2)
        if part.joined is not None:
            start = _at(paths[part.joined[0]], part.joined[1])
            points += start - points[0] + random.normal(0, 0.025 * care, 2)
        way = path(Part(points, part.smooth or random.rand() < 0.25))
        paths.append(_extend(way, random.normal(0, 0.04 * care, 2)))
    slant, aspect = random.normal(0, 0.14), math.exp(random.normal(0, 0.12))
    leaning = np.array([[aspect, 0.0], [slant, 1 / aspect]])
    width = math.exp(random.uniform(math.log(pen[0]), math.log(pen[1])))
    pressures = np.clip(0.5 + random.normal(0, 0.3, 2), 0, 1)
    strokes = []
    for way in paths:
        places = np.clip(FREE + (1 - 2 * FREE) * ((way - 0.5) @ leaning + 0.5), 0.05, 0.95)
        pressure = np.linspace(pressures[0], pressures[1], len(way))
        strokes.append(np.stack([*places.T, np.zeros(len(way)), pressure], axis=1).round(4))
    return rasterise(Drawing(tuple(strokes)), SIZE, round(width, 4))


def path(part: Part) -> Floats:
    """Return points close together along a part: (P, 2).

    Source: Catmull, Rom 1974, "A class of local interpolating splines", for what is smooth.
    """
    points = part.points
    pieces = len(points) - 1
    t = np.linspace(0, pieces, max(POINTS, 4 * pieces) + 1)
    piece = np.minimum(t.astype(int), pieces - 1)
    t = (t - piece)[:, None]
    b, c = points[piece], points[piece + 1]
    if not part.smooth:
        return np.asarray(b + t * (c - b))
    before, after = 2 * points[0] - points[1], 2 * points[-1] - points[-2]
    if np.array_equal(points[0], points[-1]):
        before, after = points[-2], points[1]
    longer = np.concatenate([[before], points, [after]])
    a, d = longer[piece], longer[piece + 3]
    bend = 2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)
    return np.asarray(b + t / 2 * (c - a + t * bend))


def _part(
    begin: Floats, joined: tuple[int, float] | None, alone: bool, random: RandomState
) -> Part:
    names, chances = zip(*SHAPES.items(), strict=True)
    shape = random.choice(names, p=chances)
    if alone and shape in ("line", "ring"):  # too plain to be all of a sign
        shape = random.choice(["curve", "corner", "arc"])
    if shape == "ring":
        turn = np.linspace(0, 2 * math.pi, 9) + random.uniform(0, 2 * math.pi)
        radii = random.uniform(0.08, 0.3) * np.array([1.0, random.uniform(0.7, 1.4)])
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=1) * radii
        ring[-1] = ring[0]
        return Part(ring - ring[0] + begin, True, joined)
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
    return Part(np.array(points), shape in ("arc", "curve"), joined)


def _corner(random: RandomState) -> Floats:
    return np.asarray(random.randint(0, GRID, 2) / (GRID - 1))


def _at(way: Floats, share: float) -> Floats:
    return np.asarray(way[round(share * (len(way) - 1))])


def _rotation(random: RandomState, care: float) -> Floats:
    """Return a small turn and stretch: (2, 2)."""
    angle = random.normal(0, math.radians(4.5) * care)
    scale = np.exp(random.normal(0, 0.09 * care, 2))
    cos, sin = math.cos(angle), math.sin(angle)
    return np.asarray(np.array([[cos, sin], [-sin, cos]]) * scale)


def _extend(way: Floats, by: Floats) -> Floats:
    """Let a path begin and end a little before or after where it should, straight on."""
    first, last = way[0] - way[1], way[-1] - way[-2]
    begin = way[0] + first / max(float(np.linalg.norm(first)), 1e-9) * by[0]
    end = way[-1] + last / max(float(np.linalg.norm(last)), 1e-9) * by[1]
    return np.concatenate([[begin], way[1:-1], [end]])
