"""Which pictures of a set lie, nearly the same, in another set.

Distances are root mean squares over a picture's values, in grey levels from 0 to 255.
Shapes: N pictures, R pictures of the other set, V values of a picture, M a sample.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from siglum.images.cache import Progress, no_progress
from siglum.images.imageset import ImageSet
from siglum.stats import Rate, wilson

COMPARED = 28  # px, the side of the pictures that are compared
BLOCK = 2048  # pictures compared with as many at once: 16 MB of distances
SAMPLE = 2000  # pictures whose nearest others are measured
COPIES = 60_000  # pictures that are saved as JPEG; the farthest of few would be too near
# The lowest of the usual programs' defaults (Pillow and libjpeg 75, ImageMagick 92, OpenCV 95),
# hence the noisiest.
QUALITY = 75
SHARES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class Nearest:
    """The most similar picture of another set, for every picture."""

    index: NDArray[np.int64]  # (N,), in the other set
    distance: NDArray[np.float64]  # (N,), grey levels


@dataclass(frozen=True)
class Scale:
    """What distances mean in a set, measured on a sample of it."""

    jpeg: NDArray[np.float64]  # (M,), from a picture to its own copy saved as JPEG
    others: NDArray[np.float64]  # (at most 2,000,), from a picture to the nearest other of the set
    threshold: float  # up to here two pictures are taken for copies: the largest of `jpeg`

    @property
    def false_matches(self) -> int:
        """Pictures of the sample whose nearest other one would be taken for a copy."""
        return int((self.others <= self.threshold).sum())


@dataclass(frozen=True)
class Overlap:
    """How much of a set lies in one part of another, and what that part says of its labels."""

    part: str
    size: int  # R
    quantiles: tuple[float, ...]  # of the distance to the nearest, at `SHARES`, grey levels
    copied: Rate  # pictures of the set that have a copy in the part
    occurring: Rate  # pictures of the part that occur in the set
    new: Rate | None  # copied pictures whose new label is the one that the part gives; None where
    # no class has the same name
    old: Rate | None  # the same of the old labels
    new_seen: Rate | None  # `new` of copies of what the network was trained on, where that is known
    new_unseen: Rate | None  # `new` of the others


@torch.inference_mode()
def nearest(
    images: ImageSet,
    others: ImageSet,
    channels: int,
    *,
    own: NDArray[np.int64] | None = None,
    progress: Progress = no_progress,
) -> Nearest:
    """Find for every picture the nearest of another set, comparing each with each.

    The nearest is found in float32, which is exact for whole numbers up to 2**24 and off by a
    tenth of a grey level at the most beyond; its distance is then computed exactly.

    Args:
        images: N pictures.
        others: R pictures of the same shape.
        channels: how many planes of a picture hold it.
        own: (N,), where each picture lies in `others` itself, so as not to be found.
    """
    indices, distances = [], []
    for start in range(0, len(images), BLOCK):
        mine = _rows(images, start, channels)
        block = torch.from_numpy(mine).float()  # (B, V)
        best = torch.full((len(block),), math.inf)
        index = torch.zeros(len(block), dtype=torch.int64)
        for first in range(0, len(others), BLOCK):
            theirs = torch.from_numpy(_rows(others, first, channels)).float()  # (B, V)
            squares = theirs.square().sum(dim=1)
            # |a - b|² without |a|², which is the same for all: (B, B)
            found = torch.addmm(squares, block, theirs.T, alpha=-2)
            if own is not None:
                here = torch.from_numpy(own[start : start + BLOCK]) - first
                inside = (here >= 0) & (here < len(theirs))
                found[inside.nonzero()[:, 0], here[inside]] = math.inf
            least, at = found.min(dim=1)
            nearer = least < best
            best = torch.where(nearer, least, best)
            index = torch.where(nearer, at + first, index)
        indices.append(index.numpy())
        found_bytes = others.take(indices[-1])[:, :channels].reshape(mine.shape)
        distances.append(_distance(mine, found_bytes))
        progress(f"comparing with {others.source}", min(start + BLOCK, len(images)), len(images))
    return Nearest(np.concatenate(indices), np.concatenate(distances))


def measure_scale(images: ImageSet, channels: int, progress: Progress = no_progress) -> Scale:
    """Measure, on a sample, how far copies lie apart and how far different pictures do.

    A copy is a picture saved as JPEG at quality 75. The threshold is the largest distance to such
    a copy; how often it would take a different picture for a copy is then counted.
    """
    order = np.random.RandomState(0).permutation(len(images)).astype(np.int64)
    jpeg = []
    for start in range(0, min(len(order), COPIES), BLOCK):
        for one in images.take(order[:COPIES][start : start + BLOCK])[:, :channels]:
            jpeg.append(_distance(one[None], _as_jpeg(one)[None])[0])
        progress(f"copying {images.source}", len(jpeg), min(len(order), COPIES))
    chosen = np.sort(order[:SAMPLE])
    others = np.full(len(chosen), math.inf)
    if len(images) > 1:
        sample = images.subset(chosen)
        others = nearest(sample, images, channels, own=chosen, progress=progress).distance
    return Scale(np.array(jpeg), others, float(max(jpeg)))


def overlap(
    part: str,
    others: ImageSet,
    found: Nearest,
    threshold: float,
    *,
    old: NDArray[np.str_],
    new: NDArray[np.str_],
    seen: NDArray[np.bool_] | None,
) -> Overlap:
    """Count copies, and compare the labels of their originals with old and new ones.

    Args:
        part: name of the part.
        others: R pictures of the part.
        found: the nearest of them, for N pictures.
        threshold: grey levels; see `Scale`.
        old: (N,), names of the old labels.
        new: (N,), names of the new labels.
        seen: (R,), which pictures of the part the network was trained on; None if unknown.
    """
    copies = np.flatnonzero(found.distance <= threshold)
    new_named, old_named = (bool(np.isin(names, others.classes).any()) for names in (new, old))
    originals = found.index[copies]
    truth = np.array(others.classes)[others.labels[originals]]
    right = new[copies] == truth

    def share(hits: NDArray[np.bool_]) -> Rate:
        return wilson(int(hits.sum()), len(hits))

    return Overlap(
        part=part,
        size=len(others),
        quantiles=tuple(np.quantile(found.distance, SHARES).tolist()),
        copied=wilson(len(copies), len(found.distance)),
        occurring=wilson(len(np.unique(originals)), len(others)),
        new=share(right) if new_named else None,
        old=share(old[copies] == truth) if old_named else None,
        new_seen=share(right[seen[originals]]) if seen is not None and new_named else None,
        new_unseen=share(right[~seen[originals]]) if seen is not None and new_named else None,
    )


def _rows(images: ImageSet, start: int, channels: int) -> NDArray[np.uint8]:
    """Return a block of pictures, each a row: uint8 (B, V)."""
    block = images.take(slice(start, start + BLOCK))[:, :channels]
    return block.reshape(len(block), -1)


def _distance(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Root mean square of the differences of pictures in turn: (N, ...) -> (N,)."""
    gaps = first.astype(np.int32) - second
    mean: NDArray[np.float64] = (gaps * gaps).reshape(len(gaps), -1).mean(axis=1)
    return np.sqrt(mean)


def _as_jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture (C, H, W) as it comes back from a JPEG file."""
    file = io.BytesIO()
    grey = len(image) == 1
    plain = Image.fromarray(image[0] if grey else image.transpose(1, 2, 0))
    plain.save(file, "JPEG", quality=QUALITY)
    back = np.asarray(Image.open(file))
    return back[None] if grey else back.transpose(2, 0, 1)
