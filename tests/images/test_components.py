"""Components of a mask, against a slow search from pixel to pixel."""

import numpy as np
import pytest

from siglum.images.components import find_components, stroke_width


def test_components_hang_together_by_their_corners_and_no_further() -> None:
    mask = np.random.RandomState(3).rand(40, 50) < 0.3
    some = mask & (np.random.RandomState(5).rand(40, 50) < 0.1)
    rest, expected = {tuple(p) for p in np.argwhere(mask).tolist()}, []
    while rest:
        waiting, pixels = [rest.pop()], set()
        while waiting:
            y, x = waiting.pop()
            pixels.add((y, x))
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & rest
            rest -= near
            waiting += near
        expected.append(pixels)

    parts = find_components(mask)

    assert parts.areas.tolist() == [len(pixels) for pixels in sorted(expected, key=min)]
    for number, pixels in enumerate(sorted(expected, key=min)):
        one = parts.mask(np.arange(len(parts)) == number)
        assert {tuple(p) for p in np.argwhere(one).tolist()} == pixels
        rows, columns = zip(*pixels, strict=True)
        box = [min(rows), min(columns), max(rows) + 1, max(columns) + 1]
        assert parts.boxes[number].tolist() == box
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
