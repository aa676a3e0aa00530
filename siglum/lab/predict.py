"""Predict images with a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import nn

from siglum.config import Preprocess
from siglum.images.imageset import ImageSet
from siglum.lab.device import Device
from siglum.lab.runs import Run
from siglum.lab.training import evaluate
from siglum.recogniser.calibration import Predictions, uncalibrated
from siglum.recogniser.position import Positions
from siglum.recogniser.predict import ImageLike, Prediction
from siglum.recogniser.predict import predict as predict_images


@dataclass(frozen=True)
class RunPredictor:
    """A run's network, ready to predict."""

    run: Run
    device: Device
    weights: str | None = None

    @property
    def preprocess(self) -> Preprocess:
        """How images become arrays."""
        return self.run.preprocess

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names, in label order."""
        return self.run.classes

    @cached_property
    def _model(self) -> nn.Module:
        return self.device.to(self.run.model(self.weights))

    def predict_arrays(
        self, images: NDArray[np.uint8], positions: Positions | None = None
    ) -> Predictions:
        """Predict preprocessed images (N, P, S, S)."""
        batch = ImageSet.from_arrays(images, np.zeros(len(images), int), self.classes)
        return uncalibrated(np.exp(evaluate(self._model, batch, self.preprocess, self.device)))


def predict(
    run: Run, files: Sequence[ImageLike], device: Device, weights: str | None = None
) -> tuple[list[Prediction], list[tuple[str, str]]]:
    """Predict the files that can be read; return the name and the reason of each other."""
    return predict_images(RunPredictor(run, device, weights), files)
