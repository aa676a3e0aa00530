"""The backbone: its features separate characters that it was not trained on.

The head computes cosines between features and class vectors, so the mean of a few images' features
can serve as the vector of a new class.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from siglum.lab.models.layers import Network

SCALE = 20.0  # of the cosines: logits lie between -20 and 20


class CosineHead(nn.Linear):
    """Logits are scaled cosines between features and class vectors.

    Source: Wang, Xiang, Cheng, Yuille 2017, "NormFace: L2 hypersphere embedding for face
    verification", ACM Multimedia.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D) to logits (B, K)."""
        return SCALE * F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))


class SignNet(Network):
    """Five convolutions, two of them residual, and a linear layer to the features."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 40,
        width: int = 32,
        features: int = 128,
    ) -> None:
        super().__init__()
        self.num_features = features
        self.stem = _normed(nn.Conv2d(in_channels, width, 5, stride=2, padding=2, bias=False))
        self.narrow = _halved(width, 2 * width)
        self.refine = _normed(nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False))
        self.wide = _halved(2 * width, 4 * width)
        self.refine_wide = _normed(nn.Conv2d(4 * width, 4 * width, 3, padding=1, bias=False))
        side = (image_size + 1) // 2 // 2 // 2
        self.project = nn.Linear(4 * width * side * side, features)
        self.head = CosineHead(features, num_classes, bias=False)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D)."""
        x = F.relu(self.stem(images))  # (B, W, S / 2, S / 2)
        x = F.relu(self.narrow(x))  # (B, 2 W, S / 4, S / 4)
        x = F.relu(x + self.refine(x))
        x = F.relu(self.wide(x))  # (B, 4 W, S / 8, S / 8)
        x = F.relu(x + self.refine_wide(x))
        features: Tensor = self.project(x.flatten(1))
        return features


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))


def _halved(narrow: int, wide: int) -> nn.Sequential:
    """Pool before the normalisation, which then processes a quarter of the values."""
    convolution = nn.Conv2d(narrow, wide, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.MaxPool2d(2), nn.BatchNorm2d(wide))
