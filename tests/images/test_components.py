"""Components of a mask, against those of scipy."""

import numpy as np
import pytest
from scipy import ndimage

from siglum.images.components import find_components, stroke_width


def test_components_are_scipys() -> None:
    mask = np.random.RandomState(3).rand(40, 50) < 0.3
    some = mask & (np.random.RandomState(5).rand(40, 50) < 0.1)
    labels, count = ndimage.label(mask, np.ones((3, 3)))

    parts = find_components(mask)

    assert len(parts) == count
    for number, place in enumerate(ndimage.find_objects(labels)):
        one = labels == number + 1
        np.testing.assert_array_equal(parts.mask(np.arange(count) == number), one)
        assert parts.areas[number] == one.sum()
        top, left, bottom, right = parts.boxes[number].tolist()
        assert place == (slice(top, bottom), slice(left, right))
        assert parts.containing(some[mask])[number] == (one & some).any()


def test_arms_that_meet_far_below_are_one_component() -> None:
    """Combs, of which each joins the teeth of the one above it, two by two."""
    mask = np.zeros((40, 64), dtype=bool)
    for level in range(5):
        mask[8 * level : 8 * level + 8, :: 2 ** (level + 1)] = True
        mask[8 * level + 7, : 64 - 2 ** (level + 1)] = True

    assert find_components(mask).areas.tolist() == [mask.sum()]
    assert len(find_components(np.zeros((5, 7), dtype=bool))) == 0


def test_a_hollow_box_has_the_width_of_its_lines() -> None:
    picture = np.zeros((100, 100), dtype=bool)
    picture[20:80, 20:80] = True
    picture[26:74, 26:74] = False

    assert stroke_width(picture) == pytest.approx(6)
