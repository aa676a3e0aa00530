"""Import a network that was trained elsewhere: a run with its weights, input and predictions.

A network is "file.py:Class", whose code runs, or the name of one of torchvision's.
Shapes: N images, K classes.
"""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from siglum.config import Preprocess, TrainConfig, build
from siglum.errors import ConfigError, closest_match
from siglum.files import sha256
from siglum.images import sources
from siglum.images.cache import Progress, no_progress
from siglum.images.imageset import ImageSet
from siglum.lab import models, training_loop, transfer
from siglum.lab.device import Device
from siglum.lab.models import TORCHVISION
from siglum.lab.run_folder import Run, check_free, load_weights
from siglum.lab.train_run import environment, measure, timestamp

NO_DATA = "none"  # the source of a run without images
INPUT: dict[str, Any] = {"mean": 0.1307, "std": 0.3081}  # of PyTorch's MNIST example
IMAGENET_INPUT = {"size": 224, "channels": 3, "resize": "stretch", "polarity": "keep"}
IMAGENET_INPUT |= {"mean": 0.449, "std": 0.226}  # over the three colours


def import_network(
    network: str,
    weights: Path,
    path: Path,
    device: Device,
    source: str | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> Run:
    """Write a network as a run at `path`, measured on the test part of `source`, or on all of it.

    `settings` are those of `TrainConfig` for the input and the network's options. Without a source,
    the classes are ImageNet's, or the numbers of the outputs.
    """
    check_free(path)
    if not weights.is_file():
        raise ConfigError(f"No such file: {weights}.")
    tensors, digest = transfer.read_tensors(weights), sha256(weights)
    init = f"{transfer.FILE}{weights}{transfer.PIN}{digest}"
    config = configure(network, source, {**(settings or {}), "init": init})
    preprocess = config.preprocess()
    test = load_test(source, preprocess, progress, config.rename) if source else None
    result: dict[str, Any] = {"imported": True, "trained": 0, "epochs": 0, "best_epoch": 0}
    predictions: dict[str, NDArray[Any]] = {}
    with contextlib.redirect_stdout(sys.stderr):  # the network may print
        model = models.build_for(config, preprocess, len(test.classes) if test else None)
        reason, remedy = f"{weights} does not fit {config.model}", "Use the class that saved them."
        load_weights(model, tensors, reason, remedy)
        classes = test.classes if test else _class_names(config.model, model.eval(), preprocess)
        if test:
            try:
                log_probs = training_loop.evaluate(device.to(model), test, preprocess, device)
                if len(log_probs) != len(test) or np.isnan(log_probs).any():
                    raise ValueError("it must return a row for every image, without NaN")
            except (Exception, SystemExit) as error:  # the code may be the user's own
                raise models.failed(config.model, f"on {len(test):,} images", error) from error
            result["test"], predictions = measure("test", test, log_probs)
    result |= {"parameters": sum(p.numel() for p in model.parameters()), "seconds": 0.0}
    numbers = sum(tensor.numel() for tensor in tensors.values())
    weights_record = {"run": str(weights), "sha256": digest, "seconds": None, "examples": None}
    sizes = {"adopted_numbers": numbers, "reset_numbers": 0}
    env = environment(device, {"train": None, "val": None, "test": test})
    env |= {"init": weights_record | sizes, "network_sha256": models.file_digest(config.model)}
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
        name = TORCHVISION + network
        if network not in names:
            raise ConfigError(
                f"No network {network!r}. Name file.py:Class, or a network of torchvision."
                f"{closest_match(network, names)}"
            )
    common = {"model": name, "data": source or NO_DATA, "val": 0}
    if source and "test" not in sources.parts(source):
        common["test"] = source
    return build(TrainConfig, {**common, **(INPUT if suffix else IMAGENET_INPUT), **settings})


def load_test(
    source: str,
    preprocess: Preprocess,
    progress: Progress = no_progress,
    rename: Mapping[str, str] | None = None,
) -> ImageSet:
    """Load the test part of a source, or all of it where it has none."""
    parts = sources.parts(source)
    part = "test" if "test" in parts else parts[0]
    return sources.load(source, part, preprocess, rename=rename, progress=progress)


def _class_names(name: str, model: nn.Module, preprocess: Preprocess) -> tuple[str, ...]:
    with torch.no_grad():
        zeros = torch.zeros(2, preprocess.planes, preprocess.size, preprocess.size)
        num_classes = model(zeros).shape[1]
    if name.startswith(TORCHVISION) and num_classes == 1000:
        from torchvision.models import get_model_weights

        weights = get_model_weights(name.removeprefix(TORCHVISION)).DEFAULT
        return tuple(weights.meta["categories"])
    return tuple(map(str, range(num_classes)))
