"""Train one network on one source, and keep it as a run."""

import platform
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from siglum import stats
from siglum.config import Preprocess, TrainConfig
from siglum.errors import ConfigError, RunError
from siglum.images import ink, sources, splits
from siglum.images.cache import Progress as LoadProgress
from siglum.images.cache import no_progress
from siglum.images.decode import as_text
from siglum.images.imageset import ImageSet
from siglum.images.splits import Indices, writers_of
from siglum.lab import models, pretrained, transfer
from siglum.lab.device import Device, processor
from siglum.lab.folds import folds, known_writers
from siglum.lab.optim import build_optimizer
from siglum.lab.runs import Run
from siglum.lab.training import (
    Epoch,
    Sampler,
    StepProgress,
    TrainState,
    check,
    default_epochs,
    derive_seed,
    evaluate,
    fit,
)

SAVE_SECONDS = 60.0  # between two states kept within an epoch

Watch = Callable[[StepProgress | Epoch], bool | None]  # returns True to stop after saving


@dataclass(frozen=True)
class Data:
    """The pictures of a run, split."""

    train: ImageSet
    val: ImageSet | None
    test: ImageSet | None
    whole: ImageSet | None = None  # the source, where the test pictures are a fold of it
    fold: Indices | None = None  # and where in it they lie


class Stopped(Exception):
    """The watcher asked to stop; the run can go on from where it is."""


def load_data(
    config: TrainConfig,
    classes: tuple[str, ...] | None = None,
    progress: LoadProgress = no_progress,
) -> Data:
    """Load and split the pictures that `config` names.

    Args:
        classes: the class order of an existing run; by default that of the training pictures.

    Raises:
        ConfigError, DataError: if there are no such pictures, or fewer than two classes.
    """
    preprocess = config.preprocess()

    def load(source: str, part: str) -> ImageSet:
        return sources.load(
            source,
            part,
            preprocess,
            rename=config.rename,
            classes=config.classes,
            writers=config.writers,
            progress=progress,
        )

    parts = sources.parts(config.data)
    whole = load(config.data, "all" if "all" in parts else "train")
    if classes is not None:
        whole = whole.with_classes(classes)
    if len(whole.classes) < 2:
        raise ConfigError(
            f"data must have at least 2 classes to train on, got {len(whole.classes)} "
            f"({whole.classes[0]}). Add a folder for each further class."
        )
    single = [name for name, count in zip(whole.classes, whole.counts, strict=True) if count == 1]
    if single and config.val > 0 and config.split == "stratified":
        warnings.warn(
            f"{config.data}: {len(single)} classes have one picture, used to train and never to "
            f"validate: {', '.join(single[:5])}",
            stacklevel=2,
        )
    fold, rest = None, whole
    by_writer = config.split == "writer"
    if config.folds is not None:
        kept, fold = folds(whole, config.folds, config.seed, by_writer)[config.fold]
        rest = whole.subset(kept)
    if by_writer:
        kept, held = splits.by_writer(known_writers(rest), config.val, config.seed)
    else:
        kept, held = splits.stratified(rest.labels, config.val, config.seed)
    train, val = (rest.subset(kept), rest.subset(held)) if len(held) else (rest, None)
    if "val" in parts and config.val > 0 and fold is None:  # the data have their own part
        train, val = rest, load(config.data, "val").with_classes(whole.classes)
    if config.samples_per_class is not None:
        drawn = splits.per_class(train.labels, config.samples_per_class, config.seed, train.classes)
        train = train.subset(drawn)
    test = None
    if fold is not None:
        test = whole.subset(fold)
    elif config.test is not None:
        test_parts = sources.parts(config.test)
        test = load(config.test, "test" if "test" in test_parts else test_parts[0])
    elif "test" in parts:
        test = load(config.data, "test")
    return Data(
        train=train,
        val=val,
        test=None if test is None else test.with_classes(whole.classes),
        whole=None if fold is None else whole,
        fold=fold,
    )


