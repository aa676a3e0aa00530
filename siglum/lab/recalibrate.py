"""Give batch normalisations that hold no statistics those of one's own pictures.

Weights that were trained in another form may come with their batch normalisations folded away:
mean 0 and variance 1 everywhere, which are the statistics of nothing. In evaluation that is right;
in training the pictures' own statistics take their place at once, and the network is destroyed.
"""

from collections.abc import Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def folded(tensors: Mapping[str, Tensor]) -> bool:
    """Say whether there are batch normalisations among `tensors`, all with mean 0, variance 1."""
    means = [tensor for name, tensor in tensors.items() if name.endswith("running_mean")]
    variances = [tensor for name, tensor in tensors.items() if name.endswith("running_var")]
    return (
        bool(means) and not any(m.any() for m in means) and all((v == 1).all() for v in variances)
    )


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Tensor]) -> int:
    """Measure what every batch normalisation is given, and make that its statistics, in place.

    Scale and shift are changed with them, so that the network computes what it did in evaluation:
    with mean m and variance v measured, and r, s, w, b as they were, the new scale is
    w sqrt(v + eps) / sqrt(s + eps) and the new shift b + w (m - r) / sqrt(s + eps).

    Args:
        batches: float32 (B, C, S, S) each, as the network sees them; once through.

    Returns:
        The number of pictures measured.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and _has_all(m)]
    sums = {norm: _Sums(norm.num_features) for norm in norms}
    hooks = [norm.register_forward_pre_hook(partial(_measure, sums[norm])) for norm in norms]
    training = [module for module in model.modules() if module.training]
    model.eval()
    shown = 0
    for batch in batches:
        model(batch)
        shown += len(batch)
    for hook in hooks:
        hook.remove()
    for module in training:
        module.training = True
    for norm in norms:
        _set(norm, *sums[norm].moments())
    return shown


class _Sums:
    """Of the values of every channel, in float64."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.first = torch.zeros(channels, dtype=torch.float64)
        self.second = torch.zeros(channels, dtype=torch.float64)

    def add(self, images: Tensor) -> None:
        values = images.double().transpose(0, 1).flatten(1).cpu()  # (channels, the rest)
        self.count += values.shape[1]
        self.first += values.sum(1)
        self.second += values.square().sum(1)

    def moments(self) -> tuple[Tensor, Tensor]:
        mean = self.first / self.count
        return mean, (self.second / self.count - mean.square()).clamp(min=0)


def _has_all(norm: _BatchNorm) -> bool:
    return norm.track_running_stats and norm.affine


def _measure(sums: _Sums, _: nn.Module, inputs: tuple[Tensor]) -> None:
    sums.add(inputs[0])


def _set(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None and norm.running_var is not None, norm
    was_mean, was_std = norm.running_mean.double(), (norm.running_var.double() + norm.eps).sqrt()
    scale = norm.weight.double() / was_std
    norm.bias.copy_(norm.bias.double() + scale * (mean.to(scale.device) - was_mean))
    norm.weight.copy_(scale * (variance.to(scale.device) + norm.eps).sqrt())
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
