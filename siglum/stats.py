"""Rates with intervals, confusion matrices, and the calibration of predicted probabilities.

NumPy only, so that the light half can use it.
Shapes: N images, K classes.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Rate:
    """A share of a count with its 95 % confidence interval."""

    hits: int
    total: int
    low: float  # fraction in [0, 1]; 0 when total is 0
    high: float  # fraction in [0, 1]; 1 when total is 0

    @property
    def value(self) -> float:
        """The share in [0, 1]; NaN if the total is 0."""
        return self.hits / self.total if self.total else math.nan


def wilson(hits: int, total: int, z: float = Z95) -> Rate:
    """Return the share `hits / total` with its Wilson score interval.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22.
    """
    assert 0 <= hits <= total, (hits, total)
    if total == 0:
        return Rate(0, 0, 0.0, 1.0)
    share, shrink = hits / total, 1 + z * z / total
    middle = (share + z * z / (2 * total)) / shrink
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / shrink
    low = 0.0 if hits == 0 else middle - half
    high = 1.0 if hits == total else middle + half
    return Rate(hits, total, low, high)


def confusion_matrix(labels: IntArray, predicted: IntArray, num_classes: int) -> NDArray[np.int64]:
    """Count label (row) against predicted class (column): int64 (K, K)."""
    counts = np.bincount(
        labels.astype(np.int64) * num_classes + predicted, minlength=num_classes**2
    )
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def negative_log_likelihood(log_probs: FloatArray, labels: IntArray) -> float:
    """Mean of -log p(label), in nats; `log_probs` is float (N, K)."""
    return float(-log_probs[np.arange(len(labels)), labels].mean())


@dataclass(frozen=True)
class Bin:
    """The predictions whose confidence falls into one interval."""

    low: float
    high: float
    count: int
    confidence: float  # mean probability of the predicted class
    accuracy: float  # share that is correct


def reliability(log_probs: FloatArray, labels: IntArray, bins: int = 15) -> list[Bin]:
    """Group predictions by confidence into equal intervals of [0, 1]; empty ones are omitted."""
    confidence = np.exp(log_probs.max(axis=1).astype(np.float64))
    correct = log_probs.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        Bin(
            low=b / bins,
            high=(b + 1) / bins,
            count=int(inside.sum()),
            confidence=float(confidence[inside].mean()),
            accuracy=float(correct[inside].mean()),
        )
        for b in range(bins)
        if (inside := index == b).any()
    ]


def expected_calibration_error(groups: list[Bin]) -> float:
    """Mean gap between confidence and accuracy over `groups`, weighted by count, in [0, 1].

    Source: Guo, Pleiss, Sun, Weinberger 2017, "On calibration of modern neural networks",
    arXiv:1706.04599, equation 3.
    """
    total = sum(group.count for group in groups)
    return sum(group.count * abs(group.confidence - group.accuracy) for group in groups) / total


def fit_temperature(log_probs: FloatArray, labels: IntArray, prior: float | None = None) -> float:
    """Return the temperature T that maximises the likelihood of softmax(log_probs / T).

    1 leaves probabilities as they are; above 1 they were overconfident. The negative log-likelihood
    is convex in 1 / T, so its slope has one zero, which is found by bisection. Without an error
    there is none, since more confidence is always more likely: the result is then 1.

    Args:
        log_probs: float (N, K), or logits; N at least 1.
        labels: int (N,).
        prior: T without data: log T is normal around log `prior` with standard deviation 0.5.

    Returns:
        T, between 0.01 and 100.

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
    recall: tuple[Rate, ...]  # by class: share of its images that were predicted as it
    precision: tuple[Rate, ...]  # by class: share of the images predicted as it that were it
    confusion: NDArray[np.int64]  # (K, K), label by predicted class
    loss: float  # negative log-likelihood, nats per image
    ece: float  # expected calibration error, in [0, 1]
    reliability: tuple[Bin, ...]


def measure(log_probs: FloatArray, labels: IntArray, num_classes: int) -> Measures:
    """Measure float (N, K) log-probabilities against int (N,) labels; N at least 1."""
    confusion = confusion_matrix(labels, log_probs.argmax(axis=1), num_classes)
    correct, total = np.diag(confusion), int(confusion.sum())
    bins = reliability(log_probs, labels)
    return Measures(
        accuracy=wilson(int(correct.sum()), total),
        recall=tuple(
            wilson(int(r), int(n)) for r, n in zip(correct, confusion.sum(1), strict=True)
        ),
        precision=tuple(
            wilson(int(r), int(n)) for r, n in zip(correct, confusion.sum(0), strict=True)
        ),
        confusion=confusion,
        loss=negative_log_likelihood(log_probs, labels),
        ece=expected_calibration_error(bins),
        reliability=tuple(bins),
    )
