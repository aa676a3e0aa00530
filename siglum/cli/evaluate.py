"""`siglum evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from siglum import images, stats
from siglum.cli import terminal
from siglum.cli.classes import read_names
from siglum.cli.loading import loading
from siglum.cli.terminal import Switch
from siglum.errors import ConfigError, nearest
from siglum.lab.device import choose_machine
from siglum.lab.runs import Run
from siglum.lab.training import evaluate as log_probs_of

Predictions = tuple[NDArray[np.floating], NDArray[np.integer]]  # log-probabilities (N, K), labels


def evaluate(
    run: Path,
    source: str | None = None,
    /,
    *,
    part: Literal["val", "test"] | None = None,
    classes: Path | None = None,
    merge: Path | None = None,
    weights: str | None = None,
    device: str = "auto",
    threads: int = 0,
    json: Switch = False,
) -> None:
    """Measure a run on the test part of a source, or on all of one that has none.

    Prints accuracy with its 95 % interval (Wilson), precision and recall of each class, the
    confusion matrix, the negative log-likelihood and the expected calibration error.

    Example: siglum evaluate runs/first archive:later.zip

    Example: siglum evaluate runs/first --part val --merge look-alikes.csv

    Args:
        run: The run's folder.
        source: Where the pictures come from; by default the run's own source.
        part: Take what the run itself kept of its val or test pictures, and read none again.
        classes: A CSV file of lines old,new that renames the source's classes to the run's.
        merge: A CSV file of lines class,group: the probabilities of a group's classes are added,
            and any of them is right for any other. A class without a line is a group of its own.
        weights: best, last or lowest_loss; by default what the run stands for.
        device: auto, cpu, cuda or mps.
        threads: Of the CPU; 0 for one a core.
        json: Print everything as JSON.
    """
    opened = Run(run)
    groups = read_names(merge, "merge")
    config = opened.config
    if part is not None:
        if source or classes or weights:
            flag = "source" if source else "classes" if classes else "weights"
            raise ConfigError(
                f"part must stand without {flag}, since it reads what the run kept, got {part!r}. "
                f"Leave {flag} out, or part."
            )
        spec = config.test if part == "test" and config.test else config.data
        log_probs, labels = _kept(opened, part)
        measured: str = part
    else:
        spec = source or config.test or config.data
        parts = images.parts(spec)
        measured = "test" if "test" in parts else parts[0]
        machine = choose_machine(device, "float32", threads)
        model = machine.place(opened.model(weights))
        with loading() as progress:
            pictures = images.load(
                spec,
                measured,
                opened.preprocess,
                rename=read_names(classes) if classes or source else config.rename,
                only=() if source else config.only,
                progress=progress,
            ).with_classes(opened.classes)
        log_probs, labels = (
            log_probs_of(model, pictures, opened.preprocess, machine),
            pictures.labels,
        )
    names, (log_probs, labels) = merged(opened.classes, groups, (log_probs, labels))
    measures = stats.measure(log_probs, labels, len(names))
    if json:
        about = {"run": str(run), "source": spec, "part": measured, "classes": names}
        report = {**asdict(measures), "confusion": measures.confusion.tolist()}
        terminal.write_json({**about, **report})
    else:
        print(f"source      {spec} ({measured})")
        _show(measures, names)


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


def _kept(run: Run, part: str) -> Predictions:
    """Return what a finished run predicted of its own pictures."""
    arrays: dict[str, NDArray[Any]] = run.predictions()
    if f"{part}_labels" not in arrays:
        there = [name for name in ("val", "test") if f"{name}_labels" in arrays]
        raise ConfigError(
            f"part must be one that {run.path} kept ({', '.join(there) or 'none'}), got {part!r}. "
            "Give a source instead."
        )
    return arrays[f"{part}_log_probs"], arrays[f"{part}_labels"]


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
