"""Two maps of the features, with the pictures themselves where there is room."""

import numpy as np
from numpy.typing import NDArray

from siglum.lab.examine.features import Embedding
from siglum.report.examine.canvas import Canvas, Look, canvas, frames, ink, short, write

SIDE, APART = 504, 32  # of a map, and between the two, px
THUMB = 22  # px
MOST = 320  # thumbnails on a map; the other pictures are dots


def embedding_finding(found: Embedding) -> str:
    """Say what is mapped."""
    share = 100 * float(found.explained.sum())
    count, kind = len(found.pictures), found.kind
    some = f"{count:,}" if count == found.of else f"{count:,} of {found.of:,}"
    return (
        f"{some} {kind}s by their features: the two main directions hold {share:.0f} % of the "
        "variance (left); t-SNE keeps neighbours together (right)"
    )


def draw_embedding(found: Embedding, look: Look) -> Canvas:
    """Draw both maps, with the name of each class at the middle of its pictures."""
    on = canvas(2 * SIDE + APART, SIDE + 24, look, embedding_finding(found))
    names = ("principal components", f"t-SNE, perplexity {found.perplexity:.0f}")
    for index, (places, name) in enumerate(zip((found.pca, found.tsne), names, strict=True)):
        left = index * (SIDE + APART)
        write(on, left, 8, name, size=12, colour=look.quiet)
        frames(on, [(left, 22, SIDE, SIDE)])
        _map(on, found, _fitted(places, stretched=index == 1) + np.array([left, 22]))
    return on


def _map(on: Canvas, found: Embedding, places: NDArray[np.floating]) -> None:
    shown = _apart(places)
    dots = np.setdiff1d(np.arange(len(places)), shown)
    on.axes.scatter(places[dots, 0], places[dots, 1], s=2, c=on.look.quiet, zorder=1, lw=0)
    for index in shown:
        x, y = places[index] - THUMB / 2
        ink(on, found.pictures[index], x, y, THUMB, strength=0.75)
    for label, name in enumerate(found.classes):
        mine = places[found.labels == label]
        if len(mine):
            x, y = np.median(mine, axis=0)
            write(on, x, y, short(name, 14), size=20, colour=on.look.accent, ha="center", halo=True)


def _fitted(places: NDArray[np.floating], stretched: bool) -> NDArray[np.floating]:
    """Bring (N, 2) into the frame; in one scale for both axes unless stretched to fill it."""
    low, high = places.min(axis=0), places.max(axis=0)
    room = SIDE - THUMB - 8
    span = high - low if stretched else np.full(2, (high - low).max())
    scaled = (places - (low + high) / 2) / np.where(span > 0, span, 1) * room
    fitted: NDArray[np.floating] = scaled * [1, -1] + SIDE / 2
    return fitted


def _apart(places: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return pictures that do not cover each other, taken by chance."""
    kept: list[int] = []
    for index in np.random.RandomState(0).permutation(len(places)).tolist():
        if len(kept) == MOST:
            break
        if not kept or (np.abs(places[kept] - places[index]).max(axis=1) >= THUMB).all():
            kept.append(index)
    return np.array(kept, np.int64)
