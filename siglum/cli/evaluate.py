"""`siglum evaluate`."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.cli import terminal
from siglum.cli.classes import read_names
from siglum.cli.loading import loading
from siglum.cli.terminal import Switch
from siglum.errors import ConfigError, SiglumError, nearest
from siglum.images import sources
from siglum.images.cache import Progress as LoadProgress
from siglum.images.imageset import CHUNK, ImageSet
from siglum.lab.device import Device, choose_device
from siglum.lab.runs import Run
from siglum.lab.trainer import load_data
from siglum.lab.training import evaluate as log_probs_of

Predictions = tuple[NDArray[np.floating], NDArray[np.integer]]  # log-probabilities (N, K), labels
PART_NAMES = {"train": "training images", "val": "validation images", "test": "test images"}


def evaluate(
    run: Path,
    source: str | None = None,
    /,
    *,
    part: Literal["train", "val", "test"] | None = None,
    rename: Path | None = None,
    merge: Path | None = None,
    checkpoint: str | None = None,
    device: str = "auto",
    threads: int = 0,
    json: Switch = False,
) -> None:
    """Measure a run on images that it was not trained on.

    Without SOURCE these are its test images, or its validation images if it has no test part.
    Prints accuracy with its 95 % interval (Wilson), precision and recall of each class, the
    confusion matrix, the negative log-likelihood and the expected calibration error.

    Example: siglum evaluate runs/first

    Example: siglum evaluate runs/first archive:later.zip

    Example: siglum evaluate runs/first --part val --merge confusables.csv

    Args:
        run: The run's folder.
        source: Other images to measure on: the test part of a source, or all of it.
        part: Measure on this part of the run's own images instead.
        rename: A CSV file of lines old,new that renames the source's classes to the run's.
        merge: A CSV file of lines class,group: the probabilities of a group's classes are added,
            and any of them is right for any other. A class without a line is a group of its own.
        checkpoint: best, last or lowest_loss; by default what the run stands for.
        device: auto, cpu, cuda or mps.
        threads: Of the CPU; 0 for one a core.
        json: Print everything as JSON.
    """
    opened = Run(run)
    groups = read_names(merge, "merge")
    if source is not None and _is_own_source(opened, source) and rename is None:
        source = None  # its training images are in it
    if source is None and rename is not None:
        raise ConfigError("rename renames the classes of SOURCE. Give a SOURCE, or leave it out.")
    if source is not None and part is not None:
        raise ConfigError(f"part {part!r} is a part of the run's own images. Leave out {source}.")
    machine = choose_device(device, "float32", threads)
    spec, trained = source or opened.config.data, 0
    with loading() as progress:
        if source is None:
            name, log_probs, labels = _own_predictions(opened, part, checkpoint, machine, progress)
            trained = len(labels) if name == "train" else 0
            if name == "test":
                spec = opened.config.test or spec
            headline = PART_NAMES[name]
        else:
            parts = sources.parts(source)
            name = headline = "test" if "test" in parts else parts[0]
            pictures = sources.load(
                source, name, opened.preprocess, rename=read_names(rename), progress=progress
            ).with_classes(opened.classes)
            log_probs = _log_probs(opened, pictures, checkpoint, machine)
            labels = pictures.labels
            trained = _count_training_images(opened, pictures, progress)
    if trained:
        headline += f"; the run was trained on {trained:,} of these {len(labels):,} images"
    names, (log_probs, labels) = merged(opened.classes, groups, (log_probs, labels))
    measures = stats.measure(log_probs, labels, len(names))
    if json:
        about = {"run": str(run), "source": spec, "part": name, "trained_on": trained}
        report = {**asdict(measures), "confusion": measures.confusion.tolist()}
        terminal.write_json({**about, "classes": names, **report})
    else:
        print(f"source      {spec} ({headline})")
        _show(measures, names)


def _is_own_source(run: Run, source: str) -> bool:
    own = run.config.data
    kind, _, place = source.partition(":")
    own_kind, _, own_place = own.partition(":")
    return source == own or (
        kind == own_kind
        and bool(place and own_place)
        and Path(place).expanduser().resolve() == Path(own_place).expanduser().resolve()
    )


def _own_predictions(
    run: Run, part: str | None, checkpoint: str | None, machine: Device, progress: LoadProgress
) -> tuple[str, NDArray[np.floating], NDArray[np.integer]]:
    """Predict a part of the run's own images: by default test, else validation.

    Takes what the finished run stored, where it did, so that its images may be gone.

    Raises:
        ConfigError: if the run does not have that part.
    """
    own_weights = checkpoint in (None, run.config.checkpoint)
    if run.result is not None and own_weights and part != "train":
        arrays: dict[str, NDArray[Any]] = run.predictions()
        stored = [name for name in ("test", "val") if f"{name}_labels" in arrays]
        if stored and (part is None or part in stored):
            part = part or stored[0]
            return part, arrays[f"{part}_log_probs"], arrays[f"{part}_labels"]
        there = ["train", *stored]
    else:
        data = load_data(run.config, run.classes, progress)
        parts = {"test": data.test, "val": data.val, "train": data.train}
        there = [name for name, pictures in parts.items() if pictures is not None]
        if part in there or there[0] != "train":
            part = part or there[0]
            pictures = parts[part]
            assert pictures is not None
            return part, _log_probs(run, pictures, checkpoint, machine), pictures.labels
    if part is None:
        raise ConfigError(
            f"{run.path} has no test and no validation images. Give a source of other images, or "
            "measure on those that it was trained on: --part train."
        )
    raise ConfigError(f"{run.path} has no {PART_NAMES[part]}; it has: {', '.join(there)}.")


def _log_probs(
    run: Run, pictures: ImageSet, checkpoint: str | None, machine: Device
) -> NDArray[np.floating]:
    return log_probs_of(machine.to(run.model(checkpoint)), pictures, run.preprocess, machine)


def _count_training_images(run: Run, pictures: ImageSet, progress: LoadProgress) -> int:
    """Count the images that are pixel by pixel training images; 0 if those cannot be read."""
    try:
        train = load_data(run.config, run.classes, progress).train
    except SiglumError:
        return 0
    trained = set(_digests(train))
    return sum(digest in trained for digest in _digests(pictures))


def _digests(pictures: ImageSet) -> Iterator[bytes]:
    for start in range(0, len(pictures), CHUNK):
        for picture in pictures.take(slice(start, start + CHUNK)):
            yield hashlib.blake2b(picture.tobytes(), digest_size=16).digest()


def merged(
    classes: tuple[str, ...], groups: dict[str, str], predictions: Predictions
) -> tuple[tuple[str, ...], Predictions]:
    """Add up the probabilities of classes with one group.

    Args:
        groups: the group of a class; a class that is not in it is a group of its own.

    Returns:
        The groups, in the order of their first classes, and the predictions of them.

    Raises:
        ConfigError: if a class of `groups` is none of the run's.
    """
    for name in groups:
        if name not in classes:
            raise ConfigError(
                f"merge must name classes of the run, got {name!r}.{nearest(name, classes)}"
            )
    group = [groups.get(name, name) for name in classes]
    names = tuple(dict.fromkeys(group))
    if names == classes:
        return classes, predictions
    log_probs, labels = predictions
    number = np.array([names.index(name) for name in group])
    together = number[:, None] == np.arange(len(names))  # (K, groups)
    probs = np.exp(log_probs.astype(np.float64)) @ together
    return names, (np.log(np.maximum(probs, np.finfo(np.float64).tiny)), number[labels])


def _show(measures: stats.Measures, classes: tuple[str, ...]) -> None:
    print(f"accuracy    {terminal.interval(measures.accuracy)}")
    print(f"loss        {measures.loss:.4f} nats a picture (negative log-likelihood)")
    print(f"calibration {measures.ece:.4f} expected error (15 bins)")
    print()
    rows = [
        (
            name,
            recall.total,
            _share(recall),
            _share(precision),
            _taken_for(measures, index, classes),
        )
        for index, (name, recall, precision) in enumerate(
            zip(classes, measures.recall, measures.precision, strict=True)
        )
    ]
    header = ("class", "pictures", "recall (95 %)", "precision (95 %)", "most often taken for")
    terminal.show(terminal.table(header, rows))
    if len(classes) <= 16:
        print("\nrows: what it was; columns: what it was read as")
        matrix = [
            (name, *(count or "·" for count in row))
            for name, row in zip(classes, measures.confusion.tolist(), strict=True)
        ]
        terminal.show(terminal.table(("", *classes), matrix))


def _share(rate: stats.Rate) -> str:
    if not rate.total:
        return "none"
    return f"{100 * rate.value:5.1f}  ({100 * rate.low:.0f} to {100 * rate.high:.0f})"


def _taken_for(measures: stats.Measures, index: int, classes: tuple[str, ...]) -> str:
    row = measures.confusion[index].copy()
    row[index] = 0
    return f"{classes[int(row.argmax())]}: {row.max()}" if row.any() else ""
