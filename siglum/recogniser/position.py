"""Size and position of the ink, which tell `o` from `O` where samples come from one kind of paper.

A position is (height, width, centre) of the ink in image heights, as in `InkReport`; values above
1 count as 1; NaN where unknown. Positions only separate classes: they never reject an image.
Shapes: N samples, K classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siglum.errors import DataError

Positions = NDArray[np.float32]  # (N, 3)

MIN_STD = 0.02  # image heights: nobody writes more steadily
SHRINKAGE = 2.0  # weight of the overall mean in each class mean, in samples
GAINS = (0.25, 0.5, 1.0)
MIN_BENEFIT = 0.02  # nats per sample that the prior must gain on left-out samples


@dataclass(frozen=True, eq=False)
class PositionPrior:
    """Where the ink of each class usually is, and how much that counts."""

    mean: NDArray[np.float32]  # (K, 3)
    std: NDArray[np.float32]  # (3,), above 0
    gain: float

    def __post_init__(self) -> None:
        valid = self.mean.shape[1:] == self.std.shape == (3,) and (self.std > 0).all()
        if not valid or not 0 <= self.gain <= max(GAINS):
            raise DataError(
                "position must have means (K, 3), three std above 0 and a gain from 0 to "
                f"{max(GAINS)}, got {self.mean.shape}, {self.std} and {self.gain}."
            )

    def logits(self, positions: Positions) -> NDArray[np.float32]:
        """Return (N, K): 0 for the nearest class, below 0 for others; 0 for unknown positions."""
        offset = (np.clip(positions, 0, 1)[:, None] - self.mean) / self.std  # (N, K, 3)
        return (self.gain * _student_t((offset**2).sum(axis=2))).astype(np.float32)


def fit_position_prior(
    positions: Positions,
    labels: NDArray[np.int64],
    num_classes: int,
    loo_logits: NDArray[np.floating],
) -> tuple[PositionPrior | None, NDArray[np.float32]]:
    """Fit the prior, and return it with what it adds to each sample's leave-one-out logits.

    Args:
        positions: (N, 3).
        labels: (N,), in [0, K).
        num_classes: K.
        loo_logits: (N, K), by shape alone.

    Returns:
        None and zeros if a position is unknown, or the gain is below `MIN_BENEFIT`.
    """
    rows = np.arange(len(labels))
    counted = np.isfinite(loo_logits[rows, labels])
    if counted.sum() < 2 * num_classes or not np.isfinite(positions).all():
        return None, np.zeros((len(labels), num_classes), np.float32)
    x = np.clip(positions, 0, 1).astype(np.float64)
    counts = np.bincount(labels, minlength=num_classes)[:, None]
    sums = np.zeros((num_classes, 3))
    np.add.at(sums, labels, x)
    overall = x.mean(axis=0)
    mean = (sums + SHRINKAGE * overall) / (counts + SHRINKAGE)
    degrees = max(len(x) - int((counts > 0).sum()), 1)
    std = np.maximum(np.sqrt(((x - mean[labels]) ** 2).sum(axis=0) / degrees), MIN_STD)
    offset = x[:, None] - mean  # (N, K, 3)
    loo_mean = (sums[labels] - x + SHRINKAGE * overall) / (counts[labels] - 1 + SHRINKAGE)
    offset[rows, labels] = x - loo_mean
    added = _student_t(((offset / std) ** 2).sum(axis=2))
    losses = {
        gain: _cross_entropy(loo_logits[counted] + gain * added[counted], labels[counted])
        for gain in (0.0, *GAINS)
    }
    gain = min(losses, key=losses.__getitem__)
    if losses[0.0] - losses[gain] < MIN_BENEFIT:
        return None, np.zeros((len(labels), num_classes), np.float32)
    prior = PositionPrior(mean.astype(np.float32), std.astype(np.float32), gain)
    return prior, (gain * added).astype(np.float32)


def _student_t(distance: NDArray[np.floating]) -> NDArray[np.floating]:
    """Log density with two degrees of freedom: far from all classes, differences are small.

    Ink much larger or smaller than every sample comes from another kind of paper.
    """
    log_density = np.nan_to_num(-2.5 * np.log1p(distance / 2))  # (degrees + 3) / 2 = 2.5
    relative: NDArray[np.floating] = log_density - log_density.max(axis=1, keepdims=True)
    return relative


def _cross_entropy(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    loss = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return float(loss.mean())
