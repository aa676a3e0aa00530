"""`siglum train`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from siglum import formatting, stats
from siglum.cli.evaluate import print_measures
from siglum.cli.options import (
    Device,
    Json,
    Out,
    Precision,
    Renames,
    Threads,
    read_renames,
    read_toml,
)
from siglum.cli.output import print_facts, print_json, print_line
from siglum.cli.progress import TrainingProgress, loading_bar
from siglum.config import TrainConfig, TrainSettings, build
from siglum.errors import ConfigError, RunError
from siglum.lab import compare, runs, study, trainer, transfer
from siglum.lab.device import Device as LabDevice
from siglum.lab.device import choose_device


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
    rename: Renames = None,
    out: Out = None,
    resume: Path | None = None,
    repeats: int | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = 0,
    json: Json = False,
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
        source: The training images: mnist5k, folder:DIR, archive:FILE, idx:DIR, mnist, ...;
            mnist5k by default.
        settings: Everything that decides the result.
        config: A TOML file of settings; options on the command line take precedence.
        out: The run's folder, which must not exist; runs/MODEL-SOURCE-NUMBER by default.
        resume: Resume this unfinished run. To train a finished one for more epochs, use --init.
        repeats: With --folds: repetitions of the cross-validation, each with its own seed; 1 by
            default.
    """
    flags = settings.model_dump(include=settings.model_fields_set) if settings else {}
    if source is not None:
        flags["data"] = source
    if rename is not None:
        flags["rename"] = read_renames(rename)
    wanted = {**(read_toml(config) if config else {}), **flags}
    if wanted.get("folds") and "fold" not in wanted and resume is None:
        target = choose_device(device, precision, threads)
        _cross_validate(build(TrainConfig, wanted), out, repeats or 1, target, json)
        return
    if repeats is not None:
        raise ConfigError("repeats needs --folds without --fold.")
    if resume is not None:
        run = runs.Run(resume)
        _check_settings(run, wanted)
        before = run.env["device"]
        target = choose_device(
            before["device"] if device == "auto" else device,
            before["precision"] if precision == "auto" else precision,
            threads or before["threads"],
        )
        path = resume
    else:
        chosen = build(TrainConfig, wanted)
        target = choose_device(device, precision, threads)
        path = out or runs.next_path(Path("runs"), chosen)
    with loading_bar() as progress, TrainingProgress(quiet=json) as watch:
        try:
            if resume is not None:
                run = trainer.resume(run, target, watch, progress)
            else:
                run = trainer.train(chosen, path, target, watch, progress)
        except trainer.Stopped:
            print(f"Stopped. Resume with: siglum train --resume {path}", file=sys.stderr)
            raise KeyboardInterrupt from None
    if json:
        print_json({"run": str(run.path), **(run.result or {})})
    else:
        _print_summary(run)


def _cross_validate(
    config: TrainConfig, out: Path | None, repeats: int, device: LabDevice, json: bool
) -> None:
    folder = out or runs.next_path(Path("runs"), config)
    with loading_bar() as progress, TrainingProgress(quiet=json) as watch:

        def start(cell: study.Cell, remaining: int) -> TrainingProgress:
            if not json:
                print_line(f"{cell.name}: {formatting.count(remaining, 'run')} to go")
            watch.restart()
            return watch

        try:
            comparison = study.cross_validate(config, folder, device, repeats, start, progress)
        except trainer.Stopped:
            print("Stopped. Give the same command again to continue.", file=sys.stderr)
            raise KeyboardInterrupt from None
    with np.load(folder / study.OUT_OF_FOLD, allow_pickle=False) as arrays:
        log_probs, labels = arrays["log_probs"], arrays["labels"]
        names = tuple(map(str, arrays["classes"]))
    every = np.concatenate(list(log_probs)), np.tile(labels, len(log_probs))
    measures = stats.measure(*every, len(names))
    if json:
        report = {**asdict(measures), "confusion": measures.confusion.tolist()}
        (variant,) = comparison.variants
        print_json({"run": str(folder), "classes": names, **report, "variant": asdict(variant)})
        return
    print_line(compare.headline(comparison))
    print_measures(measures, names)
    print_line(f"Predictions: {folder / study.OUT_OF_FOLD}")


def _print_summary(run: runs.Run) -> None:
    result, config, env = run.result or {}, run.config, run.env
    facts = {
        "data": f"{config.data}: {formatting.count(env['counts']['train'], 'training image')}",
        "model": f"{config.model}, {result['parameters']:,} parameters",
    }
    if (init := env.get("init")) or config.freeze:
        facts["start"] = transfer.describe(
            init, config.freeze, result["trained"], result["parameters"]
        )
    facts["training"] = f"{result['epochs']} epochs in {formatting.duration(result['seconds'])}"
    for part, name in (("val", "validation"), ("test", "test")):
        if part in result:
            measured = {key: result[part][key] for key in ("hits", "total", "low", "high")}
            facts[name] = formatting.rate_and_interval(stats.Rate(**measured))
    print_facts({**facts, "run": run.path})


def _check_settings(run: runs.Run, wanted: dict[str, Any]) -> None:
    before = run.config.model_dump()
    asked = build(TrainConfig, {**before, **wanted}).model_dump()
    changed = [f"{k} is {before[k]!r}, not {asked[k]!r}" for k in before if before[k] != asked[k]]
    if changed:
        raise RunError(
            f"{run.path} can only be resumed with its own settings: {'; '.join(changed)}. Leave "
            f"those options out. For more epochs: siglum train SOURCE --init {run.path} -o NEW"
        )
