"""Rates with intervals, confusion matrices, and the calibration of predicted probabilities.

NumPy only, so that the light half can use it.
Shapes: N images, K classes.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution
BINS = 15  # of confidence


@dataclass(frozen=True)
class Rate:
    """A share of a count with its 95 % confidence interval."""

    hits: int
    total: int
    low: float  #: fraction in [0, 1]; 0 when total is 0
    high: float  #: fraction in [0, 1]; 1 when total is 0

    @property
    def value(self) -> float:
        """The share in [0, 1]; NaN if the total is 0."""
        return self.hits / self.total if self.total else math.nan


def wilson(hits: int, total: int) -> Rate:
    """Return the share `hits / total` with its Wilson score interval (Wilson 1927)."""
    assert 0 <= hits <= total, (hits, total)
    if total == 0:
        return Rate(0, 0, 0.0, 1.0)
    z, share = Z95, hits / total
    shrink = 1 + z * z / total
    middle = (share + z * z / (2 * total)) / shrink
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / shrink
    low = 0.0 if hits == 0 else middle - half
    high = 1.0 if hits == total else middle + half
    return Rate(hits, total, low, high)


def negative_log_likelihood(log_probs: FloatArray, labels: IntArray) -> float:
    """Mean of -log p(label), in nats; `log_probs` is float (N, K)."""
    return float(-log_probs[np.arange(len(labels)), labels].mean())


class Bin(NamedTuple):
    """The predictions whose confidence falls into one interval."""

    low: float
    high: float
    confidence: float  # mean probability of the predicted class
    accuracy: Rate


def fit_temperature(log_probs: FloatArray, labels: IntArray, prior: float | None = None) -> float:
    """Return the temperature T in [0.01, 100] that makes softmax(log_probs / T) most likely.

    Above 1, probabilities were overconfident. The negative log-likelihood is convex in 1 / T, so
    bisection finds the one zero of its slope. Without an error there is none: T is then 1.
    With a `prior`, log T is normal around its logarithm with standard deviation 0.5.

    Source: Guo, Pleiss, Sun, Weinberger 2017, "On calibration of modern neural networks",
    arXiv:1706.04599, section 4.2.
    """
    logits = np.maximum(log_probs.astype(np.float64), -1e4)  # -inf times 0 would be NaN
    if prior is None and (logits.argmax(axis=1) == labels).all():
        return 1.0
    logits -= logits.max(axis=1, keepdims=True)
    label_mean = logits[np.arange(len(labels)), labels].mean()
    precision = 0.0 if prior is None else 1 / (0.5**2 * len(labels))
    centre = 0.0 if prior is None else -math.log(prior)
    low, high = -math.log(100), math.log(100)  # of log(1 / T)
    while high - low > 1e-5:
        middle = (low + high) / 2
        powers = np.exp(math.exp(middle) * logits)
        means = np.einsum("nk,nk->n", powers, logits) / powers.sum(axis=1)
        slope = math.exp(middle) * (means.mean() - label_mean)
        if slope + precision * (middle - centre) < 0:  # more confidence is more likely
            low = middle
        else:
            high = middle
    return math.exp(-(low + high) / 2)


@dataclass(frozen=True)
class Measures:
    """How well predicted probabilities fit the labels of one set."""

    accuracy: Rate
    recall: tuple[Rate, ...]  #: share of the images of each class that were predicted as it
    precision: tuple[Rate, ...]  #: share of the images predicted as each class that were it
    confusion: NDArray[np.int64]  #: (K, K), label by predicted class
    loss: float  #: negative log-likelihood, nats per image
    ece: float  #: expected calibration error, in [0, 1]
    reliability: tuple[Bin, ...]


def measure(
    log_probs: FloatArray, labels: IntArray, num_classes: int, repeats: int = 1
) -> Measures:
    """Measure float (N, K) log-probabilities against int (N,) labels; N at least 1.

    Of several predictions of each image, `repeats`, counts are means: they add no images.
    The calibration error is equation 3 of Guo et al. 2017 over 15 bins of equal width.
    """
    predicted = log_probs.argmax(axis=1)
    cells = labels.astype(np.int64) * num_classes + predicted  # 61 x 62 overflows a byte
    counts = np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)
    confusion, of_class, as_class = (
        np.rint(n / repeats).astype(np.int64) for n in (counts, counts.sum(1), counts.sum(0))
    )
    hits = np.diag(confusion).tolist()
    confidence = np.exp(log_probs.max(axis=1).astype(np.float64))
    indices = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = []
    for index in np.unique(indices).tolist():
        inside = indices == index
        accuracy = wilson(int((predicted == labels)[inside].sum()), int(inside.sum()))
        mean = float(confidence[inside].mean())
        bins.append(Bin(index / BINS, (index + 1) / BINS, mean, accuracy))
    gaps = sum(one.accuracy.total * abs(one.confidence - one.accuracy.value) for one in bins)
    return Measures(
        accuracy=wilson(round(np.trace(counts) / repeats), len(labels) // repeats),
        recall=tuple(map(wilson, hits, of_class.tolist())),
        precision=tuple(map(wilson, hits, as_class.tolist())),
        confusion=confusion,
        loss=negative_log_likelihood(log_probs, labels),
        ece=gaps / len(labels),
        reliability=tuple(bins),
    )
