import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from sklearn import metrics

from siglum.stats import fit_temperature, measure, negative_log_likelihood, wilson


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
    nothing = wilson(0, 0)
    assert (nothing.low, nothing.high) == (0, 1) and math.isnan(nothing.value)


@pytest.mark.parametrize("num_classes", [7, 62])
def test_measures_are_scikit_learns(num_classes: int) -> None:
    """Labels are of one byte, which 61 x 62 would overflow."""
    log_probs, labels = predictions(num_classes=num_classes)
    predicted, names = log_probs.argmax(axis=1), range(num_classes)
    precision, recall, _, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=names, zero_division=math.nan
    )

    measures = measure(log_probs, labels.astype(np.uint8), num_classes)

    expected = metrics.confusion_matrix(labels, predicted, labels=names)
    np.testing.assert_array_equal(measures.confusion, expected)
    assert [r.value for r in measures.recall] == pytest.approx(recall, nan_ok=True)
    assert [r.value for r in measures.precision] == pytest.approx(precision, nan_ok=True)
    assert [r.total for r in measures.recall] == support.tolist()
    assert measures.accuracy.value == metrics.accuracy_score(labels, predicted)
    again = measure(np.tile(log_probs, (3, 1)), np.tile(labels, 3), num_classes, repeats=3)
    assert (again.accuracy, again.recall) == (measures.accuracy, measures.recall)
    loss = metrics.log_loss(labels, np.exp(log_probs), labels=names)
    assert measures.loss == pytest.approx(loss)


def test_calibration_error_is_the_weighted_gap() -> None:
    """Three quarters are 0.1 too sure, one quarter 0.4: 0.175."""
    log_probs = np.log([[0.6, 0.4]] * 30 + [[0.9, 0.1]] * 10)
    labels = np.array([0] * 15 + [1] * 15 + [0] * 5 + [1] * 5)
    measures = measure(log_probs, labels, 2)

    assert measures.ece == pytest.approx(0.175)
    assert [(b.accuracy.total, b.accuracy.value) for b in measures.reliability] == [
        (30, 0.5),
        (10, 0.5),
    ]
    assert all(b.low <= b.confidence <= b.high for b in measures.reliability)


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
