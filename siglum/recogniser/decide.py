"""How sure an answer is: honest probabilities, sets with a promised share, and none of these.

What is promised of new pictures is measured on samples that are left out of their own fit. It holds
where new pictures are drawn as the samples were: same hands, same pens. Where there are too few
samples for a promise there is a guess, which says so (`Promise.pictures` is 0).
Shapes: N pictures, K classes, M outsiders.
"""

import math
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.recogniser.bundle import Calibration, Promise
from siglum.recogniser.place import Places

COVERAGE = 0.95  # share of the sets that are to hold the sign that was meant
REFUSED = 0.02  # share of true signs that may be taken for none of these
BESIDE = 0.25  # what an outsider counts, against the classes

Floats = NDArray[np.floating]
Labels = NDArray[np.int64]


class Reading(NamedTuple):
    """What is said of N pictures."""

    probs: NDArray[np.float64]  # (N, K)
    sets: NDArray[np.bool_]  # (N, K): the classes it may be, the likeliest always one of them
    none: NDArray[np.bool_]  # (N,): whether it looks like none of these


class Reader(Protocol):
    """What reads pictures: bytes (N, P, S, S), and where their ink was (N, 3), if that is known."""

    def __call__(self, images: NDArray[np.uint8], places: Places | None = None, /) -> Reading:
        """Return what is said of the pictures."""


def read(logits: Floats, calibration: Calibration, count: int) -> Reading:
    """Say what logits (N, K + M) of `count` = K classes and M outsiders come to."""
    scaled = logits.astype(np.float64) / calibration.temperature
    reading = plain(softmax(scaled[:, :count]))
    sets, none = reading.sets, reading.none
    if (promise := calibration.sets) is not None:
        sets = sets | likely(reading.probs, promise)
    if (promise := calibration.none) is not None:
        none = strangeness(scaled, count) > promise.thresholds[0]
    return Reading(reading.probs, sets, none)


def plain(probs: Floats) -> Reading:
    """Return probabilities (N, K) with nothing promised: each set is the likeliest class alone."""
    sets = probs >= probs.max(axis=1, keepdims=True)
    return Reading(probs.astype(np.float64), sets, np.zeros(len(probs), dtype=bool))


def softmax(logits: Floats) -> NDArray[np.float64]:
    """Return probabilities (N, K) of logits (N, K)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probs


def likely(probs: Floats, promise: Promise) -> NDArray[np.bool_]:
    """Return the classes (N, K) that a picture may be.

    With samples behind the promise: those at least so probable as all but a share of the samples
    found their own class. Without: the fewest that together are as probable as is promised.
    """
    if promise.pictures:
        inside: NDArray[np.bool_] = 1 - probs <= np.array(promise.thresholds)
        return inside
    order = np.argsort(-probs, axis=1, kind="stable")
    before = np.cumsum(np.take_along_axis(probs, order, axis=1), axis=1)
    before -= np.take_along_axis(probs, order, axis=1)
    inside = np.zeros(probs.shape, dtype=bool)
    np.put_along_axis(inside, order, before < promise.share, axis=1)
    return inside


def strangeness(scaled: Floats, count: int) -> NDArray[np.float64]:
    """Return how strange pictures are (N,): far from every class, and nearer to an outsider.

    How much the second counts was chosen by which signs that nobody taught it tells
    (benchmarks/fewshot_tune.py). With no outsider the likeliest class's logit alone decides.
    """
    best = scaled[:, :count].max(axis=1)
    other = scaled[:, count:].max(axis=1) if scaled.shape[1] > count else np.zeros(len(scaled))
    strange: NDArray[np.float64] = BESIDE * other - best
    return strange


def calibrate(left_out: Floats, labels: Labels, count: int, guess: Calibration) -> Calibration:
    """Measure how sure a recogniser may be by what it says of samples it did not learn from.

    Args:
        left_out: logits (N, K + M) of the samples, each left out of its own fit; a row whose own
            class is -inf was that class's only sample, and is not counted.
        labels: (N,), in [0, K).
        guess: what holds where there are too few samples: from other pictures than these.

    Returns:
        Sets with a threshold a class where every class has samples enough for it, else one for
        all; by `guess` where even they are too few, or a class has none: what is said of drawn
        classes does not hold for one known by print alone.
    """
    counted = np.isfinite(left_out[np.arange(len(labels)), labels]) if len(labels) else labels > 0
    left_out, labels = left_out[counted], labels[counted]
    if not len(labels):
        return guess
    temperature = stats.fit_temperature(left_out[:, :count], labels, guess.temperature)
    scaled = left_out / temperature
    probs = softmax(scaled[:, :count])
    scores = 1 - probs[np.arange(len(labels)), labels]
    strange = strangeness(scaled, count)
    return Calibration(
        temperature=temperature,
        pictures=len(labels),
        sets=_sets(scores, labels, count) or guess.sets,
        none=_promise(strange, 1 - REFUSED, REFUSED) or _moved(guess, temperature),
    )


def quantile(scores: Floats, share: float) -> float:
    """Return what a new score is at most, with a chance of at least `share`; inf with too few.

    It is the k-th smallest of n, k = ceil((n + 1) share), if the new one is drawn as the n were.

    Source: Vovk, Gammerman, Shafer 2005, "Algorithmic learning in a random world", section 2.2;
    Barber, Candès, Ramdas, Tibshirani 2021, "Predictive inference with the jackknife+", The Annals
    of Statistics 49(1): where each score is left out of its own fit, at least 2 share - 1 is sure
    and about `share` is usual.
    """
    rank = math.ceil((len(scores) + 1) * share - 1e-9)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def _sets(scores: Floats, labels: Labels, count: int) -> Promise | None:
    if len(np.unique(labels)) < count:
        return None
    by_class = [quantile(scores[labels == label], COVERAGE) for label in range(count)]
    if all(math.isfinite(threshold) for threshold in by_class):
        return Promise(share=COVERAGE, thresholds=tuple(by_class), pictures=len(scores))
    return _promise(scores, COVERAGE, COVERAGE)


def _promise(scores: Floats, quantile_of: float, share: float) -> Promise | None:
    threshold = quantile(scores, quantile_of)
    if not math.isfinite(threshold):
        return None
    return Promise(share=share, thresholds=(threshold,), pictures=len(scores))


def _moved(guess: Calibration, temperature: float) -> Promise | None:
    """Return a guess of none of these at another temperature."""
    if guess.none is None:
        return None
    factor = guess.temperature / temperature
    thresholds = tuple(factor * threshold for threshold in guess.none.thresholds)
    return guess.none.model_copy(update={"thresholds": thresholds, "pictures": 0})
