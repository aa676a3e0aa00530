"""Convolutional networks: `CNN` with options for everything, and two that are fast on a CPU.

These two pool before batch normalisation and ReLU, which then process a quarter of the values.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.errors import ConfigError, choose
from siglum.lab.models.layers import Dropout, Network, check_minimum

POOLS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d, "none": nn.Identity}
ACTIVATIONS = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


class CNN(Network):
    """Convolutions with pooling, and two linear layers; report 2's networks are cases of it.

    The published networks end in a log-softmax and minimise the negative log-likelihood; these end
    in logits and minimise the cross-entropy, which is equal. The published programs also apply
    dropout in evaluation, as `dropout_at_test` does.

    The first convolution has `filters`, the n-th n * `growth`; padding is `kernel_size` // 2. After
    each: pooling over `pool_size` px (for the first, `first_pool` and `first_pool_size` if set) and
    the activation. `dropout` follows the last one. `hidden` nodes precede the head; 0 for none.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 28,
        layers: int = 2,
        filters: int = 10,
        growth: int = 10,
        kernel_size: int = 5,
        stride: int = 1,
        pool: str = "max",
        pool_size: int = 2,
        first_pool: str = "",
        first_pool_size: int = 0,
        activation: str = "relu",
        batch_norm: bool = False,
        dropout: float = 0.5,
        dropout_at_test: bool = False,
        hidden: int = 50,
    ) -> None:
        super().__init__()
        check_minimum(1, layers=layers, filters=filters, growth=growth)
        check_minimum(1, kernel_size=kernel_size, stride=stride, pool_size=pool_size)
        check_minimum(0, first_pool_size=first_pool_size, hidden=hidden)
        activate = choose(ACTIVATIONS, activation, "activation")
        padding, side, channels = kernel_size // 2, image_size, in_channels
        widths = [filters, *(number * growth for number in range(2, layers + 1))]
        kind, step = first_pool or pool, first_pool_size or pool_size
        for number, width in enumerate(widths, 1):
            side = (side + 2 * padding - kernel_size) // stride + 1
            side //= 1 if kind == "none" else step
            if side < 1:
                raise ConfigError(
                    f"layers, kernel_size, stride and pool_size must leave at least 1 px of the "
                    f"{image_size} px, got none after convolution {number} of {layers}."
                )
            conv = nn.Conv2d(channels, width, kernel_size, stride, padding)
            self.add_module(f"conv{number}", conv)
            if batch_norm:
                self.add_module(f"norm{number}", nn.BatchNorm2d(width))
            if number == layers:
                self.dropout = Dropout(dropout, dropout_at_test)
            setting = "pool" if kind == pool else "first_pool"
            self.add_module(f"pool{number}", choose(POOLS, kind, setting)(step))
            self.add_module(f"{activation}{number}", activate())
            channels, kind, step = width, pool, pool_size
        self.flatten = nn.Flatten()
        features = channels * side * side
        if hidden:
            self.hidden = nn.Linear(features, hidden)
            self.add_module(activation, activate())
        self.head = nn.Linear(hidden or features, num_classes)


def conv_norm(in_channels: int, out_channels: int, pool: bool = False) -> nn.Sequential:
    """Return a 3 x 3 convolution, 2 x 2 max pooling if `pool`, batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.MaxPool2d(2) if pool else nn.Identity(),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class GlyphNet(Network):
    """For single characters: 29,434 parameters at 1x28x28 and 10 classes.

    Three convolutions, of which the first halves the image, and a linear head. `width` multiplies
    the 16, 32 and 64 filters; `dropout` applies to the head's features.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 28,
        width: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        first, second, third = 16 * width, 32 * width, 64 * width
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, first, 5, stride=2, padding=2, bias=False),  # (B, 16, S/2, S/2)
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            *conv_norm(first, second, pool=True),  # (B, 32, S/4, S/4)
            *conv_norm(second, third, pool=True),  # (B, 64, S/8, S/8)
            nn.Flatten(),
            *([Dropout(dropout)] if dropout else []),
        )
        side = (image_size + 1) // 2 // 2 // 2
        self.head = nn.Linear(third * side * side, num_classes)


class Residual(nn.Module):
    """Two convolutions, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = conv_norm(channels, channels), conv_norm(channels, channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, D, S, S) to the same shape."""
        return images + self.second(self.first(images))  # type: ignore[no-any-return]


class PictureNet(Network):
    """For photographs of objects: 1,940,970 parameters at 1x28x28 and 10 classes.

    The stem has `width` filters; each of the three stages, of three convolutions, doubles them.
    With `mirror`, evaluation averages the features of an image and its mirror image: not for
    characters. With `shifts`, also those of the image shifted by a pixel, up left and down right.

    Source: David Page 2018, "How to train your ResNet", with half the filters, a residual pair in
    every stage, and average instead of max pooling at the end.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 28,
        width: int = 32,
        mirror: bool = False,
        shifts: bool = False,
    ) -> None:
        super().__init__()
        self.mirror, self.shifts = mirror, shifts
        self.stem = conv_norm(in_channels, width)
        channels = (width, 2 * width, 4 * width)  # into each stage
        stages = (nn.Sequential(conv_norm(c, 2 * c, pool=True), Residual(2 * c)) for c in channels)
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8 * width, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D)."""
        views = [images]
        if self.shifts and not self.training:
            padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
            views += [padded[:, :, :-2, :-2], padded[:, :, 2:, 2:]]
        if self.mirror and not self.training:
            views += [view.flip(-1) for view in views]
        features = [self.pool(self.stages(self.stem(view))).flatten(1) for view in views]
        return torch.stack(features).mean(dim=0)
