"""Run: a training on disk. The only module that knows a run's files; see docs/run-format.md.

Files are written to a temporary name, synced and renamed, so a kill leaves whole files. A run is
never overwritten. Files that were damaged raise a SiglumError that names them.
"""

import io
import itertools
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors, save as save_tensors
from torch import Tensor, nn

from siglum import stats
from siglum.config import Preprocess, TrainConfig, explain
from siglum.errors import DataError, RunError, choose, first_line
from siglum.files import parse_json, read_json, reading, write_atomic
from siglum.formatting import shorten, source_name
from siglum.lab import distributed, models
from siglum.lab.device import Device
from siglum.lab.training_loop import Counters, Epoch, TrainState
from siglum.recogniser.predict import ImageLike, Prediction

CONFIG, PREPROCESS, CLASSES, ENV = "config.json", "preprocess.json", "classes.json", "env.json"
LOG, RESULT, PREDICTIONS = "log.jsonl", "result.json", "predictions.npz"
FAILURE = "failure.json"  # why a run of a study could not be trained; it may be the only file
STATE = "resume/state.safetensors"
CHECKPOINTS = {name: f"{name}.safetensors" for name in ("best", "last", "lowest_loss")}
DAMAGED = "Train a new run."
T = TypeVar("T")


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class _Init(_Record):
    seconds: float | None
    examples: int | None
    trained: dict[str, int | None] = {}  # by part: images that the weights were trained on


class _Env(_Record):
    started: datetime
    command: str
    versions: dict[str, str]
    device: Device
    processor: str
    platform: str
    data: dict[str, str | None]
    counts: dict[str, int]
    init: _Init | None = None


class _Measured(_Record):
    hits: int = Field(ge=0)
    total: int = Field(gt=0)
    low: float
    high: float
    loss: float

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.hits > self.total:
            raise ValueError("hits must be at most total")
        return self


class _Result(_Record):
    parameters: int
    epochs: int
    best_epoch: int
    seconds: float
    finished: str
    val: _Measured | None = None
    test: _Measured | None = None


