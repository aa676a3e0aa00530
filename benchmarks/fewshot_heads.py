"""Ways from a few samples and print to scores, for `benchmarks.fewshot_tune` to choose among.

All take features of length 1 and give scores like cosines. Print is a prior in each: it speaks
alone where nothing was drawn. A class without print has a row of zeros.
Shapes: N samples, Q pictures, K classes, D features, C copies, S the side.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from siglum.recogniser import class_vectors
from siglum.recogniser.class_vectors import unit
from siglum.recogniser.decide import softmax

Floats = NDArray[np.floating]
Labels = NDArray[np.int64]
Scorer = Callable[[Floats], Floats]  # (Q, D) -> (Q, K)

SCALE = 20.0  # of cosines in the logistic loss, as in the backbone's training
USUAL = 0.65  # cosine between a written character and its print
SHARP = 20.0  # of cosines where near samples of a class speak louder than far ones


@dataclass(frozen=True)
class Way:
    """A kind of head, and its constant: how many samples' weight print has, or a penalty."""

    name: str
    fit: Callable[[Floats, Labels, Floats, float], Scorer]
    weight: float = 1.0

    def __call__(self, x: Floats, labels: Labels, prints: Floats) -> Scorer:
        """Fit it to samples (N, D), their labels (N,) and print (K, D)."""
        return self.fit(x, labels, prints, self.weight)


def means(x: Floats, labels: Labels, prints: Floats, weight: float) -> Scorer:
    """Take the direction of the samples' sum and `weight` times print."""
    return linear(class_vectors.means(x, labels, prints, weight, 1.0).head.vectors)


def ridge(x: Floats, labels: Labels, prints: Floats, weight: float) -> Scorer:
    """Least squares to 1 and 0, from print on."""
    return linear(towards(x, labels, prints, weight, 1.0))


def ridge_usual(x: Floats, labels: Labels, prints: Floats, weight: float) -> Scorer:
    """Least squares to what print usually scores of its own class, and 0."""
    return linear(towards(x, labels, prints, weight, USUAL))


def ridge_unit(x: Floats, labels: Labels, prints: Floats, weight: float) -> Scorer:
    """As `ridge`, then each vector brought to length 1, as print is."""
    return linear(class_vectors.ridge(x, labels, prints, weight, 1.0).head.vectors)


def means_even(x: Floats, labels: Labels, prints: Floats, weight: float) -> Scorer:
    """As `means`, with drawn classes brought to the scores of those known by print."""
    return linear(even(class_vectors.means(x, labels, prints, weight, 1.0), x, labels, prints))


def ridge_even(x: Floats, labels: Labels, prints: Floats, weight: float) -> Scorer:
    """As `ridge_unit`, with drawn classes brought to the scores of those known by print."""
    return linear(even(class_vectors.ridge(x, labels, prints, weight, 1.0), x, labels, prints))


def centred(x: Floats, labels: Labels, prints: Floats, weight: float) -> Scorer:
    """As `means`, then moved away from where all samples lie, and brought to length 1 again."""
    vectors = class_vectors.means(x, labels, prints, weight, 1.0).head.vectors
    if not len(x):
        return linear(vectors)
    gram = x.T @ x + 10.0 * np.eye(x.shape[1])
    return linear(unit(np.linalg.solve(gram, vectors.T.astype(np.float64)).T))


def logistic(x: Floats, labels: Labels, prints: Floats, weight: float) -> Scorer:
    """Cosine logistic regression, with vectors held near print by springs."""
    if not len(x):
        return linear(prints)
    start = prints.astype(np.float64)
    rows, own = np.arange(len(x)), labels

    def loss(flat: Floats) -> tuple[float, Floats]:
        vectors = flat.reshape(start.shape)
        probs = softmax(SCALE * (x @ vectors.T))
        lost = -np.log(np.maximum(probs[rows, own], 1e-300)).sum()
        off = vectors - start
        probs[rows, own] -= 1
        slope = SCALE * (probs.T @ x) + weight * off
        return float(lost + weight / 2 * (off**2).sum()), slope.ravel()

    found = optimize.minimize(
        loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 100}
    )
    return linear(found.x.reshape(start.shape))


def nearest(x: Floats, labels: Labels, prints: Floats, weight: float) -> Scorer:
    """Take the nearest sample of a class, or its print."""
    return _by_sample(x, labels, prints, np.inf, 1.0)


def near(x: Floats, labels: Labels, prints: Floats, weight: float) -> Scorer:
    """Take the soft maximum of a class's samples and its print, which counts `weight` times."""
    return _by_sample(x, labels, prints, SHARP, weight)


def ridge_and_means(x: Floats, labels: Labels, prints: Floats, weight: float) -> Scorer:
    """Halfway between `ridge_unit` and `means`."""
    ridged = class_vectors.ridge(x, labels, prints, weight, 1.0).head.vectors
    return linear(unit(ridged + class_vectors.means(x, labels, prints, weight, 1.0).head.vectors))


