"""What is compared: arms, each a way to train, with a run for every seed.

An arm's name is made of the settings in which the arms differ, as few of them as tell it apart.
"""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from siglum.config import TrainConfig
from siglum.errors import ConfigError, RunError
from siglum.lab.pooled import Finished
from siglum.lab.runs import Run

MOST = 3  # settings in a name, where fewer than all of those that differ can tell the arms apart


@dataclass(frozen=True)
class Arm:
    """One way to train, and what has come of it so far."""

    name: str
    runs: tuple[Finished, ...]  # each with a seed of its own; of folds, all of a seed as one
    failed: tuple[tuple[int, str], ...] = ()  # seed and reason
    missing: int = 0  # trainings that are not finished yet
    published: Mapping[str, float] = field(default_factory=dict)  # train, val, test; fractions
    levels: Mapping[str, Any] = field(default_factory=dict)  # what it is of a study's grid


def arms_of(runs: Iterable[Run]) -> list[Arm]:
    """Group finished runs whose settings are equal but for the seed, in the order given.

    Raises:
        RunError: if a run is not finished.
        ConfigError: if two runs are the same training.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        check_finished(run)
        settings = run.config.model_dump(exclude={"seed"})
        groups.setdefault(json.dumps(settings, sort_keys=True), []).append(run)
    names = _names([members[0].config for members in groups.values()])
    arms = [
        Arm(name, tuple(sorted(members, key=lambda run: run.config.seed)))
        for name, members in zip(names, groups.values(), strict=True)
    ]
    for arm in arms:
        check_seeds(arm)
    return arms


def check_finished(run: Finished) -> None:
    """Raise RunError unless the run is finished."""
    if run.result is None:
        raise RunError(
            f"{run.path} must be finished to be compared. "
            f"Go on with: siglum train --resume {run.path}"
        )


def check_seeds(arm: Arm) -> None:
    """Raise ConfigError if two runs of an arm have one seed."""
    seen: dict[int, Finished] = {}
    for run in arm.runs:
        seed = run.config.seed
        if seed in seen:
            raise ConfigError(
                f"runs must differ in a setting or in the seed, got {seen[seed].path} and "
                f"{run.path}, both with seed {seed}. Leave one out."
            )
        seen[seed] = run


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings in which any two of the configs differ, the seed left out."""
    return [
        name
        for name in TrainConfig.model_fields
        if name != "seed" and any(config[name] != configs[0][name] for config in configs)
    ]


def say(value: Any) -> str:
    """Write a setting's value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "+".join(map(str, value)) or "none"
    if isinstance(value, Mapping):
        return " ".join(f"{key}={item}" for key, item in value.items()) or "none"
    return "none" if value is None else str(value)


def _names(configs: list[TrainConfig]) -> list[str]:
    """Return a name for each config, unlike all others."""
    if len(configs) < 2:
        return [config.model for config in configs]
    settings = [config.model_dump() for config in configs]
    usual = [TrainConfig(model=config.model).model_dump() for config in configs]
    told = [
        name
        for name in differing(settings)
        # What comes with the model need not be told beside it.
        if name == "model" or any(s[name] != u[name] for s, u in zip(settings, usual, strict=True))
    ]
    told.sort(key=lambda name: name != "model")
    for size in range(1, len(told)):
        if len(told) <= MOST:
            break
        for chosen in itertools.combinations(told, size):
            if _tell_apart(chosen, settings):
                return _written(chosen, settings)
    return _written(tuple(told), settings)


def _tell_apart(names: tuple[str, ...], settings: list[dict[str, Any]]) -> bool:
    return len({tuple(say(s[name]) for name in names) for s in settings}) == len(settings)


def _written(names: tuple[str, ...], settings: list[dict[str, Any]]) -> list[str]:
    columns = []
    for name in names:
        values = [say(s[name]) for s in settings]
        short = [PurePath(value).name or value for value in values]
        if name not in ("data", "test", "init", "model"):
            short = values
        if len(set(short)) < len(set(values)):  # two places that end alike
            short = values
        columns.append([f"{name}={value}" for value in short])
    return [" ".join(parts) for parts in zip(*columns, strict=True)]
