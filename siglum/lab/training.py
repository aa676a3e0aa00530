"""One step, the loop and the evaluation. Touches no disk and prints nothing.

All randomness of a step is derived from the seed and the step's number, so a training resumes
bit-identically from its weights, its optimiser and that number.
Shapes: N images, B in a batch, C channels, S the side, K classes.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from siglum import stats
from siglum.config import Preprocess, TrainConfig
from siglum.errors import ConfigError, SiglumError, choose
from siglum.images.imageset import ImageSet
from siglum.lab.augment import AUGMENTATIONS, augment
from siglum.lab.device import Device
from siglum.lab.optim import lr_scale, set_lr

EVALUATE_VALUES = 1_000_000  # input values per batch in evaluation
POINTS = 20  # of the training curve per epoch
WARMUP = 0.25  # share of a one-cycle schedule
PROGRESS_SECONDS = 0.25  # between two StepProgress records

Batch = tuple[Tensor, Tensor, int]  # mean loss, correct predictions, images
Sampler = Callable[[int], NDArray[np.int64]]  # epoch from 0 -> rows to show, in order


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

    index: int  # 1 for the first
    examples: int  # images shown since the start
    seconds: float  # of training since the start, without validation
    train_loss: float  # mean over the epoch, as minimised, nats
    train_accuracy: float  # mean over the epoch, on augmented images, in [0, 1]
    val_loss: float | None  # nats, without smoothing; None without validation images
    val_accuracy: float | None  # in [0, 1]
    curve: tuple[Point, ...]


@dataclass(frozen=True)
class StepProgress:
    """The progress of a training, every quarter of a second."""

    epoch: int
    epochs: int
    step: int
    num_steps: int  # of the whole training
    loss: float
    accuracy: float
    images_per_second: float
    seconds_left: float


@dataclass
class Sums:
    """Metrics summed over batches."""

    loss: float = 0.0
    correct: int = 0
    examples: int = 0

    def add(self, loss: float, correct: int, examples: int) -> None:
        """Add a batch."""
        self.loss += loss
        self.correct += correct
        self.examples += examples

    @property
    def means(self) -> tuple[float, float]:
        """Loss and accuracy per image."""
        return self.loss / max(self.examples, 1), self.correct / max(self.examples, 1)


@dataclass
class TrainState:
    """Everything a training needs to resume; `fit` changes it."""

    model: nn.Module
    optimizer: Optimizer
    step: int = 0
    seconds: float = 0.0
    epoch_sums: Sums = field(default_factory=Sums)  # since the epoch began
    point_sums: Sums = field(default_factory=Sums)  # since the last point of the curve
    curve: list[Point] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)

    def counters(self) -> dict[str, Any]:
        """Return everything except tensors, as values for JSON."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "epoch_sums": asdict(self.epoch_sums),
            "point_sums": asdict(self.point_sums),
            "curve": [asdict(point) for point in self.curve],
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }

    def set_counters(self, counters: dict[str, Any]) -> None:
        """Restore what `counters` returned."""
        self.step, self.seconds = counters["step"], counters["seconds"]
        self.epoch_sums = Sums(**counters["epoch_sums"])
        self.point_sums = Sums(**counters["point_sums"])
        self.curve = [Point(**point) for point in counters["curve"]]
        self.epochs = [epoch_of(record) for record in counters["epochs"]]


class DivergedError(SiglumError):
    """The loss became NaN or infinite."""


def epoch_of(record: dict[str, Any]) -> Epoch:
    """Build an Epoch from its JSON record."""
    return Epoch(**{**record, "curve": tuple(Point(**point) for point in record["curve"])})


def default_epochs(num_images: int) -> int:
    """Return the number of epochs that show about 72,000 images, from 1 to 100."""
    return min(max(round(72_000 / num_images), 1), 100)


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
) -> Batch:
    """Take one optimiser step on one batch.

    Args:
        model: in training mode.
        images: float32 (B, C, S, S), normalise_batch, on the device's device.
        labels: int64 (B,).
        label_smoothing: probability spread from the label over all K classes.

    Returns:
        Mean loss before the step and number of correct predictions, detached scalars on the
        device, and the number of images.
    """
    with device.autocast():
        logits = model(images)
    loss = F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)
    model.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach(), (logits.detach().argmax(dim=1) == labels).sum(), len(labels)


