"""Repeated cross-validation: every picture read by networks that never saw it.

A cross-validation is a study of one arm with folds, so that all that holds of studies holds of it:
killed anywhere it goes on, and several processes share its runs.
Shapes: R repeats, N pictures, K classes.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.errors import ConfigError, RunError
from siglum.lab.by_writer import over_writers
from siglum.lab.outcome import Figure, figure_of_folds
from siglum.lab.pooled import Pooled
from siglum.stats import Rate

STUDY, OUT_OF_FOLD = "study.toml", "out-of-fold.npz"
FEW = 30  # pictures, below which an interval is told in words of its own
SEEDS = 2**31  # seeds lie below


@dataclass(frozen=True)
class Class:
    """What became of one class's pictures."""

    name: str
    pictures: int
    right: Rate  # mean over the repeats, to the nearest picture
    mistaken: str  # what it was most often taken for; "" where it never was
    times: float  # how many of its pictures, a repeat


@dataclass(frozen=True)
class CrossVal:
    """What a repeated cross-validation found."""

    repeats: int
    folds: int
    pictures: int
    right: float  # pictures, mean over the repeats
    accuracy: Figure
    over_writers: tuple[float, float] | None  # 95 % on other writers; None where none are known
    writers: int
    loss: float  # nats a picture
    classes: tuple[Class, ...]
    confusion: tuple[tuple[int, ...], ...]  # (K, K), class by what was read, added up over repeats


def study_text(settings: Mapping[str, Any], folds: int, repeats: int) -> str:
    """Return the study file of a cross-validation; a repeat each for `repeats` seeds.

    Raises:
        ConfigError: if there are too few repeats, or their seeds are too large.
    """
    seed = int(settings.get("seed", 0))
    if repeats < 1:
        raise ConfigError(f"repeats must be at least 1, got {repeats}.")
    if seed + repeats > SEEDS:
        raise ConfigError(f"seed and repeats must add up to at most {SEEDS}, got {seed + repeats}.")
    base = {k: v for k, v in settings.items() if k != "seed" and v is not None} | {"folds": folds}
    question = f"How well is {settings['data']} read?"
    lines = [
        f"question = {_toml(question)}",
        f"seeds = {list(range(seed, seed + repeats))}",
        "",
        "[base]",
        *(f"{name} = {_toml(value)}" for name, value in base.items()),
    ]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def place(folder: Path, text: str) -> Path:
    """Write the study file of a cross-validation, or find the same one there; return its path.

    Raises:
        RunError: if the folder holds another cross-validation, or something else.
    """
    path = folder / STUDY
    if path.exists():
        if path.read_text("utf-8") != text:
            raise RunError(
                f"{folder} must hold nothing or the same cross-validation, got one with other "
                f"settings: {path}. Choose another folder with -o."
            )
        return path
    if folder.exists() and any(folder.iterdir()):
        raise RunError(
            f"{folder} must be a new folder, got one with files. Choose another with -o."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise RunError(
            f"{folder} must be a place that can be written, got {error.strerror!r}. "
            "Choose another with -o."
        ) from error
    return path


def measure(repeats: Sequence[Pooled]) -> CrossVal:
    """Measure the pooled predictions of at least one repeat."""
    found = [run.predictions() for run in repeats]
    labels, names = found[0]["test_labels"], repeats[0].classes
    right = np.mean([one["test_log_probs"].argmax(axis=1) == labels for one in found], axis=0)
    confusion = sum(
        stats.confusion_matrix(labels, one["test_log_probs"].argmax(axis=1), len(names))
        for one in found
    )
    assert isinstance(confusion, np.ndarray)
    losses = [stats.negative_log_likelihood(one["test_log_probs"], labels) for one in found]
    over, writers = None, found[0].get("test_writers")
    if writers is not None and len(np.unique(writers)) > 1:
        over = over_writers(right, np.unique(writers, return_inverse=True)[1])
    return CrossVal(
        repeats=len(repeats),
        folds=len(repeats[0].runs),
        pictures=len(labels),
        right=float(right.sum()),
        accuracy=figure_of_folds(repeats),
        over_writers=over,
        writers=0 if writers is None else len(np.unique(writers)),
        loss=float(np.mean(losses)),
        classes=tuple(_of_class(confusion, names, i, len(repeats)) for i in range(len(names))),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def _of_class(
    confusion: NDArray[np.int64], names: Sequence[str], index: int, repeats: int
) -> Class:
    row = confusion[index].astype(float) / repeats
    wrong = row.copy()
    wrong[index] = 0
    most = int(wrong.argmax())
    total = round(row.sum())
    return Class(
        name=names[index],
        pictures=total,
        right=stats.wilson(round(row[index]), total),
        mistaken=names[most] if wrong[most] else "",
        times=float(wrong[most]),
    )


def in_words(found: CrossVal) -> str:
    """Say what was found; of few pictures, in words that claim no more than they can."""
    low, high = found.accuracy.low or 0.0, found.accuracy.high or 1.0
    said = f"{found.right:.1f}".removesuffix(".0")
    if found.pictures < FEW:
        return (
            f"{said} of {found.pictures} right; with so few the true rate is between "
            f"{100 * low:.0f} and {100 * high:.0f} %"
        )
    return (
        f"{said} of {found.pictures:,} right, {100 * found.accuracy.mean:.1f} % "
        f"(95 %: {100 * low:.1f} to {100 * high:.1f} %)"
    )


def write_out_of_fold(repeats: Sequence[Pooled], files: Sequence[str] | None, path: Path) -> Path:
    """Keep what each picture was read as by networks that never saw it, and return `path`.

    The file holds `log_probs` float32 (R, N, K), `labels` int64 (N,), `classes` (K,), `seeds` (R,),
    and, where they are known, `files` and `writers` (N,), in the order of the source.
    """
    found = [run.predictions() for run in repeats]
    arrays: dict[str, NDArray[Any]] = {
        "log_probs": np.stack([one["test_log_probs"] for one in found]),
        "labels": found[0]["test_labels"],
        "classes": np.array(repeats[0].classes),
        "seeds": np.array([run.config.seed for run in repeats]),
    }
    if files is not None:
        arrays["files"] = np.array(list(files))
    if "test_writers" in found[0]:
        arrays["writers"] = found[0]["test_writers"]
    descriptor, unfinished = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        Path(unfinished).replace(path)
    finally:
        Path(unfinished).unlink(missing_ok=True)
    return path
