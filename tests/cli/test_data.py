"""`siglum data`, and the ink that it shows."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

Call = Callable[..., object]


def test_a_source_is_described_with_its_samples(siglum: Call, signs: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    done = siglum("data", signs, "--writers", r"w(\d)_", "-o", sheet)
    facts = json.loads(siglum("data", f"folder:{signs}", "--json").stdout)["all"]

    assert re.search(r"\nimages +72\nclasses +3: cross ring stroke\nwriters +4\n", done.stdout)
    assert facts["counts"] == [24, 24, 24] and facts["sizes"] == {"28 x 28 px": 72}
    assert (facts["dark_on_light"], facts["light_on_dark"]) == (72, 0)
    with Image.open(sheet) as image:
        assert image.format == "PNG" and image.width > 400


def test_duplicate_and_bad_files_are_counted(siglum: Call, signs: Path, tmp_path: Path) -> None:
    image = (signs / "ring/w0_00.png").read_bytes()
    for name in ("a/0.png", "a/1.png", "b/0.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(image)
    (tmp_path / "b/1.heic").write_bytes(b"\0\0\0\x18ftypheic")

    done = siglum("data", tmp_path)

    assert re.search(r"exact duplicates +2\nof them in another class +1\n", done.stdout)
    assert "b/1.heic: HEIC is not supported; convert it to PNG or JPEG" in done.stdout


def test_ink_is_shown_with_its_problems(siglum: Call, tmp_path: Path) -> None:
    photo = Image.new("L", (200, 150), 180)
    draw = ImageDraw.Draw(photo)
    draw.line((60, 40, 130, 110), 40, 6)
    draw.line((60, 110, 130, 40), 40, 6)
    photo.save(tmp_path / "cross.png")
    Image.new("L", (30, 20), 200).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("not an image")

    done = siglum("data", "--show-ink", tmp_path / "*.png", "-o", tmp_path / "out.png")
    (facts,) = json.loads(siglum("data", "--show-ink", tmp_path / "cross.png", "--json").stdout)

    assert done.returncode == 2
    assert f"{tmp_path / 'cross.png'}: dark ink\n" in done.stdout and "No ink found" in done.stdout
    assert "Cannot read 1 of 3 files." in done.stderr and "text.png: not an image" in done.stderr
    with Image.open(tmp_path / "out.png") as image:
        assert image.height > 2 * 160
    assert facts["inverted"] and facts["characters"] == 1 and facts["warnings"] == []
    assert facts["box"] == pytest.approx([38, 58, 112, 132], abs=3)
