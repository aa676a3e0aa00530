"""MobileNetV3, Large and Small: torchvision's, with report 2's head.

A grey image fills all three colour channels, so weights trained on colour images apply unchanged.
The network halves images five times; the recipe's `size` scales 28 px up to 64.

Source: Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam 2019, "Searching
for MobileNetV3", arXiv:1905.02244. Running statistics use torch's momentum of 0.1:
torchvision's 0.01 needs more than a few hundred steps.
"""

from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.lab.models.layers import Dropout, Network


class MobileNetV3(Network):
    """Features, average pooling, batch normalisation, dropout 0.5, a linear layer.

    `pad_below` moves a row of padding of strided convolutions from above to below: for TensorFlow's
    weights with mirrored kernels.
    """

    torchvision_name: ClassVar[str]

    def __init__(
        self, num_classes: int, in_channels: int = 1, image_size: int = 64, pad_below: bool = False
    ) -> None:
        super().__init__()
        from torchvision.models import get_model  # takes a second to import

        norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.1)
        whole = get_model(self.torchvision_name, weights=None, norm_layer=norm)
        self.features = whole.features
        self.pool = nn.AdaptiveAvgPool2d(1)
        features = whole.classifier[0].in_features
        self.head = nn.Sequential(
            nn.BatchNorm1d(features), Dropout(0.5), nn.Linear(features, num_classes)
        )
        for conv in self.features.modules():
            if pad_below and isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
                shift_padding(conv)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D)."""
        colour = images.expand(-1, 3, -1, -1)  # a view
        # The bfloat16 gradient of a depthwise convolution is ten times slower on a CPU.
        with torch.autocast(images.device.type, enabled=False):
            features: Tensor = self.pool(self.features(colour)).flatten(1)
        return features


class MobileNetV3Large(MobileNetV3):
    """960 features: 2,983,482 parameters at 10 classes, at any size and channels."""

    torchvision_name = "mobilenet_v3_large"


class MobileNetV3Small(MobileNetV3):
    """576 features: 933,930 parameters at 10 classes, at any size and channels."""

    torchvision_name = "mobilenet_v3_small"


def shift_padding(conv: nn.Conv2d) -> None:
    """Pad a strided convolution above and below as TensorFlow does.

    TensorFlow pads an even side by k - 2 in total, the smaller half first; torch by k // 2 at both
    ends. Mirrored kernels undo the difference horizontally, but not vertically.
    """
    kernel = conv.kernel_size[0]
    conv.padding = (0, int(conv.padding[1]))
    padding = (0, 0, (kernel - 2) // 2, (kernel - 1) // 2)  # left, right, above, below
    conv.register_forward_pre_hook(lambda _, inputs: F.pad(inputs[0], padding))
