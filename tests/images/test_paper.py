"""Paper, light and polarity."""

import numpy as np
import pytest
from photographing import SIGNS, coverage, gradient, on_paper, shadow

from siglum.images import sources
from siglum.images.connected import box_of
from siglum.images.grids import closed, resized, shrunk
from siglum.images.paper import (
    dark_on_light,
    darkness,
    on_any_paper,
    on_even_paper,
    projected,
    threshold,
)


def test_the_threshold_lies_halfway_between_two_shades() -> None:
    level, contrast = threshold(np.array([[0.1, 0.1, 0.1, 0.1, 0.7]], dtype=np.float32))

    assert level == pytest.approx(0.4, abs=0.005)
    assert contrast == pytest.approx(0.6, abs=0.005)


def test_one_shade_has_no_contrast() -> None:
    assert threshold(np.full((4, 5), 0.3, dtype=np.float32))[1] == 0


def test_the_threshold_makes_the_variance_between_the_two_greatest() -> None:
    """Against Otsu's criterion, written out."""
    shades = np.random.RandomState(0).beta(0.5, 2, (30, 40)).round(2).astype(np.float32)
    level, contrast = threshold(shades)

    def between(edge: float) -> float:
        dark, light = shades[shades > edge], shades[shades <= edge]
        return len(dark) * len(light) * (dark.mean() - light.mean()) ** 2

    edges = np.unique(shades)[:-1] + 0.005
    assert between(level) == pytest.approx(max(map(between, edges)), rel=0.01)
    assert contrast == pytest.approx(
        shades[shades > level].mean() - shades[shades <= level].mean(), abs=0.01
    )


@pytest.mark.parametrize("reach", [1, 2, 5, 30])
def test_a_closing_is_the_darkest_of_the_lightest(reach: int) -> None:
    """Against windows walked through one by one."""
    grey = np.random.RandomState(1).randint(0, 256, (13, 17)).astype(np.uint8)

    def walked(values: np.ndarray, choose: object) -> np.ndarray:
        near = [
            [
                values[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
                for x in range(17)
            ]
            for y in range(13)
        ]
        return np.array([[choose(window) for window in row] for row in near])  # type: ignore[operator]

    expected = walked(walked(grey, np.max), np.min)

    np.testing.assert_array_equal(closed(grey, reach), expected)


def test_grey_in_three_channels_stays_grey() -> None:
    grey = np.random.RandomState(2).randint(0, 256, (20, 30)).astype(np.uint8)

    found = projected(np.stack([grey] * 3))

    assert np.abs(found.astype(int) - grey).max() <= 1


@pytest.mark.parametrize(
    ("paper", "pen"),
    [
        ((255, 255, 255), (148, 0, 211)),
        ((255, 255, 255), (255, 240, 60)),
        ((0, 0, 0), (0, 0, 255)),
        ((0, 0, 0), (0, 200, 200)),
        ((90, 160, 90), (200, 100, 100)),
        ((240, 225, 150), (120, 120, 200)),
    ],
)
def test_ink_of_any_colour_keeps_its_contrast(
    paper: tuple[float, ...], pen: tuple[float, ...]
) -> None:
    """At least two thirds of the largest difference in one channel."""
    ink = coverage("zed", 60)
    grey = projected(on_paper(ink, paper, pen)).astype(int)

    most = max(abs(p - q) for p, q in zip(paper, pen, strict=True))
    assert abs(grey[ink == 1].mean() - grey[ink == 0].mean()) > most * 2 / 3


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("stroke", [0.03, 0.08, 0.16])
@pytest.mark.parametrize("cropped", [False, True])
def test_polarity_follows_the_ink(sign: str, stroke: float, cropped: bool) -> None:
    ink = coverage(sign, 120, stroke=stroke)
    if cropped:  # to the ink, so that it touches the border
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        margin = 12 if sign == "i" else 0  # which would be a block of ink
        ink = ink[rows[0] : rows[-1] + 1, max(columns[0] - margin, 0) : columns[-1] + 1 + margin]
    for light in (1.0, gradient(ink.shape, 0.5)):
        page = on_paper(ink, (210, 205, 190), (40, 40, 60), light)
        grey = shrunk(projected(page), 64)

        assert dark_on_light(grey)
        assert not dark_on_light(255 - grey)


def test_the_edge_of_a_shadow_is_paper() -> None:
    """On a blank page, whose light is said to be uneven."""
    blank = np.zeros((200, 240))
    page = on_paper(blank, (220, 215, 205), light=shadow(blank.shape, 0.5), grain=2)

    found = darkness(page)

    assert found.contrast == 0
    assert found.uneven > 0.4


@pytest.mark.parametrize("level", [0, 1, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 300), (3, 200, 1), (3, 60, 90)])
def test_one_level_is_paper(level: int, shape: tuple[int, ...]) -> None:
    assert darkness(np.full(shape, level, dtype=np.uint8)).contrast == 0


