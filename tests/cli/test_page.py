"""Pages of several characters, read by `siglum predict --page`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

Call = Callable[..., object]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A cross on grey paper."""
    image = Image.new("L", (200, 150), 180)
    draw = ImageDraw.Draw(image)
    draw.line((60, 40, 130, 110), 40, 6)
    draw.line((60, 110, 130, 40), 40, 6)
    image.save(tmp_path / "cross.png")
    return tmp_path / "cross.png"


@pytest.fixture(scope="module")
def reader(siglum: Call, signs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on cut-out signs."""
    path = tmp_path_factory.mktemp("runs") / "reader"
    flags = ("--epochs", "25", "--batch-size", "16", "--threads", 1)
    done = siglum("train", f"folder:{signs}", "--resize", "glyph", "-o", path, *flags)
    assert done.returncode == 0, done.stderr
    return path


def test_a_page_is_read_row_by_row(siglum: Call, reader: Path, tmp_path: Path) -> None:
    image = Image.new("L", (420, 260), 230)
    draw = ImageDraw.Draw(image)
    for left, top in ((40, 40), (40, 160), (280, 160)):
        draw.ellipse((left, top, left + 60, top + 60), outline=30, width=7)
    draw.line((160, 40, 220, 100), 30, 7)
    image.save(tmp_path / "page.png")

    done = siglum("predict", reader, "--page", tmp_path / "page.png", "-o", tmp_path / "boxes.png")
    listed = siglum("predict", reader, "--page", tmp_path / "page.png", "--json")

    assert done.returncode == 0, done.stderr
    rows = [line.split()[::3] for line in done.stdout.splitlines()[:2]]
    assert rows == [["ring", "stroke"], ["ring", "ring"]]
    characters = json.loads(listed.stdout)["characters"]
    assert [c["label"] for c in characters] == ["ring", "stroke", "ring", "ring"]
    assert [(c["row"], c["column"]) for c in characters] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert characters[0]["box"] == pytest.approx([40, 40, 101, 101], abs=3)
    drawn = np.asarray(Image.open(tmp_path / "boxes.png")).astype(int)
    assert drawn.shape == (260, 420, 3) and (np.ptp(drawn, axis=2) > 50).sum() > 500


def test_a_page_needs_a_network_of_cut_out_ink(siglum: Call, run: Path, photo: Path) -> None:
    done = siglum("predict", run, "--page", photo)

    message = "page needs a recogniser that extracts ink, without position channels. Teach one, "
    message += "or train with --resize glyph."
    assert (done.returncode, done.stderr) == (2, f"siglum: {message}\n")
