"""`siglum evaluate`."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from siglum import formatting, stats
from siglum.cli.options import Device, Json, Renames, Threads, read_renames
from siglum.cli.output import print_facts, print_json, print_table
from siglum.cli.progress import loading_bar
from siglum.errors import ConfigError, SiglumError, closest_match
from siglum.images import sources
from siglum.images.cache import Progress
from siglum.images.imageset import CHUNK, ImageSet
from siglum.lab.device import choose_device
from siglum.lab.runs import Run
from siglum.lab.trainer import PART_NAMES, load_data, predict_part
from siglum.lab.training import evaluate as predict_log_probs

MAX_MATRIX = 16  # classes of a printed confusion matrix

Predictions = tuple[NDArray[np.floating], NDArray[np.integer]]  # log-probabilities (N, K), labels


def evaluate(
    run: Path,
    source: str | None = None,
    /,
    *,
    part: Literal["train", "val", "test"] | None = None,
    rename: Renames = None,
    merge: Path | None = None,
    checkpoint: str | None = None,
    device: Device = "auto",
    threads: Threads = 0,
    json: Json = False,
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
        merge: A CSV file of lines class,group: the probabilities of a group's classes are added,
            and any of them is correct for any other. A class without a line is its own group.
        checkpoint: best, last or lowest_loss; by default the run's own choice.
    """
    opened = Run(run)
    groups = read_renames(merge, "merge")
    if source is not None and rename is None and _is_own_source(opened, source):
        source = None  # its training images are in it
    if source is None and rename is not None:
        raise ConfigError("rename renames the classes of SOURCE. Give a SOURCE, or leave it out.")
    if source is not None and part is not None:
        raise ConfigError(f"part {part!r} is a part of the run's own images. Leave out {source}.")
    target = choose_device(device, "float32", threads)
    with loading_bar() as progress:
        if source is None:
            own = predict_part(opened, part, checkpoint, target, progress)
            name, predictions, headline = own[0], own[1:], PART_NAMES[own[0]]
            spec = (opened.config.test if name == "test" else None) or opened.config.data
            trained = len(predictions[1]) if name == "train" else 0
        else:
            spec, parts = source, sources.parts(source)
            name = headline = "test" if "test" in parts else parts[0]
            images = sources.load(
                source, name, opened.preprocess, rename=read_renames(rename), progress=progress
            ).with_classes(opened.classes)
            model = target.to(opened.model(checkpoint))
            predictions = (
                predict_log_probs(model, images, opened.preprocess, target),
                images.labels,
            )
            trained = _count_training_images(opened, images, progress)
    if trained:
        total = len(predictions[1])
        headline += f"; the run was trained on {trained:,} of these {total:,} images"
    names, (log_probs, labels) = merge_classes(opened.classes, groups, predictions)
    measures = stats.measure(log_probs, labels, len(names))
    predicted = np.unique(log_probs.argmax(axis=1))
    single = names[int(predicted[0])] if len(predicted) == 1 and len(labels) > 1 else None
    if json:
        about = {"run": str(run), "source": spec, "part": name, "trained_on": trained}
        report = {**asdict(measures), "confusion": measures.confusion.tolist()}
        print_json({**about, "single_prediction": single, "classes": names, **report})
        return
    facts = {"source": f"{spec} ({headline})"}
    if single is not None:
        facts["warning"] = f"predicts class {single} for every image"
    print_facts(facts)
    print_measures(measures, names)


def _is_own_source(run: Run, source: str) -> bool:
    kind, _, place = source.partition(":")
    own_kind, _, own_place = run.config.data.partition(":")
    return source == run.config.data or (
        kind == own_kind
        and bool(place and own_place)
        and Path(place).expanduser().resolve() == Path(own_place).expanduser().resolve()
    )


def _count_training_images(run: Run, images: ImageSet, progress: Progress) -> int:
    """Count the images that equal a training image pixel by pixel; 0 if those are gone."""
    try:
        train = load_data(run.config, run.classes, progress).train
    except SiglumError:
        return 0
    trained = set(_digests(train))
    return sum(digest in trained for digest in _digests(images))


def _digests(images: ImageSet) -> Iterator[bytes]:
    for start in range(0, len(images), CHUNK):
        for image in images.take(slice(start, start + CHUNK)):
            yield hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def merge_classes(
    classes: tuple[str, ...], groups: dict[str, str], predictions: Predictions
) -> tuple[tuple[str, ...], Predictions]:
    """Add up the probabilities of the classes of a group.

    Args:
        groups: group by class; a class that is not in it is its own group.

    Returns:
        The groups, in the order of their first classes, and their predictions.

    Raises:
        ConfigError: if a class of `groups` is not in `classes`.
    """
    for name in groups:
        if name not in classes:
            raise ConfigError(
                f"merge: the run has no class {name!r}.{closest_match(name, classes)}"
            )
    group = [groups.get(name, name) for name in classes]
    names = tuple(dict.fromkeys(group))
    if names == classes:
        return classes, predictions
    log_probs, labels = predictions
    index = np.array([names.index(name) for name in group])
    membership = index[:, None] == np.arange(len(names))  # (K, groups)
    probs = np.exp(log_probs.astype(np.float64)) @ membership
    return names, (np.log(np.maximum(probs, np.finfo(np.float64).tiny)), index[labels])


def print_measures(measures: stats.Measures, classes: tuple[str, ...]) -> None:
    """Print accuracy, loss, calibration, a table of classes and the confusion matrix."""
    print_facts(
        {
            "accuracy": formatting.rate_and_interval(measures.accuracy),
            "loss": f"{measures.loss:.4f} nats per image (negative log-likelihood)",
            "calibration": f"{measures.ece:.4f} expected error (15 bins)",
        }
    )
    print()
    rows = []
    for index, name in enumerate(classes):
        recall, precision = measures.recall[index], measures.precision[index]
        others = measures.confusion[index].copy()
        others[index] = 0
        confused = f"{classes[int(others.argmax())]}: {others.max()}" if others.any() else ""
        rows.append((name, recall.total, _rate(recall), _rate(precision), confused))
    columns = ("class", "images", "recall (95 % CI)", "precision (95 % CI)", "confused with")
    print_table(columns, rows)
    if len(classes) <= MAX_MATRIX:
        print("\nrows: true class; columns: prediction")
        matrix = zip(classes, measures.confusion.tolist(), strict=True)
        print_table(("", *classes), [(name, *(n or "·" for n in row)) for name, row in matrix])


def _rate(rate: stats.Rate) -> str:
    if not rate.total:
        return "–"
    return f"{100 * rate.value:.1f} ({100 * rate.low:.0f} to {100 * rate.high:.0f})"
