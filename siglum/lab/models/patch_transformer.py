"""A transformer for small images: overlapping patches are the tokens of a pre-norm encoder.

Source: Dosovitskiy and others 2021, "An image is worth 16x16 words", arXiv:2010.11929. Pre-norm:
Xiong and others 2020, "On layer normalization in the transformer architecture", arXiv:2002.04745.
Shapes: B images, C channels, S the image side, T tokens, D their width, K classes.
"""

import torch
from torch import Tensor, nn

from siglum.errors import ConfigError, choose
from siglum.lab.models.layers import Dropout, Network, check_minimum, encoder_layer, request_weights

POOLS = {"mean": "the mean over the patches", "class": "a class token"}
CHUNK = 8  # images through the encoder at a time: their attention remains in the cache


class PatchTransformer(Network):
    """Patches, an encoder, an MLP head: 104,842 parameters at 1x28x28 and 10 classes.

    Patches have `patch` px every `stride` px; `mlp` is the width of the hidden layers. `dropout`
    applies to the hidden layers and to what is added to the tokens, not to the attention weights.
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
            layer.self_attn.dropout = 0.0
            # On a CPU, torch's fused attention takes three times as long for heads this small.
            request_weights(layer.self_attn)
        self.encoder = nn.Sequential(*layers, nn.LayerNorm(dim))
        self.head = nn.Sequential(
            nn.Linear(dim, mlp), nn.GELU(), Dropout(dropout), nn.Linear(mlp, num_classes)
        )

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
