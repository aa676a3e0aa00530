"""`siglum relabel`."""

import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from siglum.cli import relabel_words as words
from siglum.cli import terminal
from siglum.cli.loading import loading
from siglum.cli.terminal import Switch, percent
from siglum.errors import ConfigError, DataError, choose
from siglum.images import manifest, sources
from siglum.images.imageset import ImageSet
from siglum.lab import duplicates
from siglum.lab import relabel as lab
from siglum.lab.device import choose_device
from siglum.lab.runs import Run
from siglum.stats import wilson

WIDTH = 100  # of sentences


def relabel(
    run: Path,
    source: str,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    at_least: float | None = None,
    precision: float | None = None,
    against: str | None = None,
    part: str | None = None,
    device: str = "auto",
    threads: int = 0,
    json: Switch = False,
) -> None:
    """Label every picture of a source with a run, and write the labels as a manifest.

    Says how old and new labels hang together and what is wrong with the old ones, how sure the
    new ones are, and, with --against, how many of the pictures lie in another source already.
    The manifest is a source itself: siglum train manifest:FILE

    Example: siglum relabel runs/first archive:doubtful.zip -o labels.csv

    Example: siglum relabel runs/first archive:doubtful.zip -o sure.csv --precision 0.999

    Args:
        run: The run's folder.
        source: Where the pictures come from; its own labels may be of other classes than the run's.
        out: The manifest, a CSV file that must not exist yet.
        at_least: Keep the pictures whose new label has this probability, in [0, 1].
        precision: Keep as many as were right to this share on the run's validation pictures.
        against: Another source; look for its pictures in this one.
        part: train or test, where the source has both; train by default.
        device: auto, cpu, cuda or mps.
        threads: Of the CPU; 0 for one a core.
        json: Print everything as JSON.
    """
    manifest.check_free(out)
    if source.partition(":")[0] == manifest.KIND:
        raise ConfigError(
            f"source must hold the pictures themselves, got {source!r}. "
            "Relabel the source that the manifest names."
        )
    opened = Run(run)
    validation = lab.validate(opened.predictions())
    threshold = lab.chosen_threshold(validation, at_least, precision)
    part = _part(source, part)
    other_parts = sources.parts(against) if against is not None else ()
    machine = choose_device(device, "float32", threads)
    if validation is None:
        warnings.warn(
            f"{run} has no validation predictions, so its probabilities are taken as they are "
            "(temperature 1)",
            stacklevel=2,
        )
    with loading() as progress:
        fitted = opened.preprocess
        pictures = sources.load(source, part, fitted, progress=progress)
        found = lab.relabel(opened, pictures, machine, validation, threshold)
        beside = None
        if against is not None:
            seen = {
                name: lab.shown(opened, sources.load(against, name, fitted, progress=progress))
                for name in other_parts
            }
            small = lab.compared(fitted)
            beside = lab.compare(
                sources.load(source, part, small, progress=progress),
                np.array(opened.classes)[found.new.labels],
                {name: sources.load(against, name, small, progress=progress) for name in seen},
                seen,
                progress,
            )
    temperature = validation.temperature if validation else 1.0
    thresholds = _thresholds(validation, found)
    notes = [
        "Made by 'siglum relabel'. Delete a line to leave its picture out; to put a label right, "
        "change it in the column new.",
        f"temperature: {temperature:.6f}",
        f"at least: {threshold:.6f}",
    ]
    lines = _lines(run, opened.classes, pictures, found)
    manifest.write(out, source, part if part in manifest.PARTS else None, lines, notes)
    accuracy = validation.accuracy if validation else None
    told = words.diagnosis(found.diagnosis, pictures.classes, opened.classes, accuracy)
    if json:
        terminal.write_json(
            {
                "run": str(run),
                "source": source,
                "part": part,
                "manifest": str(out),
                "pictures": len(pictures),
                "kept": int(found.kept.sum()),
                "threshold": threshold,
                "temperature": temperature,
                "validation": None if accuracy is None else asdict(accuracy),
                "ece": None if validation is None else validation.ece,
                "thresholds": thresholds,
                "old_classes": pictures.classes,
                "new_classes": opened.classes,
                "finding": told,
                "diagnosis": {
                    **asdict(found.diagnosis),
                    "counts": found.diagnosis.counts.tolist(),
                },
                "against": None if beside is None else _against(against, beside),
            }
        )
        return
    print(terminal.printable(f"source      {source} ({part}): {len(pictures):,} pictures"))
    if validation is not None:
        print(f"run         {run}, validation {terminal.interval(validation.accuracy)}")
        print(words.temperature(validation))
        _print_thresholds(thresholds)
    _print_labels(pictures, opened.classes, found, told)
    if beside is not None and against is not None:
        print(f"\nagainst     {terminal.printable(against)}")
        _say(words.scale(beside.scale, against))
        header = ("nearest, grey levels", *(percent(share, 0) for share in duplicates.SHARES))
        rows = [(o.part, *(f"{q:.1f}" for q in o.quantiles)) for o in beside.parts]
        terminal.show(terminal.table(header, rows))
        for one in beside.parts:
            _say(words.overlap(one, against, opened.config.data))
    kept = int(found.kept.sum())
    print(f"\nkept        {kept:,} of {len(pictures):,} pictures, from probability {threshold:.6f}")
    print(f"Manifest: {out}")


