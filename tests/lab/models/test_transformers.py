"""The transformers and report 1's control compute what plain torch computes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.lab.models.transformers import ConvBlock, ConvPool, ConvTransformer, PatchTransformer


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def plain_blocks(blocks: nn.Sequential) -> nn.Sequential:
    """The blocks as the report writes them, with the same weights and no dropout."""
    layers: list[nn.Module] = []
    for block in blocks:
        assert isinstance(block, ConvBlock)
        layers += [block.conv, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers)


def test_is_the_published_network_in_evaluation(images: Tensor) -> None:
    model = ConvTransformer(5, 1, 64).eval()
    assert model.columns is not None and model.rows is not None
    cells = plain_blocks(model.blocks)(images)  # (3, 512, 2, 2)
    tokens = [
        cells[:, :, y, x] + torch.cat([model.columns[x], model.rows[y]])
        for y in range(2)
        for x in range(2)
    ]
    encoded = model.encoder(torch.stack(tokens, dim=1))

    torch.testing.assert_close(model(images), model.head(encoded.flatten(1)), atol=2e-5, rtol=1e-4)


def test_encoder_can_be_left_out(images: Tensor) -> None:
    model = ConvTransformer(5, 1, 64, layers=0).eval()
    cells = plain_blocks(model.blocks)(images)

    expected = model.head(cells.flatten(2).transpose(1, 2).flatten(1))
    torch.testing.assert_close(model(images), expected)


def test_conv_pool_averages_over_the_image(images: Tensor) -> None:
    model = ConvPool(5, 1, 64).eval()

    expected = model.head(plain_blocks(model.blocks)(images).mean(dim=(2, 3)))
    torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize("pool", ["mean", "class"])
def test_patch_transformer_is_torchs_encoder_over_unfolded_patches(pool: str) -> None:
    """In evaluation, for more images than pass the encoder at once."""
    torch.manual_seed(0)
    images = torch.rand(11, 3, 21, 21)
    model = PatchTransformer(5, 3, 21, patch=5, stride=3, depth=2, pool=pool).eval()
    patches = F.unfold(images, 5, stride=3).transpose(1, 2)
    tokens = F.linear(patches, model.embed.weight.flatten(1), model.embed.bias) + model.positions
    if model.class_token is not None:
        tokens = torch.cat([model.class_token.expand(11, 1, 48), tokens], dim=1)
    for layer in model.encoder[:2]:
        plain = nn.TransformerEncoderLayer(
            48, 8, 128, activation="gelu", batch_first=True, norm_first=True
        )
        plain.load_state_dict(layer.state_dict())
        tokens = plain.eval()(tokens)
    tokens = model.encoder[2](tokens)

    assert tokens.shape == (11, 36 + (pool == "class"), 48)
    features = tokens[:, 0] if pool == "class" else tokens.mean(dim=1)
    torch.testing.assert_close(model(images), model.head(features))
