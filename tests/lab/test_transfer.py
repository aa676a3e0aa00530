"""Weights go from run to run as said, and what is frozen stays."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from siglum.config import TrainConfig
from siglum.errors import ConfigError, RunError
from siglum.images.imageset import ImageSet
from siglum.lab import models, transfer
from siglum.lab.device import Device
from siglum.lab.optim import build_optimizer
from siglum.lab.runs import Run
from siglum.lab.trainer import resume, train
from siglum.lab.training import TrainState, fit, train_step


@pytest.fixture
def child(tiny_config: TrainConfig, tiny_run: Run) -> TrainConfig:
    """One epoch from the weights of the tiny run."""
    return tiny_config.model_copy(update={"init": str(tiny_run.path), "epochs": 1})


def fresh(classes: int = 3) -> nn.Module:
    torch.manual_seed(5)
    return models.build("glyph_net", classes)


def test_same_classes_adopt_the_head_too(tiny_run: Run) -> None:
    model = fresh()
    start = transfer.load_pretrained(model, tiny_run.classes, tiny_run.path)

    for name, tensor in tiny_run.model().state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert start.reset == ()
    assert start.seconds == tiny_run.epochs[-1].seconds
    assert start.examples == tiny_run.epochs[-1].examples


def test_other_classes_get_a_new_head(tiny_run: Run) -> None:
    model = fresh(5)
    head = model.head.weight.clone()
    start = transfer.load_pretrained(model, ("a", "b", "c", "d", "e"), tiny_run.path)

    assert start.reset == ("head.weight", "head.bias")
    assert torch.equal(model.head.weight, head)
    parent = tiny_run.model().state_dict()
    assert torch.equal(model.state_dict()["features.0.weight"], parent["features.0.weight"])


def test_as_many_classes_of_other_names_get_a_new_head(tiny_run: Run) -> None:
    start = transfer.load_pretrained(fresh(), ("x", "y", "z"), tiny_run.path)

    assert start.reset == ("head.weight", "head.bias")


def test_shuffled_weights_are_the_same_numbers_elsewhere(tiny_run: Run) -> None:
    model, again = fresh(), fresh()
    start = transfer.load_pretrained(model, tiny_run.classes, tiny_run.path, shuffle_seed=0)
    transfer.load_pretrained(again, tiny_run.classes, tiny_run.path, shuffle_seed=0)
    ours, theirs = model.state_dict()["features.3.weight"], tiny_run.model().state_dict()
    original = theirs["features.3.weight"]

    assert start.shuffled
    assert not torch.equal(ours, original)
    assert torch.equal(ours.flatten().sort().values, original.flatten().sort().values)
    assert torch.equal(ours, again.state_dict()["features.3.weight"])


@pytest.mark.parametrize(
    ("name", "channels", "size", "first"),
    [
        ("glyph_net", 3, 28, "16x1x5x5 for 'features.0.weight' where the new network has 16x3x5x5"),
        ("mnist_net", 1, 28, "nothing for 'conv1.weight' where the new network has 10x1x5x5"),
    ],
)
def test_another_network_is_refused_by_its_first_difference(
    tiny_run: Run, name: str, channels: int, size: int, first: str
) -> None:
    message = (
        f"init must be a run whose backbone is the new network's, got {tiny_run.path} "
        f"(glyph_net, 28 px) with {first}. Train it with the same model, options, size and "
        "channels."
    )
    with pytest.raises(RunError) as error:
        transfer.load_pretrained(
            models.build(name, 3, channels, size), tiny_run.classes, tiny_run.path, seed=0
        )

    assert str(error.value) == message


def test_another_size_needs_a_new_head_only(tiny_run: Run) -> None:
    """Where the backbone has the same weights at any size."""
    model = models.build("glyph_net", 3, 1, 40)
    start = transfer.load_pretrained(model, tiny_run.classes, tiny_run.path)

    assert start.reset == ("head.weight",)


def test_an_unfinished_parent_is_refused(tiny_run: Run, tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    for name in ("config.json", "classes.json", "preprocess.json", "env.json"):
        (tmp_path / "half" / name).write_bytes((tiny_run.path / name).read_bytes())
    with pytest.raises(RunError, match="init must be a finished run, got .*half"):
        transfer.load_pretrained(fresh(), tiny_run.classes, tmp_path / "half")


def test_freezing_the_backbone_leaves_the_head(
    tiny_run: Run, child: TrainConfig, machine: Device, tmp_path: Path
) -> None:
    """Every number of the backbone stays, the statistics of its batch normalisations included."""
    config = child.model_copy(update={"freeze": ("backbone",)})
    run = train(config, tmp_path / "probe", machine)
    before, after = tiny_run.model().state_dict(), run.model().state_dict()

    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) != name.startswith("head."), name
    assert run.result is not None
    assert run.result["trained"] == 3 * 576 + 3
    assert run.env["init"]["run"] == str(tiny_run.path)


def test_a_frozen_random_backbone_trains_the_head(
    tiny_config: TrainConfig, machine: Device, tmp_path: Path
) -> None:
    config = tiny_config.model_copy(update={"freeze": ("backbone",), "epochs": 1})
    run = train(config, tmp_path / "random", machine)

    assert run.result is not None and run.result["trained"] == 3 * 576 + 3
    assert run.env["init"] is None


def test_parts_are_frozen_by_name() -> None:
    model = fresh()
    transfer.freeze(model, ("features.0", "features.3.weight"))
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]

    assert frozen == ["features.0.weight", "features.3.weight"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            ("feature",),
            "freeze must name parts of the network (backbone, features, head, or a part of these), "
            "got 'feature'. Did you mean 'features'?",
        ),
        (
            ("backbone", "head"),
            "freeze must leave something to train, got backbone, head. "
            "With backbone alone the head trains.",
        ),
    ],
)
def test_freezing_nothing_or_everything_is_refused(parts: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        transfer.freeze(fresh(), parts)

    assert str(error.value) == message


def test_deeper_layers_learn_more_slowly(machine: Device) -> None:
    config = TrainConfig(lr_decay=0.5, lr=0.8, schedule="constant", model="mnist_net")
    model = machine.to(models.build("mnist_net", 3))
    optimizer = build_optimizer(model, config)
    rates = {
        name: group["lr"]
        for group in optimizer.param_groups
        for name, parameter in model.named_parameters()
        if any(parameter is member for member in group["params"])
    }

    assert rates["head.weight"] == rates["head.bias"] == 0.8
    assert rates["hidden.weight"] == 0.4
    assert rates["conv2.bias"] == 0.2
    assert rates["conv1.weight"] == 0.1
    train_step(model, optimizer, torch.rand(4, 1, 28, 28), torch.tensor([0, 1, 2, 0]), machine)


def test_the_schedule_keeps_the_ratio_of_the_rates(
    machine: Device, tiny_config: TrainConfig
) -> None:
    images = ImageSet.from_arrays(
        torch.randint(0, 255, (32, 28, 28)).byte().numpy(), torch.arange(32).numpy() % 3, "abc"
    )
    config = tiny_config.model_copy(update={"lr_decay": 0.5, "epochs": 1})
    model = machine.to(fresh())
    state = TrainState(model, build_optimizer(model, config))
    for _ in fit(state, images, None, config, config.preprocess(), machine):
        pass
    rates = [group["lr"] / group["scale"] for group in state.optimizer.param_groups]

    assert len(rates) > 2
    assert rates == pytest.approx([rates[0]] * len(rates))


def test_the_cost_of_parents_adds_up(
    tiny_run: Run, child: TrainConfig, machine: Device, tmp_path: Path
) -> None:
    first = train(child, tmp_path / "first", machine)
    second = train(child.model_copy(update={"init": str(first.path)}), tmp_path / "second", machine)
    seconds = tiny_run.epochs[-1].seconds + first.epochs[-1].seconds

    assert second.env["init"]["seconds"] == pytest.approx(seconds)


def test_resuming_needs_the_parent_as_it_was(
    tiny_run: Run, child: TrainConfig, machine: Device, tmp_path: Path
) -> None:
    parent = train(child, tmp_path / "parent", machine)
    config = child.model_copy(update={"init": str(parent.path)})
    run = train(config, tmp_path / "run", machine)
    (run.path / "result.json").unlink()
    weights = parent.model()
    with torch.no_grad():
        weights.head.bias.add_(1)
    parent.save_checkpoint("last", weights)
    with pytest.raises(RunError, match="Cannot resume"):
        resume(run, machine)


def test_shuffling_needs_a_run(tiny_config: TrainConfig, machine: Device, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        train(tiny_config.model_copy(update={"shuffle_init": True}), tmp_path / "run", machine)

    assert (
        str(error.value)
        == "shuffle_init needs initial weights. Use --init RUN or --init file:FILE."
    )


def test_the_start_is_told_in_words(tiny_run: Run) -> None:
    model = fresh(5)
    start = transfer.load_pretrained(model, tuple("abcde"), tiny_run.path)
    transfer.freeze(model, ("backbone",))
    trained, whole = models.count_parameters(model), 26_549
    told = transfer.describe(vars(replace(start, run="runs/first")), ("backbone",), trained, whole)

    assert told == (
        "23,891 numbers of runs/first, as they were; a new head of 2,885; frozen: backbone; "
        "2,885 of 26,549 parameters train"
    )
