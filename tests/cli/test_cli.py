"""Promises of every command."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from siglum import __version__
from siglum.cli import COMMANDS
from siglum.cli.terminal import print_table
from siglum.examine.panels import PANELS
from tests.conftest import draw_sign


def test_help_lists_every_command_and_imports_nothing_slow() -> None:
    code = (
        "import sys; from siglum.cli import run; run(['--help']);"
        "print(sorted({'torch', 'numpy', 'cyclopts', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    *lines, slow = done.stdout.splitlines()
    assert slow == "[]"
    for name, (_, text) in COMMANDS.items():
        assert re.search(rf"\b{name} +{text}", "\n".join(lines))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_an_example(siglum, command: str) -> None:
    done = siglum(command, "--help")

    assert done.returncode == 0, done.stderr
    assert f"Example: siglum {command} " in done.stdout
    text = " ".join(done.stdout.split())
    assert command != "examine" or all(panel in text for panel in PANELS)


def test_version_is_printed(siglum) -> None:
    assert siglum("--version").stdout == f"siglum {__version__}\n"


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


@pytest.mark.parametrize("terminal", [False, True])
def test_tables_are_cut_only_on_a_terminal_and_at_the_front(capsys, monkeypatch, terminal) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    path = "/home/anna/" + "scans/" * 20 + "ψ.png"
    print_table(("file", "prediction"), [(path, "α")])

    line = capsys.readouterr().out.splitlines()[1]
    assert line == f"{f'…{path[-27:]}' if terminal else path}  {'α':>10}"


def test_control_characters_never_reach_the_terminal(siglum, tmp_path: Path) -> None:
    """Names of files and classes could move the cursor, in results, warnings and errors alike."""
    for name in ("a\x1b[2J", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        draw_sign("ring", np.random.RandomState(0)).save(tmp_path / "set" / name / "1\x1b[31m.png")
    (tmp_path / "set" / "b" / "2\x1b[31m\x9b.png").write_text("no image")
    for arguments in (
        ("data", tmp_path / "set"),
        ("data", tmp_path / "set", "--json"),
        ("teach", "--samples", tmp_path / "set", "-o", tmp_path / "a.siglum"),
        ("predict", tmp_path / "a.siglum", *sorted((tmp_path / "set" / "b").iterdir())),
    ):
        done = siglum(*arguments)
        assert "\N{REPLACEMENT CHARACTER}" in done.stdout + done.stderr or "--json" in arguments
        assert not {"\x1b", "\x9b"} & {*done.stdout, *done.stderr}, arguments


@pytest.mark.parametrize(
    ("shell", "check"),
    {
        "bash": "source '{}'; COMP_WORDS=({}); COMP_CWORD={}; _siglum; echo ${{COMPREPLY[@]}}",
        "fish": "source '{}'; complete --do-complete '{}' | string match --regex '^\\S+'",
        "zsh": "fpath=('{}'(:h) $fpath); export FPATH; zmodload zsh/zpty; zpty shell zsh -f;"
        "zpty -w shell 'autoload -Uz compinit; compinit -u -D'; zpty -wn shell '{}'$'\\t';"
        ': {}; for word in {}; do zpty -r shell line "*$word*" && print -- $word; done',
    }.items(),
)
def test_the_script_of_a_shell_completes_commands_options_and_values(
    siglum, tmp_path: Path, shell: str, check: str
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "_siglum"  # the name that zsh needs
    script.write_text(siglum("completion", shell).stdout)
    for line, expected in {
        "siglum tra": "train",
        "siglum train --resi": "--resize",
        "siglum train --resize ": "glyph pad stretch",
    }.items():
        words = line.replace("resize ", "resize ''") if shell == "bash" else line
        code = check.format(script, words, len(line.split(" ")) - 1, expected)
        done = subprocess.run([shell, "-c", code], capture_output=True, text=True, timeout=60)
        assert (done.stderr, done.returncode) == ("", 0)
        assert {*expected.split()} <= {*done.stdout.split()}
