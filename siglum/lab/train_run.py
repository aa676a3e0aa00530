"""Train a network on a source, or import one, and save it as a run; predict a run's own images.

Shapes: N images, K classes.
"""

import platform
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from siglum import stats
from siglum.config import InputSettings, Preprocess, TrainConfig, build
from siglum.errors import (
    ConfigError,
    DataError,
    RunError,
    SiglumError,
    Stopped,
    choose,
    closest_match,
    require_extra,
)
from siglum.files import sha256
from siglum.images import ink, sources, splits
from siglum.images.cache import Progress, no_progress
from siglum.images.decode import as_text
from siglum.images.imageset import ImageSet
from siglum.lab import distributed, models, training_loop, transfer
from siglum.lab.augment import AUGMENTATIONS
from siglum.lab.device import Device, choose_device, cpu_info
from siglum.lab.models.layers import synchronise
from siglum.lab.run_folder import CHECKPOINTS, CONFIG, STATE, Run, check_free, load_weights
from siglum.lab.training_loop import Data, Epoch, StepProgress, TrainState

PARTS = {"train": "training", "val": "validation", "test": "test"}
STEP_SETTINGS = (  # which a network that is fitted at once ignores
    *("epochs", "batch_size", "optimizer", "lr", "momentum", "weight_decay", "schedule"),
    *("label_smoothing", "augment", "checkpoint", "curve", "init", "freeze", "average"),
)
IMAGE_SETTINGS = {
    *("data", "test", "rename", "classes", "writers", "folds", "val"),
    *InputSettings.model_fields,
}
SAVE_SECONDS = 60.0  # between two states kept within an epoch
NO_DATA = "none"  # the source of a run without images
INPUT: dict[str, Any] = {"mean": 0.1307, "std": 0.3081}  # of PyTorch's MNIST example
IMAGENET_INPUT = {"size": 224, "channels": 3, "resize": "stretch", "polarity": "keep"}
IMAGENET_INPUT |= {"mean": 0.449, "std": 0.226}  # over the three colours

Watch = Callable[[StepProgress | Epoch], bool | None]  # returns True to stop after saving


def load_data(
    config: TrainConfig, classes: tuple[str, ...] | None = None, progress: Progress = no_progress
) -> Data:
    """Load and split the images that `config` names; `classes` are those of an existing run."""
    return split_images(config, load_images(config, progress), classes)


def load_images(config: TrainConfig, progress: Progress = no_progress) -> dict[str, ImageSet]:
    """Load the images that `config` names: `whole`, to split, and `val` and `test` of their own.

    They depend on the settings in IMAGE_SETTINGS alone.
    """
    options = config.model_dump(include={"rename", "classes", "writers"})
    options |= {"preprocess": config.preprocess(), "progress": progress}
    load: Callable[..., ImageSet] = partial(sources.load, **options)
    parts, images = sources.parts(config.data), {"whole": load(config.data)}
    if config.test is not None:
        images["test"] = load(config.test, sources.test_part(config.test))
    elif config.folds is None and "test" in parts:
        images["test"] = load(config.data, "test")
    if config.folds is None and "val" in parts and config.val > 0:
        images["val"] = load(config.data, "val")
    return images


def load_same_data(run: Run, progress: Progress = no_progress) -> Data:
    """Load a run's images again; raises DataError if a part has changed since the training."""
    config, recorded = run.config, run.env["data"]
    data = load_data(config, run.classes, progress)
    for part, images in data.parts.items():
        fingerprint = images.fingerprint if images else None
        if fingerprint != recorded.get(part) and (recorded.get(part) or not run.imported):
            source = (part == "test" and config.test) or config.data
            raise DataError(f"No images: the {part} part of {source} changed after training.")
    return data


