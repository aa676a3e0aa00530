import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siglum.errors import ConfigError, DataError
from siglum.images.imageset import ImageSet


def make(labels: tuple[int, ...] = (2, 0, 1, 0), classes: str = "abc") -> ImageSet:
    images = np.random.RandomState(0).randint(0, 256, (len(labels), 4, 5)).astype(np.uint8)
    made = ImageSet.from_arrays(images, np.array(labels), tuple(classes), "mine")
    names = [f"{i}.png" for i in range(len(labels))]
    return replace(made, files=names, writers=tuple(f"w{i}" for i in range(len(labels))))


PIXELS = np.zeros((2, 3, 4), np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (PIXELS[0], [0, 0], "images must be uint8 (N, C, H, W) and labels (N,), got uint8 (3, 4) "),
        (PIXELS / 1, [0, 0], "images must be uint8 (N, C, H, W) and labels (N,), got float64 (2, "),
        (PIXELS, [0, 0, 0], "images must be uint8 (N, C, H, W) and labels (N,), got uint8 (2, 1"),
        (PIXELS, [0, 3], "labels must be in [0, 3), got 0 to 3."),
        (PIXELS, [-1, 1], "labels must be in [0, 3), got -1 to 1."),
    ],
)
def test_arrays_must_fit_each_other(images: np.ndarray, labels: list[int], message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        ImageSet.from_arrays(images, np.array(labels), ("a", "b", "c"))


@given(st.lists(st.integers(0, 3), max_size=6))
def test_a_subset_keeps_order_and_all_that_belongs_to_a_picture(chosen: list[int]) -> None:
    images, indices = make(), np.array(chosen, dtype=int)

    found = images.subset(indices)

    np.testing.assert_array_equal(found.images, images.images[indices])
    np.testing.assert_array_equal(found.labels, images.labels[indices])
    assert found.files == [f"{i}.png" for i in chosen]
    assert found.writers == tuple(f"w{i}" for i in chosen)
    assert found.store is images.store


def test_counts_are_of_every_class() -> None:
    assert make((0, 0, 2, 0), "abcd").counts.tolist() == [3, 0, 1, 0]


def test_moments_are_numpys() -> None:
    images = make()
    scaled = images.images / 255

    assert images.moments() == pytest.approx((scaled.mean(), scaled.std()))


def test_the_fingerprint_is_of_pictures_labels_and_classes_alone() -> None:
    images = make()
    changed = images.store.copy()
    changed[3, 0, 3, 4] ^= 1
    same = [
        replace(images, source="other", files=None, writers=None),
        ImageSet.from_arrays(images.images, images.labels, images.classes),
        images.subset(np.arange(4)),
        images.subset(np.array([3, 2, 1, 0])).subset(np.array([3, 2, 1, 0])),
    ]
    other = [
        replace(images, store=changed),
        replace(images, labels=np.array([2, 0, 1, 1])),
        replace(images, classes=("a", "b", "d")),
        replace(images, store=images.store.transpose(0, 1, 3, 2)),
        images.subset(np.array([1, 0, 2, 3])),
        images.subset(np.arange(3)),
    ]

    assert {made.fingerprint for made in same} == {images.fingerprint}
    assert len({made.fingerprint for made in [images, *other]}) == 7


def test_the_fingerprint_never_changes() -> None:
    """Runs keep it, so that it must be the same in another year and on another machine."""
    images = ImageSet.from_arrays(
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.array([1, 0]), "ab"
    )

    assert images.fingerprint == "171916713136f00542591bb9c1c3bf32"


def test_renamed_classes_are_sorted_and_equal_ones_merged() -> None:
    images = make((0, 1, 2, 0), "abc")

    found = images.rename({"a": "z", "b": "z"})

    assert found.classes == ("c", "z")
    assert found.labels.tolist() == [1, 1, 0, 1]
    np.testing.assert_array_equal(found.images, images.images)


def test_renaming_a_class_that_is_not_there_offers_the_nearest() -> None:
    images = ImageSet.from_arrays(
        np.zeros((1, 2, 2), np.uint8), np.array([0]), ("alpha", "beta"), "mine"
    )

    message = "No such class in mine: 'alpa'. Did you mean 'alpha'?"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        images.rename({"alpa": "a"})


def test_classes_of_a_run_number_the_labels_of_a_test() -> None:
    found = make((0, 0, 1), "bd").with_classes(("a", "b", "c", "d"))

    assert found.labels.tolist() == [1, 1, 3]
    assert found.classes == ("a", "b", "c", "d")


def test_a_class_unknown_to_the_run_is_an_error() -> None:
    message = (
        "mine must hold only classes of the run (a, b), got 'c'. Rename classes with --rename FILE."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        make().with_classes(("a", "b"))
