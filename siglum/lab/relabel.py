"""New labels for a set of pictures, by a run's network: how sure each is, and which to keep.

Shapes: N pictures of the set, V validation pictures of the run, K classes.
Source: Lee 2013, "Pseudo-Label", ICML workshop on challenges in representation learning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from siglum import stats
from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError
from siglum.images import splits
from siglum.images.cache import Progress, no_progress
from siglum.images.imageset import ImageSet
from siglum.lab.association import Diagnosis, diagnose
from siglum.lab.device import Device
from siglum.lab.duplicates import COMPARED, Overlap, Scale, measure_scale, nearest, overlap
from siglum.lab.runs import Run
from siglum.lab.training import evaluate

Floats = NDArray[np.float64]
PROMISES = (0.99, 0.995, 0.999, 1.0)  # precisions whose thresholds are told unasked


@dataclass(frozen=True)
class Labelling:
    """What a network says of every picture."""

    labels: NDArray[np.int64]  # (N,), of the run's classes
    probability: Floats  # (N,), of the label, calibrated, in [0, 1]
    margin: Floats  # (N,), less the runner-up's, in [0, 1]


@dataclass(frozen=True)
class Validation:
    """How far the run's probabilities can be believed, by its own validation pictures."""

    temperature: float  # 1 where nothing was fitted
    probability: Floats  # (V,), of the predicted class, calibrated
    right: NDArray[np.bool_]  # (V,), whether the predicted class was the true one
    ece: tuple[float, float]  # calibration error before and after, in [0, 1]

    @property
    def accuracy(self) -> stats.Rate:
        """Share that was right."""
        return stats.wilson(int(self.right.sum()), len(self.right))


@dataclass(frozen=True)
class Threshold:
    """The lowest probability above which a precision was kept on the validation pictures."""

    precision: float  # asked for, in (0, 1]
    value: float  # keep probabilities from here on; 0 keeps everything
    found: stats.Rate  # share of the validation pictures kept by it that was right


@dataclass(frozen=True)
class Relabelling:
    """New labels of a set, and what they say of its old ones."""

    new: Labelling
    kept: NDArray[np.bool_]  # (N,), whether the new label is sure enough
    diagnosis: Diagnosis  # of the old labels of all N


@dataclass(frozen=True)
class Against:
    """How much of a set lies in another."""

    scale: Scale
    parts: tuple[Overlap, ...]


def relabel(
    run: Run,
    pictures: ImageSet,
    machine: Device,
    validation: Validation | None,
    threshold: float,
) -> Relabelling:
    """Label every picture of a set with the run's network, and judge its old labels.

    Args:
        pictures: N, fitted as the run's `preprocess` says; of any classes.
        validation: of the run; without it probabilities are taken as they are.
        threshold: keep the pictures whose label has this probability, in [0, 1].

    Raises:
        DataError: if no picture is kept.
    """
    log_probs = evaluate(machine.to(run.model()), pictures, run.preprocess, machine)
    new = label(calibrated(log_probs, validation.temperature if validation else 1.0))
    kept = new.probability >= threshold
    if not kept.any():
        raise DataError(
            f"at least one picture of {pictures.source} must reach the threshold {threshold}, got "
            f"{new.probability.max():.6f} for the surest. Ask for less."
        )
    accuracy = validation.accuracy if validation else None
    return Relabelling(
        new, kept, diagnose(pictures.labels, new.labels, pictures.classes, run.classes, accuracy)
    )


def compared(preprocess: Preprocess) -> Preprocess:
    """Return how pictures are fitted to be compared with each other, and not by a network.

    Small, since a picture that was enlarged for the network hides what saving it as JPEG did.
    """
    return preprocess.model_copy(
        update={"size": min(preprocess.size, COMPARED), "position_channels": False}
    )


def compare(
    pictures: ImageSet,
    new: NDArray[np.str_],
    others: Mapping[str, ImageSet],
    seen: Mapping[str, NDArray[np.bool_] | None],
    progress: Progress = no_progress,
) -> Against:
    """Look for the pictures of a set in every part of another.

    Args:
        pictures: N, fitted as `compared` says.
        new: (N,), names of their labels by a run.
        others: the parts of the other set, fitted likewise; copies are told from other pictures
            by what the first is like.
        seen: of each part, which pictures the run was trained on; see `shown`.
    """
    channels = pictures.shape[0]
    old = np.array(pictures.classes)[pictures.labels]
    scale = measure_scale(next(iter(others.values())), channels, progress)
    parts = [
        overlap(
            part,
            other,
            nearest(pictures, other, channels, progress=progress),
            scale.threshold,
            old=old,
            new=new,
            seen=seen[part],
        )
        for part, other in others.items()
    ]
    return Against(scale, tuple(parts))


