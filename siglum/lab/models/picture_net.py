"""A residual network for small photographs of objects, such as Fashion-MNIST.

Fast on a CPU: 3 x 3 convolutions of many channels, and max pooling before batch normalisation and
ReLU, which then process a quarter of the values.

Source: David Page 2018, "How to train your ResNet", with half the filters, a residual pair in every
stage, and average instead of max pooling at the end.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.lab.models.layers import Network


def conv_norm(in_channels: int, out_channels: int, pool: bool = False) -> nn.Sequential:
    """Return a 3 x 3 convolution, 2 x 2 max pooling if `pool`, batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.MaxPool2d(2) if pool else nn.Identity(),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = conv_norm(channels, channels), conv_norm(channels, channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, D, S, S) to the same shape."""
        return images + self.second(self.first(images))  # type: ignore[no-any-return]


class PictureNet(Network):
    """A stem and three stages of three convolutions: 1,940,970 parameters at 1x28x28, 10 classes.

    The stem has `width` filters, and every stage doubles them. With `mirror`, evaluation averages
    the features of an image and its mirror image: for photographs of objects, not for characters.
    With `shifts`, it also averages those of the image shifted by a pixel, up left and down right.
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
