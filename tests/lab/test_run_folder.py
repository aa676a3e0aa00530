"""A run on disk: it reads back as written, and damage is an error of one line."""

import errno
import multiprocessing
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from siglum import files
from siglum.config import TrainConfig
from siglum.errors import ConfigError, RunError, SiglumError
from siglum.lab import models
from siglum.lab.device import choose_device
from siglum.lab.run_folder import CONFIG, Run, find_runs, next_path
from siglum.lab.train_run import load_data, resume, train

FILES = ("config.json", "preprocess.json", "classes.json", "env.json", "log.jsonl", "result.json")
READERS = ("config", "preprocess", "classes", "env", "result", "history", "predictions")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    config = TrainConfig()
    return Run.create(tmp_path / "run", config, config.preprocess(), ("a", "b"), {})


@pytest.fixture
def finished(tiny_run: Run, tmp_path: Path) -> Run:
    shutil.copytree(tiny_run.path, tmp_path / "copy")
    return Run(tmp_path / "copy")


def test_a_run_reads_back_as_written(run: Run) -> None:
    model = models.build("glyph_net", 2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run.save_checkpoint("last", model)

    assert run.config == TrainConfig() and run.classes == ("a", "b")
    assert run.preprocess == TrainConfig().preprocess()
    assert run.history == [] and run.result is None
    for name, tensor in run.model().state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    config = TrainConfig()
    with pytest.raises(RunError, match=r"already exists; a run is never overwritten.*--init"):
        Run.create(run.path, config, config.preprocess(), ("a", "b"), {})
    (tmp_path / "photo.png").touch()
    with pytest.raises(RunError, match="already exists and is not a run"):
        Run.create(tmp_path, config, config.preprocess(), ("a", "b"), {})


def test_a_folder_left_by_a_kill_is_started_anew(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "env.json").touch()
    (folder / ".classes.json.x1y2.tmp").touch()
    with pytest.warns(UserWarning, match="killed before it began; starting anew"):
        Run.create(folder, TrainConfig(), TrainConfig().preprocess(), ("a", "b"), {})

    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "not found"),
        ("x.pth", "is a file of weights, not a run. Train with it: .*--init file:"),
    ],
)
def test_a_path_that_is_not_a_run_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        Run(tmp_path / name)


def test_an_unknown_setting_of_a_run_is_named_without_an_empty_list(run: Run) -> None:
    (run.path / "config.json").write_text('{"lr_decay": 1}')
    message = r"of another version: unknown setting 'lr_decay'\. Train a new run\.$"
    with pytest.raises(RunError, match=message):
        _ = run.config


def test_a_missing_checkpoint_is_an_error(run: Run) -> None:
    with pytest.raises(RunError, match=r"has no last\.safetensors\. Resume it with"):
        run.model()
    with pytest.raises(ConfigError, match="Did you mean 'best'"):
        run.model("beste")


@pytest.mark.parametrize("size", [0, 1, 8, 100, 1000])
def test_truncated_weights_are_an_error(run: Run, size: int) -> None:
    run.save_checkpoint("last", models.build("glyph_net", 2))
    os.truncate(run.path / "last.safetensors", size)
    with pytest.raises(RunError, match=r"last\.safetensors is damaged"):
        run.model()


def test_a_damaged_environment_is_an_error_of_the_model_too(run: Run) -> None:
    run.save_checkpoint("last", models.build("glyph_net", 2))
    (run.path / "env.json").write_text("[]")
    with pytest.raises(RunError, match=r"env\.json is damaged"):
        run.model()


def test_weights_of_another_network_are_an_error(run: Run) -> None:
    run.save_checkpoint("last", models.build("glyph_net", 5))
    with pytest.raises(RunError, match=r"size mismatch for head.weight: .*\[5, 576\]"):
        run.model()


