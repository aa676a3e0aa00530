"""A hand draws a sign: it moves, bends, rounds, joins and cuts each stroke by itself.

No warping of a whole image does this. Lengths are in longer sides of the sign. The ranges were
chosen by eye, beside drawings of people: hands that draw one person's strokes of a letter of
Omniglot then differ as much as its drawers do (mean cosine of features 0.62 and 0.61).
Shapes: P points of a stroke.

Source: Lake, Salakhutdinov and Tenenbaum 2015, "Human-level concept learning through probabilistic
program induction", Science 350 (motor programs: strokes vary one by one, joints hold).
"""

import math

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from siglum.images.strokes import Drawing, rasterise
from tools.backbone.signs import STEP, Floats, Sign, resample

VERSION = 1  # of everything that decides how a sign is drawn
SIZE = 96  # px of the pad
ROOM = 0.8  # of the pad, for the sign
BLACK = 0.45  # of the sign's box, at most inked: a finer pen for more strokes
CURSIVE = 0.15  # of the hands link strokes
HASTY = 0.25  # of the hands round corners much
FAR = 0.08  # of the strokes begin or end much too early or late


def rasterise_by_hand(
    sign: Sign, random: RandomState, pen: tuple[float, float]
) -> NDArray[np.uint8]:
    """Draw a sign as some hand might: uint8 (H, W), light ink on black.

    Args:
        pen: width of the thinnest and the broadest pen, in longer sides of the sign.
    """
    care = random.uniform(0.3, 1.5)  # how far a hand goes astray
    strokes = _warp(_link(_move(sign, random, care), random), random)
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    sides = np.maximum(high - low, 1e-6)
    length = sum(len(stroke) for stroke in strokes) * STEP
    width = math.exp(random.uniform(math.log(pen[0]), math.log(pen[1]))) * sides.max()
    width = min(width, max(BLACK * sides.prod() / length, pen[0]))
    scale = ROOM / sides.max()
    pressures = np.clip(random.normal(0.5, 0.25, 2), 0, 1)
    drawing = []
    for stroke in strokes:
        places = (stroke - (low + high) / 2) * scale + 0.5
        first, last = np.clip(pressures + random.normal(0, 0.15, 2), 0, 1)
        pressure = np.linspace(first, last, len(stroke))
        drawing.append(np.column_stack([places, np.zeros(len(stroke)), pressure]))
    return rasterise(Drawing(tuple(drawing)), SIZE, width * scale)


def _move(sign: Sign, random: RandomState, care: float) -> list[Floats]:
    """Move each stroke by itself, then bring ends that touch back to where they touch."""
    crowd = min(1.0, math.sqrt(4 / len(sign.strokes)))  # strokes that lie close move less
    rounding = random.uniform(0.7, 2.3) if random.rand() < HASTY else random.uniform(0, 0.7)
    tremor = 0.008 * random.rand() ** 2
    strokes: list[Floats] = []
    for number, path in enumerate(sign.strokes):
        length = len(path) * STEP
        middle = path.mean(axis=0)
        angle = random.normal(0, math.radians(5 if length > 0.25 else 9) * care)
        stretch = np.exp(random.normal(0, 0.10 * care * crowd, 2))
        moved = (path - middle) @ (_turn(angle) * stretch) + middle
        moved += random.normal(0, 0.035 * care * crowd, 2)
        moved += _bend(len(path), 0.030 * care * crowd * min(length, 1.5), random)
        for joint in sign.joints:
            if joint.stroke == number:
                target = (strokes[joint.other] if joint.other < number else moved)[joint.place]
                gap = target - moved[joint.end] + random.normal(0, 0.015 * care * crowd, 2)
                share = np.linspace(0, 1, len(path))[:, None]
                moved = moved + gap * (share if joint.end else 1 - share)
        strokes.append(moved)
    touching = {(joint.stroke, joint.end) for joint in sign.joints}
    for number, path in enumerate(strokes):
        if len(path) > 3:
            far = 4 if random.rand() < FAR else 1
            by = random.normal(0.007, 0.03, 2) * care * crowd * far
            free = [(number, end) not in touching for end in (0, -1)]
            by = np.where(free, by, np.maximum(by, -0.01))  # few ends stop short of what they touch
            path = _overshoot(_round(path, rounding), by)
            path = path + gaussian_filter1d(random.normal(0, tremor, path.shape), 1.0, axis=0)
        strokes[number] = path
    if len(strokes) > 6 and random.rand() < 0.08:  # a stroke is forgotten
        del strokes[random.randint(len(strokes))]
    return strokes


