"""Studies: one question, its variants and seeds in a TOML file, and one run for each.

A study is a list of cells, one for each training; `Cell.state` says what is missing, `run_cell`
trains one. A run is named by the hash of what decides its outcome, so that studies share runs. A
process that trains a run holds its file lock, which the system releases when the process ends.
docs/studies.md explains the file.
"""

import hashlib
import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock, Timeout

from siglum.config import Settings, TrainConfig, build
from siglum.errors import ConfigError, RunError, Stopped, choose
from siglum.files import atomic_path, read_json, read_toml, write_atomic
from siglum.images.cache import Progress, no_progress
from siglum.images.imageset import ImageSet
from siglum.lab import search, transfer
from siglum.lab.compare import Comparison, Variant, compare_runs, format_setting
from siglum.lab.device import Device
from siglum.lab.models import NetworkError, file_digest
from siglum.lab.run_folder import CONFIG, FAILURE, Run, check_free, find_runs
from siglum.lab.search import OptunaTrials, Point, Pruning, Range, Search
from siglum.lab.train_run import Watch, load_data, resume, split_images, train

PARENT, OPTIONS = "parents.", "model_options"
OUT_OF_FOLD = "out-of-fold.npz"
POLL_SECONDS = 1.0  # between two looks at runs that other processes train
DONE = ("finished", "failed", "pruned")
STOPPED = "Stopped. Resume with the same command; the runs are in {}."

Start = Callable[["Cell", int], Watch]  # called with a run and the number of runs to go


class StudyFile(Settings):
    """The keys of a study file."""

    question: str = ""
    hypotheses: tuple[str, ...] = ()  # written before the runs
    answers: tuple[str, ...] = ()  # to the first of them, written after the runs
    note: str = ""
    seeds: tuple[int, ...] = (0,)
    base: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies
    grid: dict[str, Any] = {}  # noqa: RUF012 - lists of values; every combination is a variant
    search: Search | None = None  # instead of a grid and variants
    variants: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - in each combination of the grid
    parents: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - for init = "parents.NAME"
    published: dict[str, dict[Literal["train", "val", "test"], float]] = {}  # noqa: RUF012
    pairs: tuple[tuple[str, str], ...] = ()  # to test; all, if there are none


@dataclass(frozen=True)
class Cell:
    """One training of a study: a variant with a seed and, in a cross-validation, a fold."""

    variant: str
    config: TrainConfig  # `init` names the parent's folder
    path: Path  # of the run; its name is the hash of what decides the outcome
    parent: "Cell | None"
    pruning: Pruning | None = None  # of a search that prunes

    @property
    def name(self) -> str:
        """The variant, the seed and the fold in words."""
        folds = self.config.folds
        fold = f", fold {self.config.fold + 1} of {folds}" if folds else ""
        return f"{self.variant}, seed {self.config.seed}{fold}"

    @property
    def run(self) -> Run | None:
        """The run; None before its settings are on disk."""
        return Run(self.path) if (self.path / CONFIG).is_file() else None

    @property
    def lock(self) -> FileLock:
        """The lock of the process that trains the run."""
        return FileLock(self.path.parent / search.LOCKS / f"{self.path.name}.lock")

    @property
    def failure(self) -> str | None:
        """Why the run could not be trained, or None."""
        path = self.path / FAILURE
        if self.parent is not None and self.run is None and (reason := self.parent.failure):
            return f"Its parent failed: {reason}"
        return str(read_json(path)) if path.exists() else None

    @property
    def is_pruned(self) -> bool:
        """Whether the search has stopped the run's trial."""
        return self.pruning is not None and self.pruning.mark.exists()

    @property
    def state(self) -> str:
        """How far the run is: waiting, training, stopped, finished, failed or pruned."""
        run, lock = self.run, self.lock
        if self.failure is not None:
            return "failed"
        if run is not None and run.result is not None:
            return "finished"
        if self.is_pruned:
            return "pruned"
        try:
            if Path(lock.lock_file).exists():
                lock.acquire(timeout=0).lock.release()
        except Timeout:
            return "training"
        return "waiting" if run is None else "stopped"