@pytest.mark.parametrize("name", [*FILES, "predictions.npz"])
def test_mutated_files_are_errors_or_harmless(finished: Run, name: str) -> None:
    """Cut, flipped, doubled and replaced bytes and values: never another exception."""
    path, draw = finished.path / name, random.Random(name)
    original = path.read_bytes()
    values = [b"null", b"[]", b"{}", b"-1", b"1e999", b"NaN", b'"x"', b"", b"\xff\xfe", b"[[[["]
    for _ in range(60):
        data = bytearray(original)
        at = draw.randrange(len(data))
        match draw.randrange(4):
            case 0:
                del data[at:]
            case 1:
                data[at] = draw.randrange(256)
            case 2:
                data[at : at + draw.randrange(1, 9)] = draw.choice(values)
            case 3:
                data = bytearray(draw.choice(values))
        path.write_bytes(data)
        for reader in READERS:
            try:
                value = getattr(finished, reader)
                if callable(value):
                    value()
            except (SiglumError, Warning):
                continue


def test_predictions_that_contradict_the_classes_are_an_error(finished: Run) -> None:
    arrays = finished.predictions()
    arrays["val_labels"] = arrays["val_labels"] + 7
    np.savez(finished.path / "predictions.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="is damaged: val_labels must be labels of the 3 classes"):
        finished.predictions()


def test_a_full_disk_is_one_line_with_the_remedy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError, match=r"no space left on device\. Make room and resume: siglum"):
        run.save_checkpoint("last", models.build("glyph_net", 2))
    assert not list(run.path.glob(".*"))


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    config = TrainConfig()
    for name, time in (("old", 1), ("new", 2)):
        run = Run.create(tmp_path / name, config, config.preprocess(), ("a", "b"), {})
        os.utime(run.path / "config.json", (time, time))
    (tmp_path / "other").mkdir()

    assert [run.path.name for run in find_runs(tmp_path)] == ["new", "old"]
    assert list(find_runs(tmp_path / "nowhere")) == []


def test_a_name_is_the_first_that_is_free(tmp_path: Path) -> None:
    config = TrainConfig(data="folder:some/My.Signs")
    assert next_path(tmp_path, config).name == "glyph_net-my-1"
    (tmp_path / "glyph_net-my-1").mkdir()
    assert next_path(tmp_path, config).name == "glyph_net-my-2"


FORKS = multiprocessing.get_context("forkserver")  # its server imports torch, once for all
FORKS.set_forkserver_preload(["siglum.lab.train_run"])


def _train(path: Path, end: int, signs: Path, count: Any) -> None:
    """Train or resume a run; the process ends at its `end`-th operation on files."""

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            count.value += 1
            if count.value == end:
                os._exit(9)
            return function(*arguments, **options)

        return call

    os.fsync, os.replace, os.mkdir = map(counted, (os.fsync, os.replace, os.mkdir))
    device = choose_device("cpu", "float32", 1)
    if not (path / CONFIG).exists():
        config = TrainConfig(data=f"folder:{signs}", epochs=2, batch_size=32, val=0.2)
        train(config, path, device)
    elif Run(path).result is None:
        resume(Run(path), device)


def _run_process(path: Path, end: int, signs: Path) -> tuple[int | None, int]:
    """Return the exit code of a process that trains, and the number of its operations."""
    count = FORKS.Value("i", lock=False)
    process = FORKS.Process(target=_train, args=(path, end, signs, count))
    process.start()
    process.join(120)
    return process.exitcode, count.value


def test_killed_while_writing_and_resumed_gives_equal_bytes(signs: Path, tmp_path: Path) -> None:
    """A sample of the operations, the first ones included, in which a run comes into being."""
    load_data(TrainConfig(data=f"folder:{signs}"))  # packs the images in the cache
    code, total = _run_process(tmp_path / "whole", 0, signs)
    assert code == 0
    names = ("best.safetensors", "last.safetensors", "predictions.npz")
    for end in (1, 4, total // 2, total - 1):
        path = tmp_path / str(end)
        assert _run_process(path, end, signs)[0] == 9
        assert _run_process(path, 0, signs)[0] == 0
        for name in names:
            assert (path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), end
        losses = [epoch.train_loss for epoch in Run(path).history]
        assert losses == [epoch.train_loss for epoch in Run(tmp_path / "whole").history]