def _part(source: str, wanted: str | None) -> str:
    """Return the part to label: the wanted one, else train, else all there is."""
    parts = sources.parts(source)
    if not parts:
        raise DataError(f"{source} must hold pictures, got none. Is it the right folder?")
    if wanted is None:
        return parts[0]
    choose({name: name for name in parts}, wanted, "part")
    return wanted


def _lines(
    run: Path, classes: tuple[str, ...], pictures: ImageSet, found: lab.Relabelling
) -> Iterator[manifest.Line]:
    names, new = manifest.names_of(pictures), found.new
    for i in np.flatnonzero(found.kept).tolist():
        yield manifest.Line(
            file=names[i],
            old=pictures.classes[pictures.labels[i]],
            new=classes[new.labels[i]],
            probability=f"{new.probability[i]:.6f}",
            margin=f"{new.margin[i]:.6f}",
            run=str(run),
        )


def _thresholds(validation: lab.Validation | None, found: lab.Relabelling) -> list[dict[str, Any]]:
    """Return what thresholds would keep: everything, and each of the usual precisions."""
    if validation is None:
        return []
    promises = [0.0, *lab.PROMISES]
    rows: list[dict[str, Any]] = []
    for precision in promises:
        threshold = lab.threshold_for(validation, precision)
        kept = None if threshold is None else int((found.new.probability >= threshold.value).sum())
        rows.append(
            {"precision": precision, "kept": kept}
            if threshold is None
            else {**asdict(threshold), "kept": kept}
        )
    return rows


def _print_thresholds(thresholds: list[dict[str, Any]]) -> None:
    print("\nwhat a threshold would keep, by what was right among the validation pictures it keeps")
    rows = [
        (
            percent(row["precision"]) if row["precision"] else "everything",
            *(
                ("never reached", "", "", "")
                if row["kept"] is None
                else (
                    f"{row['value']:.6f}",
                    percent(row["found"]["hits"] / row["found"]["total"], 2),
                    percent(row["found"]["low"], 2),
                    f"{row['kept']:,}",
                )
            ),
        )
        for row in thresholds
    ]
    header = ("asked for", "threshold", "right", "surely (95 %)", "pictures kept")
    terminal.show(terminal.table(header, rows))
    _say(["Chosen and measured on the same pictures: no promise for pictures of another kind."])


def _print_labels(
    pictures: ImageSet, classes: tuple[str, ...], found: lab.Relabelling, told: list[str]
) -> None:
    about, new = found.diagnosis, found.new
    print("\nold labels against new")
    _say(told)
    print()
    if set(pictures.classes) & set(classes):
        by_chance = f"; chance gives {percent(about.expected)}"
        print(f"agreement   {words.share(about.agreement)}{by_chance}")
    for name, value in words.association(about.association):
        print(f"{name:<11} {value}")
    best = about.best
    print(f"best pairs  {words.share(best.hits)}; chance gives {percent(best.expected)}")
    print()
    after = np.bincount(new.labels, minlength=len(classes))
    kept = np.bincount(new.labels[found.kept], minlength=len(classes))
    rows = []
    for name in dict.fromkeys((*pictures.classes, *classes)):
        row = [name, *[""] * 5]
        if name in pictures.classes:
            held = about.counts[pictures.classes.index(name)]
            row[1] = f"{held.sum():,}"
            if held.any():
                share = wilson(int(held.max()), int(held.sum()))
                row[4] = f"{classes[int(held.argmax())]}: {percent(share.value)}"
                row[5] = "yes" if share.low > 0.5 else "no"
        if name in classes:
            at = classes.index(name)
            row[2], row[3] = f"{after[at]:,}", f"{kept[at]:,}"
        rows.append(row)
    header = ("class", "before", "after", "kept", "old label is mostly", "one class")
    terminal.show(terminal.table(header, rows))
    if max(len(classes), len(pictures.classes)) <= 16:
        print("\nrows: old label; columns: new label")
        matrix = [
            (name, *(count or "·" for count in row))
            for name, row in zip(pictures.classes, about.counts.tolist(), strict=True)
        ]
        terminal.show(terminal.table(("", *classes), matrix))


def _against(source: str | None, found: lab.Against) -> dict[str, Any]:
    scale = found.scale
    return {
        "source": source,
        "threshold": scale.threshold,
        "jpeg_quality": duplicates.QUALITY,
        "sample": len(scale.jpeg),
        "false_matches": scale.false_matches,
        "shares": duplicates.SHARES,
        "parts": [asdict(part) for part in found.parts],
    }


def _say(sentences: list[str]) -> None:
    for sentence in sentences:
        joined = sentence.replace(" %", "\0%")  # no line begins with a sign
        lines = textwrap.fill(joined, WIDTH, break_long_words=False, break_on_hyphens=False)
        print(lines.replace("\0%", " %"))
