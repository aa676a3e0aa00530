"""What calibration guarantees holds for new images drawn like the samples."""

import numpy as np
import pytest
from crepes import ConformalClassifier
from numpy.typing import NDArray

from siglum.recogniser.calibration import (
    Calibration,
    Rejection,
    Threshold,
    apply_calibration,
    calibrate,
    ood_score,
    softmax,
)

DEFAULT = Calibration(
    temperature=2.0,
    sets=Threshold(coverage=0.95, values=(0.5,)),
    rejection=Rejection(coverage=0.98, values=(3.5,), score="energy"),
)


def sample(
    count: int, classes: int = 4, background: int = 3, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits that are mostly right, with those of background classes after them."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, classes, count)
    logits = random.normal(size=(count, classes + background))
    logits[np.arange(count), labels] += 2.0
    return logits.astype(np.float32), labels.astype(np.int64)


def measure(loo_logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """Calibrate four classes on logits with those of background classes after them."""
    return calibrate(loo_logits[:, :4], labels, ood_score(loo_logits, 4), DEFAULT)


def test_95_percent_of_sets_contain_the_class_and_2_percent_of_signs_are_rejected() -> None:
    hits, rejected = [], []
    for seed in range(200):
        calibration = measure(*sample(99, seed=seed))
        assert calibration.rejection is not None and calibration.rejection.num_samples == 99
        logits, labels = sample(200, seed=1000 + seed)
        predictions = apply_calibration(logits, calibration, 4)
        hits.append(predictions.sets[np.arange(len(labels)), labels].mean())
        rejected.append(predictions.rejected.mean())

    assert np.mean(hits) == pytest.approx(0.955, abs=0.01)
    assert np.mean(rejected) == pytest.approx(0.02, abs=0.008)


@pytest.mark.parametrize("count", [60, 1000])
def test_prediction_sets_equal_those_of_crepes(count: int) -> None:
    """One threshold for all with 60 samples, one per class with 1,000."""
    loo_logits, labels = sample(count)
    calibration = measure(loo_logits, labels)
    predictions = apply_calibration(sample(300, seed=1)[0], calibration, 4)
    scaled = loo_logits[:, :4].astype(np.float64) / calibration.temperature
    scores = 1 - softmax(scaled)[np.arange(count), labels]
    assert calibration.sets is not None
    by_class = len(calibration.sets.values) == 4

    expected = np.zeros_like(predictions.sets)
    for k in range(4):
        reference = ConformalClassifier().fit(scores[labels == k] if by_class else scores)
        new = 1 - predictions.probs[:, [k]]
        expected[:, [k]] = reference.predict_set(new, confidence=0.95, smoothing=False) == 1
    expected[np.arange(300), predictions.probs.argmax(axis=1)] = True  # never empty

    assert by_class == (count == 1000)
    assert (len(scores) + 1) % 20 and all((np.bincount(labels) + 1) % 20)  # else crepes counts >=
    np.testing.assert_array_equal(predictions.sets, expected)


def test_the_temperature_undoes_overconfidence() -> None:
    random = np.random.RandomState(1)
    logits = random.normal(size=(4000, 5)) * 2
    labels = (random.rand(4000, 1) > softmax(logits).cumsum(axis=1)).sum(axis=1).clip(0, 4)

    found = calibrate((3 * logits).astype("f4"), labels, logits[:, 0], DEFAULT)

    assert found.temperature == pytest.approx(3.0, rel=0.1)
    assert found.num_samples == 4000


def test_few_samples_keep_the_default_thresholds() -> None:
    loo_logits, labels = sample(5)
    found = measure(loo_logits, labels)

    assert 1.0 < found.temperature < 3.0
    assert found.sets is not None and found.sets.num_samples == 0
    assert found.rejection == DEFAULT.rejection
    assert measure(loo_logits[:0], labels[:0]) == DEFAULT
    loo_logits, labels = sample(400)
    others = labels != 2  # a class without samples
    assert measure(loo_logits[others], labels[others]).sets == DEFAULT.sets


def test_default_sets_are_the_fewest_classes_that_reach_the_coverage() -> None:
    logits = np.log(np.array([[0.90, 0.06, 0.03, 0.01], [0.96, 0.02, 0.01, 0.01]], "f4"))
    default = Calibration(sets=Threshold(coverage=0.95, values=(0.5,)))

    sets = apply_calibration(logits, default, 4).sets

    assert sets.tolist() == [[True, True, False, False], [True, False, False, False]]


def test_the_score_of_a_sign_falls_with_classes_and_drawings_and_rises_with_background() -> None:
    logits = np.array([[6.0, 2.0, 5.0]])  # two classes, one background class
    score = ood_score(logits, 2)

    expected = np.log(1 + np.exp(5.0)) - np.log(np.exp(6.0) + np.exp(2.0)) - 6.0
    np.testing.assert_allclose(score, expected)
    assert ood_score(logits, 2, np.array([7.0])) == pytest.approx(score - 1.0)
    changed = ood_score(logits + np.array([[0, 0, 1.0], [1.0, 0, 0]]), 2)
    assert changed[1] < score - 1.0 and changed[0] > score
