"""One step, the loop and the evaluation. Touches no disk and prints nothing.

All randomness of a step is derived from the seed and the step's number, so a training resumes
bit-identically from its weights, its optimiser and that number.
Shapes: N images, B in a batch, C channels, S the side, K classes.
"""

import hashlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from siglum import stats
from siglum.config import Preprocess, TrainConfig
from siglum.errors import ConfigError
from siglum.images.imageset import ImageSet
from siglum.images.shards import Shards
from siglum.images.splits import Indices
from siglum.lab import distributed
from siglum.lab.augment import AUGMENTATIONS, Augmentation, augment
from siglum.lab.device import Device
from siglum.lab.models import NetworkError
from siglum.lab.models.layers import Fitted

EVALUATE_VALUES = 1_000_000  # input values per batch in evaluation
POINTS = 20  # of the training curve per epoch
WARMUP = 0.25  # share of a one-cycle schedule
MAX_LOSS = 1e4  # nats per image in evaluation, where a network gives the label no probability
FITTED_IMAGES = 5_000  # training images on which a fitted network is measured
PROGRESS_SECONDS = 0.25  # between two StepProgress records


@dataclass(frozen=True)
class Data:
    """The images of a training, split."""

    train: ImageSet
    val: ImageSet | None = None
    test: ImageSet | None = None
    whole: ImageSet | None = None  # the source, if the test images are a fold of it
    fold: Indices | None = None  # rows of the test images in it
    # Rows of `train` that an epoch shows, as many in every epoch; by default all in random order,
    # of shards a few after the other.
    sampler: Callable[[int], NDArray[np.int64]] | None = None
    augmentations: tuple[Augmentation, ...] = ()  # applied after those of the config
    loss: Callable[..., Tensor] = F.cross_entropy  # of logits (B, K), labels (B,), label_smoothing

    @property
    def parts(self) -> dict[str, ImageSet | None]:
        """The parts by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def rows(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the rows of `train` that an epoch, from 0, shows in this order."""
        if self.sampler is not None:
            return self.sampler(epoch)
        random = np.random.RandomState(derive_seed(seed, "order", epoch))
        if isinstance(self.train.store, Shards):
            return self.train.store.shuffle(self.train.rows, random)
        return random.permutation(len(self.train))


@dataclass(frozen=True)
class Point:
    """A point of the training curve: means over the images since the previous point."""

    examples: int  # images shown since the start
    seconds: float  # of training since the start, without validation
    loss: float  # as minimised, with label smoothing, nats
    accuracy: float  # on augmented images, in [0, 1]


@dataclass(frozen=True)
class Epoch:
    """The metrics of one pass over the training images."""

    index: int  #: 1 for the first
    examples: int  #: images shown since the start
    seconds: float  #: of training since the start, without validation
    train_loss: float  #: mean over the epoch, as minimised, nats
    train_accuracy: float  #: mean over the epoch, on augmented images, in [0, 1]
    val_loss: float | None = None  #: nats, without smoothing; None without validation images
    val_accuracy: float | None = None  #: in [0, 1]
    curve: tuple[Point, ...] = ()
    test_loss: float | None = None  #: with `--curve test`, as `val_loss`; never used to choose
    test_accuracy: float | None = None  #: in [0, 1]


@dataclass(frozen=True)
class StepProgress:
    """The progress of a training, every quarter of a second."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    images_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Batch:
    """The metrics of one batch."""

    images: int
    loss: float  # mean
    correct: int  # predictions
    seconds: float  # of training since the start


@dataclass
class Counters:
    """Everything that a training needs to resume, except tensors; valid JSON with `asdict`."""

    step: int = 0
    seconds: float = 0.0
    batches: list[Batch] = field(default_factory=list)  # since the epoch began
    epochs: list[Epoch] = field(default_factory=list)


@dataclass
class TrainState:
    """A network in training; `fit` changes it."""

    model: nn.Module
    optimizer: Optimizer
    average: AveragedModel | None = None
    counters: Counters = field(default_factory=Counters)
    val_log_probs: NDArray[np.float32] | None = None  # (N, K), of the last epoch

    @property
    def result(self) -> nn.Module:
        """The network to validate and save: the average, or the model itself."""
        return self.model if self.average is None else self.average.module


class DivergedError(NetworkError):
    """The loss became NaN or infinite, or an output NaN."""


def default_epochs(num_images: int) -> int:
    """Return the number of epochs that show about 72,000 images, from 1 to 100."""
    return min(max(round(72_000 / num_images), 1), 100)


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """Return the optimiser that `config` names, over all trainable parameters."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    options: Any = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": True}
    if config.optimizer in ("adam", "adamw"):
        adam = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
        return adam(parameters, **options)
    nesterov = config.optimizer == "nesterov" and config.momentum > 0
    return torch.optim.SGD(parameters, momentum=config.momentum, nesterov=nesterov, **options)


