"""Run: a training on disk. The only module that knows a run's files.

    runs/<name>/
    ├── config.json        all settings          ├── log.jsonl         one record per epoch
    ├── preprocess.json    image -> input        ├── best.safetensors  weights of the best epoch
    ├── classes.json       names by label        ├── last.safetensors  weights of the last epoch
    ├── env.json           versions, device,     ├── lowest_loss.safetensors
    │                      data, command         ├── predictions.npz   log-probabilities
    ├── failure.json       why it diverged       └── result.json       written last
    └── resume/state.safetensors                 optimiser and counters of an unfinished run

Files are written to a temporary name, synced and renamed, so a kill leaves whole files. A run is
never overwritten. Files that were damaged raise a SiglumError that names them.
"""

import io
import json
import os
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from siglum.config import Preprocess, S, TrainConfig, build
from siglum.errors import DataError, RunError, SiglumError, choose
from siglum.files import parse_json, read_json, write_atomic
from siglum.lab import models
from siglum.lab.training import Epoch, TrainState

if TYPE_CHECKING:
    from siglum.recogniser.predict import ImageLike, Prediction
    from siglum.stats import Measures

CONFIG, PREPROCESS, CLASSES, ENV = "config.json", "preprocess.json", "classes.json", "env.json"
LOG, RESULT, PREDICTIONS = "log.jsonl", "result.json", "predictions.npz"
FAILURE = "failure.json"
STATE = "resume/state.safetensors"
CHECKPOINTS = {name: f"{name}.safetensors" for name in ("best", "last", "lowest_loss")}
DAMAGED_NPZ: tuple[type[Exception], ...] = (OSError, ValueError, KeyError, EOFError, MemoryError)
DAMAGED_NPZ += (NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class _DeviceRecord(_Record):
    device: str
    precision: str
    threads: int
    channels_last: bool = True


class _Init(_Record):
    seconds: float | None
    examples: int | None


class _Env(_Record):
    started: datetime
    command: str
    commit: str | None
    versions: dict[str, str]
    device: _DeviceRecord
    processor: str
    platform: str
    data: dict[str, str | None]
    counts: dict[str, int]
    init: _Init | None = None


class _Measured(_Record):
    hits: int
    total: int
    low: float
    high: float
    loss: float

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 0 <= self.hits <= self.total or not self.total:
            raise ValueError("hits must be from 0 to total")
        return self


class _Result(_Record):
    parameters: int
    epochs: int
    best_epoch: int
    seconds: float
    finished: str
    val: _Measured | None = None
    test: _Measured | None = None


_EPOCH = TypeAdapter(Epoch)
_CLASSES = TypeAdapter(tuple[str, ...])


class Run:
    """A run on disk.

    Args:
        path: the run's folder.

    Raises:
        RunError: if `path` is not a run.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not (self.path / CONFIG).is_file():
            if self.path.suffix in (".pth", ".pt", ".safetensors"):
                raise RunError(
                    f"{path} is a file of weights, not a run. Train with it: siglum train SOURCE "
                    f"--init file:{path}"
                )
            reason = "is not a run: it has no config.json" if self.path.exists() else "not found"
            raise RunError(f"{path} {reason}. 'siglum runs' lists runs; 'siglum train' makes one.")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @classmethod
    def create(
        cls,
        path: Path,
        config: TrainConfig,
        preprocess: Preprocess,
        classes: tuple[str, ...],
        env: dict[str, Any],
    ) -> "Run":
        """Create a run at `path`. A folder whose creation was interrupted is replaced.

        Raises:
            RunError: if `path` exists, or cannot be written.
        """
        check_free(path)
        if path.exists():
            warnings.warn(
                f"{path} was left by a training that was killed before it began; starting anew.",
                stacklevel=2,
            )
            shutil.rmtree(path)
        run = cls.__new__(cls)
        run.path = path
        with run._writing("Make room or choose another folder with -o, and train again."):
            path.mkdir(parents=True)
            run._write_json(ENV, env)
            run._write_json(CLASSES, list(classes))
            run._write_json(PREPROCESS, preprocess.model_dump())
            run._write_json(CONFIG, config.model_dump())  # last: it makes the folder a run
        return run

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def config(self) -> TrainConfig:
        """All settings."""
        return self._read_settings(TrainConfig, CONFIG)

    @property
    def preprocess(self) -> Preprocess:
        """How images become the network's input."""
        return self._read_settings(Preprocess, PREPROCESS)

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names, in label order."""
        classes: tuple[str, ...] = self._validate(_CLASSES, read_json(self.path / CLASSES), CLASSES)
        if len(classes) < 2 or len(set(classes)) < len(classes):
            raise RunError(f"{self.path / CLASSES} is damaged: it must hold different names.")
        return classes

    @property
    def env(self) -> dict[str, Any]:
        """Versions, device, data and command."""
        record = read_json(self.path / ENV)
        self._validate(TypeAdapter(_Env), record, ENV)
        return dict(record)

    @property
    def result(self) -> dict[str, Any] | None:
        """Sizes, times and accuracies; None while the run is not finished."""
        if not (self.path / RESULT).exists():
            return None
        record = read_json(self.path / RESULT)
        self._validate(TypeAdapter(_Result), record, RESULT)
        return dict(record)

    @property
    def failure(self) -> str | None:
        """Why the training diverged, or None."""
        return str(read_json(self.path / FAILURE)) if (self.path / FAILURE).exists() else None

    @property
    def epochs(self) -> list[Epoch]:
        """The records of the epochs so far; a line that a kill cut off is ignored."""
        path, epochs = self.path / LOG, []
        try:
            lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        except OSError as error:
            raise RunError(f"Cannot read {path}: {error.strerror}.") from None
        for number, line in enumerate(lines, 1):
            if number == len(lines) and not line.endswith(b"\n"):
                warnings.warn(f"{path}: ignoring line {number}, which is cut off.", stacklevel=2)
                break
            record = parse_json(line, f"{path}, line {number},")
            epoch = self._validate(_EPOCH, record, f"{LOG}, line {number},")
            if epoch.index != number:
                raise RunError(f"{path}, line {number}, is damaged: epoch {epoch.index}.")
            epochs.append(epoch)
        return epochs

    @property
    def history(self) -> list[Epoch]:
        """The same as `epochs`: losses and accuracies, epoch by epoch."""
        return self.epochs

    def evaluate(self, part: str | None = None) -> "Measures":
        """Measure the run on a part of its own images: "test", "val" or "train".

        By default this is the test part, or else the validation part.

        Raises:
            ConfigError: if the run does not have that part.
        """
        from siglum import stats
        from siglum.lab.trainer import predict_part

        predictions = predict_part(self, part)
        return stats.measure(predictions.log_probs, predictions.labels, len(self.classes))

    def predict(self, image: "ImageLike") -> "Prediction":
        """Predict one image, as a recogniser does.

        Raises:
            DataError: if the image cannot be read.
        """
        from siglum.lab.export import open_run

        return open_run(self).predict(image)

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the report, report.html in the run's folder by default, and return its path."""
        from importlib import import_module

        # By name: the report lies above the lab, which it reads.
        page = import_module("siglum.report.sections")
        target = Path(path or self.path / "report.html")
        page.write_report(self, target)
        return target

    def predictions(self) -> dict[str, NDArray[Any]]:
        """Return log-probabilities and labels: `val_log_probs`, `val_labels`, `test_...`.

        Raises:
            RunError: if the run is not finished, or the file is damaged.
        """
        path = self.path / PREDICTIONS
        if not path.exists():
            raise RunError(
                f"{self.path} has no predictions: it is not finished. Resume it with: "
                f"siglum train --resume {self.path}"
            )
        try:
            # From memory: numpy leaves the file open where it is damaged.
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = dict(file)
            _check_predictions(arrays, len(self.classes))
        except DAMAGED_NPZ as error:
            raise RunError(f"{path} is damaged: {_first_line(error)}.") from None
        return arrays

    def model(self, checkpoint: str | None = None) -> nn.Module:
        """Return the network with the weights of a checkpoint, on the CPU, in evaluation mode.

        Args:
            checkpoint: a key of `CHECKPOINTS`; by default `config.checkpoint`.

        Raises:
            ConfigError: if there is no such checkpoint.
            RunError: if the weights are missing, damaged, or another network's.
        """
        config, preprocess = self.config, self.preprocess
        file = choose(CHECKPOINTS, checkpoint or config.checkpoint, "checkpoint")
        model = models.build(
            config.model,
            len(self.classes),
            preprocess.planes,
            preprocess.size,
            config.model_options,
        )
        tensors, _ = self._read_tensors(file)
        self._check_shapes(file, model.state_dict(), tensors)
        model.load_state_dict(tensors)
        return model.eval()

    def save_checkpoint(self, name: str, model: nn.Module) -> None:
        """Save the weights under a name in `CHECKPOINTS`."""
        self._write(CHECKPOINTS[name], save_tensors(on_cpu(model.state_dict())))

    def save_state(self, state: TrainState) -> None:
        """Save everything that is needed to resume, in one file."""
        tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
        for index, parameter in enumerate(_parameters(state)):
            for key, value in state.optimizer.state[parameter].items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{index}.{key}"] = value
        metadata = {"counters": json.dumps(state.counters())}
        self._write(STATE, save_tensors(on_cpu(tensors), metadata))

    def load_state(self, state: TrainState) -> None:
        """Restore `state` from `save_state`, and make the log agree; remove temporary files.

        Raises:
            RunError: if the state is damaged or another network's.
        """
        for folder in (self.path, self.path / "resume"):
            for temporary in folder.glob(".*.tmp"):
                temporary.unlink(missing_ok=True)
        if not (self.path / STATE).exists():
            return
        tensors, metadata = self._read_tensors(STATE)
        weights = {k.removeprefix("model."): v for k, v in tensors.items() if k[0] == "m"}
        self._check_shapes(STATE, state.model.state_dict(), weights)
        state.model.load_state_dict(weights)
        parameters = _parameters(state)
        try:
            for name, tensor in tensors.items():
                if name.startswith("optimizer."):
                    _, index, key = name.split(".", 2)
                    parameter = parameters[int(index)]
                    if tensor.shape == parameter.shape:  # fused steps need the same strides
                        tensor = torch.empty_like(parameter).copy_(tensor)
                    state.optimizer.state[parameter][key] = tensor
            state.set_counters(json.loads(metadata["counters"]))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise RunError(f"{self.path / STATE} is damaged: {_first_line(error)}.") from None
        # A kill between the two files leaves the log one epoch short.
        self._write(LOG, "".join(_line(epoch) for epoch in state.epochs).encode())

    def append(self, epoch: Epoch) -> None:
        """Append an epoch to the log."""
        with self._writing(), (self.path / LOG).open("a") as file:
            file.write(_line(epoch))
            file.flush()
            os.fsync(file.fileno())

    def finish(self, result: dict[str, Any], predictions: dict[str, NDArray[Any]]) -> None:
        """Write predictions and result, and remove the state."""
        buffer = io.BytesIO()
        np.savez(buffer, **predictions)  # type: ignore[arg-type]
        self._write(PREDICTIONS, buffer.getvalue())
        self._write_json(RESULT, result)
        shutil.rmtree((self.path / STATE).parent, ignore_errors=True)

    def fail(self, reason: str) -> None:
        """Record why the training cannot continue."""
        self._write_json(FAILURE, reason)

    def _check_shapes(
        self, file: str, expected: dict[str, Tensor], loaded: dict[str, Tensor]
    ) -> None:
        for name in sorted(expected.keys() | loaded.keys()):
            ours, theirs = expected.get(name), loaded.get(name)
            if ours is None or theirs is None or ours.shape != theirs.shape:
                raise RunError(
                    f"{self.path / file} does not fit {self.config.model}: {name!r} has "
                    f"{shape_of(theirs)}, the network {shape_of(ours)}."
                )

    def _read_tensors(self, file: str) -> tuple[dict[str, Tensor], dict[str, str]]:
        path = self.path / file
        if not path.exists():
            remedy = f"Resume the training: siglum train --resume {self.path}"
            if (self.path / RESULT).exists():
                names = [
                    name for name, other in CHECKPOINTS.items() if (self.path / other).exists()
                ]
                remedy = f"Available: {', '.join(names) or 'none'}."
            raise RunError(f"{self.path} has no {file}. {remedy}")
        try:
            with safe_open(path, framework="pt") as head:
                metadata = head.metadata() or {}
            return load_tensors(path.read_bytes()), metadata
        except (SafetensorError, OSError, ValueError) as error:
            raise RunError(f"{path} is damaged: {_first_line(error)}.") from None

    def _read_settings(self, cls: type[S], file: str) -> S:
        settings = read_json(self.path / file)
        if not isinstance(settings, dict):
            raise RunError(f"{self.path / file} is damaged: it must be a table of settings.")
        try:
            return build(cls, settings)
        except SiglumError as error:
            raise RunError(f"{self.path / file} is damaged: {error}") from None

    def _validate(self, adapter: TypeAdapter[Any], record: Any, file: str) -> Any:
        try:
            return adapter.validate_python(record)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise RunError(f"{self.path / file} is damaged: {where} {first['msg']}.") from None

    def _write_json(self, file: str, value: Any) -> None:
        self._write(file, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())

    def _write(self, file: str, data: bytes) -> None:
        with self._writing():
            write_atomic(self.path / file, data)

    @contextmanager
    def _writing(self, remedy: str = "") -> Iterator[None]:
        remedy = remedy or f"Make room and resume: siglum train --resume {self.path}"
        try:
            yield
        except RunError as error:  # of a `_writing` inside this one, with its remedy
            raise RunError(f"{str(error).partition('. ')[0]}. {remedy}") from error.__cause__
        except DataError as error:
            raise RunError(f"{error} {remedy}") from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise RunError(f"Cannot write {self.path}: {reason}. {remedy}") from error


def check_free(path: Path) -> None:
    """Raise RunError if something is at `path` that a new run would overwrite."""
    if (path / CONFIG).is_file():
        raise RunError(
            f"{path} already exists; a run is never overwritten. Choose another name with -o. To "
            f"resume it: siglum train --resume {path}. To train it for more epochs: "
            f"siglum train SOURCE --init {path} -o NEW"
        )
    begun = {ENV, CLASSES, PREPROCESS}
    if path.exists() and not (
        path.is_dir()
        and all(
            file.name in begun or (file.name[0] == "." and file.suffix == ".tmp")
            for file in path.iterdir()
        )
    ):
        raise RunError(f"{path} already exists and is not a run. Choose another name with -o.")


def find_runs(folder: Path) -> Iterator[Run]:
    """Yield the runs directly in `folder`, newest first."""
    paths = folder.iterdir() if folder.is_dir() else iter(())
    runs = [path for path in paths if (path / CONFIG).is_file()]
    for path in sorted(runs, key=lambda p: (p / CONFIG).stat().st_mtime_ns, reverse=True):
        yield Run(path)


def next_path(folder: Path, config: TrainConfig) -> Path:
    """Return the first free name for a run, such as `glyph_net-mnist5k-1`."""
    source = config.data.partition(":")[2] or config.data
    parts = [part for part in Path(source).parts if part not in ("raw", "/", "..")]
    name = (parts or ["data"])[-1].partition(".")[0]
    stem = f"{Path(config.model.rpartition(':')[0] or config.model).stem}-{name.lower()}"
    number = 1
    while (folder / f"{stem}-{number}").exists():
        number += 1
    return folder / f"{stem}-{number}"


def on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy to contiguous CPU tensors, the only ones that safetensors accepts."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def shape_of(tensor: Tensor | None) -> str:
    """Format a tensor's shape for messages."""
    return "nothing" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"


def _parameters(state: TrainState) -> list[Tensor]:
    return [parameter for group in state.optimizer.param_groups for parameter in group["params"]]


def _check_predictions(arrays: dict[str, NDArray[Any]], num_classes: int) -> None:
    for part in ("val", "test"):
        log_probs, labels = (arrays.get(f"{part}_{name}") for name in ("log_probs", "labels"))
        if log_probs is None and labels is None:
            continue
        if log_probs is None or labels is None:
            raise ValueError(f"{part}_log_probs and {part}_labels must come together")
        if labels.dtype.kind not in "iu" or labels.ndim != 1:
            raise ValueError(f"{part}_labels must be integers")
        shape = (len(labels), num_classes)
        if log_probs.dtype.kind != "f" or log_probs.shape != shape or np.isnan(log_probs).any():
            raise ValueError(f"{part}_log_probs must be {shape} numbers")
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(f"{part}_labels must be labels of the {num_classes} classes")
        for name in (f"{part}_writers", f"{part}_rows"):
            if name in arrays and arrays[name].shape != labels.shape:
                raise ValueError(f"{name} must be one per image")


def _line(epoch: Epoch) -> str:
    return json.dumps(asdict(epoch)) + "\n"


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
