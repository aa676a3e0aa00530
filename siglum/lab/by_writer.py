"""How well each writer is read: pictures of one hand are alike, and hang together in an error.

Shapes: N pictures of the test set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.lab.arms import Arm
from siglum.lab.paired import Right
from siglum.stats import Rate


@dataclass(frozen=True)
class Reading:
    """What one arm read of one writer's pictures."""

    right: float  # pictures, mean over the seeds
    rate: Rate  # of that, to the nearest picture


@dataclass(frozen=True)
class Writer:
    """One writer."""

    name: str
    pictures: int
    readings: tuple[Reading | None, ...]  # of each arm; None without a finished run


@dataclass(frozen=True)
class ByWriter:
    """The test pictures by their writers."""

    arms: tuple[str, ...]
    writers: tuple[Writer, ...]  # the worst read first, over all arms
    intervals: tuple[tuple[float, float] | None, ...]  # of each arm's accuracy on other writers


def by_writer(arms: Sequence[Arm], right: Sequence[Mapping[int, Right]]) -> ByWriter | None:
    """Count by writer; None where the writers of the test pictures are not known or just one.

    Args:
        right: of each arm, by seed: which pictures were read right.
    """
    names = next((run.predictions().get("test_writers") for arm in arms for run in arm.runs), None)
    if names is None or len(np.unique(names)) < 2:
        return None
    shares = [np.mean(list(each.values()), axis=0) if each else None for each in right]
    people, index = np.unique(names, return_inverse=True)
    writers = []
    for number, person in enumerate(people.tolist()):
        mine = index == number
        total = int(mine.sum())
        sums = [None if share is None else float(share[mine].sum()) for share in shares]
        readings = tuple(
            None if hits is None else Reading(hits, stats.wilson(round(hits), total))
            for hits in sums
        )
        writers.append(Writer(person, total, readings))
    return ByWriter(
        tuple(arm.name for arm in arms),
        tuple(sorted(writers, key=_share)),
        tuple(None if share is None else over_writers(share, index) for share in shares),
    )


def over_writers(share: NDArray[np.floating], index: NDArray[np.integer]) -> tuple[float, float]:
    """Return the 95 % interval of accuracy on other writers' pictures, as many of each.

    Never narrower than Wilson's, which takes the pictures for unrelated: few writers who were all
    read right tell little of others.

    Args:
        share: (N,), of the seeds that read each picture right.
        index: (N,), the writer's number.
    """
    rate = stats.wilson(round(float(share.sum())), len(share))
    low, high = stats.cluster_bootstrap(share, index)
    return min(low, rate.low), max(high, rate.high)


def _share(writer: Writer) -> tuple[float, int, str]:
    there = [reading.right for reading in writer.readings if reading is not None]
    return sum(there) / (len(there) * writer.pictures), -writer.pictures, writer.name
