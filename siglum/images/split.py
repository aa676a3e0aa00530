"""Which pictures are held out: seeded, and the same on every machine.

The shuffling is `numpy.random.RandomState`, whose stream NumPy has frozen for good; the newer
generators may change theirs between releases.
Shapes: N pictures.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from siglum.errors import ConfigError

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


def folds(
    labels: NDArray[np.integer], k: int, seed: int, writers: Sequence[str] | None = None
) -> list[tuple[Indices, Indices]]:
    """Cut a set into `k` parts and return, for each, the kept and the held-out indices.

    With `writers`, no writer is on both sides, and the largest writers are dealt first to the
    emptiest part; without, every class is dealt evenly.

    Raises:
        ConfigError: if `k` is below 2 or above the number of pictures or writers.
    """
    people = None if writers is None else np.unique(np.array(writers), return_inverse=True)[1]
    most = len(labels) if people is None else int(people.max()) + 1
    if not 2 <= k <= most:
        raise ConfigError(f"k must be from 2 to {most} for this set, got {k}.")
    random = np.random.RandomState(seed)
    part = np.empty(len(labels), dtype=np.int64)
    if people is None:
        dealt = 0
        for label in np.unique(labels):
            members = random.permutation(np.flatnonzero(labels == label))
            part[members] = (np.arange(len(members)) + dealt) % k
            dealt += len(members)
    else:
        sizes = np.bincount(people)
        load = np.zeros(k, dtype=np.int64)
        shuffled = random.permutation(most)
        for person in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
            part[people == person] = load.argmin()
            load[load.argmin()] += sizes[person]
    return [_parts(len(labels), np.flatnonzero(part == i)) for i in range(k)]


def _parts(count: int, held: NDArray[np.integer]) -> tuple[Indices, Indices]:
    mask = np.zeros(count, dtype=bool)
    mask[held] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)
