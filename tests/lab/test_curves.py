"""The curves of a 3 are where they lie, and planted attention is found."""

import numpy as np
import pytest
import torch

from siglum.lab.examine.curves import Curves, curves, flow, flows, ratio
from siglum.lab.models.conv_transformer import ConvTransformer

THREE = """
......
.####.
....#.
..###.
....#.
.####.
"""
UPPER, LOWER = [(1, 3), (1, 4), (2, 4)], [(4, 4), (5, 3), (5, 4)]


def drawn(text: str, cell: int = 4) -> np.ndarray:
    """A picture with a cell a letter, # for ink."""
    cells = np.array([[letter == "#" for letter in line] for line in text.split()], float)
    return np.kron(cells, np.ones((cell, cell)))


def places(cells: np.ndarray) -> list[tuple[int, int]]:
    return [tuple(map(int, place)) for place in np.argwhere(cells.reshape(6, 6))]


def test_the_curves_are_the_right_hand_ink_above_and_below_the_middle() -> None:
    found = curves(drawn(THREE), 6, 4)

    assert found is not None and found.ink.sum() == 13
    assert (places(found.upper), places(found.lower)) == (UPPER, LOWER)


def test_what_lies_beyond_the_last_cell_is_left_out() -> None:
    found = curves(np.pad(drawn(THREE), (0, 3), constant_values=1), 6, 4)

    assert found is not None and places(found.lower) == LOWER


@pytest.mark.parametrize("text", ["......\n" * 6, "......\n.####.\n" + "......\n" * 4])
def test_a_picture_without_two_curves_has_none(text: str) -> None:
    assert curves(drawn(text), 6, 4) is None


@pytest.fixture
def three() -> Curves:
    found = curves(drawn(THREE), 6, 4)
    assert found is not None
    return found


def test_even_attention_is_one_everywhere(three: Curves) -> None:
    for value in flow(np.full((2, 3, 36, 36), 1 / 36), three):
        np.testing.assert_allclose(value, np.ones((2, 3)))


def test_planted_attention_is_found(three: Curves) -> None:
    """One head sends all that a curve takes from the other, evenly; its other cells are even."""
    weights = np.full((1, 2, 36, 36), 1 / 36)
    for one, other in ((three.upper, three.lower), (three.lower, three.upper)):
        weights[0, 1, one] = other / other.sum()
    between, matched, beside = flow(weights, three)

    np.testing.assert_allclose(between, [[1, 36 / 3]])
    np.testing.assert_allclose(matched, [[1, 36 / 3]])
    assert beside[0, 0] == pytest.approx(1) and beside[0, 1] < 1


def test_attention_by_distance_alone_relates_no_curves(three: Curves) -> None:
    """It is far from even between the curves, and the same between other ink as far apart."""
    row, column = np.divmod(np.arange(36), 6)
    apart = (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2
    between, matched, beside = flow((0.001 * apart)[None, None], three)

    assert abs(between[0, 0] - 1) > 0.1
    np.testing.assert_allclose(matched, beside)


def test_where_nothing_is_as_far_apart_there_is_nothing_beside() -> None:
    ink = np.zeros(9, bool)
    ink[[2, 8]] = True
    upper, lower = np.arange(9) == 2, np.arange(9) == 8
    between, matched, beside = flow(np.full((1, 1, 9, 9), 1 / 9), Curves(ink, upper, lower))

    assert between == 1 and np.isnan(matched) and np.isnan(beside)


def test_ratio_is_that_of_the_means_and_its_interval_holds_it() -> None:
    random = np.random.RandomState(0)
    below = random.uniform(1, 2, (200, 1, 2))
    above = below * [1.0, 3.0] * random.uniform(0.9, 1.1, (200, 1, 2))
    above[0] = np.nan
    found = ratio(above, below)

    np.testing.assert_allclose(found.value, above[1:].mean(axis=0) / below[1:].mean(axis=0))
    assert (found.low < found.value).all() and (found.value < found.high).all()
    assert found.low[0, 0] < 1 < found.high[0, 0] and found.low[0, 1] > 2.8


def test_an_untrained_network_of_the_published_size_can_be_measured(three: Curves) -> None:
    torch.manual_seed(0)
    model = ConvTransformer(62, 1, 200)
    picture = np.pad(drawn(THREE, 32), (0, 8)).astype(np.float32)
    found = curves(picture, 6, 32)
    assert found is not None and places(found.upper) == UPPER
    measured = flows(model, torch.from_numpy(picture)[None, None].repeat(2, 1, 1, 1), [found] * 2)

    assert measured.between.shape == measured.beside.shape == (2, 3, 8)
    np.testing.assert_allclose(measured.between[0], measured.between[1], rtol=1e-4)
    assert 0.5 < measured.between.mean() < 2
