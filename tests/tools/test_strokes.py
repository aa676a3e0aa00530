"""Signs as strokes: files that hold them, skeletons, and hands that draw them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.random import RandomState
from scipy import ndimage

pytest.importorskip("fontTools")
from tools.backbone.hand import rasterise_by_hand
from tools.backbone.signs import Sign, build_sign
from tools.backbone.skeletons import skeleton_strokes
from tools.backbone.sources import read_package

PEN = (0.05, 0.06)
FILES = {  # a corner as the letter L, and in LibreCAD's font an accent above it
    "kanjivg/0004c.svg": '<path d="M10,10c0,10 0,20 0,40"/><path d="M10,50L50,50"/>',
    "hersheytext/a.svg": '<glyph unicode="L" horiz-adv-x="9" d="M 0 40 L 0 0 L 40 0" />',
    "librecad-data/a.lff": "# x\n[004C] L\n0,4;0,0;4,0\n\n[0139] X\nC004C\n1,5;2,6,A1\n",
    "gerbonara/a.cpp": '    "JZ",\n' * (ord("L") - 32) + '    "I[RFRZfZ", /* L */\n',
}


@pytest.mark.parametrize("name", FILES)
def test_strokes_are_read_from_each_package(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text(FILES[name], encoding="utf-8")

    (sign,) = read_package(path.parent, "L")

    points = np.concatenate(sign.strokes)
    assert sign.label == "L"
    np.testing.assert_allclose(points.min(axis=0), -0.5)
    np.testing.assert_allclose(points.max(axis=0), 0.5)
    assert np.abs(points - (-0.5, 0.5)).min(axis=1).max() < 1e-9  # left or at the foot


def test_librecads_accents_and_arcs_are_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "librecad-data"
    folder.mkdir()
    (folder / "a.lff").write_text(FILES["librecad-data/a.lff"])

    (sign,) = read_package(folder, "Ĺ")

    assert len(sign.strokes) == 2
    ends, way = sign.strokes[1][[0, -1]], np.diff(sign.strokes[1], axis=0)
    half_circle = np.pi / 2 * np.hypot(*(ends[1] - ends[0]))
    assert np.hypot(*way.T).sum() == pytest.approx(half_circle, rel=0.05)


def test_a_skeleton_is_cut_at_junctions_and_joined_straight_on() -> None:
    pytest.importorskip("skimage")
    cross, ring = np.zeros((2, 100, 100), np.uint8)
    cross[45:55, 10:90] = cross[10:90, 45:55] = 255
    y, x = np.mgrid[:100, :100] - 50
    ring[abs(np.hypot(x, y) - 35) < 5] = 255

    strokes = skeleton_strokes(cross)
    assert len(strokes) == 2
    assert sorted(path.std(axis=0).argmax() for path in strokes) == [0, 1]
    assert min(path.std(axis=0).max() for path in strokes) > 15
    (circle,) = skeleton_strokes(ring)
    np.testing.assert_allclose(circle[0], circle[-1], atol=2)
    triangle = (abs(x) < (y + 45) / 2) & (y < 40)
    assert not skeleton_strokes(np.where(triangle, 255, 0).astype(np.uint8))


def letter_t() -> Sign:
    sign = build_sign("T", [[(0, 0), (8, 0)], [(4, 0), (4, 10)]])
    assert sign is not None
    return sign


def test_hands_differ_and_strokes_that_touch_go_on_touching() -> None:
    drawings = [rasterise_by_hand(letter_t(), RandomState(seed), PEN) for seed in range(40)]

    pieces = [ndimage.label(drawing > 60, np.ones((3, 3)))[1] for drawing in drawings]
    assert sum(count == 1 for count in pieces) > 30
    assert len({drawing.tobytes() for drawing in drawings}) == 40
    again = rasterise_by_hand(letter_t(), RandomState(3), PEN)
    np.testing.assert_array_equal(again, drawings[3])
