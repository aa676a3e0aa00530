"""Ridge towards font prototypes: leave-one-out in closed form, fonts alone, drawings alone."""

import numpy as np
import pytest
from numpy.typing import NDArray

from siglum.recogniser.prototypes import quantize, ridge, unit

Data = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]


@pytest.fixture
def data() -> Data:
    """Features of nine samples, their labels, and font prototypes of four classes."""
    random = np.random.default_rng(0)
    fonts = unit(random.normal(size=(4, 16)))
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2], np.int64)
    features = unit(fonts[labels] + 0.1 * random.normal(size=(9, 16)))
    return features, labels, fonts


def test_leave_one_out_equals_fitting_without_the_sample(data: Data) -> None:
    features, labels, fonts = data
    fit = ridge(features, labels, fonts, penalty=0.5, scale=5.0)

    for row in range(len(labels)):
        rest = np.arange(len(labels)) != row
        without = ridge(features[rest], labels[rest], fonts, penalty=0.5, scale=5.0)
        expected = 5.0 * (features[row] @ without.prototypes.T)
        np.testing.assert_allclose(fit.loo_logits[row], expected, atol=2e-5)


def test_prototypes_equal_those_of_scikit_learn(data: Data) -> None:
    """Ridge without intercept on what the fonts leave over."""
    from sklearn.linear_model import Ridge

    features, labels, fonts = data
    rest = np.eye(4)[labels] - features @ fonts.T
    expected = fonts + Ridge(alpha=0.5, fit_intercept=False).fit(features, rest).coef_

    found = ridge(features, labels, fonts, penalty=0.5, scale=5.0).prototypes

    np.testing.assert_allclose(found, unit(expected), atol=1e-5)


def test_without_samples_prototypes_are_those_of_fonts(data: Data) -> None:
    features, _, fonts = data
    fit = ridge(features[:0], np.empty(0, np.int64), fonts, penalty=0.5, scale=5.0)

    np.testing.assert_allclose(fit.prototypes, fonts, atol=1e-6)
    assert fit.loo_logits.shape == (0, 4)


def test_the_only_sample_of_a_class_without_fonts_has_no_leave_one_out_logit() -> None:
    features = unit(np.eye(3, 8) + 0.1)
    fit = ridge(features, np.arange(3), np.zeros((3, 8), np.float32), penalty=0.5, scale=5.0)

    assert np.isneginf(np.diag(fit.loo_logits)).all()
    assert np.isfinite(fit.loo_logits[~np.eye(3, dtype=bool)]).all()
    assert ((features @ fit.prototypes.T).argmax(axis=1) == np.arange(3)).all()


def test_quantized_vectors_are_off_by_at_most_1_in_254() -> None:
    vectors = np.random.default_rng(1).normal(size=(50, 16)).astype(np.float32)
    rows, scale = quantize(vectors, 20.0)

    error = np.abs(rows * scale[:, None] / 20 - vectors).max(axis=1)
    assert (error <= np.abs(vectors).max(axis=1) / 254 + 1e-6).all()
