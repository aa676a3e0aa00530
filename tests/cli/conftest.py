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
        stdout, stderr, line = io.StringIO(), io.StringIO(), [*map(str, arguments)]
        with (
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
            contextlib.chdir(cwd),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("default")
            code = cli.run(line)
        return subprocess.CompletedProcess(line, code, stdout.getvalue(), stderr.getvalue())

    return call


@pytest.fixture(scope="session")
def siglum_process(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Run `siglum ...` as a process of its own, in an empty folder."""
    home = tmp_path_factory.mktemp("home")

    def call(
        *arguments: object, cwd: Path = home, start: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """`start` is code that runs first; `environment` are variables to set."""
        code = f"import sys\n{start}\nfrom siglum.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            encoding="utf-8",
            cwd=cwd,
            env={**os.environ, **environment},
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
