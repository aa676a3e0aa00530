"""Chosen predictions, and finished runs with them that never trained."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from siglum import stats
from siglum.config import Preprocess, TrainConfig
from siglum.lab.device import Device
from siglum.lab.run_folder import Run
from siglum.lab.training_loop import Epoch

MakeRun = Callable[..., Run]
LABELS = np.arange(1000) % 4


def correct(wrong: int, seed: int = 0) -> NDArray[np.bool_]:
    """Whether each of 1,000 predictions is correct; `wrong` random ones are not."""
    right = np.ones(1000, dtype=bool)
    right[np.random.RandomState(seed).permutation(1000)[:wrong]] = False
    return right


def log_probs_from(right: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Log-probabilities: 0.7 for the prediction, 0.1 for each of the three other classes."""
    predicted = np.where(right, LABELS[: len(right)], (LABELS[: len(right)] + 1) % 4)
    probs = np.full((len(right), 4), 0.1, dtype=np.float32)
    probs[np.arange(len(right)), predicted] = 0.7
    return np.log(probs)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a finished run that never trained, from its predictions and its accuracies."""

    def make(
        name: str,
        right: NDArray[np.bool_],
        *,
        way: tuple[float, ...] = (0.5, 0.9),
        part: str = "test",
        before: dict[str, Any] | None = None,
        fingerprint: str = "the test set",
        labels: NDArray[np.integer] | None = None,
        parameters: int = 10,
        **settings: Any,
    ) -> Run:
        labels = LABELS[: len(right)] if labels is None else labels
        log_probs = log_probs_from(right)
        env = {
            "data": {"train": "t", "val": "v", "test": "", part: fingerprint},
            "counts": {"train": 100, "val": 10, "test": len(right)},
            "started": "2026-01-02T03:04:05+00:00",
            "command": "siglum train",
            "versions": {},
            "platform": "a system",
            "processor": "a processor",
            "device": asdict(Device("cpu", "float32", True, 1)),
            "init": before,
        }
        config = TrainConfig(**{"epochs": len(way), **settings})
        run = Run.create(tmp_path / name, config, Preprocess(), tuple("abcd"), env)
        run.write_history(
            [
                Epoch(index, 100 * index, 2.0 * index, 1.0, 0.6, 1 - accuracy, accuracy, ())
                for index, accuracy in enumerate(way, 1)
            ]
        )
        rate = asdict(stats.wilson(int(right.sum()), len(right)))
        loss = stats.negative_log_likelihood(log_probs, labels)
        result: dict[str, Any] = {"parameters": parameters, "epochs": len(way)}
        result |= {"best_epoch": len(way), "seconds": 2.0 * len(way), "finished": ""}
        result[part] = {**rate, "loss": loss}
        run.finish(result, {f"{part}_log_probs": log_probs, f"{part}_labels": labels})
        return run

    return make