def calibrated(log_probs: NDArray[np.floating[Any]], temperature: float) -> Floats:
    """Return log-probabilities (N, K) at a temperature; see `stats.fit_temperature`."""
    scaled: Floats = log_softmax(log_probs.astype(np.float64) / temperature, axis=1)
    return scaled


def label(log_probs: Floats) -> Labelling:
    """Return the likeliest class of every picture, and how sure that is.

    Args:
        log_probs: float (N, K), calibrated; K at least 2.
    """
    best = np.exp(np.partition(log_probs, -2, axis=1)[:, -2:])  # (N, 2): the runner-up, the best
    return Labelling(log_probs.argmax(axis=1), best[:, 1], best[:, 1] - best[:, 0])


def validate(predictions: Mapping[str, NDArray[Any]]) -> Validation | None:
    """Fit a temperature to a run's validation predictions; None where it has none.

    Args:
        predictions: as `Run.predictions` returns them.
    """
    labels = predictions.get("val_labels", np.empty(0, np.int64))
    if not len(labels):
        return None
    before = predictions["val_log_probs"]
    temperature = stats.fit_temperature(before, labels)
    after = calibrated(before, temperature)
    found = label(after)
    errors = [
        stats.expected_calibration_error(stats.reliability(log_probs, labels))
        for log_probs in (before, after)
    ]
    return Validation(
        temperature, found.probability, found.labels == labels, (errors[0], errors[1])
    )


def threshold_for(validation: Validation, precision: float) -> Threshold | None:
    """Return the lowest threshold that keeps a precision on the validation pictures, if any.

    It is chosen on the pictures that it is measured on, so the lower end of its interval is the
    safer promise; and it promises nothing of pictures of another kind.

    Args:
        precision: share of the kept that must be right, in (0, 1].
    """
    order = np.argsort(-validation.probability, kind="stable")
    probability, right = validation.probability[order], validation.right[order]
    hits, kept = np.cumsum(right), np.arange(1, len(right) + 1)
    # Equal probabilities are kept or left together.
    last = np.append(probability[1:] != probability[:-1], True)
    good = np.flatnonzero(last & (hits >= precision * kept))
    if not len(good):
        return None
    at = int(good[-1])
    value = 0.0 if at + 1 == len(right) else float(probability[at])
    return Threshold(precision, value, stats.wilson(int(hits[at]), at + 1))


def chosen_threshold(
    validation: Validation | None, at_least: float | None, precision: float | None
) -> float:
    """Return the threshold that was asked for, 0 where none was.

    Raises:
        ConfigError: if both are given, or one is out of bounds, or the precision is never reached.
    """
    if at_least is not None and precision is not None:
        raise ConfigError(
            f"at_least must stand alone, got precision {precision} too. Give one of them."
        )
    if at_least is not None and not 0 <= at_least <= 1:
        raise ConfigError(f"at_least must be in [0, 1], got {at_least}.")
    if precision is None:
        return at_least or 0.0
    if not 0 < precision <= 1:
        raise ConfigError(f"precision must be in (0, 1], got {precision}.")
    if validation is None:
        raise ConfigError(
            f"precision must be measured on validation pictures, got {precision} for a run that "
            "has none. Use --at-least, or train with --val 0.1."
        )
    found = threshold_for(validation, precision)
    if found is None:
        raise ConfigError(
            f"precision must be reached on the run's validation pictures, got {precision}: the "
            "surest of them are read wrong. Ask for less, or use --at-least."
        )
    return found.value


def shown(run: Run, pictures: ImageSet) -> NDArray[np.bool_] | None:
    """Say which pictures of a set the run was trained on, and which it only validated on.

    Returns:
        bool (N,); None where this is not the set that the run was trained on, or where it is not
        known how the run divided it (by writer, or under other class names).
    """
    config, rows = run.config, np.zeros(len(pictures), dtype=bool)
    if config.split == "stratified":
        kept, _ = splits.stratified(pictures.labels, config.val, config.seed)
        rows[kept] = True
        if pictures.subset(kept).fingerprint == run.env["data"]["train"]:
            return rows
    return None
