"""`siglum evaluate`."""

from dataclasses import asdict
from pathlib import Path

from siglum import images, stats
from siglum.cli import terminal
from siglum.cli.classes import read_names
from siglum.cli.terminal import Switch
from siglum.lab.device import choose_machine
from siglum.lab.runs import Run
from siglum.lab.training import evaluate as log_probs_of


def evaluate(
    run: Path,
    source: str | None = None,
    /,
    *,
    classes: Path | None = None,
    weights: str | None = None,
    device: str = "auto",
    threads: int = 0,
    json: Switch = False,
) -> None:
    """Measure a run on the test part of a source, or on all of one that has none.

    Prints accuracy with its 95 % interval (Wilson), precision and recall of each class, the
    confusion matrix, the negative log-likelihood and the expected calibration error.

    Example: siglum evaluate runs/first archive:later.zip

    Args:
        run: The run's folder.
        source: Where the pictures come from; by default the run's own source.
        classes: A CSV file of lines old,new that renames the source's classes to the run's.
        weights: best or last; by default what the run stands for.
        device: auto, cpu, cuda or mps.
        threads: Of the CPU; 0 for one a core.
        json: Print everything as JSON.
    """
    opened = Run(run)
    machine = choose_machine(device, "float32", threads)
    model = machine.place(opened.model(weights))
    config = opened.config
    spec = source or config.test or config.data
    parts = images.parts(spec)
    part = "test" if "test" in parts else parts[0]
    with terminal.loading() as progress:
        pictures = images.load(
            spec,
            part,
            opened.preprocess,
            rename=read_names(classes) if classes or source else config.rename,
            progress=progress,
        ).with_classes(opened.classes)
    log_probs = log_probs_of(model, pictures, opened.preprocess, machine)
    measures = stats.measure(log_probs, pictures.labels, len(opened.classes))
    if json:
        report = asdict(measures)
        report["confusion"] = measures.confusion.tolist()
        about = {"run": str(run), "source": spec, "part": part, "classes": opened.classes}
        terminal.write_json({**about, **report})
        return
    print(f"source      {spec} ({part})")
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
            _taken_for(measures, index, opened.classes),
        )
        for index, (name, recall, precision) in enumerate(
            zip(opened.classes, measures.recall, measures.precision, strict=True)
        )
    ]
    header = ("class", "pictures", "recall (95 %)", "precision (95 %)", "most often taken for")
    terminal.show(terminal.table(header, rows))
    if len(opened.classes) <= 16:
        print("\nrows: what it was; columns: what it was read as")
        matrix = [
            (name, *(count or "·" for count in row))
            for name, row in zip(opened.classes, measures.confusion.tolist(), strict=True)
        ]
        terminal.show(terminal.table(("", *opened.classes), matrix))


def _share(rate: stats.Rate) -> str:
    if not rate.total:
        return "none"
    return f"{100 * rate.value:5.1f}  ({100 * rate.low:.0f} to {100 * rate.high:.0f})"


def _taken_for(measures: stats.Measures, index: int, classes: tuple[str, ...]) -> str:
    row = measures.confusion[index].copy()
    row[index] = 0
    return f"{classes[int(row.argmax())]}: {row.max()}" if row.any() else ""
