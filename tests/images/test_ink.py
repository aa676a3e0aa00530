"""Any picture becomes the same ink, and the evidence says how."""

from pathlib import Path

import numpy as np
import pytest
from making import sign
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from siglum.config import Preprocess
from siglum.images import cache, decode, sources
from siglum.images.components import bounding_box, stroke_width
from siglum.images.imageset import ImageSet
from siglum.images.ink import FILL, normalise, preprocess_image

Picture = NDArray[np.uint8]


def drawn(
    height: int = 120,
    width: int = 160,
    *,
    left: float = 50,
    top: float = 30,
    side: float = 40,
    stroke: int = 5,
    paper: int = 255,
    ink: int = 0,
) -> Picture:
    """Draw a hook, which no turn and no mirror brings onto itself."""
    image = Image.new("L", (width, height), paper)
    right, bottom = left + side, top + side * 1.5
    points = [(left, top), (left, bottom), (right, bottom), (right, (top + bottom) / 2)]
    ImageDraw.Draw(image).line(points, fill=ink, width=stroke)
    return np.asarray(image)


def difference(one: Picture, other: Picture) -> float:
    """The mean difference of two frames, as a share of the ink of the first."""
    return float(np.abs(one.astype(int) - other).sum() / one.astype(int).sum())


def centre(ink: Picture) -> tuple[float, float]:
    """The centre of mass, rows before columns, in pixels from the top left corner."""
    mass, places = ink.astype(float), np.arange(len(ink)) + 0.5
    down, right = mass.sum(axis=1) @ places, mass.sum(axis=0) @ places
    return down / mass.sum(), right / mass.sum()


@pytest.mark.parametrize("size", [20, 28, 41])
def test_ink_is_light_and_its_mass_lies_in_the_middle_of_the_frame(size: int) -> None:
    """A bracket: much ink on its left, and no more above than below."""
    picture = np.full((100, 100), 255, dtype=np.uint8)
    picture[10:70, 40:46] = 0
    picture[10:16, 40:70] = picture[64:70, 40:70] = 0

    ink, found = normalise(picture, size)

    top, _, bottom, _ = bounding_box(ink > 0)
    assert ink.shape == (size, size) and ink.dtype == np.uint8 and ink.max() == 255
    assert bottom - top == size - 2 * round(size / 14)  # a fourteenth is free on either side
    assert centre(ink) == pytest.approx((size / 2, size / 2), abs=0.51)
    assert found.inverted and not found.empty


def test_heavy_ink_moves_the_box_no_further_than_to_the_edge() -> None:
    """A line with a bar at its lower end, whose mass lies below the middle."""
    picture = np.full((100, 100), 255, dtype=np.uint8)
    picture[10:90, 48:52] = 0
    picture[70:90, 30:70] = 0

    top, left, bottom, right = bounding_box(normalise(picture, 28)[0] > 0)

    assert (top, bottom) == (0, 24)
    assert (left, right) == (8, 20)


def test_where_the_ink_lies_changes_nothing_but_the_place() -> None:
    ink, found = normalise(drawn(), 28)
    moved, there = normalise(drawn(left=90, top=48), 28)

    np.testing.assert_array_equal(ink, moved)
    assert there.position == pytest.approx(found.position + 18 / 120)
    assert (there.height, there.width, there.stroke) == (found.height, found.width, found.stroke)


def test_polarity_changes_nothing_but_what_is_said_of_it() -> None:
    ink, found = normalise(drawn(), 28)
    light, other = normalise(255 - drawn(), 28)

    np.testing.assert_array_equal(ink, light)
    assert (found.inverted, other.inverted) == (True, False)


@pytest.mark.parametrize(("paper", "full"), [(230, 90), (255, 200), (20, 140), (60, 160)])
def test_shades_of_paper_and_ink_change_nothing(paper: int, full: int) -> None:
    ink, _ = normalise(drawn(), 28)
    shaded, _ = normalise(drawn(paper=paper, ink=full), 28)

    assert difference(ink, shaded) < 0.01


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_size_changes_nothing_but_the_scale(factor: int) -> None:
    """Every pixel becomes a square of pixels, so that the ink is the same."""
    small = drawn(60, 80, left=25, top=15, side=20, stroke=5)
    large = small.repeat(factor, axis=0).repeat(factor, axis=1)
    ink, found = normalise(small, 24)
    scaled, other = normalise(large, 24)

    assert difference(ink, scaled) < 0.05
    assert other.scale == pytest.approx(found.scale / factor)
    assert other.stroke == pytest.approx(found.stroke * factor)
    assert (other.height, other.width, other.position) == (
        found.height,
        found.width,
        found.position,
    )


def test_colours_are_read_as_grey() -> None:
    grey = drawn()

    for picture in (grey[None], np.stack([grey] * 3)):
        np.testing.assert_array_equal(normalise(picture, 28)[0], normalise(grey, 28)[0])


@pytest.mark.parametrize("side", [24, 120, 600])
def test_a_stroke_of_one_pixel_stays_dark_however_far_it_is_shrunk(side: int) -> None:
    picture = np.full((side + 20, side + 20), 255, dtype=np.uint8)
    picture[10 : 10 + side, 10] = 0
    picture[10, 10 : 10 + side] = 0

    ink, found = normalise(picture, 28)

    top, left, bottom, right = bounding_box(ink > 0)
    box = ink[top:bottom, left:right]
    assert found.stroke <= 2
    assert min(box.shape) >= 23 and max(box.shape) <= 25
    assert box[:, :2].max(axis=1).min() > 200  # the upright, in every row
    assert box[:2].max(axis=0).min() > 200


