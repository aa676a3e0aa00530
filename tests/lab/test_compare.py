"""Closed forms on made-up runs, and two arms that were really trained."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as distributions

from siglum import stats
from siglum.config import Preprocess, TrainConfig
from siglum.errors import ConfigError, RunError
from siglum.lab.compare import Arm, Pair, arms_of, compare, finding, shown
from siglum.lab.device import Machine
from siglum.lab.outcome import levels_of
from siglum.lab.paired import pair, t_interval
from siglum.lab.recipes.train import train
from siglum.lab.runs import Run
from siglum.lab.training import Epoch

MakeRun = Callable[..., Run]
LABELS = np.arange(1000) % 4


def answers(wrong: int, seed: int = 0) -> NDArray[np.bool_]:
    """1,000 answers of which `wrong` pictures, somewhere, are not right."""
    right = np.ones(1000, dtype=bool)
    right[np.random.RandomState(seed).permutation(1000)[:wrong]] = False
    return right


def log_probs_of(right: NDArray[np.bool_]) -> NDArray[np.float32]:
    """0.7 for the answer, 0.1 for each of the three others."""
    said = np.where(right, LABELS[: len(right)], (LABELS[: len(right)] + 1) % 4)
    probs = np.full((len(right), 4), 0.1, dtype=np.float32)
    probs[np.arange(len(right)), said] = 0.7
    return np.log(probs)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a finished run that never trained: its answers, and its way to them, are given."""

    def make(
        name: str,
        right: NDArray[np.bool_],
        *,
        way: tuple[float, ...] = (0.5, 0.9),
        part: str = "test",
        before: dict[str, Any] | None = None,
        fingerprint: str = "the test set",
        labels: NDArray[np.integer] | None = None,
        **settings: Any,
    ) -> Run:
        labels = LABELS[: len(right)] if labels is None else labels
        log_probs = log_probs_of(right)
        env = {
            "data": {"train": "t", "val": "v", "test": "", part: fingerprint},
            "counts": {"train": 100, "val": 10, "test": len(right)},
            "processor": "a processor",
            "machine": {"device": "cpu", "threads": 1, "precision": "float32"},
            "init": before,
        }
        config = TrainConfig(**{"epochs": len(way), **settings})
        run = Run.create(tmp_path / name, config, Preprocess(), tuple("abcd"), env)
        for index, accuracy in enumerate(way, 1):
            record = Epoch(index, 100 * index, 2.0 * index, 1.0, 0.6, 1 - accuracy, accuracy, ())
            run.append(record)
        rate = asdict(stats.wilson(int(right.sum()), len(right)))
        loss = stats.negative_log_likelihood(log_probs, labels)
        result: dict[str, Any] = {"parameters": 10, "epochs": len(way), "best_epoch": len(way)}
        result |= {"seconds": 2.0 * len(way), "finished": "", part: {**rate, "loss": loss}}
        run.finish(result, {f"{part}_log_probs": log_probs, f"{part}_labels": labels})
        return run

    return make


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny_config: TrainConfig, machine: Machine
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


def the_pair(first: list[NDArray[np.bool_]], second: list[NDArray[np.bool_]]) -> Pair:
    ours, theirs = (dict(enumerate(right)) for right in (first, second))
    return pair("a", "b", ours, theirs, same_pictures=True)


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
            [{}, {"lr": 0.2, "momentum": 0.5, "warmup": 0.1, "nesterov": False}],
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


def test_over_seeds_is_scipys_paired_t() -> None:
    first, second = ([answers(n, s) for s, n in enumerate(w)] for w in ((9, 12, 10), (20, 31, 22)))
    expected = distributions.ttest_rel([r.mean() for r in first], [r.mean() for r in second])
    low, high = expected.confidence_interval()

    over = the_pair(first, second).over_seeds

    assert over is not None
    assert (over.low, over.high, over.p) == pytest.approx((low, high, expected.pvalue))


def test_over_both_holds_the_other_two() -> None:
    """The bootstrap's ends may stand out by the bootstrap's own chance."""
    for seeds in (2, 3, 5):
        first, second = ([answers(n + s, 7 * n + s) for s in range(seeds)] for n in (10, 25))
        made = the_pair(first, second)
        assert made.over_both and made.over_pictures and made.over_pictures
        assert made.over_both.low < made.over_pictures[0] + 0.001
        assert made.over_both.high > made.over_pictures[1] - 0.001
        if made.over_seeds:
            assert made.over_both.low <= made.over_seeds.low
            assert made.over_both.p >= made.over_seeds.p


def test_over_both_of_seeds_alike_is_the_z_of_the_pictures() -> None:
    """With no spread over seeds, what is left is the pictures: here 30 of 1,000, one way."""
    first, second = answers(0), answers(30)
    made = the_pair([first, first], [second, second])
    error = math.sqrt(0.03 * 0.97 / 999)

    assert made.over_seeds is None
    assert made.over_both is not None
    assert made.over_both.high - made.over_both.low == pytest.approx(
        2 * distributions.t.ppf(0.975, 999) * error
    )


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("luck", [0.0, 0.02])
def test_equals_are_told_apart_in_at_most_5_of_100(seeds: int, luck: float) -> None:
    """Of 150; `luck` is the deviation of the error rate over seeds. 5 more: the test's chance."""
    random = np.random.RandomState(seeds)

    def read(hard: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
        rates = np.clip(random.normal(0.06, luck, seeds), 0.0, 1.0)
        return [~(hard & (random.rand(300) < 0.5)) & (random.rand(300) >= rate) for rate in rates]

    told = 0
    for _ in range(150):
        hard = random.rand(300) < 0.1
        over = the_pair(read(hard), read(hard)).over_both
        told += over is not None and over.p < 0.05

    assert told <= 0.10 * 150


def test_the_same_picture_in_several_seeds_is_one_picture() -> None:
    """Three times the same networks know no more than once."""
    first, second = answers(10), answers(25, seed=1)
    once, thrice = the_pair([first], [second]), the_pair([first] * 3, [second] * 3)

    assert once.over_pictures == thrice.over_pictures
    assert thrice.pictures == 1000


def test_mcnemar_is_told_for_every_seed() -> None:
    first, second = answers(0), answers(8)
    (seed,) = the_pair([first], [second]).seeds

    assert (seed.both, seed.only_first, seed.only_second, seed.neither) == (992, 8, 0, 0)
    assert seed.over_pictures.p == 2 / 2**8


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


def test_an_arm_without_runs_stays_with_what_is_known_of_it(make_run: MakeRun) -> None:
    run = make_run("a", answers(5))
    arms = [Arm("a", (run,)), Arm("b", (), failed=((0, "it broke"),), missing=2)]
    compared = compare(arms)

    assert compared.arms[1].failed == ((0, "it broke"),) and compared.arms[1].missing == 2
    assert compared.arms[1].test is None and compared.pairs == ()
    assert finding(compared) == "Only a has finished runs: there is nothing to compare yet."


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


def test_t_interval_is_scipys() -> None:
    values = [0.5, 0.7, 0.65, 0.9]
    expected = distributions.t.interval(0.95, 3, np.mean(values), distributions.sem(values))

    assert t_interval(values) == pytest.approx(expected)
