import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap
from sklearn import metrics

from siglum.stats import (
    Bin,
    confusion_matrix,
    expected_calibration_error,
    holm,
    mcnemar,
    measure,
    negative_log_likelihood,
    paired_bootstrap,
    reliability,
    wilson,
)


def predictions(
    seed: int = 0, count: int = 500, num_classes: int = 7
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return log-probabilities (N, K) that know something of their labels (N,)."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, num_classes, count)
    logits = random.normal(size=(count, num_classes))
    logits[np.arange(count), labels] += 1.5
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True), labels


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(pair: tuple[int, int]) -> None:
    hits, total = pair
    expected = binomtest(hits, total).proportion_ci(method="wilson")

    rate = wilson(hits, total)

    assert (rate.low, rate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert rate.value == hits / total


@pytest.mark.parametrize("total", [1, 9, 10_000])
def test_wilson_never_leaves_the_unit_interval(total: int) -> None:
    """Rounding would put the lower end of 0 hits at -1e-19."""
    assert wilson(0, total).low == 0
    assert wilson(total, total).high == 1
    assert 0 < wilson(0, total).high < 1


def test_nothing_counted_says_nothing() -> None:
    rate = wilson(0, 0)

    assert (rate.low, rate.high) == (0, 1)
    assert math.isnan(rate.value)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=60))
def test_confusion_matrix_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    expected = np.zeros((5, 5), dtype=np.int64)
    if pairs:
        expected = metrics.confusion_matrix(labels, predicted, labels=range(5))

    counts = confusion_matrix(labels, predicted, 5)

    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, expected)


def test_labels_of_one_byte_do_not_overflow() -> None:
    """61 x 62 is above 255."""
    labels = np.array([61], dtype=np.uint8)

    assert confusion_matrix(labels, labels, 62)[61, 61] == 1


def test_recall_and_precision_are_scikit_learns() -> None:
    log_probs, labels = predictions()
    predicted = log_probs.argmax(axis=1)
    precision, recall, _, support = metrics.precision_recall_fscore_support(labels, predicted)

    measures = measure(log_probs, labels, 7)

    assert [r.value for r in measures.recall] == pytest.approx(recall)
    assert [r.value for r in measures.precision] == pytest.approx(precision)
    assert [r.total for r in measures.recall] == support.tolist()
    assert measures.accuracy.value == metrics.accuracy_score(labels, predicted)


def test_a_class_never_predicted_has_no_precision() -> None:
    log_probs = np.log(np.array([[0.9, 0.1], [0.8, 0.2]]))

    measures = measure(log_probs, np.array([0, 1]), 2)

    assert math.isnan(measures.precision[1].value)
    assert measures.recall[1].value == 0


def test_loss_is_scikit_learns() -> None:
    log_probs, labels = predictions()

    assert negative_log_likelihood(log_probs, labels) == pytest.approx(
        metrics.log_loss(labels, np.exp(log_probs))
    )


def test_uniform_probabilities_cost_log_k() -> None:
    log_probs = np.full((3, 8), -math.log(8))

    assert negative_log_likelihood(log_probs, np.array([0, 5, 7])) == pytest.approx(math.log(8))


def test_a_sure_and_right_predictor_is_calibrated() -> None:
    """Confidence 1 belongs to the last group, not to one beyond it."""
    log_probs = np.where(np.eye(4, dtype=bool), 0.0, -np.inf)

    groups = reliability(log_probs, np.arange(4))

    assert groups == [Bin(low=14 / 15, high=1.0, count=4, confidence=1.0, accuracy=1.0)]
    assert expected_calibration_error(groups) == 0


def test_a_predictor_as_right_as_it_is_sure_is_calibrated() -> None:
    """Confidence 0.8 everywhere, and 8 of 10 right."""
    log_probs = np.log(np.tile([0.8, 0.2], (10, 1)))
    labels = np.array([0] * 8 + [1] * 2)

    assert expected_calibration_error(reliability(log_probs, labels)) == pytest.approx(0)


