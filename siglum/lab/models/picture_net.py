"""A residual network for small photographs of objects, such as Fashion-MNIST.

Fast on a CPU: 3 x 3 convolutions of many channels, and max pooling before batch normalisation and
ReLU, which then process a quarter of the values.
Shapes: B images, C channels, S the image side, K classes, D features.

Source: David Page 2018, "How to train your ResNet", with half the filters, a residual pair in every
stage, and average instead of max pooling at the end.
"""

from torch import Tensor, nn

from siglum.errors import ConfigError

HALVINGS = 3


class ConvNorm(nn.Module):
    """3 x 3 convolution, 2 x 2 max pooling if `pool`, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, pool: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.norm = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, S, S) to (B, D, S, S), or (B, D, S/2, S/2) with `pool`."""
        return self.relu(self.norm(self.pool(self.conv(images))))  # type: ignore[no-any-return]


class Residual(nn.Module):
    """Two convolutions, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = ConvNorm(channels, channels), ConvNorm(channels, channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, D, S, S) to the same shape."""
        return images + self.second(self.first(images))  # type: ignore[no-any-return]


class PictureNet(nn.Module):
    """A stem and three stages of three convolutions: 1,940,970 parameters at 1x28x28, 10 classes.

    The stem has `width` filters, and every stage doubles them. With `mirror`, evaluation averages
    the features of an image and its mirror image: for photographs of objects, not for characters.
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
        features = self._features(images)
        if self.mirror and not self.training:
            features = (features + self._features(images.flip(-1))) / 2
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to logits (B, K)."""
        logits: Tensor = self.head(self.forward_features(images))
        return logits

    def _features(self, images: Tensor) -> Tensor:
        features: Tensor = self.pool(self.stages(self.stem(images))).flatten(1)
        return features