def _bend(count: int, amount: float, random: RandomState) -> Floats:
    """Return smooth shifts (P, 2) along a stroke."""
    waves = np.array([1.0, 2.0, 3.0])
    phases = random.uniform(0, 2 * math.pi, (2, 3))
    sizes = random.normal(0, amount, (2, 3)) / [1.0, 1.5, 2.5]
    share = np.linspace(0, math.pi, count)[:, None, None]
    return np.asarray((sizes * np.cos(waves * share + phases)).sum(axis=2))


def _round(path: Floats, sigma: float) -> Floats:
    """Smooth corners over `sigma` points; the ends stay."""
    if sigma < 0.3:
        return path
    pad = min(math.ceil(3 * sigma), len(path) - 1)
    longer = np.pad(path, ((pad, pad), (0, 0)), "reflect", reflect_type="odd")
    return np.asarray(gaussian_filter1d(longer, sigma, axis=0)[pad:-pad])


def _overshoot(path: Floats, by: Floats) -> Floats:
    """Let a stroke begin and end earlier or later than it should."""
    for much in by:
        path = path[::-1]  # the beginning first: it is the end of the path turned round
        points = min(round(abs(much) / STEP), len(path) // 4)
        if much < 0:
            path = path[: len(path) - points]
        elif points:
            ahead = (path[-1] - path[-3]) / 2
            more = path[-1] + np.arange(1, points + 1)[:, None] * ahead
            path = np.concatenate([path, more])
    return path


def _link(strokes: list[Floats], random: RandomState) -> list[Floats]:
    """Some hands do not lift the pen between strokes that end and begin near each other."""
    if random.rand() >= CURSIVE:
        return strokes
    linked = [strokes[0]]
    for stroke in strokes[1:]:
        gap = float(np.hypot(*(stroke[0] - linked[-1][-1])))
        if STEP < gap < 0.6 and random.rand() < 0.6:
            away = linked[-1][-1] - linked[-1][max(-4, -len(linked[-1]))]
            begin = stroke[min(3, len(stroke) - 1)] - stroke[0]
            bend = (away - begin) / STEP * gap * 0.08
            middle = (linked[-1][-1] + stroke[0]) / 2 + bend
            way = resample(np.stack([linked[-1][-1], middle, stroke[0]]))
            linked[-1] = _round(np.concatenate([linked[-1], way[1:-1], stroke]), 1.0)
        else:
            linked.append(stroke)
    return linked


def _warp(strokes: list[Floats], random: RandomState) -> list[Floats]:
    """Slant, turn, stretch and gently bend the whole sign."""
    slant, aspect = random.normal(0, 0.17), math.exp(random.normal(0, 0.13))
    turn = _turn(random.normal(0, math.radians(4)))
    matrix = np.array([[aspect, 0.0], [slant, 1 / aspect]]) @ turn
    taper, bow = random.normal(0, 0.12, 2), random.normal(0, 0.10, 2)
    warped = []
    for stroke in strokes:
        across = stroke[:, ::-1]  # y for x and x for y
        warped.append((stroke * (1 + taper * across) + bow * across**2) @ matrix)
    return warped


def _turn(angle: float) -> Floats:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])