def train(
    config: TrainConfig,
    path: Path,
    machine: Device,
    watch: Watch = lambda _: None,
    progress: LoadProgress = no_progress,
    data: Data | None = None,
    sampler: Sampler | None = None,
) -> Run:
    """Train as `config` says and keep the run at `path`, a folder that does not exist yet.

    Args:
        watch: called with what `fit` yields, after it is on disk; may return True to stop.
        data: images to use instead of those that `config` names.
        sampler: which training images an epoch shows; see `fit`.

    Raises:
        ConfigError, DataError, RunError: if a setting, the data or the place does not serve.
        DivergedError: if the loss is no number any more; the run stays, unfinished.
        Stopped: if the watcher asked for it; the run stays, and `resume` goes on with it.
    """
    if path.exists():
        raise RunError(
            f"{path} must not exist yet; a run is never overwritten. "
            f"Choose another name with -o, or go on with: siglum train --resume {path}"
        )
    if pretrained.is_file(config.init):
        config = config.model_copy(update={"init": pretrained.pinned(config.init)})
    data = data or load_data(config, progress=progress)
    size = len(sampler(0)) if sampler else len(data.train)
    config = config.model_copy(update={"epochs": config.epochs or default_epochs(size)})
    if "batch_size" not in config.model_fields_set:
        config = config.model_copy(update={"batch_size": min(config.batch_size, size)})
    check(config, size)
    preprocess = config.preprocess(*_moments(data, config))
    if preprocess.resize != "glyph" and preprocess.polarity == "light":
        preprocess = preprocess.model_copy(update={"margins": ink.margins(data.train)})
    state, start = _fresh_state(config, preprocess, data, machine)
    env = {**_environment(machine, data), "init": asdict(start) if start else None}
    run = Run.create(path, config, preprocess, data.train.classes, env)
    return _go_on(run, state, config, preprocess, data, machine, watch, sampler)


def resume(
    run: Run,
    machine: Device,
    watch: Watch = lambda _: None,
    progress: LoadProgress = no_progress,
    data: Data | None = None,
    sampler: Sampler | None = None,
) -> Run:
    """Go on with an unfinished run, to the same bits on the same machine, versions and threads.

    Raises:
        RunError: if the run is finished, or its pictures are not what they were.
    """
    if run.result is not None:
        raise RunError(f"{run.path} must be unfinished to be resumed, and it is finished.")
    config, preprocess, env = run.config, run.preprocess, run.env
    data = data or load_data(config, run.classes, progress)
    for part, now in _fingerprints(data).items():
        if env["data"][part] != now:
            raise RunError(
                f"{run.path} must be resumed with the pictures it began with; the {part} part of "
                f"{config.data} has changed. Train a new run."
            )
    then = Device(**env["device"])
    if machine != then or env["versions"] != _versions():
        warnings.warn(
            f"{run.path} began on {then} with {env['versions']}, and goes on on {machine}: "
            "the outcome may differ in the last bits",
            stacklevel=2,
        )
    state, start = _fresh_state(config, preprocess, data, machine)
    if start is not None and start.sha256 != env["init"]["sha256"]:
        raise RunError(
            f"{run.path} must be resumed with the weights it began with; those of {start.run} have "
            "changed. Train a new run."
        )
    run.load_state(state)
    return _go_on(run, state, config, preprocess, data, machine, watch, sampler)


def _fresh_state(
    config: TrainConfig, preprocess: Preprocess, data: Data, machine: Device
) -> tuple[TrainState, transfer.InitInfo | None]:
    torch.manual_seed(derive_seed(config.seed, "weights", 0))
    model = models.build(
        config.model,
        len(data.train.classes),
        preprocess.planes,
        preprocess.size,
        config.model_options,
    )
    start = None
    if config.init == transfer.SCRATCH:
        if config.shuffle_init:
            raise ConfigError(
                "shuffle_init must have weights to shuffle. Give --init RUN or --init file:FILE."
            )
    else:
        start = transfer.load_pretrained(
            model,
            data.train.classes,
            config.init,
            seed=config.seed,
            shuffle=config.shuffle_init,
        )
    transfer.freeze(model, config.freeze)
    model = machine.to(model)
    return TrainState(model, build_optimizer(model, config)), start


