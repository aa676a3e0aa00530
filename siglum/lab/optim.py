"""Optimiser, learning rates by depth, and schedule."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from siglum.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """Return the optimiser that `config` names, over all trainable parameters."""
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
    """Group the trainable parameters by learning rate."""
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
    """Return the part that a parameter belongs to: `conv1`, `blocks.0`, `head`."""
    first, _, rest = name.partition(".")
    several = isinstance(getattr(model, first), nn.Sequential | nn.ModuleList)
    return f"{first}.{rest.partition('.')[0]}" if several else first


def lr_scale(done: float, warmup: float) -> float:
    """Return the factor of the maximum learning rate: linear warm-up, then cosine decay.

    Args:
        done: share of the training that is complete, in [0, 1].
        warmup: share of it spent on the warm-up, in [0, 1).

    Source: Smith, Topin 2017, "Super-convergence", arXiv:1708.07120, with cosine decay.
    """
    if done < warmup:
        return done / warmup
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of the head, and the others in proportion."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]
