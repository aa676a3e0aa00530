"""Strokes of a glyph that has only an outline: its skeleton, cut at junctions, joined straight on.

Shapes: H x W pixels of a glyph, P points of a path.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

import networkx as nx
import numpy as np
from networkx.utils import UnionFind
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse.csgraph import depth_first_order
from scipy.spatial.distance import cdist
from skimage.morphology import skeletonize

from tools.backbone.fonts import Face, open_font
from tools.backbone.glyphs import draw
from tools.backbone.signs import Floats, Sign, build_sign

VERSION = 2  # of everything that decides the strokes of a glyph
FACES = 6  # of each character
UNEVEN = 0.3  # spread of the widths of a glyph's lines by their mean, above which it is no pen's
SHORT = 0.8  # widths: a shorter line is a twig, or joins two junctions that are one
STRAIGHT = -0.6  # cosine of two lines' directions at a junction below which they are one stroke
AROUND = np.ones((3, 3), int)

End = tuple[int, int]  # line, and 0 for its beginning or -1 for its end


def trace(faces: Sequence[Face]) -> Iterator[Sign]:
    """Yield signs of at most `FACES` faces for each character, the first ones first."""
    counts: Counter[str] = Counter()
    for part in (part for face in faces for part in face.parts):
        font = open_font(part)
        for character in part.characters:
            drawing = draw(font, character) if counts[character] < FACES else None
            if drawing and (sign := build_sign(character, skeleton_strokes(drawing.ink))):
                counts[character] += 1
                yield sign


def skeleton_strokes(ink: NDArray[np.uint8]) -> list[Floats]:
    """Return the strokes (P, 2) that a pen might have drawn ink (H, W) with; none if no pen did."""
    mask = np.pad(ink > ink.max() / 2, 2)
    skeleton = skeletonize(mask)  # type: ignore[no-untyped-call]
    radii = ndimage.distance_transform_edt(mask)[skeleton]
    width = 2 * float(radii.mean())
    if radii.std() > UNEVEN * radii.mean():
        return []
    strokes = _join(*_cut(skeleton, SHORT * width), 1.2 * width)
    return [
        ndimage.gaussian_filter1d(path, width / 4, axis=0, mode="nearest")[:, ::-1]
        for path in strokes
    ]


def _cut(skeleton: NDArray[np.bool_], short: float) -> tuple[list[Floats], dict[End, int]]:
    """Return lines (P, 2) as y and x, and the junction of each end that is at one."""
    degree = ndimage.convolve(skeleton.astype(int), AROUND, mode="constant") - 1
    junctions = ndimage.label(skeleton & (degree > 2), AROUND)[0]
    numbers, count = ndimage.label(skeleton & (junctions == 0), AROUND)
    touched = ndimage.maximum_filter(junctions, 3)
    lines: list[Floats] = []
    ends: dict[End, int] = {}
    joined = UnionFind()
    for number in range(1, count + 1):
        path = _order(np.argwhere(numbers == number))
        own = {end: int(touched[*path[end]]) for end in (0, -1) if touched[*path[end]]}
        if len(path) < short and own and len({*own.values()}) == len(own):
            joined.union(*own.values())
        else:
            ends |= {(len(lines), end): junction for end, junction in own.items()}
            lines.append(path.astype(float))
    return lines, {end: joined[junction] for end, junction in ends.items()}


def _order(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pixels (P, 2) of a line from one end to the other, or once around."""
    near = cdist(pixels, pixels, "chebyshev") == 1
    order = depth_first_order(near, int(near.sum(axis=0).argmin()))[0]
    closed = len(pixels) > 2 and near[order[0], order[-1]]
    return np.asarray(pixels[np.append(order, order[0]) if closed else order])


def _join(lines: list[Floats], junctions: dict[End, int], ahead: float) -> Iterator[Floats]:
    """Yield lines that reach their junctions, as one where they go straight on."""

    def away(end: End) -> Floats:
        return lines[end[0]][:: 1 if end[1] == 0 else -1]

    def direction(end: End) -> Floats:
        path = away(end)
        way = path[min(len(path) - 1, round(ahead))] - path[0]
        return np.asarray(way / max(float(np.hypot(*way)), 1e-9))

    follows = nx.Graph([((line, 0), (line, -1)) for line in range(len(lines))])
    centres: dict[End, list[Floats]] = {}
    for junction in sorted({*junctions.values()}):
        ends = [end for end, other in junctions.items() if other == junction]
        centre = np.mean([lines[line][end] for line, end in ends], axis=0)
        centres |= {end: [centre] for end in ends}
        ways = {end: direction(end) for end in ends}
        pairs = [(float(ways[a] @ ways[b]), a, b) for a, b in combinations(ends, 2)]
        for cosine, one, other in sorted(pairs):
            free = follows.degree[one] == follows.degree[other] == 1
            straight = cosine < STRAIGHT or len(ends) == 2
            if free and straight and not nx.has_path(follows, one, other):
                follows.add_edge(one, other)
    for chain in nx.connected_components(follows):
        first = min(end for end in chain if follows.degree[end] == 1)
        ends = list(nx.dfs_preorder_nodes(follows, first))
        path = [point for end in ends[::2] for point in (*centres.get(end, []), *away(end))]
        yield np.array([*path, *centres.get(ends[-1], [])])
