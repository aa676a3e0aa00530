"""Label issues: labels that a network's predictions contradict, pseudo-labels, and near copies.

Sources: Northcutt, Jiang, Chuang 2021, "Confident learning: estimating uncertainty in dataset
labels" (cleanlab); Lee 2013, "Pseudo-Label"; Ishida et al. 2017, "Learning from complementary
labels".
Shapes: N images, K classes of the network, A classes of the labels.
"""

import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax
from scipy.stats import chi2_contingency
from sklearn.neighbors import NearestNeighbors

from siglum import stats
from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.formatting import percent, rate_and_interval
from siglum.images import manifest, sources
from siglum.images.cache import Progress, no_progress
from siglum.images.imageset import ImageSet
from siglum.lab.device import Device
from siglum.lab.runs import Run
from siglum.lab.study import OUT_OF_FOLD
from siglum.lab.training import evaluate
from siglum.stats import Rate, wilson

COMPARED_SIZE = 28  # px, side of the images that are compared for copies
BLOCK = 2048  # images compared at once
JPEG_QUALITY = 75  # the lowest default of usual programs, hence the noisiest


@dataclass(frozen=True)
class Predictions:
    """The labels of N images, and what a network predicts that was not trained on them."""

    source: str
    part: str | None  # of the source, if it has parts
    files: Sequence[str]  # N names
    labels: NDArray[np.integer]  # (N,), of `label_classes`
    label_classes: tuple[str, ...]  # A
    probs: NDArray[np.float64]  # (N, K)
    classes: tuple[str, ...]  # K

    @cached_property
    def predicted(self) -> NDArray[np.integer]:
        """The predicted class of each image: (N,)."""
        return np.asarray(self.probs.argmax(axis=1))


def predict_run(run: Run, images: ImageSet, part: str, device: Device) -> Predictions:
    """Predict images, preprocessed as the run says, calibrated on the run's validation images."""
    stored, temperature = run.predictions(), 1.0
    if len(stored.get("val_labels", ())):
        temperature = stats.fit_temperature(stored["val_log_probs"], stored["val_labels"])
    log_probs = evaluate(device.to(run.model()), images, run.preprocess, device)
    return Predictions(
        source=images.source,
        part=None if part == "all" else part,
        files=manifest.names_of(images),
        labels=images.labels,
        label_classes=images.classes,
        probs=softmax(log_probs.astype(np.float64) / temperature, axis=1),
        classes=run.classes,
    )


