"""The backbone: a class is a direction."""

import pytest
import torch

from siglum.errors import ConfigError
from siglum.lab.models.sign_net import SCALE, SignNet


def test_logits_are_scaled_cosines() -> None:
    model = SignNet(5).eval()
    images = torch.rand(3, 1, 40, 40)
    features, vectors = model.forward_features(images), model.head.weight

    expected = SCALE * torch.cosine_similarity(features[:, None], vectors[None], dim=2)
    torch.testing.assert_close(model(images), expected)


def test_longer_features_answer_the_same() -> None:
    head = SignNet(5, features=16).head
    features = torch.randn(4, 16)

    torch.testing.assert_close(head(3 * features), head(features))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 7}, "size must be at least 8 for sign_net, got 7."),
        ({"width": 0}, "width must be at least 1, got 0."),
        ({"features": 0}, "features must be at least 1, got 0."),
    ],
)
def test_refuses_what_it_cannot_be(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        SignNet(5, **options)

    assert str(error.value) == message
