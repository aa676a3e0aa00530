"""The few-shot head: prototypes of classes, fitted to fonts and a few drawings.

A class may have several shapes, such as σ and ς: each has a prototype. The fonts and the drawings
of a class are vectors of it, too, so that a drawing far from the mean is recognised again.
A prior of size and position separates `o` from `O` where samples come from one kind of paper; it
never rejects an image. A position is (height, width, centre) of the ink in image heights, as in
`InkReport`; values above 1 count as 1; NaN where unknown.
Shapes: N samples, K classes, R vectors of them, S shapes in fonts, M background classes, D
features, each of length 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.images import charsets

if TYPE_CHECKING:
    from siglum.recogniser.predict import Recogniser

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Positions = NDArray[np.float32]  # (N, 3)
Logits = NDArray[np.floating]

NUM_BACKGROUND = 500  # characters most similar to the classes, used for rejection
COMMON = ("digits", "latin", "greek", "cyrillic", "kana")  # groups used for rejection, too
SAME = 0.9  # cosine from which a character counts as one of the classes, not as background
MIN_STD = 0.02  # of positions, image heights: nobody writes more steadily
SHRINKAGE = 2.0  # weight of the overall mean in each class's mean position, in samples
GAINS = (0.25, 0.5, 1.0)
MIN_BENEFIT = 0.02  # nats per sample that positions must gain on left-out samples


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
class Mixture:
    """Several vectors per class: its logit is a soft maximum of theirs."""

    counts: Labels  # (K,): the vectors of each class, in label order
    softness: float  # above 0

    def pool(self, logits: Logits) -> Logits:
        """Return logits (N, K + M) for those of the classes' vectors and of others (N, R + M)."""
        rows = self.counts.sum()
        logits, others = logits[:, :rows], logits[:, rows:]
        highest = logits.max(axis=1, keepdims=True)
        powers = logits - highest
        powers /= self.softness
        np.exp(powers, out=powers)
        sums = np.add.reduceat(powers, np.cumsum(self.counts) - self.counts, axis=1)
        with np.errstate(divide="ignore"):  # far below the highest it is -inf
            return np.hstack([highest + self.softness * np.log(sums), others])


@dataclass(frozen=True, eq=False)
class Head:
    """Computes `scale * (unit(outputs - centre) @ vectors.T) + bias`.

    Its V rows are R vectors of K classes, and M background classes.
    """

    vectors: NDArray[Any]  # float32, float16 or int8 (V, D)
    scale: Floats  # (V,)
    bias: Floats  # (V,)
    centre: Floats  # (D,)
    position: PositionPrior | None = None  # of the K classes
    mixture: Mixture | None = None  # None: one vector per class

    @cached_property
    def unit_vectors(self) -> Floats:
        """The vectors, scaled to length 1: float32 (V, D)."""
        return unit(self.vectors.astype(np.float32))

    @cached_property
    def _columns(self) -> Floats:
        return np.ascontiguousarray(self.vectors.T, dtype=np.float32)

    def features(self, outputs: Floats) -> Floats:
        """Centre the network's outputs (N, D), and scale them to length 1."""
        return unit(outputs - self.centre)

    def logits(self, features: Floats, positions: Positions | None = None) -> Floats:
        """Return float32 (N, K + M) for features (N, D) and the ink's positions (N, 3)."""
        return self.logits_and_nearest(features, positions)[0]

    def logits_and_nearest(
        self, features: Floats, positions: Positions | None = None
    ) -> tuple[Floats, Floats | None]:
        """Return the logits, and the similarity (N,) to the nearest vector of a class.

        With one vector per class it is None; the largest logit says the same.
        """
        logits, nearest = features @ self._columns * self.scale, None
        if self.mixture is not None:
            nearest = logits[:, : self.mixture.counts.sum()].max(axis=1)
        logits += self.bias
        if self.mixture is not None:
            logits = self.mixture.pool(logits)
        if self.position is not None and positions is not None:
            logits[:, : len(self.position.mean)] += self.position.logits(positions)
        return logits.astype(np.float32), nearest


