"""`siglum label-issues`."""

from dataclasses import asdict
from pathlib import Path

from siglum.cli.options import Device, Json, Threads
from siglum.cli.output import print_json, print_line, print_table
from siglum.cli.progress import loading_bar
from siglum.errors import ConfigError, DataError, choose
from siglum.files import write_atomic
from siglum.formatting import count, probability, rate_and_interval
from siglum.images import sources
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
    if relabel_to is not None and (relabel_to.exists() or not relabel_to.parent.is_dir()):
        raise DataError(f"{relabel_to} must be a new file in a folder that exists.")
    with loading_bar() as progress:
        if (run / CONFIG).is_file():
            if source is None:
                raise ConfigError("source must hold images. Give: siglum label-issues RUN SOURCE")
            parts, network = sources.parts(source), Run(run)
            part = choose(dict(zip(parts, parts, strict=True)), part or parts[0], "part")
            images = sources.load(source, part, network.preprocess, progress=progress)
            table = lab.predict_run(network, images, choose_device(device, "float32", threads))
            if network.config.data == source:
                print_line(f"Caution: this run has learned the labels of {source}. Use --folds.")
        else:
            source, table = lab.read_out_of_fold(run)
        if relabel_to is not None and sources.locate(str(source))[0] not in ("folder", "archive"):
            raise ConfigError(f"relabel_to needs a folder or an archive of images, got {source}.")
        copies = {
            f"{against} ({name})": lab.find_copies(
                str(source), part or "train", str(against), name, progress
            )
            for name in (sources.parts(against) if against else ())
        }
    related = lab.contingency(table)
    issues = table.dropna(subset="issue").sort_values("issue").drop(columns=["margin", "issue"])
    probable = table[table.probability >= min_probability]
    if relabel_to is not None:
        note = "Made by 'siglum label-issues'. Correct a label in the column new; or delete a line."
        lines = probable.drop(columns="issue").rename(columns={"label": "old", "prediction": "new"})
        text = lines.to_csv(index=False, float_format="%.6f")
        write_atomic(relabel_to, f"# source: {source}\n# {note}\n{text}")
    if json:
        counts = related.counts
        values = related._asdict() | {"agreement": asdict(related.agreement)}
        values |= {"counts": counts.to_numpy().tolist(), "issues": issues.to_dict("records")}
        values |= {"labels": [*counts.index], "predictions": [*counts.columns]}
        print_json(values | {"copies": {name: asdict(near) for name, near in copies.items()}})
        return
    print_line(related.headline)
    if max(related.counts.shape) <= MAX_CLASSES:
        print("\nRows: labels; columns: predictions.")
        print_table(("", *related.counts.columns), related.counts.itertuples())
    print(f"\nProbably wrong: {count(len(issues), 'label')} (confident learning).")
    listed = issues[:MAX_LISTED].assign(probability=issues.probability.map(probability))
    print_table(("image", *listed.columns[1:]), listed.itertuples(index=False))
    for name, near in copies.items():
        print()
        print_line(
            f"{rate_and_interval(near.copied)} are near copies of images of {name}; "
            f"{near.occurring.hits:,} of its {near.occurring.total:,} images occur. A copy differs "
            f"by at most {near.threshold:.1f} grey levels (root mean square), as JPEG files do."
        )
    if relabel_to is not None:
        print()
        print_line(f"{count(len(probable), 'prediction')} written to {relabel_to}")
