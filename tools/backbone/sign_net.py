"""The backbone: its features separate characters that it was not trained on.

The head computes cosines between features and class vectors, so the mean of a few images' features
can serve as the vector of a new class.
"""

import torch
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


def margin_loss(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, margin: float = 0.0
) -> Tensor:
    """Return the cross-entropy where the cosine of the right class counts less by `margin`.

    Source: Wang, Wang, Zhou, Ji, Gong, Zhou, Li, Liu 2018, "CosFace: large margin cosine loss for
    deep face recognition", CVPR.
    """
    rows = torch.arange(len(labels), device=labels.device)
    reduction = logits.new_full((len(labels),), -SCALE * margin)
    logits = logits.index_put((rows, labels), reduction, accumulate=True)
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)


class SignNet(Network):
    """A stem, two stages that halve the map and refine it, and a linear layer to the features.

    Args:
        width: channels of the stem; each stage doubles them.
        features: length of the features.
        blocks: residual convolutions of each stage.
        pool: 1 to halve maps by pooling, 0 by stride: half the time.
        norm: 1 to normalise the features over a batch.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 40,
        width: int = 32,
        features: int = 128,
        blocks: int = 1,
        pool: int = 1,
        norm: int = 0,
    ) -> None:
        super().__init__()
        self.num_features = features
        self.stem = _normed(in_channels, width, 5, stride=2)
        self.narrow = _halved(width, 2 * width, pool)
        self.refine = nn.ModuleList(_normed(2 * width, 2 * width, 3) for _ in range(blocks))
        self.wide = _halved(2 * width, 4 * width, pool)
        self.refine_wide = nn.ModuleList(_normed(4 * width, 4 * width, 3) for _ in range(blocks))
        side = (image_size + 1) // 2
        for _ in range(2):
            side = side // 2 if pool else (side + 1) // 2
        self.project = nn.Linear(4 * width * side * side, features)
        self.norm = nn.BatchNorm1d(features) if norm else nn.Identity()
        self.head = CosineHead(features, num_classes, bias=False)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D)."""
        x = F.relu(self.stem(images))  # (B, W, S / 2, S / 2)
        x = F.relu(self.narrow(x))  # (B, 2 W, S / 4, S / 4)
        for block in self.refine:
            x = F.relu(x + block(x))
        x = F.relu(self.wide(x))  # (B, 4 W, S / 8, S / 8)
        for block in self.refine_wide:
            x = F.relu(x + block(x))
        features: Tensor = self.norm(self.project(x.flatten(1)))
        return features


def _normed(narrow: int, wide: int, kernel: int, stride: int = 1) -> nn.Sequential:
    padding = kernel // 2
    convolution = nn.Conv2d(narrow, wide, kernel, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(wide))


def _halved(narrow: int, wide: int, pool: int) -> nn.Sequential:
    """Halve before the normalisation, which then processes a quarter of the values."""
    if not pool:
        return _normed(narrow, wide, 3, stride=2)
    convolution = nn.Conv2d(narrow, wide, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.MaxPool2d(2), nn.BatchNorm2d(wide))
