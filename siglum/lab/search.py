"""Search strategies: the next trials of a study, by the validation accuracy of those before.

A strategy is a generator. It yields points that can be trained side by side; when it goes on, their
scores are in the list of trials. It decides by these and its seed alone, so a search that was
stopped resumes by running it again with the same scores.

Optuna's samplers need no replay: their trials are in an SQLite file, which processes share.
"""

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock
from pydantic import Field, ValidationError

from siglum.config import Settings
from siglum.errors import ConfigError, RunError, first_line, require_extra
from siglum.files import write_atomic
from siglum.lab.run_folder import CONFIG, Run
from siglum.lab.training_loop import derive_seed

if TYPE_CHECKING:
    import optuna

DATABASE, LOCKS = "optuna.db", "locks"
SAMPLERS = {"tpe": "TPESampler", "gp": "GPSampler"}  # strategies of Optuna
DIGITS = 4  # of a number from a range

Point = dict[str, Any]  # the value of each dimension
Trial = tuple[Point, float]  # with its validation accuracy; -1 if it failed
Strategy = Callable[["Search", list[Trial]], Iterator[Iterable[Point]]]


class Search(Settings):
    """The table [search] of a study file: trials, of which validation accuracy chooses the best."""

    strategy: str  # a key of STRATEGIES or SAMPLERS
    trials: int = Field(100, ge=1)  # at most
    seed: int = Field(0, ge=0, lt=2**31)  # of random, tpe and gp
    prune: bool = False  # stop a trial whose validation loss is above the median of the others'
    dimensions: dict[str, Any] = Field(min_length=1)  # lists of values; the first is the start


class Range(Settings):
    """A dimension of a search by Optuna: all numbers between two; integers between integers."""

    low: int | float
    high: int | float
    log: bool = False  # equally many trials in each power of ten
    step: int | float | None = None

    @classmethod
    def read(cls, name: str, table: dict[str, Any]) -> "Range":
        """Return the range of a table in a study file; raises ConfigError."""
        try:
            return cls(**table)
        except ValidationError:
            rule = "a range such as {low = 0.1, high = 1.0}"
            raise ConfigError(f"{name} must be {rule}, got {table}.") from None


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


@dataclass(frozen=True)
class OptunaTrials:
    """The trials of a search by Optuna in the SQLite file of a folder of runs."""

    search: Search  # its dimensions are lists and objects of Range
    folder: Path
    name: str  # of the search; another search in the folder has another

    @property
    def lock(self) -> FileLock:
        """The lock of the process that asks for trials and reports their scores."""
        return FileLock(self.folder / LOCKS / f"{DATABASE}.lock")

    @property
    def points(self) -> list[Point]:
        """The point of each trial."""
        return [
            {
                name: json.loads(value) if isinstance(value, str) else round_number(value)
                for name, value in trial.params.items()
            }
            for trial in self.trials
        ]

    @property
    def running(self) -> list[int]:
        """The numbers of the trials whose scores were not reported."""
        return [n for n, trial in enumerate(self.trials) if not trial.state.is_finished()]

    def ask(self) -> None:
        """Add a trial."""
        study = self.study
        import optuna

        # Its own seed for each trial: a search that was killed asks for the same trial again.
        seed = derive_seed(self.search.seed, "trial", len(self.trials))
        study.sampler = getattr(optuna.samplers, SAMPLERS[self.search.strategy])(seed=seed)
        study.ask({name: distribution(name, d) for name, d in self.search.dimensions.items()})

    def tell(self, number: int, score: float | None) -> None:
        """Report the score of a trial; None if it was pruned."""
        from optuna.trial import TrialState

        state = TrialState.PRUNED if score is None else TrialState.COMPLETE
        self.study.tell(self.trials[number].number, score, state)

    @property
    def study(self) -> "optuna.Study":
        """Optuna's object; it is in the file from now on."""
        return _open(self.folder.resolve(), self.name)

    @property
    def trials(self) -> "list[optuna.trial.FrozenTrial]":
        """Optuna's trials by number; none before the search has begun."""
        if not (self.folder / DATABASE).exists():
            return []
        trials = self.study.get_trials(deepcopy=False)
        # A process that was killed while it asked leaves a trial without all parameters.
        return [trial for trial in trials if len(trial.params) == len(self.search.dimensions)]


@dataclass(frozen=True)
class Pruning:
    """Stops a trial of a search by Optuna; the first run of the trial decides."""

    trials: OptunaTrials
    number: int
    run: Path

    @property
    def mark(self) -> Path:
        """The file that every process looks for, which exists once the trial is pruned."""
        return self.trials.folder / LOCKS / f"{self.trials.name}-{self.number}.pruned"

    def report(self) -> None:
        """Report the validation losses of the epochs so far, and mark the trial if it lags."""
        if self.mark.exists() or not (self.run / CONFIG).is_file():
            return
        import optuna

        run, trial = Run(self.run), self.trials.trials[self.number]
        history, count = run.history, len(trial.intermediate_values)
        if len(history) == count:
            return
        # The constructor is public, and the one way to report for a trial of another process.
        current = optuna.Trial(self.trials.study, trial._trial_id)
        for epoch in history[count:]:
            if epoch.val_loss is not None:
                current.report(-epoch.val_loss, epoch.index - 1)  # high is good, as the score
        if len(history) < (run.config.epochs or 0) and current.should_prune():
            write_atomic(self.mark, "")


def distribution(name: str, dimension: Any) -> "optuna.distributions.BaseDistribution":
    """Return Optuna's form of a dimension; raises ConfigError."""
    with require_extra("A search by Optuna", "search"):
        from optuna import distributions

    if not isinstance(dimension, Range):
        return distributions.CategoricalDistribution([json.dumps(value) for value in dimension])
    limits = dimension.low, dimension.high, dimension.step or 1
    is_int = all(isinstance(limit, int) for limit in limits)
    kind: Any = distributions.IntDistribution if is_int else distributions.FloatDistribution
    options = dimension.model_dump(exclude_none=True)
    try:
        return kind(**options)  # type: ignore[no-any-return]
    except ValueError as error:
        raise ConfigError(f"{name} must be a valid range: {first_line(error)}.") from None


def round_number(value: float) -> float:
    """Return a number from a range with few digits: a name and a config file show all of them."""
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


@cache
def _open(folder: Path, name: str) -> "optuna.Study":
    """Open a search, or begin it. By default Optuna prunes by the median of the other trials."""
    with require_extra("A search by Optuna", "search"):
        import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = folder / DATABASE
    try:
        with FileLock(folder / LOCKS / f"{DATABASE}.new.lock"):  # one process creates the tables
            options = {"connect_args": {"timeout": 60}}
            storage = optuna.storages.RDBStorage(f"sqlite:///{path}", options)
            return optuna.create_study(
                storage=storage, study_name=name, direction="maximize", load_if_exists=True
            )
    except Exception as error:  # SQLAlchemy and Optuna raise many kinds
        raise RunError(f"Cannot open {path}: {first_line(error)}.") from None
