"""How large a character was written and where, which its shape in the frame no longer tells.

`o` and `O` have one shape. Where samples were drawn on one kind of paper, their heights, widths and
places on it tell them apart; where they were cut out somehow, they tell nothing, and are not used.
They part the classes from each other, and say nothing of whether a sign is one of them.
Shapes: N samples, K classes. A place is (height, width, middle) of the ink in heights of the
picture, as `normalise.Evidence` has it, above 1 as good as 1; NaN where it is not known.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siglum.errors import DataError

Places = NDArray[np.float32]  # (N, 3)

LEAST = 0.02  # heights of the picture: nobody writes steadier than that
SHRINK = 2.0  # samples' weight of the mean of all classes in the mean of each
GAINS = (0.25, 0.5, 1.0)  # how much size and place may count
WORTH = 0.02  # nats a sample that they must bring, or they are left out


@dataclass(frozen=True, eq=False)
class Whereabouts:
    """Where the classes' ink usually is, and how much that counts."""

    middle: NDArray[np.float32]  # (K, 3)
    spread: NDArray[np.float32]  # (3,), above 0
    gain: float

    def __post_init__(self) -> None:
        good = self.middle.shape[1:] == self.spread.shape == (3,) and (self.spread > 0).all()
        if not good or not 0 <= self.gain <= max(GAINS):
            raise DataError(
                "place must be (K, 3) with three spreads above 0 and a gain from 0 to "
                f"{max(GAINS)}, got {self.middle.shape}, {self.spread} and {self.gain}."
            )


def place_logits(places: Places, whereabouts: Whereabouts) -> NDArray[np.float32]:
    """Return (N, K): 0 for the nearest class and less for others; 0 where a place is not known.

    Far from all classes the differences are small (Student's t with two degrees of freedom): ink
    that is much larger or smaller than every sample was written on another kind of paper.
    """
    off = (_bounded(places)[:, None] - whereabouts.middle) / whereabouts.spread  # (N, K, 3)
    return (whereabouts.gain * _logits((off**2).sum(axis=2))).astype(np.float32)


def learned(
    places: Places, labels: NDArray[np.int64], count: int, left_out: NDArray[np.floating]
) -> tuple[Whereabouts | None, NDArray[np.float32]]:
    """Return where the classes' ink is, if that helps, and what it adds to each left-out sample.

    Each sample is judged by the places of the others, on top of what its shape says.

    Args:
        places: (N, 3).
        labels: (N,), in [0, K).
        count: K.
        left_out: (N, K) logits of the samples by shape, each left out of its own fit.

    Returns:
        None and zeros where places are not known of every sample, or are worth less than `WORTH`.
    """
    nothing = np.zeros((len(labels), count), np.float32)
    judged = np.isfinite(left_out[np.arange(len(labels)), labels]) if len(labels) else labels > 0
    if judged.sum() < 2 * count or not np.isfinite(places).all():
        return None, nothing
    known = _bounded(places).astype(np.float64)
    counts = np.bincount(labels, minlength=count)[:, None]
    sums = np.zeros((count, 3))
    np.add.at(sums, labels, known)
    usual = known.mean(axis=0)
    middle = (sums + SHRINK * usual) / (counts + SHRINK)
    within = known - middle[labels]
    freedom = max(len(known) - int((counts > 0).sum()), 1)
    spread = np.maximum(np.sqrt((within**2).sum(axis=0) / freedom), LEAST)
    off = known[:, None] - middle  # (N, K, 3)
    own = (sums[labels] - known + SHRINK * usual) / (counts[labels] - 1 + SHRINK)
    off[np.arange(len(labels)), labels] = known - own
    distance = ((off / spread) ** 2).sum(axis=2)
    whole = _logits(distance)
    losses = {
        gain: _loss(left_out[judged] + gain * whole[judged], labels[judged])
        for gain in (0.0, *GAINS)
    }
    gain = min(losses, key=lambda gain: losses[gain])
    if losses[0.0] - losses[gain] < WORTH:
        return None, nothing
    found = Whereabouts(middle.astype(np.float32), spread.astype(np.float32), gain)
    return found, (gain * whole).astype(np.float32)


def _bounded(places: Places) -> Places:
    """Return places as samples have them, whose picture may be wider than it is high."""
    return np.clip(places, 0, 1)


def _logits(distance: NDArray[np.floating]) -> NDArray[np.floating]:
    added = np.nan_to_num(-2.5 * np.log1p(distance / 2))  # (degrees of freedom + 3) / 2 = 2.5
    nearest: NDArray[np.floating] = added - added.max(axis=1, keepdims=True)
    return nearest


def _loss(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Return the negative log-likelihood of labels, nats a sample."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    lost = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return float(lost.mean())
