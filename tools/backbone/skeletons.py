"""Strokes of a glyph that has only an outline: its skeleton, cut at junctions, joined straight on.

Shapes: H x W pixels of a glyph, P points of a path.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from siglum.errors import DataError
from tools.backbone.fonts import Face, open_font
from tools.backbone.glyphs import draw
from tools.backbone.signs import Floats, Sign, build_sign

FACES = 6  # of each character
UNEVEN = 0.3  # spread of the widths of a glyph's lines by their mean, above which it is no pen's
SPUR, MERGE = 0.8, 0.8  # widths: shorter twigs are dropped, and nearer junctions are one
STRAIGHT = -0.6  # cosine of two lines' directions at a junction below which they are one stroke
AROUND = np.ones((3, 3), int)
STEPS = np.argwhere(AROUND > 0) - 1

End = tuple[int, int]  # segment, and 0 for its beginning or -1 for its end


def trace(faces: Sequence[Face]) -> Iterator[Sign]:
    """Yield signs of at most `FACES` faces for each character, the first ones first."""
    counts: Counter[str] = Counter()
    for part in (part for face in faces for part in face.parts):
        try:
            font = open_font(part)
        except DataError:
            continue
        for character in part.characters:
            drawing = draw(font, character) if counts[character] < FACES else None
            if drawing and (sign := build_sign(character, skeleton_strokes(drawing.ink))):
                counts[character] += 1
                yield sign


def skeleton_strokes(ink: NDArray[np.uint8]) -> list[Floats]:
    """Return the strokes (P, 2) that a pen might have drawn ink (H, W) with; none if no pen did."""
    from skimage.morphology import skeletonize  # late: half a second

    mask = np.pad(ink > ink.max() / 2, 2)
    skeleton = skeletonize(mask)  # type: ignore[no-untyped-call]
    radii = ndimage.distance_transform_edt(mask)[skeleton]
    width = 2 * float(radii.mean())
    if radii.std() > UNEVEN * radii.mean():
        return []
    degree = ndimage.convolve(skeleton.astype(int), AROUND, mode="constant") - 1
    junctions = ndimage.label(skeleton & (degree > 2), AROUND)[0]
    lines, count = ndimage.label(skeleton & (junctions == 0), AROUND)
    segments = [_order(np.argwhere(lines == number + 1)) for number in range(count)]
    at = _attach(segments, junctions)
    segments, at = _simplify(segments, at, width)
    centres = {
        node: np.mean([segments[s][e] for (s, e), other in at.items() if other == node], axis=0)
        for node in set(at.values())
    }
    partner = _pair(segments, at, width)
    return [
        ndimage.gaussian_filter1d(path, width / 4, axis=0, mode="nearest")[:, ::-1]
        for path in _follow(segments, at, centres, partner)
    ]


def _order(pixels: NDArray[np.int64]) -> Floats:
    """Return the pixels (P, 2) of a line from one end to the other."""
    left = {tuple(pixel) for pixel in pixels.tolist()}

    def near(pixel: tuple[int, ...]) -> list[tuple[int, ...]]:
        steps = [(pixel[0] + y, pixel[1] + x) for y, x in STEPS.tolist()]
        return sorted(
            (step for step in steps if step in left and step != pixel),
            key=lambda step: abs(step[0] - pixel[0]) + abs(step[1] - pixel[1]),
        )

    pixel = min(left, key=lambda one: len(near(one)))
    path = [pixel]
    left.remove(pixel)
    while following := near(pixel):
        pixel = following[0]
        path.append(pixel)
        left.remove(pixel)
    return np.array(path, float)


def _attach(segments: list[Floats], junctions: NDArray[np.int32]) -> dict[End, int]:
    """Return the junction that each end of a segment touches."""
    at = {}
    for number, path in enumerate(segments):
        for end in (0, -1):
            y, x = path[end].astype(int)
            if touched := junctions[y - 1 : y + 2, x - 1 : x + 2].max():
                at[number, end] = int(touched)
    return at


def _simplify(
    segments: list[Floats], at: dict[End, int], width: float
) -> tuple[list[Floats], dict[End, int]]:
    """Drop twigs, and make junctions one that a short segment joins."""
    dropped, pairs = set(), []
    for number, path in enumerate(segments):
        ends = [at[number, end] for end in (0, -1) if (number, end) in at]
        short = len(path) < (SPUR if len(ends) == 1 else MERGE) * width
        if short and ends and len(set(ends)) == len(ends):
            dropped.add(number)
            pairs.append((ends[0], ends[-1]))
    size = max(at.values(), default=0) + 1
    edges = np.array(pairs).reshape(-1, 2).T
    nodes = connected_components(coo_array((np.ones(len(pairs)), edges), (size, size)), False)[1]
    numbers = [number for number in range(len(segments)) if number not in dropped]
    places = {number: place for place, number in enumerate(numbers)}
    joined = {(places[s], e): int(nodes[node]) for (s, e), node in at.items() if s in places}
    return [segments[number] for number in numbers], joined


def _pair(segments: list[Floats], at: dict[End, int], width: float) -> dict[End, End]:
    """Return the end that each end at a junction continues in, if any: the straightest first."""

    def direction(end: End) -> Floats:
        path = segments[end[0]][:: 1 if end[1] == 0 else -1]
        way = path[min(len(path) - 1, round(1.2 * width))] - path[0]
        return np.asarray(way / max(float(np.hypot(*way)), 1e-9))

    partner: dict[End, End] = {}
    for node in set(at.values()):
        ends = [end for end, other in at.items() if other == node]
        ways = [direction(end) for end in ends]
        cosines = [
            (float(ways[a] @ ways[b]), ends[a], ends[b]) for a in range(len(ends)) for b in range(a)
        ]
        for cosine, one, other in sorted(cosines):
            onward = cosine < STRAIGHT or len(ends) == 2
            if onward and one not in partner and other not in partner:
                partner[one], partner[other] = other, one
    return partner


def _follow(
    segments: list[Floats], at: dict[End, int], centres: dict[int, Any], partner: dict[End, End]
) -> Iterator[Floats]:
    """Yield strokes: segments in the order in which they continue each other."""
    used: set[int] = set()
    begins = [(s, e) for s in range(len(segments)) for e in (0, -1) if (s, e) not in partner]
    for begin in [*begins, *((s, 0) for s in range(len(segments)))]:  # the last are closed
        if begin[0] in used:
            continue
        path = [centres[at[begin]][None]] if begin in at else []
        end: End | None = begin
        while end is not None and end[0] not in used:
            number, first = end
            used.add(number)
            path.append(segments[number][:: 1 if first == 0 else -1])
            last = (number, -1 - first)
            if last in at:
                path.append(centres[at[last]][None])
            end = partner.get(last)
        if begin in partner or (begin not in at and len(path) == 1 and _closed(path[0])):
            path.append(path[0][:1])
        yield np.concatenate(path)


def _closed(path: Floats) -> bool:
    return len(path) > 8 and float(np.abs(path[0] - path[-1]).max()) <= 1.5
