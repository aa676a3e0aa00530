import pytest
import torch

from siglum.errors import ConfigError
from siglum.lab import models


def test_width_multiplies_the_filters_and_1_is_the_network_as_it_was() -> None:
    """Three inputs more a filter of 25 weights; 62 classes; 3 x 3 cells of features at 28 px."""

    def counted(width: int) -> int:
        first, second, third = 16 * width, 32 * width, 64 * width
        kernels = 25 * 4 * first + 9 * first * second + 9 * second * third
        return kernels + 2 * (first + second + third) + (9 * third + 1) * 62

    for width in (1, 2, 3):
        model = models.build("glyph_net", 62, in_channels=4, options={"width": width})

        assert models.count_parameters(model) == counted(width)
        assert model(torch.zeros(2, 4, 28, 28)).shape == (2, 62)


def test_dropout_is_for_training_alone() -> None:
    torch.manual_seed(0)
    model = models.build("glyph_net", 5, options={"dropout": 0.5})
    images = torch.rand(8, 1, 28, 28)

    dropped = (model.forward_features(images) == 0).float().mean()
    kept = (model.eval().forward_features(images) == 0).float().mean()

    assert dropped > kept + 0.15  # half of what is not 0 already
    assert torch.equal(model(images), model(images))
    assert models.count_parameters(model) == models.count_parameters(models.build("glyph_net", 5))


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(dropout: float) -> None:
    with pytest.raises(ConfigError, match=rf"^dropout must be in \[0, 1\), got {dropout}\.$"):
        models.build("glyph_net", 10, options={"dropout": dropout})


@pytest.mark.parametrize("width", [0, -2])
def test_a_network_without_filters_is_refused(width: int) -> None:
    with pytest.raises(ConfigError, match=rf"^width must be at least 1, got {width}\.$"):
        models.build("glyph_net", 10, options={"width": width})
