"""Effects of a grid: closed forms, planted effects, and what chance alone makes."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as distributions

from siglum.lab.arms import Arm
from siglum.lab.effects import Effects, effects_of, expected_best
from siglum.lab.outcome import Outcome, figure, outcome_of


def outcome(name: str, accuracies: tuple[float, ...], seeds: tuple[int, ...]) -> Outcome:
    (empty,), _ = outcome_of([Arm(name, ())], "test")
    return replace(empty, seeds=seeds, test=figure(accuracies), val=figure(accuracies))


def effects(table: NDArray[np.float64], seeds: tuple[int, ...] | None = None) -> Effects:
    """The effects of a table (L1, ..., S), whose settings are a, b, ... with values 0, 1, ..."""
    outcomes, levels = [], {}
    for at in itertools.product(*map(range, table.shape[:-1])):
        name = str(at)
        outcomes.append(outcome(name, tuple(table[at]), seeds or tuple(range(table.shape[-1]))))
        levels[name] = dict(zip("abc", at, strict=False))
    found, why = effects_of(outcomes, levels, "test")
    assert found is not None and not why
    return found


def test_the_shares_add_up_to_all_of_the_variance() -> None:
    table = np.random.RandomState(0).rand(3, 4, 2, 3)
    found = effects(table)

    assert sum(share.share for share in found.shares) + found.of_seeds + found.left == (
        pytest.approx(1)
    )
    assert [share.settings for share in found.shares][:4] == [("a",), ("b",), ("c",), ("a", "b")]
    assert [share.freedom for share in found.shares] == [2, 3, 1, 6, 2, 3, 6]
    assert found.cells == pytest.approx(table.mean(axis=-1))


def test_one_setting_alone_makes_all_of_the_variance_that_is_planted() -> None:
    table = 0.8 + np.array([0.0, 0.01, 0.05])[:, None, None] * np.ones((3, 4, 2))
    found = effects(table)

    assert [share.share for share in found.shares] == pytest.approx([1, 0, 0])
    assert [level.effect for level in found.main[0]] == pytest.approx([-0.02, -0.01, 0.03])
    assert found.shares[0].p == 0 and found.shares[1].p == 1
    assert found.noise == pytest.approx(0)


def test_what_two_settings_do_only_together_is_their_interaction() -> None:
    """Exclusive or: no setting does anything by itself."""
    cells = np.array([[0.9, 0.7], [0.7, 0.9]])
    found = effects(np.repeat(cells[..., None], 2, axis=-1))

    assert [share.share for share in found.shares] == pytest.approx([0, 0, 1])


def test_what_a_seed_does_to_all_cells_is_no_chance() -> None:
    cells = np.array([[0.9, 0.8], [0.7, 0.6]])
    found = effects(cells[..., None] + np.array([0.0, 0.02, 0.05]))

    assert found.left == pytest.approx(0, abs=1e-9) and found.of_seeds > 0.01
    assert found.noise == pytest.approx(0, abs=1e-9)


def test_the_p_of_one_setting_is_that_of_the_f_test_of_a_block_design() -> None:
    """Against scipy's paired t test: of two values, F is t squared."""
    random = np.random.RandomState(1)
    table = np.repeat(0.8 + random.rand(2, 1, 6) / 50, 2, axis=1)
    table[:, 1] += 0.1  # the second setting only shifts
    found = effects(table)
    t = distributions.ttest_rel(table[0, 0], table[1, 0]).statistic
    # Both values of b hold the same six differences; 15 degrees of freedom are left over.
    squares = ((table - table.mean()) ** 2).sum()
    f = found.shares[0].share * squares / ((found.noise or 0) ** 2)

    assert f == pytest.approx(t**2 * 15 / 5, rel=1e-6)
    assert found.shares[0].p == pytest.approx(distributions.f.sf(f, 1, 15))


def test_chance_alone_is_rarely_shown() -> None:
    random = np.random.RandomState(2)
    false = sum(
        any((share.adjusted or 1) < 0.05 for share in effects(random.randn(3, 3, 3)).shares)
        for _ in range(200)
    )

    assert false <= 20  # 5 % of 200, and what chance adds


def test_intervals_hold_the_true_effect_in_95_of_100() -> None:
    random, truth = np.random.RandomState(3), np.array([-0.1, 0.0, 0.1])
    held = 0
    for _ in range(200):
        found = effects(truth[:, None, None] + random.randn(3, 4, 3) / 20 + random.randn(3) / 5)
        level = found.main[0][2]
        held += abs(level.effect - 0.1) <= (level.half or 0)

    assert 180 <= held <= 198


def test_one_seed_tells_nothing_of_chance() -> None:
    found = effects(np.random.RandomState(4).rand(3, 3, 1))

    assert found.noise is None and found.main[0][0].half is None
    assert found.best.excess is None and found.luck(9) is None
    assert all(share.p is None and share.by_chance is None for share in found.shares)
    assert found.left == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("tries", "expected"), [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (25, 1.9653)]
)
def test_the_best_of_equals_lies_above_their_mean(tries: int, expected: float) -> None:
    """Tippett's table; and the mean of the largest of many draws."""
    drawn = np.random.RandomState(0).randn(20000, tries).max(axis=1).mean()

    assert expected_best(tries) == pytest.approx(expected, abs=1e-4)
    assert expected_best(tries) == pytest.approx(drawn, abs=0.03)


def test_the_best_cell_is_chosen_by_validation() -> None:
    outcomes = [outcome(str(i), (0.5 + i / 100, 0.6), (0, 1)) for i in range(4)]
    outcomes[0] = replace(outcomes[0], val=figure((0.9, 0.9)))
    levels = {str(i): {"a": i // 2, "b": i % 2} for i in range(4)}
    found, _ = effects_of(outcomes, levels, "test")

    assert found is not None
    assert (found.best.name, found.best.by, found.best.chosen) == ("0", "val", 0.9)
    assert found.best.part.mean == pytest.approx(0.55)


def test_a_grid_that_is_not_whole_has_no_effects() -> None:
    outcomes = [outcome(str(i), (0.5,), (i,)) for i in range(4)]
    levels = {str(i): {"a": i // 2, "b": i % 2} for i in range(4)}

    found, why = effects_of(outcomes, levels, "test")
    assert found is None
    assert why == (
        "Effects need every combination of the grid with the same seeds, and no seed is finished "
        "in all of them."
    )
    assert effects_of(outcomes, {str(i): {"a": i} for i in range(4)}, "test") == (None, "")


def test_seeds_that_some_cells_lack_are_left_out() -> None:
    outcomes = [outcome(str(i), (0.5, 0.6), (0, 1)) for i in range(3)]
    outcomes.append(outcome("3", (0.7,), (1,)))
    levels = {str(i): {"a": i // 2, "b": i % 2} for i in range(4)}
    found, _ = effects_of(outcomes, levels, "test")

    assert found is not None
    assert found.seeds == (1,) and found.means == pytest.approx((0.6, 0.6, 0.6, 0.7))
