"""What the sections tell of, gathered once.

Shapes: N pictures of the measured part, K classes.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from siglum import stats
from siglum.config import Preprocess, TrainConfig
from siglum.errors import DataError, SiglumError
from siglum.images.imageset import ImageSet
from siglum.lab.runs import Run
from siglum.lab.trainer import Data, load_data
from siglum.lab.training import Epoch
from siglum.stats import FloatArray, IntArray, Measures

PARTS = {"test": "test", "val": "validation"}  # what is reported, the first that the run has


@dataclass(frozen=True, eq=False)
class Measured:
    """The predictions that the report stands on."""

    part: str  # a key of PARTS
    log_probs: FloatArray  # (N, K)
    labels: IntArray  # (N,)
    measures: Measures

    @property
    def kind(self) -> str:
        """The part in words: "test" or "validation"."""
        return PARTS[self.part]

    @cached_property
    def predicted(self) -> IntArray:
        """The class with the highest probability: (N,)."""
        return np.asarray(self.log_probs.argmax(axis=1))

    @cached_property
    def confidence(self) -> FloatArray:
        """Its probability: (N,)."""
        return np.asarray(np.exp(self.log_probs.max(axis=1).astype(np.float64)))


@dataclass(frozen=True, eq=False)
class Facts:
    """A finished run, its predictions and its pictures."""

    name: str
    config: TrainConfig
    preprocess: Preprocess
    classes: tuple[str, ...]
    epochs: list[Epoch]
    env: dict[str, Any]
    result: dict[str, Any]
    measured: Measured | None
    data: Data | None  # None when the pictures are gone or have changed
    missing: str  # why `data` is None

    @property
    def shown(self) -> ImageSet | None:
        """The pictures of the measured part, in the order of the predictions."""
        if self.data is None or self.measured is None:
            return None
        return self.data.test if self.measured.part == "test" else self.data.val


def gather(run: Run) -> Facts:
    """Read a run and the pictures it was trained on.

    Raises:
        RunError: if the run is not finished, or a file of it is damaged.
    """
    predictions = run.predictions()
    config, classes, env, result = run.config, run.classes, run.env, run.result
    assert result is not None, run.path
    measured = None
    for part in PARTS:
        labels = predictions.get(f"{part}_labels")
        if labels is not None and len(labels):
            log_probs = predictions[f"{part}_log_probs"]
            measures = stats.measure(log_probs, labels, len(classes))
            measured = Measured(part, log_probs, labels, measures)
            break
    data, missing = None, ""
    try:
        data = _same_data(config, classes, env["data"])
    except SiglumError as error:
        missing = str(error)
    return Facts(
        name=run.name,
        config=config,
        preprocess=run.preprocess,
        classes=classes,
        epochs=run.epochs,
        env=env,
        result=result,
        measured=measured,
        data=data,
        missing=missing,
    )


def _same_data(
    config: TrainConfig, classes: tuple[str, ...], fingerprints: dict[str, str | None]
) -> Data:
    """Load the pictures again.

    Raises:
        SiglumError: if they are gone, or are not what the run was trained on.
    """
    data = load_data(config, classes)
    for part, pictures in (("train", data.train), ("val", data.val), ("test", data.test)):
        if (pictures.fingerprint if pictures else None) != fingerprints[part]:
            source = config.test if part == "test" and config.test else config.data
            raise DataError(f"the {part} part of {source} has changed since the training.")
    return data
