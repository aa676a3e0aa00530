"""Layers that several networks share."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.errors import ConfigError


class Network(nn.Module):
    """A network whose logits are `head(forward_features(images))`: the head can be exchanged."""

    head: nn.Module

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D); by default through all parts but the head."""
        for name, part in self.named_children():
            if name != "head":
                images = part(images)
        return images

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to logits (B, K)."""
        logits: Tensor = self.head(self.forward_features(images))
        return logits


class Fitted(Network):
    """A network that is fitted to all training images in one call, instead of by steps."""

    def fit(self, images: Tensor, labels: Tensor) -> None:
        """Fit to standardised images (N, C, S, S), on the CPU, with labels (N,)."""
        raise NotImplementedError


class Dropout(nn.Module):
    """`torch.nn.Dropout` with random bits that take a tenth of the time on a CPU.

    One 64-bit draw decides four values, so `p` is exact to 1 / 131072; the scale is the exact
    inverse. With `at_test` it also drops in evaluation, as report 2 does.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, "Dropout: a simple way
    to prevent neural networks from overfitting", Journal of Machine Learning Research 15.
    """

    def __init__(self, p: float = 0.5, at_test: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ConfigError(f"dropout must be in [0, 1), got {p}.")
        self.p, self.at_test = p, at_test

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape, dtype and memory format."""
        if self.p == 0 or not (self.training or self.at_test):
            return values
        if values.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(values, self.p)
        dropped = round(self.p * 65536)
        bits = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        draws = bits.view(torch.int16)[: values.numel()]  # uniform over -32768 .. 32767
        mask = torch.empty_like(values)
        flat = mask if values.is_contiguous() or values.ndim != 4 else mask.permute(0, 2, 3, 1)
        torch.ge(draws.view(flat.shape), dropped - 32768, out=flat)
        return values * mask.mul_(65536 / (65536 - dropped))


class _Sum(torch.autograd.Function):
    """The sum over all processes, whose gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        sums = values.clone()
        dist.all_reduce(sums)
        return sums

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the images of all processes; torch's own refuses CPU tensors."""

    def forward(self, input: Tensor) -> Tensor:
        """Return values of the same shape (B, C, ...) and dtype."""
        means, variances, batches = self.running_mean, self.running_var, self.num_batches_tracked
        assert means is not None and variances is not None and batches is not None
        if not self.training:
            return F.batch_norm(input, means, variances, self.weight, self.bias, eps=self.eps)
        var, mean = torch.var_mean(input.float(), [0, *range(2, input.ndim)], correction=0)
        var, mean = var.double(), mean.double()  # the variance of all is a difference of sums
        count = torch.full_like(mean, input.numel() / len(mean))
        sums = torch.stack([count, count * mean, count * (var + mean**2)])
        count, mean, square = _Sum.apply(sums)
        mean, square = mean / count, square / count
        var = square - mean**2
        with torch.no_grad():
            batches += 1
            share = self.momentum or 1 / int(batches)
            means.lerp_(mean.float(), share)
            variances.lerp_((var * count / (count - 1)).float(), share)
        scale = self.weight * (var + self.eps).rsqrt()
        shift = self.bias - mean * scale
        scale, shift = (one.float().view(-1, *[1] * (input.ndim - 2)) for one in (scale, shift))
        return torch.addcmul(shift, input.float(), scale).to(input.dtype)


def synchronise(model: nn.Module) -> None:
    """Let the batch normalisations of a network use the images of all processes."""
    for name, module in [*model.named_modules()]:
        is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if is_norm and module.affine and module.track_running_stats:
            norm = SyncBatchNorm(module.num_features, module.eps, module.momentum)
            norm.load_state_dict(module.state_dict())
            model.set_submodule(name, norm)


class Attention(nn.MultiheadAttention):
    """Attention of tokens to each other, which also returns its weights.

    Tokens come last in each product: with heads of 6 values, this saves a fifth of a step on a CPU.
    """

    def forward(self, tokens: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Map tokens (B, T, D) to as many, and weights (B, H, T, T), whose rows sum to 1."""
        parts = F.linear(tokens, self.in_proj_weight, self.in_proj_bias).transpose(1, 2)
        parts = parts.reshape(-1, 3, self.num_heads, self.head_dim, tokens.shape[1])
        queries, keys, values = parts.unbind(1)  # (B, H, D / H, T) each
        scores = (keys * self.head_dim**-0.5).transpose(2, 3) @ queries
        weights = F.softmax(scores, dim=2)
        mixed = (values @ weights).flatten(1, 2).transpose(1, 2)
        return self.out_proj(mixed), weights.transpose(2, 3)


def encoder_layer(
    dim: int, heads: int, hidden: int, dropout: float, **options: Any
) -> nn.TransformerEncoderLayer:
    """Return torch's layer with the faster dropout."""
    dropouts = {name: Dropout(dropout) for name in ("dropout", "dropout1", "dropout2")}
    layer = nn.TransformerEncoderLayer(dim, heads, hidden, dropout, batch_first=True, **options)
    for name, module in dropouts.items():
        setattr(layer, name, module)
    return layer


def check_minimum(minimum: int, **options: int) -> None:
    """Raise ConfigError for the first option that is below the minimum."""
    for name, value in options.items():
        if value < minimum:
            raise ConfigError(f"{name} must be at least {minimum}, got {value}.")
