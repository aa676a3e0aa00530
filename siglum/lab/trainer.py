"""Train a network on a source and save it as a run; predict a run's own images."""

import platform
import shlex
import shutil
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
from siglum.errors import ConfigError, RunError, SiglumError
from siglum.images import ink, sources, splits
from siglum.images.cache import Progress as LoadProgress
from siglum.images.cache import no_progress
from siglum.images.decode import as_text
from siglum.images.imageset import ImageSet
from siglum.images.splits import Indices
from siglum.lab import models, transfer
from siglum.lab.device import Device, choose_device, processor
from siglum.lab.optim import build_optimizer
from siglum.lab.runs import Run, check_free
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

PART_NAMES = {"train": "training images", "val": "validation images", "test": "test images"}
SAVE_SECONDS = 60.0  # between two states kept within an epoch

Watch = Callable[[StepProgress | Epoch], bool | None]  # returns True to stop after saving


@dataclass(frozen=True)
class Data:
    """The images of a run, split."""

    train: ImageSet
    val: ImageSet | None
    test: ImageSet | None
    whole: ImageSet | None = None  # the source, if the test images are a fold of it
    fold: Indices | None = None  # rows of the test images in it


class Stopped(Exception):
    """Training was stopped on request; the run can be resumed."""


def load_data(
    config: TrainConfig,
    classes: tuple[str, ...] | None = None,
    progress: LoadProgress = no_progress,
) -> Data:
    """Load and split the images that `config` names.

    Args:
        classes: the class order of an existing run; by default that of the training images.

    Raises:
        ConfigError, DataError: if there are no such images, or fewer than two classes.
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
    if by_writer and whole.writers is None:
        raise ConfigError(
            "A split by writer needs the writers. Give a pattern whose group is the writer in a "
            r"file name, such as --writers='-(\d+)\.'."
        )
    if config.folds is not None:
        kept, fold = folds(whole, config.folds, config.seed, by_writer)[config.fold]
        rest = whole.subset(kept)
    if by_writer:
        kept, held = splits.by_writer(rest.writers or (), config.val, config.seed)
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


def folds(
    images: ImageSet, count: int, seed: int, by_writer: bool = False
) -> list[tuple[Indices, Indices]]:
    """Split a set into folds, stratified by class, or of whole writers.

    Returns the indices to train on and to test on of each fold, ascending.

    Raises:
        ConfigError: if a class has fewer images than there are folds, or there are fewer writers.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    smallest = int(images.counts.argmin())
    limit, unit = int(images.counts[smallest]), f"images of class {images.classes[smallest]!r}"
    remedy, splitter, groups = "leave the class out", StratifiedKFold, None
    if by_writer:
        people, groups = np.unique(np.array(images.writers), return_inverse=True)
        limit, unit, remedy = len(people), "writers", "use --split stratified"
        splitter = StratifiedGroupKFold
    if limit < count:
        raise ConfigError(
            f"folds must be at most the {limit} {unit} in {images.source}, got {count}. Use fewer "
            f"folds, or {remedy}."
        )
    splits = splitter(count, shuffle=True, random_state=seed).split(
        np.zeros(len(images)), images.labels, groups
    )
    return [(np.sort(train), np.sort(test)) for train, test in splits]


@dataclass(frozen=True)
class PartPredictions:
    """A run's predictions for one part of its own images."""

    part: str  # train, val or test
    log_probs: NDArray[np.floating]  # (N, K)
    labels: NDArray[np.integer]  # (N,)


def predict_part(
    run: Run,
    part: str | None = None,
    checkpoint: str | None = None,
    device: Device | None = None,
    progress: LoadProgress = no_progress,
) -> PartPredictions:
    """Predict a part of a run's own images: by default test, else validation.

    Uses the predictions that a finished run stored, so its images may be gone.

    Raises:
        ConfigError: if the run does not have that part.
    """
    if part not in (None, *PART_NAMES):
        raise ConfigError(f"part must be train, val or test, got {part!r}.")
    own_checkpoint = checkpoint in (None, run.config.checkpoint)
    if run.result is not None and own_checkpoint and part != "train":
        arrays = run.predictions()
        available = [name for name in ("test", "val") if f"{name}_labels" in arrays]
        if available and (part is None or part in available):
            part = part or available[0]
            return PartPredictions(part, arrays[f"{part}_log_probs"], arrays[f"{part}_labels"])
        available.append("train")
    else:
        data = load_data(run.config, run.classes, progress)
        parts = {"test": data.test, "val": data.val, "train": data.train}
        available = [name for name, images in parts.items() if images is not None]
        if part in available or (part is None and available[0] != "train"):
            part = part or available[0]
            images = parts[part]
            assert images is not None
            device = device or choose_device(precision="float32")
            log_probs = evaluate(device.to(run.model(checkpoint)), images, run.preprocess, device)
            return PartPredictions(part, log_probs, images.labels)
    if part is None:
        raise ConfigError(
            f"{run.path} has no test and no validation images. Give a source of other images, or "
            "measure on the training images: --part train."
        )
    raise ConfigError(f"{run.path} has no {PART_NAMES[part]}; it has: {', '.join(available)}.")


