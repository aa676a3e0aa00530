"""`siglum evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np

from siglum import formatting, stats
from siglum.cli.options import Device, Json, Renames, Threads, read_renames
from siglum.cli.output import print_facts, print_json, print_table
from siglum.cli.progress import loading_bar
from siglum.errors import ConfigError, SiglumError, closest_match
from siglum.images import sources
from siglum.images.imageset import CHUNK, ImageSet
from siglum.lab import training
from siglum.lab.device import choose_device
from siglum.lab.runs import Run
from siglum.lab.trainer import PARTS, load_data, predict_part
from siglum.stats import FloatArray, IntArray

MAX_MATRIX = 16  # classes of a printed confusion matrix


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

    Example: siglum evaluate runs/first --part val --merge confusables.csv

    Args:
        run: The run's folder.
        source: Other images to measure on: the test part of a source, or all of it.
        part: Measure on this part of the run's own images instead.
        merge: A CSV file of lines class,group: the probabilities of a group's classes are added,
            and any of them is correct for any other. A class without a line is its own group.
        checkpoint: best, last or lowest_loss; by default the run's own choice.
    """
    opened, groups = Run(run), read_renames(merge, "merge")
    if source and rename is None and _resolve(source) == _resolve(opened.config.data):
        source = None  # its training images are in it
    if source is None and rename is not None:
        raise ConfigError("rename renames the classes of SOURCE. Give a SOURCE, or leave it out.")
    if source is not None and part is not None:
        raise ConfigError(f"part {part!r} is a part of the run's own images. Leave out {source}.")
    target = choose_device(device, "float32", threads)
    with loading_bar() as progress:
        if source is None:
            name, log_probs, labels = predict_part(opened, part, checkpoint, target, progress)
            trained, headline = len(labels) if name == "train" else 0, f"{PARTS[name]} images"
            source = (opened.config.test if name == "test" else None) or opened.config.data
        else:
            parts = sources.parts(source)
            name = headline = "test" if "test" in parts else parts[0]
            preprocess, renames = opened.preprocess, read_renames(rename)
            images = sources.load(source, name, preprocess, rename=renames, progress=progress)
            images = images.with_classes(opened.classes)
            model = target.to(opened.model(checkpoint))
            log_probs = training.evaluate(model, images, preprocess, target)
            labels, trained = images.labels, 0
            try:
                hashes = set(_hashes(load_data(opened.config, opened.classes, progress).train))
                trained = sum(value in hashes for value in _hashes(images))
            except SiglumError:  # the training images are gone
                pass
    if trained:
        total = len(labels)
        headline += f"; the run was trained on {trained:,} of these {total:,} images"
    classes, log_probs, labels = merge_classes(opened.classes, groups, log_probs, labels)
    measures = stats.measure(log_probs, labels, len(classes))
    predicted = np.unique(log_probs.argmax(axis=1))
    single = classes[int(predicted[0])] if len(predicted) == 1 and len(labels) > 1 else None
    if json:
        about = {"run": str(run), "source": source, "part": name, "trained_on": trained}
        report = {**asdict(measures), "confusion": measures.confusion.tolist()}
        print_json({**about, "single_prediction": single, "classes": classes, **report})
        return
    facts = {"source": f"{source} ({headline})"}
    if single is not None:
        facts["warning"] = f"predicts class {single} for every image"
    print_facts(facts)
    print_measures(measures, classes)


def print_measures(measures: stats.Measures, classes: tuple[str, ...]) -> None:
    """Print accuracy, loss, calibration, a table of classes and the confusion matrix."""
    facts = {
        "accuracy": formatting.rate_and_interval(measures.accuracy),
        "loss": f"{measures.loss:.4f} nats per image (negative log-likelihood)",
        "calibration": f"{measures.ece:.4f} expected error (15 bins)",
    }
    print_facts(facts)
    print()
    rows = []
    for index, name in enumerate(classes):
        recall, precision = measures.recall[index], measures.precision[index]
        others = measures.confusion[index] * (np.arange(len(classes)) != index)
        confused = f"{classes[int(others.argmax())]}: {others.max()}" if others.any() else ""
        rows.append((name, recall.total, _rate(recall), _rate(precision), confused))
    columns = ("class", "images", "recall (95 % CI)", "precision (95 % CI)", "confused with")
    print_table(columns, rows)
    if len(classes) <= MAX_MATRIX:
        print("\nrows: true class; columns: prediction")
        matrix = zip(classes, measures.confusion.tolist(), strict=True)
        print_table(("", *classes), [(name, *(n or "·" for n in row)) for name, row in matrix])


def _resolve(source: str) -> tuple[str, Path | None]:
    kind, _, place = source.partition(":")
    return kind, Path(place).expanduser().resolve() if place else None


def _hashes(images: ImageSet) -> list[int]:
    starts = range(0, len(images), CHUNK)
    return [hash(i.tobytes()) for start in starts for i in images.take(slice(start, start + CHUNK))]


def merge_classes(
    classes: tuple[str, ...], groups: dict[str, str], log_probs: FloatArray, labels: IntArray
) -> tuple[tuple[str, ...], FloatArray, IntArray]:
    """Add up the probabilities of each group; a class without a group is its own."""
    for name in groups:
        if name not in classes:
            hint = closest_match(name, classes)
            raise ConfigError(f"merge: the run has no class {name!r}.{hint}")
    if not groups:
        return classes, log_probs, labels
    group = [groups.get(name, name) for name in classes]
    names = tuple(dict.fromkeys(group))
    index = np.array([names.index(name) for name in group])
    probs = np.exp(log_probs.astype(np.float64)) @ (index[:, None] == np.arange(len(names)))
    return names, np.log(np.maximum(probs, np.finfo(np.float64).tiny)), index[labels]


def _rate(rate: stats.Rate) -> str:
    if not rate.total:
        return "–"
    return f"{100 * rate.value:.1f} ({100 * rate.low:.0f} to {100 * rate.high:.0f})"
