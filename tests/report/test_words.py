"""How numbers and names are written."""

import pytest

from siglum.report import words
from siglum.stats import wilson


@pytest.mark.parametrize(
    ("hits", "total", "written"),
    [
        (9, 10, "90 %"),
        (982, 1000, "98.2 %"),
        (9985, 10000, "99.85 %"),
        (0, 0, "–"),
        (10, 10, "100 %"),
        (99_999, 100_000, "99.99 %"),  # not 100.00
        (1, 100_000, "0.01 %"),
    ],
)
def test_a_rate_is_all_or_none_only_if_it_is(hits: int, total: int, written: str) -> None:
    assert words.percent(wilson(hits, total)).replace(words.SPACE, " ") == written


def test_an_interval_is_the_one_of_the_rate() -> None:
    """9 of 10: Wilson's interval is 0.596 to 0.982."""
    assert words.between(wilson(9, 10)).replace(words.SPACE, " ") == "60 and 98 %"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(1.23, "1.2 s"), (48.4, "48 s"), (725, "12 min 5 s"), (7500, "2 h 5 min")],
)
def test_a_duration_is_told_in_its_own_units(seconds: float, written: str) -> None:
    assert words.duration(seconds).replace(words.SPACE, " ") == written


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("mnist5k", "mnist5k"),
        ("idx:downloads/MNIST/raw", "MNIST"),
        ("folder:/home/me/signs", "signs"),
        ("archive:a/b.zip", "b.zip"),
    ],
)
def test_a_source_has_a_short_name(spec: str, name: str) -> None:
    assert words.source(spec) == name


def test_a_very_long_class_name_keeps_both_ends_and_its_whole() -> None:
    name = "a" * 100 + "<" + "b" * 100

    assert words.sign(name) == (
        f'<bdi class="sign" title="{"a" * 100}&lt;{"b" * 100}">{"a" * 24}…{"b" * 24}</bdi>'
    )


@pytest.mark.parametrize(
    ("probability", "written"), [(0.962, "96 %"), (0.9999, "over 99 %"), (0.001, "under 1 %")]
)
def test_a_network_is_never_said_to_be_wholly_sure(probability: float, written: str) -> None:
    assert words.sureness(probability).replace(words.SPACE, " ") == written