def train(
    config: TrainConfig,
    path: Path,
    device: Device,
    watch: Watch = lambda _: None,
    progress: LoadProgress = no_progress,
    data: Data | None = None,
    sampler: Sampler | None = None,
) -> Run:
    """Train with `config` and write the run to `path`, a new folder.

    Args:
        watch: called with what `fit` yields, after it is on disk; may return True to stop.
        data: images to use instead of those that `config` names.
        sampler: which training images an epoch shows; see `fit`.

    Raises:
        ConfigError, DataError, RunError: if a setting, the data or `path` cannot be used.
        DivergedError: if the loss becomes NaN or infinite; the run remains, unfinished.
        Stopped: if `watch` requested it; the run remains and can be resumed.
    """
    check_free(path)
    if transfer.is_file(config.init):
        config = config.model_copy(update={"init": transfer.pin(config.init)})
    data = data or load_data(config, progress=progress)
    size = len(sampler(0)) if sampler else len(data.train)
    changes: dict[str, Any] = {"epochs": config.epochs or default_epochs(size)}
    if "batch_size" not in config.model_fields_set:  # only a value of the user's own is refused
        changes["batch_size"] = min(config.batch_size, size)
    config = config.model_copy(update=changes)
    check(config, size)
    preprocess = config.preprocess(*_moments(data, config))
    if preprocess.resize != "glyph" and preprocess.polarity == "light":
        preprocess = preprocess.model_copy(update={"margins": ink.margins(data.train)})
    state, init = _fresh_state(config, preprocess, data, device)
    env = {**_environment(device, data), "init": asdict(init) if init else None}
    run = Run.create(path, config, preprocess, data.train.classes, env)
    try:
        return _fit_and_save(run, state, data, device, watch, sampler)
    except Stopped:
        raise
    except Exception as error:
        if state.step == 0:  # nothing to resume, and the name stays free
            shutil.rmtree(path, ignore_errors=True)
            if ".py:" in config.model and not isinstance(error, SiglumError):
                raise models.failed(config.model, "training it", error) from error
        raise


def resume(
    run: Run,
    device: Device,
    watch: Watch = lambda _: None,
    progress: LoadProgress = no_progress,
    data: Data | None = None,
    sampler: Sampler | None = None,
) -> Run:
    """Resume an unfinished run: bit-identical on the same machine, versions and threads.

    Raises:
        RunError: if the run is finished, or its images or initial weights have changed.
    """
    if run.result is not None:
        raise RunError(
            f"{run.path} is finished. To train it for more epochs: "
            f"siglum train SOURCE --init {run.path} -o NEW"
        )
    config, preprocess, env = run.config, run.preprocess, run.env
    data = data or load_data(config, run.classes, progress)
    for part, now in _fingerprints(data).items():
        if env["data"].get(part) != now:
            raise RunError(
                f"Cannot resume {run.path}: the {part} part of {config.data} has changed. "
                "Train a new run."
            )
    before = {**asdict(device), **env["device"]}
    if asdict(device) != before or env["versions"] != _versions():
        warnings.warn(
            f"{run.path} began on {before} with {env['versions']} and resumes on "
            f"{asdict(device)}: results may differ in the last bits.",
            stacklevel=2,
        )
    state, init = _fresh_state(config, preprocess, data, device)
    if init is not None and init.sha256 != (env["init"] or {}).get("sha256"):
        raise RunError(
            f"Cannot resume {run.path}: the initial weights, {init.run}, have changed. "
            "Train a new run."
        )
    run.load_state(state)
    return _fit_and_save(run, state, data, device, watch, sampler)


