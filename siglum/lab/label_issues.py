"""Label issues: labels that a network's predictions contradict, pseudo-labels, and near copies.

Sources: Northcutt, Jiang, Chuang 2021, "Confident learning: estimating uncertainty in dataset
labels" (cleanlab); Lee 2013, "Pseudo-Label"; Ishida et al. 2017, "Learning from complementary
labels".
"""

import io
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax
from scipy.stats import chi2_contingency
from sklearn.metrics import pairwise_distances_argmin_min

from siglum import stats
from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.formatting import percent, rate_and_interval
from siglum.images import cache, sources
from siglum.images.imageset import ImageSet
from siglum.lab import study, training_loop
from siglum.lab.device import Device
from siglum.lab.run_folder import Run

COMPARED_SIZE = 28  # px, side of the images that are compared for copies
JPEG_QUALITY = 75  # the lowest default of usual programs, hence the noisiest


def predict_run(run: Run, images: ImageSet, device: Device) -> pd.DataFrame:
    """Predict images, preprocessed as the run says, calibrated on the run's validation images."""
    stored, temperature = run.predictions(), 1.0
    if len(stored.get("val_labels", ())):
        temperature = stats.fit_temperature(stored["val_log_probs"], stored["val_labels"])
    log_probs = training_loop.evaluate(device.to(run.model()), images, run.preprocess, device)
    probs = softmax(log_probs.astype(float) / temperature, axis=1)
    labels = pd.Categorical.from_codes(images.labels, images.classes)
    files = images.files or [str(row) for row in range(len(images))]
    return find_issues(files, labels, probs, run.classes)


def read_out_of_fold(path: Path) -> tuple[str, pd.DataFrame, int | None]:
    """Return the source and the predictions of a cross-validation; raises DataError.

    And how many of the images the initial weights were trained on; None if that is unknown.
    """
    try:
        with np.load(path / study.OUT_OF_FOLD, allow_pickle=False) as file:
            arrays = dict(file)
        labels = pd.Categorical.from_codes(arrays["labels"], arrays["classes"])
        files = arrays.get("files", np.arange(len(labels)).astype(str))
        probs = np.exp(arrays["log_probs"].astype(float)).mean(axis=0)
        table = find_issues(files, labels, probs, arrays["classes"])
        seen = float(arrays.get("seen", 0))
        return str(arrays["source"]), table, None if np.isnan(seen) else round(seen)
    except Exception as error:  # numpy, zipfile and zlib raise many kinds
        problem = f"{path} is neither a run nor a cross-validation ({error})."
        remedy = "Make one with: siglum train SOURCE --folds 5"
        raise DataError(f"{problem} {remedy}") from None


def find_issues(
    files: Any, labels: pd.Categorical, probs: NDArray[Any], classes: Any
) -> pd.DataFrame:
    """Return a table of N images with `probs` (N, K) of a network that did not learn them.

    `issue` is 0 for the least probable of the labels that are probably wrong, NaN for all others.
    """
    runner_up, best = np.sort(probs, axis=1)[:, -2:].T
    predicted = pd.Categorical.from_codes(probs.argmax(axis=1), classes)
    columns = {"file": files, "label": labels, "prediction": predicted, "probability": best}
    images = pd.DataFrame({**columns, "margin": best - runner_up, "issue": np.nan})
    codes = pd.Index(classes).get_indexer(labels.astype(str))
    rows = np.flatnonzero(codes >= 0)
    if len(np.unique(codes[rows])) > 1:
        options: Any = {"return_indices_ranked_by": "self_confidence", "n_jobs": 1}
        with warnings.catch_warnings(action="ignore"):  # of each class without images
            wrong = find_label_issues(codes[rows], probs[rows], **options)
        images.loc[rows[wrong], "issue"] = np.arange(len(wrong))
    return images


class Contingency(NamedTuple):
    """How the labels of the images are related to the predictions."""

    headline: str  # what is wrong with the labels, in one sentence
    counts: pd.DataFrame  # images by label (row) and prediction (column)
    agreement: stats.Rate  # images whose label and prediction have the same name
    chance: float  # the same share if labels and predictions were independent
    p: float  # of independence, by the chi-square test


def contingency(images: pd.DataFrame) -> Contingency:
    """Compare the labels of the images with their predictions."""
    counts = pd.crosstab(images.label, images.prediction)
    labels, names, total = images.label.astype(str), images.prediction.astype(str), len(images)
    agreement = stats.wilson(int((labels == names).sum()), total)
    shares = labels.value_counts(normalize=True) * names.value_counts(normalize=True)
    chance = float(shares.sum())
    p = float(chi2_contingency(counts, correction=False).pvalue) if min(counts.shape) > 1 else 1.0
    rows, columns = linear_sum_assignment(counts, maximize=True)
    pairs = list(zip(counts.index[rows], counts.columns[columns], strict=True))
    assigned = stats.wilson(sum(int(counts.loc[pair]) for pair in pairs), total)
    renamed = ", ".join(f"{a} is {b}" for a, b in pairs if a != b and counts.loc[a, b])
    share, other = rate_and_interval(agreement), rate_and_interval(assigned)
    headline = f"Labels and predictions agree on {share}; chance {percent(chance)}."
    if min(counts.shape) > 1 and p > 0.01:
        headline += " They are unrelated."
    elif agreement.high < chance / 2:
        headline += " Labels name what the image is not (complementary labels)."
    elif renamed and assigned.low > max(agreement.high, 0.5):
        headline = f"Classes have other names: {renamed}. Renamed, they agree on {other}."
    return Contingency(headline, counts, agreement, chance, p)


def find_copies(
    source: str, part: str, other: str, other_part: str, progress: cache.Progress
) -> dict[str, Any]:
    """Find images that are as close to one of another source as that is to its own JPEG file.

    Returns the rate of images that are `copied`, of images of the other source `occurring`, and the
    `threshold`: the root mean square distance of pixels, in grey levels, up to which it is a copy.
    """
    small = Preprocess(size=COMPARED_SIZE)  # enlarging hides what saving as JPEG changed
    wanted = sources.load(source, part, small, progress=progress).images
    pixels = sources.load(other, other_part, small, progress=progress).images
    limit = 0.0
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(image[0]).save(file, "JPEG", quality=JPEG_QUALITY)
        limit = max(limit, float(np.linalg.norm(np.asarray(Image.open(file), float) - image[0])))
    progress(f"comparing {len(wanted):,} images with {other}", 0, 0)
    flat = (images.reshape(len(images), -1).astype(np.float32) for images in (wanted, pixels))
    originals, distances = pairwise_distances_argmin_min(*flat)
    close = distances <= limit
    return {
        "copied": asdict(stats.wilson(int(close.sum()), len(wanted))),
        "occurring": asdict(stats.wilson(len(np.unique(originals[close])), len(pixels))),
        "threshold": limit / COMPARED_SIZE,
    }
