"""Search strategies: their trials on a known objective, and as trainings of a study."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from siglum.errors import ConfigError
from siglum.lab.device import Device
from siglum.lab.search import STRATEGIES, Point, Space, run_trials
from siglum.lab.study import Study, collect, read_study, run_study

VALUES = ((1, 2, 3), ("a", "b"), (0.1, 0.2))


def search(
    strategy: str, objective: Callable[..., float | None], trials: int = 12, seed: int = 0
) -> list[Point]:
    """Return the trials of a search in order."""
    points: list[Point] = []

    def score(point: Point) -> float | None:
        points.append(point)
        return objective(*point)

    run_trials(strategy, Space(VALUES, trials, seed), score)
    return points


def separable(x: int, letter: str, y: float) -> float:
    """Highest at 2, b, 0.1."""
    return -abs(x - 2) + (letter == "b") - y


def coupled(x: int, letter: str, y: float) -> float:
    """Highest at 3, b, 0.2; 3 is better than 1 only with b, and 0.2 only with 3."""
    return {"a": 3 - x, "b": x + 2}[letter] + 2 * (y if x == 3 else -y)


def test_grid_tries_every_combination_in_order() -> None:
    assert search("grid", separable) == list(itertools.product(*VALUES))
    assert search("grid", separable, trials=3) == list(itertools.product(*VALUES))[:3]


def test_random_tries_none_twice_and_more_trials_begin_with_the_same() -> None:
    points = search("random", separable)

    assert len(set(points)) == 12 and points != list(itertools.product(*VALUES))
    assert search("random", separable, trials=5) == points[:5]
    assert search("random", separable, seed=1) != points


def test_linear_keeps_the_best_of_each_dimension_in_one_pass() -> None:
    expected = [(1, "a", 0.1), (2, "a", 0.1), (3, "a", 0.1), (2, "b", 0.1), (2, "b", 0.2)]

    assert search("linear", separable) == expected
    # A second pass tries the first dimension again, from the best of the others.
    assert search("round-robin", separable) == [*expected, (1, "b", 0.1), (3, "b", 0.1)]
    assert search("linear", lambda *_: 0.5)[-1] == (1, "a", 0.2)  # ties go to the earlier


def test_round_robin_passes_on_until_nothing_improves() -> None:
    linear, points = search("linear", coupled), search("round-robin", coupled)

    assert linear[-1] == (1, "b", 0.2) and points[: len(linear)] == linear
    assert max(points, key=lambda point: coupled(*point)) == (3, "b", 0.2)
    assert len(points) == len(set(points)) < 12
    assert search("round-robin", coupled, trials=5) == points[:5]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_waits_for_unfinished_trials_and_takes_the_same_way(strategy: str) -> None:
    whole, finished = search(strategy, coupled), 0
    while finished < len(whole):
        count = itertools.count()

        def objective(*point: object) -> float | None:
            return coupled(*point) if next(count) < finished else None  # noqa: B023

        points = search(strategy, objective)
        assert points == whole[: len(points)] and len(points) > finished
        finished += 1


TEXT = """
seeds = [0, 1]
[base]
data = "folder:{signs}"
model = "mnist_net"
batch_size = 16
epochs = 2
val = 0.2
[search]
strategy = "linear"
[search.dimensions]
model_options.kernel_size = [5, 0]
lr = [0.01, 1e30]
"""


def read(tmp_path: Path, text: str) -> Study:
    file = tmp_path / "question.toml"
    file.write_text(text)
    return read_study(file, tmp_path / "runs")


def test_failed_trials_are_listed_and_lose(tmp_path: Path, signs: Path, machine: Device) -> None:
    study = read(tmp_path, TEXT.format(signs=signs))
    assert list(study.levels) == study.unfinished == ["1: start", "2: kernel_size=0"]
    run_study(study, (), (), machine)
    study = read(tmp_path, TEXT.format(signs=signs))
    _, impossible, diverged = collect(study)

    assert (study.best, study.unfinished) == ("1: start", [])
    assert study.levels["3: lr=1e+30"] == {"kernel_size": 5, "lr": 1e30}
    assert "kernel_size must be at least 1" in impossible.failed[0][1]
    assert "loss became" in diverged.failed[1][1] and not diverged.runs
    base, _, _ = TEXT.format(signs=signs).partition("[search]")
    shared = read(tmp_path, f"{base}[grid]\nmodel_options.kernel_size = [5]")
    assert [cell.state for cell in shared.cells] == ["finished", "finished"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"linear"', '"liner"', "search.strategy must be one of grid, linear, random"),
        ('"linear"', '"linear"\ntrials = 0', "search.trials must be greater than or equal to 1"),
        ("[5, 0]", "[]", "kernel_size must be a list of different values, got []."),
        ("[5, 0]", "5", "kernel_size must be a list of different values, got 5."),
        ("lr =", "lrs =", "unknown setting 'lrs'. Did you mean 'lr'?"),
        ("1e30]", '"big"]', "lr must be a valid number, got 'big'."),
        ("lr =", "val =", "search.dimensions must not hold 'val'"),
        ("lr =", "seed =", "seed must be in the list 'seeds', not in the settings."),
        ("[search]", "[grid]\nlr = [0.1]\n[search]", "Cannot combine [search] with grid."),
        ("[search]", "[variants.a]\n[search]", "Cannot combine [search] with variants."),
    ],
)
def test_a_search_that_breaks_a_rule_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, TEXT.format(signs="signs").replace(old, new))

    assert message in str(error.value)
