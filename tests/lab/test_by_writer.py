"""Right answers by writer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from answering import MakeRun, answers

from siglum.images.imageset import ImageSet
from siglum.images.splits import writers_of
from siglum.lab.arms import Arm
from siglum.lab.by_writer import by_writer, over_writers
from siglum.stats import cluster_bootstrap

WRITERS = np.array(["ada", "bob"] * 500)


def test_writers_are_counted_the_worst_first(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = WRITERS == "ada"
    run = make_run("a", answers(3))
    path = run.path / "predictions.npz"
    with np.load(path) as arrays:
        kept = dict(arrays)
    assert by_writer([Arm("a", (run,))], [{0: right}]) is None
    np.savez(path, **kept, test_writers=WRITERS)
    found = by_writer([Arm("a", (run,)), Arm("b", ())], [{0: right, 1: ~right & right}, {}])

    assert found is not None and found.arms == ("a", "b")
    assert [(w.name, w.pictures) for w in found.writers] == [("bob", 500), ("ada", 500)]
    reading = found.writers[1].readings[0]
    assert reading is not None and (reading.right, reading.rate.hits) == (250, 250)
    assert found.writers[0].readings[1] is None and found.intervals[1] is None


def test_few_writers_make_a_wider_interval_than_as_many_pictures() -> None:
    """Four writers, one of whom is not read at all: of 100 pictures each, all alike."""
    groups = np.repeat(np.arange(4), 100)
    low, high = over_writers((groups != 2).astype(float), groups)

    assert low <= 0.25 and high == 1.0


def test_where_all_are_read_right_the_interval_is_not_empty() -> None:
    low, high = over_writers(np.ones(9), np.repeat([0, 1, 2], 3))

    assert low == pytest.approx(0.70, abs=0.01) and high == 1.0


def test_groups_of_one_picture_are_the_bootstrap_of_pictures() -> None:
    right = np.arange(400) % 4 > 0
    low, high = cluster_bootstrap(right, np.arange(400))

    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == (
        pytest.approx(0.75 - half, abs=0.01),
        pytest.approx(0.75 + half, abs=0.01),
    )


def pictures(files: Sequence[str] | None) -> ImageSet:
    from dataclasses import replace

    images = ImageSet.from_arrays(np.zeros((2, 8, 8), np.uint8), np.zeros(2, np.int64), ["a"])
    return replace(images, files=files)


def test_writers_are_known_by_the_usual_names(tmp_path: Path) -> None:
    assert writers_of(pictures(["set/a/w07_02.png", "w12_1.jpg"])) == ("w07", "w12")
    assert writers_of(pictures(["a/w07_02.png", "a/other.png"])) is None
    assert writers_of(pictures(None)) is None