def ridge_and_near(x: Floats, labels: Labels, prints: Floats, weight: float) -> Scorer:
    """Take the mean score of `ridge_unit` and `near`."""
    one, other = ridge_unit(x, labels, prints, weight), near(x, labels, prints, weight)
    return lambda shown: (one(shown) + other(shown)) / 2


def linear(vectors: Floats) -> Scorer:
    """Return scores by one vector a class (K, D)."""
    return lambda shown: shown @ vectors.T


def towards(x: Floats, labels: Labels, prints: Floats, penalty: float, usual: float) -> Floats:
    """Return ridge vectors (K, D) whose own samples are to score `usual`."""
    x, start = x.astype(np.float64), prints.astype(np.float64)
    wanted = np.zeros((len(x), len(start)))
    wanted[np.arange(len(x)), labels] = usual
    gram = x.T @ x + penalty * np.eye(x.shape[1])
    return start + np.linalg.solve(gram, x.T @ (wanted - x @ start.T)).T


def even(taught: class_vectors.Taught, x: Floats, labels: Labels, prints: Floats) -> Floats:
    """Return vectors (K, D), those of drawn classes scaled to what print scores of its own.

    A drawn class scores a new picture of its own as its samples score that are left out; print
    scores one as it scores the samples, or as usual where there is no print of any.
    """
    vectors = taught.head.vectors
    own = taught.left_out[np.arange(len(x)), labels]
    printed = prints[labels].any(axis=1)
    counted = np.isfinite(own)
    if not counted.any() or own[counted].mean() <= 0:
        return vectors
    by_print = (x * prints[labels]).sum(axis=1)[printed]
    usual = by_print.mean() if len(by_print) else USUAL
    drawn = np.isin(np.arange(len(prints)), labels)
    return np.where(drawn[:, None], vectors * (usual / own[counted].mean()), vectors)


def _by_sample(x: Floats, labels: Labels, prints: Floats, sharp: float, weight: float) -> Scorer:
    printed = np.flatnonzero(prints.any(axis=1))
    stored = np.concatenate([x, prints[printed]])
    classes = np.concatenate([labels, printed])
    order = np.argsort(classes, kind="stable")
    stored, weights = stored[order], np.repeat([1.0, weight], [len(x), len(printed)])[order]
    there, starts = np.unique(classes[order], return_index=True)

    def score(shown: Floats) -> Floats:
        cosines = shown @ stored.T
        scores = np.full((len(shown), len(prints)), -1.0)
        if np.isinf(sharp):
            scores[:, there] = np.maximum.reduceat(cosines, starts, axis=1)
        else:
            powers = weights * np.exp(sharp * (cosines - 1))
            total = np.add.reduceat(weights, starts)
            mean = np.add.reduceat(powers, starts, axis=1) / total
            scores[:, there] = 1 + np.log(mean) / sharp
        return scores

    return score


WAYS = (
    *(Way(f"means, print {w:g}", means, w) for w in (1, 2, 5)),
    Way("ridge, 1", ridge, 1),
    Way("ridge to usual, 1", ridge_usual, 1),
    *(Way(f"ridge, length 1, {w:g}", ridge_unit, w) for w in (0.3, 1, 2, 4)),
    *(Way(f"{name}, even, 1", way) for name, way in (("means", means_even), ("ridge", ridge_even))),
    *(Way(f"ridge and means, {w:g}", ridge_and_means, w) for w in (0.3, 1)),
    Way("means less spread, print 2", centred, 2),
    Way("logistic, 10", logistic, 10),
    Way("nearest", nearest),
    Way("near, print 3", near, 3),
    *(Way(f"ridge and near, {w:g}", ridge_and_near, w) for w in (1, 2)),
)


def copies(ink: NDArray[np.uint8], count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return slightly turned, slanted, stretched and shifted copies (N, C, S, S) of ink (N, S, S).

    Turned by up to 8 degrees, slanted by 0.15, stretched by 8 % each way, shifted by 1/40 of the
    side.
    """
    random = np.random.RandomState(seed)
    side = ink.shape[-1]
    middle = np.full(2, (side - 1) / 2)
    made = np.empty((len(ink), count, side, side), np.uint8)
    for row in range(len(ink)):
        for number in range(count):
            turn, slant, tall, wide = random.uniform(-1, 1, 4) * (np.radians(8), 0.15, 0.08, 0.08)
            cos, sin = np.cos(turn), np.sin(turn)
            matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array(
                [[1 + tall, 0], [slant, 1 + wide]]
            )
            shift = random.uniform(-1, 1, 2) * side / 40
            offset = middle - matrix @ middle + shift
            made[row, number] = ndimage.affine_transform(ink[row], matrix, offset, order=1)
    return made
