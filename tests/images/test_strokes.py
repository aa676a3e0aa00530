"""Drawings as pictures, and drawings as JSON that nobody can trust."""

import json
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from siglum.errors import DataError
from siglum.images.strokes import Drawing, parse, rasterise, to_json

Ink = NDArray[np.uint8]

PLACES = st.floats(-0.2, 1.2).map(lambda value: round(value, 5))
POINTS = st.tuples(
    PLACES,
    PLACES,
    st.integers(0, 100_000).map(lambda tenths: tenths / 10),
    st.integers(0, 1000).map(lambda thousandths: thousandths / 1000),
).map(list)
STROKES = st.lists(POINTS, min_size=1, max_size=8)
VALUES = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "aspect": st.sampled_from([0.25, 0.8, 1.0, 1.7, 4]),
        "strokes": st.lists(STROKES, max_size=4),
    }
)


def drawing(*lines: list[tuple[float, ...]], aspect: float = 1.0, pressure: float = 0.5) -> Drawing:
    """A drawing of lines of (x, y) or (x, y, pressure)."""
    made = [
        [[x, y, 10.0 * place, *(rest or [pressure])] for place, (x, y, *rest) in enumerate(line)]
        for line in lines
    ]
    return parse({"version": 1, "aspect": aspect, "strokes": made})


def covered(ink: Ink) -> float:
    """The area of ink, px."""
    return float(ink.sum()) / 255


def test_a_line_has_its_width_and_a_dot_its_area() -> None:
    line = rasterise(drawing([(-0.5, 0.5), (1.5, 0.5)]), 100, 0.1)
    dot = rasterise(drawing([(0.5, 0.5)]), 100, 0.2)

    assert (line[46:54] == 255).all() and not line[:44].any() and not line[56:].any()
    assert covered(dot) == pytest.approx(math.pi * 10**2, rel=0.03)
    assert (dot == dot.T).all()
    for aspect, shape in ((0.5, (48, 24)), (2.0, (24, 48))):
        assert rasterise(drawing(aspect=aspect), 48).shape == shape


def test_pressure_changes_the_width_mildly() -> None:
    for pressure, width in ((0.0, 15), (0.5, 20), (1.0, 25)):
        ink = rasterise(drawing([(0.5, -0.5), (0.5, 1.5)], pressure=pressure), 100, 0.2)

        assert covered(ink[50:51]) == pytest.approx(width, abs=0.5)


def test_nothing_drawn_is_nothing() -> None:
    assert not rasterise(drawing()).any()
    assert not rasterise(drawing([(-0.5, -0.5), (-0.4, 1.6)], [(1.2, 1.2)])).any()


@settings(max_examples=40, deadline=None)
@given(value=VALUES)
def test_a_drawing_and_its_json_are_the_same(value: dict[str, Any]) -> None:
    assert to_json(parse(value)) == value
    assert to_json(parse(json.loads(json.dumps(to_json(parse(value)))))) == value


POINT, HUGE = [0.5, 0.5, 0.0, 0.5], 10**400
LONG = [[x % 2, 0.5, 0, 0.5] for x in range(1002)]
DEEP: list[Any] = []
for _ in range(500):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "wrong, message",
    [
        (None, "drawing: Input should be a valid dictionary"),
        ({"path": "/etc/passwd"}, "drawing.path: Extra inputs are not permitted"),
        ({"version": 2}, "drawing.version: Input should be 1, got 2."),
        ({"aspect": 5}, "drawing.aspect: Input should be less than or equal to 4, got 5."),
        ({"aspect": math.nan}, "drawing.aspect: Input should be "),
        ({"strokes": "x"}, "drawing.strokes: Input should be a valid list, got 'x'."),
        ({"strokes": [[POINT], []]}, "drawing.strokes.1: List should have at least 1 item"),
        ({"strokes": [[POINT[:3]]]}, "drawing.strokes.0.0.3: Field required"),
        ({"strokes": DEEP}, "drawing.strokes.0.0.0: Input should be a valid number, got "),
        ({"strokes": [[POINT]] * 1001}, "List should have at most 1000 items"),
        ({"strokes": [[POINT] * 6000] * 2}, "a drawing has at most 10,000 points"),
        ({"strokes": [LONG]}, "lines of 1,000 sides of the pad. Draw one character."),
        ({"strokes": [[[2.5, *POINT[1:]]]]}, "drawing.strokes.0.0.0: Input should be less than"),
        ({"strokes": [[["0.5", *POINT[1:]]]]}, "Input should be a valid number, got '0.5'."),
        ({"strokes": [[[True, *POINT[1:]]]]}, "Input should be a valid number, got True."),
        ({"strokes": [[[HUGE, *POINT[1:]]]]}, "Input should be a valid number, got 1000"),
    ],
)
def test_what_is_no_drawing_is_refused(wrong: Any, message: str) -> None:
    if isinstance(wrong, dict):
        wrong = {"version": 1, "aspect": 1.0, "strokes": [[POINT]]} | wrong

    with pytest.raises(DataError, match=re.escape(message)) as caught:
        parse(wrong)
    assert len(str(caught.value)) < 200
