"""Report 1's networks: A, convolutions and a Transformer encoder; F, convolutions and a mean.

Source: the report's code. Encoder: Vaswani and others 2017, "Attention is all you need",
arXiv:1706.03762, section 3.1, with the normalisation after each sum.
Shapes: B images, C channels, S the image side, T tokens (S / 32 squared), K classes.
"""

from itertools import pairwise, starmap

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.lab.models.layers import Dropout, Network, encoder_layer

CHUNK_BYTES = 20_000_000  # of a convolution's output
WIDTH = 512  # of a token
HALVINGS = 5


class ConvBlock(nn.Module):
    """3 x 3 convolution, ReLU, dropout 0.3, 2 x 2 max pooling: (B, C, S, S) to (B, D, S/2, S/2).

    A few images at a time, so that the large maps stay in the cache. ReLU comes last, on a quarter
    of the values: dropout and pooling do not change the sign.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.dropout = Dropout(0.3)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, S, S) to (B, D, S // 2, S // 2)."""
        if images.device.type != "cpu" or torch.compiler.is_compiling():
            return self._pool(images)
        size = max(1, CHUNK_BYTES // (4 * self.conv.out_channels * images[0, 0].numel()))
        return torch.cat([self._pool(chunk) for chunk in torch.split(images, size)])

    def _pool(self, images: Tensor) -> Tensor:
        return F.relu(F.max_pool2d(self.dropout(self.conv(images)), 2))


class ConvTransformer(Network):
    """Network A: 12,200,766 parameters at 1x200x200 and 62 classes.

    With `layers` = 0, a control, the head reads the cells directly, without positions.
    """

    def __init__(
        self, num_classes: int, in_channels: int = 1, image_size: int = 200, layers: int = 3
    ) -> None:
        super().__init__()
        widths = (in_channels, 32, 64, 128, 256, WIDTH)
        self.blocks = nn.Sequential(*starmap(ConvBlock, pairwise(widths)))
        self.columns = nn.Parameter(torch.rand(64, WIDTH // 2)) if layers else None
        self.rows = nn.Parameter(torch.rand(64, WIDTH // 2)) if layers else None
        self.encoder = nn.Sequential(*(encoder_layer(WIDTH, 8, 2048, 0.1) for _ in range(layers)))
        self.head = nn.Linear(WIDTH * (image_size >> HALVINGS) ** 2, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, 512 T), of tokens (B, T, 512) row by row."""
        cells = self.blocks(images)
        height, width = cells.shape[2:]
        tokens = cells.flatten(2).transpose(1, 2)
        if self.columns is not None and self.rows is not None:
            across = self.columns[:width].expand(height, -1, -1)
            down = self.rows[:height, None].expand(-1, width, -1)
            tokens = tokens + torch.cat([across, down], dim=2).flatten(0, 1)
        return self.encoder(tokens).flatten(1)  # type: ignore[no-any-return]


class ConvPool(Network):
    """Network F: 100,670 parameters at 1 channel and 62 classes, at any image size."""

    def __init__(self, num_classes: int, in_channels: int = 1, image_size: int = 200) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*starmap(ConvBlock, pairwise((in_channels, 32, 64, 128))))
        self.head = nn.Linear(128, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, 128)."""
        features: Tensor = self.blocks(images).mean(dim=(2, 3))
        return features
