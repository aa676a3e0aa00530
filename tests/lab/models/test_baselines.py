"""Baselines compute what NumPy, scikit-learn and scikit-image compute, and are runs like others."""

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from torch import Tensor

from siglum.config import TrainConfig
from siglum.errors import ConfigError, Stopped
from siglum.lab import models
from siglum.lab.device import Device
from siglum.lab.export import open_run
from siglum.lab.models.baselines import ABSENT, Hog
from siglum.lab.run_folder import Run
from siglum.lab.train_run import load_data, resume, train
from siglum.lab.training_loop import evaluate

LABELS = torch.arange(60) % 3


@pytest.fixture
def images() -> Tensor:
    """Noise around an image for each of three classes."""
    random = torch.Generator().manual_seed(0)
    means, noise = (torch.rand(n, 1, 16, 16, generator=random) for n in (3, 60))
    return means[LABELS] + 2 * noise


def fitted_logits(name: str, images: Tensor, labels: Tensor = LABELS, **options) -> Tensor:
    model = models.build(name, 3, 1, 16, options)
    model.fit(images[:40], labels[:40])
    with torch.no_grad():
        return model.eval().double()(images[40:].double())  # processors sum in other orders


def test_nearest_mean_has_the_probabilities_of_normal_classes(images: Tensor) -> None:
    flat, labels = images.flatten(1).double().numpy(), LABELS.numpy()
    means = np.stack([flat[:40][labels[:40] == k].mean(axis=0) for k in range(3)])
    variance = ((flat[:40] - means[labels[:40]]) ** 2).mean()
    logs = -((flat[40:, None] - means) ** 2).sum(axis=2) / (2 * variance)
    expected = logs - np.log(np.exp(logs).sum(axis=1, keepdims=True))

    log_probs = fitted_logits("nearest_mean", images).log_softmax(dim=1)
    np.testing.assert_allclose(log_probs, expected, atol=1e-3)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_logistic_regression_is_that_of_scikit_learn(num_classes: int, images: Tensor) -> None:
    """With two classes, too, where scikit-learn has one row of coefficients; others are absent."""
    flat, labels = images.flatten(1).numpy(), LABELS.numpy() % num_classes
    theirs = LogisticRegression(C=0.01, max_iter=200).fit(flat[:40], labels[:40])

    logits = fitted_logits("logistic_regression", images, torch.from_numpy(labels))
    expected = theirs.predict_proba(flat[40:])
    np.testing.assert_allclose(logits.softmax(dim=1)[:, :num_classes], expected, atol=1e-5)
    assert num_classes == 3 or (logits[:, 2] == ABSENT).all()


def test_knn_is_that_of_scikit_learn_with_one_neighbour_spread_evenly(images: Tensor) -> None:
    flat = images.flatten(1).numpy()
    theirs = KNeighborsClassifier(4).fit(flat[:40], LABELS[:40])

    logits = fitted_logits("knn", images, k=4)
    expected = (4 * theirs.predict_proba(flat[40:]) + 1 / 3) / 5
    np.testing.assert_allclose(logits.softmax(dim=1), expected, atol=1e-6)
    assert (logits.argmax(dim=1).numpy() == theirs.predict(flat[40:])).all()


@pytest.mark.parametrize(("channels", "cell"), [(1, 4), (3, 9)])
def test_hog_is_that_of_scikit_image(channels: int, cell: int) -> None:
    """Of colours, the one with the longest gradient counts; blocks are in another order."""
    images = torch.rand(2, channels, 28, 28, generator=torch.Generator().manual_seed(0))
    arrays = images.double().permute(0, 2, 3, 1).numpy()
    expected = [hog(image, 9, (cell, cell), (2, 2), channel_axis=2) for image in arrays]

    side = 28 // cell - 1
    blocks = Hog(cell)(images).reshape(2, 9, 2, 2, side, side).permute(0, 4, 5, 2, 3, 1)
    np.testing.assert_allclose(blocks.flatten(1), expected, atol=1e-5)


def test_margins_of_hog_svm_are_those_of_scikit_learn(images: Tensor) -> None:
    features = Hog(2)(images).numpy()
    theirs = LinearSVC(C=0.1, dual=False, random_state=0).fit(features[:40], LABELS[:40])

    logits = fitted_logits("hog_svm", images)
    np.testing.assert_allclose(logits, theirs.decision_function(features[40:]), atol=1e-4)


@pytest.mark.parametrize("name", models.FITTED)
def test_a_run_is_evaluated_opened_and_reported_like_others(
    name: str, tiny_config: TrainConfig, machine: Device, tmp_path: Path
) -> None:
    config = TrainConfig(data=tiny_config.data, test=tiny_config.test, model=name)
    run = train(config, tmp_path / "run", machine)
    result, test = run.result, load_data(config).test

    assert result is not None and test is not None
    assert result["test"]["hits"] > 20 and result["parameters"] > 0 and len(run.history) == 1
    log_probs = run.predictions()["test_log_probs"]
    np.testing.assert_array_equal(evaluate(run.model(), test, run.preprocess, machine), log_probs)
    assert run.report().is_file()
    predicted = open_run(run).logits(test.images).argmax(axis=1)
    np.testing.assert_array_equal(predicted, log_probs.argmax(axis=1))


def test_settings_of_steps_are_ignored_with_a_warning(
    tiny_config: TrainConfig, machine: Device, tmp_path: Path
) -> None:
    settings = {"epochs": 3, "augment": ("affine",), "freeze": ("backbone",), "lr": 0.1}
    config = TrainConfig(data=tiny_config.data, model="knn", **settings)
    with pytest.warns(UserWarning, match="at once: it ignores epochs, augment, freeze"):
        run = train(config, tmp_path / "run", machine)

    assert (run.config.epochs, run.config.augment) == (1, ())


def test_a_stopped_fit_resumes(tiny_config: TrainConfig, machine: Device, tmp_path: Path) -> None:
    """Killed before the state was saved, or after."""
    config = TrainConfig(data=tiny_config.data, test=tiny_config.test, model="knn")
    whole = train(config, tmp_path / "whole", machine)
    for killed in (True, False):
        path = tmp_path / f"{killed}"

        def stop(_: object, killed: bool = killed) -> bool:
            if killed:
                raise KeyboardInterrupt
            return True

        with pytest.raises((KeyboardInterrupt, Stopped)):
            train(config, path, machine, stop)
        run = resume(Run(path), machine)
        arrays, expected = run.predictions(), whole.predictions()
        np.testing.assert_array_equal(arrays["test_log_probs"], expected["test_log_probs"])


def test_one_class_is_too_few_and_no_neighbour_too() -> None:
    with pytest.raises(ConfigError, match="needs training images of at least 2 classes, got 1"):
        models.build("nearest_mean", 3, 1, 16).fit(torch.rand(4, 1, 16, 16), torch.ones(4).long())
    with pytest.raises(ConfigError, match="k must be at least 1, got 0"):
        models.build("knn", 3, 1, 16, {"k": 0})
