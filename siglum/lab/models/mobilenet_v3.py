"""MobileNetV3, Large and Small: torchvision's, with report 2's head.

A grey image fills all three colour channels, so weights trained on colour images apply unchanged.
The network halves images five times; the recipe's `size` scales 28 px up to 64.
Shapes: B images, C channels, S the image side, K classes, D features.

Source: Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam 2019, "Searching
for MobileNetV3", arXiv:1905.02244. Running statistics use torch's momentum of 0.1:
torchvision's 0.01 needs more than a few hundred steps.
"""

from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.errors import ConfigError, choose
from siglum.lab.models.layers import Dropout

SMALLEST = 32  # px: halved five times, one is left
BATCHNORM = {"train": False, "frozen": True}


class Norm(nn.BatchNorm2d):
    """Batch normalisation of maps or of features.

    With `frozen` it uses the running statistics in training too, and only trains its scale and
    shift; likewise for a batch with a single value per channel, which has no deviation.
    """

    def __init__(self, channels: int, *, frozen: bool = False, **options: Any) -> None:
        super().__init__(channels, **options)
        self.frozen = frozen
        self.train()

    def train(self, mode: bool = True) -> "Norm":
        """Switch to training, unless frozen."""
        return super().train(mode and not self.frozen)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, D, H, W) or (B, D) to the same shape."""
        if self.training and images[:, 0].numel() == 1:
            return F.batch_norm(
                images, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(images)

    def _check_input_dim(self, images: Tensor) -> None:
        """Accept (B, D), too."""


class Depthwise(nn.Conv2d):
    """A depthwise convolution in float32: its bfloat16 gradient is ten times slower on a CPU."""

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, D, H, W) to (B, D, H', W')."""
        with torch.autocast(images.device.type, enabled=False):
            return super().forward(images.float())


class _MobileNetV3(nn.Module):
    """Features, average pooling, batch normalisation, dropout 0.5, a linear layer.

    `batchnorm` "frozen" keeps the running statistics of all but the head's normalisation: for
    weights without statistics. `pad_below` moves a row of padding of strided convolutions from
    above to below: for TensorFlow's weights with mirrored kernels.
    """

    torchvision_name: ClassVar[str]  # of the network, and of weights for it

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 64,
        batchnorm: str = "train",
        pad_below: bool = False,
    ) -> None:
        super().__init__()
        from torchvision.models import get_model  # takes a second to import

        name = self.torchvision_name
        if in_channels not in (1, 3):
            raise ConfigError(
                f"channels must be 1 or 3 for {name}, without position channels, got {in_channels}."
            )
        if image_size < SMALLEST:
            raise ConfigError(f"size must be at least {SMALLEST} for {name}, got {image_size}.")
        frozen = choose(BATCHNORM, batchnorm, "batchnorm")
        norm = partial(Norm, eps=0.001, momentum=0.1, frozen=frozen)
        whole = get_model(name, weights=None, norm_layer=norm)
        self.features = whole.features
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.num_features: int = whole.classifier[0].in_features
        self.head = nn.Sequential(
            Norm(self.num_features), Dropout(0.5), nn.Linear(self.num_features, num_classes)
        )
        for conv in self.features.modules():
            if isinstance(conv, nn.Conv2d):
                if conv.groups > 1:
                    conv.__class__ = Depthwise  # the same weights, another forward
                if pad_below and conv.stride == (2, 2):
                    _pad_below(conv)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D)."""
        colour = images.expand(-1, 3, -1, -1)  # a view
        features: Tensor = self.pool(self.features(colour)).flatten(1)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to logits (B, K)."""
        logits: Tensor = self.head(self.forward_features(images))
        return logits


class MobileNetV3Large(_MobileNetV3):
    """960 features: 2,983,482 parameters at 10 classes, at any size and channels."""

    torchvision_name = "mobilenet_v3_large"


class MobileNetV3Small(_MobileNetV3):
    """576 features: 933,930 parameters at 10 classes, at any size and channels."""

    torchvision_name = "mobilenet_v3_small"


def _pad_below(conv: nn.Conv2d) -> None:
    """Pad a strided convolution above and below as TensorFlow does.

    TensorFlow pads an even side by k - 2 in total, the smaller half first; torch by k // 2 at both
    ends. Mirrored kernels undo the difference horizontally, but not vertically.
    """
    kernel, across = conv.kernel_size[0], int(conv.padding[1])
    conv.padding = (0, across)
    padding = (0, 0, (kernel - 2) // 2, (kernel - 1) // 2)  # left, right, above, below
    conv.register_forward_pre_hook(partial(_pad, padding))


def _pad(padding: tuple[int, ...], _: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    return F.pad(inputs[0], padding)
