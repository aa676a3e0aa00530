"""The step, the loop and the measurement; touches no disk and prints nothing.

All chance in a step follows from the seed and the step's number, so a training that stopped at
any step goes on to the same bits from its weights, its optimiser and that number alone.
Shapes: N pictures, B in a batch, C channels, S the side, K classes.
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

EVALUATE_VALUES = 1_000_000  # of the pictures in a batch, where nothing is learned
POINTS = 20  # of the training curve, an epoch
WARMUP = 0.25  # share of a one-cycle schedule
PROGRESS_SECONDS = 0.25  # between two StepProgress records

Batch = tuple[Tensor, Tensor, int]  # mean loss, right answers, pictures
Sampler = Callable[[int], NDArray[np.int64]]  # epoch, 0 for the first -> rows to show, in order


@dataclass(frozen=True)
class Point:
    """The training curve at one place: means over the pictures since the point before."""

    examples: int  # pictures shown since the beginning
    seconds: float  # of training since the beginning, validation excluded
    loss: float  # as it is minimised, label smoothing included, nats
    accuracy: float  # on the changed pictures, in [0, 1]


@dataclass(frozen=True)
class Epoch:
    """What one epoch measured: a pass over the training pictures, or as many drawn of them."""

    index: int  # 1 for the first
    examples: int  # pictures shown since the beginning
    seconds: float  # of training since the beginning, validation excluded
    train_loss: float  # mean over the pass, as it is minimised, nats
    train_accuracy: float  # mean over the pass, on the changed pictures, in [0, 1]
    val_loss: float | None  # nats, no smoothing; None without validation pictures
    val_accuracy: float | None  # in [0, 1]
    curve: tuple[Point, ...]


@dataclass(frozen=True)
class StepProgress:
    """Where a training stands, every quarter of a second."""

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
    """What a number of batches add up to."""

    loss: float = 0.0
    right: int = 0
    shown: int = 0

    def add(self, loss: float, right: int, shown: int) -> None:
        """Count one batch, or the sums of several."""
        self.loss += loss
        self.right += right
        self.shown += shown

    @property
    def means(self) -> tuple[float, float]:
        """Loss and accuracy a picture."""
        return self.loss / max(self.shown, 1), self.right / max(self.shown, 1)


@dataclass
class TrainState:
    """All that a training needs to go on: `fit` moves it, the caller keeps it."""

    model: nn.Module
    optimizer: Optimizer
    step: int = 0
    seconds: float = 0.0
    pass_sums: Sums = field(default_factory=Sums)  # since the pass began
    point_sums: Sums = field(default_factory=Sums)  # since the last point of the curve
    curve: list[Point] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)

    def counters(self) -> dict[str, Any]:
        """Return everything but the tensors, as plain values for JSON."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "pass_sums": asdict(self.pass_sums),
            "point_sums": asdict(self.point_sums),
            "curve": [asdict(point) for point in self.curve],
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }

    def set_counters(self, counters: dict[str, Any]) -> None:
        """Take back what `counters` returned."""
        self.step, self.seconds = counters["step"], counters["seconds"]
        self.pass_sums = Sums(**counters["pass_sums"])
        self.point_sums = Sums(**counters["point_sums"])
        self.curve = [Point(**point) for point in counters["curve"]]
        self.epochs = [epoch_of(record) for record in counters["epochs"]]


class DivergedError(SiglumError):
    """The loss is no number any more."""


def epoch_of(record: dict[str, Any]) -> Epoch:
    """Make an Epoch of its JSON record."""
    return Epoch(**{**record, "curve": tuple(Point(**point) for point in record["curve"])})


def default_epochs(num_images: int) -> int:
    """Return how many passes show about 72,000 pictures: from 1 to 100."""
    return min(max(round(72_000 / num_images), 1), 100)


def to_unit(images: NDArray[np.uint8]) -> Tensor:
    """Turn bytes (B, C, S, S) into float32 in [0, 1]."""
    return torch.from_numpy(images).float().div_(255)


def normalise_batch(unit: Tensor, preprocess: Preprocess) -> Tensor:
    """Turn [0, 1] (B, P, S, S) into what the network sees."""
    subtracted, divisor = (torch.tensor(v).view(-1, 1, 1) for v in preprocess.scaling)
    return (unit - subtracted).div_(divisor)


