"""Last layer: from the network's outputs to probabilities, prediction sets and rejections.

A prior of size and position separates `o` from `O` where samples come from one kind of paper; it
never rejects an image. Calibration holds for images drawn like the samples (same writers, same
pens); with too few samples, defaults apply, marked by `num_samples` 0.
A position is (height, width, centre) of the ink in image heights, as in `InkReport`; values above
1 count as 1; NaN where unknown.
Shapes: N images, K classes, M background classes, D features, each of length 1.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from siglum.config import Settings
from siglum.formatting import percent

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Positions = NDArray[np.float32]  # (N, 3)
Logits = NDArray[np.floating]

BACKGROUND_WEIGHT = 0.25  # of the background logit in the out-of-distribution score


@dataclass(frozen=True, eq=False)
class PositionPrior:
    """Where the ink of each class usually is, and how much that counts."""

    mean: Floats  # (K, 3)
    std: Floats  # (3,), above 0
    gain: float  # from 0 to 1

    def logits(self, positions: Positions) -> Floats:
        """Return (N, K): 0 for the nearest class, below 0 for others; 0 for unknown positions."""
        offset = (np.clip(positions, 0, 1)[:, None] - self.mean) / self.std  # (N, K, 3)
        return (self.gain * student_t((offset**2).sum(axis=2))).astype(np.float32)


def student_t(distance: Logits) -> Logits:
    """Log density with two degrees of freedom: far from all classes, differences are small."""
    log_density = np.nan_to_num(-2.5 * np.log1p(distance / 2))  # (degrees + 3) / 2 = 2.5
    relative: Logits = log_density - log_density.max(axis=1, keepdims=True)
    return relative


@dataclass(frozen=True, eq=False)
class Head:
    """Computes `scale * (unit(outputs - centre) @ vectors.T) + bias`, background classes last."""

    vectors: NDArray[Any]  # float32, float16 or int8 (K + M, D)
    scale: Floats  # (K + M,)
    bias: Floats  # (K + M,)
    centre: Floats  # (D,)
    position: PositionPrior | None = None  # of the K classes

    @cached_property
    def unit_vectors(self) -> Floats:
        """The vectors, scaled to length 1: float32 (K + M, D)."""
        return unit(self.vectors.astype(np.float32))

    @cached_property
    def _columns(self) -> Floats:
        return np.ascontiguousarray(self.vectors.T, dtype=np.float32)

    def features(self, outputs: Floats) -> Floats:
        """Centre the network's outputs (N, D), and scale them to length 1."""
        return unit(outputs - self.centre)

    def logits(self, features: Floats, positions: Positions | None = None) -> Floats:
        """Return float32 (N, K + M) for features (N, D) and the ink's positions (N, 3)."""
        logits = features @ self._columns * self.scale + self.bias
        if self.position is not None and positions is not None:
            logits[:, : len(self.position.mean)] += self.position.logits(positions)
        return logits.astype(np.float32)


def unit(rows: Logits) -> Floats:
    """Scale rows to length 1; rows of zeros stay zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Floats = (rows / np.maximum(length, 1e-12)).astype(np.float32)
    return scaled


class Threshold(Settings):
    """Upper limits of a score, below which a share `coverage` of images like the samples lies."""

    coverage: float = Field(gt=0, lt=1)
    values: tuple[float, ...] = Field(min_length=1)  # one, or one per class
    num_samples: int = Field(0, ge=0)  # measured on; 0: a default


class Calibration(Settings):
    """Temperature of the probabilities, and thresholds for prediction sets and rejection."""

    temperature: float = Field(1.0, gt=0)
    num_samples: int = Field(0, ge=0)  # measured on; 0: a default
    sets: Threshold | None = None
    rejection: Threshold | None = None


class Predictions(NamedTuple):
    """Predictions for N images."""

    probs: NDArray[np.float64]  # (N, K)
    sets: NDArray[np.bool_]  # (N, K): the prediction sets; the most probable class is in its set
    rejected: NDArray[np.bool_]  # (N,): looks like none of the classes


def calibrated(logits: Logits, calibration: Calibration, num_classes: int) -> Predictions:
    """Turn logits (N, K + M) into probabilities, prediction sets and rejections."""
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
    if calibration.rejection is not None:
        rejected = ood_score(scaled, num_classes) > calibration.rejection.values[0]
    return Predictions(probs, sets, rejected)


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Return probabilities (N, K) for logits (N, K)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probs


def ood_score(scaled: Logits, num_classes: int) -> NDArray[np.float64]:
    """Score how unlike the classes images are (N,): far from each, and near the background."""
    score: NDArray[np.float64] = -scaled[:, :num_classes].max(axis=1)
    if scaled.shape[1] > num_classes:
        score = score + BACKGROUND_WEIGHT * scaled[:, num_classes:].max(axis=1)
    return score


def describe(calibration: Calibration) -> list[str]:
    """Return sentences on what the prediction sets and the rejection guarantee."""
    sentences = []
    for threshold, text in (
        (calibration.sets, "{} of prediction sets contain the right class"),
        (calibration.rejection, "{} of drawings of these classes are accepted, others rejected"),
    ):
        if threshold is not None:
            measured = "for drawings like the samples" if threshold.num_samples else "not measured"
            sentences.append(f"{text.format(percent(threshold.coverage, 0))} ({measured}).")
    return sentences
