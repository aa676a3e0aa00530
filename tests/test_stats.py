import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from sklearn import metrics

from siglum.stats import (
    Bin,
    confusion_matrix,
    expected_calibration_error,
    fit_temperature,
    measure,
    negative_log_likelihood,
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


def test_loss_is_scikit_learns() -> None:
    log_probs, labels = predictions()

    assert negative_log_likelihood(log_probs, labels) == pytest.approx(
        metrics.log_loss(labels, np.exp(log_probs))
    )


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


def test_the_temperature_of_scaled_logits_is_their_scale() -> None:
    """Labels drawn from the softmax itself; its logits are multiplied by 3."""
    random = np.random.RandomState(0)
    logits = random.normal(size=(20_000, 5)) * 2
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (probs.cumsum(axis=1) > random.rand(20_000, 1)).argmax(axis=1)

    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.05)


def test_the_temperature_is_scipys_minimum() -> None:
    log_probs, labels = predictions(3)

    def loss(temperature: float) -> float:
        scaled = log_probs / temperature
        normed = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
        return negative_log_likelihood(normed, labels)

    expected = minimize_scalar(loss, bounds=(0.01, 100), method="bounded").x
    assert fit_temperature(log_probs, labels) == pytest.approx(expected, rel=1e-3)


def test_the_temperature_is_1_without_a_mistake_and_finite_with_impossible_classes() -> None:
    sure = np.log(np.array([[0.9, 0.1], [0.2, 0.8]]))
    impossible = np.array([[0.0, -np.inf], [-np.inf, 0.0], [0.0, -np.inf]])

    assert fit_temperature(sure, np.array([0, 1])) == 1.0
    assert math.isfinite(fit_temperature(impossible, np.array([0, 1, 1])))
    assert fit_temperature(sure, np.array([0, 1]), prior=2.0) < 2.0
