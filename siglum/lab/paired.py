"""Two arms on the same pictures with the same seeds: which of them is better, and how sure that is.

Chance comes in twice. Another seed would give other networks (another split, other first weights,
another order); another test set would hold other pictures. So a difference has three intervals:

- over seeds: Student's t of the differences, a seed each. The pictures are taken as they are.
- over pictures: the bootstrap of each picture's difference, the mean over the seeds. The networks
  are taken as they are. Adding up the seeds' McNemar counts instead would count one picture
  several times as if it were several pictures.
- over both: the variances of the two added up, with Satterthwaite's degrees of freedom, and never
  narrower than over seeds: with 2 or 3 seeds whose luck outweighs that of the pictures, the sum
  alone would tell equals apart in more than 5 of 100 cases. The variance that belongs to one seed
  on one picture is in both, so that the interval is rather too wide than too narrow.
  This one decides what is said to be shown.

Each network's validation pictures differ with its seed. There the pictures of all seeds stand side
by side, the spread over seeds already holds the luck of the pictures, and the interval over both is
wider than it need be.

Where pictures were cut into folds, the trainings of a seed share most of their pictures, and so do
those of all seeds: how far the differences of the folds spread then tells too little of how far
those of other trainings would, and the interval over seeds is the corrected one.

Source: Clark 1973, "The language-as-fixed-effect fallacy", Journal of Verbal Learning and Verbal
Behavior 12 (where the sum decides, t squared is its min F'); Dietterich 1998, "Approximate
statistical tests for comparing supervised classification learning algorithms", Neural Computation
10, for McNemar's test of two networks; Nadeau, Bengio 2003, "Inference for the generalization
error", Device Learning 52, for folds, and Bouckaert, Frank 2004, "Evaluating the replicability of
significance tests for comparing learning algorithms", PAKDD, for repeats of them.
Shapes: N pictures, S seeds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

from siglum import stats

SAME = 1e-12  # differences of shares this close are one difference, rounded twice

Right = NDArray[np.bool_]  # (N,), whether each picture was read right


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a difference, and the p that the difference is 0."""

    low: float
    high: float
    p: float
    adjusted: float  # p after Holm, over all tests of the kind on the page


@dataclass(frozen=True)
class SeedPair:
    """Two networks of one seed on the same pictures."""

    seed: int
    both: int  # pictures read right
    only_first: int
    only_second: int
    neither: int
    difference: float  # of the accuracies, the first minus the second
    over_pictures: Interval  # bootstrap; p of McNemar's exact test


@dataclass(frozen=True)
class Pair:
    """Two arms, over the seeds that both have; None where there are too few."""

    first: str
    second: str
    seeds: tuple[SeedPair, ...]
    pictures: int  # that the difference stands on; of all seeds where each has its own
    accuracies: tuple[float, float] | None  # means over the seeds
    difference: float | None
    over_seeds: Interval | None  # needs 2 seeds that do not all differ by the same
    over_pictures: tuple[float, float] | None
    over_both: Interval | None  # needs 2 seeds


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of at least two values, by Student's t."""
    count = len(values)
    quantile = float(distributions.t.ppf(0.975, count - 1))
    half = quantile * float(np.std(values, ddof=1)) / math.sqrt(count)
    middle = float(np.mean(values))
    return middle - half, middle + half


def over_splits(values: Sequence[float], ratio: float) -> tuple[float, float, float]:
    """Return the 95 % interval of a mean over folds, and the p that it is 0: corrected t.

    Args:
        values: one a fold of every repeat: at least 2.
        ratio: pictures tested on for each trained on: 1 / (folds - 1).

    Source: Nadeau, Bengio 2003, "Inference for the generalization error", Device Learning 52,
    the corrected resampled t-test.
    """
    count, middle = len(values), float(np.mean(values))
    error = math.sqrt((1 / count + ratio) * float(np.var(values, ddof=1)))
    half = float(distributions.t.ppf(0.975, count - 1)) * error
    if error < SAME:
        return middle, middle, float(abs(middle) < SAME)
    p = float(2 * distributions.t.sf(abs(middle) / error, count - 1))
    return middle - half, middle + half, p


@dataclass(frozen=True)
class Folds:
    """How the pictures of all seeds were cut into folds."""

    parts: Mapping[int, Sequence[NDArray[np.integer]]]  # by seed: the pictures of each fold
    ratio: float  # pictures tested on for each trained on


