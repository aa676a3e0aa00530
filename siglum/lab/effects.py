"""What each setting of a full grid does: means, interactions, and the luck of the best cell.

The variance of all runs' accuracies is cut, without rest, into what each setting does, what two or
three of them do together, what a seed does to all cells alike (a block: its split, its order), and
what is left over: the chance of a single training. That needs every combination with the same
seeds. Intervals and tests go by what is left over, which is taken to be as large in every cell.

Source: Montgomery, "Design and analysis of experiments", chapter 5 (factorial designs in blocks),
by the closed forms of balanced designs.
Shapes: L levels of each setting, S seeds.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import integrate
from scipy import stats as distributions

from siglum import stats
from siglum.lab.arms import say
from siglum.lab.outcome import Figure, Outcome

HIGHEST = 3  # settings of an interaction that is told by itself
NOTHING = 1e-12  # a variance below this is rounding


@dataclass(frozen=True)
class Level:
    """What one value of a setting comes to, over all values of the others."""

    value: str
    mean: float  # accuracy
    effect: float  # mean minus that of all cells
    half: float | None  # of the effect's 95 % interval; None for one seed


@dataclass(frozen=True)
class Share:
    """How much of the variance one setting, or an interaction of several, makes."""

    settings: tuple[str, ...]
    freedom: int
    share: float  # of the variance of all runs
    by_chance: float | None  # what it would be if it did nothing; None for one seed
    p: float | None  # of its F test
    adjusted: float | None  # after Holm, over all of the table


@dataclass(frozen=True)
class Best:
    """The best cell, and how much of that may be luck."""

    name: str
    by: str  # "val" or "test": what it was chosen by
    chosen: float  # its accuracy there, mean over the seeds
    part: Figure  # its accuracy on what the effects are of
    excess: float | None  # by so much the best of so many equal cells is above their mean


@dataclass(frozen=True)
class Effects:
    """The effects of all settings of a grid on accuracy."""

    settings: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]  # of each setting
    numbers: tuple[bool, ...]  # whether a setting's values are all numbers
    seeds: tuple[int, ...]  # that every cell has
    means: tuple[float, ...]  # of the cells over the seeds; the last setting changes fastest
    main: tuple[tuple[Level, ...], ...]  # of each setting
    shares: tuple[Share, ...]
    of_seeds: float  # share of the variance that a seed makes in all cells alike
    left: float  # share that is left over
    noise: float | None  # standard deviation of a single training; None for one seed
    best: Best

    @property
    def cells(self) -> NDArray[np.float64]:
        """The means of the cells: (L, ..., L)."""
        return np.array(self.means).reshape([len(values) for values in self.values])

    def luck(self, tries: int) -> float | None:
        """By how much the best of `tries` equal single trainings lies above their mean."""
        return None if self.noise is None else expected_best(tries) * self.noise


def expected_best(tries: int) -> float:
    """Return the expected largest of `tries` draws, in standard deviations above the mean.

    Source: Tippett 1925, "On the extreme individuals and the range of samples taken from a normal
    population", Biometrika 17.
    """

    def weighted(x: float) -> float:
        below, density = distributions.norm.cdf(x), distributions.norm.pdf(x)
        return float(x * tries * density * below ** (tries - 1))

    return float(integrate.quad(weighted, -10, 10, limit=200)[0])


def effects_of(
    outcomes: Sequence[Outcome], levels: Mapping[str, Mapping[str, Any]], part: str
) -> tuple[Effects | None, str]:
    """Measure the effects on the accuracy on `part`, or say why that cannot be done.

    Returns:
        The effects, None unless at least two settings of a grid have two values or more; and the
        reason where a grid is there and is not whole.
    """
    names = list(levels[outcomes[0].name])
    values = {name: list(dict.fromkeys(say(v[name]) for v in levels.values())) for name in names}
    names = [name for name in names if len(values[name]) > 1]
    if len(names) < 2:
        return None, ""
    shape = [len(values[name]) for name in names]
    if len(outcomes) != math.prod(shape):
        return None, ""
    seeds = sorted(set.intersection(*(set(outcome.seeds) for outcome in outcomes)))
    if not seeds:
        return None, (
            "Effects need every combination of the grid with the same seeds, and no seed is "
            "finished in all of them."
        )

    def table(which: str) -> NDArray[np.float64]:
        found = np.empty([*shape, len(seeds)])
        for outcome in outcomes:
            at = tuple(values[name].index(say(levels[outcome.name][name])) for name in names)
            by_seed = dict(zip(outcome.seeds, outcome.figure(which).values, strict=True))
            found[at] = [by_seed[seed] for seed in seeds]
        return found

    accuracies = table(part)
    by = "val" if all(outcome.val for outcome in outcomes) else part
    best = _best(outcomes, by, part, table(by), seeds)
    numbers = tuple(all(_is_number(v[name]) for v in levels.values()) for name in names)
    return _analysed(accuracies, names, [values[n] for n in names], numbers, seeds, best), ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _component(table: NDArray[np.float64], axes: Sequence[int]) -> NDArray[np.float64]:
    """Return what the settings of `axes` do together beyond what fewer of them do."""
    others = tuple(axis for axis in range(table.ndim) if axis not in axes)
    part = table.mean(axis=others, keepdims=True) if others else table
    for axis in axes:
        part = part - part.mean(axis=axis, keepdims=True)
    return np.asarray(part)


def _squares(table: NDArray[np.float64], axes: Sequence[int]) -> float:
    part = _component(table, axes)
    return float((part**2).sum() * table.size / part.size)


def _noise(table: NDArray[np.float64]) -> tuple[float | None, int]:
    """Return the variance of a single training, a seed's luck in all cells taken away, and df."""
    cells, seeds = table.size // table.shape[-1], table.shape[-1]
    freedom = (cells - 1) * (seeds - 1)
    if not freedom:
        return None, 0
    inside = table - table.mean(axis=-1, keepdims=True)
    inside = inside - inside.mean(axis=tuple(range(table.ndim - 1)), keepdims=True)
    return float((inside**2).sum()) / freedom, freedom


