"""Pages of several characters, read by `siglum predict --page`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.cli.conftest import Call


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


def test_a_page_needs_a_recogniser_that_extracts_ink(siglum: Call, run: Path) -> None:
    done = siglum("predict", run, "--page", "page.png")

    assert (done.returncode, done.stderr) == (
        2,
        "siglum: page needs a recogniser that extracts ink, without position channels. "
        "Teach one, or train with --resize glyph.\n",
    )
