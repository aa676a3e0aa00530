"""How sure a figure is: intervals for rates, tests of pairs, measures of predicted probabilities.

Numpy only, so that both halves can use it.
Shapes: N images, K classes.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

Z95 = 1.959963984540054  # the normal quantile that leaves 2.5 % on either side


@dataclass(frozen=True)
class Rate:
    """A share of a count with its 95 % interval."""

    hits: int
    total: int
    low: float  # fraction in [0, 1]; 0 when total is 0
    high: float  # fraction in [0, 1]; 1 when total is 0

    @property
    def value(self) -> float:
        """The share itself, in [0, 1]; NaN when nothing was counted."""
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
    accuracy: float  # share that was right


def reliability(log_probs: FloatArray, labels: IntArray, bins: int = 15) -> list[Bin]:
    """Group predictions by confidence into equal intervals of [0, 1]; empty ones are left out."""
    confidence = np.exp(log_probs.max(axis=1).astype(np.float64))
    right = log_probs.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        Bin(
            low=b / bins,
            high=(b + 1) / bins,
            count=int(inside.sum()),
            confidence=float(confidence[inside].mean()),
            accuracy=float(right[inside].mean()),
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


def fit_temperature(log_probs: FloatArray, labels: IntArray, near: float | None = None) -> float:
    """Return the temperature T whose softmax(log_probs / T) makes the labels likeliest.

    1 leaves probabilities as they are; above 1 they were too sure. The negative log-likelihood is
    convex in 1 / T: its slope has one zero, which is found by halving. Where every picture is read
    right there is none, since surer is likelier without end: 1 is returned, nothing was learned.

    Args:
        log_probs: float (N, K), or logits; N at least 1.
        labels: int (N,).
        near: what T is without pictures, from where few of them move it little: its logarithm is
            taken to be normal around this one's, with a deviation of 0.5.

    Returns:
        T, between 0.01 and 100.

    Source: Guo, Pleiss, Sun, Weinberger 2017, "On calibration of modern neural networks",
    arXiv:1706.04599, section 4.2.
    """
    logits = np.maximum(log_probs.astype(np.float64), -1e4)  # -inf times 0 is no number
    if near is None and (logits.argmax(axis=1) == labels).all():
        return 1.0
    logits -= logits.max(axis=1, keepdims=True)
    wanted = logits[np.arange(len(labels)), labels].mean()
    pull = 0.0 if near is None else 1 / (0.5**2 * len(labels))
    expected = 0.0 if near is None else -math.log(near)
    low, high = -math.log(100), math.log(100)  # of log(1 / T)
    while high - low > 1e-5:
        middle = (low + high) / 2
        powers = np.exp(math.exp(middle) * logits)
        means = np.einsum("nk,nk->n", powers, logits) / powers.sum(axis=1)
        slope = math.exp(middle) * (means.mean() - wanted)
        if slope + pull * (middle - expected) < 0:  # the labels want it surer
            low = middle
        else:
            high = middle
    return math.exp(-(low + high) / 2)


@dataclass(frozen=True)
class Measures:
    """How well predicted probabilities fit the labels of one set."""

    accuracy: Rate
    recall: tuple[Rate, ...]  # a class: share of its pictures that were read as it
    precision: tuple[Rate, ...]  # a class: share of the pictures read as it that were it
    confusion: NDArray[np.int64]  # (K, K), label by predicted class
    loss: float  # negative log-likelihood, nats a picture
    ece: float  # expected calibration error, in [0, 1]
    reliability: tuple[Bin, ...]


def measure(log_probs: FloatArray, labels: IntArray, num_classes: int) -> Measures:
    """Measure float (N, K) log-probabilities against int (N,) labels; N at least 1."""
    confusion = confusion_matrix(labels, log_probs.argmax(axis=1), num_classes)
    right, total = np.diag(confusion), int(confusion.sum())
    bins = reliability(log_probs, labels)
    return Measures(
        accuracy=wilson(int(right.sum()), total),
        recall=tuple(wilson(int(r), int(n)) for r, n in zip(right, confusion.sum(1), strict=True)),
        precision=tuple(
            wilson(int(r), int(n)) for r, n in zip(right, confusion.sum(0), strict=True)
        ),
        confusion=confusion,
        loss=negative_log_likelihood(log_probs, labels),
        ece=expected_calibration_error(bins),
        reliability=tuple(bins),
    )
