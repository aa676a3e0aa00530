"""Studies: one question, its variants and seeds in a TOML file, and one run for each.

    question = "Does pretraining help?"
    seeds = [0, 1, 2]
    pairs = [["A", "B"]]   # variants to test against each other; all, if there are none
    [base]                 # settings of every variant
    [grid]                 # setting = [values]: every combination is a variant ...
    [variants.NAME]        # ... and so is every named set of settings, in each combination
    [parents.NAME]         # runs that others start from, with settings of their own:
                           # init = "parents.NAME", for the same seed
    [published.VARIANT]    # test = 0.99: published figures, as fractions

A run is named by the hash of what decides its outcome, so that studies share runs. A file lock is
held on a run while it trains; the system releases it when the process ends.
"""

import hashlib
import itertools
import json
import math
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from siglum.config import Settings, TrainConfig, build
from siglum.errors import ConfigError, RunError, choose
from siglum.files import atomic_path
from siglum.images.cache import Progress, no_progress
from siglum.lab import transfer
from siglum.lab.compare import Comparison, Variant, compare_runs, pool_predictions
from siglum.lab.device import Device
from siglum.lab.runs import Run
from siglum.lab.trainer import Watch, load_data, resume, train
from siglum.lab.training import DivergedError

MAX_RUNS = 1000  # unless the caller allows more
PARENT = "parents."
LOCKS, OUT_OF_FOLD = "locks", "out-of-fold.npz"
POLL_SECONDS = 1.0  # between two looks at runs that other processes train

Start = Callable[["Cell", int], Watch]  # called with a run and the number of runs to go


class StudyFile(Settings):
    """The keys of a study file."""

    question: str = ""
    hypotheses: tuple[str, ...] = ()  # written before the runs
    answers: tuple[str, ...] = ()  # to the first of them, written after the runs
    note: str = ""
    seeds: tuple[int, ...] = (0,)
    base: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies
    grid: dict[str, Any] = {}  # noqa: RUF012
    variants: dict[str, dict[str, Any]] = {}  # noqa: RUF012
    parents: dict[str, dict[str, Any]] = {}  # noqa: RUF012
    published: dict[str, dict[str, float]] = {}  # noqa: RUF012
    pairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Cell:
    """One run of a study: a variant with a seed and, in a cross-validation, a fold."""

    variant: str
    config: TrainConfig  # `init` names the parent's folder
    key: str  # name of the run's folder
    parent: "Cell | None"

    @property
    def name(self) -> str:
        """The variant, the seed and the fold in words."""
        folds = self.config.folds
        fold = f", fold {self.config.fold + 1} of {folds}" if folds else ""
        return f"{self.variant}, seed {self.config.seed}{fold}"


@dataclass(frozen=True)
class Study:
    """A study file and the runs that it asks for."""

    name: str
    file: StudyFile
    cells: tuple[Cell, ...]  # by variant, by seed, by fold
    levels: Mapping[str, Mapping[str, Any]]  # by variant: its values in the grid

    def select(self, variants: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Cell]:
        """Return the runs of some variants and seeds (all, if none is named), parents first."""
        for name in variants:
            choose(self.levels, name, "variant")
        for seed in seeds:
            choose(dict.fromkeys(map(str, self.file.seeds)), str(seed), "seed")
        chosen = [
            cell
            for cell in self.cells
            if cell.variant in (variants or self.levels)
            and cell.config.seed in (seeds or self.file.seeds)
        ]
        parents = [cell.parent for cell in chosen if cell.parent is not None]
        return list({cell.key: cell for cell in (*parents, *chosen)}.values())


def read_study(path: Path, folder: Path, allow_many: bool = False) -> Study:
    """Read a study file.

    Args:
        folder: of its runs, which need not exist.
        allow_many: allow more than 1,000 runs.

    Raises:
        ConfigError: if the file breaks a rule or asks for too many runs.
    """
    try:
        file = build(StudyFile, tomllib.loads(path.read_text("utf-8")))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"study must be a TOML file, got {path}: {error}.") from None
    return make_study(path.stem, file, folder, allow_many)