def pair(
    first: str,
    second: str,
    first_right: Mapping[int, Right],
    second_right: Mapping[int, Right],
    same_pictures: bool,
    folds: Folds | None = None,
) -> Pair:
    """Compare two arms over the seeds that both have; p values are not adjusted yet.

    Args:
        first_right: by seed.
        second_right: by seed, on the same pictures as the first's of that seed.
        same_pictures: whether all seeds were measured on the same pictures.
        folds: of both arms, where each picture was read by the training that had not seen it.
    """
    common = sorted(first_right.keys() & second_right.keys())
    if not common:
        return Pair(first, second, (), 0, None, None, None, None, None)
    ours, theirs = ([right[s] for s in common] for right in (first_right, second_right))
    seeds = tuple(_of_one_seed(*each) for each in zip(common, ours, theirs, strict=True))
    gather = _mean_over_seeds if same_pictures else np.concatenate
    shares = gather(ours), gather(theirs)  # (N,) or, side by side, (S N,)
    accuracies = tuple(float(np.mean([r.mean() for r in right])) for right in (ours, theirs))
    differences = [seed.difference for seed in seeds]
    of_pictures = shares[0].astype(float) - shares[1]
    over_seeds, over_both = _over_seeds(ours, theirs), _over_both(differences, of_pictures)
    if folds is not None:
        splits = [
            float(np.mean(a[rows].astype(float) - b[rows]))
            for seed, a, b in zip(common, ours, theirs, strict=True)
            for rows in folds.parts[seed]
        ]
        low, high, p = over_splits(splits, folds.ratio)
        over_seeds = Interval(low, high, p, p) if high > low else None
        over_both = _over_both(splits, of_pictures, folds.ratio)
    return Pair(
        first,
        second,
        seeds,
        pictures=len(shares[0]),
        accuracies=(accuracies[0], accuracies[1]),
        difference=float(np.mean(differences)),
        over_seeds=over_seeds,
        over_pictures=stats.paired_bootstrap(*shares),
        over_both=over_both,
    )


def adjust(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Adjust p values after Holm: those over both, over seeds and of McNemar, each kind alone."""
    both = iter(stats.holm([p.over_both.p for p in pairs if p.over_both]))
    over = iter(stats.holm([p.over_seeds.p for p in pairs if p.over_seeds]))
    each = iter(stats.holm([s.over_pictures.p for p in pairs for s in p.seeds]))
    return tuple(
        replace(
            p,
            over_both=p.over_both and replace(p.over_both, adjusted=next(both)),
            over_seeds=p.over_seeds and replace(p.over_seeds, adjusted=next(over)),
            seeds=tuple(
                replace(s, over_pictures=replace(s.over_pictures, adjusted=next(each)))
                for s in p.seeds
            ),
        )
        for p in pairs
    )


def _mean_over_seeds(right: Sequence[Right]) -> NDArray[np.floating]:
    return np.asarray(np.mean(right, axis=0))


def _of_one_seed(seed: int, first: Right, second: Right) -> SeedPair:
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    p = stats.mcnemar(only_first, only_second)
    return SeedPair(
        seed=seed,
        both=int((first & second).sum()),
        only_first=only_first,
        only_second=only_second,
        neither=int((~first & ~second).sum()),
        difference=(only_first - only_second) / len(first),
        over_pictures=Interval(*stats.paired_bootstrap(first, second), p, p),
    )


def _over_seeds(first: Sequence[Right], second: Sequence[Right]) -> Interval | None:
    ours, theirs = [r.mean() for r in first], [r.mean() for r in second]
    differences = [float(a - b) for a, b in zip(ours, theirs, strict=True)]
    # Equal differences of few pictures would make a p of 0 of their coarseness.
    if len(differences) < 2 or max(differences) - min(differences) < SAME:
        return None
    p = float(distributions.ttest_rel(ours, theirs).pvalue)
    return Interval(*t_interval(differences), p, p)


def _over_both(
    differences: Sequence[float], of_pictures: NDArray[np.floating], ratio: float = 0.0
) -> Interval | None:
    """Return the wider of the interval by the two variances added up and that over seeds.

    Args:
        differences: a seed each, or a fold of a seed; at least 2.
        of_pictures: (N,), a picture each, at least 2.
        ratio: for folds, pictures tested on for each trained on.
    """
    seeds, pictures, middle = len(differences), len(of_pictures), float(np.mean(differences))
    if seeds < 2 or pictures < 2:
        return None
    a = float(np.var(differences, ddof=1)) * (1 / seeds + ratio)
    b = float(np.var(of_pictures, ddof=1)) / pictures
    if a + b < SAME**2:
        p = float(abs(middle) < SAME)
        return Interval(middle, middle, p, p)
    tests = [(math.sqrt(a + b), (a + b) ** 2 / (a * a / (seeds - 1) + b * b / (pictures - 1)))]
    if a > SAME**2:
        tests.append((math.sqrt(a), seeds - 1.0))
    half = max(float(distributions.t.ppf(0.975, freedom)) * error for error, freedom in tests)
    p = max(float(2 * distributions.t.sf(abs(middle) / error, freedom)) for error, freedom in tests)
    return Interval(middle - half, middle + half, p, p)
