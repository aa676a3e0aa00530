"""What both ways promise: print alone, samples alone, and leaving one out without fitting again."""

import numpy as np
import pytest
from numpy.typing import NDArray

from siglum.recogniser.class_vectors import Taught, means, ridge, unit
from siglum.recogniser.head import logits_of

WAYS = {
    "means": lambda f, y, p: means(f, y, p, weight=2.0, scale=5.0),
    "ridge": lambda f, y, p: ridge(f, y, p, penalty=0.5, scale=5.0),
}


@pytest.fixture
def drawn() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    random = np.random.default_rng(0)
    prints = unit(random.normal(size=(4, 16)))
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2], np.int64)
    features = unit(prints[labels] + 0.1 * random.normal(size=(9, 16)))
    return features, labels, prints


@pytest.mark.parametrize("way", WAYS)
def test_leaving_one_out_is_fitting_without_it(way: str, drawn) -> None:  # type: ignore[no-untyped-def]
    features, labels, prints = drawn
    taught: Taught = WAYS[way](*drawn)

    for i in range(len(labels)):
        rest = np.arange(len(labels)) != i
        again = WAYS[way](features[rest], labels[rest], prints)
        if way == "means":  # the other classes' vectors are the same either way
            expected = logits_of(features[i : i + 1], again.head)[0]
        else:
            expected = 5.0 * (features[i] @ again.head.vectors.T)
        np.testing.assert_allclose(taught.left_out[i], expected, atol=2e-5)


@pytest.mark.parametrize("way", WAYS)
def test_without_samples_print_decides(way: str, drawn) -> None:  # type: ignore[no-untyped-def]
    features, _, prints = drawn
    taught = WAYS[way](features[:0], np.empty(0, np.int64), prints)

    np.testing.assert_allclose(logits_of(features, taught.head), 5 * features @ prints.T, atol=1e-5)
    assert taught.left_out.shape == (0, 4)


@pytest.mark.parametrize("way", WAYS)
def test_samples_outweigh_print_that_is_wrong(way: str) -> None:
    """Two classes whose print is exchanged: enough samples turn the answers round."""
    prints = np.eye(2, 8, dtype=np.float32)
    features = np.repeat(prints[::-1], 20, axis=0)
    labels = np.repeat([0, 1], 20)
    taught = WAYS[way](features, labels, prints)

    assert (logits_of(features, taught.head).argmax(axis=1) == labels).all()


@pytest.mark.parametrize("way", WAYS)
def test_a_single_sample_without_print_leaves_its_class_with_nothing(way: str) -> None:
    features = unit(np.eye(3, 8) + 0.1)
    taught = WAYS[way](features, np.arange(3), np.zeros((3, 8), np.float32))

    assert np.isneginf(np.diag(taught.left_out)).all()
    assert np.isfinite(taught.left_out[~np.eye(3, dtype=bool)]).all()
    assert (logits_of(features, taught.head).argmax(axis=1) == np.arange(3)).all()