def test_the_evidence_of_a_box_is_its_measures() -> None:
    picture = np.full((100, 200), 255, dtype=np.uint8)
    picture[20:50, 60:70] = 0

    _, found = normalise(picture, 28)

    assert found.box == (20, 60, 50, 70)
    assert (found.height, found.width, found.position) == (0.3, 0.1, 0.35)
    assert found.scale == 24 / 30
    assert found.stroke == 2 * 300 / 80


def test_thin_strokes_are_widened_and_thick_ones_stay() -> None:
    thin, thick = (normalise(drawn(240, 320, left=60, side=120, stroke=s), 28) for s in (3, 40))

    assert stroke_width(thin[0] > 127) > 1.5 > 3 * thin[1].scale
    assert stroke_width(thick[0] > 127) == pytest.approx(thick[1].stroke * thick[1].scale, rel=0.2)


@pytest.mark.parametrize("fill", [0.4, 20 / 28, FILL])
def test_the_ink_fills_as_much_of_the_frame_as_is_asked_for(fill: float) -> None:
    top, left, bottom, right = bounding_box(normalise(drawn(), 28, fill)[0] > 0)

    assert max(bottom - top, right - left) == pytest.approx(28 * fill, abs=1)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (20, 30), (3, 5, 5)])
def test_a_picture_without_ink_is_an_empty_frame(shape: tuple[int, ...], level: int) -> None:
    ink, found = normalise(np.full(shape, level, dtype=np.uint8), 28)

    assert not ink.any() and ink.shape == (28, 28)
    assert found.empty and found.box == (0, 0, 0, 0)
    assert (found.height, found.width, found.position) == (0, 0, 0.5)


def test_the_grain_of_a_blank_page_is_no_ink() -> None:
    grain = np.random.RandomState(0).normal(225, 4, (80, 80)).clip(0, 255).astype(np.uint8)

    assert normalise(grain, 28)[1].empty


def test_dust_is_left_out_and_dots_stay() -> None:
    picture = np.full((100, 100), 255, dtype=np.uint8)
    picture[40:80, 50:58] = 0
    picture[20:28, 50:58] = 0  # the dot of an i
    dusty = picture.copy()
    dusty[5, 5], dusty[95, 90:93] = 0, 0

    clean, found = normalise(picture, 28)
    ink, other = normalise(dusty, 28)

    assert found.box == other.box == (20, 50, 80, 58)
    np.testing.assert_array_equal(clean, ink)


def test_the_same_picture_gives_the_same_bytes() -> None:
    picture = np.random.RandomState(1).randint(0, 256, (64, 48)).astype(np.uint8)

    first, again = normalise(picture, 28), normalise(picture.copy(), 28)

    np.testing.assert_array_equal(first[0], again[0])
    assert first[1] == again[1]


def test_planes_are_the_ink_and_what_the_evidence_says() -> None:
    preprocess = Preprocess(size=20, resize="glyph", position_channels=True)
    ink, found = normalise(drawn(), 20)

    seen = preprocess_image(drawn()[None], preprocess)[0]

    assert seen.shape == (preprocess.planes, 20, 20) and seen.dtype == np.uint8
    np.testing.assert_array_equal(seen[0], ink)
    for plane, fact in zip(seen[1:], (found.height, found.width, found.position), strict=True):
        assert (plane == round(255 * fact)).all()


def test_ink_wider_than_the_picture_is_high_fills_its_plane() -> None:
    picture = np.full((20, 90), 255, dtype=np.uint8)
    picture[8:12, 10:80] = 0

    assert (
        preprocess_image(picture[None], Preprocess(resize="glyph", position_channels=True))[0][
            2
        ].min()
        == 255
    )


def test_without_glyph_planes_are_the_fitted_picture() -> None:
    image = sign(200)[None]

    for preprocess in (Preprocess(size=20), Preprocess(size=40, resize="stretch")):
        np.testing.assert_array_equal(
            preprocess_image(image, preprocess), decode.resize(image, preprocess)
        )[0]


def test_packed_pictures_are_their_planes_and_only_ink_is_measured(signs: Path) -> None:
    preprocess = Preprocess(size=20, resize="glyph", position_channels=True)
    found = sources.load(f"folder:{signs}", preprocess=preprocess)
    plain = sources.load(f"folder:{signs}", preprocess=Preprocess(size=20, resize="glyph"))

    assert found.files is not None
    for name, seen in zip(found.files, found.images, strict=True):
        image = decode.decode((signs / name).read_bytes())
        np.testing.assert_array_equal(seen, preprocess_image(image, preprocess))[0]
    np.testing.assert_array_equal(found.images[:, :1], plain.images)
    assert found.moments(1) == plain.moments() != found.moments()


def test_a_set_in_memory_of_the_right_size_is_cut_out_too() -> None:
    preprocess = Preprocess(resize="glyph", position_channels=True)
    store = np.stack([sign(200), 255 - sign(200)])
    given = ImageSet.from_arrays(store, np.array([0, 1]), ("a", "b"))

    found = cache.rebuild(given, preprocess)

    assert found.shape == (4, 28, 28)
    np.testing.assert_array_equal(found.images[0], preprocess_image(store[:1], preprocess))[0]
    np.testing.assert_array_equal(found.images[0], found.images[1])
