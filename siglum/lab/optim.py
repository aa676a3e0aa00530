"""Who takes the step: the optimiser, its rates by depth, its schedule."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from siglum.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """Return the optimiser that `config` names, over all parameters that train."""
    parameters = _groups(model, config)
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov and config.momentum > 0,
            weight_decay=config.weight_decay,
            fused=True,
        )
    adam = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return adam(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def _groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Return what trains, in one group for every depth that has a rate of its own."""
    stages = {name: _stage(model, name) for name, _ in model.named_parameters()}
    order = list(dict.fromkeys(stages.values()))
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            scale = config.lr_decay ** (len(order) - 1 - order.index(stages[name]))
            groups.setdefault(scale, []).append(parameter)
    return [
        {"params": members, "scale": scale, "lr": config.lr * scale}
        for scale, members in groups.items()
    ]


def _stage(model: nn.Module, name: str) -> str:
    """Return the part of the network that a parameter belongs to: `conv1`, `blocks.0`, `head`."""
    first, _, rest = name.partition(".")
    several = isinstance(getattr(model, first), nn.Sequential | nn.ModuleList)
    return f"{first}.{rest.partition('.')[0]}" if several else first


def lr_scale(done: float, warmup: float) -> float:
    """Return the share of the highest learning rate: linear up, then down half a cosine.

    Args:
        done: share of the training that is over, in [0, 1].
        warmup: share of it spent going up, in [0, 1).

    Source: Smith, Topin 2017, "Super-convergence", arXiv:1708.07120, with a cosine for the descent.
    """
    if done < warmup:
        return done / warmup
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Set the rate at the head, and those below in proportion."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]
