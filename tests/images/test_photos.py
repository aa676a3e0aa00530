"""The same character gives the same ink, however it was drawn, lit, papered and photographed.

Tolerances: `likeness` is the correlation of two frames of 28 x 28 blurred by a pixel, under shifts
of up to one, `difference` their mean difference as a share of the ink.
"""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photographing import (
    SIGNS,
    coverage,
    difference,
    file_of,
    gradient,
    likeness,
    on_paper,
    shadow,
    vignette,
)
from PIL import Image

from siglum.errors import DataError
from siglum.images import decode, sources
from siglum.images.ink import normalise

PAPER, PEN = (220, 215, 205), (60, 60, 70)
shades = st.integers(120, 255)


@pytest.mark.parametrize("sign", SIGNS)
@settings(max_examples=15, deadline=None)
@given(paper=st.tuples(shades, shades, shades), depth=st.floats(0.2, 0.7), seed=st.integers(0, 99))
def test_paper_of_any_colour_and_ink_of_any_strength(
    sign: str, paper: tuple[int, ...], depth: float, seed: int
) -> None:
    ink = coverage(sign)
    plain, _ = normalise(on_paper(ink), 28)
    pen = tuple(shade * depth for shade in paper)

    found, evidence = normalise(on_paper(ink, paper, pen, grain=2, seed=seed), 28)

    assert evidence.inverted
    assert likeness(plain, found) > 0.93


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("stroke", [0.03, 0.06, 0.14])
def test_light_ink_on_dark_is_dark_ink_on_light(sign: str, stroke: float) -> None:
    page = on_paper(coverage(sign, stroke=stroke), PAPER, PEN)
    ink, evidence = normalise(page, 28)
    turned, other = normalise(255 - page, 28)

    assert (evidence.inverted, other.inverted) == (True, False)
    assert likeness(ink, turned) > 0.97


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("light", [gradient, vignette, shadow])
def test_uneven_light(sign: str, light: object) -> None:
    ink = coverage(sign)
    plain, _ = normalise(on_paper(ink), 28)

    found, evidence = normalise(
        on_paper(ink, PAPER, PEN, light(ink.shape, 0.5), grain=2),  # type: ignore[operator]
        28,
    )

    assert likeness(plain, found) > 0.93
    assert evidence.unevenness > 0.2


@pytest.mark.parametrize("sign", SIGNS)
@settings(max_examples=8, deadline=None)
@given(factor=st.floats(0.5, 4))
def test_size(sign: str, factor: float) -> None:
    plain, _ = normalise(on_paper(coverage(sign), PAPER, PEN), 28)

    found, _ = normalise(on_paper(coverage(sign, round(160 * factor)), PAPER, PEN), 28)

    assert likeness(plain, found) > 0.9


@pytest.mark.parametrize("sign", SIGNS)
@settings(max_examples=15, deadline=None)
@given(left=st.integers(0, 160), top=st.integers(0, 160))
def test_place_on_the_paper(sign: str, left: int, top: int) -> None:
    plain, _ = normalise(on_paper(coverage(sign)), 28)

    found, _ = normalise(on_paper(coverage(sign, left=left, top=top)), 28)

    assert difference(plain, found) < 0.02


UNTURNED = {  # what a camera did that wrote this number: quarter turns, then a mirror
    1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True),
    5: (1, True), 6: (1, False), 7: (3, True), 8: (3, False),
}  # fmt: skip


@pytest.mark.parametrize("number", UNTURNED)
def test_a_camera_that_was_turned(number: int) -> None:
    page = on_paper(coverage("four"), PAPER, PEN)
    turns, mirrored = UNTURNED[number]
    raw = np.rot90(page[:, :, ::-1] if mirrored else page, turns, (1, 2))
    exif = Image.Exif()
    exif[0x0112] = number

    upright = decode.decode(file_of(raw, "PNG", exif=exif), None)

    np.testing.assert_array_equal(upright, page)
    assert likeness(normalise(page, 28)[0], normalise(raw, 28)[0]) < 0.9 or number == 1


@pytest.mark.parametrize("sign", SIGNS)
def test_a_jpeg_that_is_read_at_a_quarter_of_its_size(sign: str) -> None:
    page = on_paper(coverage(sign, 1000), PAPER, PEN)
    raw = file_of(page, "JPEG", quality=85)
    small = decode.decode(raw, None, max_side=500)

    assert small.shape == (3, 500, 500)
    assert likeness(normalise(page, 28)[0], normalise(small, 28)[0]) > 0.95


def test_a_transparent_drawing_is_its_ink() -> None:
    ink = coverage("zed")
    plain, _ = normalise(on_paper(ink), 28)
    for shade in (0, 255):
        pixels = np.full((*ink.shape, 4), shade, dtype=np.uint8)
        pixels[..., 3] = np.rint(255 * ink)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")

        assert likeness(plain, normalise(decode.decode(file.getvalue(), None), 28)[0]) > 0.99


