"""Closed forms on made-up runs, and two arms that were really trained."""

import json
import math
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from answering import MakeRun, answers
from scipy import stats as distributions

from siglum import stats
from siglum.config import TrainConfig
from siglum.lab.compare import Arm, arms_of, compare
from siglum.lab.device import Device
from siglum.lab.finding import finding, shown
from siglum.lab.outcome import levels_of
from siglum.lab.runs import Run
from siglum.lab.trainer import train


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny_config: TrainConfig, machine: Device
) -> list[Run]:
    """Two arms of two seeds: one that learns, and one too slow to."""
    folder = tmp_path_factory.mktemp("compared")
    return [
        train(
            tiny_config.model_copy(update={"epochs": 2, "seed": seed, "lr": lr}),
            folder / f"{lr}-{seed}",
            machine,
        )
        for lr in (0.1, 1e-6)
        for seed in (0, 1)
    ]


def test_a_single_run_has_wilsons_interval_and_several_have_students(make_run: MakeRun) -> None:
    one = [make_run("a", answers(10))]
    three = [make_run(f"b{s}", answers(n), seed=s, lr=0.2) for s, n in enumerate((10, 20, 60))]
    first, second = compare(arms_of(one + three)).arms

    rate = stats.wilson(990, 1000)
    assert first.test is not None and second.test is not None
    assert (first.test.low, first.test.high) == (rate.low, rate.high)
    assert first.test.interval == "Wilson, 1,000 pictures"
    shares = [0.99, 0.98, 0.94]
    expected = distributions.t.interval(0.95, 2, np.mean(shares), distributions.sem(shares))
    assert second.test.values == pytest.approx(shares)
    assert second.test.low == pytest.approx(expected[0])
    assert second.test.high == 1.0  # where the formula says 1.033
    assert second.test.interval == "Student t, 3 seeds"


def test_loss_calibration_and_gap_are_those_of_the_predictions(make_run: MakeRun) -> None:
    """0.7 sure and right in 0.99; -log of 0.7 and 0.1; trained 0.6 against 0.9 validated."""
    outcome = compare([Arm("a", (make_run("a", answers(10)),))]).arms[0]

    assert outcome.loss and outcome.ece and outcome.gap
    assert outcome.loss.mean == pytest.approx(-0.99 * math.log(0.7) - 0.01 * math.log(0.1))
    assert outcome.ece.mean == pytest.approx(0.29)
    assert outcome.gap.mean == pytest.approx(-0.3)


def test_a_level_is_reached_at_the_first_record_at_or_above_it(make_run: MakeRun) -> None:
    fast = make_run("a", answers(5), way=(0.5, 0.9, 0.8, 0.95))
    slow = make_run("b", answers(5), way=(0.3, 0.5, 0.89, 0.6), lr=0.2)
    compared = compare(arms_of([fast, slow]))

    assert compared.levels == (0.7, 0.8, 0.9, 0.95)
    assert [way.epochs for way in compared.reached[0]] == [(2,), (2,), (2,), (4,)]
    assert [way.epochs for way in compared.reached[1]] == [(3,), (3,), (None,), (None,)]
    assert compared.reached[0][0].examples == (200,) and compared.reached[0][0].seconds == (4.0,)
    assert compared.reached[1][3].never == 1


def test_a_level_that_all_reach_at_once_tells_nothing(make_run: MakeRun) -> None:
    runs = [make_run(str(lr), answers(5), way=(0.95, 0.97), lr=lr) for lr in (0.1, 0.2)]

    assert levels_of(compare(arms_of(runs)).arms) == ()


def test_pretraining_is_counted_in_beside_and_not_instead(make_run: MakeRun) -> None:
    before = {"run": "runs/old", "sha256": "0", "seconds": 100.0, "examples": 5000}
    run = make_run("a", answers(5), way=(0.5, 0.9), before=before)
    scratch = make_run("b", answers(5), way=(0.2, 0.5), lr=0.2)
    compared = compare(arms_of([run, scratch]))
    outcome, way = compared.arms[0], compared.reached[0][-1]

    assert outcome.pretrained and not compared.arms[1].pretrained
    assert outcome.seconds and outcome.seconds.mean == 4.0
    assert outcome.seconds_with_pretraining and outcome.seconds_with_pretraining.mean == 104.0
    assert (way.level, way.examples, way.examples_with_pretraining) == (0.9, (200,), (5200,))
    assert (way.seconds, way.seconds_with_pretraining) == ((4.0,), (104.0,))


