"""Bundles by the command line: made of a run, described, and predicted with, without torch."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Call


@pytest.fixture(scope="module")
def bundle(siglum: Call, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "signs.siglum"
    done = siglum("export", run, "-o", path, "--licence", "CC0-1.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["bundle", str(path)]
    return path


@pytest.fixture
def files(later_signs: Path) -> list[Path]:
    return [later_signs / name / f"w0_{0:02}.png" for name in ("cross", "ring", "stroke")]


def test_info_describes_a_bundle(siglum: Call, bundle: Path, signs: Path) -> None:
    done, record = siglum("info", bundle), json.loads(siglum("info", bundle, "--json").stdout)

    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(re.split("  +", line, maxsplit=1) for line in done.stdout.splitlines())
    assert lines["title"] == f"glyph_net trained on folder:{signs}"
    assert lines["classes"] == "3: cross ring stroke"
    assert lines["preprocess"].startswith("size: 28, channels: 1, resize: pad")
    assert lines["reference"] == "random noise"
    assert lines["licence"] == record["card"]["licence"] == "CC0-1.0"
    assert "95 %" in lines["val"]
    assert record["bytes"] == bundle.stat().st_size
    assert record["classes"] == ["cross", "ring", "stroke"]
    assert (record["reference_outputs"], record["samples"]) == (4, 0)


def test_a_bundle_predicts_as_its_run_does(
    siglum: Call, bundle: Path, run: Path, files: list[Path], tmp_path: Path
) -> None:
    """Everything is in it, wherever it lies and whatever it is called; it is calibrated, too."""
    shutil.copy(bundle, tmp_path / "renamed")
    by_run = json.loads(siglum("predict", run, *files, "--json").stdout)
    by_bundle = json.loads(siglum("predict", "renamed", *files, "--json", cwd=tmp_path).stdout)

    assert [list(record) for record in by_bundle] == [list(record) for record in by_run]
    for ours, theirs in zip(by_bundle, by_run, strict=True):
        for key in ("file", "label", "runner_up", "inverted"):
            assert ours[key] == theirs[key]
    rows = list(csv.DictReader(io.StringIO(siglum("predict", bundle, *files, "--csv").stdout)))
    assert [row["label"] for row in rows] == [record["label"] for record in by_bundle]


def test_unreadable_files_are_named_after_the_predictions(
    siglum: Call, bundle: Path, files: list[Path], tmp_path: Path
) -> None:
    done = siglum("predict", bundle, files[0], tmp_path / "gone.png")

    assert done.returncode == 2 and str(files[0]) in done.stdout
    assert done.stderr == (
        f"siglum: Cannot read 1 of 2 files. {tmp_path / 'gone.png'}: no such file\n"
    )


@pytest.mark.parametrize("flags", [("--checkpoint", "best"), ("--device", "cuda")])
def test_settings_of_runs_are_refused_with_a_bundle(siglum: Call, bundle: Path, flags) -> None:
    done = siglum("predict", bundle, bundle, *flags)

    assert (done.returncode, done.stderr) == (
        2,
        "siglum: checkpoint and device are for runs. Leave them out with a bundle.\n",
    )


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


@pytest.mark.parametrize("command", ["info", "predict"])
def test_a_bundle_is_read_without_the_lab(
    siglum_process: Call, command: str, bundle: Path, files: list[Path]
) -> None:
    hide = "sys.modules |= dict.fromkeys(('torch', 'torchvision', 'scipy', 'onnx', 'siglum.lab'))"
    done = siglum_process(command, bundle, *(files if command == "predict" else []), start=hide)

    assert (done.returncode, done.stderr) == (0, "")
