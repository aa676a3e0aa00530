"""Bundles on the command line: exported, described, and used to predict images and pages."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

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


def test_bundles_and_sources_are_read_without_the_lab(
    siglum_process: Call, bundle: Path, files: list[Path], signs: Path
) -> None:
    hide = "sys.modules |= dict.fromkeys(('torch', 'torchvision', 'scipy', 'onnx', 'siglum.lab'))"
    for arguments in (("predict", bundle, *files), ("data", signs)):
        done = siglum_process(*arguments, start=hide)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_page_is_read_row_by_row(siglum: Call, signs: Path, tmp_path: Path) -> None:
    image = Image.new("L", (420, 260), 230)
    draw = ImageDraw.Draw(image)
    for left, top in ((40, 40), (40, 160), (280, 160)):
        draw.ellipse((left, top, left + 60, top + 60), outline=30, width=7)
    draw.line((160, 40, 220, 100), 30, 7)
    image.save(tmp_path / "page.png")

    reader = tmp_path / "signs.siglum"
    assert siglum("teach", "--samples", signs, "-o", reader).returncode == 0

    done = siglum("predict", reader, "--page", tmp_path / "page.png", "-o", tmp_path / "boxes.png")
    listed = siglum("predict", reader, "--page", tmp_path / "page.png", "--json")

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[:2]
    rows = [[cell.split()[0] for cell in line.split("   ")] for line in lines]
    assert rows == [["ring", "stroke"], ["ring", "ring"]]
    characters = json.loads(listed.stdout)["characters"]
    assert [c["label"] for c in characters] == ["ring", "stroke", "ring", "ring"]
    assert [(c["row"], c["column"]) for c in characters] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert characters[0]["box"] == pytest.approx([40, 40, 101, 101], abs=3)
    drawn = np.asarray(Image.open(tmp_path / "boxes.png")).astype(int)
    assert drawn.shape == (260, 420, 3) and (np.ptp(drawn, axis=2) > 50).sum() > 500

    outputs = tmp_path / "outputs.csv"
    outputs.write_text('label,output\nring,"\\ring{\n}"\nstroke,\n', "utf-8-sig")
    teach = ("teach", "--samples", signs, "--outputs", outputs, "-o", tmp_path / "own.siglum")
    assert siglum(*teach).returncode == 0
    done = siglum(
        "predict", tmp_path / "own.siglum", "--page", tmp_path / "page.png", "--output", "latex"
    )
    assert done.stdout == "\\ring{\n} stroke\n\\ring{\n} \\ring{\n}\n"
