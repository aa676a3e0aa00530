"""A small finished run, with a class name that would run a program, and its page."""

from pathlib import Path

import pytest

from siglum.config import TrainConfig
from siglum.lab.device import choose_device
from siglum.lab.run_folder import Run
from siglum.lab.train_run import train
from siglum.report.sections import write_report

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, signs: Path, later_signs: Path) -> Run:
    """A run with training, validation and test images, which still makes mistakes."""
    config = TrainConfig(
        data=f"folder:{signs}",
        test=f"folder:{later_signs}",
        rename={"cross": HOSTILE},
        epochs=1,
        batch_size=16,
        val=0.2,
        lr=0.01,
    )
    path = tmp_path_factory.mktemp("runs") / "tiny"
    return train(config, path, choose_device("cpu", "float32", threads=1))


@pytest.fixture(scope="session")
def tiny_page(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("pages") / "tiny.html"
    write_report(tiny_run, path)
    return path.read_text()