def make_study(name: str, file: StudyFile, folder: Path, allow_many: bool = False) -> Study:
    """Return the study that a file's contents describe; see `read_study`."""
    if not file.seeds or len(set(file.seeds)) < len(file.seeds):
        raise ConfigError(f"seeds must be different numbers, got {list(file.seeds)}.")
    grid = _grid_values(file.grid)
    runs = math.prod(map(len, grid.values())) * max(len(file.variants), 1) * len(file.seeds)
    if runs > MAX_RUNS and not allow_many:
        raise ConfigError(
            f"{name} asks for {runs:,} runs, more than {MAX_RUNS:,}. Use fewer seeds or values, or "
            "give --yes."
        )
    cells, levels = [], {}
    for variant, settings, levels[variant] in _variants(file, grid):
        if "seed" in settings:
            raise ConfigError("seed must stand in the list 'seeds', not in the settings.")
        for seed in file.seeds:
            cells += _cells(variant, {**settings, "seed": seed}, file, folder)
    for variant in (*file.published, *itertools.chain(*file.pairs)):
        choose(levels, variant, "variant")
    for part in itertools.chain(*file.published.values()):
        choose(dict.fromkeys(("train", "val", "test")), part, "published")
    return Study(name, file, tuple(cells), levels)


def _grid_values(grid: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the values of every setting; those of `model_options` as `model_options.NAME`."""
    values: dict[str, list[Any]] = {}
    for name, value in grid.items():
        nested = isinstance(value, dict)
        values |= {f"{name}.{k}": v for k, v in value.items()} if nested else {name: value}
    for name, several in values.items():
        if not isinstance(several, list) or len(set(map(str, several))) < max(len(several), 1):
            raise ConfigError(f"grid.{name} must be a list of different values, got {several!r}.")
    return values


def _variants(
    file: StudyFile, grid: Mapping[str, list[Any]]
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the name, the settings and the grid values of each variant."""
    for name, own in (file.variants or {"": {}}).items():
        for combination in itertools.product(*grid.values()):
            settings, levels = _merge(file.base, own), {}
            for key, value in zip(grid, combination, strict=True):
                first, _, option = key.partition(".")
                settings = _merge(settings, {first: {option: value} if option else value})
                levels[option or first] = value
            words = [name] * bool(name) + [f"{key}={value}" for key, value in levels.items()]
            if len(file.variants) > 1:
                levels = {"variant": name, **levels}
            yield ", ".join(words) or "base", settings, levels


def _merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    merged, options = {**first, **second}, first.get("model_options")
    if isinstance(options, dict) and isinstance(merged["model_options"], dict):
        merged["model_options"] = {**options, **merged["model_options"]}
    return merged


def _cells(name: str, settings: Mapping[str, Any], file: StudyFile, folder: Path) -> list[Cell]:
    """Return the run of a variant and a seed, or those of all its folds."""
    init, parent = str(settings.get("init", "")), None
    if init.startswith(PARENT):
        own = choose(file.parents, init.removeprefix(PARENT), "init's parent")
        if str(own.get("init", "")).startswith(PARENT):
            raise ConfigError(f"{init} must start from scratch or from a run, got {own['init']!r}.")
        (parent,) = _cells(init, {**own, "seed": settings["seed"]}, file, folder)
        settings = {**settings, "init": str(folder / parent.key)}
    elif transfer.is_file(init):
        settings = {**settings, "init": transfer.pin(init)}
    first = build(TrainConfig, settings)
    folds = range(first.folds) if first.folds and "fold" not in settings else [first.fold]
    configs = [first.model_copy(update={"fold": fold}) for fold in folds]
    return [Cell(name, config, _key(config, parent), parent) for config in configs]


def _key(config: TrainConfig, parent: Cell | None) -> str:
    """Hash what decides the outcome; a setting at its default is left out."""
    defaults = TrainConfig.model_construct().model_dump()
    decisive = {k: v for k, v in config.model_dump().items() if v != defaults[k]}
    if parent is not None:
        decisive["init"] = parent.key
    elif transfer.is_file(config.init):
        decisive["init"] = transfer.pinned_digest(config.init)
    text = json.dumps(decisive, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def open_run(cell: Cell, folder: Path) -> Run | None:
    """Return the run of a cell; None before its settings are on disk."""
    try:
        return Run(folder / cell.key)
    except RunError:
        return None


def state_of(cell: Cell, folder: Path) -> str:
    """Return how far a run is: waiting, training, stopped, finished or failed."""
    run = open_run(cell, folder)
    if run is not None and _is_done(run):
        return "finished" if run.failure is None else "failed"
    try:
        if (folder / LOCKS).exists():
            _lock(cell, folder).acquire(timeout=0).lock.release()
    except Timeout:
        return "training"
    return "waiting" if run is None else "stopped"


def run_cells(
    cells: Sequence[Cell],
    folder: Path,
    device: Device,
    start: Start = lambda cell, remaining: lambda record: None,
    progress: Progress = no_progress,
) -> None:
    """Train every run that is not finished, and wait for runs that other processes train.

    Raises:
        RunError: if a parent has failed.
        Stopped: if a watcher asked for it.
    """
    (folder / LOCKS).mkdir(parents=True, exist_ok=True)
    remaining = list(cells)
    while remaining:
        before = len(remaining)
        for cell in tuple(remaining):
            if _is_done(open_run(cell, folder)) or (
                _parent_is_ready(cell, folder)
                and _train(cell, folder, device, partial(start, cell, len(remaining)), progress)
            ):
                remaining.remove(cell)
        if len(remaining) == before:
            time.sleep(POLL_SECONDS)


def _train(
    cell: Cell, folder: Path, device: Device, start: Callable[[], Watch], progress: Progress
) -> bool:
    """Train one run to its end; return False if another process holds its lock."""
    path = folder / cell.key
    try:
        with _lock(cell, folder).acquire(timeout=0):
            # An unfinished run whose lock is free was left by a process that ended.
            run = open_run(cell, folder)
            try:
                if run is None:
                    if path.exists():  # killed before its settings were on disk
                        shutil.rmtree(path)
                    train(cell.config, path, device, start(), progress)
                elif not _is_done(run):
                    resume(run, device, start(), progress)
            except DivergedError as error:
                Run(path).fail(str(error))
            return True
    except Timeout:
        return False


def _is_done(run: Run | None) -> bool:
    return run is not None and (run.result is not None or run.failure is not None)


def _parent_is_ready(cell: Cell, folder: Path) -> bool:
    parent = open_run(cell.parent, folder) if cell.parent else None
    if parent is not None and parent.failure is not None:
        raise RunError(
            f"{cell.variant} starts from {parent.path}, which failed: {parent.failure} "
            "Change the parent's settings."
        )
    return cell.parent is None or _is_done(parent)


def _lock(cell: Cell, folder: Path) -> FileLock:
    return FileLock(folder / LOCKS / f"{cell.key}.lock")


def collect(study: Study, folder: Path) -> list[Variant]:
    """Return the variants of a study; a seed counts once all of its folds are finished."""
    variants = []
    for name, levels in study.levels.items():
        cells = [cell for cell in study.cells if cell.variant == name]
        finished: list[tuple[Run, ...]] = []
        failed, missing = [], 0
        for seed, group in itertools.groupby(cells, key=lambda cell: cell.config.seed):
            runs = [open_run(cell, folder) for cell in group]
            failed += [(seed, run.failure) for run in runs if run is not None and run.failure]
            missing += sum(not _is_done(run) for run in runs)
            done = tuple(run for run in runs if run is not None and run.result is not None)
            finished += [done] if len(done) == len(runs) else []
        published = study.file.published.get(name, {})
        about = tuple(failed), missing, published, levels
        variants.append(Variant(name, tuple(finished), *about))
    return variants


def fold_study(config: TrainConfig, folder: Path, repeats: int = 1) -> Study:
    """Return a cross-validation: every fold of `config.folds` for `repeats` seeds."""
    if config.folds is None or repeats < 1:
        raise ConfigError(f"repeats must be at least 1, and folds 2, got {repeats} repeats.")
    settings = config.model_dump(exclude={"seed", "fold"})
    seeds = tuple(range(config.seed, config.seed + repeats))
    return make_study("cross-validation", StudyFile(base=settings, seeds=seeds), folder)


def cross_validate(
    config: TrainConfig,
    folder: Path,
    device: Device,
    repeats: int = 1,
    start: Start = lambda cell, remaining: lambda record: None,
    progress: Progress = no_progress,
) -> Comparison:
    """Predict every image with networks that were not trained on it; unfinished runs are resumed.

    The comparison has one variant, whose test accuracy is that of all images. Writes the pooled
    predictions to `folder/out-of-fold.npz`: log_probs (R, N, K), labels (N,), classes (K,), source
    and, where they are known, files and writers (N,).

    Raises:
        RunError: if a fold diverged.
    """
    study = fold_study(config, folder, repeats)
    run_cells(study.cells, folder, device, start, progress)
    (variant,) = collect(study, folder)
    for seed, reason in variant.failed:
        raise RunError(f"A fold of seed {seed} failed: {reason}")
    pooled, classes = [pool_predictions(runs) for runs in variant.runs], variant.runs[0][0].classes
    arrays = {
        "log_probs": np.stack([predictions["test_log_probs"] for predictions in pooled]),
        "labels": pooled[0]["test_labels"],
        "classes": np.array(classes),
        "source": np.array(config.data),
    }
    source = load_data(config, classes, progress).whole
    if source is not None and source.files is not None:
        arrays["files"] = np.array(source.files)
    if "test_writers" in pooled[0]:
        arrays["writers"] = pooled[0]["test_writers"]
    with atomic_path(folder / OUT_OF_FOLD) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return compare_runs([replace(variant, name=config.model)])
