"""Search strategies: their trials on a known objective, and as trainings of a study."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from siglum.errors import ConfigError
from siglum.lab.device import Device
from siglum.lab.search import STRATEGIES, Point, Search, run_trials
from siglum.lab.study import Study, collect, read_study, run_cells

DIMENSIONS = {"x": [1, 2, 3], "letter": ["a", "b"], "y": [1, 2]}
GRID = list(itertools.product(*DIMENSIONS.values()))


def search(
    strategy: str, objective: Callable[..., float], **settings: int
) -> list[tuple[Any, ...]]:
    """Return the trials of a search in order."""
    points: list[tuple[Any, ...]] = []

    def score(point: Point) -> float:
        points.append(tuple(point.values()))
        return objective(*points[-1])

    run_trials(Search(strategy=strategy, dimensions=DIMENSIONS, **settings), score)
    return points


def separable(x: int, letter: str, y: int) -> float:
    """Highest at 2, b, 1."""
    return -abs(x - 2) + (letter == "b") - y


def coupled(x: int, letter: str, y: int) -> float:
    """Highest at 3, b, 2; 3 is better than 1 only with b, and y = 2 only with 3."""
    return {"a": 3 - x, "b": x + 2}[letter] + 0.2 * (y if x == 3 else -y)


def test_grid_and_random_try_each_combination_once() -> None:
    points = search("random", separable)

    assert search("grid", separable) == GRID and search("grid", separable, trials=3) == GRID[:3]
    assert sorted(points) == GRID and points != GRID != search("random", separable, seed=1)
    assert search("random", separable, trials=5) == points[:5]


def test_linear_keeps_the_best_of_each_dimension_and_round_robin_repeats_it() -> None:
    expected = [(1, "a", 1), (2, "a", 1), (3, "a", 1), (2, "b", 1), (2, "b", 2)]
    linear, points = search("linear", coupled), search("round-robin", coupled)

    assert search("linear", separable) == expected
    # A second pass tries the first dimension again, with the best of the others.
    assert search("round-robin", separable) == [*expected, (1, "b", 1), (3, "b", 1)]
    assert search("linear", lambda *_: 0.5)[-1] == (1, "a", 2)  # ties go to the earlier
    assert linear[-1] == (1, "b", 2) and points[: len(linear)] == linear
    assert max(points, key=lambda point: coupled(*point)) == (3, "b", 2)
    assert len(points) == len(set(points)) < 12
    assert search("round-robin", coupled, trials=5) == points[:5]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_waits_for_unfinished_trials_and_goes_the_same_way(strategy: str) -> None:
    whole = search(strategy, coupled)
    for finished in range(len(whole)):
        scores = iter([coupled(*point) for point in whole[:finished]])
        points = search(strategy, lambda *_, scores=scores: next(scores, math.nan))
        assert points == whole[: len(points)] and len(points) > finished


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
    text, names = TEXT.format(signs=signs), []
    while upcoming := (study := read(tmp_path, text)).unfinished:
        names += upcoming
        run_cells(study.select(), machine)
    _, impossible, diverged = collect(study)

    assert names == ["1: start", "2: kernel_size=0", "3: lr=1e+30"] and study.best == names[0]
    assert study.levels["3: lr=1e+30"] == {"kernel_size": 5, "lr": 1e30}
    assert "kernel_size must be at least 1" in impossible.failed[0][1]
    assert "loss became" in diverged.failed[1][1] and not diverged.runs
    shared = f"{text.partition('[search]')[0]}[grid]\nmodel_options.kernel_size = [5]"
    assert not read(tmp_path, shared).unfinished
    (tmp_path / "runs").rename(tmp_path / "other")
    without = read(tmp_path, text.replace("val = 0.2", "val = 0"))
    run_cells(without.select(["1: start"]), machine)
    with pytest.raises(ConfigError, match="A search chooses by validation images."):
        read(tmp_path, text.replace("val = 0.2", "val = 0"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"linear"', '"liner"', "search.strategy must be one of gp, grid, linear, random"),
        ('"linear"', '"linear"\ntrials = 0', "search.trials must be greater than or equal to 1"),
        ("[5, 0]", "[]", "kernel_size must be a list of different values, got []."),
        ("lr =", "lrs =", "unknown setting 'lrs'. Did you mean 'lr'?"),
        ("1e30]", '"big"]', "lr must be a valid number, got 'big'."),
        ("lr =", "val =", "val would change the validation images: it is no dimension."),
        ("lr =", "seed =", "seed must be in the list 'seeds', not in the settings."),
        ("[search]", "[grid]\nlr = [0.1]\n[search]", "Cannot combine [search] with grid"),
        ("[5, 0]", "{low = 1, high = 5}", "kernel_size is a range, which needs the strategy tpe"),
        ('"linear"', '"linear"\nprune = true', "search.prune needs the strategy tpe or gp."),
    ],
)
def test_a_search_with_mistakes_fails(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, TEXT.format(signs="signs").replace(old, new))

    assert message in str(error.value)
