"""Report 1's network F: three convolutional blocks and global average pooling.

Source: the report's code, where it is the comparison with network A.
Shapes: B images, C channels, S the image side, K classes.
"""

from torch import Tensor, nn

from siglum.errors import ConfigError
from siglum.lab.models.conv_transformer import ConvBlock


class ConvPool(nn.Module):
    """Network F: 100,670 parameters at 1 channel and 62 classes, at any image size."""

    num_features = 128

    def __init__(self, num_classes: int, in_channels: int = 1, image_size: int = 200) -> None:
        super().__init__()
        if image_size < 8:
            raise ConfigError(f"size must be at least 8 for conv_pool, got {image_size}.")
        self.blocks = nn.Sequential(
            ConvBlock(in_channels, 32), ConvBlock(32, 64), ConvBlock(64, self.num_features)
        )
        self.head = nn.Linear(self.num_features, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, 128)."""
        features: Tensor = self.blocks(images).mean(dim=(2, 3))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to logits (B, K)."""
        logits: Tensor = self.head(self.forward_features(images))
        return logits
