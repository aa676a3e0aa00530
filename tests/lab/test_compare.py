"""Closed forms and references on constructed runs, and comparisons that are refused."""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as distributions
from untrained import LABELS, MakeRun, correct

from siglum import stats
from siglum.errors import ConfigError
from siglum.lab.compare import (
    Comparison,
    Variant,
    compare_runs,
    difference_interval,
    group_runs,
    t_interval,
    writer_interval,
)
from siglum.report.compare import headline


def compare(make_run: MakeRun, wrong: dict[float, Sequence[int]], **about: Any) -> Comparison:
    """Compare runs with these numbers of wrong answers: for each learning rate, one per seed."""
    runs = [
        make_run(f"{lr}-{seed}", correct(n, n + seed), seed=seed, lr=lr)
        for lr, several in wrong.items()
        for seed, n in enumerate(several)
    ]
    return compare_runs(group_runs(runs), **about)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ([{}, {"seed": 1}, {"lr": 0.2}, {"lr": 0.2, "seed": 1}], ["lr=0.1", "lr=0.2"]),
        ([{}, {"model": "mnist_net"}], ["model=glyph_net", "model=mnist_net"]),
        (
            [{}, {"model": "mnist_net"}, {"model": "mnist_net", "lr": 0.3}],
            ["model=glyph_net lr=0.1", "model=mnist_net lr=0.01", "model=mnist_net lr=0.3"],
        ),
    ],
)
def test_variants_are_named_by_what_differs_but_the_seed_and_the_models_recipe(
    make_run: MakeRun, settings: list[dict[str, Any]], names: list[str]
) -> None:
    runs = [make_run(str(i), correct(5), **each) for i, each in enumerate(settings)]

    assert [variant.name for variant in group_runs(runs)] == names


