"""`siglum examine`, as a person would use it."""

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def attentive(siglum, signs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conv_transformer of one epoch, with four cells."""
    path = tmp_path_factory.mktemp("attentive") / "run"
    flags = ("--model", "conv_transformer", "--size", 64, "--epochs", 1, "--threads", 1)
    done = siglum("train", f"folder:{signs}", "-o", path, *flags)
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_attention_is_drawn(
    siglum, attentive: Path, signs: Path, tmp_path: Path, ending: str
) -> None:
    sheet, picture = tmp_path / f"sheet{ending}", signs / "ring" / "w0_00.png"
    said = siglum("examine", attentive, picture, "-o", sheet)

    assert said.returncode == 0, said.stderr
    assert "of 2 x 2 cells, in layer " in said.stdout
    if ending == ".png":
        with Image.open(sheet) as drawn:
            assert drawn.size[0] > 1000
    else:
        assert sheet.read_text().count("head ") >= 8


def test_a_network_without_attention_is_refused(siglum, run: Path, signs: Path) -> None:
    said = siglum("examine", run, signs / "ring" / "w0_00.png")

    assert said.returncode == 2
    assert said.stderr == (
        "siglum: attention must be looked for in a conv_transformer with layers, got GlyphNet.\n"
    )


def test_what_cannot_be_read_or_written_is_refused(
    siglum, attentive: Path, signs: Path, tmp_path: Path
) -> None:
    picture = signs / "ring" / "w0_00.png"
    missing = siglum("examine", attentive, tmp_path / "no.png")
    kind = siglum("examine", attentive, picture, "-o", tmp_path / "sheet.doc")
    nowhere = siglum("examine", attentive, picture, "-o", tmp_path / "no" / "sheet.png")

    assert missing.stderr.endswith("no.png must be a picture, but it is not there.\n")
    assert "--out must end in .png, .svg, got" in kind.stderr
    assert "must be a place that can be written" in nowhere.stderr
    assert {missing.returncode, kind.returncode, nowhere.returncode} == {2}