def test_the_area_is_that_of_trapezoids_over_what_all_have(make_run: MakeRun) -> None:
    """Between 100 and 300 pictures: means of (0.5 + 0.9) / 2 and (0.9 + 0.7) / 2."""
    long = make_run("a", answers(5), way=(0.5, 0.9, 0.7, 1.0))
    short = make_run("b", answers(5), way=(0.5, 0.5, 0.5))
    compared = compare(arms_of([long, short]))

    assert compared.span == (100, 300)
    assert compared.arms[0].area and compared.arms[0].area.mean == pytest.approx(0.75)
    assert compared.arms[1].area and compared.arms[1].area.mean == pytest.approx(0.5)


def test_a_curve_has_a_band_from_three_seeds_on(make_run: MakeRun) -> None:
    runs = [make_run(str(s), answers(5), way=(0.5, 0.7 + 0.1 * s), seed=s) for s in range(3)]
    three = compare([Arm("a", tuple(runs))]).arms[0].middle[1]
    two = compare([Arm("a", tuple(runs[:2]))]).arms[0].middle[1]

    assert three.accuracy == pytest.approx(0.8)
    assert three.accuracy_band == pytest.approx((0.8 - 4.302653 * 0.1 / math.sqrt(3), 1.0))
    assert two.accuracy_band is None


def test_arms_are_not_paired_over_seeds_that_only_one_has(make_run: MakeRun) -> None:
    runs = [make_run("a0", answers(5), seed=0), make_run("b1", answers(9), seed=1, lr=0.2)]
    compared = compare(arms_of(runs))

    assert compared.pairs[0].seeds == () and compared.pairs[0].over_both is None
    assert finding(compared) == (
        "No two arms have a seed in common: nothing can be paired. Train the same seeds."
    )


def test_p_is_adjusted_over_all_pairs(make_run: MakeRun) -> None:
    runs = [
        make_run(f"{lr}-{seed}", answers(n + seed, 10 * n + seed), seed=seed, lr=lr)
        for lr, n in ((0.1, 10), (0.2, 40), (0.3, 80))
        for seed in range(3)
    ]
    pairs = compare(arms_of(runs)).pairs
    overs = [p.over_both for p in pairs if p.over_both]

    assert [over.adjusted for over in overs] == stats.holm([over.p for over in overs])
    each = [seed.over_pictures for p in pairs for seed in p.seeds]
    assert [over.adjusted for over in each] == stats.holm([over.p for over in each])


def test_many_arms_are_paired_with_the_best_and_with_the_first(make_run: MakeRun) -> None:
    runs = [
        make_run(str(n), answers(50 - 5 * n), lr=0.1 * (n + 1), way=(0.1 * n + 0.1,) * 2)
        for n in range(8)
    ]
    names = [arm.name for arm in arms_of(runs)]
    pairs = {(p.first, p.second) for p in compare(arms_of(runs)).pairs}

    assert len(pairs) == 13
    assert all(names[0] in each or names[7] in each for each in pairs)


def test_equal_arms_show_no_difference(make_run: MakeRun) -> None:
    runs = [
        make_run(f"{lr}-{s}", answers(10 + s, s), seed=s, lr=lr)
        for lr in (0.1, 0.2)
        for s in (0, 1)
    ]
    compared = compare(arms_of(runs))

    assert not shown(compared.pairs[0])
    assert finding(compared) == (
        "lr=0.1 and lr=0.2: no difference shown: 98.95 against 98.95 %, difference 0.00 points "
        "(95 %: 0.00 to 0.00), 2 seeds, 1,000 test pictures."
    )


def test_a_difference_is_told_with_its_interval_and_p(make_run: MakeRun) -> None:
    runs = [
        make_run(f"{lr}-{s}", answers(n + s % 2, n + s), seed=s, lr=lr)
        for lr, n in ((0.1, 60), (0.2, 10))
        for s in range(4)
    ]
    said = finding(compare(arms_of(runs)))

    assert re.fullmatch(
        r"lr=0\.2 is better than lr=0\.1 by 5\.00 points \(95 %: 4\.18 to 5\.82; "
        r"p < 0\.001 after Holm\): 98\.95 against 93\.95 %, 4 seeds, 1,000 test pictures\.",
        said,
    ), said


def test_luck_of_one_kind_is_told_and_not_taken_for_both(make_run: MakeRun) -> None:
    """2 pictures more with every seed: sure for these pictures, nothing for others."""
    first = [make_run(f"a{s}", answers(20 + (s == 1), s), seed=s) for s in range(4)]
    second = [make_run(f"b{s}", answers(23, 50 + s), seed=s, lr=0.2) for s in range(4)]
    compared = compare(arms_of(first + second))

    assert compared.pairs[0].over_seeds and compared.pairs[0].over_seeds.low > 0
    assert not shown(compared.pairs[0])
    assert finding(compared).startswith("lr=0.1 and lr=0.2: no difference shown: ")
    assert "0 lies outside the interval over seeds alone (0." in finding(compared)