def split_images(
    config: TrainConfig, images: Mapping[str, ImageSet], classes: tuple[str, ...] | None = None
) -> Data:
    """Split loaded images; `classes` are those of an existing run."""
    whole = images["whole"]
    whole = whole.with_classes(classes or whole.classes)  # its labels are a copy that torch may use
    if len(whole.classes) < 2:
        actual = f"{len(whole.classes)} ({whole.classes[0]}). Add a folder for each further class."
        raise ConfigError(f"data must have at least 2 classes to train on, got {actual}")
    by_writer = config.split == "writer"
    if by_writer and whole.writers is None:
        remedy = r"whose group is the writer in a file name, such as --writers='-(\d+)\.'."
        raise ConfigError(f"A split by writer needs the writers. Give a pattern {remedy}")
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
        problem = f"folds must be at most the {limit} {unit} in {images.source}, got {count}."
        remedy = "Use fewer folds, leave the class out, or use --split stratified."
        raise ConfigError(f"{problem} {remedy}")
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
    data = load_same_data(run, progress)
    for name in names:
        images = data.parts[name]
        if images is not None:
            device = device or choose_device(precision="float32")
            model = device.to(run.model(checkpoint))
            log_probs = training_loop.evaluate(model, images, run.preprocess, device)
            return name, log_probs, images.labels
    missing = " and no ".join(PARTS[name] for name in names)
    remedy = "Give a source of other images, or use --part train."
    raise ConfigError(f"{run.path} has no {missing} images. {remedy}")


def count_trained(
    run: Run, parts: Mapping[str, ImageSet | None], config: TrainConfig, progress: Progress
) -> dict[str, int | None]:
    """Count the images, preprocessed as `config` says, that a run or its parents learned from.

    Where none is found, and images of theirs or a parent are gone or changed, the count is None.
    """
    inputs = {name: getattr(config, name) for name in InputSettings.model_fields}
    hashes, unknown, learner = set[int](), False, run
    while not learner.imported:
        try:
            data = load_same_data(learner, progress)
            same = learner.config.model_copy(update=inputs)
            if same != learner.config:
                data = load_data(same, learner.classes, progress)
            hashes |= {*_hashes(data.train)}
        except SiglumError:
            unknown = True
        parent, init = transfer.parent(learner), learner.config.init
        if parent is None:
            unknown |= init not in transfer.NO_RUNS and not init.startswith(transfer.FILE)
            break
        learner = parent
    counts = {p: sum(h in hashes for h in _hashes(i)) for p, i in parts.items() if i}
    return {part: count or (None if unknown else 0) for part, count in counts.items()}


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
    if config.test is not None and sources.own_part(config.test, config.data) == "":
        problem = f"test must name other images than data, and {config.test} has no test part."
        raise ConfigError(f"{problem} Leave test out: val holds out a share of the images.")
    if config.model in models.FITTED:
        config = _without_steps(config)
    with distributed.connect(device.device):
        data = data or load_data(config, progress=progress)
        if config.curve and data.test is None:
            raise ConfigError("curve test needs test images. Name a source of them with --test.")
        size, batch_size = len(data.rows(config.seed, 0)), config.batch_size
        if batch_size > size and "batch_size" in config.model_fields_set:
            rule = f"batch_size must be at most the {size} training images"
            raise ConfigError(f"{rule}, got {batch_size}.")
        for name in config.augment:  # before there is a folder
            choose(AUGMENTATIONS, name, "augment")
        changes = {"epochs": config.epochs or training_loop.default_epochs(size)}
        config = config.model_copy(update={**changes, "batch_size": min(batch_size, size)})
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
        remedy = f"siglum train SOURCE --init {run.path} -o NEW"
        raise RunError(f"{run.path} is finished. To train it for more epochs: {remedy}")
    config, env, parent = run.config, run.env, transfer.parent(run)
    if parent:  # the study may have been moved
        config = config.model_copy(update={"init": str(parent.path)})
    with distributed.connect(device.device):
        data = data or load_data(config, run.classes, progress)
        now = environment(device, data.parts, data.whole)
        if now["device"] != env["device"] or now["versions"] != env["versions"]:
            before, later = (f"{e['device']} with {e['versions']}" for e in (env, now))
            problem = f"{run.path} began on {before} and resumes on {later}"
            warnings.warn(f"{problem}: results may differ in the last bits.", stacklevel=2)
        state, init = _fresh_state(config, run.preprocess, data, device)
        changed = None
        if now["data"] != env["data"]:
            changed = f"the images of {config.data}"
        elif init is not None and init["sha256"] != (env["init"] or {}).get("sha256"):
            changed = f"the initial weights, {init['run']},"
        elif models.file_digest(config.model) != env.get("network_sha256"):
            changed = f"the file of {config.model}"
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
    config, counters, saved = run.config, state.counters, state.counters.seconds
    names = ("last",) if config.model in models.FITTED else (*CHECKPOINTS,)
    writes = distributed.rank() == 0
    try:
        for record in training_loop.fit(state, data, config, run.preprocess, device):
            ends_epoch = isinstance(record, Epoch)
            if writes and ends_epoch:
                for name in names:
                    if _checkpoint_epochs(counters.epochs)[name] == len(counters.epochs):
                        run.save_checkpoint(name, state.result)
            if writes and (ends_epoch or counters.seconds - saved > SAVE_SECONDS):
                run.save_state(state)
                saved = counters.seconds
            if distributed.total([writes and bool(watch(record))], device.device)[0]:
                if not writes:
                    raise Stopped
                run.save_state(state)
                raise Stopped(f"Stopped. Resume with: siglum train --resume {run.path}")
        if writes:
            _finish(run, state, data, device)
    except Exception as error:
        if ".py:" in config.model and not isinstance(error, SiglumError | Stopped):
            raise models.failed(config.model, "training it", error) from error
        raise
    return run