@dataclass(frozen=True)
class Study:
    """A study file and the trainings that it asks for."""

    name: str
    file: StudyFile
    cells: tuple[Cell, ...]  # by variant, by seed, by fold; of a search, those decided by now
    levels: Mapping[str, Mapping[str, Any]]  # by variant: its values in the grid or the search
    scores: Mapping[str, float]  # by finished trial of a search: its validation accuracy
    trials: OptunaTrials | None = None  # of a search by Optuna

    @property
    def best(self) -> str | None:
        """The trial of a search with the highest validation accuracy; of equal ones, the first."""
        return max(self.scores, key=self.scores.__getitem__, default=None)

    @property
    def unfinished(self) -> list[str]:
        """The variants that are not finished; of a search, the trials that come next."""
        cells = (cell for cell in self.cells if cell.state not in DONE)
        return list(dict.fromkeys(cell.variant for cell in cells))

    def select(self, variants: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Cell]:
        """Return the cells of some variants and seeds (all, if none is named), parents first."""
        for name in variants:
            choose(self.levels, name, "variant")
        for seed in seeds:
            choose(dict.fromkeys(map(str, self.file.seeds)), str(seed), "seed")
        names, numbers = variants or self.levels, seeds or self.file.seeds
        chosen = [c for c in self.cells if c.variant in names and c.config.seed in numbers]
        parents = [cell.parent for cell in chosen if cell.parent is not None]
        return list({cell.path: cell for cell in (*parents, *chosen)}.values())


def read_study(path: Path, folder: Path) -> Study:
    """Read a study file; the `folder` of its runs need not exist. Raises ConfigError."""
    return make_study(path.stem, build(StudyFile, read_toml(path, "study")), folder)


def make_study(name: str, file: StudyFile, folder: Path) -> Study:
    """Return the study that a file's contents describe; see `read_study`."""
    table = "grid" if file.search is None else "search.dimensions"
    axes = _flatten(file.grid if file.search is None else file.search.dimensions)
    if by_optuna := file.search is not None and file.search.strategy in search.SAMPLERS:
        axes = {n: Range.read(n, v) if isinstance(v, dict) else v for n, v in axes.items()}
    lists = {"seeds": list(file.seeds)} | {f"{table}.{name}": v for name, v in axes.items()}
    for setting, values in lists.items():
        if isinstance(values, dict) and file.search is not None:
            names = " or ".join(search.SAMPLERS)
            raise ConfigError(f"{setting} is a range, which needs the strategy {names}.")
        if isinstance(values, Range):
            search.distribution(setting, values)
        elif not isinstance(values, list) or len(set(map(str, values))) < max(len(values), 1):
            raise ConfigError(f"{setting} must be a list of different values, got {values!r}.")
    endings = Counter(setting.rpartition(".")[2] for setting in axes)
    short = {s: end if endings[end := s.rpartition(".")[2]] == 1 else s for s in axes}
    cells: list[Cell] = []
    levels: dict[str, dict[str, Any]] = {}
    scores: dict[str, float] = {}

    def add(words: list[str], own: str, settings: Mapping[str, Any]) -> str:
        variant = ", ".join(words) or "base"
        levels[variant] = {"variant": own} if len(file.variants) > 1 else {}
        levels[variant] |= {short[setting]: settings[setting] for setting in axes}
        for seed in file.seeds:
            cells.extend(_cells(variant, {**_flatten(file.base), **settings}, seed, file, folder))
        return variant

    def describe(point: Mapping[str, Any]) -> list[str]:
        return [f"{short[setting]}={format_setting(value)}" for setting, value in point.items()]

    def score(point: Point) -> float:
        named = {n: v for n, v in point.items() if trials is not None or v != axes[n][0]}
        number, first = len(levels), len(cells)
        variant = add([f"{number + 1}: {', '.join(describe(named)) or 'start'}"], "", point)
        if trials is not None and trials.search.prune:
            pruning = Pruning(trials, number, cells[first].path)
            cells[first:] = [replace(cell, pruning=pruning) for cell in cells[first:]]
        accuracy = _validation_accuracy([cell for cell in cells if cell.variant == variant])
        if accuracy >= 0:
            scores[variant] = accuracy
        return accuracy

    trials = None
    if file.search is not None:
        _check_search(file, file.search, axes)
        wanted = file.search.model_copy(update={"dimensions": axes})
        if by_optuna:
            tables: Any = dict.fromkeys(("base", "parents", "seeds"), True)
            tables["search"] = {"strategy", "seed", "dimensions"}
            decisive = file.model_dump_json(include=tables)
            digest = hashlib.blake2b(decisive.encode(), digest_size=6).hexdigest()
            trials = OptunaTrials(wanted, folder, f"{name}-{digest}")
            for point in trials.points:
                score(point)
        else:
            search.run_trials(wanted, score)
    else:
        named = (file.variants or {"": {}}).items()
        for (own, settings), values in itertools.product(named, itertools.product(*axes.values())):
            point = dict(zip(axes, values, strict=True))
            add([own] * bool(own) + describe(point), own, {**_flatten(settings), **point})
    for variant in (*file.published, *itertools.chain(*file.pairs)):
        choose(levels, variant, "variant")
    if any(first == second for first, second in file.pairs):
        raise ConfigError("pairs must each name two different variants.")
    return Study(name, file, tuple(cells), levels, scores, trials)


