"""The runs of all folds of a seed put together: each picture read by a run that never saw it.

Shapes: N pictures of the source, K classes, F folds.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.config import Preprocess, TrainConfig
from siglum.errors import RunError
from siglum.lab.runs import Run
from siglum.lab.training import Epoch


@dataclass(frozen=True)
class Pooled:
    """What a finished run offers to be compared by, for the runs of all folds of one seed."""

    runs: tuple[Run, ...]  # F, in the order of their folds

    @property
    def path(self) -> Path:
        """The folder of the first."""
        return self.runs[0].path

    @cached_property
    def config(self) -> TrainConfig:
        """The settings, those of the first fold."""
        return self.runs[0].config

    @property
    def preprocess(self) -> Preprocess:
        """How pictures reach the network; mean and deviation are the first fold's."""
        return self.runs[0].preprocess

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names, in label order."""
        return self.runs[0].classes

    @cached_property
    def env(self) -> dict[str, Any]:
        """That of the first; the test pictures are those of the whole source."""
        env = self.runs[0].env
        return {**env, "data": {**env["data"], "test": env["data"]["whole"]}}

    @cached_property
    def result(self) -> dict[str, Any]:
        """Counts, losses and seconds of all folds together."""
        results = [run.result or {} for run in self.runs]
        pooled = {**results[0], "seconds": sum(result["seconds"] for result in results)}
        for part in ("val", "test"):
            if not all(part in result for result in results):
                pooled.pop(part, None)
                continue
            each = [result[part] for result in results]
            hits, total = (sum(one[key] for one in each) for key in ("hits", "total"))
            loss = sum(one["loss"] * one["total"] for one in each) / total
            pooled[part] = {**asdict(stats.wilson(hits, total)), "loss": loss}
        return pooled

    @property
    def failure(self) -> None:
        """None: a fold that failed is never pooled."""

    @cached_property
    def epochs(self) -> list[Epoch]:
        """The records of the folds, averaged epoch by epoch; pictures and seconds added up."""
        return [_average(records) for records in zip(*(r.epochs for r in self.runs), strict=False)]

    def predictions(self) -> dict[str, NDArray[Any]]:
        """Return `test_log_probs` (N, K), `test_labels` (N,) and writers, in the source's order.

        Raises:
            RunError: if the folds do not hold every picture once.
        """
        found = [run.predictions() for run in self.runs]
        rows = np.concatenate([one["test_rows"] for one in found])
        if not np.array_equal(np.sort(rows), np.arange(len(rows))):
            raise RunError(
                f"{self.path} and the other folds must hold every picture once, and do not. "
                "Delete them, and train them again."
            )
        order = np.argsort(rows)
        names = [
            name for name in ("test_log_probs", "test_labels", "test_writers") if name in found[0]
        ]
        return {name: np.concatenate([one[name] for one in found])[order] for name in names}

    @cached_property
    def parts(self) -> tuple[NDArray[np.int64], ...]:
        """The pictures of each fold: F arrays of indices into the source."""
        return tuple(run.predictions()["test_rows"] for run in self.runs)

    @cached_property
    def ratio(self) -> float:
        """Pictures tested on for each trained on, the mean over the folds."""
        counts = [run.env["counts"] for run in self.runs]
        return fmean(count["test"] / count["train"] for count in counts)


Finished = Run | Pooled


def _average(records: Sequence[Epoch]) -> Epoch:
    losses = [r.val_loss for r in records if r.val_loss is not None]
    accuracies = [r.val_accuracy for r in records if r.val_accuracy is not None]
    return replace(
        records[0],
        examples=sum(r.examples for r in records),
        seconds=sum(r.seconds for r in records),
        train_loss=fmean(r.train_loss for r in records),
        train_accuracy=fmean(r.train_accuracy for r in records),
        val_loss=fmean(losses) if losses else None,
        val_accuracy=fmean(accuracies) if accuracies else None,
        curve=(),
    )
