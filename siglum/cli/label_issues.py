"""`siglum label-issues`."""

from dataclasses import asdict
from pathlib import Path

from siglum.cli.options import Device, Json, Threads
from siglum.cli.output import print_json, print_line, print_table
from siglum.cli.progress import loading_bar
from siglum.errors import ConfigError, choose
from siglum.formatting import count, probability
from siglum.images import manifest, sources
from siglum.lab import label_issues as lab
from siglum.lab.device import choose_device
from siglum.lab.runs import CONFIG, Run

MAX_LISTED = 20  # label issues; --json has all
MAX_CLASSES = 16  # of a contingency table that is printed


def label_issues(
    run: Path,
    source: str | None = None,
    /,
    *,
    part: str | None = None,
    against: str | None = None,
    relabel_to: Path | None = None,
    min_probability: float = 0.0,
    device: Device = "auto",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Find labels that are probably wrong, by the predictions of a network.

    The network must not have learned from these images. Name a run of other data and the source,
    or the folder of a cross-validation (siglum train SOURCE --folds 5), which knows its source.

    Example: siglum label-issues runs/cv

    Example: siglum label-issues runs/mnist archive:doubtful.zip --relabel-to labels.csv

    Args:
        run: A run's folder, or the folder of a cross-validation.
        source: Where the images come from; its classes may differ from the run's.
        part: train or test, where the source has both; train by default.
        against: Another source; search for near copies of its images.
        relabel_to: Write the predictions as a new CSV file: siglum train manifest:FILE
        min_probability: Write only predictions from this probability on, in [0, 1].
    """
    if not 0 <= min_probability <= 1:
        raise ConfigError(f"min_probability must be in [0, 1], got {min_probability}.")
    if relabel_to is not None:
        manifest.check_free(relabel_to)
    copies = {}
    with loading_bar() as progress:
        if (run / CONFIG).is_file():
            if source is None or source.startswith("manifest:"):
                raise ConfigError("source must hold images. Give: siglum label-issues RUN SOURCE")
            parts, network = sources.parts(source), Run(run)
            part = choose(dict(zip(parts, parts, strict=True)), part or parts[0], "part")
            images = sources.load(source, part, network.preprocess, progress=progress)
            predictions = lab.predict_run(
                network, images, part, choose_device(device, "float32", threads)
            )
            if network.config.data == source:
                print_line(f"Caution: this run has learned the labels of {source}. Use --folds.")
        else:
            predictions = lab.read_out_of_fold(run)
        for name in sources.parts(against) if against else ():
            place = predictions.source, part or "train", str(against), name
            copies[name] = lab.find_copies(*place, progress)
    table, issues = lab.contingency(predictions), lab.find_issues(predictions).tolist()
    rows = [
        (
            predictions.files[i],
            predictions.label_classes[predictions.labels[i]],
            predictions.classes[predictions.predicted[i]],
            float(predictions.probs[i].max()),
        )
        for i in issues
    ]
    if relabel_to is not None:
        accepted = lab.write_manifest(relabel_to, predictions, run, min_probability)
    if json:
        columns = ("file", "label", "prediction", "probability")
        result = {**asdict(table), "counts": table.counts.tolist()}
        result |= {"labels": predictions.label_classes, "predictions": predictions.classes}
        result |= {"issues": [dict(zip(columns, row, strict=True)) for row in rows]}
        print_json({**result, "copies": {name: asdict(c) for name, c in copies.items()}})
        return
    print_line(table.headline)
    if max(table.counts.shape) <= MAX_CLASSES:
        print("\nRows: labels; columns: predictions.")
        counts = zip(predictions.label_classes, table.counts.tolist(), strict=True)
        print_table(("", *predictions.classes), [(name, *row) for name, row in counts])
    print(f"\nProbably wrong: {count(len(rows), 'label')} (confident learning).")
    listed = [(*row[:3], probability(row[3])) for row in rows[:MAX_LISTED]]
    print_table(("image", "label", "prediction", "probability"), listed)
    for name, near in copies.items():
        print()
        print_line(near.headline(f"{against} ({name})"))
    if relabel_to is not None:
        print()
        print_line(f"{count(accepted, 'prediction')} written to {relabel_to}")
