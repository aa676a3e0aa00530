"""The network of report 2's first task, with kernel size and number of filters free.

The published network ends in a log-softmax and is trained on the negative log-likelihood; here it
ends in logits and is trained on the cross-entropy, which is the same.
Shapes: B images, C channels, S the side of the picture, K classes.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from siglum.errors import ConfigError
from siglum.lab.dropout import Dropout


class MnistNet(nn.Module):
    """Two convolutions and two linear layers: 54,840 parameters at 1x28x28 and 10 classes.

    The second convolution has twice as many filters as the first.
    """

    num_features = 50

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 28,
        kernel_size: int = 5,
        filters: int = 10,
    ) -> None:
        super().__init__()
        if filters < 1:
            raise ConfigError(f"filters must be at least 1, got {filters}.")
        if not 1 <= kernel_size <= image_size:
            raise ConfigError(
                f"kernel_size must be from 1 to the picture's {image_size} px, got {kernel_size}."
            )
        padding = kernel_size // 2
        self.conv1 = nn.Conv2d(in_channels, filters, kernel_size, padding=padding)
        self.conv2 = nn.Conv2d(filters, 2 * filters, kernel_size, padding=padding)
        self.dropout = Dropout(0.5)
        side = image_size
        for _ in range(2):
            side = (side + 2 * padding - kernel_size + 1) // 2
        self.hidden = nn.Linear(2 * filters * side * side, self.num_features)
        self.head = nn.Linear(self.num_features, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, 50)."""
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        x = F.relu(F.max_pool2d(self.dropout(self.conv2(x)), 2))
        return F.relu(self.hidden(x.flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to logits (B, K)."""
        logits: Tensor = self.head(self.forward_features(images))
        return logits