def build_average(model: nn.Module, config: TrainConfig) -> AveragedModel | None:
    """Return the moving average of the weights and the batch statistics, if `config` has one.

    Source: Polyak, Juditsky 1992, "Acceleration of stochastic approximation by averaging", SIAM
    Journal on Control and Optimization 30(4); here exponential.
    """
    if config.average == 0:
        return None

    def update(averages: Any, weights: Any, count: Tensor | int) -> None:
        # The first steps count less than the decay says, or random weights would remain.
        decay = min(config.average, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(decay)(averages, weights, count)  # type: ignore[no-untyped-call]

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def one_cycle(done: float) -> float:
    """Return the factor of the maximum learning rate, when a share `done` of the steps is done.

    Source: Smith, Topin 2017, "Super-convergence", arXiv:1708.07120, with cosine decay.
    """
    if done < WARMUP:
        return done / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP)))


def to_unit(images: NDArray[np.uint8]) -> Tensor:
    """Convert bytes (B, C, S, S) to float32 in [0, 1]."""
    return torch.from_numpy(images).float().div_(255)


def normalise_batch(unit: Tensor, preprocess: Preprocess) -> Tensor:
    """Standardise [0, 1] (B, P, S, S) to the network's input."""
    means, divisors = (torch.tensor(v).view(-1, 1, 1) for v in preprocess.scaling)
    return (unit - means).div_(divisors)


def train_step(
    model: nn.Module,
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    device: Device,
    label_smoothing: float = 0.0,
    loss_function: Callable[..., Tensor] = F.cross_entropy,
    weight: float = 1.0,
) -> tuple[float, int]:
    """Take one optimiser step on images (B, C, S, S), standardised, with labels int64 (B,).

    Returns the mean loss before the step, times `weight`, and the number of correct predictions.
    """
    with device.autocast():
        logits = model(images)
    loss = weight * loss_function(logits.float(), labels, label_smoothing=label_smoothing)
    model.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item(), int((logits.argmax(dim=1) == labels).sum())


def fit(
    state: TrainState, data: Data, config: TrainConfig, preprocess: Preprocess, device: Device
) -> Iterator[StepProgress | Epoch]:
    """Train `state.model` in place, to the end, from the step at which `state` is.

    Yields a `StepProgress` every quarter of a second and an `Epoch` after each pass, always
    between two steps: the caller may save `state` then, or stop iterating. A `Fitted` network is
    fitted in one call, which counts as one epoch. Of several processes, each trains on its part of
    every batch and yields at the same steps; only process 0 validates.
    """
    rank, world = distributed.rank(), device.processes
    if isinstance(state.model, Fitted):
        if world > 1:
            raise ConfigError(f"{config.model} is fitted in one process. Leave out torchrun.")
        if not state.counters.epochs:
            yield _fit_at_once(state, data, config, preprocess, device)
        return
    parts = {} if rank else {"val": data.val, "test": data.test if config.curve else None}
    counters, sampler = state.counters, partial(data.rows, config.seed)
    size = len(sampler(0))
    labels = torch.from_numpy(data.train.labels)
    augmentations = [*(AUGMENTATIONS[name] for name in config.augment), *data.augmentations]
    epochs = config.epochs or default_epochs(size)
    # Of an epoch. A single image would have no batch statistics, so it joins the batch before.
    steps = math.ceil((size - 1) / config.batch_size)
    smallest = min(config.batch_size, size - (steps - 1) * config.batch_size)
    if smallest < world:
        raise ConfigError(
            f"batch_size must give each of {world} processes an image of every batch, got "
            f"{config.batch_size}: a batch of {size} training images has {smallest}."
        )
    network = DistributedDataParallel(state.model) if world > 1 else state.model
    order: NDArray[np.int64] | None = None
    first_step, first_second = counters.step, counters.seconds
    mark = reported = time.perf_counter()
    while counters.step < epochs * steps:
        epoch, batch = divmod(counters.step, steps)
        if order is None or batch == 0:
            state.model.train()
            for module in state.model.modules():
                # Frozen batch normalisations keep their statistics.
                if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                    module.train(module.training and module.weight.requires_grad)
            order = sampler(epoch)
        end = size if batch + 1 == steps else (batch + 1) * config.batch_size
        rows = order[batch * config.batch_size : end]
        device.seed(derive_seed(config.seed, "step", counters.step))
        if config.schedule == "one-cycle":
            for group in state.optimizer.param_groups:
                group["lr"] = config.lr * one_cycle((counters.step + 0.5) / (epochs * steps))
        images = to_unit(data.train.take(rows))
        images = augment(images, augmentations, torch.default_generator, preprocess.channels)
        # Each process augments the whole batch, so that their number changes no image.
        images = images.tensor_split(world)[rank]
        target = labels[torch.from_numpy(rows)].tensor_split(world)[rank]
        if rank:
            device.seed(derive_seed(config.seed, f"step of process {rank}", counters.step))
        loss, correct = train_step(
            network,
            state.optimizer,
            device.to_batch(normalise_batch(images, preprocess)),
            target.to(device.device),
            device,
            config.label_smoothing,
            data.loss,
            weight=len(target) * world / len(rows),  # unequal parts count as their images do
        )
        is_due = time.perf_counter() - reported >= PROGRESS_SECONDS
        sums = distributed.total((loss / world, correct, is_due), device.device)
        loss, correct, is_due = sums[0], int(sums[1]), sums[2] > 0
        if not math.isfinite(loss):
            remedy = f"Try a lower lr than {config.lr}."
            raise DivergedError(f"The loss became {loss} in step {counters.step}. {remedy}")
        if state.average is not None:
            state.average.update_parameters(state.model)
        counters.step += 1
        now = time.perf_counter()
        counters.seconds, mark = counters.seconds + now - mark, now
        counters.batches.append(Batch(len(rows), loss, correct, counters.seconds))
        if batch + 1 == steps:
            yield _end_epoch(state, parts, preprocess, device)
        elif is_due:
            rate = (counters.step - first_step) / (counters.seconds - first_second)  # steps
            remaining = (epochs * steps - counters.step) / rate  # seconds
            means = _means(counters.batches)
            yield StepProgress(epoch + 1, epochs, *means, rate * config.batch_size, remaining)
        else:
            continue
        mark = reported = time.perf_counter()


