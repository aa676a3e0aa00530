"""Search strategies: the next trials of a study, by the validation accuracy of those before.

A strategy is a generator. It yields points that can be trained side by side, and is sent the
scores of all points so far. It decides by these and its seed alone, so a search that was stopped
resumes by calling it again with the same scores.
"""

import itertools
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import numpy as np

Point = tuple[object, ...]  # a value for each dimension
Scores = dict[Point, float]  # validation accuracy, in the order of the trials; -1 if it failed
Trials = Generator[Iterable[Point], Scores, None]


@dataclass(frozen=True)
class Space:
    """Everything that a strategy may try."""

    values: tuple[tuple[object, ...], ...]  # of each dimension; the search starts at the first
    trials: int  # at most
    seed: int = 0


def grid(space: Space) -> Trials:
    """Try every combination, the last dimension changing fastest."""
    yield itertools.islice(itertools.product(*space.values), space.trials)


def random(space: Space) -> Trials:
    """Try random combinations, none twice. More trials begin with those of fewer."""
    generator = np.random.RandomState(space.seed)  # its numbers are frozen
    points: dict[Point, None] = {}
    while len(points) < space.trials:
        points[tuple(values[generator.randint(len(values))] for values in space.values)] = None
    yield points


def linear(space: Space, repeat: bool = False) -> Trials:
    """Try all values of one dimension after another, and keep the best of each."""
    before, best = None, tuple(values[0] for values in space.values)
    while before is None or (repeat and best != before):
        before = best
        for index, values in enumerate(space.values):
            line = [(*best[:index], value, *best[index + 1 :]) for value in values]
            scores = yield line
            best = max((point for point in scores if point in line), key=scores.__getitem__)


def round_robin(space: Space) -> Trials:
    """Repeat the linear search from its best point until a pass improves nothing."""
    return linear(space, repeat=True)


STRATEGIES: dict[str, Callable[[Space], Trials]] = {
    "grid": grid,
    "random": random,
    "linear": linear,
    "round-robin": round_robin,
}


def run_trials(strategy: str, space: Space, score: Callable[[Point], float | None]) -> None:
    """Call `score` once for each trial, in order, until one is not finished: its score is None.

    It is called for all trials that can be trained side by side with that one, too.
    """
    trials, scores = STRATEGIES[strategy](space), Scores()
    batch = next(trials)
    while len(scores) < space.trials:
        points = [point for point in dict.fromkeys(batch) if point not in scores]
        results = {point: score(point) for point in points[: space.trials - len(scores)]}
        finished = {point: value for point, value in results.items() if value is not None}
        if len(finished) < len(results):
            return
        scores |= finished
        try:
            batch = trials.send(scores)
        except StopIteration:
            return