def read_out_of_fold(path: Path) -> Predictions:
    """Read the out-of-fold predictions in the folder of a cross-validation.

    Raises:
        DataError: if they cannot be read.
    """
    try:
        with np.load(path / OUT_OF_FOLD, allow_pickle=False) as file:
            arrays = dict(file)
        probs = np.exp(arrays["log_probs"].astype(np.float64)).mean(axis=0)
        labels, classes = arrays["labels"], tuple(arrays["classes"].tolist())
        files = arrays.get("files", np.arange(len(labels)).astype(str)).tolist()
        source = str(arrays["source"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is neither a run nor a cross-validation ({error}). Make one with: siglum "
            "train SOURCE --folds 5"
        ) from None
    return Predictions(source, None, files, labels, classes, probs, classes)


def find_issues(predictions: Predictions) -> NDArray[np.integer]:
    """Return the images whose labels are probably wrong, the least probable label first.

    Images whose label is no class of the network are left out.
    """
    from cleanlab.filter import find_label_issues

    number = {name: index for index, name in enumerate(predictions.classes)}
    labels = np.array([number.get(name, -1) for name in predictions.label_classes])
    labels = labels[predictions.labels]
    rows = np.flatnonzero(labels >= 0)
    if len(np.unique(labels[rows])) < 2:
        return rows[:0]
    ranked = find_label_issues(
        labels[rows], predictions.probs[rows], return_indices_ranked_by="self_confidence", n_jobs=1
    )
    issues: NDArray[np.integer] = rows[ranked]
    return issues


@dataclass(frozen=True)
class Contingency:
    """How the labels of the images are related to the predictions."""

    headline: str  # what is wrong with the labels, in one sentence
    counts: NDArray[np.int64]  # (A, K), label by prediction
    agreement: Rate  # images whose label and prediction have the same name
    chance: float  # the same share if labels and predictions were independent
    p: float  # of independence, by the chi-square test


def contingency(predictions: Predictions) -> Contingency:
    """Compare the labels of N images with their predictions."""
    rows, columns = predictions.label_classes, predictions.classes
    flat = predictions.labels * len(columns) + predictions.predicted
    counts = np.bincount(flat, minlength=len(rows) * len(columns)).reshape(len(rows), len(columns))
    total, same = int(counts.sum()), np.array([[a == b for b in columns] for a in rows])
    independent = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / total
    chance, agreement = (
        float(independent[same].sum() / total),
        wilson(int(counts[same].sum()), total),
    )
    used = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    p = float(chi2_contingency(used, correction=False).pvalue) if min(used.shape) > 1 else 1.0
    best = linear_sum_assignment(counts, maximize=True)
    assigned = wilson(int(counts[best].sum()), total)
    renamed = [
        f"{rows[a]} is {columns[b]}"
        for a, b in zip(*best, strict=True)
        if counts[a, b] and rows[a] != columns[b]
    ]
    agree = f"agree on {rate_and_interval(agreement)}; chance {percent(chance)}"
    if p > 0.01:
        headline = f"Labels and predictions are unrelated: they {agree}."
    elif agreement.high < chance / 2:
        headline = f"Labels name what the image is not (complementary labels): they {agree}."
    elif renamed and assigned.low > max(agreement.high, 0.5):
        names, share = ", ".join(renamed), rate_and_interval(assigned)
        headline = f"Classes have other names: {names}. Renamed, they agree on {share}."
    else:
        headline = f"Labels and predictions {agree}."
    return Contingency(headline, counts.astype(np.int64), agreement, chance, p)


def write_manifest(
    path: Path, predictions: Predictions, run: Path, min_probability: float = 0.0
) -> int:
    """Write predictions as labels, a `manifest:` source; return how many are probable enough."""
    best = np.sort(predictions.probs, axis=1)[:, -2:]  # (N, 2): runner-up, best
    accepted = np.flatnonzero(best[:, 1] >= min_probability)
    rows = (
        (
            predictions.files[i],
            predictions.label_classes[predictions.labels[i]],
            predictions.classes[predictions.predicted[i]],
            f"{best[i, 1]:.6f}",
            f"{best[i, 1] - best[i, 0]:.6f}",
            run,
        )
        for i in accepted.tolist()
    )
    notes = [
        "Made by 'siglum label-issues'. Delete a line to leave an image out; correct its label in "
        "the column new.",
        f"min_probability: {min_probability:.6f}",
    ]
    manifest.write(path, predictions.source, predictions.part, rows, notes)
    return len(accepted)


@dataclass(frozen=True)
class Copies:
    """How many images of one set are near copies of images of another."""

    copied: Rate  # images of the first set
    occurring: Rate  # images of the other set
    threshold: float  # root mean square distance of pixels, grey levels, up to which it is a copy
    false_matches: Rate  # images of the other set that would be taken for a copy of another one

    def headline(self, other: str) -> str:
        """Return how much of the set occurs in `other`, in words."""
        return (
            f"{rate_and_interval(self.copied)} are near copies of images of {other}; "
            f"{self.occurring.hits:,} of its {self.occurring.total:,} images occur. A copy differs "
            f"by at most {self.threshold:.1f} grey levels (root mean square), as JPEG files do; "
            f"{self.false_matches.hits:,} of {self.false_matches.total:,} different images do, too."
        )


def find_copies(
    source: str, part: str, other: str, other_part: str, progress: Progress = no_progress
) -> Copies:
    """Find images that are as close to one of another source as that is to its own JPEG file.

    Small images: enlarging hides what saving as JPEG changed.
    """
    small = Preprocess(size=COMPARED_SIZE)
    first = sources.load(source, part, small, progress=progress).take(slice(None))
    images = sources.load(other, other_part, small, progress=progress).take(slice(None))
    wanted, pixels = (i.reshape(len(i), -1).astype(np.float32) for i in (first, images))
    limit = max(map(_distance_to_jpeg, images))
    neighbours = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(pixels)
    copies, originals = 0, set[int]()
    for start in range(0, len(wanted), BLOCK):
        distances, indices = neighbours.kneighbors(wanted[start : start + BLOCK])
        close = distances[:, 0] <= limit
        copies += int(close.sum())
        originals |= set(indices[close, 0].tolist())
        progress(f"comparing with {other}", min(start + BLOCK, len(wanted)), len(wanted))
    sample = np.random.default_rng(0).permutation(len(pixels))[:BLOCK]
    own = neighbours.kneighbors(pixels[sample], n_neighbors=min(2, len(pixels)))[0][:, 1:]
    return Copies(
        copied=wilson(copies, len(wanted)),
        occurring=wilson(len(originals), len(pixels)),
        threshold=limit / math.sqrt(pixels.shape[1]),
        false_matches=wilson(int((own <= limit).sum()), len(sample)),
    )


def _distance_to_jpeg(image: NDArray[np.uint8]) -> float:
    """Return the Euclidean distance of a grey image (1, H, W) to itself saved as JPEG."""
    file = io.BytesIO()
    Image.fromarray(image[0]).save(file, "JPEG", quality=JPEG_QUALITY)
    return float(np.linalg.norm(np.asarray(Image.open(file)).astype(float) - image[0]))
