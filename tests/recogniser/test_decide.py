"""What is promised is kept on new pictures that are drawn as the samples were."""

import math

import numpy as np
import pytest
from crepes import ConformalClassifier
from numpy.typing import NDArray

from siglum.recogniser import decide
from siglum.recogniser.bundle import Calibration, Promise

GUESS = Calibration(
    temperature=2.0,
    sets=Promise(share=0.95, thresholds=(0.5,)),
    none=Promise(share=0.02, thresholds=(3.0,)),
)


def samples(
    count: int, classes: int = 4, others: int = 3, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits that are right more often than not, with outsiders' behind them."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, classes, count)
    logits = random.normal(size=(count, classes + others))
    logits[np.arange(count), labels] += 2.0
    return logits.astype(np.float32), labels.astype(np.int64)


def test_the_quantile_is_that_of_the_definition() -> None:
    scores = np.arange(1.0, 20.0)  # 19: just enough for 95 %

    assert decide.quantile(scores, 0.95) == 19.0
    assert decide.quantile(scores[:18], 0.95) == math.inf
    assert decide.quantile(np.arange(1.0, 100.0), 0.95) == 95.0  # the 95th of 99
    assert decide.quantile(np.empty(0), 0.5) == math.inf


def test_sets_hold_the_promised_share_of_new_pictures() -> None:
    """Over many draws of samples; the usual share lies within its own error of 95 %."""
    hits = []
    for seed in range(200):
        left_out, labels = samples(60, seed=seed)
        calibration = decide.calibrate(left_out, labels, 4, GUESS)
        logits, new = samples(200, seed=1000 + seed)
        reading = decide.read(logits, calibration, 4)
        hits.append(reading.sets[np.arange(len(new)), new].mean())

    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)
    assert np.mean(hits) >= 0.945


def test_with_enough_of_each_every_class_has_its_own_promise() -> None:
    """One class is harder than the others: one threshold for all would promise it too much."""
    covered = np.zeros(4)
    for seed in range(40):
        logits, labels = samples(800, seed=seed)
        logits[labels == 0, :4] *= 0.3
        calibration = decide.calibrate(logits[:400], labels[:400], 4, GUESS)
        assert calibration.sets is not None and len(calibration.sets.thresholds) == 4
        sets = decide.read(logits[400:], calibration, 4).sets
        new = labels[400:]
        covered += [sets[new == label, label].mean() / 40 for label in range(4)]

    assert (covered > 0.93).all()


@pytest.mark.parametrize("count", [60, 1000])
def test_sets_are_those_of_crepes(count: int) -> None:
    """One threshold for all with 60 samples, one for each class with 1,000."""
    left_out, labels = samples(count)
    calibration = decide.calibrate(left_out, labels, 4, GUESS)
    logits, _ = samples(300, seed=1)
    found = decide.read(logits, calibration, 4)
    scaled = left_out[:, :4].astype(np.float64) / calibration.temperature
    scores = 1 - decide.softmax(scaled)[np.arange(count), labels]
    assert calibration.sets is not None
    by_class = len(calibration.sets.thresholds) == 4

    expected = np.zeros_like(found.sets)
    for label in range(4):
        behind = scores[labels == label] if by_class else scores
        other = ConformalClassifier().fit(behind)
        asked = 1 - found.probs[:, [label]]
        expected[:, [label]] = other.predict_set(asked, confidence=0.95, smoothing=False) == 1
    expected[np.arange(300), found.probs.argmax(axis=1)] = True  # never an empty set

    assert by_class == (count == 1000)
    assert (len(scores) + 1) % 20 and all((np.bincount(labels) + 1) % 20)  # else crepes counts >=
    np.testing.assert_array_equal(found.sets, expected)


def test_nothing_is_promised_of_sets_where_a_class_was_not_drawn() -> None:
    left_out, labels = samples(400)
    drawn = labels != 2

    calibration = decide.calibrate(left_out[drawn], labels[drawn], 4, GUESS)

    assert calibration.sets == GUESS.sets


def test_of_true_signs_the_promised_share_is_refused() -> None:
    refused = []
    for seed in range(200):
        left_out, labels = samples(99, seed=seed)
        calibration = decide.calibrate(left_out, labels, 4, GUESS)
        assert calibration.none is not None and calibration.none.pictures == 99
        logits, _ = samples(300, seed=1000 + seed)
        refused.append(decide.read(logits, calibration, 4).none.mean())

    assert np.mean(refused) == pytest.approx(0.02, abs=0.008)


def test_the_temperature_makes_probabilities_honest() -> None:
    """Logits three times too sure are brought back to what was drawn from."""
    random = np.random.RandomState(1)
    honest = random.normal(size=(4000, 5)) * 2
    probs = decide.softmax(honest)
    labels = (random.rand(4000, 1) > probs.cumsum(axis=1)).sum(axis=1).clip(0, 4)

    found = decide.calibrate((3 * honest).astype("f4"), labels, 5, GUESS)

    assert found.temperature == pytest.approx(3.0, rel=0.1)
    assert found.pictures == 4000


def test_few_samples_move_the_guess_little_and_promise_nothing() -> None:
    left_out, labels = samples(5)
    found = decide.calibrate(left_out, labels, 4, GUESS)

    assert 1.0 < found.temperature < 3.0
    assert found.sets is not None and found.sets.pictures == 0
    assert found.none is not None and found.none.pictures == 0
    # The guess of none of these was made at another temperature: 3 nats there are as many here.
    assert found.none.thresholds[0] * found.temperature == pytest.approx(3.0 * 2.0)
    assert decide.calibrate(left_out[:0], labels[:0], 4, GUESS) == GUESS


def test_a_class_of_one_sample_is_not_counted() -> None:
    left_out, labels = samples(120)
    alone = np.concatenate([left_out, left_out[:1]])
    alone[-1, labels[0]] = -np.inf

    found = decide.calibrate(alone, np.append(labels, labels[0]), 4, GUESS)

    assert found == decide.calibrate(left_out, labels, 4, GUESS)


def test_a_guessed_set_is_the_fewest_that_are_as_probable() -> None:
    logits = np.log(np.array([[0.90, 0.06, 0.03, 0.01], [0.96, 0.02, 0.01, 0.01]], "f4"))
    guess = Calibration(sets=Promise(share=0.95, thresholds=(0.5,)))

    sets = decide.read(logits, guess, 4).sets

    assert sets.tolist() == [[True, True, False, False], [True, False, False, False]]


def test_a_set_is_never_empty_and_holds_the_answer() -> None:
    logits, _ = samples(50)
    strict = Calibration(sets=Promise(share=0.5, thresholds=(0.0,), pictures=10))
    reading = decide.read(logits, strict, 4)

    assert reading.sets[np.arange(50), reading.probs.argmax(axis=1)].all()
    np.testing.assert_allclose(reading.probs.sum(axis=1), 1)


def test_without_outsiders_the_largest_logit_decides() -> None:
    logits = np.array([[5.0, 1.0], [0.5, 0.2]], "f4")

    np.testing.assert_allclose(decide.strangeness(logits, 2), [-5.0, -0.5])


def test_an_outsider_counts_a_quarter() -> None:
    logits = np.array([[5.0, 1.0, 8.0, 2.0], [0.5, 0.2, 0.1, -3.0]], "f4")

    np.testing.assert_allclose(decide.strangeness(logits, 2), [-3.0, -0.475], atol=1e-6)
