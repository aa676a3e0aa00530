"""What two labellings of the same pictures have to do with each other, and what that means.

Every verdict comes from the table of counts, old label by new. Three explanations are tried on
it: the labels have nothing to do with each other; every old class is mostly one new class; every
old class avoids one new class. Each predicts a table, and the one nearest to what was counted is
told, with its numbers.
Shapes: N pictures, A old classes, B new classes.
Source: Agresti 2013, "Categorical data analysis", 3rd edition, sections 3.2 (independence) and
11.3 (quasi-independence).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import chdtrc

from siglum.stats import Rate, wilson

Counts = NDArray[np.int64]
Groups = tuple[tuple[int, tuple[int, ...]], ...]
Kind = Literal[
    "single",  # fewer than two classes on a side: nothing to compare
    "agree",  # no more differences than the network's own mistakes
    "partly",  # the names agree, and some labels are wrong
    "renamed",  # one-to-one, under other names
    "regrouped",  # classes merged or split
    "avoided",  # a label names a class that the picture is not of
    "unrelated",  # no more information than shuffled labels have
    "weak",  # some information, and none of the above
]

SHUFFLES = 200
EXPLAINED = 0.7  # of the distance to independence, by the better of two explanations, or it is none
SURE = 0.01  # chance of being told of a relation where there is none


@dataclass(frozen=True)
class Association:
    """How much two labellings tell of each other."""

    information: float  # mutual, bits a picture
    possible: float  # the most it could be with these counts, bits: the smaller entropy
    shuffled: float  # mean of the information where old labels are shuffled: its bias, bits
    shuffled_p: float  # share of shuffles with as much information, the counts themselves included
    chi_square: float
    freedom: int  # degrees
    p: float  # of independence, by chi-square; 0 below 1e-308
    cramers_v: float  # 0 for independence, 1 where one label decides the other
    distance: float  # from independence: share of the pictures in another place than it predicts
    shuffled_distance: float  # its mean where old labels are shuffled


@dataclass(frozen=True)
class Pairing:
    """One new class for every old one, as far as both reach."""

    old: tuple[int, ...]
    new: tuple[int, ...]
    hits: Rate  # share of the pictures that lie in the pairs
    expected: float  # the same share if labels had nothing to do with each other
    explained: float  # of the distance to independence, beyond that of shuffles, in [0, 1]
    left: float  # what is left unexplained: share of the pictures in another place than predicted


@dataclass(frozen=True)
class Diagnosis:
    """What was found."""

    kind: Kind
    counts: Counts  # (A, B), old label by new
    association: Association
    agreement: Rate  # share whose old and new label have one name
    expected: float  # the same share if labels had nothing to do with each other
    best: Pairing  # with the most pictures in it
    worst: Pairing  # with the fewest, against what chance would give
    merged: Groups  # (old class, the new ones that it holds)
    split: Groups  # (new class, the old ones that it is cut into)
    gathered: float  # of the pictures outside the best pairs: share that lies elsewhere than by lot
    noise: float  # share of old labels that might as well be drawn by lot, beyond network mistakes


def count(old: NDArray[np.int64], new: NDArray[np.int64], shape: tuple[int, int]) -> Counts:
    """Count old label (row) against new label (column): int64 (A, B)."""
    flat = np.bincount(old * shape[1] + new, minlength=shape[0] * shape[1])
    return flat.reshape(shape).astype(np.int64)


def associate(
    old: NDArray[np.int64], new: NDArray[np.int64], shape: tuple[int, int], seed: int = 0
) -> Association:
    """Measure how much old labels (N,) tell of new ones (N,), against 200 shuffles of the old."""
    counts = count(old, new, shape)
    information = _information(counts)
    random = np.random.RandomState(seed)
    expected, bits, distances = independent(counts), [], []
    for _ in range(SHUFFLES):
        shuffled = count(random.permutation(old), new, shape)
        bits.append(_information(shuffled))
        distances.append(_moved(shuffled, expected))  # shuffling keeps the totals
    as_much = sum(value >= information for value in bits)
    rows, columns = (int((counts.sum(axis=axis) > 0).sum()) for axis in (1, 0))
    freedom, least = (rows - 1) * (columns - 1), min(rows, columns) - 1
    there = expected > 0
    chi_square = float(((counts[there] - expected[there]) ** 2 / expected[there]).sum())
    return Association(
        information=information,
        possible=min(_entropy(counts.sum(axis=axis)) for axis in (0, 1)),
        shuffled=float(np.mean(bits)),
        shuffled_p=(1 + as_much) / (1 + SHUFFLES),
        chi_square=chi_square,
        freedom=freedom,
        p=float(chdtrc(freedom, chi_square)) if freedom else 1.0,
        cramers_v=math.sqrt(chi_square / (len(old) * least)) if least else 0.0,
        distance=_moved(counts, expected),
        shuffled_distance=float(np.mean(distances)),
    )


def diagnose(
    old: NDArray[np.int64],
    new: NDArray[np.int64],
    old_classes: tuple[str, ...],
    new_classes: tuple[str, ...],
    accuracy: Rate | None,
) -> Diagnosis:
    """Say what is wrong with old labels, taking new ones for nearly right.

    Args:
        old: int64 (N,), of `old_classes`.
        new: int64 (N,), of `new_classes`.
        accuracy: how often the new labels are right where that is known; None where it is not.
    """
    counts = count(old, new, (len(old_classes), len(new_classes)))
    association = associate(old, new, counts.shape)
    total, expected = len(old), independent(counts)
    same = np.array([[a == b for b in new_classes] for a in old_classes])
    agreement = wilson(int(counts[same].sum()), total)
    best = _pairing(counts, linear_sum_assignment(counts, maximize=True), association)
    worst = _pairing(counts, linear_sum_assignment(counts - expected), association)
    merged, split = _groups(counts)
    by_name = agreement.value - expected[same].sum() / total
    renamed = by_name < 0.9 * (best.hits.value - best.expected) or any(
        not same[a, b] and 2 * counts[a, b] > counts[a].sum()
        for a, b in zip(best.old, best.new, strict=True)
    )
    right = accuracy.value if accuracy else 1.0
    surely_right = accuracy.low if accuracy else 1.0
    if (counts.sum(axis=1) > 0).sum() < 2 or (counts.sum(axis=0) > 0).sum() < 2:
        kind: Kind = "single"
    elif association.shuffled_p > SURE:
        kind = "unrelated"
    elif merged or split:
        kind = "regrouped"
    elif max(best.explained, worst.explained) < EXPLAINED:
        kind = "weak"
    elif worst.explained > best.explained:
        kind = "avoided"
    elif renamed:
        kind = "renamed"
    elif best.hits.high >= surely_right:
        kind = "agree"
    else:
        kind = "partly"
    beyond = (right - best.hits.value) / max(right - best.expected, 1e-9)
    return Diagnosis(
        kind=kind,
        counts=counts,
        association=association,
        agreement=agreement,
        expected=float(expected[same].sum() / total),
        best=best,
        worst=worst,
        merged=merged,
        split=split,
        gathered=_gathered(counts, best),
        noise=min(max(beyond, 0.0), 1.0),
    )


def independent(counts: Counts) -> NDArray[np.float64]:
    """Return the counts that labels with these totals would have if they were unrelated: (A, B)."""
    table: NDArray[np.float64] = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    return table


def quasi_independent(counts: Counts, special: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the counts if labels were unrelated outside the special cells, which are kept: (A, B).

    Fitted by turns to the totals of rows and columns.
    """
    outside = np.where(special, 0, counts)
    fitted = np.where(special, 0.0, 1.0)
    for _ in range(100):
        for axis in (0, 1):
            have = fitted.sum(axis=axis, keepdims=True)
            wanted = outside.sum(axis=axis, keepdims=True)
            fitted *= np.divide(wanted, have, out=np.zeros_like(have), where=have > 0)
    return np.where(special, counts, fitted)


