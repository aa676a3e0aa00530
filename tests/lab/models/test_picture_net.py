import pytest
import torch

from siglum.errors import ConfigError
from siglum.lab import models
from siglum.lab.models.picture_net import PictureNet


def test_width_multiplies_the_filters() -> None:
    def counted(width: int) -> int:
        total = 9 * width + 2 * width
        for _ in range(3):
            total += 9 * width * 2 * width + 2 * 9 * (2 * width) ** 2 + 3 * 2 * 2 * width
            width *= 2
        return total + (width + 1) * 10

    for width in (1, 8, 32):
        model = models.build("picture_net", 10, options={"width": width})

        assert models.count_parameters(model) == counted(width)
        assert model.num_features == 8 * width


def test_a_picture_and_its_mirror_image_are_one_with_mirror() -> None:
    """In evaluation alone: the features are the mean of both."""
    torch.manual_seed(0)
    model = PictureNet(5, width=4, mirror=True).eval()
    plain = PictureNet(5, width=4).eval()
    plain.load_state_dict(model.state_dict())
    images = torch.rand(3, 1, 28, 28)

    torch.testing.assert_close(model(images), model(images.flip(-1)))
    torch.testing.assert_close(model(images), (plain(images) + plain(images.flip(-1))) / 2)
    assert not torch.allclose(plain(images), plain(images.flip(-1)))
    torch.testing.assert_close(model.train()(images), plain.train()(images))


@pytest.mark.parametrize(
    ("size", "width", "message"),
    [
        (7, 8, "size must be at least 8 for picture_net, got 7."),
        (28, 0, "width must be at least 1, got 0."),
    ],
)
def test_refuses_what_it_cannot_be(size: int, width: int, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        PictureNet(10, 1, size, width)

    assert str(error.value) == message
