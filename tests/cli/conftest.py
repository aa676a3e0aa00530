"""A small run made by the command line itself, and two ways to call it as a person would."""

import contextlib
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from siglum import cli

Call = Callable[..., subprocess.CompletedProcess[str]]

FLAGS = ("--epochs", "12", "--batch-size", "16", "--val", "0.2", "--precision", "float32")


@pytest.fixture(scope="session")
def siglum(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Run `siglum ...` in an empty folder, within this process: importing torch takes seconds."""
    home = tmp_path_factory.mktemp("home")

    def call(*arguments: object, cwd: Path = home) -> subprocess.CompletedProcess[str]:
        said, noted, line = io.StringIO(), io.StringIO(), [*map(str, arguments)]
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(noted),
            contextlib.chdir(cwd),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("default")
            code = cli.run(line)
        return subprocess.CompletedProcess(line, code, said.getvalue(), noted.getvalue())

    return call


@pytest.fixture(scope="session")
def siglum_process(tmp_path_factory: pytest.TempPathFactory) -> Call:
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


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print tables on lines of 120 characters."""
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="session")
def run(siglum: Call, signs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on three signs."""
    path = tmp_path_factory.mktemp("runs") / "signs"
    done = siglum("train", f"folder:{signs}", "-o", path, *FLAGS, "--threads", 1)
    assert done.returncode == 0, done.stderr
    return path
