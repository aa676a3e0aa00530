"""A small, fast network for single characters.

The first convolution halves the image, and the others are pooled before batch normalisation and
ReLU, which then process a quarter of the values.
"""

from torch import nn

from siglum.lab.models.layers import Dropout, Network


class GlyphNet(Network):
    """Three convolutions and a linear head: 29,434 parameters at 1x28x28 and 10 classes.

    `width` multiplies their 16, 32 and 64 filters; `dropout` applies to the head's features.
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
            nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1, bias=False),
            nn.MaxPool2d(2),  # (B, 32, S/4, S/4)
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, padding=1, bias=False),
            nn.MaxPool2d(2),  # (B, 64, S/8, S/8)
            nn.BatchNorm2d(third),
            nn.ReLU(),
            nn.Flatten(),
            *([Dropout(dropout)] if dropout else []),
        )
        side = (image_size + 1) // 2 // 2 // 2
        self.head = nn.Linear(third * side * side, num_classes)