def train_step(
    model: nn.Module,
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    machine: Device,
    label_smoothing: float = 0.0,
) -> Batch:
    """Take one optimiser step on one batch.

    Args:
        model: in training mode.
        images: float32 (B, C, S, S), normalise_batch, on the machine's device.
        labels: int64 (B,).
        label_smoothing: probability moved off the label, spread over all K classes.

    Returns:
        The mean loss before the step and the number of right answers, both detached scalars still
        on the device, and the number of pictures.
    """
    with machine.autocast():
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
    machine: Device,
    sampler: Sampler | None = None,
) -> Iterator[StepProgress | Epoch]:
    """Train `state.model` in place, to the end, from wherever `state` stands.

    Yields a `StepProgress` every quarter of a second and an `Epoch` after every pass, always
    between two steps: the caller may save `state` at either, or stop by not asking for more.

    Args:
        sampler: which images an epoch shows, equally many in every epoch; by default all of them,
            shuffled by the seed. The same epoch must always give the same rows.

    Raises:
        ConfigError: if the batch is larger than the set, or an augmentation is unknown.
        DivergedError: if the loss is no number any more.
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
        machine.seed(derive_seed(config.seed, "step", state.step))
        if config.schedule == "one-cycle":
            done = (state.step + 0.5) / (epochs * steps)
            set_lr(state.optimizer, config.lr * lr_scale(done, WARMUP))
        images = to_unit(train.take(rows))
        images = augment(images, augmentations, torch.default_generator, preprocess.channels)
        images = machine.to_batch(normalise_batch(images, preprocess))
        target = labels[torch.from_numpy(rows)].to(machine.device)
        pending.append(
            train_step(
                state.model, state.optimizer, images, target, machine, config.label_smoothing
            )
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
            yield _end_epoch(state, val, preprocess, machine)
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
                loss=state.pass_sums.means[0],
                accuracy=state.pass_sums.means[1],
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
    """Raise ConfigError for a setting that does not fit epochs of `size` pictures."""
    if config.batch_size > size:
        raise ConfigError(
            f"batch_size must be at most the {size} training pictures, got {config.batch_size}."
        )
    for name in config.augment:
        choose(AUGMENTATIONS, name, "augment")


def _flush_metrics(state: TrainState, pending: list[Batch], config: TrainConfig) -> None:
    """Add what waits on the device to the sums, one batch after the other."""
    for loss, right, shown in pending:
        value = float(loss)
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss must stay a finite number, got {value} by step {state.step}. "
                f"Try a lower lr than {config.lr}."
            )
        for sums in (state.pass_sums, state.point_sums):
            sums.add(value * shown, int(right), shown)
    pending.clear()


def _end_epoch(
    state: TrainState, val: ImageSet | None, preprocess: Preprocess, machine: Device
) -> Epoch:
    """Validate, and move what the pass measured into a record of its own."""
    val_loss = val_accuracy = None
    if val is not None:
        log_probs = evaluate(state.model, val, preprocess, machine)
        val_loss = stats.negative_log_likelihood(log_probs, val.labels)
        val_accuracy = float((log_probs.argmax(axis=1) == val.labels).mean())
    epoch = Epoch(
        index=len(state.epochs) + 1,
        examples=state.curve[-1].examples,
        seconds=state.seconds,
        train_loss=state.pass_sums.means[0],
        train_accuracy=state.pass_sums.means[1],
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        curve=tuple(state.curve),
    )
    state.epochs.append(epoch)
    state.curve, state.pass_sums = [], Sums()
    return epoch


@torch.inference_mode()
def evaluate(
    model: nn.Module, images: ImageSet, preprocess: Preprocess, machine: Device
) -> NDArray[np.float32]:
    """Return log-probabilities, float32 (N, K), in float32 whatever the training used.

    A network that draws by chance in evaluation, too, draws the same for the same pictures in the
    same order: every batch has a seed of its own.
    """
    model.eval()
    batches = []
    size = max(1, EVALUATE_VALUES // math.prod(images.shape))
    for start in range(0, len(images), size):
        machine.seed(derive_seed(0, "evaluate", start))
        unit = to_unit(images.take(slice(start, start + size)))
        logits = model(machine.to_batch(normalise_batch(unit, preprocess)))
        batches.append(F.log_softmax(logits.float(), dim=1).cpu())
    return torch.cat(batches).numpy()


def derive_seed(seed: int, what: str, count: int) -> int:
    """Return a 32-bit seed of its own for every purpose and every count."""
    text = f"{seed} {what} {count}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little")