def alike(grey: np.ndarray) -> bool:
    """Hold that the short way, where it is taken, finds the ink that the long way finds."""
    short, long = on_even_paper(grey), on_any_paper(grey)
    if short is None:
        return False
    inks = [found.share > found.above for found in (short, long)]
    assert short.inverted == long.inverted
    assert short.contrast == pytest.approx(long.contrast, abs=0.05)
    assert np.abs(np.subtract(box_of(inks[0]), box_of(inks[1]))).max() <= 1
    assert np.count_nonzero(inks[0] != inks[1]) <= 0.15 * np.count_nonzero(inks[1])
    return True


def test_on_even_paper_the_short_way_finds_the_bundled_digits_as_the_long_way_does() -> None:
    digits = sources.load("mnist5k", "test").images[::10, 0]

    for polarity in (digits, 255 - digits):
        assert np.mean([alike(digit) for digit in polarity]) > 0.95


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("stroke", [0.03, 0.05, 0.1])
@pytest.mark.parametrize("height", [40, 100, 300])
@pytest.mark.parametrize(
    ("paper", "pen", "grain"), [(255, 0, 0), (220, 60, 1), (90, 30, 0), (240, 180, 1)]
)
def test_on_even_paper_the_short_way_finds_drawn_ink_as_the_long_way_does(
    sign: str, stroke: float, height: int, paper: float, pen: float, grain: float
) -> None:
    page = on_paper(coverage(sign, height, stroke=stroke), (paper,), (pen,), grain=grain)[0]

    for grey in (page, 255 - page):
        assert alike(grey) or stroke * height < 1.5  # such fine lines may be too pale


@pytest.mark.parametrize("what", ["gradient", "shadow", "grain", "pale", "blot", "other", "blank"])
def test_the_short_way_is_for_thin_ink_on_even_paper_alone(what: str) -> None:
    ink = coverage("zed", 100)
    light = {"gradient": gradient(ink.shape, 0.5), "shadow": shadow(ink.shape, 0.5)}.get(what, 1.0)
    pen = (205.0,) if what == "pale" else (40.0,)
    grain = 6 if what == "grain" else 0
    page = on_paper(0 * ink if what == "blank" else ink, (220.0,), pen, light, grain)[0].copy()
    if what == "blot":
        page[60:140, 60:140] = 40
    if what == "other":  # paper, which is darker
        page[20:180, 60:120] = np.minimum(page[20:180, 60:120], 150)

    assert on_even_paper(page) is None


def test_resizing_takes_means_and_goes_straight_between_neighbours() -> None:
    ramp = np.arange(12.0).repeat(6).reshape(12, 6)

    np.testing.assert_allclose(resized(ramp, 4, 3)[:, 0], [1, 4, 7, 10], atol=1e-5)
    np.testing.assert_allclose(resized(ramp, 24, 6)[1:-1, 0], np.arange(0.25, 11, 0.5), atol=1e-5)
