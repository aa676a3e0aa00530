import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from siglum.errors import DataError
from siglum.images.imageset import ImageSet


def make(labels: tuple[int, ...] = (2, 0, 1, 0), classes: str = "abc") -> ImageSet:
    images = np.random.RandomState(0).randint(0, 256, (len(labels), 4, 5)).astype(np.uint8)
    whole = ImageSet.from_arrays(images, np.array(labels), tuple(classes), "mine")
    names = [f"{i}.png" for i in range(len(labels))]
    return replace(whole, files=names, writers=tuple(f"w{i}" for i in range(len(labels))))


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
def test_a_subset_keeps_order_and_all_that_belongs_to_an_image(chosen: list[int]) -> None:
    images, indices = make(), np.array(chosen, dtype=int)

    subset = images.subset(indices)

    np.testing.assert_array_equal(subset.images, images.images[indices])
    np.testing.assert_array_equal(subset.labels, images.labels[indices])
    assert subset.files == [f"{i}.png" for i in chosen]
    assert subset.writers == tuple(f"w{i}" for i in chosen)
    assert subset.store is images.store


def test_counts_and_moments_are_numpys() -> None:
    images = make()
    scaled = images.images / 255

    assert make((0, 0, 2, 0), "abcd").counts.tolist() == [3, 0, 1, 0]
    assert images.moments() == pytest.approx((scaled.mean(), scaled.std()))


def test_the_fingerprint_is_of_pixels_labels_and_classes_alone() -> None:
    """Runs keep it, so that it must be the same in another year and on another machine."""
    images = make()
    changed = images.store.copy()
    changed[3, 0, 3, 4] ^= 1
    same = [
        replace(images, source="other", files=None, writers=None),
        ImageSet.from_arrays(images.images, images.labels, images.classes),
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
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    fixed = ImageSet.from_arrays(pixels, np.array([1, 0]), "ab")

    assert {one.fingerprint for one in same} == {images.fingerprint}
    assert len({one.fingerprint for one in [images, *other]}) == 7
    assert fixed.fingerprint == "171916713136f00542591bb9c1c3bf32"


def test_classes_of_a_run_number_the_labels_of_a_test() -> None:
    images = make((0, 0, 1), "bd").with_classes(("a", "b", "c", "d"))

    assert images.labels.tolist() == [1, 1, 3]
    message = r"^mine must hold only classes of the run \(a, b\), got 'c'\. Rename classes with"
    with pytest.raises(DataError, match=message):
        make().with_classes(("a", "b"))
