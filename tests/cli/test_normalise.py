"""`siglum normalise`, and pages of several characters read by `siglum predict --sheet`."""

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


def test_a_sheet_shows_before_and_after_and_what_was_found(siglum: Call, photo: Path) -> None:
    sheet = photo.with_name("sheet.png")

    done = siglum("normalise", photo, photo, "-o", sheet)

    assert done.returncode == 0, done.stderr
    assert "Dark ink on light paper." in done.stdout and f"Sheet: {sheet}" in done.stdout
    with Image.open(sheet) as image:
        assert image.height > 2 * 160


def test_the_evidence_as_json(siglum: Call, photo: Path) -> None:
    done = siglum("normalise", photo, "--json")

    (found,) = json.loads(done.stdout)
    assert found["file"] == str(photo) and found["inverted"] and found["characters"] == 1
    assert found["box"] == pytest.approx([38, 58, 112, 132], abs=3)
    assert found["said"] == ["Dark ink on light paper."]


def test_what_cannot_be_read_is_named_after_the_others(siglum: Call, photo: Path) -> None:
    blank, text = photo.with_name("blank.png"), photo.with_name("text.png")
    Image.new("L", (30, 20), 200).save(blank)
    text.write_text("no picture")

    done = siglum("normalise", text, blank, photo)

    assert done.returncode == 2
    assert "No ink was found" in done.stdout and "Dark ink" in done.stdout
    assert done.stderr == (
        f"siglum: 1 of 3 files must be pictures to be read: {text} is no picture "
        "(PNG, JPEG, BMP, GIF, TIFF, WEBP, PPM).\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "normalise must have at least one picture file, got none."),
        (("x.png", "--size", 4), "size must be at least 8 and at most 1024, got 4."),
        (("x.png", "-o", "sheet.txt"), "out must end in .png, got 'sheet.txt'."),
    ],
)
def test_what_is_wrong_is_said(siglum: Call, arguments: tuple[object, ...], message: str) -> None:
    done = siglum("normalise", *arguments)

    assert (done.returncode, done.stderr) == (2, f"siglum: {message}\n")


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

    done = siglum("predict", reader, "--sheet", tmp_path / "page.png", "-o", tmp_path / "boxes.png")
    listed = siglum("predict", reader, "--sheet", tmp_path / "page.png", "--json")

    assert done.returncode == 0, done.stderr
    rows = [line.split()[::3] for line in done.stdout.splitlines()[:2]]
    assert rows == [["ring", "stroke"], ["ring", "ring"]]
    characters = json.loads(listed.stdout)["characters"]
    assert [c["answer"] for c in characters] == ["ring", "stroke", "ring", "ring"]
    assert [(c["row"], c["column"]) for c in characters] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert characters[0]["box"] == pytest.approx([40, 40, 101, 101], abs=3)
    drawn = np.asarray(Image.open(tmp_path / "boxes.png")).astype(int)
    assert drawn.shape == (260, 420, 3) and (np.ptp(drawn, axis=2) > 50).sum() > 500


def test_a_page_needs_a_network_of_cut_out_ink(siglum: Call, run: Path, photo: Path) -> None:
    done = siglum("predict", run, "--sheet", photo)

    assert (done.returncode, done.stderr) == (
        2,
        "siglum: sheet must go with a network that reads cut-out ink wherever it stood, got one of "
        "fit 'pad'. Train with --resize glyph.\n",
    )
