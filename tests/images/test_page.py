"""A page is read character by character, in the order of reading."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from photographing import SIGNS, coverage, likeness, on_paper, shadow

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.images import decode
from siglum.images.ink import normalise, read_page

GLYPH = Preprocess(resize="glyph")
ROWS = [["zed", "four", "i"], ["i", "eta"], ["four", "four", "zed"]]


def lay_out(rows: list[list[str]], side: int = 90, slope: float = 0.0) -> np.ndarray:
    """Draw rows of signs on one page: how much of each pixel is ink."""
    height, width = 150 * len(rows) + 60, 150 * max(map(len, rows)) + 60
    ink = np.zeros((height, width))
    for i, row in enumerate(rows):
        for j, sign in enumerate(row):
            top = 40 + 150 * i + round(slope * 150 * j)
            place = {"height": height, "width": width, "column": 40 + 150 * j, "row": top}
            ink = np.maximum(ink, coverage(sign, side, stroke=0.07, **place))
    return ink


@pytest.mark.parametrize("slope", [0.0, 0.1, -0.1])
@pytest.mark.parametrize("dark", [False, True])
def test_characters_come_in_rows(slope: float, dark: bool) -> None:
    """The i is in two parts, and so is the eta where its strokes do not meet."""
    ink = lay_out(ROWS, slope=slope)
    sheet = on_paper(ink, (220, 215, 205), (50, 50, 60), shadow(ink.shape, 0.4), grain=2)
    page = read_page(255 - sheet if dark else sheet, GLYPH)

    assert [len(row) for row in page.rows] == [len(row) for row in ROWS]
    assert (page.inverted, page.sideways) == (not dark, False)
    alone = {s: normalise(on_paper(coverage(s, 90, stroke=0.07)), 28)[0] for s in SIGNS}
    for row, expected in zip(page.rows, ROWS, strict=True):
        for character, sign in zip(row, expected, strict=True):
            assert likeness(alone[sign], character.ink) > 0.93, sign


def test_a_page_on_its_side_is_recognised() -> None:
    sheet = on_paper(lay_out([["four", "i", "i"], ["i", "i", "four"]]))

    assert read_page(np.rot90(sheet, 1, (1, 2)), GLYPH).sideways
    assert not read_page(sheet, GLYPH).sideways


def test_the_corner_of_a_table_is_no_character() -> None:
    sheet = on_paper(lay_out(ROWS))
    down, right = np.mgrid[: sheet.shape[1], : sheet.shape[2]]
    sheet[:, down + right < 60] = 20

    assert [len(row) for row in read_page(sheet, GLYPH).rows] == [3, 2, 3]
    assert read_page(np.full((3, 60, 80), 230, dtype=np.uint8), GLYPH).rows == []


def test_a_page_of_too_many_pieces_is_refused() -> None:
    sheet = np.full((1, 2000, 2000), 230, dtype=np.uint8)
    sheet.reshape(100, 20, 100, 20)[:, 5:13, :, 5:8] = 20
    with pytest.raises(DataError, match="Crop it"):
        read_page(sheet, GLYPH)


@pytest.mark.slow
def test_real_pages_have_the_characters_that_people_see(data_folder: Path) -> None:
    with zipfile.ZipFile(data_folder / "handdrawn" / "sheets.zip") as packed:
        truth = json.loads(packed.read("sheets/truth.json"))
        for name, expected in truth.items():
            picture = decode.decode(packed.read(f"sheets/{name}"), None)
            if "counter-clockwise" in expected["note"]:
                assert read_page(picture, GLYPH).sideways
                picture = np.rot90(picture, 1, (1, 2))
            page = read_page(picture, GLYPH)

            assert [len(row) for row in page.rows] == [len(row) for row in expected["rows"]], name
