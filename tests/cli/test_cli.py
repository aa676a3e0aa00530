"""Promises of every command."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from siglum import __version__
from siglum.cli import COMMANDS
from siglum.cli.output import print_table
from tests.conftest import draw_sign


def test_help_lists_every_command_and_imports_nothing_slow() -> None:
    code = (
        "import sys; from siglum.cli import run; run(['--help']);"
        "print(sorted({'torch', 'numpy', 'cyclopts', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    *lines, slow = done.stdout.splitlines()
    assert slow == "[]"
    assert all(re.search(rf"\b{name} +{text}", "\n".join(lines)) for name, text in COMMANDS.items())


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_a_function_in_a_file_of_its_name_with_an_example(
    siglum, command: str
) -> None:
    module = command.replace("-", "_")
    assert callable(getattr(import_module(f"siglum.cli.{module}"), module))
    done = siglum(command, "--help")

    assert done.returncode == 0, done.stderr
    assert f"Example: siglum {command} " in done.stdout


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_pipes_and_files_are_utf_8_whatever_the_system_says(
    siglum_process, tmp_path: Path, encoding: str
) -> None:
    """On Windows a redirect is written in a code page that has no Greek letters."""
    for label in "αβ":
        (tmp_path / "ψ" / label).mkdir(parents=True)
        draw_sign("ring", np.random.RandomState(0)).save(tmp_path / "ψ" / label / "1.png")
    variables = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = siglum_process("data", "folder:ψ", cwd=tmp_path, **variables)

    assert done.returncode == 0, done.stderr
    assert "α" in done.stdout


def test_tables_outside_a_terminal_are_never_cut(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    path = "/home/anna/" + "scans/" * 20 + "a.png"

    print_table(("file", "prediction"), [(path, "α")])

    assert path in capsys.readouterr().out


def test_tables_on_a_terminal_lose_the_front_of_long_names(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    path = "/home/anna/" + "scans/" * 20 + "ψ.png"

    print_table(("file", "prediction"), [(path, "α")])

    assert capsys.readouterr().out.splitlines()[1] == f"…{path[-27:]}  {'α':>10}"


def test_control_characters_never_reach_the_terminal(siglum, tmp_path: Path) -> None:
    """Names of files and classes could move the cursor, in results, warnings and errors alike."""
    for name in ("a\x1b[2J", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        draw_sign("ring", np.random.RandomState(0)).save(tmp_path / "set" / name / "1\x1b[31m.png")
    (tmp_path / "set" / "b" / "2\x1b[31m.png").write_text("no image")
    for arguments in (
        ("data", tmp_path / "set"),
        ("teach", "--samples", tmp_path / "set", "-o", tmp_path / "a.siglum"),
        ("predict", tmp_path / "a.siglum", *sorted((tmp_path / "set" / "b").iterdir())),
    ):
        done = siglum(*arguments)
        assert "\N{REPLACEMENT CHARACTER}" in done.stdout + done.stderr
        assert "\x1b" not in done.stdout + done.stderr, arguments


def test_version_is_printed(siglum) -> None:
    assert siglum("--version").stdout == f"siglum {__version__}\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("trian", "got 'trian'. Did you mean 'train'?"),
        ("train signs --epoch 3", "Did you mean --epochs? See: siglum train --help"),
        ("train mnist5", "Did you mean 'mnist5k'?"),
        ("train folder:", "source must be folder:DIR, got 'folder:'."),
        ("train folder:nowhere", "folder:nowhere is not a folder."),
        ("train signs --lr 0", "lr must be greater than 0, got '0'."),
        ("train signs --batch-size 1000", "must be at most the 66 training images, got 1000."),
        ("train signs --model glyphnet", "got 'glyphnet'. Did you mean 'glyph_net'?"),
        ("train signs --model mnist_net --model-options.filter 3", "Did you mean 'filters'?"),
        ("train signs --augment afine", "Did you mean 'affine'?"),
        ("train signs --device gpu", "device must be one of cpu, cuda, mps, got 'gpu'"),
        ("train signs --repeats 3", "repeats needs --folds without --fold."),
        ("train signs --config no.toml", "config must be a TOML file, got no.toml"),
        ("train signs --rename no.csv", "rename must be a CSV file in UTF-8"),
        ("train --resume nowhere", "nowhere not found. 'siglum runs' lists runs"),
        ("evaluate nowhere", "nowhere not found. 'siglum runs' lists runs"),
        ("data", "data describes one source, got 0."),
        ("data signs -o a.txt", '"a.txt" must have extension "png". See: siglum data --help'),
        ("predict a.siglum", "No image given."),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    siglum, signs: Path, command: str, message: str
) -> None:
    done = siglum(*command.split(), cwd=signs.parent)

    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("siglum: ") and message in done.stderr
    assert done.stderr.count("\n") == 1 and not (signs.parent / "runs").exists()


def test_a_mistake_ends_the_process_with_exit_code_2(siglum_process) -> None:
    done = siglum_process("train", "mnist5")

    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.startswith("siglum: ")
    assert done.stderr.count("\n") == 1


def test_commands_of_the_lab_name_the_package_to_install(siglum_process, run: Path) -> None:
    """As in an install of the light half alone: here torch is hidden."""
    done = siglum_process("predict", run, "x.png", start="sys.modules['torch'] = None")

    assert done.returncode == 2
    assert done.stderr == (
        "siglum: predict needs torch. Install it with: pip install 'siglum[lab]'.\n"
    )
