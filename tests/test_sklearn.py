"""SignClassifier does what scikit-learn's tools expect of a classifier of images."""

import pickle

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

import siglum
from siglum.errors import ConfigError, DataError


def digits(count: int = 6) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Images (N, 40, 40) of four letters, a little turned and moved."""
    random = np.random.RandomState(0)
    images, labels = [], []
    for letter in "ABkR":
        for _ in range(count):
            image = Image.new("L", (40, 40), 255)
            x, y = 20 + random.uniform(-3, 3, 2)
            font = ImageFont.load_default(random.randint(22, 30))
            ImageDraw.Draw(image).text((x, y), letter, 20, font, anchor="mm")
            images.append(np.asarray(image.rotate(random.uniform(-9, 9), fillcolor=255)))
            labels.append(letter)
    return np.stack(images), np.array(labels)


def test_fit_predict_and_score() -> None:
    images, labels = digits()
    classifier = siglum.SignClassifier().fit(images, labels)

    probs = classifier.predict_proba(images)

    assert classifier.score(images, labels) > 0.9
    assert probs.shape == (24, 4)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert (classifier.classes_[probs.argmax(axis=1)] == classifier.predict(images)).all()


def test_flattened_images_and_levels_from_0_to_1_are_equal_to_images() -> None:
    images, labels = digits()
    expected = siglum.SignClassifier().fit(images, labels).predict_proba(images)

    np.testing.assert_array_equal(
        *(
            siglum.SignClassifier().fit(dark, labels).predict_proba(dark)
            for dark in (images < 128, 255 * (images < 128))
        )
    )
    flat = images.reshape(len(images), -1) / 255
    found = siglum.SignClassifier().fit(flat, labels).predict_proba(flat)

    np.testing.assert_allclose(found, expected, atol=0.02)


def test_it_works_in_pipelines_grid_searches_and_cross_validation() -> None:
    images, labels = digits()
    crop = FunctionTransformer(lambda x: x[:, 1:-1, 1:-1])
    pipeline = Pipeline([("crop", crop), ("sign", siglum.SignClassifier())])
    grid = GridSearchCV(pipeline, {"sign__use_fonts": [True, False]}, cv=2).fit(images, labels)

    assert grid.best_score_ > 0.8
    assert cross_val_score(siglum.SignClassifier(), images, labels, cv=3).mean() > 0.8


def test_wrong_input_names_the_argument() -> None:
    images, labels = digits(2)
    classifier = siglum.SignClassifier().fit(images, labels)
    with pytest.raises(ConfigError, match=r"^X must be images \(N, H, W\) or flattened squares"):
        siglum.SignClassifier().fit(np.zeros((4, 10)), np.arange(4))
    with pytest.warns(UserWarning, match="or 0 to 1 in floats, the largest is 15.9375. Rescale"):
        siglum.SignClassifier().fit(images / 16, labels)
    with (
        pytest.warns(UserWarning, match="or 0 to 1 in floats, the largest is 1. Rescale them."),
        pytest.raises(DataError, match="^No ink found in X"),
    ):
        siglum.SignClassifier().fit((images < 128).astype(int), labels)
    with pytest.raises(ConfigError, match=r"X is one image \(40, 40\). Pass X\[None\]."):
        classifier.predict(images[0])
    with pytest.raises(ConfigError, match="above 255: X must be grey levels"):
        siglum.SignClassifier().fit(images.astype(float) * 9, labels)
    with pytest.raises(ConfigError, match="X has 100 features"):
        classifier.predict(np.zeros((1, 10, 10)))
    with pytest.raises(ConfigError, match="y must have two or more classes"):
        siglum.SignClassifier().fit(images, np.repeat("A", len(images)))


def test_small_images_have_ink_and_blank_ones_are_counted(recwarn) -> None:
    digits = load_digits()
    classifier = siglum.SignClassifier().fit(digits.data / 16, digits.target)

    assert not recwarn and classifier.score(digits.data / 16, digits.target) > 0.95
    digits.data[:3] = 0
    with pytest.warns(UserWarning, match="^3 of 1,797 images have no ink and are not used.$"):
        siglum.SignClassifier().fit(digits.data / 16, digits.target)


def test_a_fitted_classifier_is_copied_to_other_processes() -> None:
    images, labels = digits(2)
    classifier = siglum.SignClassifier().fit(images, labels)

    copied = pickle.loads(pickle.dumps(classifier))

    assert (copied.predict(images) == classifier.predict(images)).all()


# They fit 2 to 10 columns of measurements, which are not squares of pixels.
LEFT_OUT = """
    check_classifier_data_not_an_array check_classifiers_classes check_classifiers_train
    check_dict_unchanged check_dont_overwrite_parameters check_dtype_object
    check_estimators_dtypes check_estimators_fit_returns_self check_estimators_nan_inf
    check_estimators_overwrite_params check_estimators_pickle check_f_contiguous_array_estimator
    check_fit2d_predict1d check_fit_check_is_fitted check_fit_idempotent check_fit_score_takes_y
    check_methods_sample_order_invariance check_methods_subset_invariance check_n_features_in
    check_pipeline_consistency check_readonly_memmap_input check_supervised_y_2d
"""


@pytest.mark.filterwarnings("ignore")
def test_the_checks_of_scikit_learn_pass_except_those_that_fit_no_images() -> None:
    reasons = dict.fromkeys(LEFT_OUT.split(), "fits columns of measurements, not images")

    results = check_estimator(siglum.SignClassifier(), expected_failed_checks=reasons, on_skip=None)

    failed = [one for one in results if one["status"] == "xfail"]
    assert {one["check_name"] for one in failed} == {*reasons}
    assert all("X must be images" in str(one["exception"]) for one in failed)