def _pairing(
    counts: Counts,
    pairs: tuple[NDArray[np.integer], NDArray[np.integer]],
    association: Association,
) -> Pairing:
    special = np.zeros(counts.shape, dtype=bool)
    special[pairs] = True
    left = _moved(counts, quasi_independent(counts, special))
    chance = association.shuffled_distance
    open_, without = max(left - chance, 0.0), max(association.distance - chance, 0.0)
    return Pairing(
        old=tuple(pairs[0].tolist()),
        new=tuple(pairs[1].tolist()),
        hits=wilson(int(counts[special].sum()), int(counts.sum())),
        expected=float(independent(counts)[special].sum() / counts.sum()),
        explained=max(1 - open_ / without, 0.0) if without else 0.0,
        left=left,
    )


def _gathered(counts: Counts, best: Pairing) -> float:
    """Return how far the pictures outside the pairs are from lying there by lot, in [0, 1].

    It is the share of them that would have to move, less what chance moves in so few.
    """
    outside, by_lot = counts.copy(), independent(counts)
    for table in (outside, by_lot):
        table[list(best.old), list(best.new)] = 0
    total = int(outside.sum())
    if not total:
        return 0.0
    by_lot /= by_lot.sum()
    apart = np.abs(outside / total - by_lot).sum() / 2
    chance = np.sqrt(2 * by_lot * (1 - by_lot) / (math.pi * total)).sum() / 2
    return max(float(apart - chance), 0.0)


def _moved(counts: Counts, predicted: NDArray[np.float64]) -> float:
    """Share of the pictures that would have to move for the counts to be as predicted."""
    return float(np.abs(counts - predicted).sum() / 2 / counts.sum())


def _groups(counts: Counts) -> tuple[Groups, Groups]:
    """Find old classes that hold several new ones, and new ones that are cut into several old.

    Two classes belong together where more than half of one lies in the other: surely (by the
    lower end of the interval), and of what is not there by chance.
    """
    rows, columns, total = counts.sum(axis=1), counts.sum(axis=0), int(counts.sum())

    def belongs(hits: int, size: int, other: int) -> bool:
        by_chance = other / total
        return wilson(hits, size).low > by_chance + (1 - by_chance) / 2

    linked = np.array(
        [
            [
                belongs(n, int(rows[a]), int(columns[b]))
                or belongs(n, int(columns[b]), int(rows[a]))
                for b, n in enumerate(line)
            ]
            for a, line in enumerate(counts.tolist())
        ]
    )
    merged = [(a, np.flatnonzero(line)) for a, line in enumerate(linked) if line.sum() > 1]
    split = [(b, np.flatnonzero(line)) for b, line in enumerate(linked.T) if line.sum() > 1]
    return (
        tuple((a, tuple(found.tolist())) for a, found in merged),
        tuple((b, tuple(found.tolist())) for b, found in split),
    )


def _information(counts: Counts) -> float:
    """Mutual information of the labels, bits a picture, as the counts have it."""
    joint, apart = counts / counts.sum(), independent(counts) / counts.sum()
    there = joint > 0
    return max(float((joint[there] * np.log2(joint[there] / apart[there])).sum()), 0.0)


def _entropy(totals: Counts) -> float:
    shares = totals[totals > 0] / totals.sum()
    return float(-(shares * np.log2(shares)).sum())