def _checkpoint_epochs(epochs: list[Epoch]) -> dict[str, int]:
    """Return the epoch of each checkpoint: best is the highest accuracy, then the lowest loss."""
    lowest, best = min(epochs, key=lambda epoch: epoch.train_loss), epochs[-1]
    if best.val_loss is not None:
        best = max(epochs, key=lambda epoch: (epoch.val_accuracy or 0.0, -(epoch.val_loss or 0.0)))
    return {"best": best.index, "lowest_loss": lowest.index, "last": epochs[-1].index}


def _finish(run: Run, state: TrainState, data: Data, device: Device) -> None:
    """Measure the run's checkpoint on the validation and test images, and write the result."""
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
    }
    run.finish(result | measured, predictions)


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
    packages = {name: version(name) for name in ("siglum", "torch", "numpy", "pillow")}
    return {"python": platform.python_version(), **packages}


def timestamp() -> str:
    """Return the time of day in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def import_network(
    network: str,
    weights: Path,
    path: Path,
    device: Device,
    source: str | None,
    settings: Mapping[str, Any],
    progress: Progress,
) -> Run:
    """Write a network that was trained elsewhere as a run at `path`, measured on `source`.

    `network` is "file.py:Class", whose code runs, or the name of one of torchvision's. `settings`
    are those of `TrainConfig` for the input and the network's options. Without a source, the
    classes are ImageNet's, or the numbers of the outputs.
    """
    check_free(path)
    if not weights.is_file():
        raise ConfigError(f"No such file: {weights}.")
    tensors, digest = transfer.read_tensors(weights), sha256(weights)
    init = f"{transfer.FILE}{weights}{transfer.PIN}{digest}"
    config = configure(network, source, {**settings, "init": init})
    preprocess = config.preprocess()
    load = partial(sources.load, rename=config.rename, progress=progress)
    test = load(source, sources.test_part(source), preprocess) if source else None
    result: dict[str, Any] = {"imported": True, "trained": 0, "epochs": 0, "best_epoch": 0}
    predictions: dict[str, NDArray[Any]] = {}
    with redirect_stdout(sys.stderr):  # the network may print
        model = models.build_for(config, preprocess, len(test.classes) if test else None)
        reason, remedy = f"{weights} does not fit {config.model}", "Use the class that saved them."
        load_weights(model, tensors, reason, remedy)
        classes = test.classes if test else _class_names(config.model, model.eval(), preprocess)
        if test:
            try:
                log_probs = training_loop.evaluate(device.to(model), test, preprocess, device)
                if len(log_probs) != len(test):
                    raise ValueError("it must return a row for every image")
            except (Exception, SystemExit) as error:  # the code may be the user's own
                raise models.failed(config.model, f"on {len(test):,} images", error) from error
            result["test"], predictions = measure("test", test, log_probs)
    result |= {"parameters": sum(p.numel() for p in model.parameters()), "seconds": 0.0}
    env = environment(device, {"train": None, "val": None, "test": test})
    env["init"] = {"run": str(weights), "sha256": digest, "seconds": None, "examples": None}
    env["init"] |= {"adopted_numbers": sum(t.numel() for t in tensors.values()), "reset_numbers": 0}
    env["network_sha256"] = models.file_digest(config.model)
    run = Run.create(path, config, preprocess, classes, env)
    run.save_checkpoint("last", model)
    run.finish({**result, "finished": timestamp()}, predictions)
    return run


def configure(network: str, source: str | None, settings: Mapping[str, Any]) -> TrainConfig:
    """Return the settings of a run of a network: its full name, its input and its images."""
    file, suffix, class_name = network.rpartition(".py")
    if suffix:
        path = Path(file + suffix).expanduser().resolve()
        name = f"{path}{class_name}" if class_name else models.find_class(path)
    else:
        from torchvision import models as torchvision_models  # takes a second to import

        names = torchvision_models.list_models(module=torchvision_models)
        name = models.TORCHVISION + network
        if network not in names:
            rule = "Name file.py:Class, or a network of torchvision."
            raise ConfigError(f"No network {network!r}. {rule}{closest_match(network, names)}")
    common = {"model": name, "data": source or NO_DATA, "val": 0}
    if source and "test" not in sources.parts(source):
        common["test"] = source
    return build(TrainConfig, {**common, **(INPUT if suffix else IMAGENET_INPUT), **settings})


def _class_names(name: str, model: nn.Module, preprocess: Preprocess) -> tuple[str, ...]:
    with torch.no_grad():
        zeros = torch.zeros(2, preprocess.planes, preprocess.size, preprocess.size)
        num_classes = model(zeros).shape[1]
    if name.startswith(models.TORCHVISION) and num_classes == 1000:
        from torchvision.models import get_model_weights

        weights = get_model_weights(name.removeprefix(models.TORCHVISION)).DEFAULT
        return tuple(weights.meta["categories"])
    return tuple(map(str, range(num_classes)))


def tensorboard_writer(folder: Path, watch: Watch = lambda _: None) -> Watch:
    """Return a `watch` of `train` that writes each epoch to an event file in `folder`.

    Values are plotted over the number of images shown since the start. `watch` is called with
    every record, too. Raises MissingExtra if TensorBoard is not installed.
    """
    with require_extra("Logging to TensorBoard", "tensorboard"):
        from torch.utils.tensorboard import SummaryWriter

    open_writer = cache(lambda: SummaryWriter(folder))

    def write(record: StepProgress | Epoch) -> bool | None:
        if isinstance(record, Epoch):
            writer = open_writer()  # not earlier: a run's folder must be new
            for point in record.curve:
                writer.add_scalar("loss/train", point.loss, point.examples)
                writer.add_scalar("accuracy/train", point.accuracy, point.examples)
            for part in ("val", "test"):
                for name in ("loss", "accuracy"):
                    if (value := getattr(record, f"{part}_{name}")) is not None:
                        writer.add_scalar(f"{name}/{part}", value, record.examples)
            writer.flush()
        return watch(record)

    return write