def _check_search(file: StudyFile, wanted: Search, axes: Mapping[str, Any]) -> None:
    choose({**search.STRATEGIES, **search.SAMPLERS}, wanted.strategy, "search.strategy")
    if wanted.prune and wanted.strategy not in search.SAMPLERS:
        raise ConfigError(f"search.prune needs the strategy {' or '.join(search.SAMPLERS)}.")
    if file.grid or file.variants:
        raise ConfigError("Cannot combine [search] with grid or variants. Leave one of them out.")
    if wrong := {"data", "classes", "split", "val", "folds"} & {*axes}:
        raise ConfigError(f"{min(wrong)} would change the validation images: it is no dimension.")
    ends = {s: [v.low, v.high] for s, v in axes.items() if isinstance(v, Range)}
    lists = {**axes, **{s: [*map(search.round_number, values)] for s, values in ends.items()}}
    start = _flatten(file.base) | {setting: values[0] for setting, values in lists.items()}
    for setting, values in lists.items():  # a search that has begun must not end at a wrong value
        for value in values:
            _cells("", {**start, setting: value}, file.seeds[0], file, Path())


def _validation_accuracy(cells: Sequence[Cell]) -> float:
    """Return the mean over the runs of a trial, -1 if one failed, NaN if one is not finished."""
    if any(cell.failure for cell in cells):
        return -1.0
    results = [cell.run.result if cell.run else None for cell in cells]
    parts = [result.get("val", {}) for result in results if result]
    if not all(parts):
        raise ConfigError("A search chooses by validation images. Hold out some: raise val.")
    if len(parts) < len(cells):
        return math.nan
    # Validation parts are equally large, and sums of counts are exact: equal means stay equal.
    return float(sum(part["hits"] for part in parts) / sum(part["total"] for part in parts))


def _flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Write the model's options as settings of their own, `model_options.NAME`."""
    options = settings.get(OPTIONS, {})
    if not isinstance(options, dict):
        raise ConfigError(f"{OPTIONS} must be a table, got {options!r}.")
    tables = {name: {name: value} for name, value in settings.items()}
    tables[OPTIONS] = {f"{OPTIONS}.{name}": value for name, value in options.items()}
    return {name: value for table in tables.values() for name, value in table.items()}


