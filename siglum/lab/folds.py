"""Folds of a cross-validation: stratified by class, or whole writers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from siglum.errors import ConfigError
from siglum.images.imageset import ImageSet

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]  # indices to train on and to test on, ascending


def folds(images: ImageSet, count: int, seed: int, by_writer: bool = False) -> list[Fold]:
    """Split a set into `count` folds.

    Raises:
        ConfigError: if a class has fewer images than there are folds, or there are fewer writers.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    writers = known_writers(images) if by_writer else None
    smallest = int(images.counts.argmin())
    limit = len(set(writers)) if writers is not None else int(images.counts[smallest])
    if limit < count:
        unit = "writers" if by_writer else f"images of class {images.classes[smallest]!r}"
        remedy = "use --split stratified" if by_writer else "leave the class out"
        raise ConfigError(
            f"folds must be at most the {limit} {unit} in {images.source}, got {count}. Use fewer "
            f"folds, or {remedy}."
        )
    splitter = StratifiedGroupKFold if by_writer else StratifiedKFold
    splits = splitter(count, shuffle=True, random_state=seed).split(
        np.zeros(len(images)),
        images.labels,
        None if writers is None else np.unique(np.array(writers), return_inverse=True)[1],
    )
    return [
        (np.sort(train).astype(np.int64), np.sort(test).astype(np.int64)) for train, test in splits
    ]


def known_writers(images: ImageSet) -> Sequence[str]:
    """Return the writer of each image; raise ConfigError if they are unknown."""
    if images.writers is None:
        raise ConfigError(
            "A split by writer needs the writers. Give a pattern whose group is the writer in a "
            r"file name, such as --writers='-(\d+)\.'."
        )
    return images.writers