class Run:
    """The run in a folder; raises RunError if the folder is not a run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not (self.path / CONFIG).is_file():
            if self.path.suffix in (".pth", ".pt", ".safetensors"):
                remedy = f"siglum train SOURCE --init file:{path}"
                raise RunError(f"{path} is a file of weights, not a run. Train with it: {remedy}")
            if ".py" in self.path.name:
                remedy = f"siglum evaluate {path} --weights FILE SOURCE -o RUN"
                raise RunError(f"{path} is a network, not a run. Make a run of it: {remedy}")
            reason = "is not a run: it has no config.json" if self.path.exists() else "not found"
            raise RunError(f"{path} {reason}. 'siglum runs' lists runs; 'siglum train' makes one.")

    @classmethod
    def create(
        cls,
        path: Path,
        config: TrainConfig,
        preprocess: Preprocess,
        classes: tuple[str, ...],
        env: dict[str, Any],
    ) -> "Run":
        """Create a run at `path`. A folder whose creation was interrupted is replaced."""
        check_free(path)
        if leftover := [*path.iterdir()] if path.exists() else []:
            problem = f"{path} was left by a training that was killed before it began"
            warnings.warn(f"{problem}; starting anew.", stacklevel=2)
        for file in leftover:
            file.unlink()
        run = cls.__new__(cls)
        run.path = path
        run._write_json(ENV, env)
        run._write_json(CLASSES, classes)
        run._write_json(PREPROCESS, preprocess.model_dump())
        run._write_json(CONFIG, config.model_dump())  # last: it makes the folder a run
        return run

    @property
    def config(self) -> TrainConfig:
        """All settings."""
        return self._read(CONFIG, TrainConfig)

    @property
    def preprocess(self) -> Preprocess:
        """How images become the network's input."""
        return self._read(PREPROCESS, Preprocess)

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names, in label order."""
        classes = self._read(CLASSES, tuple[str, ...])
        if len(classes) < 2 or len(set(classes)) < len(classes):
            raise RunError(f"{self.path / CLASSES} is damaged: it must hold different names.")
        return classes

    @property
    def env(self) -> dict[str, Any]:
        """Versions, device, data and command."""
        return self._read(ENV, _Env).model_dump(mode="json")

    @property
    def result(self) -> dict[str, Any] | None:
        """Sizes, times and accuracies; None while the run is not finished."""
        if not (self.path / RESULT).exists():
            return None
        return self._read(RESULT, _Result).model_dump(exclude_unset=True)

    @property
    def imported(self) -> bool:
        """Whether the network was trained elsewhere."""
        return bool((self.result or {}).get("imported"))

    @property
    def history(self) -> list[Epoch]:
        """Losses and accuracies, epoch by epoch."""
        path = self.path / LOG
        with reading(path):
            lines = path.read_bytes().splitlines() if path.exists() else []
        records = [parse_json(line, f"{path}, line {i},") for i, line in enumerate(lines, 1)]
        epochs = self._validate(LOG, list[Epoch], records)
        if [epoch.index for epoch in epochs] != list(range(1, len(epochs) + 1)):
            raise RunError(f"{path} is damaged: its epochs are not 1, 2, and so on.")
        return epochs

    def evaluate(self, part: str | None = None) -> stats.Measures:
        """Measure the run on its own part "test" (the default if it has one), "val" or "train"."""
        from siglum.lab.train_run import predict_part

        _, log_probs, labels = predict_part(self, part)
        return stats.measure(log_probs, labels, len(self.classes))

    def predict(self, image: ImageLike) -> Prediction:
        """Predict one image, as a recogniser does."""
        from siglum.lab.export import open_run

        return open_run(self).predict(image)

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the report, report.html in the run's folder by default, and return its path."""
        target = Path(path or self.path / "report.html")
        # By name: the report lies above the lab, which it reads.
        import_module("siglum.report.sections").write_report(self, target)
        return target

    def predictions(self) -> dict[str, NDArray[Any]]:
        """Return log-probabilities and labels: `val_log_probs`, `val_labels`, `test_...`."""
        path = self.path / PREDICTIONS
        if not path.exists():
            remedy = f"Resume it with: siglum train --resume {self.path}"
            raise RunError(f"{self.path} has no predictions: it is not finished. {remedy}")
        num_classes = len(self.classes)
        try:
            # From memory: numpy leaves the file open where it is damaged.
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = dict(file)
            for part in {name.partition("_")[0] for name in arrays}:
                _check_predictions(arrays, part, num_classes)
        except Exception as error:  # numpy, zipfile and zlib raise many kinds
            raise RunError(f"{path} is damaged: {first_line(error)}.") from None
        return arrays

    def model(self, checkpoint: str | None = None) -> nn.Module:
        """Return the network with the weights of a checkpoint, on the CPU, in evaluation mode."""
        config = self.config
        file = choose(CHECKPOINTS, checkpoint or config.checkpoint, "checkpoint")
        tensors, _ = self._read_tensors(file)
        env = self._read(ENV, dict[str, Any])
        digests = env.get("network_sha256"), models.file_digest(config.model)
        if None not in digests and digests[0] != digests[1]:
            problem = f"The file of {config.model} has changed"
            warnings.warn(f"{problem}: {self.path} has results of the old one.", stacklevel=2)
        model = models.build_for(config, self.preprocess, len(self.classes))
        load_weights(model, tensors, f"{self.path / file} does not fit {config.model}", DAMAGED)
        return model.eval()

    def save_checkpoint(self, name: str, model: nn.Module) -> None:
        """Save the weights under a name in `CHECKPOINTS`."""
        self._write(CHECKPOINTS[name], save_tensors(on_cpu(model.state_dict())))

    def save_state(self, state: TrainState) -> None:
        """Save everything that is needed to resume, in one file, and write the log."""
        tensors = _modules(state).state_dict()
        for index, values in state.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in values.items() if v is not None}
        metadata = {"counters": json.dumps(asdict(state.counters))}
        self._write(STATE, save_tensors(on_cpu(tensors), metadata))
        self.write_history(state.counters.epochs)

    def load_state(self, state: TrainState) -> None:
        """Restore `state` from `save_state`, and make the log agree; remove temporary files."""
        if distributed.rank() == 0:
            for temporary in self.path.rglob(".*.tmp"):
                temporary.unlink(missing_ok=True)
        if not (self.path / STATE).exists():
            return
        tensors, metadata = self._read_tensors(STATE)
        weights = {k: v for k, v in tensors.items() if not k.startswith("optimizer.")}
        load_weights(_modules(state), weights, f"{self.path / STATE} does not fit", DAMAGED)
        parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
        try:
            for name, tensor in tensors.items():
                if name.startswith("optimizer."):
                    _, index, key = name.split(".", 2)
                    parameter = parameters[int(index)]
                    tensor = tensor.to(parameter.device)
                    if tensor.shape == parameter.shape:  # fused steps need the same strides
                        tensor = torch.empty_like(parameter).copy_(tensor)
                    state.optimizer.state[parameter][key] = tensor
            counters = json.loads(metadata["counters"])
        except (KeyError, ValueError, IndexError) as error:
            raise RunError(f"{self.path / STATE} is damaged: {first_line(error)}.") from None
        state.counters = self._validate(STATE, Counters, counters)
        if distributed.rank() == 0:  # a kill between the two files leaves the log too short
            self.write_history(state.counters.epochs)

    def write_history(self, epochs: Sequence[Epoch]) -> None:
        """Write the log."""
        self._write(LOG, "".join(json.dumps(asdict(epoch)) + "\n" for epoch in epochs))

    def finish(self, result: dict[str, Any], predictions: dict[str, NDArray[Any]]) -> None:
        """Write predictions and result, and remove the state."""
        buffer = io.BytesIO()
        np.savez(buffer, **predictions)  # type: ignore[arg-type]
        self._write(PREDICTIONS, buffer.getvalue())
        self._write_json(RESULT, result)
        shutil.rmtree((self.path / STATE).parent, ignore_errors=True)

    def _read_tensors(self, file: str) -> tuple[dict[str, Tensor], dict[str, str]]:
        path = self.path / file
        if not path.exists():
            remedy = f"Resume it with: siglum train --resume {self.path}"
            if self.result is not None:
                remedy = f"Use the checkpoint {self.config.checkpoint}."
            raise RunError(f"{self.path} has no {file}. {remedy}")
        try:
            with safe_open(path, framework="pt") as head:
                metadata = head.metadata() or {}
            return load_tensors(path.read_bytes()), metadata
        except (SafetensorError, OSError, ValueError) as error:
            raise RunError(f"{path} is damaged: {first_line(error)}.") from None

    def _read(self, file: str, kind: type[T]) -> T:
        return self._validate(file, kind, read_json(self.path / file))

    def _validate(self, file: str, kind: type[T], record: Any) -> T:
        try:
            return TypeAdapter(kind).validate_python(record)
        except ValidationError as error:
            cause = f"is damaged, or of another version: {explain(error)}"
            raise RunError(f"{self.path / file} {cause} {DAMAGED}") from None

    def _write_json(self, file: str, value: Any) -> None:
        self._write(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def _write(self, file: str, data: bytes | str) -> None:
        try:
            write_atomic(self.path / file, data)
        except DataError as error:
            resume = f"Make room and resume: siglum train --resume {self.path}, or choose"
            remedy = resume if (self.path / CONFIG).is_file() else "Choose"
            raise RunError(f"{error} {remedy} another folder with -o.") from error


def check_free(path: Path) -> None:
    """Raise RunError if something is at `path` that a new run would overwrite."""
    if (path / CONFIG).is_file():
        problem = f"{path} already exists; a run is never overwritten. Choose another name with -o."
        resume = f"To resume it: siglum train --resume {path}."
        longer = f"To train it for more epochs: siglum train SOURCE --init {path} -o NEW"
        raise RunError(f"{problem} {resume} {longer}")
    begun = {ENV, CLASSES, PREPROCESS}
    files = path.iterdir() if path.is_dir() else ()
    foreign = [f for f in files if f.name not in begun and not f.match(".*.tmp")]
    if foreign or (path.exists() and not path.is_dir()):
        raise RunError(f"{path} already exists and is not a run. Choose another name with -o.")


def find_runs(folder: Path) -> Iterator[Run]:
    """Yield the runs directly in `folder`, newest first."""
    configs = folder.glob(f"*/{CONFIG}")
    for path in sorted(configs, key=lambda p: p.stat().st_mtime_ns, reverse=True):
        yield Run(path.parent)


def next_path(folder: Path, config: TrainConfig) -> Path:
    """Return the first free name for a run, such as `glyph_net-mnist5k-1`."""
    name = source_name(config.data).strip("/").partition(".")[0].lower() or "data"
    model = Path(config.model.rpartition(":")[0] or config.model).stem
    paths = (folder / f"{model}-{name}-{number}" for number in itertools.count(1))
    return next(path for path in paths if not path.exists())


def on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy to contiguous CPU tensors of their own, the only ones that safetensors accepts."""
    return {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], reason: str, remedy: str) -> None:
    """Load all weights of a network; raises RunError that names those that do not fit."""
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        lines = [line.strip().rstrip(". ") for line in str(error).splitlines()[1:]]
        raise RunError(f"{reason}: {shorten('; '.join(lines), 600)}. {remedy}") from None


def _modules(state: TrainState) -> nn.ModuleDict:
    average = {} if state.average is None else {"average": state.average}
    return nn.ModuleDict({"model": state.model, **average})


def _check_predictions(arrays: dict[str, NDArray[Any]], part: str, num_classes: int) -> None:
    log_probs, labels = arrays[f"{part}_log_probs"], arrays[f"{part}_labels"]
    is_label = (labels >= 0) & (labels < num_classes)
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or not is_label.all():
        raise ValueError(f"{part}_labels must be labels of the {num_classes} classes")
    shape = (len(labels), num_classes)
    if log_probs.dtype.kind != "f" or log_probs.shape != shape or np.isnan(log_probs).any():
        raise ValueError(f"{part}_log_probs must be {shape} numbers")
    for name in (f"{part}_writers", f"{part}_rows"):
        if name in arrays and arrays[name].shape != labels.shape:
            raise ValueError(f"{name} must be one per image")
