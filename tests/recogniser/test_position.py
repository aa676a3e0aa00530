"""Size and position of the ink count where they separate classes, and only there."""

import numpy as np
import pytest
from numpy.typing import NDArray

from siglum.errors import DataError
from siglum.recogniser.position import PositionPrior, fit_position_prior

SHAPE_IS_EQUAL = np.zeros((40, 2), np.float32)


def sample(distance: float, count: int = 20) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Positions (2 N, 3) of two classes whose heights differ by `distance`."""
    random = np.random.RandomState(0)
    labels = np.repeat([0, 1], count)
    positions = np.array([0.4, 0.3, 0.5]) + 0.03 * random.normal(size=(2 * count, 3))
    positions[:, 0] += distance * labels
    return positions.astype(np.float32), labels


def prior(*means: list[float]) -> PositionPrior:
    return PositionPrior(np.array(means, "f4"), np.full(3, 0.02, "f4"), 1.0)


def test_two_sizes_of_one_shape_are_separated() -> None:
    positions, labels = sample(distance=0.3)

    fitted, added = fit_position_prior(positions, labels, 2, SHAPE_IS_EQUAL)

    assert fitted is not None
    assert (added.argmax(axis=1) == labels).mean() > 0.95
    new, expected = sample(distance=0.3, count=50)
    assert (fitted.logits(new).argmax(axis=1) == expected).mean() > 0.95


@pytest.mark.parametrize("known", [True, False])
def test_a_prior_without_benefit_or_with_unknown_positions_is_left_out(known: bool) -> None:
    positions, labels = sample(distance=0.0 if known else 0.3)
    if not known:
        positions[3] = np.nan

    fitted, added = fit_position_prior(positions, labels, 2, SHAPE_IS_EQUAL)

    assert fitted is None and not added.any()


def test_an_unknown_position_adds_nothing() -> None:
    assert not prior([0, 0, 0], [1, 1, 1]).logits(np.full((1, 3), np.nan, "f4")).any()


def test_far_from_every_sample_all_classes_are_alike() -> None:
    """An image cropped differently from the samples is predicted by its shape."""
    positions = np.array([[0.3, 0.3, 0.5], [1.0, 1.0, 0.5]], "f4")

    near, far = prior([0.3, 0.3, 0.5], [0.34, 0.3, 0.5]).logits(positions)

    assert near[0] - near[1] > 2
    assert abs(far[0] - far[1]) < 0.2


def test_the_nearest_class_never_loses() -> None:
    """Background classes have no size: it must not make a sign look like none of the classes."""
    positions = np.random.RandomState(0).uniform(0, 1, (50, 3)).astype("f4")

    assert (prior([0.3, 0.3, 0.5], [0.6, 0.6, 0.5]).logits(positions).max(axis=1) == 0).all()


def test_widths_above_the_height_of_the_image_count_as_1() -> None:
    """Samples store them as bytes, 255 for 1."""
    fitted = prior([0.9, 1.0, 0.5], [0.9, 0.9, 0.5])
    wide, full = np.array([[0.9, 1.3, 0.5], [0.9, 1.0, 0.5]], "f4")

    assert (fitted.logits(wide[None]) == fitted.logits(full[None])).all()


def test_a_sample_is_compared_with_the_other_samples_of_its_class() -> None:
    positions = np.array([[0.2, 0.2, 0.5], [0.9, 0.2, 0.5], [0.5, 0.2, 0.5], [0.5, 0.2, 0.5]], "f4")

    _, added = fit_position_prior(positions, np.array([0, 0, 1, 1]), 2, SHAPE_IS_EQUAL[:4])

    assert added[0, 0] <= 0.0


def test_std_must_be_above_zero() -> None:
    with pytest.raises(DataError, match="three std above 0 and a gain from 0 to 1"):
        PositionPrior(np.zeros((2, 3), "f4"), np.zeros(3, "f4"), 0.5)
