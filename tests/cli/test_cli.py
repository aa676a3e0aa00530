"""What every command promises."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from siglum import cli
from siglum.cli import COMMANDS
from siglum.cli.output import print_table
from tests.conftest import draw_sign


def test_help_lists_every_command(siglum) -> None:
    done = siglum("--help")

    assert done.returncode == 0
    for command, what in cli.COMMANDS.items():
        assert command in done.stdout and what in done.stdout


def test_help_imports_neither_torch_nor_anything_slow() -> None:
    code = (
        "import sys; from siglum.cli import run; run(['--help']);"
        "print(sorted({'torch', 'numpy', 'cyclopts', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_explains_itself_with_an_example(siglum, command: str) -> None:
    done = siglum(command, "--help")

    assert done.returncode == 0, done.stderr
    assert f"Example: siglum {command} " in done.stdout


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_is_one_function_in_a_file_of_its_name(command: str) -> None:
    module = command.replace("-", "_")
    assert callable(getattr(import_module(f"siglum.cli.{module}"), module))


def test_data_and_help_need_no_torch(signs: Path) -> None:
    code = (
        "import sys; from siglum.cli import run;"
        f"run(['data', 'folder:{signs}']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == "False", done.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_pipes_and_files_are_utf_8_whatever_the_system_says(tmp_path, encoding: str) -> None:
    """On Windows a redirect is written in a code page that has no Greek letters."""
    (tmp_path / "ψ").mkdir()
    for label in "αβ":
        (tmp_path / "ψ" / label).mkdir()
        draw_sign("ring", np.random.RandomState(0)).save(tmp_path / "ψ" / label / "1.png")
    done = subprocess.run(
        [sys.executable, "-m", "siglum", "data", "folder:ψ"],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
    )

    assert done.returncode == 0, done.stderr
    assert "α" in done.stdout.decode("utf-8")


def test_tables_outside_a_terminal_are_never_cut(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    path = "/home/anna/" + "scans/" * 20 + "a.png"

    print_table(("file", "prediction"), [(path, "α")])

    assert path in capsys.readouterr().out


def test_version_is_printed(siglum) -> None:
    from siglum import __version__

    assert siglum("--version").stdout == f"siglum {__version__}\n"


def mistakes(signs: str) -> dict[str, tuple[tuple[str, ...], str]]:
    train = ("train", f"folder:{signs}")
    return {
        "command": (
            ("trian",),
            f"command must be one of {', '.join(sorted(COMMANDS))}, got 'trian'. "
            "Did you mean 'train'?",
        ),
        "flag": (
            (*train, "--epoch", "3"),
            "Unknown option: --epoch. Did you mean --epochs? See: siglum train --help",
        ),
        "source": (
            ("train", "mnist5"),
            "Did you mean 'mnist5k'?",
        ),
        "place": (("train", "folder:"), "source must be folder:DIR, got 'folder:'."),
        "nowhere": (("train", "folder:nowhere"), "folder:nowhere is not a folder."),
        "lr 0": ((*train, "--lr", "0"), "lr must be above 0.0, got '0'."),
        "lr nan": ((*train, "--lr", "nan"), "lr must be a finite number, got 'nan'."),
        "lr text": ((*train, "--lr", "fast"), "lr must be "),
        "epochs": ((*train, "--epochs", "0"), "epochs must be at least 1, got '0'."),
        "batch": (
            (*train, "--batch-size", "1000"),
            "batch_size must be at most the 66 training images, got 1000.",
        ),
        "model": (
            (*train, "--model", "glyphnet"),
            "sign_net, got 'glyphnet'. Did you mean 'glyph_net'?",
        ),
        "option": (
            (*train, "--model", "mnist_net", "--model-options.filter", "3"),
            "Did you mean 'filters'?",
        ),
        "augment": ((*train, "--augment", "afine"), "Did you mean 'affine'?"),
        "device": ((*train, "--device", "gpu"), "device must be one of cpu, cuda, mps, got 'gpu'"),
        "config": ((*train, "--config", "no.toml"), "config must be a TOML file, got no.toml"),
        "classes": ((*train, "--rename", "no.csv"), "rename must be a CSV file in UTF-8"),
        "run": (("evaluate", "nowhere"), "nowhere not found. 'siglum runs' lists runs"),
        "resume": (("train", "--resume", "nowhere"), "nowhere not found. 'siglum runs' lists runs"),
        "report": (("report", "nowhere"), "nowhere not found. 'siglum runs' lists runs"),
    }


@pytest.mark.parametrize("mistake", mistakes(""))
def test_a_mistake_is_one_line_and_exit_code_2(
    mistake: str, signs: Path, tmp_path, monkeypatch, capsys
) -> None:
    """In this process, to be quick; the end-to-end tests show that a process does the same."""
    monkeypatch.chdir(tmp_path)
    arguments, message = mistakes(str(signs))[mistake]

    code = cli.run(list(arguments))

    error = capsys.readouterr().err.strip()
    assert code == 2, error
    assert error.startswith("siglum: ") and message in error
    assert "Traceback" not in error
    assert not list(tmp_path.glob("runs/*"))


def test_a_mistake_in_a_process_leaves_no_traceback(siglum) -> None:
    done = siglum("train", "--lr", "0")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "siglum: lr must be above 0.0, got '0'.\n"


def test_a_mistake_ends_the_process_with_exit_code_2(siglum_process) -> None:
    done = siglum_process("train", "mnist5")

    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.startswith("siglum: ")
    assert done.stderr.count("\n") == 1
