"""Which pictures are held out: seeded, and the same on every machine.

The shuffling is `numpy.random.RandomState`, whose stream NumPy has frozen for good; the newer
generators may change theirs between releases.
Shapes: N pictures.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from siglum.errors import ConfigError
from siglum.images.imageset import ImageSet

WRITER = re.compile(r"(?:^|/)(w\d+)_[^/]*$")  # w07_02.png: the second image of writer w07

Indices = NDArray[np.int64]


def stratified(labels: NDArray[np.integer], share: float, seed: int) -> tuple[Indices, Indices]:
    """Hold out `share` of every class, to the nearest picture, never the last one of a class.

    Args:
        labels: (N,).
        share: fraction in [0, 1).
        seed: any int in [0, 2**32).

    Returns:
        Kept and held-out indices, each ascending.
    """
    random = np.random.RandomState(seed)
    held = []
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        held.append(members[: min(round(len(members) * share), len(members) - 1)])
    return _parts(len(labels), np.concatenate(held) if held else np.empty(0, np.int64))


def by_writer(writers: Sequence[str], share: float, seed: int) -> tuple[Indices, Indices]:
    """Hold out whole writers, in shuffled order, until at least `share` of the pictures is held.

    Raises:
        ConfigError: if there are fewer than two writers.
    """
    names = np.array(writers)
    people = np.unique(names)
    if len(people) < 2:
        raise ConfigError(
            f"split by writer must have at least 2 writers, got {len(people)}. "
            "Give --writers a pattern that finds them, or use --split stratified."
        )
    held: set[str] = set()
    count = 0
    for person in np.random.RandomState(seed).permutation(people)[:-1]:
        if count >= share * len(names):
            break
        held.add(person)
        count += int((names == person).sum())
    return _parts(len(names), np.flatnonzero(np.isin(names, sorted(held))))


def per_class(
    labels: NDArray[np.integer], count: int, seed: int, classes: Sequence[str]
) -> Indices:
    """Draw `count` pictures of every class; a smaller count draws some of a larger one's.

    Args:
        labels: (N,).
        classes: K names, in label order.

    Returns:
        Indices, ascending.

    Raises:
        ConfigError: if a class has fewer pictures.
    """
    random = np.random.RandomState(seed)
    drawn = []
    for label, name in enumerate(classes):
        members = random.permutation(np.flatnonzero(labels == label))
        if len(members) < count:
            raise ConfigError(
                f"per_class must be at most the {len(members)} pictures of class {name!r} that "
                f"there are to train on, got {count}. Ask for fewer, or hold out less."
            )
        drawn.append(members[:count])
    return np.sort(np.concatenate(drawn))


def _parts(count: int, held: NDArray[np.integer]) -> tuple[Indices, Indices]:
    mask = np.zeros(count, dtype=bool)
    mask[held] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def writers_of(images: ImageSet) -> tuple[str, ...] | None:
    """Return each image's writer: as the set has it, or from file names such as `w07_02.png`.

    None where the writer of any image is unknown.
    """
    if images.writers is not None or images.files is None:
        return images.writers
    matches = [WRITER.search(name) for name in images.files]
    return tuple(match[1] for match in matches if match) if all(matches) else None
