"""Paired tests, against closed forms and against scipy."""

import math

import numpy as np
import pytest
from answering import answers
from numpy.typing import NDArray
from scipy import stats as distributions

from siglum.lab.paired import Pair, pair, t_interval


def the_pair(first: list[NDArray[np.bool_]], second: list[NDArray[np.bool_]]) -> Pair:
    ours, theirs = (dict(enumerate(right)) for right in (first, second))
    return pair("a", "b", ours, theirs, same_pictures=True)


def test_over_seeds_is_scipys_paired_t() -> None:
    first, second = ([answers(n, s) for s, n in enumerate(w)] for w in ((9, 12, 10), (20, 31, 22)))
    expected = distributions.ttest_rel([r.mean() for r in first], [r.mean() for r in second])
    low, high = expected.confidence_interval()

    over = the_pair(first, second).over_seeds

    assert over is not None
    assert (over.low, over.high, over.p) == pytest.approx((low, high, expected.pvalue))


def test_over_both_holds_the_other_two() -> None:
    """The bootstrap's ends may stand out by the bootstrap's own chance."""
    for seeds in (2, 3, 5):
        first, second = ([answers(n + s, 7 * n + s) for s in range(seeds)] for n in (10, 25))
        made = the_pair(first, second)
        assert made.over_both and made.over_pictures and made.over_pictures
        assert made.over_both.low < made.over_pictures[0] + 0.001
        assert made.over_both.high > made.over_pictures[1] - 0.001
        if made.over_seeds:
            assert made.over_both.low <= made.over_seeds.low
            assert made.over_both.p >= made.over_seeds.p


def test_over_both_of_seeds_alike_is_the_z_of_the_pictures() -> None:
    """With no spread over seeds, what is left is the pictures: here 30 of 1,000, one way."""
    first, second = answers(0), answers(30)
    made = the_pair([first, first], [second, second])
    error = math.sqrt(0.03 * 0.97 / 999)

    assert made.over_seeds is None
    assert made.over_both is not None
    assert made.over_both.high - made.over_both.low == pytest.approx(
        2 * distributions.t.ppf(0.975, 999) * error
    )


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("luck", [0.0, 0.02])
def test_equals_are_told_apart_in_at_most_5_of_100(seeds: int, luck: float) -> None:
    """Of 150; `luck` is the deviation of the error rate over seeds. 5 more: the test's chance."""
    random = np.random.RandomState(seeds)

    def read(hard: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
        rates = np.clip(random.normal(0.06, luck, seeds), 0.0, 1.0)
        return [~(hard & (random.rand(300) < 0.5)) & (random.rand(300) >= rate) for rate in rates]

    told = 0
    for _ in range(150):
        hard = random.rand(300) < 0.1
        over = the_pair(read(hard), read(hard)).over_both
        told += over is not None and over.p < 0.05

    assert told <= 0.10 * 150


def test_the_same_picture_in_several_seeds_is_one_picture() -> None:
    """Three times the same networks know no more than once."""
    first, second = answers(10), answers(25, seed=1)
    once, thrice = the_pair([first], [second]), the_pair([first] * 3, [second] * 3)

    assert once.over_pictures == thrice.over_pictures
    assert thrice.pictures == 1000


def test_mcnemar_is_told_for_every_seed() -> None:
    first, second = answers(0), answers(8)
    (seed,) = the_pair([first], [second]).seeds

    assert (seed.both, seed.only_first, seed.only_second, seed.neither) == (992, 8, 0, 0)
    assert seed.over_pictures.p == 2 / 2**8


def test_t_interval_is_scipys() -> None:
    values = [0.5, 0.7, 0.65, 0.9]
    expected = distributions.t.interval(0.95, 3, np.mean(values), distributions.sem(values))

    assert t_interval(values) == pytest.approx(expected)
