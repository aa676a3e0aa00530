"""Accuracy against a setting that is a number."""

from dataclasses import replace

from siglum.lab.arms import Arm
from siglum.lab.growth import growth_of
from siglum.lab.outcome import Outcome, figure, outcome_of


def outcome(name: str, *accuracies: float) -> Outcome:
    (empty,), _ = outcome_of([Arm(name, (), published={"test": 0.5})], "test")
    return replace(empty, seeds=tuple(range(len(accuracies))), test=figure(accuracies))


def test_a_line_for_each_way_and_a_spot_for_each_value() -> None:
    levels = {f"{way} {n}": {"arm": way, "samples_per_class": n} for way in "ab" for n in (9, 1, 3)}
    outcomes = [outcome(name, 0.5, 0.6, 0.7) for name in levels]
    found = growth_of(outcomes, levels, "test")

    assert found is not None and found.setting == "samples_per_class"
    assert [line.name for line in found.lines] == ["a", "b"]
    assert [spot.value for spot in found.lines[0].spots] == [1, 3, 9]
    low, high = found.lines[0].spots[0].band or (0, 0)
    assert low < 0.6 < high and found.lines[0].spots[0].published == 0.5


def test_two_seeds_make_no_band() -> None:
    levels = {str(n): {"epochs": n} for n in (1, 2, 3)}
    found = growth_of([outcome(name, 0.5, 0.6) for name in levels], levels, "test")

    assert found is not None and found.lines[0].name == ""
    assert found.lines[0].spots[0].band is None


def test_two_values_words_and_too_many_lines_make_no_curve() -> None:
    few = {str(n): {"epochs": n} for n in (1, 2)}
    words = {name: {"model": name} for name in "abc"}
    many = {f"{n} {m}": {"epochs": n, "way": f"{m}"} for n in (1, 2, 3) for m in range(9)}

    for levels in (few, words, many):
        outcomes = [outcome(name, 0.5) for name in levels]
        assert growth_of(outcomes, levels, "test") is None
