"""Search strategies: the next trials of a study, by the validation accuracy of those before.

A strategy is a generator. It yields points that can be trained side by side; when it goes on, their
scores are in the list of trials. It decides by these and its seed alone, so a search that was
stopped resumes by running it again with the same scores.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from pydantic import Field

from siglum.config import Settings

Point = dict[str, Any]  # the value of each dimension
Trial = tuple[Point, float]  # with its validation accuracy; -1 if it failed
Strategy = Callable[["Search", list[Trial]], Iterator[Iterable[Point]]]


class Search(Settings):
    """The table [search] of a study file: trials, of which validation accuracy chooses the best."""

    strategy: str  # a key of STRATEGIES
    trials: int = Field(100, ge=1)  # at most
    seed: int = Field(0, ge=0, lt=2**31)  # of the strategy random
    dimensions: dict[str, Any] = Field(min_length=1)  # lists of values; the first is the start


def grid(search: Search, trials: list[Trial]) -> Iterator[Iterable[Point]]:
    """Try every combination, the last dimension changing fastest."""
    values = itertools.product(*search.dimensions.values())
    yield (dict(zip(search.dimensions, point, strict=True)) for point in values)


def random(search: Search, trials: list[Trial]) -> Iterator[Iterable[Point]]:
    """Try random combinations, none twice. More trials begin with those of fewer."""
    generator = np.random.RandomState(search.seed)  # its numbers are frozen
    dimensions, points = search.dimensions.items(), list[Point]()
    while len(points) < min(search.trials, math.prod(map(len, search.dimensions.values()))):
        point = {name: values[generator.randint(len(values))] for name, values in dimensions}
        points += [point] if point not in points else []
    yield points


def linear(search: Search, trials: list[Trial], repeat: bool = False) -> Iterator[Iterable[Point]]:
    """Try all values of one dimension after another, and keep the best of each."""
    before, best = None, {name: values[0] for name, values in search.dimensions.items()}
    while before is None or (repeat and best != before):
        before = best
        for name, values in search.dimensions.items():
            line = [{**best, name: value} for value in values]
            yield line
            best, _ = max((trial for trial in trials if trial[0] in line), key=lambda t: t[1])


def round_robin(search: Search, trials: list[Trial]) -> Iterator[Iterable[Point]]:
    """Repeat the linear search from its best point until a pass improves nothing."""
    return linear(search, trials, repeat=True)


STRATEGIES: dict[str, Strategy] = {
    "grid": grid,
    "random": random,
    "linear": linear,
    "round-robin": round_robin,
}


def run_trials(search: Search, score: Callable[[Point], float]) -> None:
    """Call `score` once for each trial, in order, until one is not finished and has NaN.

    It is called for all trials that can be trained side by side with that one, too.
    """
    trials: list[Trial] = []
    for batch in STRATEGIES[search.strategy](search, trials):
        tried = [point for point, _ in trials]
        new = (point for point in batch if point not in tried)
        trials += [(p, score(p)) for p in itertools.islice(new, search.trials - len(trials))]
        if len(trials) == search.trials or any(math.isnan(value) for _, value in trials):
            return