def test_the_bundled_digits_survive_paper_and_light() -> None:
    digits = sources.load("mnist5k", "test").images[::50, 0] / 255  # (20, 28, 28)
    alike = []
    for digit in digits:
        large = np.asarray(Image.fromarray(digit.astype(np.float32)).resize((224, 224)))
        page = on_paper(np.clip(large, 0, 1), PAPER, PEN, gradient((224, 224), 0.5), grain=3)
        alike.append(
            likeness(
                normalise((255 * large.clip(0, 1)).astype(np.uint8), 28)[0], normalise(page, 28)[0]
            )
        )

    assert min(alike) > 0.93 and np.mean(alike) > 0.97


def test_a_piece_of_other_paper_is_paper() -> None:
    """A darker rectangle on the page, and the character on it."""
    ink = coverage("zed", 100)
    paper = np.full(ink.shape, 255.0)
    paper[30:170, 40:160] = 190
    page = np.rint((1 - ink) * paper + 20 * ink).astype(np.uint8)

    assert likeness(normalise(on_paper(ink), 28)[0], normalise(page, 28)[0]) > 0.97


def test_a_ruled_line_and_a_neighbour_are_left_out() -> None:
    ink = coverage("zed", 100)
    page = on_paper(ink)
    plain, _ = normalise(page, 28)
    page[:, 185:187, :] = 120  # a line from border to border
    page[:, :20, 90:96] = 0  # the foot of a letter above

    found, evidence = normalise(page, 28)

    assert difference(plain, found) < 0.02
    assert evidence.ignored == 2 and not evidence.touches_border
    assert "Ignored 2 pieces at the edge of the picture." in evidence.warnings()


@pytest.mark.parametrize("turned", [False, True])
def test_a_dotted_line_of_a_form_is_left_out(turned: bool) -> None:
    page = on_paper(coverage("zed", 100))
    lined = page.copy()
    for start in range(10, 190, 9):
        lined[:, 170:173, start : start + 3] = 30
    if turned:
        page, lined = page.transpose(0, 2, 1), lined.transpose(0, 2, 1)

    assert difference(normalise(page, 28)[0], normalise(lined, 28)[0]) < 0.02


def test_an_ellipsis_is_no_dotted_line() -> None:
    page = np.full((60, 200), 255, dtype=np.uint8)
    for start in (20, 90, 160):
        page[30:40, start : start + 10] = 0

    assert normalise(page, 28)[1].box == (30, 20, 40, 170)


def test_a_dot_is_ink_of_any_size() -> None:
    down, right = np.mgrid[:100, :100]
    for radius in (2, 10, 30, 45):
        dot = np.where(np.hypot(down - 50, right - 50) < radius, 0, 255).astype(np.uint8)
        _, evidence = normalise(dot, 28)

        top, left, bottom, right_end = evidence.box
        assert evidence.inverted
        assert bottom - top == right_end - left == pytest.approx(2 * radius, abs=1)


def test_ink_at_the_border_is_kept_and_said() -> None:
    ink = coverage("four")
    cropped = on_paper(ink)[:, 96:, 90:]

    _, evidence = normalise(cropped, 28)

    assert evidence.touches_border and evidence.inverted
    assert "Ink touches the edge of the picture: leave a margin." in (evidence)


def test_two_characters_are_said() -> None:
    page = np.minimum(
        on_paper(coverage("zed", 80, height=120, width=260, left=20, top=20)),
        on_paper(coverage("four", 80, height=120, width=260, left=150, top=20)),
    )

    two = normalise(page, 28)[1]
    one = normalise(on_paper(coverage("i")), 28)[1]

    assert (two.characters, one.characters) == (2, 1)
    assert "Two characters found: use --page, or crop the picture to one." in two.warnings()


def test_pale_ink_is_said() -> None:
    _, evidence = normalise(on_paper(coverage("zed"), (200, 200, 200), (180, 180, 180)), 28)

    assert any(said.startswith("Pale ink: it takes 9 %") for said in evidence.warnings())


@pytest.mark.parametrize("grain", [1, 4, 12])
def test_the_grain_of_a_blank_page_is_no_ink(grain: float) -> None:
    page = on_paper(np.zeros((150, 200)), PAPER, grain=grain)

    ink, evidence = normalise(page, 28)

    assert evidence.empty and not ink.any()
    assert evidence.warnings() == [
        "No ink found: nothing stands out from the paper. Use a darker pen."
    ]


def test_nothing_but_transparency_is_no_ink() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (40, 30), (10, 200, 30, 0)).save(file, "PNG")

    assert normalise(decode.decode(file.getvalue(), None), 28)[1].empty


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    """A header that declares 10^8 pixels, and no pixels behind it."""
    raw = b"P5 10000 10000 255\n"

    with pytest.raises(DataError, match=r"^more than 89,000,000 pixels; crop it"):
        decode.decode(raw, None)


def test_a_truncated_jpeg_is_damaged() -> None:
    raw = file_of(on_paper(coverage("zed")), "JPEG")

    with pytest.raises(DataError, match=r"^damaged image \("):
        decode.decode(raw[: len(raw) // 2], None, max_side=100)
