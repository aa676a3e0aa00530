"""Bundles by the command line: made of a run, looked at, read with, without torch."""

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Call


@pytest.fixture(scope="module")
def bundle(siglum: Call, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "signs.siglum"
    done = siglum("export", run, "-o", path, "--licence", "CC0-1.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["bundle", f"{path},"]
    return path


@pytest.fixture
def files(later_signs: Path) -> list[Path]:
    return [later_signs / name / f"w0_{0:02}.png" for name in ("cross", "ring", "stroke")]


def test_a_bundle_says_what_it_is(siglum: Call, bundle: Path, run: Path, signs: Path) -> None:
    done = siglum("info", bundle)

    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["title"] == f"glyph_net trained on folder:{signs}"
    assert lines["classes"] == "3: cross ring stroke"
    assert lines["input"] == "28 x 28, grey, pad"
    assert "4 images of validation images; " in lines["verified"]
    assert lines["licence"] == "CC0-1.0"
    assert "95 %" in lines["val"]


def test_a_bundle_as_json(siglum: Call, bundle: Path) -> None:
    found = json.loads(siglum("info", bundle, "--json").stdout)

    assert found["bytes"] == bundle.stat().st_size
    assert found["classes"] == ["cross", "ring", "stroke"]
    assert found["card"]["licence"] == "CC0-1.0"
    assert (found["reference_outputs"], found["samples"]) == (4, 0)
    assert found["preprocess"]["size"] == 28


def test_a_bundle_reads_as_its_run_does(
    siglum: Call, bundle: Path, run: Path, files: list[Path]
) -> None:
    """The same answers, by probabilities that are calibrated."""
    by_run = json.loads(siglum("predict", run, *files, "--json").stdout)

    by_bundle = json.loads(siglum("predict", bundle, *files, "--json").stdout)

    assert [list(answer) for answer in by_bundle] == [list(answer) for answer in by_run]
    for ours, theirs in zip(by_bundle, by_run, strict=True):
        for key in ("file", "label", "runner_up", "inverted"):
            assert ours[key] == theirs[key]
    rows = list(csv.DictReader(io.StringIO(siglum("predict", bundle, *files, "--csv").stdout)))
    assert [row["label"] for row in rows] == [answer["label"] for answer in by_bundle]


def test_what_cannot_be_read_is_said_beside_the_answers(
    siglum: Call, bundle: Path, files: list[Path], tmp_path: Path
) -> None:
    done = siglum("predict", bundle, files[0], tmp_path / "gone.png")

    assert done.returncode == 2 and str(files[0].name) in done.stdout.replace("\n", "")
    assert done.stderr == (
        f"siglum: Cannot read 1 of 2 files. {tmp_path / 'gone.png'}: no such file\n"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--checkpoint", "best"),
         "checkpoint must be left out with a bundle, got 'best'."),
        (("--device", "cuda"), "device must be auto or cpu with a bundle, got 'cuda'."),
    ],
)  # fmt: skip
def test_settings_of_runs_are_refused_with_a_bundle(
    siglum: Call, bundle: Path, files: list[Path], flags: tuple[str, ...], message: str
) -> None:
    done = siglum("predict", bundle, files[0], *flags)

    assert (done.returncode, done.stderr) == (2, f"siglum: {message}\n")


@pytest.mark.parametrize("command", [("info",), ("predict",)])
def test_a_damaged_bundle_is_one_line_on_standard_error(
    siglum: Call, bundle: Path, files: list[Path], tmp_path: Path, command: tuple[str, ...]
) -> None:
    damaged = tmp_path / "damaged.siglum"
    raw = bytearray(bundle.read_bytes())
    raw[len(raw) // 2] ^= 1
    damaged.write_bytes(raw)

    done = siglum(*command, damaged, *(files[:1] if command == ("predict",) else []))

    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("siglum: damaged.siglum is damaged: ")
    assert done.stderr.count("\n") == 1


def test_an_unknown_checkpoint_is_refused(siglum: Call, run: Path, tmp_path: Path) -> None:
    done = siglum("export", run, "-o", tmp_path / "x.siglum", "--checkpoint", "bests")

    assert done.returncode == 2
    assert done.stderr.startswith("siglum: checkpoint must be one of best, last")
    assert "got 'bests'. Did you mean 'best'?" in done.stderr


PROGRAM = """
import sys
from siglum import cli
code = cli.run(sys.argv[1:])
print(*sorted({'torch', 'torchvision', 'scipy', 'onnx', 'siglum.lab'} & set(sys.modules)), code)
"""


@pytest.mark.parametrize("command", ["info", "predict"])
def test_a_bundle_is_read_without_torch(
    command: str, bundle: Path, files: list[Path], tmp_path: Path
) -> None:
    arguments = [command, bundle, *(files if command == "predict" else [])]

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines()[-1] == " 0".strip()


def test_a_run_without_torch_asks_for_it(run: Path, files: list[Path], tmp_path: Path) -> None:
    """As in an install of the light half alone: here torch is hidden."""
    program = "import sys; sys.modules['torch'] = None\n" + PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", program, "predict", str(run), str(files[0])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert done.stderr == (
        "siglum: predict needs torch. Install it with: pip install 'siglum[lab]'.\n"
    )
    assert done.stdout.splitlines()[-1].endswith(" 2")


def test_a_bundle_outlives_its_run(
    siglum: Call, bundle: Path, files: list[Path], tmp_path: Path
) -> None:
    """Everything it needs is in it, wherever it lies and whatever it is called."""
    shutil.copy(bundle, tmp_path / "renamed")

    done = siglum("predict", "renamed", files[1], "--json", cwd=tmp_path)

    assert [answer["label"] for answer in json.loads(done.stdout)] == ["ring"]
