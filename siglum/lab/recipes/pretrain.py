"""Train a network on the characters of fonts, so that its features serve for any sign.

A training like others (`train`), with what fonts need decided first: faces are held out whole,
characters that look alike are one class, and the length is given in hours.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siglum.config import TrainConfig, build
from siglum.errors import ConfigError, RunError, nearest
from siglum.images import cache, lookalike, sources
from siglum.images.cache import Progress as LoadProgress
from siglum.images.cache import no_progress
from siglum.images.imageset import ImageSet
from siglum.images.lookalike import Alike
from siglum.images.origins import Origin, origins
from siglum.lab import models
from siglum.lab.device import Machine
from siglum.lab.optimizer import make_optimizer
from siglum.lab.recipes.train import Data, Watch, load_data, train
from siglum.lab.runs import Run
from siglum.lab.training import Epoch, TrainState, fit

# What a backbone is trained with unless told otherwise, on top of its network's own recipe.
DEFAULTS: dict[str, Any] = {
    "model": "sign_net",
    "fit": "glyph",
    "split": "writer",
    "val": 0.03,
    "val_most": 2000,
    "epoch_size": 100_000,
    "balance": 0.5,
}
HOURS = 1.0
TIMED = 20  # steps by which the speed is measured
VERSION = 1  # of what decides which characters look alike


def settings(typed: Mapping[str, Any]) -> TrainConfig:
    """Return the settings of a pretraining: what was typed, and `DEFAULTS` for the rest.

    Raises:
        ConfigError: if a setting is wrong, or is none that fonts can be trained with.
    """
    config = build(TrainConfig, {**DEFAULTS, **typed})
    if config.data.partition(":")[0] != "fonts":
        raise ConfigError(f"source must be fonts:DIR to pretrain on, got {config.data!r}.")
    if config.split != "writer":
        raise ConfigError("split must be writer, so that whole faces are held out.")
    if config.fit != "glyph" or config.place:
        raise ConfigError(
            "fit must be glyph, without place, for a backbone to teach on, got "
            f"fit {config.fit!r}{' with place' if config.place else ''}."
        )
    for name in ("only", "test", "folds", "per_class"):
        if getattr(config, name):
            raise ConfigError(
                f"{name} must be left out of a pretraining. Name the characters behind #, as in "
                "fonts:DIR#greek."
            )
    return config


def pretrain(
    config: TrainConfig,
    path: Path,
    machine: Machine,
    hours: float | None = None,
    watch: Watch = lambda _: None,
    progress: LoadProgress = no_progress,
) -> Run:
    """Train as `config` says and keep the run at `path`, a folder that does not exist yet.

    Args:
        config: from `settings`. Where `rename` is empty, characters that look alike are found and
            merged; `prefer` may name folders of faces, too.
        hours: how long the steps are to take, by their speed at the beginning; in place of epochs.
            `HOURS` where neither is given.

    Raises:
        ConfigError, DataError, RunError: as `train`, and if hours are given beside epochs.
    """
    if path.exists():
        raise RunError(
            f"{path} must not exist yet; a run is never overwritten. "
            f"Choose another name with -o, or go on with: siglum train --resume {path}"
        )
    if hours is not None and config.epochs is not None:
        raise ConfigError("hours must be left out where epochs are given, or epochs.")
    if hours is not None and not 0 < hours < math.inf:
        raise ConfigError(f"hours must be above 0, got {hours}.")
    images = sources.load(config.data, "all", config.preprocess(), progress=progress)
    changes: dict[str, Any] = {}
    if config.prefer:
        changes["prefer"] = preferred(images, config.prefer, origins(config.data))
    if not config.rename:
        changes["rename"] = merged(lookalike.groups(alike(images, progress)))
    config = config.model_copy(update=changes)
    if config.epochs is None:
        progress("measuring the speed", 0, 0)
        rate = images_per_second(config, load_data(config, progress=progress), machine)
        config = lasting(config, hours or HOURS, rate)
    return train(config, path, machine, watch, progress)


def alike(images: ImageSet, progress: LoadProgress = no_progress) -> list[Alike]:
    """Return characters that look alike in some face; found once for the same pictures."""
    progress("finding look-alikes", 0, 0)

    def look() -> list[list[Any]]:
        return [[a.one, a.other, a.faces, a.both] for a in lookalike.pairs(images)]

    return [
        Alike(*pair) for pair in cache.load_cached(f"alike {VERSION} {images.fingerprint}", look)
    ]


def merged(groups: list[tuple[str, ...]]) -> dict[str, str]:
    """Return the class of each character that looks like others: all of them in a row."""
    return {character: "".join(group) for group in groups for character in group}


def preferred(
    images: ImageSet, prefer: Mapping[str, float], known: Mapping[str, Origin]
) -> dict[str, float]:
    """Return the factor of each face that `prefer` names itself, or by the folder it lies in.

    Args:
        known: the origin of each face.

    Raises:
        ConfigError: if it names neither.
    """
    faces = dict.fromkeys(images.writers or ())
    kinds = {origin.kind: None for origin in known.values() if origin.kind}
    for name in prefer:
        if name not in kinds and name not in faces:
            raise ConfigError(
                f"prefer must name folders of faces ({', '.join(sorted(kinds)) or 'none here'}) or "
                f"faces, got {name!r}.{nearest(name, {**kinds, **faces})}"
            )
    factors = {face: prefer.get(face, prefer.get(known[face].kind)) for face in faces}
    return {face: factor for face, factor in factors.items() if factor is not None}


def images_per_second(config: TrainConfig, data: Data, machine: Machine) -> float:
    """Measure how many pictures a second are learned from, on a network that is thrown away."""
    size = TIMED * config.batch_size
    short = config.model_copy(update={"epochs": 2, "epoch_size": size})  # the first warms up
    preprocess = config.preprocess()
    classes = len(data.train.classes)
    model = machine.place(
        models.build(
            config.model, classes, preprocess.planes, preprocess.size, config.model_options
        )
    )
    state = TrainState(model, make_optimizer(model, config))
    records = fit(state, data.train, None, short, preprocess, machine)
    first, second = (record.seconds for record in records if isinstance(record, Epoch))
    return size / (second - first)


def lasting(config: TrainConfig, hours: float, images_per_second: float) -> TrainConfig:
    """Return settings for as many epochs as fit into some hours, or one that is cut short."""
    pictures = int(hours * 3600 * images_per_second)
    size = min(config.epoch_size or pictures, max(pictures, config.batch_size))
    return config.model_copy(update={"epochs": max(pictures // size, 1), "epoch_size": size})