def _go_on(
    run: Run,
    state: TrainState,
    config: TrainConfig,
    preprocess: Preprocess,
    data: Data,
    machine: Device,
    watch: Watch,
    sampler: Sampler | None,
) -> Run:
    best, lowest = _best(state.epochs), _lowest(state.epochs)
    saved = state.seconds
    for record in fit(state, data.train, data.val, config, preprocess, machine, sampler):
        if isinstance(record, Epoch):
            if _best(state.epochs) != best:
                best = _best(state.epochs)
                run.save_weights("best", state.model)
            if _lowest(state.epochs) != lowest:
                lowest = _lowest(state.epochs)
                run.save_weights("lowest_loss", state.model)
            run.save_weights("last", state.model)
            run.save_state(state)
            run.append(record)
            saved = state.seconds
        elif state.seconds - saved > SAVE_SECONDS:
            run.save_state(state)
            saved = state.seconds
        if watch(record):
            run.save_state(state)
            raise Stopped
    run.finish(*_outcome(run, state, best, preprocess, data, machine))
    return run


def _best(epochs: list[Epoch]) -> int:
    """Return the index of the best epoch: highest validation accuracy, then lowest loss.

    Without validation pictures it is the last.
    """
    if not epochs:
        return 0
    if epochs[-1].val_accuracy is None:
        return epochs[-1].index
    return max(epochs, key=lambda e: (e.val_accuracy or 0.0, -(e.val_loss or 0.0))).index


def _lowest(epochs: list[Epoch]) -> int:
    """Return the index of the epoch with the lowest training loss, the first of equal ones."""
    return min(epochs, key=lambda epoch: epoch.train_loss).index if epochs else 0


def _outcome(
    run: Run,
    state: TrainState,
    best: int,
    preprocess: Preprocess,
    data: Data,
    machine: Device,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Measure the weights that the run stands for on the validation and test pictures."""
    model = machine.to(run.model())
    measured: dict[str, Any] = {}
    predictions: dict[str, NDArray[Any]] = {}
    for part, pictures in (("val", data.val), ("test", data.test)):
        if pictures is None:
            continue
        log_probs = evaluate(model, pictures, preprocess, machine)
        right = int((log_probs.argmax(axis=1) == pictures.labels).sum())
        loss = stats.negative_log_likelihood(log_probs, pictures.labels)
        measured[part] = {**asdict(stats.wilson(right, len(pictures))), "loss": loss}
        predictions |= {f"{part}_log_probs": log_probs, f"{part}_labels": pictures.labels}
        if (writers := writers_of(pictures)) is not None:
            predictions[f"{part}_writers"] = np.array(writers)
    if data.fold is not None:
        predictions["test_rows"] = data.fold
    result = {
        "parameters": models.count_parameters(model),
        "trained": models.count_parameters(state.model),
        "epochs": len(state.epochs),
        "best_epoch": best,
        "lowest_loss_epoch": _lowest(state.epochs),
        "seconds": state.seconds,
        "finished": _now(),
        **measured,
    }
    return result, predictions


def _moments(data: Data, config: TrainConfig) -> tuple[float, float]:
    if config.mean is not None and config.std is not None:
        return config.mean, config.std
    mean, std = data.train.moments(config.channels)
    return mean, std or 1.0


def _fingerprints(data: Data) -> dict[str, str | None]:
    parts = {"train": data.train, "val": data.val, "test": data.test}
    return {name: part.fingerprint if part else None for name, part in parts.items()}


def _of_the_whole(data: Data) -> dict[str, str]:
    """Return the fingerprint of what the folds are cut from, by which runs of all folds agree."""
    return {} if data.whole is None else {"whole": data.whole.fingerprint}


def _environment(machine: Device, data: Data) -> dict[str, Any]:
    return {
        "started": _now(),
        "command": as_text(shlex.join(["siglum", *sys.argv[1:]])),
        "commit": _commit(),
        "versions": _versions(),
        "device": asdict(machine),
        "processor": processor(),
        "platform": platform.platform(),
        "data": _fingerprints(data) | _of_the_whole(data),
        "counts": {
            name: 0 if part is None else len(part)
            for name, part in (("train", data.train), ("val", data.val), ("test", data.test))
        },
    }


def _versions() -> dict[str, str]:
    packages = ("siglum", "torch", "numpy", "pillow")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _commit() -> str | None:
    """Return the commit that this code stands at, where it is a checkout."""
    here = Path(__file__).resolve().parents[3]
    if not (here / ".git").exists():
        return None
    try:
        out = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True
        )
    except OSError:
        return None
    return out.stdout.strip() or None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