def _fit_at_once(
    state: TrainState, data: Data, config: TrainConfig, preprocess: Preprocess, device: Device
) -> Epoch:
    from threadpoolctl import threadpool_limits  # of scikit-learn, which other networks do not need

    assert isinstance(state.model, Fitted)
    counters, train, start = state.counters, data.train, time.perf_counter()
    with threadpool_limits(device.threads):
        images = normalise_batch(to_unit(train.images), preprocess)
        state.model.fit(images, torch.from_numpy(train.labels))
    counters.step, counters.seconds = 1, time.perf_counter() - start
    sample = train.subset(data.rows(config.seed, 0)[:FITTED_IMAGES])
    log_probs = evaluate(state.model, sample, preprocess, device)
    loss = stats.negative_log_likelihood(log_probs, sample.labels)
    correct = float((log_probs.argmax(axis=1) == sample.labels).mean()) * len(train)
    counters.batches.append(Batch(len(train), loss, round(correct), counters.seconds))
    return _end_epoch(state, {"val": data.val}, preprocess, device)


def _means(batches: list[Batch]) -> tuple[float, float]:
    """Return the mean loss and accuracy per image."""
    images = sum(batch.images for batch in batches)
    loss = sum(batch.loss * batch.images for batch in batches)
    return loss / images, sum(batch.correct for batch in batches) / images


def _end_epoch(
    state: TrainState, parts: Mapping[str, ImageSet | None], preprocess: Preprocess, device: Device
) -> Epoch:
    """Measure the network on the parts, "val" and "test", and record the epoch."""
    counters, measured = state.counters, dict[str, float]()
    for part, images in parts.items():
        if images is None:
            continue
        log_probs = evaluate(state.result, images, preprocess, device)
        measured[f"{part}_loss"] = stats.negative_log_likelihood(log_probs, images.labels)
        measured[f"{part}_accuracy"] = float((log_probs.argmax(axis=1) == images.labels).mean())
        if part == "val":
            state.val_log_probs = log_probs
    batches, curve = counters.batches, []
    shown = counters.epochs[-1].examples if counters.epochs else 0
    ends = [math.ceil(len(batches) * point / POINTS) for point in range(1, POINTS + 1)]
    for start, end in itertools.pairwise(dict.fromkeys((0, *ends))):
        shown += sum(batch.images for batch in batches[start:end])
        curve.append(Point(shown, batches[end - 1].seconds, *_means(batches[start:end])))
    index, means = len(counters.epochs) + 1, _means(batches)
    epoch = Epoch(index, shown, counters.seconds, *means, curve=tuple(curve), **measured)
    counters.epochs.append(epoch)
    counters.batches = []
    return epoch


@torch.inference_mode()
def evaluate(
    model: nn.Module, images: ImageSet, preprocess: Preprocess, device: Device
) -> NDArray[np.float32]:
    """Return log-probabilities, float32 (N, K), at least -MAX_LOSS, whatever the training used.

    Every batch has its own seed, for networks that are random in evaluation, too. Raises
    DivergedError if an output is NaN.
    """
    model.eval()
    batches = []
    size = max(1, EVALUATE_VALUES // math.prod(images.shape))
    for start in range(0, len(images), size):
        device.seed(derive_seed(0, "evaluate", start))
        unit = to_unit(images.take(slice(start, start + size)))
        logits = model(device.to_batch(normalise_batch(unit, preprocess)))
        batches.append(F.log_softmax(logits.float(), dim=1).cpu())
    log_probs = torch.cat(batches).clamp(min=-MAX_LOSS).numpy()
    if np.isnan(log_probs).any():
        raise DivergedError("The network's outputs are not numbers. Train it with a lower lr.")
    return log_probs


def derive_seed(seed: int, purpose: str, count: int) -> int:
    """Return a 32-bit seed for a purpose and a count."""
    text = f"{seed} {purpose} {count}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little")
