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
    path: Path  # of the run; its name is the hash of what decides the outcome
    parent: "Cell | None"

    @property
    def name(self) -> str:
        """The variant, the seed and the fold in words."""
        folds = self.config.folds
        fold = f", fold {self.config.fold + 1} of {folds}" if folds else ""
        return f"{self.variant}, seed {self.config.seed}{fold}"

    @property
    def run(self) -> Run | None:
        """The run; None before its settings are on disk."""
        try:
            return Run(self.path)
        except RunError:
            return None

    @property
    def lock(self) -> FileLock:
        """The lock of the process that trains the run."""
        return FileLock(self.path.parent / LOCKS / f"{self.path.name}.lock")

    @property
    def is_done(self) -> bool:
        """Whether the run has finished or failed."""
        run = self.run
        return run is not None and (run.result is not None or run.failure is not None)

    @property
    def state(self) -> str:
        """How far the run is: waiting, training, stopped, finished or failed."""
        run = self.run
        if run is not None and self.is_done:
            return "finished" if run.failure is None else "failed"
        try:
            if (self.path.parent / LOCKS).exists():
                self.lock.acquire(timeout=0).lock.release()
        except Timeout:
            return "training"
        return "waiting" if run is None else "stopped"


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
        return list({cell.path: cell for cell in (*parents, *chosen)}.values())


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
        settings = {**settings, "init": str(parent.path)}
    elif transfer.is_file(init):
        settings = {**settings, "init": transfer.pin(init)}
    first = build(TrainConfig, settings)
    folds = range(first.folds) if first.folds and "fold" not in settings else [first.fold]
    configs = [first.model_copy(update={"fold": fold}) for fold in folds]
    return [Cell(name, c, folder / _hash(c, parent), parent) for c in configs]


def _hash(config: TrainConfig, parent: Cell | None) -> str:
    decisive = config.model_dump(exclude_defaults=True)
    if parent is not None:
        decisive["init"] = parent.path.name
    elif transfer.is_file(config.init):
        decisive["init"] = transfer.pinned_digest(config.init)
    text = json.dumps(decisive, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def run_cells(
    cells: Sequence[Cell],
    device: Device,
    start: Start = lambda cell, remaining: lambda record: None,
    progress: Progress = no_progress,
) -> None:
    """Train every run that is not finished, and wait for runs that other processes train.

    Raises:
        RunError: if a parent has failed.
        Stopped: if a watcher asked for it.
    """
    remaining = list(cells)
    while remaining:
        before = len(remaining)
        for cell in tuple(remaining):
            if cell.is_done or (
                _parent_is_ready(cell)
                and _train(cell, device, partial(start, cell, len(remaining)), progress)
            ):
                remaining.remove(cell)
        if len(remaining) == before:
            time.sleep(POLL_SECONDS)


def _train(cell: Cell, device: Device, start: Callable[[], Watch], progress: Progress) -> bool:
    """Train one run to its end; return False if another process holds its lock."""
    (cell.path.parent / LOCKS).mkdir(parents=True, exist_ok=True)
    try:
        lock = cell.lock.acquire(timeout=0)
    except Timeout:
        return False
    with lock:  # an unfinished run whose lock is free was left by a process that ended
        run = cell.run
        try:
            if run is None:
                if cell.path.exists():  # killed before its settings were on disk
                    shutil.rmtree(cell.path)
                train(cell.config, cell.path, device, start(), progress)
            elif not cell.is_done:
                resume(run, device, start(), progress)
        except DivergedError as error:
            Run(cell.path).fail(str(error))
    return True


def _parent_is_ready(cell: Cell) -> bool:
    run = cell.parent.run if cell.parent else None
    if run is not None and run.failure is not None:
        raise RunError(
            f"{cell.variant} starts from {run.path}, which failed: {run.failure} "
            "Change the parent's settings."
        )
    return cell.parent is None or cell.parent.is_done


def collect(study: Study) -> list[Variant]:
    """Return the variants of a study; a seed counts once all of its folds are finished."""
    variants = []
    for name, levels in study.levels.items():
        finished: list[tuple[Run, ...]] = []
        failed: list[tuple[int, str]] = []
        missing = 0
        cells = [cell for cell in study.cells if cell.variant == name]
        for seed, group in itertools.groupby(cells, key=lambda cell: cell.config.seed):
            runs = [cell.run for cell in group]
            reasons = [run.failure for run in runs if run is not None and run.failure]
            done = tuple(run for run in runs if run is not None and run.result is not None)
            failed += [(seed, reason) for reason in reasons]
            missing += len(runs) - len(done) - len(reasons)
            finished += [done] if len(done) == len(runs) else []
        published = study.file.published.get(name, {})
        variants.append(Variant(name, tuple(finished), tuple(failed), missing, published, levels))
    return variants


def cross_validate(
    config: TrainConfig,
    folder: Path,
    device: Device,
    repeats: int = 1,
    start: Start = lambda cell, remaining: lambda record: None,
    progress: Progress = no_progress,
) -> Comparison:
    """Predict every image with networks that were not trained on it; unfinished runs are resumed.

    Trains every fold of `config.folds` for `repeats` seeds. The comparison has one variant, whose
    test accuracy is that of all images. Writes the pooled predictions to `folder/out-of-fold.npz`:
    log_probs (R, N, K), labels (N,), classes (K,), source and, where they are known, files and
    writers (N,).

    Raises:
        RunError: if a fold diverged.
    """
    if config.folds is None or repeats < 1:
        raise ConfigError(f"repeats must be at least 1, and folds 2, got {repeats} repeats.")
    settings = config.model_dump(exclude={"seed", "fold"}, exclude_unset=True)
    seeds = tuple(range(config.seed, config.seed + repeats))
    study = make_study("cross-validation", StudyFile(base=settings, seeds=seeds), folder)
    run_cells(study.cells, device, start, progress)
    (variant,) = collect(study)
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
