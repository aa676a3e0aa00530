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
from siglum.images import manifest
from siglum.images.cache import Progress, no_progress
from siglum.images.imageset import ImageSet
from siglum.lab.device import Device
from siglum.lab.runs import Run
from siglum.lab.study import OUT_OF_FOLD
from siglum.lab.training import evaluate
from siglum.stats import Rate, wilson

COMPARED_SIZE = 28  # px, side of the images that are compared for copies
BLOCK = 2048  # images compared at once
JPEG_QUALITY = 75  # lowest default of the usual programs, hence the noisiest


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

    @property
    def predicted(self) -> NDArray[np.integer]:
        """The predicted class of each image: (N,)."""
        predicted: NDArray[np.integer] = self.probs.argmax(axis=1)
        return predicted


def predict_run(run: Run, images: ImageSet, part: str, device: Device) -> Predictions:
    """Predict images, preprocessed as the run says, calibrated on the run's validation images."""
    stored, temperature = run.predictions(), 1.0
    if len(stored.get("val_labels", ())):
        temperature = stats.fit_temperature(stored["val_log_probs"], stored["val_labels"])
    log_probs = evaluate(device.to(run.model()), images, run.preprocess, device)
    return Predictions(
        source=images.source,
        part=part if part in manifest.PARTS else None,
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

    counts: NDArray[np.int64]  # (A, K), label by prediction
    agreement: Rate  # images whose label and prediction have the same name
    chance: float  # the same share if labels and predictions were independent
    p: float  # of independence, by the chi-square test
    assignment: tuple[tuple[str, str], ...]  # best one-to-one: label and prediction
    assigned: Rate  # images in that assignment

    def headline(self) -> str:
        """Return what is wrong with the labels, in one sentence."""
        agree = f"agree on {rate_and_interval(self.agreement)}; chance {percent(self.chance)}"
        if self.p > 0.01:
            return f"Labels and predictions are unrelated: they {agree}."
        if self.agreement.high < self.chance / 2:
            return f"Labels name what the image is not (complementary labels): they {agree}."
        names = [
            f"{label} is {predicted}" for label, predicted in self.assignment if label != predicted
        ]
        if names and self.assigned.low > max(self.agreement.high, 0.5):
            share = rate_and_interval(self.assigned)
            return f"Classes have other names: {', '.join(names)}. Renamed, they agree on {share}."
        return f"Labels and predictions {agree}."


def contingency(predictions: Predictions) -> Contingency:
    """Compare the labels of N images with their predictions."""
    rows, columns = predictions.label_classes, predictions.classes
    flat = predictions.labels * len(columns) + predictions.predicted
    counts = np.bincount(flat, minlength=len(rows) * len(columns)).reshape(len(rows), len(columns))
    same = np.array([[a == b for b in columns] for a in rows])
    independent = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    used = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    best = linear_sum_assignment(counts, maximize=True)
    pairs = [(rows[a], columns[b]) for a, b in zip(*best, strict=True) if counts[a, b]]
    total = int(counts.sum())
    return Contingency(
        counts=counts.astype(np.int64),
        agreement=wilson(int(counts[same].sum()), total),
        chance=float(independent[same].sum() / total),
        p=float(chi2_contingency(used, correction=False).pvalue) if min(used.shape) > 1 else 1.0,
        assignment=tuple(pairs),
        assigned=wilson(int(counts[best].sum()), total),
    )


def write_manifest(
    path: Path, predictions: Predictions, run: Path, min_probability: float = 0.0
) -> int:
    """Write predictions as labels, a `manifest:` source; return how many are probable enough."""
    best = np.sort(predictions.probs, axis=1)[:, -2:]  # (N, 2): runner-up, best
    accepted = np.flatnonzero(best[:, 1] >= min_probability)
    lines = (
        manifest.Line(
            file=predictions.files[i],
            old=predictions.label_classes[predictions.labels[i]],
            new=predictions.classes[predictions.predicted[i]],
            probability=f"{best[i, 1]:.6f}",
            margin=f"{best[i, 1] - best[i, 0]:.6f}",
            run=str(run),
        )
        for i in accepted.tolist()
    )
    notes = [
        "Made by 'siglum label-issues'. Delete a line to leave an image out; correct its label in "
        "the column new.",
        f"min_probability: {min_probability:.6f}",
    ]
    manifest.write(path, predictions.source, predictions.part, lines, notes)
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


def comparable(preprocess: Preprocess) -> Preprocess:
    """Return a preprocessing for `find_copies`: small, unmoved, and without positions.

    An image that was enlarged for a network hides what saving it as JPEG changed.
    """
    size = min(preprocess.size, COMPARED_SIZE)
    changes = {"size": size, "position_channels": False, "margins": None}
    return preprocess.model_copy(update=changes)


def find_copies(images: ImageSet, others: ImageSet, progress: Progress = no_progress) -> Copies:
    """Find images that are as close to one of `others` as that is to its own JPEG file."""
    pixels, wanted = _pixels(others), _pixels(images)
    threshold = max(map(_distance_to_jpeg, others.take(slice(None))))
    neighbours = NearestNeighbors(n_neighbors=min(2, len(pixels)), algorithm="brute").fit(pixels)
    scale, copies, originals = math.sqrt(pixels.shape[1]), 0, set[int]()
    for start in range(0, len(wanted), BLOCK):
        distances, indices = neighbours.kneighbors(wanted[start : start + BLOCK], n_neighbors=1)
        close = distances[:, 0] <= threshold * scale
        copies += int(close.sum())
        originals |= set(indices[close, 0].tolist())
        progress(f"comparing with {others.source}", min(start + BLOCK, len(wanted)), len(wanted))
    sample = np.random.default_rng(0).permutation(len(pixels))[:BLOCK]
    own = neighbours.kneighbors(pixels[sample])[0][:, -1] if len(pixels) > 1 else np.full(1, np.inf)
    return Copies(
        copied=wilson(copies, len(wanted)),
        occurring=wilson(len(originals), len(pixels)),
        threshold=threshold,
        false_matches=wilson(int((own <= threshold * scale).sum()), len(own)),
    )


def _pixels(images: ImageSet) -> NDArray[np.float32]:
    return images.take(slice(None)).reshape(len(images), -1).astype(np.float32)


def _distance_to_jpeg(image: NDArray[np.uint8]) -> float:
    """Return the root mean square distance of an image (C, H, W) to itself saved as JPEG."""
    file, plain = io.BytesIO(), np.squeeze(image.transpose(1, 2, 0))
    Image.fromarray(plain).save(file, "JPEG", quality=JPEG_QUALITY)
    gaps = np.asarray(Image.open(file)).astype(np.int32) - plain
    return float(np.sqrt((gaps * gaps).mean()))