def test_different_data_unfinished_runs_and_duplicates_are_refused(make_run: MakeRun) -> None:
    one, again = make_run("a", correct(5)), make_run("again", correct(5))
    other = make_run("b", correct(5), lr=0.2, fingerprint="another")
    labels = make_run("c", correct(5), lr=0.3, labels=LABELS[::-1].copy())
    val = [make_run(f"v{i}", correct(5), part="val", lr=i, fingerprint=str(i)) for i in (1, 2)]

    for runs, message in (
        ([one, other], "their test images differ. Train all with the same data, the same --test"),
        ([one, labels], "their test images differ"),
        (val, "their validation images differ"),
        ([one, again], "has two runs of one seed. Leave one of them out."),
        ([one, val[0]], "all need test images, or all need validation images"),
        ([], "Nothing to compare: all runs must be finished"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            compare_runs(group_runs(runs))
    (one.path / "result.json").unlink()
    with pytest.raises(ConfigError, match="Use siglum train --resume RUN"):
        compare_runs(group_runs([one, other]))


def test_accuracy_has_wilsons_or_students_interval(make_run: MakeRun) -> None:
    one, three = compare(make_run, {0.1: [10], 0.2: [10, 20, 60]}).variants.itertuples()
    rate, shares = stats.wilson(990, 1000), [0.99, 0.98, 0.94]
    low, _ = distributions.t.interval(0.95, 2, np.mean(shares), distributions.sem(shares))

    assert (one.low, one.high, one.method) == (rate.low, rate.high, "Wilson, 1,000 images")
    assert three.low == pytest.approx(low) and three.method == "Student t, 3 seeds"
    assert three.high == 1.0  # where the formula gives 1.033
    # Confidence is 0.7 with 99 % correct; -log of 0.7 and 0.1.
    assert one.loss == pytest.approx(-0.99 * math.log(0.7) - 0.01 * math.log(0.1))
    assert one.ece == pytest.approx(0.29)
    before = {"run": "runs/old", "sha256": "0", "seconds": 100.0, "examples": 5000}
    (row,) = compare_runs(group_runs([make_run("a", correct(5), before=before)])).seeds.itertuples()
    assert (row.seconds, row.total_seconds) == (4.0, 104.0)


def test_t_interval_is_scipys_and_its_correction_is_nadeau_and_bengios() -> None:
    """By hand: 4 folds of a variance of 1; 1/4 + 1/3 is 7/12."""
    values = [2 - math.sqrt(1.5), 2, 2, 2 + math.sqrt(1.5)]
    low, high = t_interval(values, test_ratio=1 / 3)

    assert (high - low) / 2 == pytest.approx(3.1824 * math.sqrt(7 / 12), rel=1e-3)
    expected = distributions.t.interval(0.95, 3, np.mean(values), distributions.sem(values))
    assert t_interval(values) == pytest.approx(expected)


def test_difference_of_seeds_alike_is_the_t_of_the_images() -> None:
    by_image = correct(0).astype(float) - correct(30)
    low, high, p = difference_interval([0.03, 0.03], by_image)
    expected = distributions.ttest_1samp(by_image, 0.0)

    assert (low, high) == pytest.approx(expected.confidence_interval())
    assert p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("spread", [0.0, 0.02])
def test_equal_variants_differ_significantly_in_at_most_5_of_100(seeds: int, spread: float) -> None:
    """Of 150; `spread`: deviation of the error rate over seeds. 5 more for the test itself."""
    random = np.random.RandomState(seeds)

    def predict(hard: NDArray[np.bool_]) -> NDArray[np.floating]:
        rates = np.clip(random.normal(0.06, spread, (seeds, 1)), 0.0, 1.0)
        careless, hits = random.rand(2, seeds, 300)
        return (~(hard & (careless < 0.5)) & (hits >= rates)).astype(float)

    significant = 0
    for _ in range(150):
        hard = random.rand(300) < 0.1
        difference = predict(hard) - predict(hard)
        by_seed = difference.mean(axis=1)
        low, high, p = difference_interval(by_seed, difference.mean(axis=0))
        significant += p < 0.05
        over_seeds = t_interval(by_seed)
        assert low <= over_seeds[0] and high >= over_seeds[1], "never narrower than over seeds"

    assert significant <= 0.10 * 150


def test_planned_pairs_alone_are_tested_and_corrected_by_holm(make_run: MakeRun) -> None:
    runs = [
        make_run(f"{lr}-{s}", correct(n + s, n + s), seed=s, lr=lr)
        for lr, n in ((0.1, 30), (0.2, 10), (0.3, 11))
        for s in range(2)
    ]
    variants = group_runs(runs)
    pairs = itertools.combinations([variant.name for variant in variants], 2)
    alone = sorted(compare_runs(variants, [pair]).pairs.p[0] for pair in pairs)
    steps = np.maximum.accumulate([min(1.0, (3 - i) * p) for i, p in enumerate(alone)])

    assert sorted(compare_runs(variants).pairs.p) == pytest.approx(steps.tolist())
    others = [replace(variants[1], name=f"{n}") for n in range(6)]
    first = compare_runs([*variants[:2], *others]).pairs.set_index(["first", "second"]).p
    assert first["lr=0.1", "lr=0.2"] == pytest.approx(28 * alone[0])  # 13 of 28 pairs are named


@pytest.mark.parametrize(("prints", "images"), [(("a", "b"), 2000), (("a", "a"), 1000)])
def test_validation_images_of_different_seeds_are_placed_side_by_side(
    make_run: MakeRun, prints: tuple[str, str], images: int
) -> None:
    """Unless the data set has its own, which all seeds share."""
    runs = [
        make_run(f"{lr}-{seed}", correct(n), part="val", seed=seed, lr=lr, fingerprint=name)
        for lr, n in ((0.1, 10), (0.2, 30))
        for seed, name in enumerate(prints)
    ]
    (pair,) = compare_runs(group_runs(runs)).pairs.itertuples()

    assert pair.images == images and pair.difference == pytest.approx(0.02)


def test_a_variant_of_one_other_seed_is_compared_with_the_mean(make_run: MakeRun) -> None:
    runs = [make_run(f"{s}", correct(n), seed=s) for s, n in enumerate((10, 20))]
    runs.append(make_run("other", correct(40), seed=3, lr=0.2))
    (pair,) = compare_runs(group_runs(runs)).pairs.itertuples()

    assert (pair.seeds, pair.images) == (1, 1000) and math.isnan(pair.p)
    assert pair.difference == pytest.approx(0.04 - 0.015)
    runs.append(make_run("another", correct(40), seed=4, lr=0.2))
    assert "Train the same seeds of each" in headline(compare_runs(group_runs(runs)))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {0.1: [60, 61, 60, 61], 0.2: [10, 11, 10, 11]},
            "lr=0.2 is better than lr=0.1: 98.95 and 93.95 %, 5.00 points (95 % CI ",
        ),
        (
            {0.1: [0], 0.2: [40]},
            "lr=0.1 and lr=0.2: 100.00 and 96.00 %, 4.00 points apart (95 % CI 2.78 to 5.22 over "
            "images), but one seed cannot separate variants from chance (1 seed, 1,000 "
            "test images).",
        ),
        (
            {0.1: [10, 11], 0.2: [10, 11]},
            "No difference shown between lr=0.1 and lr=0.2: 98.95 and 98.95 %, 0.00 points (95 % "
            "CI 0.00 to 0.00; p = 1.000 after Holm) (2 seeds, 1,000 test images).",
        ),
        ({0.1: [40]}, "glyph_net: test accuracy 96.0 % (95 % CI 94.6 to 97.0 %; Wilson, 1,000 "),
        (
            {0.1 * n: [200 - 20 * n + s for s in range(4)] for n in range(1, 8)},
            "lr=0.7000000000000001: highest accuracy on the test images, significantly better "
            "than 6 of 6 others (4 seeds, 1,000 test images).",
        ),
    ],
)  # fmt: skip
def test_the_headline_states_the_finding_with_interval_and_n(
    make_run: MakeRun, wrong: dict[float, list[int]], sentence: str
) -> None:
    assert headline(compare(make_run, wrong)).startswith(sentence)


