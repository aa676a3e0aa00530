"""Networks of torchvision with report 2's head: MobileNetV3, ResNet-18, VGG-11.

A grey image fills all three colour channels, so weights trained on colour images apply unchanged.
All parts but the head have torchvision's names, so its files of weights fit. The networks halve
images five times; the recipe's `size` scales 28 px up to 64.

Sources: Howard and others 2019, "Searching for MobileNetV3", arXiv:1905.02244; He, Zhang, Ren, Sun
2015, "Deep residual learning for image recognition", arXiv:1512.03385; Simonyan, Zisserman 2014,
"Very deep convolutional networks for large-scale image recognition", arXiv:1409.1556.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.lab.models.layers import Dropout, Network


class TorchvisionNetwork(Network):
    """The convolutions, average pooling, batch normalisation, dropout 0.5, a linear layer."""

    def __init__(
        self, name: str, num_classes: int, in_channels: int = 1, image_size: int = 64
    ) -> None:
        super().__init__()
        from torchvision.models import get_model  # takes a second to import

        for part, module in get_model(name, weights=None).named_children():
            if part not in ("avgpool", "classifier", "fc"):
                self.add_module(part, module)
        features = 0
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                features = layer.out_channels  # of the last
            elif isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 0.1  # MobileNet's 0.01 needs more than a few hundred steps
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.head = nn.Sequential(
            nn.BatchNorm1d(features), Dropout(0.5), nn.Linear(features, num_classes)
        )

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D)."""
        return super().forward_features(images.expand(-1, 3, -1, -1))  # a view


class MobileNetV3(TorchvisionNetwork):
    """Small has 933,930 parameters at 10 classes, Large 2,983,482.

    `pad_below` moves a row of padding of strided convolutions from above to below: for TensorFlow's
    weights with mirrored kernels.
    """

    def __init__(
        self,
        name: str,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 64,
        pad_below: bool = False,
    ) -> None:
        super().__init__(name, num_classes, in_channels, image_size)
        for conv in self.modules():
            if pad_below and isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
                shift_padding(conv)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D)."""
        # The bfloat16 gradient of a depthwise convolution is ten times slower on a CPU.
        with torch.autocast(images.device.type, enabled=False):
            return super().forward_features(images)


def shift_padding(conv: nn.Conv2d) -> None:
    """Pad a strided convolution above and below as TensorFlow does.

    TensorFlow pads an even side by k - 2 in total, the smaller half first; torch by k // 2 at both
    ends. Mirrored kernels undo the difference horizontally, but not vertically.
    """
    kernel = conv.kernel_size[0]
    conv.padding = (0, int(conv.padding[1]))
    padding = (0, 0, (kernel - 2) // 2, (kernel - 1) // 2)  # left, right, above, below
    conv.register_forward_pre_hook(lambda _, inputs: F.pad(inputs[0], padding))
