"""Training on a source, resuming bit-identically, and refusing what does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from siglum.config import TrainConfig
from siglum.errors import ConfigError, RunError, Stopped
from siglum.lab.device import Device
from siglum.lab.run_folder import CHECKPOINTS, Run
from siglum.lab.train_run import load_data, resume, train
from siglum.lab.training_loop import DivergedError, Epoch, evaluate


def stop_after(count: int) -> Callable[[object], bool]:
    return lambda record: isinstance(record, Epoch) and record.index == count


def stopped_run(config: TrainConfig, path: Path, machine: Device, epochs: int) -> Run:
    with pytest.raises(Stopped):
        train(config, path, machine, stop_after(epochs))
    return Run(path)


def changed(config: TrainConfig, **settings: Any) -> TrainConfig:
    return config.model_copy(update=settings)


def test_learns_three_signs_and_records_how(tiny_run: Run, machine: Device) -> None:
    result, env = tiny_run.result, tiny_run.env

    assert result is not None and len(tiny_run.history) == 12
    assert result["test"]["total"] == 30 and result["test"]["hits"] >= 28
    assert Device(**env["device"]) == machine
    assert env["counts"] == {"train": 57, "val": 15, "test": 30}
    assert env["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert all(len(digest) == 32 for digest in env["data"].values())
    moments = load_data(tiny_run.config).train.moments()
    assert (tiny_run.preprocess.mean, tiny_run.preprocess.std) == moments


def test_split_by_writer_separates_the_writers(tiny_config: TrainConfig) -> None:
    data = load_data(changed(tiny_config, split="writer"))

    assert data.val is not None and data.val.writers and data.train.writers
    assert not set(data.val.writers) & set(data.train.writers)
    with pytest.raises(ConfigError, match="split by writer needs the writers"):
        load_data(changed(tiny_config, split="writer", writers=None))


def test_one_class_is_refused(tmp_path: Path, signs: Path) -> None:
    shutil.copytree(signs / "ring", tmp_path / "set" / "ring")
    with pytest.raises(ConfigError, match=r"data must have at least 2 classes .* got 1 \(ring\)"):
        load_data(TrainConfig(data=f"folder:{tmp_path / 'set'}"))


def test_a_class_of_one_image_is_for_training(tmp_path: Path, signs: Path) -> None:
    shutil.copytree(signs, tmp_path / "set")
    for path in sorted((tmp_path / "set" / "ring").iterdir())[1:]:
        path.unlink()

    data = load_data(TrainConfig(data=f"folder:{tmp_path / 'set'}"))

    assert data.val is not None
    assert data.train.counts.tolist()[1] == 1 and data.val.counts.tolist()[1] == 0


def test_the_validation_folder_of_a_data_set_is_used(
    tiny_config: TrainConfig, signs: Path, later_signs: Path, tmp_path: Path
) -> None:
    for part, folder in (("train", signs), ("valid", later_signs), ("test", later_signs)):
        shutil.copytree(folder, tmp_path / part)

    data = load_data(changed(tiny_config, data=str(tmp_path), test=None))

    assert data.val is not None and data.test is not None
    assert [len(data.train), len(data.val), len(data.test)] == [72, 30, 30]
    assert data.val.fingerprint == data.test.fingerprint


def test_without_validation_the_last_weights_are_the_best(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    run = train(changed(tiny_config, val=0.0, epochs=2, test=None), tmp_path / "run", machine)

    assert run.result is not None and run.result["best_epoch"] == 2
    assert "val" not in run.result and run.predictions() == {}
    best, last = (run.path / f"{name}.safetensors" for name in ("best", "last"))
    assert best.read_bytes() == last.read_bytes()
    with pytest.raises(ConfigError, match="no test and no validation images. Give a source"):
        run.evaluate()


def test_a_test_curve_changes_no_weights_and_resumes(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    config = changed(tiny_config, epochs=2)
    plain = train(config, tmp_path / "plain", machine)
    curve = changed(config, curve="test")
    whole = train(curve, tmp_path / "whole", machine)
    resumed = resume(stopped_run(curve, tmp_path / "resumed", machine, 1), machine)

    assert plain.history[1].test_accuracy is None and whole.result is not None
    test = whole.result["test"]
    for run in (whole, resumed):
        for name in ("best.safetensors", "last.safetensors", "predictions.npz"):
            assert (run.path / name).read_bytes() == (plain.path / name).read_bytes(), name
        assert run.history[1].test_accuracy == test["hits"] / test["total"]
        assert run.history[0].test_loss not in (None, run.history[1].test_loss)
    log, history = plain.path / "log.jsonl", plain.history
    log.write_text(log.read_text().replace(', "test_loss": null, "test_accuracy": null', ""))
    assert plain.history == history  # as of earlier versions
    with pytest.raises(ConfigError, match="curve test needs test images"):
        train(changed(curve, test=None), tmp_path / "none", machine)


def test_a_network_that_fails_leaves_its_name_free(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    """As networks for one batch size do, at the last batch."""
    code = "import torch\nclass Net(torch.nn.Linear):\n    def __init__(self, *_):\n"
    code += "        super().__init__(784, 3)\n    def forward(self, x):\n        assert len(x) != "
    code, file = f"{code}9\n        return super().forward(x.flatten(1))", tmp_path / "net.py"
    file.write_text(code)
    config = changed(tiny_config, model=f"{tmp_path}/net.py:Net", size=28, batch_size=16)

    with pytest.raises(ConfigError, match="Net failed training it: AssertionError"):
        train(config, tmp_path / "run", machine)
    assert not (tmp_path / "run").exists()
    stopped = stopped_run(changed(config, batch_size=19, epochs=2), tmp_path / "run", machine, 1)
    file.write_text(code.replace("9", "19"))
    with pytest.raises(RunError, match=r"Cannot resume .*: the file of .*net.py:Net changed"):
        resume(stopped, machine)


def test_a_first_epoch_that_diverges_leaves_its_name_free(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    with pytest.raises(DivergedError):
        train(changed(tiny_config, lr=1e30), tmp_path / "run", machine)
    assert not (tmp_path / "run").exists()


def test_only_a_batch_size_of_the_user_is_refused(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    settings = tiny_config.model_dump(exclude={"batch_size", "epochs"})
    run = train(TrainConfig(**settings, epochs=1), tmp_path / "run", machine)
    assert run.config.batch_size == 57

    with pytest.raises(ConfigError, match="batch_size must be at most the 57 training images"):
        train(TrainConfig(**settings, batch_size=58), tmp_path / "larger", machine)
    assert not (tmp_path / "larger").exists()


def test_an_existing_folder_is_refused_at_once(tmp_path: Path, machine: Device) -> None:
    (tmp_path / "photo.png").touch()
    with pytest.raises(RunError, match="already exists and is not a run"):
        train(TrainConfig(data="folder:nowhere"), tmp_path, machine)


def test_resume_is_bit_identical(tmp_path: Path, tiny_run: Run, machine: Device) -> None:
    """Even if a kill left the log one epoch short."""
    run = stopped_run(tiny_run.config, tmp_path / "run", machine, 5)
    assert run.result is None and len(run.history) == 5
    log = run.path / "log.jsonl"
    log.write_text("\n".join(log.read_text().splitlines()[:4]) + "\n")

    resume(run, machine)

    for name in CHECKPOINTS.values():
        assert (run.path / name).read_bytes() == (tiny_run.path / name).read_bytes()
    assert [e.train_loss for e in run.history] == [e.train_loss for e in tiny_run.history]
    assert not (run.path / "resume").exists()


def test_a_run_of_other_images_is_not_resumed(tmp_path: Path, signs: Path, machine: Device) -> None:
    shutil.copytree(signs, tmp_path / "set")
    config = TrainConfig(data=f"folder:{tmp_path / 'set'}", epochs=3, batch_size=16)
    run = stopped_run(config, tmp_path / "run", machine, 1)
    shutil.copy(tmp_path / "set/ring/w0_00.png", tmp_path / "set/cross/w0_00.png")

    with pytest.raises(RunError, match="Cannot resume .*: the images of .* changed"):
        resume(run, machine)


def test_resuming_on_another_machine_warns(tmp_path: Path, tiny_run: Run, machine: Device) -> None:
    run = stopped_run(tiny_run.config, tmp_path / "run", machine, 11)
    env = run.env
    env["device"]["threads"] = 64
    (run.path / "env.json").write_text(json.dumps(env))

    with pytest.warns(UserWarning, match="results may differ in the last bits"):
        resume(run, machine)


def test_classes_can_be_merged_by_renaming(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    config = changed(tiny_config, rename={"cross": "lines", "stroke": "lines"}, epochs=1)

    assert train(config, tmp_path / "run", machine).classes == ("lines", "ring")


def test_the_checkpoint_of_the_lowest_training_loss_survives_a_resume(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    config = changed(tiny_config, epochs=6, lr=3.0, checkpoint="lowest_loss")
    weights: list[bytes] = []

    def watch(record: object) -> bool:
        if isinstance(record, Epoch):
            weights.append((tmp_path / "run" / "last.safetensors").read_bytes())
        return len(weights) == 3

    with pytest.raises(Stopped):
        train(config, tmp_path / "run", machine, watch)
    run = resume(Run(tmp_path / "run"), machine, watch=lambda record: watch(record) and False)

    losses = [epoch.train_loss for epoch in run.history]
    lowest = losses.index(min(losses))
    assert lowest < 5, losses  # otherwise it equals the last checkpoint
    assert run.result is not None and run.result["lowest_loss_epoch"] == lowest + 1
    assert (run.path / "lowest_loss.safetensors").read_bytes() == weights[lowest]
    assert (run.path / "last.safetensors").read_bytes() == weights[5] != weights[lowest]
    data = load_data(run.config)
    assert data.test is not None
    log_probs = evaluate(run.model("lowest_loss"), data.test, run.preprocess, machine)
    assert (log_probs == run.predictions()["test_log_probs"]).all()


def test_dropout_at_test_changes_only_the_measurement(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    """Training is bit-identical, and every evaluation repeats the stored predictions."""
    settings = {"data": tiny_config.data, "test": tiny_config.test, "batch_size": 16, "epochs": 2}
    off, on = (
        train(
            TrainConfig(**settings, model="mnist_net", model_options={"dropout_at_test": switch}),
            tmp_path / str(switch),
            machine,
        )
        for switch in (False, True)
    )
    data = load_data(on.config)
    assert data.test is not None
    again = [evaluate(on.model(), data.test, on.preprocess, machine) for _ in range(2)]

    last, other = (run.path / "last.safetensors" for run in (off, on))
    assert last.read_bytes() == other.read_bytes()
    assert (again[0] == on.predictions()["test_log_probs"]).all() and (again[0] == again[1]).all()
    assert not (again[0] == off.predictions()["test_log_probs"]).all()


@pytest.mark.slow
def test_five_thousand_digits_reach_98_per_cent(tmp_path: Path, machine: Device) -> None:
    run = train(TrainConfig(epochs=8), tmp_path / "run", machine)

    assert run.result is not None and run.result["test"]["total"] == 1000
    assert run.result["test"]["hits"] >= 980
