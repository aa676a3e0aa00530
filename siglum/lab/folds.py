"""Folds: a set cut into parts, each of which is once the test part.

The cuts are scikit-learn's. Every class is dealt evenly; by writer, whole writers are dealt, the
classes as evenly as that allows.
Shapes: N pictures.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from siglum.errors import ConfigError
from siglum.images.imageset import ImageSet

Part = tuple[NDArray[np.int64], NDArray[np.int64]]  # kept and held-out indices, each ascending


def folds(images: ImageSet, count: int, seed: int, by_writer: bool = False) -> list[Part]:
    """Cut a set into `count` folds.

    Raises:
        ConfigError: if a class has fewer pictures than there are folds, or there are fewer writers.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if by_writer:
        writers = known_writers(images)
        if len(set(writers)) < count:
            raise ConfigError(
                f"folds must be at most the {len(set(writers))} writers of {images.source}, got "
                f"{count}. Ask for fewer folds, or use --split stratified."
            )
        groups = np.unique(np.array(writers), return_inverse=True)[1]
        cut = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    else:
        few = int(images.counts.argmin())
        if images.counts[few] < count:
            raise ConfigError(
                f"folds must be at most the {images.counts[few]} pictures of the smallest class, "
                f"{images.classes[few]!r} of {images.source}, got {count}. Ask for fewer folds, "
                "or leave the class out."
            )
        groups = None
        cut = StratifiedKFold(count, shuffle=True, random_state=seed)
    parts = cut.split(np.zeros(len(images)), images.labels, groups)
    return [
        (np.sort(kept).astype(np.int64), np.sort(held).astype(np.int64)) for kept, held in parts
    ]


def known_writers(images: ImageSet) -> Sequence[str]:
    """Return each picture's writer.

    Raises:
        ConfigError: if they are not known.
    """
    if images.writers is None:
        raise ConfigError(
            "split by writer needs to know the writers. Give a pattern whose group finds "
            r"them in the file names, such as --writers='-(\d+)\.'."
        )
    return images.writers
