"""The training loop on a toy set: it learns, repeats, resumes, and measures what it says."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from siglum.config import TrainConfig
from siglum.images.imageset import ImageSet
from siglum.lab import models, training_loop
from siglum.lab.device import Device
from siglum.lab.run_folder import Run
from siglum.lab.training_loop import (
    Data,
    DivergedError,
    Epoch,
    StepProgress,
    TrainState,
    build_average,
    build_optimizer,
    evaluate,
    fit,
    one_cycle,
)


def toy_set(count: int = 60) -> ImageSet:
    """Images whose class is the position of their square: top left, top right or bottom."""
    random = np.random.RandomState(0)
    labels = np.arange(count) % 3
    images = random.randint(0, 60, size=(count, 28, 28)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        top, left = ((4, 4), (4, 16), (16, 10))[label]
        image[top : top + 8, left : left + 8] = 255
    return ImageSet.from_arrays(images, labels, ("left", "right", "bottom"))


DATA = Data(toy_set(), toy_set())


def start(config: TrainConfig, machine: Device) -> TrainState:
    torch.manual_seed(config.seed)
    model = machine.to(models.build(config.model, 3))
    return TrainState(model, build_optimizer(model, config), build_average(model, config))


def steps(
    state: TrainState, config: TrainConfig, machine: Device
) -> Iterator[StepProgress | Epoch]:
    return fit(state, DATA, config, config.preprocess(), machine)


def run_through(config: TrainConfig, machine: Device) -> tuple[TrainState, list[Epoch]]:
    state = start(config, machine)
    for _ in steps(state, config, machine):
        pass
    return state, state.counters.epochs


def assert_same_weights(first: nn.Module, second: nn.Module) -> None:
    theirs = second.state_dict()
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("model", ["glyph_net", "mnist_net"])
def test_learns_the_toy_set(model: str, machine: Device) -> None:
    config = TrainConfig(model=model, epochs=8, batch_size=10, lr=0.05, momentum=0.9)

    _, epochs = run_through(config, machine)

    assert [epoch.index for epoch in epochs] == list(range(1, 9))
    assert epochs[-1].val_accuracy == 1.0
    assert epochs[-1].train_loss < epochs[0].train_loss


def test_the_seed_decides_every_bit(machine: Device) -> None:
    config = TrainConfig(epochs=2, batch_size=16)
    first, epochs = run_through(config, machine)
    second, again = run_through(config, machine)
    _, other = run_through(config.model_copy(update={"seed": 1}), machine)

    assert_same_weights(first.model, second.model)
    assert [e.train_loss for e in epochs] == [e.train_loss for e in again]
    assert epochs[0].train_loss != other[0].train_loss


def test_an_epoch_counts_the_images_that_it_showed(machine: Device) -> None:
    """60 images in batches of 16: the last batch of 12 is shown, too."""
    _, epochs = run_through(TrainConfig(epochs=2, batch_size=16), machine)

    assert [epoch.examples for epoch in epochs] == [60, 120]
    assert [point.examples for point in epochs[1].curve] == [76, 92, 108, 120]


def test_a_last_batch_of_one_image_joins_the_batch_before(machine: Device) -> None:
    """Batch normalisation of features needs two values."""
    _, (epoch,) = run_through(TrainConfig(epochs=1, batch_size=59), machine)

    assert [point.examples for point in epoch.curve] == [60]


def test_one_cycle_rises_linearly_and_decays_as_torchs_cosine() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=75)
    for step in range(25, 100):
        assert one_cycle(step / 100) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()

    assert [one_cycle(x) for x in (0.0, 0.125, 0.25)] == [0.0, 0.5, 1.0]


def test_evaluate_preserves_the_order_and_returns_log_probabilities(machine: Device) -> None:
    model, preprocess = models.build("glyph_net", 3), TrainConfig().preprocess()

    whole = evaluate(model, DATA.train, preprocess, machine)
    one = evaluate(model, DATA.train.subset(np.array([7])), preprocess, machine)

    assert whole.shape == (60, 3) and whole.dtype == np.float32
    np.testing.assert_allclose(np.exp(whole).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(whole[7], one[0], rtol=1e-4, atol=1e-5)


def test_an_infinite_loss_stops_the_training(machine: Device) -> None:
    with pytest.raises(DivergedError, match="The loss became (nan|inf) in step"):
        run_through(TrainConfig(epochs=3, batch_size=16, lr=1e30), machine)


@pytest.mark.parametrize("model", ["glyph_net", "mnist_net"])
@pytest.mark.parametrize(
    ("optimizer", "average"), [("nesterov", 0.9), ("sgd", 0.0), ("adam", 0.0), ("adamw", 0.0)]
)
def test_resuming_in_the_middle_of_an_epoch_is_bit_identical(
    model: str,
    optimizer: str,
    average: float,
    machine: Device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = TrainConfig(
        model=model, optimizer=optimizer, average=average, epochs=3, batch_size=16, lr=0.01
    )
    whole, epochs = run_through(config, machine)

    state = start(config, machine)
    run = Run.create(tmp_path / "run", config, config.preprocess(), DATA.train.classes, {})
    with monkeypatch.context() as patch:
        patch.setattr(training_loop, "PROGRESS_SECONDS", 0.0)  # yields at every step
        for _ in steps(state, config, machine):
            if state.counters.step == 6:
                break
    run.save_state(state)
    again = start(config.model_copy(update={"seed": 9}), machine)
    run.load_state(again)
    for _ in steps(again, config, machine):
        pass

    assert [e.train_loss for e in again.counters.epochs] == [e.train_loss for e in epochs]
    assert_same_weights(whole.model, again.model)
    assert_same_weights(whole.result, again.result)


def test_the_average_follows_the_weights_by_its_decay(machine: Device) -> None:
    config = TrainConfig(model="mnist_net", epochs=1, batch_size=20, average=0.2)
    state, expected = start(config, machine), None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_loop, "PROGRESS_SECONDS", 0.0)
        for _ in steps(state, config, machine):
            weight, count = state.model.state_dict()["head.weight"].clone(), state.counters.step - 1
            decay = min(0.2, (1 + count) / (10 + count))
            expected = weight if expected is None else decay * expected + (1 - decay) * weight

    assert torch.allclose(state.result.state_dict()["head.weight"], expected, atol=1e-6)
