"""Teach a recogniser from Python."""

import os
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError
from siglum.images import charsets, sources
from siglum.images.cache import Progress, no_progress
from siglum.images.imageset import ImageSet
from siglum.recogniser.fit import SkippedImages, TrainingSet, fit
from siglum.recogniser.predict import (
    Recogniser,
    default_backbone,
    open_backbone,
    preprocess_images,
)


def teach(
    chars: str | None = None,
    samples: str | os.PathLike[str] | Mapping[str, Sequence[Any]] | None = None,
    *,
    rename: Mapping[str, str] | None = None,
    backbone: str | os.PathLike[str] | None = None,
    progress: Progress = no_progress,
) -> Recogniser:
    """Teach a recogniser from names of characters, from drawings, or from both.

    Args:
        chars: characters, Unicode names or groups, separated by commas; known from fonts.
        samples: a folder with one folder per class, a zip of it, a Studio set or another source of
            images; or images by label: `{"α": [image, ...]}`.
        rename: new names of classes in the samples; two with one name are merged.
        backbone: a backbone of your own; by default the one that Siglum includes.
        progress: called while images load, with the activity, the number done and the total.

    Raises:
        SiglumError: if an argument cannot be used; the message names it.
    """
    if chars is None and samples is None:
        raise ConfigError("teach needs chars, samples or both, got neither.")
    network = default_backbone() if backbone is None else open_backbone(Path(backbone))
    names = () if chars is None else charsets.resolve(chars, set(network.classes))
    if samples is None:
        training_set = TrainingSet.empty(network, names)
    else:
        images = _load(samples, network.preprocess, dict(rename or {}), progress)
        names = tuple(dict.fromkeys([*names, *images.classes]))
        training_set, skipped = TrainingSet.from_images(network, names, images)
        _warn_of_skipped(images, skipped)
    fitted = fit(network, training_set)
    for name in fitted.unknown_classes[:1]:
        shown = charsets.describe(name) if len(name) == 1 else repr(name)
        raise ConfigError(f"No font has {shown}, and it has no samples. Give samples of it.")
    for group in charsets.confusables_among(names):
        warnings.warn(
            f"Look alike in most fonts: {' '.join(map(_with_code_point, group))}. "
            "Leave out those that you do not need.",
            stacklevel=2,
        )
    return fitted.recogniser


def _with_code_point(character: str) -> str:
    return f"{character} (U+{ord(character):04X})"


def _load(
    samples: str | os.PathLike[str] | Mapping[str, Sequence[Any]],
    preprocess: Preprocess,
    rename: dict[str, str],
    progress: Progress,
) -> ImageSet:
    preprocess = preprocess.model_copy(update={"position_channels": True})
    if isinstance(samples, Mapping):
        images = _from_mapping(samples, preprocess).rename(rename)
    else:
        images = sources.load(
            os.fspath(samples), "train", preprocess, rename=rename, progress=progress
        )
    composed: dict[str, str] = {}
    for name in images.classes:
        other = composed.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise ConfigError(
                f"samples have one class name in two Unicode forms: {other!a} and {name!a}. "
                "Rename one."
            )
    return images.rename({name: new for new, name in composed.items() if new != name})


def _from_mapping(samples: Mapping[str, Sequence[Any]], preprocess: Preprocess) -> ImageSet:
    planes, labels, files = [], [], []
    for label, (name, images) in enumerate(samples.items()):
        inputs, unreadable = preprocess_images(list(images), preprocess)
        for file, reason in unreadable:
            raise DataError(f"samples[{name!r}]: cannot read {file}: {reason.rstrip('.')}.")
        planes += [one.planes for one in inputs]
        files += [one.file or f"{name}[{row}]" for row, one in enumerate(inputs)]
        labels += [label] * len(inputs)
    if not planes:
        raise DataError("samples have no images.")
    return ImageSet.from_arrays(np.stack(planes), np.array(labels), tuple(samples), "samples")


def _warn_of_skipped(images: ImageSet, skipped: SkippedImages) -> None:
    for rows, text in (
        (skipped.blank, "Skipped {} without ink"),
        (skipped.repeated, "Skipped {} equal to another of its class"),
        ([later for _, later in skipped.contradicting], "Equal images with different labels: {}"),
    ):
        if rows:
            such = "" if images.files is None else f", such as {images.files[rows[0]]}"
            count = f"{len(rows):,} image{'s' if len(rows) > 1 else ''}"
            warnings.warn(f"{text.format(count)}{such}.", stacklevel=3)