def fit(
    state: TrainState,
    train: ImageSet,
    val: ImageSet | None,
    config: TrainConfig,
    preprocess: Preprocess,
    device: Device,
    sampler: Sampler | None = None,
) -> Iterator[StepProgress | Epoch]:
    """Train `state.model` in place, to the end, from the step at which `state` is.

    Yields a `StepProgress` every quarter of a second and an `Epoch` after each pass, always
    between two steps: the caller may save `state` then, or stop iterating.

    Args:
        sampler: rows of `train` that an epoch shows, equally many in every epoch; by default all
            in random order. It must return the same rows for the same epoch.

    Raises:
        ConfigError: if the batch is larger than the set, or an augmentation is unknown.
        DivergedError: if the loss becomes NaN or infinite.
    """
    if sampler is None:
        sampler = partial(shuffled_rows, len(train), config.seed)
    size = len(sampler(0))
    check(config, size)
    labels = torch.from_numpy(train.labels)
    augmentations = [AUGMENTATIONS[name] for name in config.augment]
    epochs = config.epochs or default_epochs(size)
    steps = math.ceil(size / config.batch_size)  # an epoch
    order: NDArray[np.int64] | None = None
    pending: list[Batch] = []
    mark = reported = time.perf_counter()
    reported_step = state.step
    while state.step < epochs * steps:
        epoch, batch = divmod(state.step, steps)
        if order is None or batch == 0:
            _set_train_mode(state.model)
            order = sampler(epoch)
        rows = order[batch * config.batch_size : (batch + 1) * config.batch_size]
        device.seed(derive_seed(config.seed, "step", state.step))
        if config.schedule == "one-cycle":
            done = (state.step + 0.5) / (epochs * steps)
            set_lr(state.optimizer, config.lr * lr_scale(done, WARMUP))
        images = to_unit(train.take(rows))
        images = augment(images, augmentations, torch.default_generator, preprocess.channels)
        images = device.to_batch(normalise_batch(images, preprocess))
        target = labels[torch.from_numpy(rows)].to(device.device)
        pending.append(
            train_step(state.model, state.optimizer, images, target, device, config.label_smoothing)
        )
        state.step += 1
        now = time.perf_counter()
        state.seconds, mark = state.seconds + now - mark, now
        if (batch + 1) * POINTS // steps > batch * POINTS // steps:
            _flush_metrics(state, pending, config)
            examples = epoch * size + min((batch + 1) * config.batch_size, size)
            state.curve.append(Point(examples, state.seconds, *state.point_sums.means))
            state.point_sums = Sums()
        if batch + 1 == steps:
            yield _end_epoch(state, val, preprocess, device)
            mark = reported = time.perf_counter()
            reported_step = state.step
        elif now - reported >= PROGRESS_SECONDS:
            _flush_metrics(state, pending, config)
            rate = (state.step - reported_step) / (now - reported)  # steps a second
            yield StepProgress(
                epoch=epoch + 1,
                epochs=epochs,
                step=state.step,
                num_steps=epochs * steps,
                loss=state.epoch_sums.means[0],
                accuracy=state.epoch_sums.means[1],
                images_per_second=rate * config.batch_size,
                seconds_left=(epochs * steps - state.step) / rate,
            )
            mark = reported = time.perf_counter()
            reported_step = state.step


def shuffled_rows(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the rows of `count` images in a random order of the seed and the epoch."""
    return np.random.RandomState(derive_seed(seed, "order", epoch)).permutation(count)


def _set_train_mode(model: nn.Module) -> None:
    """Switch to training mode; frozen batch normalisations keep their statistics."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
            module.train(module.weight.requires_grad)


def check(config: TrainConfig, size: int) -> None:
    """Raise ConfigError for a setting that does not suit epochs of `size` images."""
    if config.batch_size > size:
        raise ConfigError(
            f"batch_size must be at most the {size} training images, got {config.batch_size}."
        )
    for name in config.augment:
        choose(AUGMENTATIONS, name, "augment")


def _flush_metrics(state: TrainState, pending: list[Batch], config: TrainConfig) -> None:
    """Add the batches that wait on the device to the sums."""
    for loss, correct, examples in pending:
        value = float(loss)
        if not math.isfinite(value):
            raise DivergedError(
                f"The loss became {value} by step {state.step}. Try a lower lr than {config.lr}."
            )
        for sums in (state.epoch_sums, state.point_sums):
            sums.add(value * examples, int(correct), examples)
    pending.clear()


def _end_epoch(
    state: TrainState, val: ImageSet | None, preprocess: Preprocess, device: Device
) -> Epoch:
    """Validate and record the epoch."""
    val_loss = val_accuracy = None
    if val is not None:
        log_probs = evaluate(state.model, val, preprocess, device)
        val_loss = stats.negative_log_likelihood(log_probs, val.labels)
        val_accuracy = float((log_probs.argmax(axis=1) == val.labels).mean())
    epoch = Epoch(
        index=len(state.epochs) + 1,
        examples=state.curve[-1].examples,
        seconds=state.seconds,
        train_loss=state.epoch_sums.means[0],
        train_accuracy=state.epoch_sums.means[1],
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        curve=tuple(state.curve),
    )
    state.epochs.append(epoch)
    state.curve, state.epoch_sums = [], Sums()
    return epoch


@torch.inference_mode()
def evaluate(
    model: nn.Module, images: ImageSet, preprocess: Preprocess, device: Device
) -> NDArray[np.float32]:
    """Return log-probabilities, float32 (N, K), in float32 whatever the training used.

    Every batch has its own seed, for networks that are random in evaluation, too.
    """
    model.eval()
    batches = []
    size = max(1, EVALUATE_VALUES // math.prod(images.shape))
    for start in range(0, len(images), size):
        device.seed(derive_seed(0, "evaluate", start))
        unit = to_unit(images.take(slice(start, start + size)))
        logits = model(device.to_batch(normalise_batch(unit, preprocess)))
        batches.append(F.log_softmax(logits.float(), dim=1).cpu())
    return torch.cat(batches).numpy()


def derive_seed(seed: int, purpose: str, count: int) -> int:
    """Return a 32-bit seed for a purpose and a count."""
    text = f"{seed} {purpose} {count}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little")