def _analysed(
    table: NDArray[np.float64],
    names: Sequence[str],
    values: Sequence[Sequence[str]],
    numbers: tuple[bool, ...],
    seeds: Sequence[int],
    best: Best,
) -> Effects:
    total = float(((table - table.mean()) ** 2).sum())
    whole = total if total > NOTHING else 1.0
    variance, freedom = _noise(table)
    shares, told = [], 0.0
    for size in range(1, min(len(names), HIGHEST) + 1):
        for axes in itertools.combinations(range(len(names)), size):
            squares = _squares(table, axes)
            df = math.prod(len(values[axis]) - 1 for axis in axes)
            p = None
            if variance is not None:
                p = 1.0 if squares < NOTHING else 0.0
                if variance > NOTHING:
                    p = float(distributions.f.sf(squares / df / variance, df, freedom))
            told += squares
            chance = None if variance is None else df * variance / whole
            shares.append(
                Share(tuple(names[axis] for axis in axes), df, squares / whole, chance, p, p)
            )
    if variance is not None:
        adjusted = stats.holm([share.p or 0.0 for share in shares])
        shares = [replace(s, adjusted=p) for s, p in zip(shares, adjusted, strict=True)]
    of_seeds = _squares(table, [table.ndim - 1]) if len(seeds) > 1 else 0.0
    return Effects(
        settings=tuple(names),
        values=tuple(map(tuple, values)),
        numbers=numbers,
        seeds=tuple(seeds),
        means=tuple(table.mean(axis=-1).ravel().tolist()),
        main=tuple(
            _levels(table, axis, values[axis], variance, freedom) for axis in range(len(names))
        ),
        shares=tuple(shares),
        of_seeds=of_seeds / whole,
        left=max(total - told - of_seeds, 0.0) / whole,
        noise=None if variance is None else math.sqrt(variance),
        best=best,
    )


def _levels(
    table: NDArray[np.float64],
    axis: int,
    values: Sequence[str],
    variance: float | None,
    freedom: int,
) -> tuple[Level, ...]:
    """Return a setting's levels; a level's mean shares its runs with the mean of all cells."""
    half = None
    if variance is not None:
        error = math.sqrt(variance * (len(values) - 1) / table.size)
        half = float(distributions.t.ppf(0.975, freedom)) * error
    effects = _component(table, [axis]).ravel()
    mean = float(table.mean())
    return tuple(
        Level(value, mean + effect, effect, half)
        for value, effect in zip(values, effects.tolist(), strict=True)
    )


def _best(
    outcomes: Sequence[Outcome],
    by: str,
    part: str,
    table: NDArray[np.float64],
    seeds: Sequence[int],
) -> Best:
    first = max(outcomes, key=lambda outcome: outcome.figure(by).mean)
    variance, _ = _noise(table)
    excess = None
    if variance is not None:
        excess = expected_best(len(outcomes)) * math.sqrt(variance / len(seeds))
    return Best(first.name, by, first.figure(by).mean, first.figure(part), excess)
