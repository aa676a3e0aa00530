import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from siglum.config import TrainConfig
from siglum.errors import ConfigError, RunError
from siglum.lab import models, runs
from siglum.lab.runs import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    config = TrainConfig()
    return Run.create(tmp_path / "run", config, config.preprocess(), ("a", "b"), {"seen": "ü"})


def test_reads_back_what_was_written(run: Run) -> None:
    again = Run(run.path)

    assert again.config == TrainConfig()
    assert again.preprocess == TrainConfig().preprocess()
    assert again.classes == ("a", "b")
    assert again.env == {"seen": "ü"}
    assert again.result is None and again.epochs == []


def test_a_run_is_never_overwritten(run: Run) -> None:
    with pytest.raises(RunError) as error:
        Run.create(run.path, TrainConfig(), TrainConfig().preprocess(), ("a", "b"), {})

    assert str(error.value) == (
        f"{run.path} must not exist yet; a run is never overwritten. "
        f"Choose another name with -o, or go on with: siglum train --resume {run.path}"
    )


def test_another_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="must be a run's folder, with a config.json, got another"):
        Run(tmp_path)
    with pytest.raises(RunError, match="must be a run's folder, with a config.json, got nothing"):
        Run(tmp_path / "nowhere")


def test_weights_come_back_to_the_bit(run: Run) -> None:
    torch.manual_seed(3)
    model = models.build("glyph_net", 2)
    run.save_weights("last", model)

    for name, tensor in run.model("last").state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_missing_weights_are_said(run: Run) -> None:
    with pytest.raises(RunError, match=r"must hold best\.safetensors, got none\. Go on training"):
        run.model("best")


def test_weights_that_a_finished_run_lacks_name_those_it_has(tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "old")
    (tmp_path / "old" / "lowest_loss.safetensors").unlink()

    with pytest.raises(RunError) as error:
        Run(tmp_path / "old").model("lowest_loss")
    assert str(error.value) == (
        f"{tmp_path / 'old'} must hold lowest_loss.safetensors, got none. "
        "Choose others: best, last."
    )


def test_weights_of_no_known_name_are_said(run: Run) -> None:
    with pytest.raises(ConfigError) as error:
        run.model("beste")

    assert str(error.value) == (
        "weights must be one of best, last, lowest_loss, got 'beste'. Did you mean 'best'?"
    )


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1])
def test_truncated_weights_are_said(run: Run, keep: int) -> None:
    run.save_weights("last", models.build("glyph_net", 2))
    path = run.path / "last.safetensors"
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(RunError, match=r"last\.safetensors must be a whole safetensors file"):
        run.model("last")


def test_weights_of_another_network_name_the_first_difference(run: Run) -> None:
    save_file(models.build("mnist_net", 2).state_dict(), run.path / "last.safetensors")

    with pytest.raises(RunError) as error:
        run.model("last")

    assert str(error.value) == (
        f"{run.path / 'last.safetensors'} must hold the weights of glyph_net, got "
        "10 for 'conv1.bias' where the network has nothing."
    )


def test_weights_for_other_classes_name_the_shapes(run: Run) -> None:
    run.save_weights("last", models.build("glyph_net", 5))

    with pytest.raises(RunError, match="got 5 for 'head.bias' where the network has 2"):
        run.model("last")


def test_damaged_settings_are_said(run: Run) -> None:
    (run.path / "config.json").write_text('{"epochs": ')

    with pytest.raises(RunError, match=r"config\.json must be a run's JSON file"):
        _ = run.config


def test_a_folder_that_is_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(RunError, match="must be a place that can be written, got 'File exists'"):
        Run.create(tmp_path / "file" / "run", TrainConfig(), TrainConfig().preprocess(), ("a",), {})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_while_logging_is_said(run: Run, tiny_run: Run) -> None:
    (run.path / "log.jsonl").symlink_to("/dev/full")

    with pytest.raises(RunError, match="No space left on device"):
        run.append(tiny_run.epochs[0])


def test_a_failed_write_leaves_the_old_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a full disk does: the write of the new file fails half-way."""
    run.save_weights("last", models.build("glyph_net", 2))
    before = (run.path / "last.safetensors").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        run.save_weights("last", models.build("glyph_net", 2))

    assert (run.path / "last.safetensors").read_bytes() == before
    assert not [path for path in run.path.iterdir() if path.name.startswith(".")]


def test_a_finished_run_keeps_all_that_is_promised(tiny_run: Run) -> None:
    assert sorted(path.name for path in tiny_run.path.iterdir()) == [
        "best.safetensors",
        "classes.json",
        "config.json",
        "env.json",
        "last.safetensors",
        "log.jsonl",
        "lowest_loss.safetensors",
        "predictions.npz",
        "preprocess.json",
        "result.json",
    ]


def test_predictions_are_of_the_weights_that_the_run_stands_for(tiny_run: Run) -> None:
    predictions, result = tiny_run.predictions(), tiny_run.result
    assert result is not None
    hits = predictions["test_log_probs"].argmax(axis=1) == predictions["test_labels"]

    assert int(hits.sum()) == result["test"]["hits"]
    assert len(predictions["val_labels"]) == result["val"]["total"]
    np.testing.assert_allclose(np.exp(predictions["test_log_probs"]).sum(axis=1), 1, rtol=1e-5)


def test_runs_are_found_newest_first(tmp_path: Path) -> None:
    config = TrainConfig()
    for number, name in enumerate(("old", "new")):
        run = Run.create(tmp_path / name, config, config.preprocess(), ("a", "b"), {})
        os.utime(run.path / "config.json", (number, number))
    (tmp_path / "no-run").mkdir()

    assert [run.name for run in runs.find_runs(tmp_path)] == ["new", "old"]
    assert list(runs.find_runs(tmp_path / "nowhere")) == []


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("mnist5k", "glyph_net-mnist5k-1"),
        ("idx:../data/MNIST/raw", "glyph_net-mnist-1"),
        ("archive:/a/greek train.tar.gz", "glyph_net-greek train-1"),
        ("folder:.", "glyph_net-data-1"),
    ],
)
def test_next_path_is_named_by_model_and_source(tmp_path: Path, data: str, name: str) -> None:
    assert runs.next_path(tmp_path, TrainConfig(data=data)) == tmp_path / name


def test_next_path_counts_on(tmp_path: Path) -> None:
    (tmp_path / "glyph_net-mnist5k-1").mkdir()

    assert runs.next_path(tmp_path, TrainConfig()).name == "glyph_net-mnist5k-2"


def test_files_are_plain_json(tiny_run: Run) -> None:
    for name in ("config", "preprocess", "classes", "env", "result"):
        json.loads((tiny_run.path / f"{name}.json").read_text())
