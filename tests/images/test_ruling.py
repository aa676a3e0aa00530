"""Ruled lines, boxes of forms and punch holes are not ink, in single pictures and on pages."""

import numpy as np
import pytest
from photographing import coverage, likeness, on_paper
from PIL import Image

from siglum.config import Preprocess
from siglum.images.ink import normalise, read_page

GLYPH = Preprocess(resize="glyph")
PAPER, PEN, PENCIL, BLUE = (236, 232, 222), (35, 40, 80), (150, 150, 150), (150, 180, 215)
HEIGHT, WIDTH = 600, 450


def paper(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.full((height, width, 3), PAPER, dtype=float)


def rule(page: np.ndarray, pitch: int = 40, colour: tuple = BLUE, grid: bool = False) -> np.ndarray:
    for start in range(25, page.shape[0], pitch):
        page[start : start + 2] = colour
    for start in range(25, page.shape[1] if grid else 0, pitch):
        page[:, start : start + 2] = colour
    return page


def box(page: np.ndarray, top: int, start: int, side: int, thick: int, colour: tuple) -> None:
    for edge in (0, side):
        page[top + edge : top + edge + thick, start : start + side + thick] = colour
        page[top : top + side + thick, start + edge : start + edge + thick] = colour


def photograph(page: np.ndarray, ink: np.ndarray, pen: tuple = PEN, angle: float = 0) -> np.ndarray:
    page = page * (1 - ink[..., None]) + np.array(pen) * ink[..., None]
    page += np.random.RandomState(0).normal(0, 3, page.shape)
    image = Image.fromarray(np.clip(page, 0, 255).astype(np.uint8))
    turned = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=PAPER)
    return np.asarray(turned).transpose(2, 0, 1)


def four(side: int = 200, stroke: float = 0.07) -> np.ndarray:
    return coverage("four", side, stroke=stroke, height=HEIGHT, width=WIDTH)


PLAIN = {side: normalise(photograph(paper(), four(side)))[0] for side in (70, 200)}


@pytest.mark.parametrize("angle", [0, 1.5, -4])
@pytest.mark.parametrize("grid", [False, True], ids=["ruled", "squared"])
@pytest.mark.parametrize(
    ("pen", "side", "colour"),
    [(PEN, 200, BLUE), (PEN, 70, BLUE), (PENCIL, 200, BLUE), (PENCIL, 200, (110, 140, 190))],
    ids=["large", "small", "pencil", "pencil paler than the ruling"],
)
def test_writing_on_ruled_paper_is_read_without_the_ruling(
    pen: tuple, side: int, colour: tuple, grid: bool, angle: float
) -> None:
    picture = photograph(rule(paper(), colour=colour, grid=grid), four(side), pen, angle)
    plain = normalise(photograph(paper(), four(side), PEN, angle))[0]

    frame, report = normalise(picture)

    assert likeness(plain, frame) > 0.9
    assert not report.touches_border and report.characters == 1


def test_blank_ruled_paper_has_no_ink() -> None:
    assert normalise(photograph(rule(paper()), np.zeros((HEIGHT, WIDTH))))[1].empty


@pytest.mark.parametrize("thick", [2, 4])
def test_one_line_under_the_writing_is_removed(thick: int) -> None:
    page = paper()
    page[385 : 385 + thick] = (60, 60, 80)

    assert likeness(PLAIN[200], normalise(photograph(page, four()))[0]) > 0.9


@pytest.mark.parametrize("angle", [0, 3])
@pytest.mark.parametrize(("top", "start"), [(170, 90), (220, 160)], ids=["around", "touching"])
def test_a_thin_frame_is_removed_even_where_the_writing_touches_it(
    top: int, start: int, angle: float
) -> None:
    page = paper()
    box(page, top, start, 250, 3, (90, 90, 90))
    plain = normalise(photograph(paper(), four(), angle=angle))[0]

    assert likeness(plain, normalise(photograph(page, four(), angle=angle))[0]) > 0.88


