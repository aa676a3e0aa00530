"""Report 1's networks: what they compute, against torch written plainly."""

import pytest
import torch
from torch import Tensor, nn

from siglum.lab.models.conv_transformer import ConvBlock, ConvPool, ConvTransformer


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
