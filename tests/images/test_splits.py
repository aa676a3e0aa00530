import re

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from siglum.errors import ConfigError
from siglum.images.splits import by_writer, per_class, stratified

seeds = st.integers(0, 2**32 - 1)
shares = st.floats(0, 0.99)
label_arrays = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array)
writer_lists = st.lists(
    st.sampled_from(["ada", "bob", "éva", "王"]), min_size=1, max_size=40
).filter(lambda writers: len(set(writers)) > 1)


def is_partition(*parts: NDArray[np.int64], count: int) -> bool:
    """Return whether the parts are disjoint, complete, and each in ascending order."""
    ascending = all((np.diff(part) > 0).all() for part in parts)
    return ascending and sorted(np.concatenate(parts).tolist()) == list(range(count))


@given(label_arrays, shares, seeds)
def test_every_class_gives_its_share_and_keeps_one(
    labels: NDArray[np.int64], share: float, seed: int
) -> None:
    rest, held = stratified(labels, share, seed)

    assert is_partition(rest, held, count=len(labels))
    for label in np.unique(labels):
        count, held_out = (labels == label).sum(), (labels[held] == label).sum()
        assert held_out < count
        assert abs(held_out - count * share) <= 0.5 or held_out == count - 1


def test_what_a_seed_holds_never_changes() -> None:
    """Runs name their seed only: another stream would mix training with validation."""
    labels = np.repeat([0, 1], 10)

    assert stratified(labels, 0.3, seed=7)[1].tolist() == [0, 5, 8, 11, 12, 13]
    assert by_writer(list("abcdefgh"), 0.3, seed=7)[1].tolist() == [0, 2, 5]
    assert per_class(labels, 2, 7, "ab").tolist() == [5, 8, 11, 13]


@given(writer_lists, shares, seeds)
def test_as_few_writers_as_reach_the_share_are_on_the_other_side(
    writers: list[str], share: float, seed: int
) -> None:
    """Unless only one would be left."""
    names = np.array(writers)
    rest, held = by_writer(writers, share, seed)
    sizes = [(names == name).sum() for name in set(names[held])]

    assert is_partition(rest, held, count=len(writers)) and len(rest)
    assert not set(names[rest]) & set(names[held])
    assert len(held) >= share * len(names) or len(set(names[rest])) == 1
    assert len(held) - max(sizes, default=0) < share * len(names) or not sizes


@given(st.integers(1, 4), st.integers(4, 9), seeds)
def test_as_many_images_of_every_class_are_sampled(count: int, size: int, seed: int) -> None:
    """And a smaller sample is part of a larger one."""
    labels = np.repeat([0, 1, 2], size)
    sample = per_class(labels, count, seed, "abc")

    assert np.bincount(labels[sample]).tolist() == [count] * 3
    assert sample.tolist() == sorted(set(sample.tolist()))
    assert set(sample) <= set(per_class(labels, count + (count < size), seed, "abc"))


def test_what_cannot_be_split_is_named_with_the_remedy() -> None:
    message = (
        "split by writer must have at least 2 writers, got 1. "
        "Give --writers a pattern that finds them, or use --split stratified."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        by_writer(["ada"] * 9, 0.2, seed=0)
    message = (
        "samples_per_class must be at most 2, the training images of class 'beta', got 3. "
        "Use fewer, or hold out less."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        per_class(np.array([0, 0, 0, 1, 1]), 3, 0, ("alpha", "beta"))
