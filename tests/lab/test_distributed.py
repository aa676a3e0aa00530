"""One training on two processes of torchrun: the curve of one, stopped, killed and resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch.distributed as dist

from siglum.config import TrainConfig
from siglum.lab.device import Device
from siglum.lab.run_folder import Run
from siglum.lab.train_run import resume, train

pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="torch has no gloo here")

# Smooth, since in others rounding decides which values near 0 pass.
NETWORK = """
from torch import nn

class Smooth(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Conv2d(1, 8, 5, stride=2, bias=False), nn.BatchNorm2d(8), nn.Tanh(),
                         nn.AvgPool2d(2), nn.Flatten(), nn.Linear(288, num_classes))
"""


@pytest.fixture
def config(signs: Path, tmp_path: Path) -> TrainConfig:
    """100 steps of 16 images, of which the last of an epoch has 17: unequal parts."""
    (tmp_path / "smooth.py").write_text(NETWORK)
    model = f"{tmp_path / 'smooth.py'}:Smooth"
    return TrainConfig(data=f"folder:{signs}", model=model, epochs=25, batch_size=16, lr=0.02)


def launch(config: TrainConfig, path: Path, processes: int = 2) -> subprocess.Popen[str]:
    """Start `siglum train` with torchrun."""
    names = ("model", "epochs", "batch_size", "lr")
    options = [f"--{name.replace('_', '-')}={getattr(config, name)}" for name in names]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "siglum", "train", config.data]
    command += [*options, "--precision=float32", "--threads=1", "-o", str(path)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_epoch(process: subprocess.Popen[str], path: Path) -> None:
    while process.poll() is None and not (path / "log.jsonl").exists():
        time.sleep(0.01)


def test_two_processes_stopped_and_resumed_by_one_have_its_curve(
    config: TrainConfig, machine: Device, tmp_path: Path
) -> None:
    with launch(config, tmp_path / "two") as process:
        wait_for_epoch(process, tmp_path / "two")
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=60)
    run = Run(tmp_path / "two")

    assert text.count("Stopped. Resume with: siglum train --resume") == 1
    assert run.result is None and 1 <= len(run.history) < 25 and run.env["device"]["processes"] == 2
    with pytest.warns(UserWarning, match="began on .*'processes': 2.* resumes on .*'processes': 1"):
        resume(run, machine)
    one = train(config, tmp_path / "one", machine)
    for mine, theirs in zip(one.history, run.history, strict=True):
        assert theirs.train_loss == pytest.approx(mine.train_loss, abs=1e-4)
        assert theirs.val_loss == pytest.approx(mine.val_loss, abs=1e-3)
        assert theirs.examples == mine.examples


def test_a_killed_process_ends_others(config: TrainConfig, machine: Device, tmp_path: Path) -> None:
    config = config.model_copy(update={"epochs": 5_000})
    with launch(config, tmp_path / "run") as process:
        wait_for_epoch(process, tmp_path / "run")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            pytest.skip("no list of child processes here")
        os.kill(int(children.read_text().split()[-1]), signal.SIGKILL)
        process.communicate(timeout=60)

    assert process.returncode != 0
    assert Run(tmp_path / "run").history  # to resume


def test_each_process_needs_an_image_of_every_batch(config: TrainConfig, tmp_path: Path) -> None:
    config = config.model_copy(update={"batch_size": 2})
    with launch(config, tmp_path / "run", processes=3) as process:
        _, text = process.communicate(timeout=60)

    assert "batch_size must give each of 3 processes an image of every batch, got 2" in text
    assert not (tmp_path / "run").exists()
