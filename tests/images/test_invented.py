"""Signs made up: the same everywhere, different from each other, and no two drawings alike."""

import numpy as np
import pytest
from numpy.random import RandomState

from siglum.config import Preprocess
from siglum.errors import ConfigError
from siglum.images import invented, sources
from siglum.images.invented import Part

CUT = Preprocess(size=32, fit="glyph")


def test_the_class_is_the_sign_and_the_writer_the_hand() -> None:
    found = sources.load("invented:12x3", "all", CUT)

    assert found.classes == tuple(f"invented {sign:02}" for sign in range(12))
    assert found.counts.tolist() == [3] * 12
    assert found.writers is not None
    assert found.writers[:4] == (*(f"invented hand {hand}" for hand in range(3)), found.writers[0])
    assert found.shape == (1, 32, 32)


def test_more_signs_and_hands_change_none_that_are_there() -> None:
    few, many = (sources.load(f"invented:{what}", "all", CUT) for what in ("3x2", "5x4"))

    for sign in range(3):
        assert np.array_equal(
            few.take([2 * sign, 2 * sign + 1]), many.take([4 * sign, 4 * sign + 1])
        )


def test_drawings_of_a_sign_are_nearer_to_each_other_than_to_other_signs() -> None:
    found = sources.load("invented:40x6", "all", CUT)
    flat = found.images.reshape(len(found), -1) / 255.0
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    cosines = flat @ flat.T
    same = found.labels[:, None] == found.labels
    other = ~np.eye(len(found), dtype=bool)

    assert cosines[same & other].mean() > cosines[~same].mean() + 0.1
    assert cosines[same & other].max() < 0.9999  # no two hands draw alike
    assert (flat > 0).any(axis=1).all()


def test_a_smooth_path_goes_through_its_points() -> None:
    points = np.array([[0.0, 0.0], [0.5, 1.0], [1.0, 0.0], [1.0, 1.0]])
    for smooth in (False, True):
        way = invented.path(Part(points, smooth, None))
        nearest = np.linalg.norm(way[:, None] - points, axis=2).min(axis=0)

        assert nearest.max() < 0.1
        assert np.allclose(way[[0, -1]], points[[0, -1]])


def test_a_smooth_path_through_points_in_a_row_is_straight() -> None:
    points = np.linspace([0, 0], [3, 6], 4)
    way = invented.path(Part(points, smooth=True, joined=None))

    assert np.allclose(way[:, 1], 2 * way[:, 0])


def test_a_part_that_is_joined_begins_where_it_is_said() -> None:
    for seed in range(200):
        sign = invented.invent(RandomState(seed))
        for number, part in enumerate(sign):
            if part.joined is not None:
                earlier, share = part.joined
                way = invented.path(sign[earlier])

                assert earlier < number
                assert np.allclose(part.points[0], way[round(share * (len(way) - 1))])


@pytest.mark.parametrize("text", ["", "12", "0x3", "3x0", "3 x 3", "-3x3", "9999999x9999999"])
def test_numbers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="invented must"):
        sources.load(f"invented:{text}", "all", CUT)