def test_calibration_error_is_the_weighted_gap() -> None:
    """Three quarters are 0.1 too sure, one quarter 0.4: 0.175."""
    sure = [Bin(0, 0.5, 3, confidence=0.4, accuracy=0.3), Bin(0.5, 1, 1, 0.6, 1.0)]

    assert expected_calibration_error(sure) == pytest.approx(0.175)


@given(st.integers(0, 1000))
def test_groups_hold_every_prediction_once(seed: int) -> None:
    log_probs, labels = predictions(seed, count=50)
    groups = reliability(log_probs, labels)
    right = (log_probs.argmax(axis=1) == labels).sum()

    assert sum(group.count for group in groups) == 50
    assert sum(group.count * group.accuracy for group in groups) == pytest.approx(right)
    assert all(group.low <= group.confidence <= group.high for group in groups)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_scipys_binomial_test(only_first: int, only_second: int) -> None:
    total = only_first + only_second
    expected = binomtest(only_first, total).pvalue if total else 1.0

    assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_pictures_neither_overflows_nor_takes_long() -> None:
    assert mcnemar(0, 5000) == 0.0
    assert mcnemar(5000, 5000) == 1.0


def test_two_of_two_coins_are_no_proof() -> None:
    """Both heads or both tails: 2 of 4."""
    assert mcnemar(2, 0) == 0.5


def test_holm_is_the_worked_example_of_the_method() -> None:
    """0.01 x 4; 0.02 x 3 is above; 0.03 x 2 is the same; 0.9 x 1."""
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])


def test_holm_of_one_is_itself_and_of_none_is_none() -> None:
    assert holm([0.3]) == [0.3]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_lies_between_p_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)

    for p, value in zip(p_values, adjusted, strict=True):
        assert p <= value <= min(len(p_values) * p, 1.0) + 1e-12
    by_p = [value for _, value in sorted(zip(p_values, adjusted, strict=True))]
    assert by_p == sorted(by_p)


def right_answers(seed: int, count: int = 400) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Two readers who stumble partly over the same pictures."""
    random = np.random.RandomState(seed)
    hard = random.rand(count) < 0.1
    return ~(hard | (random.rand(count) < 0.05)), ~(hard | (random.rand(count) < 0.08))


def test_bootstrap_is_scipys() -> None:
    first, second = right_answers(0)
    expected = bootstrap(
        (first.astype(float) - second,),
        np.mean,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval

    found = paired_bootstrap(first, second, draws=20_000)

    assert found == pytest.approx((expected.low, expected.high), abs=0.003)  # one picture is 0.0025


def test_bootstrap_takes_shares_of_several_networks() -> None:
    """Half right on every picture against all right: always half a point of 1 apart."""
    assert paired_bootstrap(np.full(10, 0.5), np.ones(10)) == (-0.5, -0.5)


def test_bootstrap_repeats_with_its_seed_and_turns_with_its_order() -> None:
    first, second = right_answers(1)
    low, high = paired_bootstrap(first, second)

    assert paired_bootstrap(first, second) == (low, high)
    assert paired_bootstrap(second, first) == pytest.approx((-high, -low), abs=0.003)


def test_bootstrap_of_the_same_answers_is_nothing_at_all() -> None:
    first, _ = right_answers(2)

    assert paired_bootstrap(first, first) == (0.0, 0.0)


@pytest.mark.slow
def test_bootstrap_holds_the_true_difference_as_often_as_it_says() -> None:
    """0.9 x 0.95 against 0.9 x 0.92 is 0.027; 95 of 100 intervals, give or take 4."""
    held = 0
    for seed in range(200):
        low, high = paired_bootstrap(*right_answers(seed), draws=500, seed=seed)
        held += low <= 0.027 <= high

    assert 182 <= held <= 198
