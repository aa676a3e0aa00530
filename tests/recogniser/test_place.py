"""Size and place are used where they tell classes apart, and only there."""

import numpy as np
import pytest
from numpy.typing import NDArray

from siglum.errors import DataError
from siglum.recogniser.place import Whereabouts, learned, place_logits


def written(apart: float, count: int = 20) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Places (2 N, 3) of two classes whose heights are so far apart."""
    random = np.random.RandomState(0)
    labels = np.repeat([0, 1], count)
    places = np.array([0.4, 0.3, 0.5]) + 0.03 * random.normal(size=(2 * count, 3))
    places[:, 0] += apart * labels
    return places.astype(np.float32), labels


def test_two_sizes_of_one_shape_are_told_apart() -> None:
    places, labels = written(apart=0.3)
    shape_says_nothing = np.zeros((40, 2), np.float32)

    found, added = learned(places, labels, 2, shape_says_nothing)

    assert found is not None
    assert ((shape_says_nothing + added).argmax(axis=1) == labels).mean() > 0.95
    new, of = written(apart=0.3, count=50)
    assert (place_logits(new, found).argmax(axis=1) == of).mean() > 0.95


def test_what_does_not_help_is_left_out() -> None:
    places, labels = written(apart=0.0)
    found, added = learned(places, labels, 2, np.zeros((40, 2), np.float32))

    assert found is None
    assert not added.any()


def test_unknown_places_say_nothing() -> None:
    places, labels = written(apart=0.3)
    places[3] = np.nan
    assert learned(places, labels, 2, np.zeros((40, 2), np.float32))[0] is None

    whereabouts = Whereabouts(np.zeros((2, 3), "f4"), np.ones(3, "f4"), 1.0)
    assert not place_logits(np.full((1, 3), np.nan, "f4"), whereabouts).any()


def test_far_from_every_sample_the_classes_are_alike() -> None:
    """A picture cut out otherwise than the samples is judged by its shape."""
    middle = np.array([[0.3, 0.3, 0.5], [0.34, 0.3, 0.5]], "f4")
    whereabouts = Whereabouts(middle, np.full(3, 0.02, "f4"), 1.0)
    places = np.array([[0.3, 0.3, 0.5], [1.0, 1.0, 0.5]], "f4")

    near, far = place_logits(places, whereabouts)

    assert near[0] - near[1] > 2
    assert abs(far[0] - far[1]) < 0.2


def test_the_nearest_class_loses_nothing_wherever_the_ink_is() -> None:
    """Or size would make a sign look like none of these, for which outsiders have no size."""
    middle = np.array([[0.3, 0.3, 0.5], [0.6, 0.6, 0.5]], "f4")
    whereabouts = Whereabouts(middle, np.full(3, 0.02, "f4"), 1.0)
    places = np.random.RandomState(0).uniform(0, 1, (50, 3)).astype("f4")

    assert (place_logits(places, whereabouts).max(axis=1) == 0).all()


def test_ink_wider_than_its_picture_is_high_is_as_wide_as_samples_can_say() -> None:
    """A sample keeps its size and place in bytes, 255 for 1."""
    middle = np.array([[0.9, 1.0, 0.5], [0.9, 0.9, 0.5]], "f4")
    whereabouts = Whereabouts(middle, np.full(3, 0.02, "f4"), 1.0)
    wide, full = np.array([[0.9, 1.3, 0.5], [0.9, 1.0, 0.5]], "f4")

    assert (place_logits(wide[None], whereabouts) == place_logits(full[None], whereabouts)).all()


def test_a_sample_is_judged_by_the_others() -> None:
    """Its own place is not in the mean that it is compared with."""
    places = np.array([[0.2, 0.2, 0.5], [0.9, 0.2, 0.5], [0.5, 0.2, 0.5], [0.5, 0.2, 0.5]], "f4")
    labels = np.array([0, 0, 1, 1])
    _, added = learned(places, labels, 2, np.zeros((4, 2), "f4"))
    assert added[0, 0] <= 0.0  # far from the other sample of its class


def test_spreads_must_be_above_zero() -> None:
    with pytest.raises(DataError, match="three spreads above 0 and a gain from 0 to 1"):
        Whereabouts(np.zeros((2, 3), "f4"), np.zeros(3, "f4"), 0.5)