def unit(rows: Logits) -> Floats:
    """Scale rows to length 1; rows of zeros stay zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Floats = (rows / np.maximum(length, 1e-12)).astype(np.float32)
    return scaled


def to_int8(rows: NDArray[Any]) -> tuple[NDArray[np.int8], Floats]:
    """Return rows (N, D) as int8, and what to multiply each by (N,).

    The error is at most 1 / 254 of the largest number of a row.
    """
    scale = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny) / 127
    return np.rint(rows / scale[:, None]).astype(np.int8), scale.astype(np.float32)


class Fonts(NamedTuple):
    """The font prototypes of classes."""

    vectors: Floats  # (S, D), each of length 1; 0 for a class that no font has
    labels: Labels  # (S,), in label order

    @property
    def has_font(self) -> NDArray[np.bool_]:
        """Whether a font has the class: (K,)."""
        return np.bincount(self.labels, self.vectors.any(axis=1)) > 0


def font_prototypes(backbone: "Recogniser", shapes: Sequence[Sequence[str]]) -> Fonts:
    """Return the font prototypes of classes, of each of the characters that show one."""
    index = {name: label for label, name in enumerate(backbone.classes)}
    listed = [[index[c] for c in characters if c in index] for characters in shapes]
    rows = np.array([row for known in listed for row in known or [-1]], np.int64)
    labels = np.repeat(range(len(shapes)), [max(len(known), 1) for known in listed])
    vectors = np.where(rows[:, None] < 0, np.float32(0), backbone.head.unit_vectors[rows])
    return Fonts(vectors, labels)


def background_classes(backbone: "Recogniser", vectors: Floats) -> Floats:
    """Return common characters, and those most similar to the classes' `vectors`: (M, D).

    Characters that are the same as a class are left out.
    """
    characters, groups = backbone.head.unit_vectors, charsets.groups()
    similarity = (characters @ vectors.T).max(axis=1)
    similarity[similarity >= SAME] = -np.inf
    common = {character for name in COMMON for character in groups[name]}
    chosen = np.array([name in common for name in backbone.classes])
    chosen[np.argsort(-similarity, kind="stable")[:NUM_BACKGROUND]] = True
    background: Floats = characters[chosen & np.isfinite(similarity)]
    return background


def fit_prototypes(
    features: Floats, labels: Labels, font_prototypes: Floats, penalty: float, scale: float
) -> tuple[Floats, Floats]:
    """Fit least squares towards 1 for the own class and 0 for others, shrunk towards the fonts.

    Returns prototypes (K, D), and the logits (N, K) of each sample under a fit without it: -inf at
    the own class if that would have nothing left. Prototypes are scaled to length 1, as those of
    fonts are: classes with samples would otherwise score higher.

    Source: Hastie, Tibshirani, Friedman 2009, "The elements of statistical learning", sections
    3.4.1 and 7.10.1 (equation 7.64: leave-one-out predictions in closed form).
    """
    x = features.astype(np.float64)
    prior = font_prototypes.astype(np.float64)
    targets = np.zeros((len(x), len(prior)))
    targets[np.arange(len(x)), labels] = 1
    gram = x.T @ x + penalty * np.eye(x.shape[1])
    solution = np.linalg.inv(gram) @ x.T  # (D, N); the penalty keeps this well-conditioned
    vectors = prior + (solution @ (targets - x @ prior.T)).T
    # Without sample n, each vector loses `step[n]` times column n of `solution`.
    leverage, logits = (x * solution.T).sum(axis=1)[:, None], x @ vectors.T
    step = (targets - logits) / np.maximum(1 - leverage, 1e-9)
    logits -= leverage * step
    squared = (vectors**2).sum(axis=1) - 2 * step * (solution.T @ vectors.T)
    squared += (solution**2).sum(axis=0)[:, None] * step**2
    loo_logits = logits / np.sqrt(np.maximum(squared, 1e-12))
    single = np.bincount(labels, minlength=len(prior))[labels] == 1
    rows = np.flatnonzero(single & ~prior[labels].any(axis=1))
    loo_logits[rows, labels[rows]] = -np.inf
    return unit(vectors), (scale * loo_logits).astype(np.float32)


def fit_position_prior(
    positions: Positions, labels: Labels, loo_logits: Floats
) -> tuple[PositionPrior | None, Floats]:
    """Fit the prior, and return it with what it adds to the leave-one-out logits (N, K), if any."""
    num_classes, rows = loo_logits.shape[1], np.arange(len(labels))
    nothing = None, np.zeros(loo_logits.shape, np.float32)
    counted = np.isfinite(loo_logits[rows, labels])
    if counted.sum() < 2 * num_classes or not np.isfinite(positions).all():
        return nothing
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
    added = student_t(((offset / std) ** 2).sum(axis=2))

    def loss(gain: float) -> float:
        logits = loo_logits[counted] + gain * added[counted]
        logits -= logits.max(axis=1, keepdims=True)
        own = logits[np.arange(len(logits)), labels[counted]]
        return float((np.log(np.exp(logits).sum(axis=1)) - own).mean())

    gain = min(GAINS, key=loss)
    if loss(0.0) - loss(gain) < MIN_BENEFIT:
        return nothing
    prior = PositionPrior(mean.astype(np.float32), std.astype(np.float32), gain)
    return prior, (gain * added).astype(np.float32)
