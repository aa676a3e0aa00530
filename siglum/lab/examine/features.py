"""Pictures by their features: which training pictures lie near, and how all lie together.

Shapes: N pictures, D features, M neighbours, C channels, S the side of the picture.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from siglum.images.imageset import ImageSet
from siglum.lab.examine.layers import layers
from siglum.lab.examine.subject import (
    PARTS,
    DoesNotApplyError,
    Subject,
    ink,
    spread,
    taken,
)

AT_ONCE = 2_000_000  # values of pictures that the network is shown in one call
MOST = 5_000  # training pictures that neighbours are looked for among
MAPPED = 1_000  # pictures that are mapped
WORK = 2_000_000_000_000  # multiply-adds that a look at many pictures may cost, minutes of a CPU
NEIGHBOURS = 8


@dataclass(frozen=True, eq=False)
class Nearest:
    """The training pictures whose features point most nearly the same way."""

    names: tuple[str, ...]  # N pictures
    pictures: NDArray[np.float32]  # (N, C, S, S), in [0, 1]
    answers: tuple[str, ...]  # N, what the network says of each
    neighbours: NDArray[np.float32]  # (N, M, C, S, S), the nearest first
    neighbour_classes: NDArray[np.str_]  # (N, M)
    cosines: NDArray[np.float32]  # (N, M), in [-1, 1]
    among: int  # training pictures looked at
    of: int  # training pictures there are


@dataclass(frozen=True, eq=False)
class Embedding:
    """Pictures on two maps of their features."""

    pictures: NDArray[np.float32]  # (N, C, S, S), in [0, 1]
    labels: NDArray[np.int64]  # (N,)
    classes: tuple[str, ...]  # K
    pca: NDArray[np.float32]  # (N, 2)
    explained: NDArray[np.float32]  # (2,), share of the variance along each axis of the first map
    tsne: NDArray[np.float32]  # (N, 2)
    perplexity: float
    kind: str  # of one picture
    of: int  # pictures there are


def nearest(subject: Subject) -> Nearest:
    """Return the nearest training pictures of each picture, by the cosine of their features.

    Of a large set at most `MOST` training pictures are looked at, spread evenly over it, and fewer
    where a network is so large that it would take minutes.
    """
    shown, train = subject.pictures(6), subject.data.train
    with torch.no_grad():
        wanted = F.normalize(_features(subject, subject.seen(shown.images)), dim=1)
        answer = subject.model(subject.seen(shown.images)).argmax(dim=1).tolist()
    rows = spread(len(train), min(MOST, _affordable(subject)))
    kept = min(NEIGHBOURS, len(rows))
    best = torch.full((len(shown), kept), -math.inf)
    where = torch.zeros((len(shown), kept), dtype=torch.int64)
    for start, some in _batches(subject, train, rows):
        cosines = (wanted @ F.normalize(some, dim=1).T).cpu()
        numbers = torch.arange(start, start + len(some)).expand(len(shown), -1)
        best, order = torch.cat([best, cosines], dim=1).topk(kept, dim=1)
        where = torch.cat([where, numbers], dim=1).gather(1, order)
    found = taken(train, rows[where.flatten().numpy()], "training picture")
    near = ink(found, subject.preprocess)
    return Nearest(
        names=shown.names,
        pictures=ink(shown, subject.preprocess),
        answers=tuple(subject.classes[label] for label in answer),
        neighbours=near.reshape(len(shown), kept, *near.shape[1:]),
        neighbour_classes=np.array([train.classes[i] for i in found.labels]).reshape(-1, kept),
        cosines=best.numpy(),
        among=len(rows),
        of=len(train),
    )


def embedding(subject: Subject) -> Embedding:
    """Return two maps of the features of the run's own pictures of the part, spread over it.

    Source: Pearson 1901, "On lines and planes of closest fit to systems of points in space" (PCA);
    van der Maaten, Hinton 2008, "Visualizing data using t-SNE", Journal of Device Learning
    Research 9; of more than 50 features the 50 first principal components are mapped, as there.

    Raises:
        DoesNotApplyError: if there are fewer than 4 pictures.
    """
    held = subject.held
    rows = spread(len(held), min(MAPPED, _affordable(subject)))
    if len(rows) < 4:
        raise DoesNotApplyError(f"A map needs at least 4 pictures, and there are {len(rows)}.")
    gathered = torch.cat([some for _, some in _batches(subject, held, rows)]).cpu().numpy()
    shown = taken(held, rows, f"{PARTS[subject.shown_part]} picture")
    flat, explained = principal(gathered, min(50, *gathered.shape))
    perplexity = min(30.0, (len(rows) - 1) / 3)
    return Embedding(
        pictures=ink(shown, subject.preprocess),
        labels=shown.labels,
        classes=subject.classes,
        pca=flat[:, :2],
        explained=explained[:2],
        tsne=_tsne(flat, perplexity),
        perplexity=perplexity,
        kind=shown.kind,
        of=len(held),
    )


def principal(
    features: NDArray[np.float32], components: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the first principal components (N, M) and the share of the variance of each (M,)."""
    from sklearn.decomposition import PCA

    found = PCA(max(2, components), random_state=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # of features that are all the same
        flat = found.fit_transform(features)
    return flat.astype(np.float32), np.nan_to_num(found.explained_variance_ratio_).astype(
        np.float32
    )


def _tsne(features: NDArray[np.float32], perplexity: float) -> NDArray[np.float32]:
    from sklearn.manifold import TSNE

    # Half of the usual iterations: the other half moves a thousand pictures hardly any more.
    placed = TSNE(perplexity=perplexity, init="pca", random_state=0, max_iter=500)
    return np.asarray(placed.fit_transform(features), dtype=np.float32)


def _affordable(subject: Subject) -> int:
    """Return how many pictures may be shown to a network of this size; at least 200."""
    each = sum(layer.multiply_adds for layer in layers(subject.model, subject.shape))
    return max(200, WORK // max(each, 1))


def _batches(
    subject: Subject, images: ImageSet, rows: NDArray[np.int64]
) -> Iterator[tuple[int, Tensor]]:
    """Yield features (B, D) with the place of the first in `rows`."""
    size = max(1, AT_ONCE // math.prod(subject.shape))
    for start in range(0, len(rows), size):
        with torch.no_grad():
            some = subject.seen(images.take(rows[start : start + size]))
            yield start, _features(subject, some)


def _features(subject: Subject, images: Tensor) -> Tensor:
    found: Tensor = subject.model.forward_features(images).float()  # type: ignore[operator]
    return found
