"""Any picture of a character becomes the same ink, and the report says where it was.

`likeness` is the correlation of two frames, blurred by a pixel, under shifts of up to one;
`difference` their mean difference as a share of the ink.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from photographing import (
    SIGNS,
    Picture,
    coverage,
    difference,
    gradient,
    likeness,
    on_paper,
    shadow,
    vignette,
)
from PIL import Image, ImageDraw

from siglum.config import Preprocess
from siglum.images import sources
from siglum.images.components import find_components, union
from siglum.images.imageset import ImageSet
from siglum.images.ink import margins, normalise, preprocess_image
from siglum.recogniser.predict import preprocess_images, stack

PAPER, PEN = (220, 215, 205), (60, 60, 70)
MNIST = 20 / 28
shades = st.integers(120, 255)


def hook(paper: int = 255, ink: int = 0) -> Picture:
    """Draw a hook, which no turn and no mirror brings onto itself."""
    image = Image.new("L", (160, 120), paper)
    points = [(50, 30), (50, 90), (90, 90), (90, 60)]
    ImageDraw.Draw(image).line(points, fill=ink, width=5)
    return np.asarray(image)


def test_the_report_of_a_bar_has_its_measures() -> None:
    picture = np.full((100, 200), 255, dtype=np.uint8)
    picture[20:50, 60:70] = 0

    report = normalise(picture, 28)[1]

    assert report.box == (20, 60, 50, 70)
    assert (report.height, report.width, report.position) == (0.3, 0.1, 0.35)
    assert (report.scale, report.stroke) == (24 / 30, 2 * 300 / 80)
    assert report.warnings() == []


@pytest.mark.parametrize(("paper", "ink"), [(230, 90), (255, 200), (20, 140), (60, 160)])
def test_shades_and_channels_change_nothing(paper: int, ink: int) -> None:
    plain = normalise(hook(), 28)[0]
    shaded = hook(paper=paper, ink=ink)

    assert difference(plain, normalise(shaded, 28)[0]) < 0.01
    for same in (shaded[None], np.stack([shaded] * 3)):
        np.testing.assert_array_equal(normalise(same, 28)[0], normalise(shaded, 28)[0])


@pytest.mark.parametrize("size", [20, 28, 41])
def test_mass_lies_in_the_middle_of_the_frame(size: int) -> None:
    picture = np.full((100, 100), 255, dtype=np.uint8)  # a bracket, symmetric from top to bottom
    picture[10:70, 40:46] = 0
    picture[10:16, 40:70] = picture[64:70, 40:70] = 0

    ink, _ = normalise(picture, size)

    top, _, bottom, _ = union(find_components(ink > 0).boxes)
    mass, centres = ink.astype(float), np.arange(size) + 0.5
    assert ink.shape == (size, size) and ink.dtype == np.uint8 and ink.max() == 255
    assert bottom - top == size - 2 * round(size / 14)
    assert mass.sum(axis=1) @ centres / mass.sum() == pytest.approx(size / 2, abs=0.51)
    assert mass.sum(axis=0) @ centres / mass.sum() == pytest.approx(size / 2, abs=0.51)


@pytest.mark.parametrize("side", [24, 120, 600])
def test_a_stroke_of_one_pixel_stays_dark_however_far_it_shrinks(side: int) -> None:
    picture = np.full((side + 20, side + 20), 255, dtype=np.uint8)
    picture[10 : 10 + side, 10] = picture[10, 10 : 10 + side] = 0

    ink, report = normalise(picture, 28)

    top, left, bottom, right = union(find_components(ink > 0).boxes)
    box = ink[top:bottom, left:right]
    assert report.stroke <= 2 and 23 <= min(box.shape) <= max(box.shape) <= 25
    assert box[:, :2].max(axis=1).min() > 200 and box[:2].max(axis=0).min() > 200


@pytest.mark.parametrize(("size", "width"), [(40, 3.4), (56, 3.5), (64, 3.5)])
def test_thin_strokes_become_as_wide_as_the_frame_allows(size: int, width: float) -> None:
    picture = np.full((220, 220), 255, dtype=np.uint8)
    picture[10:210, 10:12] = picture[10:12, 10:210] = 0

    ink, _ = normalise(picture, size)

    middle = ink[size // 2] / 255  # across the upright stroke
    assert middle.sum() == pytest.approx(width, abs=0.5)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (20, 30), (3, 5, 5), (1, 1, 300), (3, 200, 1)])
def test_a_picture_without_ink_is_an_empty_frame(shape: tuple[int, ...], level: int) -> None:
    ink, report = normalise(np.full(shape, level, dtype=np.uint8), 28)

    assert not ink.any() and ink.shape == (28, 28)
    assert report.empty and (report.height, report.width, report.position) == (0, 0, 0.5)
    (warning,) = report.warnings()
    assert warning.startswith("No ink found")


def test_dust_is_dropped_and_dots_stay() -> None:
    picture = np.full((100, 100), 255, dtype=np.uint8)
    picture[40:80, 50:58] = picture[20:28, 50:58] = 0
    dusty = picture.copy()
    dusty[5, 5] = dusty[95, 90:93] = 0

    np.testing.assert_array_equal(normalise(picture, 28)[0], normalise(dusty, 28)[0])
    assert normalise(dusty, 28)[1].box == (20, 50, 80, 58)


# Photos


@pytest.mark.parametrize("sign", SIGNS)
@settings(max_examples=15, deadline=None)
@given(paper=st.tuples(shades, shades, shades), depth=st.floats(0.2, 0.7), seed=st.integers(0, 99))
def test_paper_of_any_colour_and_ink_of_any_strength(
    sign: str, paper: tuple[int, ...], depth: float, seed: int
) -> None:
    ink = coverage(sign)
    pen = tuple(shade * depth for shade in paper)

    frame, report = normalise(on_paper(ink, paper, pen, grain=2, seed=seed), 28)

    assert report.inverted
    assert likeness(normalise(on_paper(ink), 28)[0], frame) > 0.93


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("stroke", [0.03, 0.06, 0.14])
def test_polarity_is_recognised(sign: str, stroke: float) -> None:
    page = on_paper(coverage(sign, stroke=stroke), PAPER, PEN)
    (ink, dark), (turned, light) = normalise(page, 28), normalise(255 - page, 28)

    assert (dark.inverted, light.inverted) == (True, False)
    assert likeness(ink, turned) > 0.97


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("light", [gradient, vignette, shadow])
def test_uneven_light_changes_nothing(sign: str, light: object) -> None:
    ink = coverage(sign)
    page = on_paper(ink, PAPER, PEN, light(ink.shape, 0.5), grain=2)  # type: ignore[operator]

    frame, report = normalise(page, 28)

    assert likeness(normalise(on_paper(ink), 28)[0], frame) > 0.93
    assert report.unevenness > 0.2


@pytest.mark.parametrize("sign", SIGNS)
@settings(max_examples=8, deadline=None)
@given(factor=st.floats(0.5, 4), column=st.integers(0, 160), row=st.integers(0, 160))
def test_size_and_place_change_nothing(sign: str, factor: float, column: int, row: int) -> None:
    plain = normalise(on_paper(coverage(sign)), 28)[0]
    scaled = on_paper(coverage(sign, round(160 * factor)), PAPER, PEN)

    assert likeness(plain, normalise(scaled, 28)[0]) > 0.9
    moved = on_paper(coverage(sign, column=column, row=row))
    assert difference(plain, normalise(moved, 28)[0]) < 0.02


def test_pencil_in_falling_light_and_yellow_ink_are_found() -> None:
    ink = coverage("zed", stroke=0.04)
    pencil = on_paper(ink, (222, 214, 200), (170, 165, 158), gradient(ink.shape, 0.4), grain=1)
    yellow = on_paper(ink, (255, 255, 255), (250, 230, 40))

    for page in (pencil, yellow):
        assert likeness(normalise(on_paper(ink), 28)[0], normalise(page, 28)[0]) > 0.9


@pytest.mark.parametrize(
    ("grain", "light"), [(1, 1.0), (4, 1.0), (12, 1.0), (4, shadow((150, 200), 0.5))]
)
def test_grain_and_shadows_of_a_blank_page_are_no_ink(grain: float, light: object) -> None:
    page = on_paper(np.zeros((150, 200)), PAPER, light=light, grain=grain)  # type: ignore[arg-type]

    assert normalise(page, 28)[1].empty


# What the report warns of


TWO = np.concatenate([coverage("zed", 80), coverage("four", 80)], axis=1)


@pytest.mark.parametrize(
    ("page", "warning"),
    [
        (
            on_paper(coverage("four"))[:, 96:, 90:],
            "Ink touches the edge of the picture: leave a margin.",
        ),
        (on_paper(TWO), "Several characters found: use --page, or crop to one."),
        (
            on_paper(coverage("zed"), (200, 200, 200), (180, 180, 180)),
            "Pale ink: it takes 10 % of the light. Use a darker pen.",
        ),
    ],
)
def test_a_warning_names_the_remedy(page: Picture, warning: str) -> None:
    assert warning in normalise(page, 28)[1].warnings()
    assert normalise(on_paper(coverage("i")), 28)[1].warnings() == []


def test_a_neighbour_at_the_border_is_ignored() -> None:
    page = on_paper(coverage("zed", 100))
    plain = normalise(page, 28)[0]
    page[:, :20, 90:96] = 0

    frame, report = normalise(page, 28)

    assert difference(plain, frame) < 0.02
    assert report.warnings() == ["Ignored pieces at the edge of the picture: 1."]


@pytest.mark.parametrize("turned", [False, True])
def test_dotted_lines_are_ignored_and_an_ellipsis_is_not(turned: bool) -> None:
    page = on_paper(coverage("zed", 100))
    lined = page.copy()
    for start in range(10, 190, 9):
        lined[:, 170:173, start : start + 3] = 30
    if turned:
        page, lined = page.transpose(0, 2, 1), lined.transpose(0, 2, 1)
    ellipsis = np.full((60, 200), 255, dtype=np.uint8)
    for start in (20, 90, 160):
        ellipsis[30:40, start : start + 10] = 0

    assert difference(normalise(page, 28)[0], normalise(lined, 28)[0]) < 0.02
    assert normalise(ellipsis, 28)[1].box == (30, 20, 40, 170)


# What a network sees


def test_position_channels_follow_the_ink() -> None:
    preprocess = Preprocess(size=20, resize="glyph", position_channels=True)
    ink, report = normalise(hook(), 20)

    planes, _ = preprocess_image(hook()[None], preprocess)

    np.testing.assert_array_equal(planes[0], ink)
    position = np.array([report.height, report.width, report.position])
    np.testing.assert_array_equal(planes[1:, 0, 0], np.rint(255 * position))


def test_files_and_sets_are_seen_alike(signs: Path) -> None:
    preprocess = Preprocess(size=20, resize="glyph", position_channels=True)
    images = sources.load(f"folder:{signs}", preprocess=preprocess)

    assert images.files is not None
    inputs = preprocess_images([signs / name for name in images.files], preprocess)
    np.testing.assert_array_equal(stack(inputs)[0], images.images)


# Images that come cropped


def test_margins_are_measured_where_all_images_share_them() -> None:
    digits = sources.load("mnist5k", "test").images[:100]
    noise = np.random.RandomState(0).randint(0, 256, (100, 1, 28, 28)).astype(np.uint8)
    moved = np.stack([np.roll(d, i % 9 - 4, 2) for i, d in enumerate(digits)])

    assert margins(sources.load("mnist5k")) == MNIST
    for images in (noise, moved, digits[:, :, 4:24, 4:24], 255 - digits):
        assert margins(ImageSet.from_arrays(images, np.zeros(100, int), ("a",))) is None


def test_sets_with_the_margins_pass_and_others_are_brought_into_them(signs: Path) -> None:
    preprocess = Preprocess(margins=MNIST)
    same = sources.load("mnist5k", "test", preprocess)
    other = sources.load(f"folder:{signs}", preprocess=preprocess).images[:, 0] > 0

    np.testing.assert_array_equal(same.images, sources.load("mnist5k", "test").images)
    sides = np.maximum(other.any(axis=1).sum(axis=1), other.any(axis=2).sum(axis=1))
    assert sides == pytest.approx(20, abs=1)
