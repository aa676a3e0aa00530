"""From a few samples and what print looks like to one vector a class, and how well that does.

Two ways, both linear in the features, so that either becomes a `Head`. Print is a prior: it speaks
alone where nothing was drawn, and samples outweigh it as they come. What is left out of a fit costs
no second fit: both ways have closed forms for it.
Shapes: N samples, K classes, D features. Features have length 1. A class without print has a row of
zeros; one without samples stands by print alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siglum.recogniser.head import Head

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Taught:
    """A head, and what it would say of each of its samples without having seen that one."""

    head: Head
    left_out: Floats  # (N, K) logits; -inf at the own class where that is then left with nothing


def unit(rows: NDArray[np.floating]) -> Floats:
    """Bring rows to length 1; rows of zeros stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    brought: Floats = (rows / np.maximum(length, 1e-12)).astype(np.float32)
    return brought


def means(features: Floats, labels: Labels, prints: Floats, weight: float, scale: float) -> Taught:
    """A class is the direction of the sum of its samples, and of its print `weight` times.

    Args:
        features: (N, D).
        labels: (N,), in [0, K).
        prints: (K, D).
        weight: how many samples print counts for.
        scale: of the cosines.

    Source: Snell, Swersky, Zemel 2017, "Prototypical networks for few-shot learning",
    arXiv:1703.05175, section 2.
    """
    sums = weight * prints.astype(np.float64)
    np.add.at(sums, labels, features)
    vectors = unit(sums)
    left_out = features @ vectors.T
    rows = np.arange(len(labels))
    without = sums[labels] - features  # the own class, less the sample
    own = (features * unit(without)).sum(axis=1)
    left_out[rows, labels] = np.where(np.linalg.norm(without, axis=1) > 1e-6, own, -np.inf)
    return Taught(_head(vectors, scale), scale * left_out)


def ridge(features: Floats, labels: Labels, prints: Floats, penalty: float, scale: float) -> Taught:
    """Least squares towards 1 for the own class and 0 for the others, kept near print.

    Vectors are brought to length 1 then, as print is: a class with samples would else have larger
    scores than one that is known by print alone.

    Args:
        features: (N, D).
        labels: (N,), in [0, K).
        prints: (K, D); where it is all zeros, vectors are kept near nothing.
        penalty: how many samples' weight keeps vectors where they were.
        scale: of the cosines.

    Source: Hastie, Tibshirani, Friedman 2009, "The elements of statistical learning", sections
    3.4.1 and 7.10.1 (equation 7.64: what a sample would be given without itself).
    """
    x = features.astype(np.float64)
    start = prints.astype(np.float64)
    wanted = np.zeros((len(x), len(start)))
    wanted[np.arange(len(x)), labels] = 1
    gram = x.T @ x + penalty * np.eye(x.shape[1])
    solved = np.linalg.inv(gram) @ x.T  # (D, N); the penalty keeps this well-conditioned
    vectors = start + (solved @ (wanted - x @ start.T)).T
    # Without a sample the vectors are less by its column of `solved`, so many times: (N, K).
    leverage, given = (x * solved.T).sum(axis=1)[:, None], x @ vectors.T
    times = (wanted - given) / np.maximum(1 - leverage, 1e-9)
    given -= leverage * times
    squared = (vectors**2).sum(axis=1) - 2 * times * (solved.T @ vectors.T)
    squared += (solved**2).sum(axis=0)[:, None] * times**2
    left_out = given / np.sqrt(np.maximum(squared, 1e-12))
    alone = np.bincount(labels, minlength=len(start))[labels] == 1
    unprinted = ~start[labels].any(axis=1)
    rows = np.flatnonzero(alone & unprinted)
    left_out[rows, labels[rows]] = -np.inf
    return Taught(_head(unit(vectors), scale), (scale * left_out).astype(np.float32))


def _head(vectors: Floats, scale: float) -> Head:
    classes, width = vectors.shape
    return Head(
        vectors,
        scale=np.full(classes, scale, np.float32),
        bias=np.zeros(classes, np.float32),
        centre=np.zeros(width, np.float32),
        cosine=True,
    )
