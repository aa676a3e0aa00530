"""What a set of pictures is like: counts, sizes, polarity, exact duplicates."""

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siglum.images import decode
from siglum.images.decode import Unreadable
from siglum.images.imageset import CHUNK, ImageSet


@dataclass(frozen=True)
class Description:
    """A set in figures."""

    source: str
    classes: tuple[str, ...]
    counts: tuple[int, ...]  # pictures a class
    writers: int | None  # how many, where known
    sizes: tuple[tuple[str, int], ...]  # ("28 x 28", pictures), the commonest first, width first
    light_paper: int  # pictures with dark ink on light paper, as they were found
    duplicates: int  # pictures whose pixels are those of an earlier picture of the set
    contradictions: int  # of these, the ones whose class is another
    duplicate_examples: tuple[tuple[str, str], ...]  # names, or numbers, of up to five pairs
    unreadable: tuple[Unreadable, ...]
    fingerprint: str


def describe(images: ImageSet) -> Description:
    """Look at every picture of a set once."""
    if images.originals is not None:
        digests, light = (
            images.originals.digests[images.rows],
            images.originals.light[images.rows],
        )
        sides, counts = np.unique(images.originals.sizes[images.rows], axis=0, return_counts=True)
    else:
        digests, light = _digests(images), decode.has_light_background(images.images)
        sides, counts = np.array([images.shape[1:]]), np.array([len(images)])
    sizes = {f"{w} x {h}": n for (h, w), n in zip(sides.tolist(), counts.tolist(), strict=True)}
    _, first, number = np.unique(digests, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[number] != np.arange(len(digests)))
    pairs = np.stack([first[number[again]], again], axis=1)  # (earlier, later)
    names = images.files or range(len(images))
    return Description(
        source=images.source,
        classes=images.classes,
        counts=tuple(images.counts.tolist()),
        writers=None if images.writers is None else len(set(images.writers)),
        sizes=tuple(Counter(sizes).most_common()),
        light_paper=int(light.sum()),
        duplicates=len(pairs),
        contradictions=int((images.labels[pairs[:, 0]] != images.labels[pairs[:, 1]]).sum()),
        duplicate_examples=tuple((str(names[a]), str(names[b])) for a, b in pairs[:5]),
        unreadable=images.unreadable,
        fingerprint=images.fingerprint,
    )


def _digests(images: ImageSet) -> NDArray[np.uint64]:
    """Number the pictures so that equal ones have equal numbers."""
    numbers: defaultdict[bytes, int] = defaultdict(lambda: len(numbers))
    found = []
    for start in range(0, len(images), CHUNK):
        found += [numbers[image.tobytes()] for image in images.take(slice(start, start + CHUNK))]
    return np.array(found, dtype=np.uint64)
