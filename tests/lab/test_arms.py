"""Which runs are one arm, what it is called, and what cannot be compared."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from answering import LABELS, MakeRun, answers

from siglum.config import Preprocess
from siglum.errors import ConfigError, RunError
from siglum.lab.compare import Arm, arms_of, compare


def test_runs_that_differ_in_the_seed_are_one_arm(make_run: MakeRun) -> None:
    runs = [
        make_run("b1", answers(5), seed=1, lr=0.2),
        make_run("a1", answers(5), seed=1),
        make_run("b0", answers(5), seed=0, lr=0.2),
        make_run("a0", answers(5), seed=0),
    ]
    arms = arms_of(runs)

    assert [arm.name for arm in arms] == ["lr=0.2", "lr=0.1"]
    assert [[run.name for run in arm.runs] for arm in arms] == [["b0", "b1"], ["a0", "a1"]]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ([{}, {"model": "mnist_net"}], ["model=glyph_net", "model=mnist_net"]),
        ([{}, {"init": "runs/old"}], ["init=scratch", "init=old"]),
        ([{"init": "x/old"}, {"init": "y/old"}], ["init=x/old", "init=y/old"]),
        ([{"augment": ()}, {"augment": ("affine",)}], ["augment=none", "augment=affine"]),
        (
            [{}, {"lr": 0.2, "momentum": 0.5, "weight_decay": 0.1, "nesterov": False}],
            ["lr=0.1", "lr=0.2"],
        ),
        (
            [{}, {"model": "mnist_net"}, {"model": "mnist_net", "lr": 0.3}],
            ["model=glyph_net lr=0.1", "model=mnist_net lr=0.01", "model=mnist_net lr=0.3"],
        ),
    ],
)
def test_an_arm_is_named_by_what_tells_it_apart(
    make_run: MakeRun, settings: list[dict[str, Any]], names: list[str]
) -> None:
    """What a model's recipe brings along is not told; of more than 3 settings, the fewest are."""
    runs = [make_run(str(i), answers(5), **each) for i, each in enumerate(settings)]

    assert [arm.name for arm in arms_of(runs)] == names


def test_the_same_training_twice_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("a", answers(5)), make_run("again", answers(5))]

    message = (
        f"runs must differ in a setting or in the seed, got {tmp_path / 'a'} and "
        f"{tmp_path / 'again'}, both with seed 0. Leave one out."
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        arms_of(runs)


def test_an_unfinished_run_is_refused(make_run: MakeRun) -> None:
    run = make_run("a", answers(5))
    (run.path / "result.json").unlink()

    message = (
        f"{run.path} must be finished to be compared. Go on with: siglum train --resume {run.path}"
    )
    with pytest.raises(RunError, match=re.escape(message)):
        arms_of([run])
    with pytest.raises(RunError, match=re.escape(message)):
        compare([Arm("a", (run,))])


def test_other_test_pictures_are_refused(make_run: MakeRun) -> None:
    one = make_run("a", answers(5))
    other = make_run("b", answers(5), lr=0.2, fingerprint="another")

    message = (
        f"runs must be measured on the same test pictures to be compared, got {one.path} and "
        f"{other.path}, whose test sets differ. Train both with the same --test."
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        compare(arms_of([one, other]))


def test_other_labels_are_refused_even_where_pictures_are_fitted_otherwise(
    make_run: MakeRun,
) -> None:
    """Another size makes another fingerprint of the same pictures; other labels are others."""
    one = make_run("a", answers(5))
    fitted = make_run("b", answers(5), lr=0.2, fingerprint="at 32")
    (fitted.path / "preprocess.json").write_text(json.dumps(Preprocess(size=32).model_dump()))
    other = make_run("c", answers(5), lr=0.3, labels=LABELS[::-1].copy())

    assert compare(arms_of([one, fitted])).part == "test"
    with pytest.raises(ConfigError, match="whose test sets differ"):
        compare(arms_of([one, other]))


def test_other_validation_pictures_of_a_seed_are_refused(make_run: MakeRun) -> None:
    one = make_run("a", answers(5), part="val", seed=3)
    other = make_run("b", answers(5), part="val", seed=3, lr=0.2, fingerprint="another")

    message = (
        "runs of one seed must hold out the same validation pictures to be compared, got "
        f"{one.path} and {other.path}, whose validation sets differ (seed 3). "
        "Train both with the same data and --val, or give both a --test."
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        compare(arms_of([one, other]))


def test_validation_pictures_of_different_seeds_stand_side_by_side(make_run: MakeRun) -> None:
    runs = [
        make_run(f"{lr}-{seed}", answers(n), part="val", seed=seed, lr=lr, fingerprint=str(seed))
        for lr, n in ((0.1, 10), (0.2, 30))
        for seed in (0, 1)
    ]
    compared = compare(arms_of(runs))

    assert compared.part == "val"
    assert compared.pairs[0].pictures == 2000
    assert compared.pairs[0].difference == pytest.approx(0.02)


def test_nothing_finished_is_refused() -> None:
    message = "arms must hold at least one finished run, got none in a, b. "
    with pytest.raises(ConfigError, match=re.escape(message)):
        compare([Arm("a", ()), Arm("b", (), missing=3)])


def test_two_arms_of_one_name_are_refused(make_run: MakeRun) -> None:
    run = make_run("a", answers(5))

    with pytest.raises(
        ConfigError, match=re.escape("arms must have names of their own, got a, a.")
    ):
        compare([Arm("a", (run,)), Arm("a", ())])
