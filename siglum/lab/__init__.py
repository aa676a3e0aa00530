"""The laboratory: train, evaluate and export networks; needs torch."""

import os
from pathlib import Path
from typing import Any

from siglum.config import TrainConfig, build
from siglum.errors import Stopped, require_extra

with require_extra("The laboratory"):
    from siglum.lab import train_run
    from siglum.lab.device import choose_device
    from siglum.lab.run_folder import Run, next_path
    from siglum.lab.train_run import Watch, tensorboard_writer
    from siglum.lab.training_loop import Epoch, StepProgress

__all__ = ["Epoch", "Run", "StepProgress", "tensorboard_writer", "train"]


def train(
    source: str = "mnist5k",
    path: str | os.PathLike[str] | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    watch: Watch = lambda _: None,
    **settings: Any,
) -> Run:
    """Train a network and save it as a run, like `siglum train`.

    Args:
        source: of the training images, such as "mnist5k" or "folder:my-signs".
        path: the run's folder, which must not exist; runs/MODEL-SOURCE-NUMBER by default.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto" (bfloat16 where the processor supports it), "float32" or "bfloat16".
        threads: CPU threads; 0 for one per core.
        watch: called with a `StepProgress` four times a second and with an `Epoch` after each,
            when it is on disk; True as its result stops the training.
        settings: the settings of `siglum train --help`, as keywords: `epochs=2, lr=0.05`.

    Returns:
        The finished run; if `watch` stopped it, a run whose `result` is None, which
        `siglum train --resume` finishes.

    Raises:
        SiglumError: if a setting, the data or the folder cannot be used.
    """
    config = build(TrainConfig, {"data": source, **settings})
    target = Path(path) if path is not None else next_path(Path("runs"), config)
    try:
        return train_run.train(config, target, choose_device(device, precision, threads), watch)
    except Stopped:
        return Run(target)
