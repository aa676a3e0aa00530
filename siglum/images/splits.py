"""Seeded splits of N images, the same on every machine: the other and the held-out indices.

They use `numpy.random.RandomState`, whose stream is frozen; newer generators may change theirs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from siglum.errors import ConfigError

Indices = NDArray[np.int64]


def stratified(labels: NDArray[np.integer], share: float, seed: int) -> tuple[Indices, Indices]:
    """Hold out a share of every class, to the nearest image, never the last one of a class."""
    random = np.random.RandomState(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        held_out[members[: min(round(len(members) * share), len(members) - 1)]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def by_writer(writers: Sequence[str], share: float, seed: int) -> tuple[Indices, Indices]:
    """Hold out whole writers, in shuffled order, until at least a share of images is held out."""
    names = np.array(writers)
    people = np.unique(names)
    if share and len(people) < 2:
        problem = f"split by writer must have at least 2 writers, got {len(people)}."
        remedy = "Give --writers a pattern that finds them, or use --split stratified."
        raise ConfigError(f"{problem} {remedy}")
    held_out = np.zeros(len(names), dtype=bool)
    for person in np.random.RandomState(seed).permutation(people)[:-1]:
        if held_out.sum() >= share * len(names):
            break
        held_out |= names == person
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def per_class(labels: NDArray[np.integer], count: int, seed: int, names: Sequence[str]) -> Indices:
    """Sample `count` images of every class, ascending; fewer are a subset of more."""
    random = np.random.RandomState(seed)
    samples = []
    for label, name in enumerate(names):
        members = random.permutation(np.flatnonzero(labels == label))
        if len(members) < count:
            rule = f"samples_per_class must be at most {len(members)}, the training images of class"
            raise ConfigError(f"{rule} {name!r}, got {count}. Use fewer, or hold out less.")
        samples.append(members[:count])
    return np.sort(np.concatenate(samples))
