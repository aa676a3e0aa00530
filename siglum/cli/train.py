"""`siglum train`."""

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from siglum import formatting, stats
from siglum.cli import options, output
from siglum.cli.evaluate import print_measures
from siglum.cli.progress import training_bar
from siglum.config import TrainConfig, TrainSettings, build
from siglum.errors import ConfigError
from siglum.lab import runs, trainer, transfer
from siglum.lab.device import Device, choose_device


class Flags(TrainSettings):
    """The settings on the command line; `data`, `rename` and `folds` are arguments of their own."""

    data: Annotated[str, Parameter(parse=False)] = "mnist5k"
    rename: Annotated[dict[str, str], Parameter(parse=False)] = {}  # noqa: RUF012 - pydantic copies


def train(
    source: str | None = None,
    /,
    *,
    settings: Annotated[Flags | None, Parameter(name="*")] = None,
    config: Path | None = None,
    rename: options.Renames = None,
    out: options.Out = None,
    resume: Path | None = None,
    repeats: int | None = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    threads: options.Threads = 0,
    json: options.Json = False,
) -> None:
    """Train a network and save it as a run: a folder with its weights, settings and metrics.

    With --folds and without --fold, cross-validate: every image is predicted by networks that were
    not trained on it. Ctrl-C stops between two steps; --resume continues bit-identically.

    Example: siglum train mnist5k -o runs/first
    Example: siglum train folder:my-signs --epochs 40 --rename names.csv
    Example: siglum train folder:my-signs --folds 5 --repeats 10 -o runs/cv
    Example: siglum train --resume runs/first
    Example: siglum train mnist5k --init runs/first -o runs/longer

    Args:
        source: The training images: mnist5k (the default), folder:DIR, archive:FILE, mnist, ...
        settings: Everything that decides the result.
        config: A TOML file of settings; options on the command line take precedence.
        out: The run's folder, which must not exist; runs/MODEL-SOURCE-NUMBER by default.
        resume: Resume this unfinished run. To train a finished one for more epochs, use --init.
        repeats: Repetitions of a cross-validation, each with its own seed; 1 by default.
    """
    wanted = options.read_toml(config)
    wanted |= settings.model_dump(include=settings.model_fields_set) if settings else {}
    wanted |= {} if source is None else {"data": source}
    wanted |= {} if rename is None else {"rename": options.read_renames(rename)}
    if resume is not None:
        if wanted:
            raise ConfigError(
                f"A run resumes with its own settings: leave out {', '.join(wanted)}. For more "
                f"epochs: siglum train SOURCE --init {resume} -o NEW"
            )
        path, run = resume, runs.Run(resume)
        before = run.env["device"]
        target = choose_device(
            before["device"] if device == "auto" else device,
            before["precision"] if precision == "auto" else precision,
            threads or before["threads"],
        )
        start = partial(trainer.resume, run, target)
    else:
        chosen, target = build(TrainConfig, wanted), choose_device(device, precision, threads)
        path = out or runs.next_path(Path("runs"), chosen)
        if chosen.folds and "fold" not in wanted:
            _cross_validate(chosen, path, target, repeats or 1, json)
            return
        start = partial(trainer.train, chosen, path, target)
    if repeats is not None:
        raise ConfigError("repeats needs --folds without --fold.")
    with training_bar(quiet=json) as bar:
        try:
            run = start(bar.watch, bar.load)
        except trainer.Stopped:
            print(f"Stopped. Resume with: siglum train --resume {path}", file=sys.stderr)
            raise KeyboardInterrupt from None
    result = {"run": str(run.path), **(run.result or {})}
    if json:
        output.print_json(result)
        return
    counts, trained, parameters = run.env["counts"], result["trained"], result["parameters"]
    output.print_facts(
        {
            "data": f"{run.config.data}: {formatting.count(counts['train'], 'training image')}",
            "model": run.config.model,
            "start": transfer.describe(run.env["init"], run.config.freeze, trained, parameters),
            **result,
        }
    )


def _cross_validate(
    config: TrainConfig, folder: Path, device: Device, repeats: int, json: bool
) -> None:
    from siglum.lab import study  # pandas and matplotlib: seconds that other trainings need not pay
    from siglum.report.compare import headline, to_json

    with training_bar(quiet=json) as bar:

        def start(cell: study.Cell, remaining: int) -> trainer.Watch:
            if not json:
                output.print_line(f"{cell.name}: {formatting.count(remaining, 'run')} to go")
            return bar.watch

        try:
            comparison = study.cross_validate(config, folder, device, repeats, start, bar.load)
        except trainer.Stopped:
            print("Stopped. Give the same command again to continue.", file=sys.stderr)
            raise KeyboardInterrupt from None
    with np.load(folder / study.OUT_OF_FOLD, allow_pickle=False) as arrays:
        log_probs, labels = arrays["log_probs"], arrays["labels"]  # (R, N, K), (N,)
        classes = tuple(map(str, arrays["classes"]))
    flat = log_probs.reshape(-1, len(classes))
    measures = stats.measure(flat, np.tile(labels, len(log_probs)), len(classes))
    if json:
        report = {**asdict(measures), "confusion": measures.confusion.tolist()}
        report |= {
            "run": str(folder),
            "classes": classes,
            "variant": to_json(comparison)["variants"][0],
        }
        output.print_json(report)
        return
    output.print_line(headline(comparison))
    print_measures(measures, classes)
    output.print_line(f"Predictions: {folder / study.OUT_OF_FOLD}")
