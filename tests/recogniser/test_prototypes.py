"""Ridge towards font prototypes, and a prior of position that counts only where it helps."""

import numpy as np
import pytest
from numpy.typing import NDArray

from siglum.recogniser.fit import PENALTY, SCALE, fit_position_prior, fit_prototypes
from siglum.recogniser.head import unit

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
    _, loo_logits = fit_prototypes(features, labels, fonts)

    for row in range(len(labels)):
        rest = np.arange(len(labels)) != row
        without, _ = fit_prototypes(features[rest], labels[rest], fonts)
        expected = SCALE * (features[row] @ without.T)
        np.testing.assert_allclose(loo_logits[row], expected, atol=8e-5)


def test_prototypes_equal_those_of_scikit_learn(data: Data) -> None:
    """Ridge without intercept on what the fonts leave over."""
    from sklearn.linear_model import Ridge

    features, labels, fonts = data
    rest = np.eye(4)[labels] - features @ fonts.T
    expected = fonts + Ridge(alpha=PENALTY, fit_intercept=False).fit(features, rest).coef_

    found, _ = fit_prototypes(features, labels, fonts)

    np.testing.assert_allclose(found, unit(expected), atol=1e-5)


def test_the_only_sample_of_a_class_without_fonts_has_no_leave_one_out_logit() -> None:
    features = unit(np.eye(3, 8) + 0.1)
    vectors, loo_logits = fit_prototypes(features, np.arange(3), np.zeros((3, 8), np.float32))

    assert np.isneginf(np.diag(loo_logits)).all()
    assert np.isfinite(loo_logits[~np.eye(3, dtype=bool)]).all()
    assert ((features @ vectors.T).argmax(axis=1) == np.arange(3)).all()


@pytest.mark.parametrize("complete", [True, False])
def test_a_prior_without_benefit_or_with_unknown_positions_is_left_out(complete: bool) -> None:
    """Positions of two classes whose heights are equal, or differ while one is unknown."""
    random = np.random.RandomState(0)
    labels = np.repeat([0, 1], 20)
    positions = np.array([0.4, 0.3, 0.5]) + 0.03 * random.normal(size=(40, 3))
    if not complete:
        positions[:, 0] += 0.3 * labels
        positions[3] = np.nan

    fitted, logits = fit_position_prior(positions.astype("f4"), labels, np.zeros((40, 2), "f4"))

    assert fitted is None and not logits.any()
