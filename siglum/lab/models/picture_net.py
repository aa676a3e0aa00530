"""A residual network of our own for small pictures of things, such as Fashion-MNIST's clothes.

What suits a CPU: 3 x 3 convolutions of many channels, which it multiplies fastest, and a maximum
before batch normalisation and ReLU wherever the picture is halved, so that they see a quarter of
the values.
Shapes: B images, C channels, S the side of the picture, K classes, D features.

Source: the layout is that of David Page 2018, "How to train your ResNet", with half the filters,
a residual pair in every stage, and the mean over the picture for its maximum.
"""

from torch import Tensor, nn

from siglum.errors import ConfigError

HALVINGS = 3


class ConvNorm(nn.Module):
    """3 x 3 convolution, 2 x 2 maximum if `pool`, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, pool: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.norm = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, S, S) to (B, D, S, S), or half as wide with `pool`."""
        seen: Tensor = self.relu(self.norm(self.pool(self.conv(images))))
        return seen


class Residual(nn.Module):
    """Two convolutions whose outcome is added to what went in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = ConvNorm(channels, channels), ConvNorm(channels, channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, D, S, S) to the same shape."""
        added: Tensor = images + self.second(self.first(images))
        return added


class PictureNet(nn.Module):
    """A stem and three stages of three convolutions: 1,940,970 parameters at 1x28x28, 10 classes.

    The stem has `width` filters and each stage twice as many as what is before it. With `mirror`,
    the features of a picture are, in evaluation, the mean of its own and its mirror image's: for
    things that are the same from left and right, and not for characters.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 28,
        width: int = 32,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        if width < 1:
            raise ConfigError(f"width must be at least 1, got {width}.")
        if image_size < 2**HALVINGS:
            raise ConfigError(
                f"size must be at least {2**HALVINGS} for picture_net, got {image_size}."
            )
        self.mirror = mirror
        self.stem = ConvNorm(in_channels, width)
        self.stages = nn.Sequential()
        for _ in range(HALVINGS):
            self.stages.append(
                nn.Sequential(ConvNorm(width, 2 * width, pool=True), Residual(2 * width))
            )
            width *= 2
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.num_features = width
        self.head = nn.Linear(width, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D)."""
        features = self._seen(images)
        if self.mirror and not self.training:
            features = (features + self._seen(images.flip(-1))) / 2
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to logits (B, K)."""
        logits: Tensor = self.head(self.forward_features(images))
        return logits

    def _seen(self, images: Tensor) -> Tensor:
        seen: Tensor = self.pool(self.stages(self.stem(images))).flatten(1)
        return seen