def test_a_frame_as_broad_as_the_pen_stays_with_a_warning() -> None:
    page = paper()
    box(page, 150, 70, 290, 6, PEN)

    report = normalise(photograph(page, four(stroke=0.03)))[1]

    assert "Straight lines or a frame count as ink: crop inside them." in (report.warnings())


def test_punch_holes_are_ignored_and_the_dot_of_an_i_is_not() -> None:
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    page = paper()
    for middle in (100, 300, 500):
        page[(down - middle) ** 2 + (across - 25) ** 2 < 14**2] = (60, 55, 50)
    dotted = coverage("i", 200, stroke=0.1, height=HEIGHT, width=WIDTH, row=10)

    frame, report = normalise(photograph(page, four()))
    with_dot = normalise(photograph(paper(), dotted))[1]

    assert likeness(PLAIN[200], frame) > 0.95
    assert "Ignored pieces at the edge of the picture: 3." in report.warnings()
    assert with_dot.box[0] == pytest.approx(10 + 0.12 * 200 - 10, abs=3)


@pytest.mark.parametrize("side", [40, 150])
def test_characters_of_straight_lines_keep_them_however_closely_cropped(side: int) -> None:
    t = side // 10
    glyphs = {name: np.zeros((side, side), dtype=np.uint8) for name in "TE三#"}
    glyphs["T"][:t] = glyphs["T"][:, side // 2 - t // 2 :][:, :t] = 255
    glyphs["E"][:, :t] = 255
    for top in (0, side // 2, side - t):
        glyphs["E"][top : top + t] = glyphs["三"][top : top + t] = 255
    for middle in (side // 3, 2 * side // 3):
        glyphs["#"][middle : middle + t] = glyphs["#"][:, middle : middle + t] = 255
    for name, glyph in glyphs.items():
        bordered = np.pad(glyph, side // 3)

        assert likeness(normalise(bordered)[0], normalise(glyph)[0]) > 0.95, name


def form(
    separate: int, thick: int, colour: tuple, pen: tuple, angle: float, every: int = 1
) -> np.ndarray:
    """Two rows of four boxes with characters, or with one in each second box."""
    cell = 100 + separate
    page = paper(2 * cell + 200, 4 * cell + 200)
    height, width = page.shape[:2]
    ink = np.zeros((height, width))
    for number in range(8):
        top, left = 100 + number // 4 * cell, 100 + number % 4 * cell
        box(page, top, left, 100, thick, colour)
        if number % every == 0:
            place = {"height": height, "width": width, "column": left + 15, "row": top + 15}
            ink = np.maximum(ink, coverage(("four", "zed")[number % 2], 70, stroke=0.08, **place))
    return photograph(page, ink, pen, angle)


@pytest.mark.parametrize("angle", [0, -3])
@pytest.mark.parametrize("separate", [0, 30], ids=["table", "separate boxes"])
@pytest.mark.parametrize(
    ("thick", "colour", "pen"),
    [(2, (120, 120, 120), PEN), (2, (200, 200, 200), PEN), (6, PEN, PEN), (3, PENCIL, PENCIL)],
    ids=["grey", "pale", "as the pen", "as the pencil"],
)
def test_a_form_is_read_box_by_box(
    separate: int, thick: int, colour: tuple, pen: tuple, angle: float
) -> None:
    page = read_page(form(separate, thick, colour, pen, angle), GLYPH)
    alone = (on_paper(coverage(sign, 70, stroke=0.08)) for sign in ("four", "zed"))
    plain = [normalise(picture, 28)[0] for picture in alone]

    assert [len(row) for row in page.rows] == [4, 4]
    for row in page.rows:
        for number, character in enumerate(row):
            assert likeness(plain[number % 2], character.ink) > 0.75


def test_empty_boxes_of_a_form_are_no_characters() -> None:
    page = read_page(form(30, 3, (100, 100, 100), PEN, 0, every=2), GLYPH)

    assert [len(row) for row in page.rows] == [2, 2]
