"""Begin where another training ended: adopt its weights, give the network a new head, freeze parts.

A backbone is adopted whole or not at all: its first difference from the parent's is an error. The
head is adopted where classes and shapes agree, and is new otherwise. The parent is a run, a file of
weights or what torchvision offers (`pretrained.py`); of these two the classes are not known.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from siglum.errors import ConfigError, RunError, nearest
from siglum.lab import pretrained
from siglum.lab.models import count_parameters
from siglum.lab.runs import Run, on_cpu
from siglum.lab.training import derive_seed

SCRATCH = "scratch"
BACKBONE = "backbone"  # in `freeze`: everything but the head


@dataclass(frozen=True)
class InitInfo:
    """What a training began with; kept in the run's env.json as `init`."""

    run: str  # the parent's folder, "file:NAME" or "torchvision"
    sha256: str  # of the weights as they were adopted
    seconds: float | None  # of training behind them, the parent's own parents included, if known
    examples: int | None  # pictures shown until then, the same way
    shuffled: bool
    adopted: tuple[str, ...]  # tensors
    reset: tuple[str, ...]  # tensors that stay random: the new head
    adopted_numbers: int
    reset_numbers: int


@dataclass(frozen=True)
class _Parent:
    """Weights to begin with, and what is known about them."""

    name: str
    tensors: Mapping[str, Tensor]
    classes: tuple[str, ...] | None  # None: not known
    seconds: float | None
    examples: int | None
    told: str  # in an error, behind its name
    remedy: str


def load_pretrained(
    model: nn.Module,
    classes: tuple[str, ...],
    init: str | Path,
    *,
    seed: int,
    shuffle: bool = False,
) -> InitInfo:
    """Load the weights of a run, a file or torchvision into `model`, in place.

    Args:
        classes: of the new run; the parent's head is adopted only if they are its own.
        init: a run's folder, "file:NAME" or "torchvision".
        seed: decides how tensors are shuffled.
        shuffle: permute the numbers within each tensor: the same values, and nothing learned left.

    Raises:
        ConfigError, DataError: if a file or a download does not serve.
        RunError: if a run is not finished, its weights are missing, or the backbone differs; the
            message names the first tensor that does.
    """
    parent = _parent(model, str(init))
    ours, theirs = model.state_dict(), parent.tensors
    reset = []
    for name, tensor in ours.items():
        found = theirs.get(name)
        if name.startswith("head.") and (
            parent.classes != classes or found is None or found.shape != tensor.shape
        ):
            reset.append(name)
        elif found is None or found.shape != tensor.shape:
            raise RunError(_difference(parent, name, tensor, found))
    for name in theirs:
        if name not in ours and not name.startswith("head."):
            raise RunError(_difference(parent, name, None, theirs[name]))
    taken = {name: theirs[name].to(ours[name].dtype) for name in ours if name not in reset}
    model.load_state_dict(taken, strict=False)
    if shuffle:
        model.load_state_dict(_all_shuffled(model.state_dict(), taken, seed), strict=False)
        taken = _all_shuffled(taken, taken, seed)
    return InitInfo(
        run=parent.name,
        sha256=hashlib.sha256(save(on_cpu(taken))).hexdigest(),
        seconds=parent.seconds,
        examples=parent.examples,
        shuffled=shuffle,
        adopted=tuple(taken),
        reset=tuple(reset),
        adopted_numbers=sum(tensor.numel() for tensor in taken.values()),
        reset_numbers=sum(ours[name].numel() for name in reset),
    )


def _parent(model: nn.Module, init: str) -> _Parent:
    if init == pretrained.TORCHVISION:
        tensors = pretrained.from_torchvision(model)
        return _Parent(init, tensors, None, None, None, "", "Report this: it should not be.")
    if pretrained.is_file(init):
        name = init.partition(pretrained.PIN)[0]
        remedy = "Choose the model and the options that the weights are of."
        return _Parent(name, pretrained.read(init), None, None, None, "", remedy)
    run = Run(Path(init))
    if run.result is None:
        raise RunError(
            f"init must be a finished run, got {init}. Go on with: siglum train --resume {init}"
        )
    before: dict[str, Any] = run.env.get("init") or {"seconds": 0.0, "examples": 0}
    last, known = run.epochs[-1], before["seconds"] is not None
    return _Parent(
        name=init,
        tensors=run.model().state_dict(),
        classes=run.classes,
        seconds=last.seconds + before["seconds"] if known else None,
        examples=last.examples + before["examples"] if known else None,
        told=f" ({run.config.model}, {run.preprocess.size} px)",
        remedy="Train it with the same model, options, size and channels.",
    )


def freeze(model: nn.Module, parts: tuple[str, ...]) -> None:
    """Keep parts of a network as they are; its frozen batch normalisations keep their statistics.

    Args:
        parts: "backbone" for everything but the head, or names of modules or parameters.

    Raises:
        ConfigError: if a part is unknown, or nothing is left to train.
    """
    for part in parts:
        found = [
            parameter
            for name, parameter in model.named_parameters()
            if (part == BACKBONE and not name.startswith("head."))
            or name == part
            or name.startswith(f"{part}.")
        ]
        if not found:
            known = [BACKBONE, *(name for name, _ in model.named_children())]
            raise ConfigError(
                f"freeze must name parts of the network ({', '.join(known)}, or a part of these), "
                f"got {part!r}.{nearest(part, known)}"
            )
        for parameter in found:
            parameter.requires_grad_(False)
    if not count_parameters(model):
        raise ConfigError(
            f"freeze must leave something to train, got {', '.join(parts)}. "
            f"With {BACKBONE} alone the head trains."
        )


def in_words(
    start: Mapping[str, Any] | None, parts: tuple[str, ...], trained: int, whole: int
) -> str:
    """Say what was adopted, what is new, what is frozen, and how much trains.

    Args:
        start: a `InitInfo` as a dict, or None for random weights.
        parts: what is frozen.
        trained: parameters that train, of `whole`.
    """
    if start is None:
        text = "random weights"
    else:
        how = "shuffled within each tensor" if start["shuffled"] else "as they were"
        text = f"{start['adopted_numbers']:,} numbers of {start['run']}, {how}; "
        new = start["reset_numbers"]
        text += f"a new head of {new:,}" if new else "its head too, since the classes are the same"
    if parts:
        text += f"; frozen: {', '.join(parts)}"
    return f"{text}; {trained:,} of {whole:,} parameters train"


def _all_shuffled(
    tensors: Mapping[str, Tensor], names: Iterable[str], seed: int
) -> dict[str, Tensor]:
    return {name: _shuffled(tensors[name], seed, name) for name in names}


def _shuffled(tensor: Tensor, seed: int, name: str) -> Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, f"shuffle {name}", 0))
    order = torch.randperm(tensor.numel(), generator=generator)
    return tensor.flatten()[order].view(tensor.shape)


def _difference(parent: _Parent, name: str, ours: Tensor | None, theirs: Tensor | None) -> str:
    kind = "weights" if parent.classes is None else "a run"
    return (
        f"init must be {kind} whose backbone is the new network's, got {parent.name}{parent.told} "
        f"with {_shape(theirs)} for {name!r} where the new network has {_shape(ours)}. "
        f"{parent.remedy}"
    )


def _shape(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"
