"""A study: one question, its arms and seeds in a TOML file, and one run for each.

    question = "Does pretraining help?"
    seeds = [0, 1, 2]
    [base]                # settings of every arm
    [grid]                # setting = [values]: every combination is an arm ...
    [arms.NAME]           # ... and so is every named set of settings, in each combination
    [parents.NAME]        # runs that others begin with: init = "parents.NAME", seed by seed;
                          # these are all their settings, those of the base are not added
    [published.ARM]       # val = 0.779: figures to lay beside ours
    pairs = [["A", "B"]]  # the arms that the question is about: only these are tested

What `init` reads from a file, as "file:NAME", is part of what decides a run: by its SHA-256.
With `folds = 5` in its settings an arm trains 5 runs a seed, each tested on a fold of its own.
A run is named by the hash of what decides its outcome, so that it is trained once, whatever study
asks for it. A lock file a run is held while it trains; the system lets go of it when its process
ends, however it ends.
"""

import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siglum.config import Settings, TrainConfig, build
from siglum.errors import ConfigError, choose, nearest
from siglum.lab import pretrained

MOST_CELLS = 1000  # unless the caller says that more are meant
PARENT = "parents."


@dataclass(frozen=True)
class Cell:
    """One run of a study: an arm with a seed, and a fold where the pictures are cut into folds."""

    arm: str
    seed: int
    config: TrainConfig  # `init` names the parent's folder
    key: str  # the folder's name
    parent: "Cell | None"

    @property
    def name(self) -> str:
        """The arm, the seed and the fold in words."""
        folds = self.config.folds
        fold = f", fold {self.config.fold + 1} of {folds}" if folds else ""
        return f"{self.arm}, seed {self.seed}{fold}"


@dataclass(frozen=True)
class Study:
    """What a study file asks for."""

    name: str
    question: str
    hypotheses: tuple[str, ...]  # written before the runs
    answers: tuple[str, ...]  # to the first of them, written after the runs
    note: str  # what a reader must know
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]  # arm by arm, seed by seed
    published: Mapping[str, Mapping[str, float]]  # by arm, then by train, val or test; fractions
    levels: Mapping[str, Mapping[str, Any]]  # by arm: what it is of the grid, and which named arm
    pairs: tuple[tuple[str, str], ...] = ()  # arms to test against each other; none: as many as fit

    @property
    def arms(self) -> list[str]:
        """The names of the arms, in their order."""
        return list(dict.fromkeys(cell.arm for cell in self.cells))

    def needed(self, arms: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Cell]:
        """Return the runs of some arms and seeds (all, when none is named), parents first."""
        chosen = [
            cell
            for cell in self.cells
            if (not arms or cell.arm in arms) and (not seeds or cell.seed in seeds)
        ]
        parents = [cell.parent for cell in chosen if cell.parent is not None]
        return list({cell.key: cell for cell in (*parents, *chosen)}.values())


class _File(Settings):
    """The keys of a study file."""

    question: str = ""
    hypotheses: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    note: str = ""
    seeds: tuple[int, ...] = (0,)
    base: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies
    grid: dict[str, Any] = {}  # noqa: RUF012
    arms: dict[str, dict[str, Any]] = {}  # noqa: RUF012
    parents: dict[str, dict[str, Any]] = {}  # noqa: RUF012
    published: dict[str, dict[str, float]] = {}  # noqa: RUF012
    pairs: tuple[tuple[str, str], ...] = ()


