"""Train a network on a source and save it as a run; predict a run's own images."""

import platform
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from siglum import stats
from siglum.config import InputSettings, Preprocess, TrainConfig
from siglum.errors import ConfigError, RunError, SiglumError, choose
from siglum.images import ink, sources, splits
from siglum.images.cache import Progress, no_progress
from siglum.images.decode import as_text
from siglum.images.imageset import ImageSet
from siglum.lab import distributed, models, training_loop, transfer
from siglum.lab.augment import AUGMENTATIONS
from siglum.lab.device import Device, choose_device, cpu_info
from siglum.lab.models.layers import synchronise
from siglum.lab.run_folder import CHECKPOINTS, CONFIG, STATE, Run, check_free
from siglum.lab.training_loop import Data, Epoch, StepProgress, TrainState

PARTS = {"train": "training", "val": "validation", "test": "test"}
STEP_SETTINGS = (  # which a network that is fitted at once ignores
    *("epochs", "batch_size", "optimizer", "lr", "momentum", "weight_decay", "schedule"),
    *("label_smoothing", "augment", "checkpoint", "init", "freeze", "average"),
)
IMAGE_SETTINGS = {
    *("data", "test", "rename", "classes", "writers", "folds", "val"),
    *InputSettings.model_fields,
}
SAVE_SECONDS = 60.0  # between two states kept within an epoch

Watch = Callable[[StepProgress | Epoch], bool | None]  # returns True to stop after saving


class Stopped(Exception):
    """Training was stopped on request; the run can be resumed."""


def load_data(
    config: TrainConfig,
    classes: tuple[str, ...] | None = None,
    progress: Progress = no_progress,
) -> Data:
    """Load and split the images that `config` names; `classes` are those of an existing run."""
    return split_images(config, load_images(config, progress), classes)


def load_images(config: TrainConfig, progress: Progress = no_progress) -> dict[str, ImageSet]:
    """Load the images that `config` names: `whole`, to split, and `val` and `test` of their own.

    They depend on the settings in IMAGE_SETTINGS alone.
    """
    load = partial(
        sources.load,
        preprocess=config.preprocess(),
        rename=config.rename,
        classes=config.classes,
        writers=config.writers,
        progress=progress,
    )
    parts = sources.parts(config.data)
    images = {"whole": load(config.data, "all" if "all" in parts else "train")}
    if config.folds is None and config.test is not None:
        test_parts = sources.parts(config.test)
        images["test"] = load(config.test, "test" if "test" in test_parts else test_parts[0])
    elif config.folds is None and "test" in parts:
        images["test"] = load(config.data, "test")
    if config.folds is None and "val" in parts and config.val > 0:
        images["val"] = load(config.data, "val")
    return images


def split_images(
    config: TrainConfig, images: Mapping[str, ImageSet], classes: tuple[str, ...] | None = None
) -> Data:
    """Split loaded images; `classes` are those of an existing run."""
    whole = images["whole"]
    whole = whole.with_classes(classes or whole.classes)  # its labels are a copy that torch may use
    if len(whole.classes) < 2:
        raise ConfigError(
            f"data must have at least 2 classes to train on, got {len(whole.classes)} "
            f"({whole.classes[0]}). Add a folder for each further class."
        )
    by_writer = config.split == "writer"
    if by_writer and whole.writers is None:
        raise ConfigError(
            "A split by writer needs the writers. Give a pattern whose group is the writer in a "
            r"file name, such as --writers='-(\d+)\.'."
        )
    fold, train, val, test = None, whole, None, images.get("test")
    if config.folds is not None:
        train_rows, fold = folds(whole, config.folds, config.seed, by_writer)[config.fold]
        train, test = whole.subset(train_rows), whole.subset(fold)
    if "val" in images:  # the data have their own part
        val = images["val"].with_classes(whole.classes)
    else:
        if by_writer:
            train_rows, val_rows = splits.by_writer(train.writers or (), config.val, config.seed)
        else:
            train_rows, val_rows = splits.stratified(train.labels, config.val, config.seed)
        if len(val_rows):
            train, val = train.subset(train_rows), train.subset(val_rows)
    if config.samples_per_class is not None:
        count = config.samples_per_class
        train = train.subset(splits.per_class(train.labels, count, config.seed, train.classes))
    if test is not None:
        test = test.with_classes(whole.classes)
    return Data(train, val, test, None if fold is None else whole, fold)


