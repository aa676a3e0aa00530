"""Teach a recogniser from Python."""

import os
import unicodedata
import warnings
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError, closest_match
from siglum.formatting import count
from siglum.images import charsets, sources, studio_set
from siglum.images.cache import Progress, no_progress
from siglum.images.characters import check_output
from siglum.images.imageset import ImageSet
from siglum.recogniser import predict
from siglum.recogniser.bundle import Samples
from siglum.recogniser.fit import fit


def teach(
    chars: str | None = None,
    samples: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    *,
    rename: Mapping[str, str] | None = None,
    writers: str | None = None,
    backbone: str | os.PathLike[str] | None = None,
    outputs: Mapping[str, str] | None = None,
    progress: Progress = no_progress,
) -> predict.Recogniser:
    r"""Teach a recogniser from names of characters, from drawings, or from both.

    Args:
        chars: characters, Unicode names or groups, separated by commas; known from fonts. "σ|ς" is
            one class, called σ, with two shapes; it is so among labels of samples, too. The outputs
            of the characters of `latex` are their commands.
        samples: a folder with one folder per class, a zip of it, a Studio set or another source of
            images; or images by label: `{"α": [image, ...]}`.
        rename: new names of classes in the samples; two with one name are merged.
        writers: a regular expression for file names of samples; its first group is the writer.
        backbone: a backbone of your own; by default the one that Siglum includes.
        outputs: texts by class, such as `{"α": r"\alpha"}`, for `Prediction.output`; by default
            those of a Studio set, or the names of the classes.
        progress: called while images load, with the activity, the number done and the total.

    Raises:
        SiglumError: if an argument cannot be used; the message names it.
    """
    if chars is None and samples is None:
        raise ConfigError("teach needs chars, samples or both, got neither.")
    if not isinstance(chars, str | None):
        raise ConfigError(f"chars must be text, such as 'αβγ' or 'greek, 0-9', got {chars!r}.")
    if not isinstance(samples, str | os.PathLike | Mapping | None):
        raise ConfigError(
            f"samples must be a path or images by label, got {type(samples).__name__}."
        )
    if writers and (samples is None or isinstance(samples, Mapping)):
        raise ConfigError("writers needs samples with file names.")
    if not isinstance(outputs, Mapping | None):
        raise ConfigError(f"outputs must be texts by class, got {outputs!a:.60}.")
    if rename and samples is None:
        raise ConfigError("rename needs samples, whose classes it renames.")
    network = predict.open_backbone(Path(backbone)) if backbone else predict.default_backbone()
    names = () if chars is None else charsets.resolve(chars, set(network.classes))
    images, texts = None, {}
    if chars is not None and "latex" in map(str.lower, charsets.items(chars)):
        texts = charsets.latex_outputs({charsets.shapes(name)[0] for name in names})
    if samples is not None:
        preprocess = network.preprocess.model_copy(update={"position_channels": True})
        rename = dict(rename or {})
        if isinstance(samples, Mapping):
            images = _from_mapping(samples, preprocess)
        else:
            source = os.fspath(samples)
            images = sources.load(source, "train", preprocess, writers=writers, progress=progress)
            kind, _, folder = sources.locate(source)
            if kind == "studio":
                with closing(studio_set.connect(folder)) as database:
                    stored = studio_set.read_state(database).outputs
                texts |= {charsets.shapes(rename.get(n, n))[0]: text for n, text in stored.items()}
        new = {name: name for name in images.classes} | rename
        # macOS stores é as two code points in names of files; NFC makes it one class.
        images = images.rename({old: unicodedata.normalize("NFC", n) for old, n in new.items()})
        known = {charsets.shapes(name)[0] for name in names}
        names = (*names, *(one for one in images.classes if charsets.shapes(one)[0] not in known))
        images = images.rename({one: charsets.shapes(one)[0] for one in images.classes})
    charsets.check_shapes(names)
    shapes = {charsets.shapes(name)[0]: charsets.shapes(name) for name in names}
    drawings = None if images is None else _distinct(images.with_classes(tuple(shapes)))
    for label, text in (outputs or {}).items():
        name = charsets.shapes(unicodedata.normalize("NFC", str(label)))[0]
        if name not in shapes:
            hint = closest_match(name, shapes)
            raise ConfigError(f"outputs must be of classes of the recogniser, got {name!r}.{hint}")
        texts[name] = check_output(text)
    fitted = fit(network, names, drawings, outputs=texts)
    missing = [c for _, *others in shapes.values() for c in others if c not in network.classes]
    for character in missing[:1]:
        raise ConfigError(f"No font has {charsets.describe(character)}. Leave out this shape.")
    for name in fitted.unknown_classes[:1]:
        described = charsets.describe(name) if len(name) == 1 else repr(name)
        raise ConfigError(f"No font has {described}, and it has no samples. Give samples of it.")
    for group in charsets.confusables_among(names):
        listed = " ".join(f"{character} (U+{ord(character):04X})" for character in group)
        remedy = "Leave out those that you do not need."
        warnings.warn(f"Look alike in most fonts: {listed}. {remedy}", stacklevel=2)
    return fitted.recogniser


def _from_mapping(samples: Mapping[str, Any], preprocess: Preprocess) -> ImageSet:
    inputs, counts = [], []
    for name, images in samples.items():
        if not isinstance(name, str):
            raise ConfigError(f"labels of samples must be text, got {name!r}.")
        listed = predict.as_list(images)
        counts.append(len(listed))
        try:
            inputs += predict.preprocess_images(listed, preprocess)
        except DataError as error:
            raise DataError(f"samples[{name!r}]: {error}") from None
    if not inputs:
        raise DataError("samples have no images.")
    labels = np.repeat(range(len(samples)), counts)
    return ImageSet.from_arrays(predict.stack(inputs)[0], labels, tuple(samples), "samples")


def _distinct(images: ImageSet) -> Samples:
    """Return the images as samples, without blank ones and repetitions within a class.

    Equal images would vouch for each other in leave-one-out predictions.
    """
    planes, labels = images.images, images.labels
    ink = planes[:, 0]
    blank = ~ink.any(axis=(1, 2))
    if blank.all():
        raise DataError(f"No ink found in the images of {images.source}.")
    numbers: dict[bytes, int] = {}
    ids = np.array([numbers.setdefault(one.tobytes(), len(numbers)) for one in ink])
    first = np.unique([ids, labels], axis=1, return_index=True)[1]
    distinct = ~blank & np.isin(np.arange(len(labels)), first)
    contradicting = distinct & (np.bincount(ids[first])[ids] > 1)
    for rows, text in (
        (blank, "Skipped {} without ink"),
        (~blank & ~distinct, "Skipped {} whose ink equals another's of the class"),
        (contradicting, "Equal images with different labels: {}"),
    ):
        if rows.any():
            such = f", such as {images.files[int(rows.argmax())]}" if images.files else ""
            message = text.format(count(int(rows.sum()), "image"))
            warnings.warn(f"{message}{such}.", stacklevel=3)
    positions = planes[distinct, 1:, 0, 0].astype(np.float32) / np.float32(255.0)
    return Samples(ink[distinct], labels[distinct], positions)