def _fresh_state(
    config: TrainConfig, preprocess: Preprocess, data: Data, device: Device
) -> tuple[TrainState, transfer.InitInfo | None]:
    torch.manual_seed(derive_seed(config.seed, "weights", 0))
    model = models.build(
        config.model,
        len(data.train.classes),
        preprocess.planes,
        preprocess.size,
        config.model_options,
    )
    init = None
    if config.init != transfer.SCRATCH:
        shuffle_seed = config.seed if config.shuffle_init else None
        init = transfer.load_pretrained(
            model, data.train.classes, config.init, shuffle_seed=shuffle_seed
        )
    elif config.shuffle_init:
        raise ConfigError("shuffle_init needs initial weights. Use --init RUN or --init file:FILE.")
    transfer.freeze(model, config.freeze)
    model = device.to(model)
    return TrainState(model, build_optimizer(model, config)), init


def _fit_and_save(
    run: Run, state: TrainState, data: Data, device: Device, watch: Watch, sampler: Sampler | None
) -> Run:
    config, preprocess = run.config, run.preprocess
    saved = state.seconds
    for record in fit(state, data.train, data.val, config, preprocess, device, sampler):
        if isinstance(record, Epoch):
            if _best_epoch(state.epochs) == record.index:
                run.save_checkpoint("best", state.model)
            if _lowest_loss_epoch(state.epochs) == record.index:
                run.save_checkpoint("lowest_loss", state.model)
            run.save_checkpoint("last", state.model)
            run.save_state(state)
            run.append(record)
            saved = state.seconds
        elif state.seconds - saved > SAVE_SECONDS:
            run.save_state(state)
            saved = state.seconds
        if watch(record):
            run.save_state(state)
            raise Stopped
    run.finish(*_measure(run, state, data, device))
    return run


def _best_epoch(epochs: list[Epoch]) -> int:
    """Return the index of the epoch with the highest validation accuracy, then lowest loss."""
    if epochs[-1].val_accuracy is None:
        return epochs[-1].index
    return max(epochs, key=lambda e: (e.val_accuracy or 0.0, -(e.val_loss or 0.0))).index


def _lowest_loss_epoch(epochs: list[Epoch]) -> int:
    return min(epochs, key=lambda epoch: epoch.train_loss).index


def _measure(
    run: Run, state: TrainState, data: Data, device: Device
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Evaluate the run's checkpoint on the validation and test images."""
    model = device.to(run.model())
    measured: dict[str, Any] = {}
    predictions: dict[str, NDArray[Any]] = {}
    for part, images in (("val", data.val), ("test", data.test)):
        if images is None:
            continue
        log_probs = evaluate(model, images, run.preprocess, device)
        correct = int((log_probs.argmax(axis=1) == images.labels).sum())
        loss = stats.negative_log_likelihood(log_probs, images.labels)
        measured[part] = {**asdict(stats.wilson(correct, len(images))), "loss": loss}
        predictions |= {f"{part}_log_probs": log_probs, f"{part}_labels": images.labels}
        if images.writers is not None:
            predictions[f"{part}_writers"] = np.array(images.writers)
    if data.fold is not None:
        predictions["test_rows"] = data.fold
    result = {
        "parameters": models.count_parameters(model),
        "trained": models.count_parameters(state.model),
        "epochs": len(state.epochs),
        "best_epoch": _best_epoch(state.epochs),
        "lowest_loss_epoch": _lowest_loss_epoch(state.epochs),
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


def _environment(device: Device, data: Data) -> dict[str, Any]:
    # The whole set's fingerprint is equal for the runs of all folds.
    whole = {} if data.whole is None else {"whole": data.whole.fingerprint}
    parts = {"train": data.train, "val": data.val, "test": data.test}
    return {
        "started": _now(),
        "command": as_text(shlex.join(["siglum", *sys.argv[1:]])),
        "commit": _commit(),
        "versions": _versions(),
        "device": asdict(device),
        "processor": processor(),
        "platform": platform.platform(),
        "data": _fingerprints(data) | whole,
        "counts": {name: 0 if part is None else len(part) for name, part in parts.items()},
    }


def _versions() -> dict[str, str]:
    packages = ("siglum", "torch", "numpy", "pillow")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _commit() -> str | None:
    """Return the commit of the code, if it is a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True
        )
    except OSError:
        return None
    return done.stdout.strip() or None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