def folds(
    images: ImageSet, count: int, seed: int, by_writer: bool = False
) -> list[tuple[splits.Indices, splits.Indices]]:
    """Return the rows to train on and to test on of each fold: by class, or of whole writers."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    limit, unit = int(images.counts.min()), "images of the smallest class"
    splitter, groups = StratifiedKFold, None
    if by_writer:
        people, groups = np.unique(np.array(images.writers), return_inverse=True)
        limit, unit, splitter = len(people), "writers", StratifiedGroupKFold
    if limit < count:
        raise ConfigError(
            f"folds must be at most the {limit} {unit} in {images.source}, got {count}. Use fewer "
            "folds, leave the class out, or use --split stratified."
        )
    folder = splitter(count, shuffle=True, random_state=seed)
    return list(folder.split(np.zeros(len(images)), images.labels, groups))


def predict_part(
    run: Run,
    part: str | None = None,
    checkpoint: str | None = None,
    device: Device | None = None,
    progress: Progress = no_progress,
) -> tuple[str, NDArray[np.floating], NDArray[np.integer]]:
    """Return a part of a run's own images, log-probabilities (N, K) and labels (N,).

    The part is by default test, else val. A finished run has stored its predictions, so its images
    may be gone. Raises ConfigError if the run does not have that part.
    """
    if part is not None:
        choose(PARTS, part, "part")
    names = ("test", "val") if part is None else (part,)
    if run.result is not None and checkpoint in (None, run.config.checkpoint):
        stored = run.predictions()
        for name in names:
            if f"{name}_labels" in stored:
                return name, stored[f"{name}_log_probs"], stored[f"{name}_labels"]
    data = load_data(run.config, run.classes, progress)
    for name in names:
        images = data.parts[name]
        if images is not None:
            device = device or choose_device(precision="float32")
            model = device.to(run.model(checkpoint))
            log_probs = training_loop.evaluate(model, images, run.preprocess, device)
            return name, log_probs, images.labels
    missing = " and no ".join(PARTS[name] for name in names)
    raise ConfigError(
        f"{run.path} has no {missing} images. Give a source of other images, or use --part train."
    )


def count_trained(
    run: Run, parts: Mapping[str, ImageSet | None], config: TrainConfig, progress: Progress
) -> dict[str, int]:
    """Count the images, preprocessed as `config` says, that a run or its parents learned from."""
    inputs = {name: getattr(config, name) for name in InputSettings.model_fields}
    hashes: set[int] = set()
    while not run.imported:
        with suppress(SiglumError):
            same = run.config.model_copy(update=inputs)
            hashes |= {*_hashes(load_data(same, run.classes, progress).train)}
        if not (Path(run.config.init) / CONFIG).is_file():
            break
        run = Run(run.config.init)
    return {
        part: sum(h in hashes for h in _hashes(images)) for part, images in parts.items() if images
    }


def _hashes(images: ImageSet) -> list[int]:
    return [hash(image.tobytes()) for chunk in images.chunks() for image in chunk]


def train(
    config: TrainConfig,
    path: Path,
    device: Device,
    watch: Watch = lambda _: None,
    progress: Progress = no_progress,
    data: Data | None = None,
) -> Run:
    """Train with `config` and write the run to `path`, a new folder.

    `watch` is called with each record of `fit`, after it is on disk; if it returns True, Stopped is
    raised. `data` replaces the images that `config` names. Of several processes, only process 0
    writes and calls `watch`, and each must see `path`.
    """
    check_free(path)
    if config.model in models.FITTED:
        config = _without_steps(config)
    with distributed.connect(device.device):
        data = data or load_data(config, progress=progress)
        if config.curve and data.test is None:
            raise ConfigError("curve test needs test images. Name a source of them with --test.")
        size = len(data.rows(config.seed, 0))
        changes: dict[str, Any] = {"epochs": config.epochs or training_loop.default_epochs(size)}
        if "batch_size" not in config.model_fields_set:  # only a value of the user's own is refused
            changes["batch_size"] = min(config.batch_size, size)
        config = config.model_copy(update=changes)
        if config.batch_size > size:
            raise ConfigError(
                f"batch_size must be at most the {size} training images, got {config.batch_size}."
            )
        for name in config.augment:
            choose(AUGMENTATIONS, name, "augment")
        measured = None in (config.mean, config.std)
        mean, std = data.train.moments(config.channels) if measured else (0.0, 1.0)
        preprocess = config.preprocess(mean, std or 1.0)
        if preprocess.resize != "glyph" and preprocess.polarity == "light":
            preprocess = preprocess.model_copy(update={"margins": ink.margins(data.train)})
        state, init = _fresh_state(config, preprocess, data, device)
        if distributed.rank() == 0:
            if init is not None and (Path(init["run"]) / CONFIG).is_file():
                parts = {"val": data.val, "test": data.test}
                init["trained"] = count_trained(Run(config.init), parts, config, progress)
            env = environment(device, data.parts, data.whole) | {"init": init}
            env["network_sha256"] = models.file_digest(config.model)
            Run.create(path, config, preprocess, data.train.classes, env)
        distributed.total([0], device.device)  # the other processes wait for the run
        run = Run(path)
        try:
            return _continue(run, state, data, device, watch)
        except Exception as error:
            useless = state.counters.step == 0 or isinstance(error, models.NetworkError)
            if useless and distributed.rank() == 0 and not (path / STATE).exists():
                shutil.rmtree(path, ignore_errors=True)  # nothing to resume: the name stays free
            raise


def _without_steps(config: TrainConfig) -> TrainConfig:
    """Return the settings of a network that is fitted at once; warn of those that it ignores."""
    usual, names = TrainConfig(model=config.model), config.model_fields_set - {*STEP_SETTINGS}
    ignored = [name for name in STEP_SETTINGS if getattr(config, name) != getattr(usual, name)]
    if ignored:
        text = f"{config.model} is fitted at once: it ignores {', '.join(ignored)}."
        warnings.warn(text, stacklevel=3)
    return TrainConfig(**config.model_dump(include=names))


def resume(
    run: Run,
    device: Device,
    watch: Watch = lambda _: None,
    progress: Progress = no_progress,
    data: Data | None = None,
) -> Run:
    """Resume an unfinished run: bit-identical on the same machine, versions and threads."""
    if run.result is not None:
        raise RunError(
            f"{run.path} is finished. To train it for more epochs: "
            f"siglum train SOURCE --init {run.path} -o NEW"
        )
    config, env = run.config, run.env
    with distributed.connect(device.device):
        data = data or load_data(config, run.classes, progress)
        now = environment(device, data.parts, data.whole)
        if now["device"] != env["device"] or now["versions"] != env["versions"]:
            warnings.warn(
                f"{run.path} began on {env['device']} with {env['versions']} and resumes on "
                f"{now['device']}: results may differ in the last bits.",
                stacklevel=2,
            )
        state, init = _fresh_state(config, run.preprocess, data, device)
        changed = None
        if now["data"] != env["data"]:
            changed = f"the images of {config.data}"
        elif init is not None and init["sha256"] != (env["init"] or {}).get("sha256"):
            changed = f"the initial weights, {init['run']},"
        if changed:
            raise RunError(f"Cannot resume {run.path}: {changed} changed. Train a new run.")
        run.load_state(state)
        return _continue(run, state, data, device, watch)


def _fresh_state(
    config: TrainConfig, preprocess: Preprocess, data: Data, device: Device
) -> tuple[TrainState, dict[str, Any] | None]:
    torch.manual_seed(training_loop.derive_seed(config.seed, "weights", 0))
    classes, init = data.train.classes, None
    model = models.build_for(config, preprocess, len(classes))
    if config.init != transfer.SCRATCH:
        init = transfer.load_pretrained(model, classes, config.init)
    if device.processes > 1:
        synchronise(model)
    transfer.freeze(model, config.freeze)
    model = device.to(model)
    optimizer = training_loop.build_optimizer(model, config)
    return TrainState(model, optimizer, training_loop.build_average(model, config)), init


def _continue(run: Run, state: TrainState, data: Data, device: Device, watch: Watch) -> Run:
    """Train a run from where `state` is to the end."""
    try:
        _fit_and_measure(run, state, data, device, watch)
    except Exception as error:
        if ".py:" in run.config.model and not isinstance(error, SiglumError | Stopped):
            raise models.failed(run.config.model, "training it", error) from error
        raise
    return run


def _fit_and_measure(run: Run, state: TrainState, data: Data, device: Device, watch: Watch) -> None:
    counters, saved = state.counters, state.counters.seconds
    names = ("last",) if run.config.model in models.FITTED else (*CHECKPOINTS,)
    records = training_loop.fit(state, data, run.config, run.preprocess, device)
    if distributed.rank():
        for _ in records:
            if distributed.total([False], device.device)[0]:
                raise Stopped
        return
    for record in records:
        if isinstance(record, Epoch):
            for name, index in _checkpoint_epochs(counters.epochs).items():
                if index == record.index and name in names:
                    run.save_checkpoint(name, state.result)
            run.save_state(state)
            run.write_history(counters.epochs)
            saved = counters.seconds
        elif counters.seconds - saved > SAVE_SECONDS:
            run.save_state(state)
            saved = counters.seconds
        if distributed.total([bool(watch(record))], device.device)[0]:
            run.save_state(state)
            raise Stopped
    run.finish(*_measure(run, state, data, device))


def _checkpoint_epochs(epochs: list[Epoch]) -> dict[str, int]:
    """Return the epoch of each checkpoint: best is the highest accuracy, then the lowest loss."""

    def rank(epoch: Epoch) -> tuple[float, float]:
        if epoch.val_accuracy is None or epoch.val_loss is None:
            return epoch.index, 0.0
        return epoch.val_accuracy, -epoch.val_loss

    lowest = min(epochs, key=lambda epoch: epoch.train_loss)
    best = max(epochs, key=rank)
    return {"best": best.index, "lowest_loss": lowest.index, "last": epochs[-1].index}


def _measure(
    run: Run, state: TrainState, data: Data, device: Device
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Evaluate the run's checkpoint on the validation and test images."""
    model, epochs = device.to(run.model()), state.counters.epochs
    measured: dict[str, Any] = {}
    predictions: dict[str, NDArray[Any]] = {}
    chosen = _checkpoint_epochs(epochs)
    is_last = chosen[run.config.checkpoint] == len(epochs)  # whose validation is at hand
    for part, images in (("val", data.val), ("test", data.test)):
        if images is None:
            continue
        log_probs = state.val_log_probs if part == "val" and is_last else None
        if log_probs is None:
            log_probs = training_loop.evaluate(model, images, run.preprocess, device)
        measured[part], arrays = measure(part, images, log_probs)
        predictions |= arrays
    if data.fold is not None:
        predictions["test_rows"] = data.fold
    result = {
        "parameters": models.count_parameters(model),
        "trained": models.count_parameters(state.model),
        "epochs": len(epochs),
        "best_epoch": chosen["best"],
        "lowest_loss_epoch": chosen["lowest_loss"],
        "seconds": state.counters.seconds,
        "finished": timestamp(),
        **measured,
    }
    return result, predictions


