"""Which pictures an epoch shows, where some are to be shown more often than others.

Shapes: N pictures, K classes.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from siglum.errors import ConfigError, nearest
from siglum.images.imageset import ImageSet
from siglum.images.splits import writers_of

Labels = NDArray[np.int64]
Weights = NDArray[np.float64]


def weights(images: ImageSet, balance: float, prefer: Mapping[str, float]) -> Weights | None:
    """Return the probability of each picture to be the next one drawn: (N,), or None for all alike.

    A class is drawn in proportion to its number of pictures to the power of `1 - balance`, whoever
    made them; within it, a picture in proportion to what `prefer` says of its writer.

    Args:
        balance: in [0, 1]; 0 for classes as they come, 1 for all equally often.
        prefer: a factor above 0 by writer; 1 for those who are not named.
    """
    if not balance and not prefer:
        return None
    factors = _factors(images, prefer) if prefer else np.ones(len(images))
    share = images.counts.astype(np.float64)[images.labels] ** (1 - balance)
    of_class = np.bincount(images.labels, weights=factors, minlength=len(images.classes))
    drawn = share * factors / of_class[images.labels]
    found: Weights = drawn / drawn.sum()
    return found


def order(
    labels: Labels, weights: Weights | None, size: int, random: np.random.RandomState
) -> Labels:
    """Draw `size` pictures in a random order, and return where they lie: int64 (size,).

    Where a picture or a class is expected n times, it is drawn n times, rounded down or up. So with
    equal weights and `size` N every picture is drawn once.

    Args:
        labels: (N,).
        weights: (N,), adding up to 1; None for equal ones.

    Source: Madow 1949, "On the theory of systematic sampling, II", Annals of Mathematical
    Statistics 20; here class by class, in a random order within each.
    """
    count = len(labels)
    mixed = random.permutation(count)
    if weights is None and size == count:
        return mixed
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    chances = np.full(count, 1 / count) if weights is None else weights[by_class]
    ends = np.cumsum(chances) * size
    places = np.searchsorted(ends, np.arange(size) + random.random_sample(), side="right")
    drawn: Labels = by_class[np.minimum(places, count - 1)]
    return random.permutation(drawn)


def some(indices: Labels, most: int, seed: int) -> Labels:
    """Return at most so many of some indices, drawn by the seed, ascending."""
    return np.sort(np.random.RandomState(seed).permutation(indices)[:most])


def check(images: ImageSet, prefer: Mapping[str, float]) -> None:
    """Raise ConfigError where `prefer` names writers that a whole set does not have."""
    known = dict.fromkeys(_writers(images)) if prefer else {}
    for name in prefer:
        if name not in known:
            raise ConfigError(
                f"prefer must name writers of {images.source}, got {name!r}.{nearest(name, known)}"
            )


def _factors(images: ImageSet, prefer: Mapping[str, float]) -> Weights:
    return np.array([prefer.get(writer, 1.0) for writer in _writers(images)])


def _writers(images: ImageSet) -> tuple[str, ...]:
    writers = writers_of(images)
    if writers is None:
        raise ConfigError(f"prefer must name writers, and those of {images.source} are not known.")
    return writers