def _cells(
    name: str, flat: Mapping[str, Any], seed: int, file: StudyFile, folder: Path
) -> list[Cell]:
    """Return the cell of a variant and a seed, or those of all its folds."""
    if "seed" in flat:
        raise ConfigError("seed must be in the list 'seeds', not in the settings.")
    options = {k.partition(".")[2]: v for k, v in flat.items() if k.startswith(OPTIONS)}
    settings = {k: v for k, v in flat.items() if not k.startswith(OPTIONS)}
    settings |= {OPTIONS: options, "seed": seed}
    init, parent = str(settings.get("init", "")), None
    if init.startswith(PARENT):
        own = choose(file.parents, init.removeprefix(PARENT), "init's parent")
        if "folds" in own or str(own.get("init", "")).startswith(PARENT):
            raise ConfigError(f"{init} must be one run, without folds, from scratch or from a run.")
        (parent,) = _cells(init, _flatten(own), seed, file, folder)
        settings["init"] = str(parent.path)
    first = build(TrainConfig, settings)
    folds = range(first.folds) if first.folds and "fold" not in settings else [first.fold]
    cells = []
    for fold in folds:
        config = first.model_copy(update={"fold": fold})
        decisive = config.model_dump(exclude_defaults=True, exclude={"curve"})
        if parent is not None:
            decisive["init"] = parent.path.name
        elif transfer.PIN in config.init:  # the same content is the same start
            decisive["init"] = config.init.partition(transfer.PIN)[2]
        if digest := file_digest(config.model):
            decisive["network"] = digest
        text = json.dumps(decisive, sort_keys=True)
        key = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
        cells.append(Cell(name, config, folder / key, parent))
    return cells


def next_cells(
    read: Callable[[], Study],
    variants: Sequence[str] = (),
    seeds: Sequence[int] = (),
    slots: int = 1,
    running: Container[Path] = (),
) -> list[Cell]:
    """Return the runs to train next, none if all are done; of a search those of the next trials.

    A search by Optuna has as many trials as are needed to begin `slots` runs now, besides those
    that are `running`.
    """
    study = read()
    trials = study.trials
    if trials is None or variants or seeds:
        return [cell for cell in study.select(variants, seeds) if cell.state not in DONE]
    with trials.lock:
        while True:
            study = read()
            for number in trials.running:
                variant = [*study.levels][number]
                states = {cell.state for cell in study.cells if cell.variant == variant}
                if variant in study.scores:
                    trials.tell(number, study.scores[variant])
                elif states & {"failed", "pruned"}:
                    trials.tell(number, 0.0 if "failed" in states else None)
            cells = [cell for cell in study.select() if cell.state not in DONE]
            free = [c for c in cells if c.state != "training" and c.path not in running]
            if len(free) >= slots or len(study.levels) >= trials.search.trials:
                return free or cells
            trials.ask()


def run_cells(
    cells: Sequence[Cell],
    device: Device,
    start: Start = lambda cell, remaining: lambda record: None,
    progress: Progress = no_progress,
    images: Mapping[str, ImageSet] | None = None,
) -> None:
    """Train every run that is not finished, and wait for runs that other processes train."""
    remaining = list(cells)
    while remaining:
        before = len(remaining)
        for cell in tuple(remaining):
            if run_cell(cell, device, partial(start, cell, len(remaining)), progress, images):
                remaining.remove(cell)
        if len(remaining) == before:
            time.sleep(POLL_SECONDS)