def measure(
    part: str, images: ImageSet, log_probs: NDArray[np.floating]
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return what a run's result and its predictions hold of a part."""
    correct = int((log_probs.argmax(axis=1) == images.labels).sum())
    loss = stats.negative_log_likelihood(log_probs, images.labels)
    arrays = {f"{part}_log_probs": log_probs, f"{part}_labels": images.labels}
    if images.writers is not None:
        arrays[f"{part}_writers"] = np.array(images.writers)
    return {**asdict(stats.wilson(correct, len(images))), "loss": loss}, arrays


def environment(
    device: Device, parts: dict[str, ImageSet | None], whole: ImageSet | None = None
) -> dict[str, Any]:
    """Return when, how, where and with which images a run is written."""
    # The fingerprint of the whole is equal for the runs of all folds.
    named = parts if whole is None else parts | {"whole": whole}
    return {
        "started": timestamp(),
        "command": as_text(shlex.join(["siglum", *sys.argv[1:]])),
        "versions": versions(),
        "device": asdict(device),
        "processor": cpu_info("model name") or "unknown",
        "platform": platform.platform(),
        "data": {name: part.fingerprint if part else None for name, part in named.items()},
        "counts": {name: len(part) if part else 0 for name, part in parts.items()},
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a run's bits."""
    packages = ("siglum", "torch", "numpy", "pillow")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def timestamp() -> str:
    """Return the time of day in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
