"""Begin where another run ended: adopt its weights, give the network a new head, freeze parts.

A backbone is adopted whole or not at all: its first difference from the parent's is an error. The
head is adopted where classes and shapes agree, and is new otherwise.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from siglum.errors import ConfigError, RunError, nearest
from siglum.lab.models import count_parameters
from siglum.lab.runs import Run, on_cpu
from siglum.lab.training import chance

SCRATCH = "scratch"
BACKBONE = "backbone"  # in `freeze`: everything but the head


@dataclass(frozen=True)
class Start:
    """What a training began with; kept in the run's env.json as `init`."""

    run: str  # the parent's folder
    sha256: str  # of the weights as they were adopted
    seconds: float  # of training behind them, the parent's own parents included
    examples: int  # pictures shown until then, the same way
    shuffled: bool
    adopted: tuple[str, ...]  # tensors
    reset: tuple[str, ...]  # tensors that stay random: the new head
    adopted_numbers: int
    reset_numbers: int


def adopt(
    model: nn.Module, classes: tuple[str, ...], parent: Path, *, seed: int, shuffle: bool = False
) -> Start:
    """Load a run's weights into `model`, in place.

    Args:
        classes: of the new run; the parent's head is adopted only if they are its own.
        seed: decides how tensors are shuffled.
        shuffle: permute the numbers within each tensor: the same values, and nothing learned left.

    Raises:
        RunError: if `parent` is no finished run, its weights are missing, or its backbone differs;
            the message names the first tensor that does.
    """
    run = Run(parent)
    if run.result is None:
        raise RunError(
            f"init must be a finished run, got {parent}. Go on with: siglum train --resume {parent}"
        )
    theirs = run.model().state_dict()
    ours = model.state_dict()
    same_classes = run.classes == classes
    reset = []
    for name, tensor in ours.items():
        found = theirs.get(name)
        if name.startswith("head.") and (
            not same_classes or found is None or found.shape != tensor.shape
        ):
            reset.append(name)
        elif found is None or found.shape != tensor.shape:
            raise RunError(_difference(run, name, tensor, found))
    for name in theirs:
        if name not in ours and not name.startswith("head."):
            raise RunError(_difference(run, name, None, theirs[name]))
    taken = {name: theirs[name] for name in ours if name not in reset}
    if shuffle:
        taken = {name: _shuffled(tensor, seed, name) for name, tensor in taken.items()}
    model.load_state_dict(taken, strict=False)
    before: dict[str, Any] = run.env.get("init") or {"seconds": 0.0, "examples": 0}
    return Start(
        run=str(parent),
        sha256=hashlib.sha256(save(on_cpu(taken))).hexdigest(),
        seconds=run.epochs[-1].seconds + before["seconds"],
        examples=run.epochs[-1].examples + before["examples"],
        shuffled=shuffle,
        adopted=tuple(taken),
        reset=tuple(reset),
        adopted_numbers=sum(tensor.numel() for tensor in taken.values()),
        reset_numbers=sum(ours[name].numel() for name in reset),
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
        start: a `Start` as a dict, or None for random weights.
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


def _shuffled(tensor: Tensor, seed: int, name: str) -> Tensor:
    generator = torch.Generator().manual_seed(chance(seed, f"shuffle {name}", 0))
    order = torch.randperm(tensor.numel(), generator=generator)
    return tensor.flatten()[order].view(tensor.shape)


def _difference(run: Run, name: str, ours: Tensor | None, theirs: Tensor | None) -> str:
    return (
        f"init must be a run whose backbone is the new network's, got {run.path} "
        f"({run.config.model}, {run.preprocess.size} px) with {_shape(theirs)} for {name!r} where "
        f"the new network has {_shape(ours)}. Train it with the same model, options, size and "
        "channels."
    )


def _shape(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"