def run_cell(
    cell: Cell,
    device: Device,
    start: Callable[[], Watch],
    progress: Progress,
    images: Mapping[str, ImageSet] | None = None,
) -> bool:
    """Train a run to its end; return False while another process trains it or its parent.

    `images` are those of `load_images`, if they are loaded.
    """
    if cell.state in DONE:
        return True
    if cell.parent is not None and cell.parent.state != "finished":
        return False
    try:
        lock = cell.lock.acquire(timeout=0)
    except Timeout:
        return False
    with lock:  # an unfinished run whose lock is free was left by a process that ended
        run = cell.run
        if cell.failure is not None or (run is not None and run.result is not None):
            return True
        watch, classes, data = start(), None if run is None else run.classes, None
        if images is not None:
            data = split_images(cell.config, images, classes)
        begin = partial(train, cell.config, cell.path) if run is None else partial(resume, run)
        try:
            begin(device, lambda record: watch(record) or cell.is_pruned, progress, data)
        except Stopped:
            if not cell.is_pruned:
                raise Stopped(STOPPED.format(cell.path.parent)) from None
        except NetworkError as error:
            write_atomic(cell.path / FAILURE, json.dumps(str(error)) + "\n")
    return True


def collect(study: Study) -> list[Variant]:
    """Return the variants of a study; a seed counts once all of its folds are finished.

    A trial of a search counts once all of its runs are.
    """
    variants = []
    for name, levels in study.levels.items():
        cells = [cell for cell in study.cells if cell.variant == name]
        failed = tuple((c.config.seed, str(c.failure)) for c in cells if c.state == "failed")
        done = [(c.config.seed, c.run) for c in cells if c.state == "finished" and c.run]
        missing = sum(cell.state not in DONE for cell in cells)
        seeds, size = Counter(seed for seed, _ in done), len(cells) // len(study.file.seeds)
        if study.file.search and len(done) < len(cells):
            done = []
        runs = tuple(run for seed, run in done if seeds[seed] == size)  # with all folds
        published = study.file.published.get(name, {})
        variants.append(Variant(name, runs, failed, missing, published, levels))
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

    Trains every fold for `repeats` seeds, and writes the pooled predictions to
    `folder/out-of-fold.npz`: log_probs (R, N, K), labels (N,), classes (K,), source and, where they
    are known, files and writers (N,). Raises RunError if a fold diverged.
    """
    if config.folds is None or repeats < 1:
        raise ConfigError(f"repeats must be at least 1, and folds 2, got {repeats} repeats.")
    if (folder / CONFIG).is_file():
        check_free(folder)
    for run in find_runs(folder):
        if (source := run.config.data) != config.data:
            raise RunError(f"{folder} has runs of {source}. Choose another name with -o.")
    settings = config.model_dump(exclude={"seed", "fold"}, exclude_unset=True)
    seeds = tuple(range(config.seed, config.seed + repeats))
    study = make_study("cross-validation", StudyFile(base=settings, seeds=seeds), folder)
    run_cells(study.cells, device, start, progress)
    (variant,) = collect(study)
    for seed, reason in variant.failed:
        raise RunError(f"A fold of seed {seed} failed: {reason}")
    comparison = compare_runs([replace(variant, name=config.model)])
    classes = variant.runs[0].classes
    whole = load_data(config, classes, progress).whole
    if whole is None or whole.fingerprint != variant.runs[0].env["data"]["whole"]:
        raise RunError(f"{config.data} has changed since {folder} was trained. Train it again.")
    log_probs = np.zeros((repeats, len(whole), len(classes)), np.float32)
    for run in variant.runs:
        predictions, repeat = run.predictions(), run.config.seed - config.seed
        log_probs[repeat, predictions["test_rows"]] = predictions["test_log_probs"]
    arrays: dict[str, Any] = {"log_probs": log_probs, "labels": whole.labels, "classes": classes}
    arrays |= {"source": config.data, "files": whole.files, "writers": whole.writers}
    arrays["seen"] = comparison.variants.seen[0]
    with atomic_path(folder / OUT_OF_FOLD) as temporary, temporary.open("wb") as file:
        np.savez(file, **{name: value for name, value in arrays.items() if value is not None})
    return comparison
