"""Find confusables: characters whose shape alone cannot tell them apart, such as o and O.

Shapes: N images, K classes, D pixels of a small image.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from siglum.images.imageset import ImageSet
from siglum.recogniser.head import unit

ALIKE = 0.97  # cosine of two blurred images of one face from which they look alike
CASES = 0.88  # the same for the two cases of a letter: strokes stay, so that o is bolder than O
SHARE = 0.5  # of the faces that have both characters, from which these are confusables
ROWS = 1024  # images compared at once with all others of their face


def confusable_pairs(images: ImageSet) -> dict[tuple[str, str], float]:
    """Return every two characters that look alike, with the share of faces in which they do.

    Args:
        images: one image per character and face; the writer is the face.
    """
    assert images.writers is not None
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
    return {
        (images.classes[a], images.classes[b]): same / int((has[a] & has[b]).sum())
        for (a, b), same in sorted(counted.items())
    }


def confusable_groups(pairs: Mapping[tuple[str, str], float]) -> list[tuple[str, ...]]:
    """Return groups of characters that look alike in most faces, a character in one at most.

    Those that look alike most often find together first, and only where each looks like every
    other; then the groups of two cases of a letter that look alike, with all that is in them.
    """
    near = {frozenset(pair): share for pair, share in pairs.items() if share >= SHARE}
    group: dict[str, frozenset[str]] = {}
    ordered = [sorted(pair) for pair in sorted(near, key=lambda pair: (-near[pair], sorted(pair)))]
    for cased in (False, True):
        for one, other in ordered:
            if (one.upper() == other.upper()) != cased:
                continue
            first, second = group.get(one, frozenset(one)), group.get(other, frozenset(other))
            if cased or all(frozenset((a, b)) in near for a in first for b in second):
                group |= dict.fromkeys(first | second, first | second)
    return sorted({tuple(sorted(members)) for members in group.values()})


def _features(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images (N, S, S) averaged over 2 x 2 px around every second one: (N, D), unit."""
    padded = np.pad(frames.astype(np.float32), ((0, 0), (1, 1), (1, 1)))
    summed = padded[:, :-1] + padded[:, 1:]
    return unit((summed[:, :, :-1] + summed[:, :, 1:])[:, ::2, ::2].reshape(len(frames), -1))