def read(path: Path, folder: Path, *, many: bool = False) -> Study:
    """Read a study file.

    Args:
        folder: where its runs lie, or will.
        many: allow more than 1,000 runs.

    Raises:
        ConfigError: if the file is no study: the first broken rule; or asks for too many runs.
    """
    try:
        text = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"study must be a TOML file, got {path}: {error}.") from None
    file = build(_File, text)
    if not file.seeds or len(set(file.seeds)) < len(file.seeds):
        raise ConfigError(f"seeds must be different numbers, got {list(file.seeds)} in {path}.")
    grid = _values(file.grid)
    if len(file.answers) > len(file.hypotheses):
        raise ConfigError(
            f"answers must be at most the {len(file.hypotheses)} hypotheses, got "
            f"{len(file.answers)} in {path}."
        )
    count = math.prod(map(len, grid.values())) * max(len(file.arms), 1) * len(file.seeds)
    if count > MOST_CELLS and not many:
        raise ConfigError(
            f"a study must have at most {MOST_CELLS:,} runs unless --yes is given, got {count:,} "
            f"in {path}. Run fewer seeds or values, or give --yes."
        )
    cells, levels = [], {}
    for arm, settings, chosen in _arms(file, grid):
        levels[arm] = chosen
        if "seed" in settings:
            raise ConfigError(
                "seed must stand in the list 'seeds' of a study, not in its settings."
            )
        for seed in file.seeds:
            first = _cell(arm, {**settings, "seed": seed}, file, folder)
            folds = range(1, first.config.folds or 1) if "fold" not in settings else ()
            cells.append(first)
            cells += [
                _cell(arm, {**settings, "seed": seed, "fold": fold}, file, folder) for fold in folds
            ]
    arms = {cell.arm for cell in cells}
    for name, figures in file.published.items():
        if name not in arms:
            raise ConfigError(
                f"published must name arms of the study, got {name!r}.{nearest(name, list(arms))}"
            )
        for part, value in figures.items():
            choose({"train": 0, "val": 0, "test": 0}, part, f"published.{name}")
            if not 0 <= value <= 1:
                raise ConfigError(f"published.{name}.{part} must be in [0, 1], got {value}.")
    for pair in file.pairs:
        for name in pair:
            if name not in arms or len(set(pair)) < 2:
                raise ConfigError(
                    f"pairs must be of two different arms of the study, got {list(pair)}."
                    f"{'' if name in arms else nearest(name, list(arms))}"
                )
    return Study(
        name=path.stem,
        question=file.question,
        hypotheses=file.hypotheses,
        answers=file.answers,
        note=file.note,
        seeds=file.seeds,
        cells=tuple(cells),
        published=file.published,
        levels=levels,
        pairs=file.pairs,
    )


def _values(grid: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the values of every setting; those of `model_options` by `model_options.NAME`."""
    values: dict[str, list[Any]] = {}
    for name, given in grid.items():
        if isinstance(given, dict):
            values |= {f"{name}.{key}": inner for key, inner in given.items()}
        else:
            values[name] = given
    for name, given in values.items():
        if not isinstance(given, list) or not given:
            raise ConfigError(f"grid.{name} must be a list of at least one value, got {given!r}.")
        if len({json.dumps(value) for value in given}) < len(given):
            raise ConfigError(f"grid.{name} must have each value once, got {given!r}.")
    return values


def _arms(
    file: _File, grid: Mapping[str, list[Any]]
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the name, the settings and the levels of each arm."""
    for name, own in (file.arms or {"": {}}).items():
        for combination in itertools.product(*grid.values()):
            chosen = dict(zip(grid, combination, strict=True))
            settings = _merged(file.base, own)
            for key, value in chosen.items():
                first, _, rest = key.partition(".")
                settings = _merged(settings, {first: {rest: value}} if rest else {first: value})
            levels = {key.rpartition(".")[2]: value for key, value in chosen.items()}
            words = [name] * bool(name) + [f"{key}={value}" for key, value in levels.items()]
            if len(file.arms) > 1:
                levels = {"arm": name, **levels}
            yield ", ".join(words) or "base", settings, levels


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return both tables as one; the second goes before, and options are merged singly."""
    merged = {**first, **second}
    if "model_options" in first and "model_options" in second:
        merged["model_options"] = {**first["model_options"], **second["model_options"]}
    return merged


def _cell(arm: str, settings: Mapping[str, Any], file: _File, folder: Path) -> Cell:
    init = str(settings.get("init", ""))
    parent = None
    if init.startswith(PARENT):
        own = choose(file.parents, init.removeprefix(PARENT), "init's parent")
        if str(own.get("init", "")).startswith(PARENT):
            raise ConfigError(f"{init} must begin from scratch or from a run, got {own['init']!r}.")
        parent = _cell(init, {**own, "seed": settings["seed"]}, file, folder)
        settings = {**settings, "init": str(folder / parent.key)}
    elif pretrained.is_file(init):
        settings = {**settings, "init": pretrained.pinned(init)}
    config = build(TrainConfig, settings)
    return Cell(arm, config.seed, config, _key(config, parent), parent)


def _key(config: TrainConfig, parent: Cell | None) -> str:
    """Return a name for what decides the outcome: 12 hexadecimal digits."""
    usual = TrainConfig.model_construct()
    decided = {
        name: value for name, value in config.model_dump().items() if value != getattr(usual, name)
    }
    if parent is not None:
        decided["init"] = parent.key
    elif pretrained.is_file(config.init):  # wherever it lies
        decided["init"] = pretrained.digest_of(config.init)
    text = json.dumps(decided, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
