"""A machine that computes the same everywhere, and a small finished run."""

from pathlib import Path

import pytest
from untrained import make_run  # noqa: F401 - a fixture of several files

from siglum.config import TrainConfig
from siglum.lab.device import Device, choose_device
from siglum.lab.run_folder import Run
from siglum.lab.train_run import train


@pytest.fixture(scope="session")
def machine() -> Device:
    return choose_device("cpu", "float32", threads=1)


@pytest.fixture(scope="session")
def tiny_config(signs: Path, later_signs: Path) -> TrainConfig:
    """Settings that learn three signs in a second."""
    return TrainConfig(
        data=f"folder:{signs}",
        test=f"folder:{later_signs}",
        writers=r"w(\d)_",
        epochs=12,
        batch_size=16,
        val=0.2,
    )


@pytest.fixture(scope="session")
def tiny_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_config: TrainConfig, machine: Device
) -> Run:
    return train(tiny_config, tmp_path_factory.mktemp("runs") / "tiny", machine)
