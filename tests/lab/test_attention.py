"""Attention as it is looked at is attention as it is computed."""

import pytest
import torch
from torch import Tensor

from siglum.lab import models
from siglum.lab.examine.attention import attention, received
from siglum.lab.examine.subject import DoesNotApplyError
from siglum.lab.models.conv_transformer import ConvTransformer


@pytest.fixture
def model() -> ConvTransformer:
    torch.manual_seed(0)
    return ConvTransformer(5, 1, 64).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def test_every_cell_takes_1_in_all(model: ConvTransformer, images: Tensor) -> None:
    weights = attention(model, images)

    assert weights.shape == (3, 3, 8, 4, 4)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 3, 8, 4))
    torch.testing.assert_close(received(weights).mean(dim=-1), torch.ones(3, 3, 8))


def test_without_queries_attention_is_even(model: ConvTransformer, images: Tensor) -> None:
    """With all query weights 0 every score is 0, so that each cell takes from all alike."""
    for layer in model.encoder:
        layer.attention.in_proj_weight.data[:512] = 0
        layer.attention.in_proj_bias.data[:512] = 0

    weights = attention(model, images)
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / 4))
    torch.testing.assert_close(received(weights), torch.ones(3, 3, 8, 4))


def test_it_is_the_softmax_of_the_scaled_products(model: ConvTransformer, images: Tensor) -> None:
    tokens, layer = model.tokens(images), model.encoder[0].attention
    query, key, _ = torch.nn.functional.linear(
        tokens, layer.in_proj_weight, layer.in_proj_bias
    ).chunk(3, dim=-1)
    query, key = (x.view(3, 4, 8, 64).transpose(1, 2) for x in (query, key))

    expected = (query @ key.transpose(-1, -2) / 64**0.5).softmax(dim=-1)
    torch.testing.assert_close(attention(model, images)[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("network", ["glyph_net", "conv_transformer"])
def test_a_network_without_attention_is_refused(network: str, images: Tensor) -> None:
    options = {"layers": 0} if network == "conv_transformer" else {}
    model = models.build(network, 5, 1, 64, options)
    message = (
        "Attention can be shown of networks that have it, such as conv_transformer; "
        f"{type(model).__name__} has none."
    )
    with pytest.raises(DoesNotApplyError) as error:
        attention(model, images)

    assert str(error.value) == message


def test_torchs_own_encoder_can_be_looked_into() -> None:
    """Its quick way in evaluation never calls the modules that attend."""
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    weights = attention(torch.nn.TransformerEncoder(layer, 3), torch.rand(2, 9, 8))

    assert weights.shape == (3, 2, 2, 9, 9)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 2, 2, 9))
    assert torch.backends.mha.get_fastpath_enabled()
