"""Transformers for images: report 1's, after convolutions, with its control, and one over patches.

Shapes: B images, C channels, S the image side, T tokens, D their width, K classes.
"""

from itertools import pairwise, starmap

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.errors import ConfigError, choose
from siglum.lab.models.layers import Attention, Dropout, Network, check_minimum, encoder_layer

CHUNK_BYTES = 20_000_000  # of a convolution's output
WIDTH = 512  # of a token
HALVINGS = 5
POOLS = {"mean": "the mean over the patches", "class": "a class token"}
CHUNK = 8  # images through the encoder at a time: their attention remains in the cache


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
    """Network A: convolutions and an encoder, 12,200,766 parameters at 1x200x200 and 62 classes.

    With `layers` = 0, a control, the head reads the cells directly, without positions.

    Source: report 1's code. Encoder: Vaswani and others 2017, "Attention is all you need",
    arXiv:1706.03762, section 3.1, with the normalisation after each sum.
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
    """Network F: convolutions and a mean, 100,670 parameters at 1 channel and 62 classes."""

    def __init__(self, num_classes: int, in_channels: int = 1, image_size: int = 200) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*starmap(ConvBlock, pairwise((in_channels, 32, 64, 128))))
        self.head = nn.Linear(128, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, 128)."""
        features: Tensor = self.blocks(images).mean(dim=(2, 3))
        return features


class PatchTransformer(Network):
    """Patches, a pre-norm encoder, an MLP head: 104,842 parameters at 1x28x28 and 10 classes.

    Patches have `patch` px every `stride` px; `mlp` is the width of the hidden layers. `dropout`
    applies to the hidden layers and to what is added to the tokens, not to the attention weights.

    Source: Dosovitskiy and others 2021, "An image is worth 16x16 words", arXiv:2010.11929. Xiong
    and others 2020, "On layer normalization in the transformer architecture", arXiv:2002.04745.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 28,
        patch: int = 4,
        stride: int = 2,
        dim: int = 48,
        depth: int = 4,
        heads: int = 8,
        mlp: int = 128,
        dropout: float = 0.1,
        pool: str = "mean",
    ) -> None:
        super().__init__()
        choose(POOLS, pool, "pool")
        check_minimum(1, patch=patch, stride=stride, dim=dim, heads=heads, mlp=mlp)
        check_minimum(0, depth=depth)
        if patch > image_size:
            raise ConfigError(f"patch must be at most the image side {image_size}, got {patch}.")
        if dim % heads:
            raise ConfigError(f"heads must divide dim {dim}, got {heads}.")
        side = (image_size - patch) // stride + 1
        self.embed = nn.Conv2d(in_channels, dim, patch, stride)
        self.positions = nn.Parameter(0.02 * torch.randn(side * side, dim))
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim)) if pool == "class" else None
        options = {"activation": "gelu", "norm_first": True}
        layers = [encoder_layer(dim, heads, mlp, dropout, **options) for _ in range(depth)]
        for layer in layers:
            layer.self_attn = Attention(dim, heads, batch_first=True)
        self.encoder = nn.Sequential(*layers, nn.LayerNorm(dim))
        hidden, last = nn.Linear(dim, mlp), nn.Linear(mlp, num_classes)
        self.head = nn.Sequential(hidden, nn.GELU(), Dropout(dropout), last)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D), of tokens (B, T, D) row by row."""
        tokens = self.embed(images).flatten(2).transpose(1, 2) + self.positions
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        if images.device.type != "cpu" or torch.compiler.is_compiling():
            tokens = self.encoder(tokens)
        else:
            tokens = torch.cat([self.encoder(chunk) for chunk in torch.split(tokens, CHUNK)])
        features: Tensor = tokens.mean(dim=1) if self.class_token is None else tokens[:, 0]
        return features
