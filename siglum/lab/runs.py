"""A training on disk: the only module that knows its file names.

    runs/<name>/
    ├── config.json        every setting         ├── log.jsonl         one record an epoch
    ├── preprocess.json    picture -> tensor     ├── best.safetensors  weights of the best epoch
    ├── classes.json       names by label        ├── last.safetensors  weights of the last epoch
    ├── env.json           versions, machine,    ├── predictions.npz   log-probabilities
    │                      data, command         ├── result.json       what came out; written last
    ├── lowest_loss.safetensors                  weights of the epoch with the lowest training loss
    └── resume/state.safetensors                 optimiser and counters, while it is not finished

A study notes in failure.json that a run diverged.

Every file is written to a temporary name in the same folder, synced and renamed, so that a kill
leaves the old one or the new one, whole. A run is never overwritten.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from siglum.config import Preprocess, TrainConfig, build
from siglum.errors import RunError, choose
from siglum.lab import models
from siglum.lab.training import Epoch, TrainState, epoch_of

CONFIG, PREPROCESS, CLASSES, ENV = "config.json", "preprocess.json", "classes.json", "env.json"
LOG, RESULT, PREDICTIONS = "log.jsonl", "result.json", "predictions.npz"
FAILURE = "failure.json"
STATE = "resume/state.safetensors"
WEIGHTS = {name: f"{name}.safetensors" for name in ("best", "last", "lowest_loss")}


class Run:
    """A run that is on disk."""

    def __init__(self, path: Path) -> None:
        """Open a run.

        Raises:
            RunError: if `path` is no run.
        """
        self.path = path
        if not (path / CONFIG).is_file():
            found = (
                "nothing" if not path.exists() else "another folder" if path.is_dir() else "a file"
            )
            raise RunError(
                f"{path} must be a run's folder, with a {CONFIG}, got {found}. "
                "'siglum runs' lists what there is; 'siglum train' makes one."
            )

    @classmethod
    def create(
        cls,
        path: Path,
        config: TrainConfig,
        preprocess: Preprocess,
        classes: tuple[str, ...],
        env: dict[str, Any],
    ) -> "Run":
        """Begin a run at `path`.

        Raises:
            RunError: if `path` exists, or cannot be written.
        """
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.mkdir()
            except FileExistsError:
                raise RunError(
                    f"{path} must not exist yet; a run is never overwritten. "
                    f"Choose another name with -o, or go on with: siglum train --resume {path}"
                ) from None
        run = cls.__new__(cls)
        run.path = path
        run._write_json(ENV, env)
        run._write_json(CLASSES, list(classes))
        run._write_json(PREPROCESS, preprocess.model_dump())
        run._write_json(CONFIG, config.model_dump())
        return run

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def config(self) -> TrainConfig:
        """Every setting."""
        return build(TrainConfig, self._read_json(CONFIG))

    @property
    def preprocess(self) -> Preprocess:
        """How pictures reach the network."""
        return build(Preprocess, self._read_json(PREPROCESS))

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names, in label order."""
        return tuple(self._read_json(CLASSES))

    @property
    def env(self) -> dict[str, Any]:
        """Versions, machine, data and command."""
        return dict(self._read_json(ENV))

    @property
    def result(self) -> dict[str, Any] | None:
        """What came out; None while the run is not finished."""
        return dict(self._read_json(RESULT)) if (self.path / RESULT).exists() else None

    @property
    def failure(self) -> str | None:
        """Why the training could not go on, in words; None if it could."""
        return str(self._read_json(FAILURE)) if (self.path / FAILURE).exists() else None

    @property
    def epochs(self) -> list[Epoch]:
        """The records of the epochs that are over."""
        path = self.path / LOG
        lines = path.read_text().splitlines() if path.exists() else []
        return [epoch_of(json.loads(line)) for line in lines]

    def predictions(self) -> dict[str, NDArray[Any]]:
        """Return log-probabilities and labels: `val_log_probs`, `val_labels`, `test_...`."""
        path = self.path / PREDICTIONS
        if not path.exists():
            raise RunError(
                f"{self.path} must be finished to hold predictions. "
                f"Go on with: siglum train --resume {self.path}"
            )
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    def model(self, weights: str | None = None) -> nn.Module:
        """Return the network with weights of a name in `WEIGHTS`, on the CPU, in evaluation mode.

        By default they are those that the run stands for (`config.checkpoint`).

        Raises:
            ConfigError: if there are no weights of that name.
            RunError: if the weights are missing, truncated, or another network's.
        """
        config, preprocess = self.config, self.preprocess
        file = choose(WEIGHTS, weights or config.checkpoint, "weights")
        model = models.build(
            config.model,
            len(self.classes),
            preprocess.planes,
            preprocess.size,
            config.model_options,
        )
        tensors, _ = self._read_tensors(file)
        self._same_shapes(file, model.state_dict(), tensors)
        model.load_state_dict(tensors)
        return model.eval()

    def save_weights(self, which: str, model: nn.Module) -> None:
        """Keep the weights under a name in `WEIGHTS`."""
        self._write(WEIGHTS[which], save_tensors(on_cpu(model.state_dict())))

    def save_state(self, state: TrainState) -> None:
        """Keep all that is needed to go on, in one file."""
        tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
        for index, parameter in enumerate(_parameters(state)):
            for key, value in state.optimizer.state[parameter].items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{index}.{key}"] = value
        metadata = {"counters": json.dumps(state.counters())}
        self._write(STATE, save_tensors(on_cpu(tensors), metadata))

    def load_state(self, state: TrainState) -> None:
        """Bring `state` to where `save_state` left it, and the log with it.

        Raises:
            RunError: if the state is truncated or another network's.
        """
        if not (self.path / STATE).exists():
            return
        tensors, metadata = self._read_tensors(STATE)
        weights = {k.removeprefix("model."): v for k, v in tensors.items() if k[0] == "m"}
        self._same_shapes(STATE, state.model.state_dict(), weights)
        state.model.load_state_dict(weights)
        parameters = _parameters(state)
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                parameter = parameters[int(index)]
                if tensor.shape == parameter.shape:  # fused steps want it laid like the weights
                    tensor = torch.empty_like(parameter).copy_(tensor)
                state.optimizer.state[parameter][key] = tensor
        state.set_counters(json.loads(metadata["counters"]))
        # A kill between the two files leaves the log one epoch short; the state is right.
        self._write(LOG, "".join(_line(epoch) for epoch in state.epochs).encode())

    def append(self, epoch: Epoch) -> None:
        """Add one epoch's record to the log."""
        with _writing(self.path), (self.path / LOG).open("a") as file:
            file.write(_line(epoch))
            file.flush()
            os.fsync(file.fileno())

    def finish(self, result: dict[str, Any], predictions: dict[str, NDArray[Any]]) -> None:
        """Write predictions and result, and remove what was kept to go on."""
        with _writing(self.path), tempfile.TemporaryFile(dir=self.path) as file:
            np.savez(file, **predictions)  # type: ignore[arg-type]
            file.seek(0)
            self._write(PREDICTIONS, file.read())
        self._write_json(RESULT, result)
        shutil.rmtree((self.path / STATE).parent, ignore_errors=True)

    def fail(self, reason: str) -> None:
        """Note that the training cannot go on; what was saved stays."""
        self._write_json(FAILURE, reason)

    def _same_shapes(self, file: str, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
        for name in sorted(wanted.keys() | found.keys()):
            ours, theirs = wanted.get(name), found.get(name)
            if ours is None or theirs is None or ours.shape != theirs.shape:
                raise RunError(
                    f"{self.path / file} must hold the weights of {self.config.model}, got "
                    f"{_shape(theirs)} for {name!r} where the network has {_shape(ours)}."
                )

    def _read_tensors(self, file: str) -> tuple[dict[str, Tensor], dict[str, str]]:
        path = self.path / file
        if not path.exists():
            remedy = f"Go on training with: siglum train --resume {self.path}"
            if self.result is not None:  # of an older version, or somebody took them away
                there = [name for name, kept in WEIGHTS.items() if (self.path / kept).exists()]
                remedy = f"Choose others: {', '.join(there) or 'there are none'}."
            raise RunError(f"{self.path} must hold {file}, got none. {remedy}")
        try:
            with safe_open(path, framework="pt") as head:
                metadata = head.metadata() or {}
            return load_tensors(path.read_bytes()), metadata
        except (SafetensorError, OSError) as error:
            raise RunError(
                f"{path} must be a whole safetensors file, got one that is not ({error})."
            ) from None

    def _read_json(self, file: str) -> Any:
        path = self.path / file
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise RunError(f"{path} must be a run's JSON file, got {error}.") from None

    def _write_json(self, file: str, value: Any) -> None:
        self._write(file, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())

    def _write(self, file: str, raw: bytes) -> None:
        """Replace a file by `raw` in one step."""
        path = self.path / file
        with _writing(self.path):
            path.parent.mkdir(exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as out:
                    out.write(raw)
                    out.flush()
                    os.fsync(out.fileno())
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise


def find_runs(folder: Path) -> Iterator[Run]:
    """Yield the runs directly in `folder`, newest first."""
    paths = folder.iterdir() if folder.is_dir() else iter(())
    found = [path for path in paths if (path / CONFIG).is_file()]
    for path in sorted(found, key=lambda p: (p / CONFIG).stat().st_mtime_ns, reverse=True):
        yield Run(path)


def next_path(folder: Path, config: TrainConfig) -> Path:
    """Return the first free name for a run, such as `glyph_net-mnist5k-1`."""
    source = config.data.partition(":")[2] or config.data
    places = [part for part in Path(source).parts if part not in ("raw", "/", "..")]
    name = (places or ["data"])[-1].partition(".")[0]
    stem = f"{Path(config.model.rpartition(':')[0] or config.model).stem}-{name.lower()}"
    number = 1
    while (folder / f"{stem}-{number}").exists():
        number += 1
    return folder / f"{stem}-{number}"


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path} must be a place that can be written, got {error.strerror!r}. Make room or "
            f"choose another with -o; what was saved is whole: siglum train --resume {path}"
        ) from error


def _parameters(state: TrainState) -> list[Tensor]:
    """Return what the optimiser changes, in its order."""
    return [parameter for group in state.optimizer.param_groups for parameter in group["params"]]


def on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy to plain contiguous tensors, which is all that safetensors takes."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _line(epoch: Epoch) -> str:
    return json.dumps(asdict(epoch)) + "\n"


def _shape(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"