def test_few_writers_give_a_wider_interval_than_as_many_images() -> None:
    correct, writers = np.repeat([1.0, 1.0, 0.2, 0.9], 50), np.repeat(list("abcd"), 50)
    low, high = writer_interval(correct, writers)
    wilson = stats.wilson(round(correct.sum()), 200)

    assert low < wilson.low and high > wilson.high
    assert low == pytest.approx(np.quantile(correct.reshape(4, 50).mean(axis=1), 0.02), abs=0.2)
    perfect = writer_interval(np.ones(200), writers)
    assert perfect == (stats.wilson(200, 200).low, 1.0)


def test_main_effects_are_means_over_the_other_settings(make_run: MakeRun) -> None:
    wrong = np.random.RandomState(0).randint(0, 300, (2, 3, 4))
    variants = []
    for a, b in itertools.product(range(2), range(3)):
        lr = 0.1 * a + 0.01 * b + 0.01
        runs = tuple(
            make_run(f"{a}-{b}-{s}", correct(int(n), s), seed=s, lr=lr)
            for s, n in enumerate(wrong[a, b])
        )
        variants.append(Variant(f"{a} {b}", runs, levels={"a": a, "b": b}))
    effects = compare_runs(variants).effects.set_index(["setting", "value"])
    by_seed = (1 - wrong / 1000)[:, 2].mean(axis=0)

    assert effects["mean"]["b", "2"] == pytest.approx(by_seed.mean())
    assert tuple(effects.loc[("b", "2"), ["low", "high"]]) == pytest.approx(t_interval(by_seed))
    assert compare_runs(variants[1:]).effects.empty, "not a complete grid"