def test_one_seed_cannot_tell(make_run: MakeRun) -> None:
    runs = [make_run("a", answers(0)), make_run("b", answers(40), lr=0.2)]

    assert finding(compare(arms_of(runs))) == (
        "lr=0.1 and lr=0.2: 100.00 against 96.00 %, difference 4.00 points (95 %: 2.90 to 5.20; "
        "McNemar's p < 0.001), 1 seed, 1,000 test pictures: one seed cannot tell the arms from the "
        "luck of the start."
    )


def test_of_several_arms_the_best_validated_is_told_against_the_others(make_run: MakeRun) -> None:
    runs = [
        make_run(f"{lr}-{s}", answers(n + s % 2, n + s), seed=s, lr=lr)
        for lr, n in ((0.1, 60), (0.2, 10), (0.3, 11))
        for s in range(4)
    ]
    said = finding(compare(arms_of(runs)))

    assert said.startswith(
        "lr=0.2, best on the test pictures, is better than lr=0.1 by 5.00 points"
    )
    assert "it shows no difference from lr=0.3; the other two differ (4 seeds, 1,000 test" in said


def test_only_the_pairs_that_were_planned_are_tested(make_run: MakeRun) -> None:
    """Fewer tests: what Holm makes of a p is that of two, not of three."""
    runs = [
        make_run(f"{lr}-{s}", answers(n + s % 2, n + s), seed=s, lr=lr)
        for lr, n in ((0.1, 30), (0.2, 10), (0.3, 11))
        for s in range(2)
    ]
    arms = arms_of(runs)
    compared = compare(arms, [("lr=0.1", "lr=0.2"), ("lr=0.3", "lr=0.2")])

    assert [(pair.first, pair.second) for pair in compared.pairs] == [
        ("lr=0.1", "lr=0.2"),
        ("lr=0.3", "lr=0.2"),
    ]
    both = [pair.over_both for pair in compared.pairs]
    assert both[0] is not None and both[1] is not None
    first = min(both, key=lambda over: over.p)
    assert first.adjusted == pytest.approx(min(2 * first.p, 1.0))
    said = finding(compared)
    assert "lr=0.2" in said and "; " in said and said.endswith("(2 seeds, 1,000 test pictures).")
    assert "no difference shown" in said


def test_an_arm_without_runs_stays_with_what_is_known_of_it(make_run: MakeRun) -> None:
    run = make_run("a", answers(5))
    arms = [Arm("a", (run,)), Arm("b", (), failed=((0, "it broke"),), missing=2)]
    compared = compare(arms)

    assert compared.arms[1].failed == ((0, "it broke"),) and compared.arms[1].missing == 2
    assert compared.arms[1].test is None and compared.pairs == ()
    assert finding(compared) == (
        "a reads 99.5 % of the test pictures (95 %: 98.8 to 99.8 %; Wilson, 1,000 pictures); no "
        "other arm has finished runs: there is nothing to compare yet."
    )


def test_trained_arms_are_told_apart(trained: list[Run]) -> None:
    compared = compare(arms_of(trained))
    first, second = compared.arms

    assert [first.name, second.name] == ["lr=0.1", "lr=1e-06"]
    assert first.seeds == second.seeds == (0, 1)
    assert first.test and second.test and len(first.test.values) == 2
    assert [len(curve.records) for curve in first.curves] == [2, 2]
    assert compared.pairs[0].pictures == 30 and compared.differing == ("lr",)
    assert compared.machines[0].endswith("cpu, 1 thread, float32")


def test_a_comparison_is_ready_for_json(trained: list[Run]) -> None:
    arms = [replace(arm, published={"test": 0.99}) for arm in arms_of(trained)]
    again = json.loads(json.dumps(asdict(compare(arms)), allow_nan=False))

    assert [arm["name"] for arm in again["arms"]] == ["lr=0.1", "lr=1e-06"]
    assert again["arms"][0]["published"] == {"test": 0.99}


def test_without_validation_the_curves_are_of_training(make_run: MakeRun) -> None:
    """Of 27 training pictures 99.5 and 100 % are one level: the highest is told."""
    runs = []
    for seed, way in enumerate(((0.4, 1.0, 1.0), (0.4, 0.7, 1.0))):
        run = make_run(f"r{seed}", answers(5), way=way, seed=seed)
        lines = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
        for line, accuracy in zip(lines, way, strict=True):
            line |= {"train_accuracy": accuracy, "val_accuracy": None, "val_loss": None}
        (run.path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        runs.append(run)
    compared = compare([Arm("a", tuple(runs))])

    assert (compared.watched, compared.watching) == ("train", "training")
    assert compared.levels == (0.7, 1.0)
    assert [way.epochs for way in compared.reached[0]] == [(2, 2), (2, 3)]
