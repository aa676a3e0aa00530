"""Find confusables: characters whose shape alone cannot tell them apart, such as o and O.

Shapes: N pictures, K classes, D pixels of a small picture.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siglum.errors import ConfigError
from siglum.images.imageset import ImageSet

ALIKE = 0.97  # cosine of two blurred pictures of one face from which they look alike
CASES = 0.88  # the same for the two cases of a letter: strokes stay, so that o is bolder than O
SHARE = 0.5  # share of the faces that have both
ROWS = 1024  # pictures compared at once with all others of their face


@dataclass(frozen=True)
class Pair:
    """Two characters, and the number of faces in which they look alike."""

    one: str
    other: str
    faces: int  # in which they look alike
    both: int  # that have both


def confusable_pairs(images: ImageSet) -> list[Pair]:
    """Return every two characters that look alike in at least one face.

    Args:
        images: one picture a character and face.

    Raises:
        ConfigError: if it is not known which face drew a picture.
    """
    if images.writers is None:
        raise ConfigError(f"images must be of known faces, got none for {images.source}.")
    faces, face = np.unique(np.array(images.writers), return_inverse=True)
    order = np.argsort(face, kind="stable")
    upper = np.array([name.upper() for name in images.classes])
    counted: Counter[tuple[int, int]] = Counter()
    has = np.zeros((len(images.classes), len(faces)), dtype=bool)
    has[images.labels, face] = True
    for rows in np.split(order, np.flatnonzero(np.diff(face[order])) + 1):
        small = _features(images.take(rows)[:, 0])
        labels = images.labels[rows]
        for start in range(0, len(rows), ROWS):
            cosine = small[start : start + ROWS] @ small.T
            near = np.argwhere(cosine >= CASES)
            one, other = labels[near[:, 0] + start], labels[near[:, 1]]
            enough = (cosine[near[:, 0], near[:, 1]] >= ALIKE) | (upper[one] == upper[other])
            enough &= one < other
            counted.update(zip(one[enough].tolist(), other[enough].tolist(), strict=True))
    return [
        Pair(images.classes[a], images.classes[b], same, int((has[a] & has[b]).sum()))
        for (a, b), same in sorted(counted.items())
    ]


def confusable_groups(pairs: list[Pair], share: float = SHARE) -> list[tuple[str, ...]]:
    """Return groups of characters that look alike in most faces, a character in one at most.

    Those that look alike most often find together first, and only where each looks like every
    other; then the groups of two cases of a letter that look alike, with all that is in them.

    Args:
        pairs: from `confusable_pairs`.
        share: share of the faces with both from which two look alike.
    """
    near = {
        frozenset((pair.one, pair.other)): pair.faces / pair.both
        for pair in pairs
        if pair.faces >= share * pair.both
    }
    group: dict[str, frozenset[str]] = {}
    ordered = [sorted(pair) for pair in sorted(near, key=lambda pair: (-near[pair], sorted(pair)))]
    for cased in (False, True):
        for one, other in ordered:
            if (one.upper() == other.upper()) != cased:
                continue
            left, right = group.get(one, frozenset(one)), group.get(other, frozenset(other))
            if cased or all(frozenset((a, b)) in near for a in left for b in right):
                group |= dict.fromkeys(left | right, left | right)
    return sorted({tuple(sorted(members)) for members in group.values()})


def _features(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pictures (N, S, S) averaged over 2 x 2 px around every second one: (N, D), unit."""
    padded = np.pad(frames.astype(np.float32), ((0, 0), (1, 1), (1, 1)))
    summed = padded[:, :-1] + padded[:, 1:]
    blurred = (summed[:, :, :-1] + summed[:, :, 1:])[:, ::2, ::2].reshape(len(frames), -1)
    unit: NDArray[np.float32] = blurred / np.linalg.norm(blurred, axis=1, keepdims=True).clip(1)
    return unit
