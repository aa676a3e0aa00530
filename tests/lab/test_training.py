import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from siglum.config import TrainConfig
from siglum.errors import ConfigError
from siglum.images.imageset import ImageSet
from siglum.lab import models
from siglum.lab.device import Device
from siglum.lab.optim import build_optimizer, lr_scale
from siglum.lab.training import (
    DivergedError,
    Epoch,
    StepProgress,
    TrainState,
    default_epochs,
    derive_seed,
    epoch_of,
    evaluate,
    fit,
)


def toy_set(count: int = 60) -> ImageSet:
    """Pictures whose class is where their square is: top left, top right or bottom."""
    random = np.random.RandomState(0)
    labels = np.arange(count) % 3
    images = random.randint(0, 60, size=(count, 28, 28)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        top, left = ((4, 4), (4, 16), (16, 10))[label]
        image[top : top + 8, left : left + 8] = 255
    return ImageSet.from_arrays(images, labels, ("left", "right", "bottom"))


def start(config: TrainConfig, machine: Device) -> TrainState:
    torch.manual_seed(config.seed)
    model = machine.to(models.build(config.model, 3))
    return TrainState(model, build_optimizer(model, config))


def run_through(config: TrainConfig, machine: Device) -> tuple[TrainState, list[Epoch]]:
    state, data = start(config, machine), toy_set()
    records = list(fit(state, data, data, config, config.preprocess(), machine))
    return state, [record for record in records if isinstance(record, Epoch)]


@pytest.mark.parametrize("model", ["glyph_net", "mnist_net"])
def test_learns_the_toy_set(model: str, machine: Device) -> None:
    config = TrainConfig(model=model, epochs=8, batch_size=10, lr=0.05, momentum=0.9)

    _, epochs = run_through(config, machine)

    assert [epoch.index for epoch in epochs] == list(range(1, 9))
    assert epochs[-1].val_accuracy == 1.0
    assert epochs[-1].train_loss < epochs[0].train_loss


@pytest.mark.parametrize("model", ["glyph_net", "mnist_net"])
def test_same_seed_same_bits(model: str, machine: Device) -> None:
    config = TrainConfig(model=model, epochs=2, batch_size=16, augment=("affine",))
    first, epochs = run_through(config, machine)
    second, again = run_through(config, machine)

    assert [e.train_loss for e in epochs] == [e.train_loss for e in again]
    for (name, a), b in zip(
        first.model.state_dict().items(), second.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name


def test_another_seed_gives_other_losses(machine: Device) -> None:
    _, first = run_through(TrainConfig(epochs=1, batch_size=16, seed=0), machine)
    _, second = run_through(TrainConfig(epochs=1, batch_size=16, seed=1), machine)

    assert first[0].train_loss != second[0].train_loss


def test_epoch_record_counts_what_was_shown(machine: Device) -> None:
    """60 pictures in batches of 16: the last batch of 12 is shown too."""
    _, epochs = run_through(TrainConfig(epochs=2, batch_size=16), machine)

    assert [epoch.examples for epoch in epochs] == [60, 120]
    assert [point.examples for point in epochs[1].curve] == [76, 92, 108, 120]


def test_train_loss_is_the_mean_over_the_pictures(machine: Device) -> None:
    """With nothing learnt (a tiny lr) the mean over the points is the loss of the pass."""
    config = TrainConfig(epochs=1, batch_size=16, augment=(), lr=1e-12, weight_decay=0)
    _, (epoch,) = run_through(config, machine)
    sizes = np.diff([0, *(point.examples for point in epoch.curve)])

    mean = np.average([point.loss for point in epoch.curve], weights=sizes)
    assert epoch.train_loss == pytest.approx(mean, rel=1e-6)


def test_epoch_survives_json(machine: Device) -> None:
    from dataclasses import asdict

    _, (epoch,) = run_through(TrainConfig(epochs=1, batch_size=16), machine)

    assert epoch_of(json.loads(json.dumps(asdict(epoch)))) == epoch


def test_descent_of_the_learning_rate_is_torchs() -> None:
    """Reference: torch's OneCycleLR with a linear way up is not offered, so only the way down."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    for step in range(100):
        assert lr_scale(step / 100, warmup=0.0) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


def test_learning_rate_rises_straight_and_ends_at_nothing() -> None:
    assert [lr_scale(x, 0.25) for x in (0.0, 0.125, 0.25)] == [0.0, 0.5, 1.0]
    assert lr_scale(1.0, 0.25) == pytest.approx(0)


@pytest.mark.parametrize(("pictures", "epochs"), [(27, 100), (3600, 20), (54_000, 1), (10**6, 1)])
def test_default_epochs_show_about_72_000_pictures(pictures: int, epochs: int) -> None:
    assert default_epochs(pictures) == epochs


def test_evaluate_keeps_the_order_and_gives_probabilities(machine: Device) -> None:
    model, data = models.build("glyph_net", 3), toy_set(25)
    config = TrainConfig()

    whole = evaluate(model, data, config.preprocess(), machine)
    one = evaluate(model, data.subset(np.array([7])), config.preprocess(), machine)

    assert whole.shape == (25, 3) and whole.dtype == np.float32
    np.testing.assert_allclose(np.exp(whole).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(whole[7], one[0], rtol=1e-4, atol=1e-5)


def test_a_batch_larger_than_the_set_is_refused(machine: Device) -> None:
    config = TrainConfig(batch_size=61)
    with pytest.raises(ConfigError) as error:
        run_through(config, machine)

    assert str(error.value) == "batch_size must be at most the 60 training images, got 61."


def test_a_loss_that_is_no_number_stops_the_training(machine: Device) -> None:
    config = TrainConfig(epochs=3, batch_size=16, lr=1e30)
    with pytest.raises(DivergedError, match=r"The loss became (nan|inf)"):
        run_through(config, machine)


def test_chance_differs_by_purpose_and_count() -> None:
    seeds = {derive_seed(s, w, c) for s in range(10) for w in ("step", "order") for c in range(100)}

    assert len(seeds) == 2000


@pytest.mark.parametrize("model", ["glyph_net", "mnist_net"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_resumed_at_any_step_gives_the_same_bits(
    model: str, optimizer: str, machine: Device, tmp_path: Path
) -> None:
    """Stopped in the middle of a pass, saved, loaded into new objects and gone on with."""
    from siglum.lab.runs import Run

    config = TrainConfig(model=model, optimizer=optimizer, epochs=3, batch_size=16, lr=0.01)
    straight, epochs = run_through(config, machine)
    data = toy_set()

    state = start(config, machine)
    run = Run.create(tmp_path / "run", config, config.preprocess(), data.classes, {})
    for _ in stopping(fit_with_progress(state, data, config, machine), after=6):
        pass
    run.save_state(state)
    again = start(config.model_copy(update={"seed": 9}), machine)
    run.load_state(again)
    for _ in fit(again, data, data, config, config.preprocess(), machine):
        pass

    assert state.step == 6
    assert [e.train_loss for e in again.epochs] == [e.train_loss for e in epochs]
    for (name, a), b in zip(
        straight.model.state_dict().items(), again.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name


def fit_with_progress(state, data, config, machine):
    """`fit`, yielding at every step as it would on a very slow machine."""
    from siglum.lab import training

    patched = pytest.MonkeyPatch()
    patched.setattr(training, "PROGRESS_SECONDS", 0.0)
    try:
        yield from fit(state, data, data, config, config.preprocess(), machine)
    finally:
        patched.undo()


def stopping(records, after: int):
    for record in records:
        yield record
        if isinstance(record, StepProgress) and record.step == after:
            return
