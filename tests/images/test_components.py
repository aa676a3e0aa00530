"""Parts of a mask, against slow ways to find them."""

import numpy as np
import pytest

from siglum.images.components import bounding_box, find_components, stroke_width


def test_parts_hang_together_by_their_corners_and_no_further() -> None:
    """Against a slow search from pixel to pixel."""
    mask = np.random.RandomState(3).rand(40, 50) < 0.3
    left, found = {tuple(p) for p in np.argwhere(mask).tolist()}, []
    while left:
        waiting, part = [left.pop()], set()
        while waiting:
            y, x = waiting.pop()
            part.add((y, x))
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            waiting += near
        found.append(part)
    found.sort(key=min)

    parts = find_components(mask)

    assert len(parts) == len(found)
    assert parts.areas.tolist() == [len(part) for part in found]
    for number, part in enumerate(found):
        one = parts.mask(np.arange(len(parts)) == number)
        assert {tuple(p) for p in np.argwhere(one).tolist()} == part
        assert parts.boxes[number].tolist() == list(bounding_box(one))
    np.testing.assert_array_equal(parts.mask(np.ones(len(parts), dtype=bool)), mask)


def test_a_part_holds_the_pixels_that_lie_in_it() -> None:
    mask = np.random.RandomState(4).rand(30, 20) < 0.3
    some = mask & (np.random.RandomState(5).rand(30, 20) < 0.1)

    parts = find_components(mask)

    each = [(parts.mask(np.arange(len(parts)) == n) & some).any() for n in range(len(parts))]
    assert parts.containing(some[mask]).tolist() == each


def test_an_empty_mask_has_no_parts() -> None:
    assert len(find_components(np.zeros((5, 7), dtype=bool))) == 0


def test_the_sides_that_cut_a_part_off_are_told() -> None:
    mask = np.zeros((6, 8), dtype=bool)
    mask[0, 2] = mask[3, 3] = mask[5, 7] = True

    assert find_components(mask).at_border.tolist() == [
        [True, False, False, False],
        [False, False, False, False],
        [False, False, True, True],
    ]


def test_a_hollow_box_has_the_width_of_its_lines() -> None:
    picture = np.zeros((100, 100), dtype=bool)
    picture[20:80, 20:80] = True
    picture[26:74, 26:74] = False

    assert stroke_width(picture) == pytest.approx(6)


def test_arms_that_meet_far_below_are_one_part() -> None:
    """Combs, of which each joins the teeth of the one above it, two by two."""
    mask = np.zeros((40, 64), dtype=bool)
    for level in range(5):
        mask[8 * level : 8 * level + 8, :: 2 ** (level + 1)] = True
        mask[8 * level + 7, : 64 - 2 ** (level + 1)] = True

    assert len(find_components(mask)) == 1 and find_components(mask).areas.tolist() == [mask.sum()]
