"""A small run made by the command line itself, and a way to call it as a person would."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., subprocess.CompletedProcess[str]]

FLAGS = ("--epochs", "12", "--batch-size", "16", "--val", "0.2", "--precision", "float32")


@pytest.fixture(scope="session")
def siglum(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Run `siglum ...` as a process of its own, in an empty folder."""
    home = tmp_path_factory.mktemp("home")

    def call(*arguments: object, cwd: Path = home) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "siglum", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, "COLUMNS": "120"},
            timeout=300,
        )

    return call


@pytest.fixture(scope="session")
def run(siglum: Call, signs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on three signs."""
    path = tmp_path_factory.mktemp("runs") / "signs"
    done = siglum("train", f"folder:{signs}", "-o", path, *FLAGS, "--threads", 1)
    assert done.returncode == 0, done.stderr
    return path
