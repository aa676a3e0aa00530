"""The documents say what is so."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from siglum import cli
from siglum.lab.study import read_study
from tests.conftest import draw_sign, write_signs

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def words(text: str) -> list[str]:
    """The words of a help page, whatever boxes and breaks another version draws around them."""
    return re.findall(r"[\w./:,'\[\]()-]+", text)


def test_the_page_of_commands_is_that_of_the_code() -> None:
    """Made again with: make docs"""
    code = "import sys; sys.path.insert(0, 'docs'); import generate; print(generate.cli_page())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )

    assert words(done.stdout) == words((ROOT / "docs" / "cli.md").read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("file", sorted((ROOT / "studies").glob("*.toml")), ids=lambda f: f.stem)
def test_every_study_can_be_read(file: Path) -> None:
    study = read_study(file, Path("runs"))

    assert study.file.question.endswith("?")


def test_the_studies_that_are_explained_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "question.toml"
    examples = blocks(ROOT / "docs" / "studies.md", "toml")
    file.write_text(examples[0])
    study = read_study(file, Path("runs"))
    assert list(study.levels) == ["scratch", "pretrained", "pretrained, frozen"]
    assert study.file.pairs == (("scratch", "pretrained"), ("pretrained", "pretrained, frozen"))
    file.write_text(examples[1])

    assert len(read_study(file, Path("runs")).levels) == 4


@pytest.mark.slow
def test_every_command_about_transfer_works_in_its_order(tmp_path: Path) -> None:
    write_signs(tmp_path / "my-signs")
    commands, said = blocks(ROOT / "docs" / "transfer.md", "")
    for command in commands.splitlines():
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(command), "--epochs", "1"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"

    assert said.rstrip().removesuffix("...") in done.stdout


def open_and_leave(command: str, folder: Path) -> None:
    """Start a server as a person would, look at its page, and press Ctrl-C."""
    with subprocess.Popen(
        [sys.executable, "-m", *shlex.split(command), "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as served:
        assert served.stdout is not None
        try:
            address = next(line for line in served.stdout if line.startswith("http://127.0.0.1:"))
            with urllib.request.urlopen(address.split()[0]) as page:
                assert b"<title>Siglum</title>" in page.read()
            served.send_signal(signal.SIGINT)
            assert served.wait(60) in (0, 130)
        finally:
            served.kill()


def read_three_letters(line: str, folder: Path) -> str:
    """Run the first example as a shell does, with this Python's siglum; return what it prints."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        line,
        shell=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PATH": places},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_command_of_the_readme_works_in_its_order(tmp_path: Path) -> None:
    import numpy as np

    write_signs(tmp_path / "my-pictures")
    draw_sign("ring", np.random.RandomState(5)).save(tmp_path / "photo.png")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    first, printed, *others = blocks(ROOT / "README.md", "")
    lines = [line for block in others for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("siglum ")]

    done = read_three_letters(first.splitlines()[-1], tmp_path)
    assert done.splitlines()[-4:] == printed.splitlines()
    assert len(commands) >= 8 and commands[0] == "siglum studio"
    for command in commands:
        if command == "siglum studio":
            open_and_leave(command, tmp_path)
            continue
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(command)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        if command == "siglum train mnist5k -o runs/first":
            assert "of 1,000; 95 %" in done.stdout
    assert (tmp_path / "runs/first/report.html").exists() and (tmp_path / "signs.png").exists()


def draw_letter(file: Path, letter: str) -> None:
    """Write a picture of a letter in the face that matplotlib brings along."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    font = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    image = Image.new("L", (200, 200), 250)
    ImageDraw.Draw(image).text((100, 100), letter, 40, ImageFont.truetype(font, 110), anchor="mm")
    image.save(file)


def test_every_command_about_teaching_works_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_letter(tmp_path / "alpha.png", "α")
    draw_letter(tmp_path / "beta.jpg", "β")
    for block in blocks(ROOT / "docs" / "teach.md", ""):
        for command in block.splitlines():
            assert cli.run(shlex.split(command)[1:]) == 0, command

    answers = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert ["alpha.png", "α"] in answers
    assert ["beta.jpg", "β"] in answers


@pytest.mark.slow
def test_the_python_of_the_readme_works(tmp_path: Path) -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr
    assert "'total': 1000" in done.stdout


@pytest.mark.slow
def test_every_command_about_looking_inside_works_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within this process; trained for an epoch, since that is enough to be looked into."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "examine.md"
    commands = [line for block in blocks(page, "") for line in block.splitlines()]
    assert len(commands) > 12
    for command in commands:
        name, *rest = shlex.split(command.replace("--epochs 8", "--epochs 1"))
        assert name == "siglum" and cli.run(rest) == 0, command

    assert (tmp_path / "runs/inside/examine.html").exists()
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert {f"{word}.png" for word in ("filters", "maps", "gradients", "embedding")} <= drawn


def test_make_is_what_the_readme_says_it_is() -> None:
    if shutil.which("make") is None:
        pytest.skip("no make here")
    for target in ("demo", "test", "check"):
        done = subprocess.run(["make", "-n", target], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
