import json
import shutil
from pathlib import Path

import pytest
import torch

from siglum.config import TrainConfig
from siglum.errors import ConfigError, RunError
from siglum.lab.device import Device
from siglum.lab.runs import Run
from siglum.lab.trainer import Stopped, load_data, resume, train
from siglum.lab.training import Epoch, evaluate


def test_learns_three_signs(tiny_run: Run) -> None:
    assert tiny_run.result is not None

    assert tiny_run.result["test"]["total"] == 30
    assert tiny_run.result["test"]["hits"] >= 28
    assert len(tiny_run.epochs) == 12


def test_records_machine_data_and_versions(tiny_run: Run, machine: Device) -> None:
    env = tiny_run.env

    assert Device(**env["device"]) == machine
    assert env["counts"] == {"train": 57, "val": 15, "test": 30}
    assert env["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert all(len(digest) == 32 for digest in env["data"].values())


def test_measures_mean_and_deviation_of_the_training_images(tiny_run: Run) -> None:
    data = load_data(tiny_run.config)
    mean, std = data.train.moments()

    assert (tiny_run.preprocess.mean, tiny_run.preprocess.std) == (mean, std)


def test_split_by_writer_keeps_writers_apart(tiny_config: TrainConfig) -> None:
    data = load_data(tiny_config.model_copy(update={"split": "writer"}))

    assert data.val is not None and data.val.writers and data.train.writers
    assert not set(data.val.writers) & set(data.train.writers)


def test_split_by_unknown_writers_is_refused(tiny_config: TrainConfig) -> None:
    config = tiny_config.model_copy(update={"split": "writer", "writers": None})
    with pytest.raises(ConfigError, match="split by writer needs the writers"):
        load_data(config)


def test_one_class_is_refused(tmp_path: Path, signs: Path) -> None:
    shutil.copytree(signs / "ring", tmp_path / "set" / "ring")
    with pytest.raises(ConfigError, match=r"data must have at least 2 classes .* got 1 \(ring\)"):
        load_data(TrainConfig(data=f"folder:{tmp_path / 'set'}"))


def test_a_class_of_one_image_is_trained_on_with_a_warning(tmp_path: Path, signs: Path) -> None:
    shutil.copytree(signs, tmp_path / "set")
    for path in sorted((tmp_path / "set" / "ring").iterdir())[1:]:
        path.unlink()

    with pytest.warns(UserWarning, match="1 classes have one picture, .* never to validate: ring"):
        data = load_data(TrainConfig(data=f"folder:{tmp_path / 'set'}"))

    assert data.val is not None
    assert data.train.counts.tolist()[1] == 1 and data.val.counts.tolist()[1] == 0


def test_without_validation_the_last_weights_are_the_best(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    config = tiny_config.model_copy(update={"val": 0.0, "epochs": 2, "test": None})
    run = train(config, tmp_path / "run", machine)

    assert run.result is not None and run.result["best_epoch"] == 2
    assert "val" not in run.result and run.predictions() == {}
    assert (run.path / "best.safetensors").read_bytes() == (
        run.path / "last.safetensors"
    ).read_bytes()


def test_the_default_batch_shrinks_to_a_small_set(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    settings = tiny_config.model_dump(exclude={"batch_size", "epochs"})
    run = train(TrainConfig(**settings, epochs=1), tmp_path / "run", machine)

    assert run.config.batch_size == 57


def test_a_batch_larger_than_the_set_is_refused(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    config = TrainConfig(**{**tiny_config.model_dump(), "batch_size": 58})
    with pytest.raises(ConfigError, match="batch_size must be at most the 57 training images"):
        train(config, tmp_path / "run", machine)

    assert not (tmp_path / "run").exists()


def test_an_existing_folder_is_refused_before_images_are_read(
    tmp_path: Path, machine: Device
) -> None:
    (tmp_path / "photo.png").touch()
    with pytest.raises(RunError, match="already exists and is not a run"):
        train(TrainConfig(data="folder:nowhere"), tmp_path, machine)


def stop_after(count: int):
    def watch(record: object) -> bool:
        return isinstance(record, Epoch) and record.index == count

    return watch


def test_resume_is_bit_identical(tmp_path: Path, tiny_run: Run, machine: Device) -> None:
    with pytest.raises(Stopped):
        train(tiny_run.config, tmp_path / "run", machine, stop_after(5))
    stopped = Run(tmp_path / "run")
    assert stopped.result is None and len(stopped.epochs) == 5

    resumed = resume(stopped, machine)

    for name in ("best.safetensors", "last.safetensors", "lowest_loss.safetensors"):
        assert (resumed.path / name).read_bytes() == (tiny_run.path / name).read_bytes()
    assert [e.train_loss for e in resumed.epochs] == [e.train_loss for e in tiny_run.epochs]
    assert not (resumed.path / "resume").exists()


def test_a_log_that_lacks_an_epoch_after_a_kill_is_repaired(
    tmp_path: Path, tiny_run: Run, machine: Device
) -> None:
    with pytest.raises(Stopped):
        train(tiny_run.config, tmp_path / "run", machine, stop_after(3))
    log = tmp_path / "run" / "log.jsonl"
    log.write_text("\n".join(log.read_text().splitlines()[:2]) + "\n")

    resumed = resume(Run(tmp_path / "run"), machine)

    assert [epoch.index for epoch in resumed.epochs] == list(range(1, 13))


def test_a_finished_run_is_not_resumed(tiny_run: Run, machine: Device) -> None:
    with pytest.raises(RunError, match="is finished. To train it for more epochs"):
        resume(tiny_run, machine)


def test_resuming_with_other_images_is_refused(
    tmp_path: Path, signs: Path, machine: Device
) -> None:
    shutil.copytree(signs, tmp_path / "set")
    config = TrainConfig(data=f"folder:{tmp_path / 'set'}", epochs=3, batch_size=16)
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", machine, stop_after(1))
    shutil.copy(tmp_path / "set/ring/w0_00.png", tmp_path / "set/cross/w0_00.png")

    with pytest.raises(RunError, match="Cannot resume"):
        resume(Run(tmp_path / "run"), machine)


def test_resuming_on_another_machine_warns(tmp_path: Path, tiny_run: Run, machine: Device) -> None:
    with pytest.raises(Stopped):
        train(tiny_run.config, tmp_path / "run", machine, stop_after(11))
    env = tmp_path / "run" / "env.json"
    facts = json.loads(env.read_text())
    facts["device"]["threads"] = 64
    env.write_text(json.dumps(facts))

    with pytest.warns(UserWarning, match="results may differ in the last bits"):
        resume(Run(tmp_path / "run"), machine)


def test_classes_can_be_merged_by_renaming(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    config = tiny_config.model_copy(
        update={"rename": {"cross": "lines", "stroke": "lines"}, "epochs": 1}
    )

    assert train(config, tmp_path / "run", machine).classes == ("lines", "ring")


def test_the_checkpoint_of_the_lowest_training_loss_survives_a_resume(
    tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    config = tiny_config.model_copy(update={"epochs": 6, "lr": 3.0, "checkpoint": "lowest_loss"})
    weights: list[bytes] = []

    def watch(record: object) -> bool:
        if isinstance(record, Epoch):
            weights.append((tmp_path / "run" / "last.safetensors").read_bytes())
        return isinstance(record, Epoch) and record.index == 3

    with pytest.raises(Stopped):
        train(config, tmp_path / "run", machine, watch)
    run = resume(Run(tmp_path / "run"), machine, watch=lambda record: watch(record) and False)

    losses = [epoch.train_loss for epoch in run.epochs]
    lowest = losses.index(min(losses))
    assert lowest < 5, losses  # otherwise it equals the last checkpoint
    assert run.result is not None and run.result["lowest_loss_epoch"] == lowest + 1
    assert (run.path / "lowest_loss.safetensors").read_bytes() == weights[lowest]
    assert (run.path / "last.safetensors").read_bytes() == weights[5] != weights[lowest]
    data = load_data(run.config)
    assert data.test is not None
    log_probs = evaluate(run.model("lowest_loss"), data.test, run.preprocess, machine)
    assert (log_probs == run.predictions()["test_log_probs"]).all()


@pytest.mark.parametrize("name", ["mnist_net", "mnist_net2", "mnist_net3"])
def test_dropout_at_test_changes_only_the_measurement(
    name: str, tmp_path: Path, tiny_config: TrainConfig, machine: Device
) -> None:
    """Training is bit-identical, and every evaluation repeats the stored predictions."""
    settings = {"data": tiny_config.data, "test": tiny_config.test, "batch_size": 16, "epochs": 2}
    off, on = (
        train(
            TrainConfig(**settings, model=name, model_options={"dropout_at_test": switch}),
            tmp_path / str(switch),
            machine,
        )
        for switch in (False, True)
    )
    data = load_data(on.config)
    assert data.test is not None
    again = [evaluate(on.model(), data.test, on.preprocess, machine) for _ in range(2)]

    assert (off.path / "last.safetensors").read_bytes() == (
        on.path / "last.safetensors"
    ).read_bytes()
    assert (again[0] == on.predictions()["test_log_probs"]).all() and (again[0] == again[1]).all()
    assert not (again[0] == off.predictions()["test_log_probs"]).all()


@pytest.mark.slow
def test_five_thousand_digits_reach_98_per_cent(tmp_path: Path, machine: Device) -> None:
    run = train(TrainConfig(epochs=8), tmp_path / "run", machine)

    assert run.result is not None and run.result["test"]["total"] == 1000
    assert run.result["test"]["hits"] >= 980


def test_the_validation_folder_of_a_data_set_is_used(
    tiny_config: TrainConfig, signs: Path, later_signs: Path, tmp_path: Path
) -> None:
    for part, folder in (("train", signs), ("valid", later_signs), ("test", later_signs)):
        shutil.copytree(folder, tmp_path / part)

    data = load_data(tiny_config.model_copy(update={"data": str(tmp_path), "test": None}))

    assert data.val is not None and data.test is not None
    assert [len(data.train), len(data.val), len(data.test)] == [72, 30, 30]
    assert data.val.fingerprint == data.test.fingerprint
