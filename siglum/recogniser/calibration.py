"""Calibration: temperature, conformal prediction sets, and the rejection of other signs.

It holds for images drawn like the samples (same writers, same pens); with too few samples,
defaults apply, marked by `num_samples` 0.
Shapes: N images, K classes, M background classes.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from siglum import stats
from siglum.config import Settings
from siglum.formatting import percent
from siglum.recogniser.head import Labels, Logits

COVERAGE = 0.95  # share of prediction sets that shall contain the true class
FALSE_REJECTION_RATE = 0.02  # share of true signs that may be rejected


class Threshold(Settings):
    """Upper limits of a score, below which a share `coverage` of images like the samples lies."""

    coverage: float = Field(gt=0, lt=1)
    values: tuple[float, ...] = Field(min_length=1)  # one, or one per class
    num_samples: int = Field(0, ge=0)  # measured on; 0: a default


class Rejection(Threshold):
    """Upper limit of an out-of-distribution score."""

    score: Literal["energy"]


# Until samples are measured; 2 % of true signs on average over the sets of the tuning half.
DEFAULT_REJECTION = Rejection(coverage=1 - FALSE_REJECTION_RATE, values=(2.0,), score="energy")


class Calibration(Settings):
    """Temperature of the probabilities, and thresholds for prediction sets and rejection."""

    temperature: float = Field(1.0, gt=0)
    num_samples: int = Field(0, ge=0)  # measured on; 0: a default
    sets: Threshold | None = None
    rejection: Rejection | None = None


class Predictions(NamedTuple):
    """Predictions for N images."""

    probs: NDArray[np.float64]  # (N, K)
    sets: NDArray[np.bool_]  # (N, K): the prediction sets; the most probable class is in its set
    rejected: NDArray[np.bool_]  # (N,): looks like none of the classes


def apply_calibration(
    logits: Logits, calibration: Calibration, num_classes: int, nearest: Logits | None = None
) -> Predictions:
    """Turn logits (N, K + M) into probabilities, prediction sets and rejections.

    `nearest` is the similarity (N,) to the nearest vector of a class; None: the largest logit.
    """
    scaled = logits.astype(np.float64) / calibration.temperature
    probs = softmax(scaled[:, :num_classes])
    sets = probs >= probs.max(axis=1, keepdims=True)
    if (threshold := calibration.sets) is not None and threshold.num_samples:
        sets |= 1 - probs <= np.array(threshold.values)
    elif threshold is not None:
        # Nothing was measured: the fewest classes whose probabilities add up to the coverage.
        order = np.argsort(-probs, axis=1, kind="stable")
        ranked = np.take_along_axis(probs, order, axis=1)
        before = np.cumsum(ranked, axis=1) - ranked
        np.put_along_axis(sets, order, before < threshold.coverage, axis=1)
    rejected = np.zeros(len(probs), dtype=bool)
    if (rejection := calibration.rejection) is not None:
        rejected = ood_score(logits, num_classes, nearest) > rejection.values[0]
    return Predictions(probs, sets, rejected)


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Return probabilities (N, K) for logits (N, K)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def ood_score(
    logits: Logits, num_classes: int, nearest: Logits | None = None
) -> NDArray[np.float64]:
    """Score how unlike the classes images are (N,), from logits (N, K + M).

    It is the energy of the classes less that of the background, so a log-likelihood ratio, less
    the similarity to the nearest prototype or drawing (N,). There is no weight to choose.

    Source: Liu, Wang, Owens, Li 2020, "Energy-based out-of-distribution detection", NeurIPS 33;
    Sun, Ming, Zhu, Li 2022, "Out-of-distribution detection with deep nearest neighbors", ICML.
    """
    classes, background = logits[:, :num_classes], logits[:, num_classes:]
    if nearest is None:
        nearest = classes.max(axis=1)
    # A background class that is orthogonal to every image: 0.
    background = np.pad(background, ((0, 0), (1, 0)))
    return np.asarray(log_sum_exp(background) - log_sum_exp(classes) - nearest, np.float64)


def log_sum_exp(logits: Logits) -> Logits:
    """Return the logarithm of the summed exponentials (N,) of logits (N, K)."""
    highest = logits.max(axis=1)
    return np.asarray(highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1)))


def describe(calibration: Calibration) -> list[str]:
    """Return sentences on what the prediction sets and the rejection guarantee."""
    sentences = []
    for threshold, text in (
        (calibration.sets, "{} of prediction sets contain the right class"),
        (calibration.rejection, "{} of drawings of these classes are accepted"),
    ):
        if threshold is not None:
            sentence = text.format(percent(threshold.coverage, 0))
            measured = f"{sentence} (for drawings like the samples)."
            target = f"Target: {sentence} (not yet measured)."
            sentences.append(measured if threshold.num_samples else target)
    return sentences


def calibrate(
    loo_logits: Logits, labels: Labels, ood_scores: NDArray[np.float64], default: Calibration
) -> Calibration:
    """Measure temperature and thresholds on leave-one-out logits (N, K) and scores (N,).

    Prediction sets get a threshold per class if every class has enough samples, else one for all.
    With too few samples, or with a class that has none, the default holds.
    """
    counted = np.isfinite(loo_logits[np.arange(len(labels)), labels])
    loo_logits, labels, ood_scores = loo_logits[counted], labels[counted], ood_scores[counted]
    if not len(labels):
        return default
    temperature = stats.fit_temperature(loo_logits, labels, default.temperature)
    scores = 1 - softmax(loo_logits / temperature)[np.arange(len(labels)), labels]
    sets, num_classes = None, loo_logits.shape[1]
    if len(np.unique(labels)) == num_classes:
        by_class = [scores[labels == k] for k in range(num_classes)]
        sets = conformal_quantile(by_class, COVERAGE) or conformal_quantile([scores], COVERAGE)
    rejection = default.rejection
    if limit := conformal_quantile([ood_scores], 1 - FALSE_REJECTION_RATE):
        rejection = Rejection(**limit.model_dump(), score="energy")
    measured = {"temperature": temperature, "num_samples": len(labels)}
    return Calibration(**measured, sets=sets or default.sets, rejection=rejection)


def conformal_quantile(groups: list[NDArray[np.floating]], coverage: float) -> Threshold | None:
    """Return limits that new scores stay within with probability `coverage`; None if too few.

    It is the k-th smallest of n scores, k = ceil((n + 1) * coverage), if scores are exchangeable.

    Source: Vovk, Gammerman, Shafer 2005, "Algorithmic learning in a random world", section 2.2;
    Barber, Candès, Ramdas, Tibshirani 2021, "Predictive inference with the jackknife+", The Annals
    of Statistics 49(1): for leave-one-out scores at least 2 * coverage - 1 is guaranteed, and
    about `coverage` is usual.
    """
    values = []
    for scores in groups:
        rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
        if rank > len(scores):
            return None
        values.append(float(np.sort(scores)[rank - 1]))
    return Threshold(coverage=coverage, values=tuple(values), num_samples=sum(map(len, groups)))
