"""The three networks of report 2, with any kernel size and number of filters.

The published networks end in a log-softmax and minimise the negative log-likelihood; these end in
logits and minimise the cross-entropy, which is equal. The published programs also apply dropout in
evaluation; `dropout_at_test` does that.
"""

from typing import ClassVar

from torch import nn

from siglum.lab.models.layers import Dropout, Network


class MnistNet(Network):
    """Two convolutions and two linear layers: 54,840 parameters at 1x28x28 and 10 classes.

    `kernel_size` applies to every convolution, with k // 2 px of padding; `filters` to the first.
    """

    later: ClassVar[tuple[int, ...]] = (20,)  # filters of the convolutions after the first
    first_pool: ClassVar[tuple[type[nn.Module], int]] = (nn.MaxPool2d, 2)  # and its side, px

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 28,
        kernel_size: int = 5,
        filters: int = 10,
        dropout_at_test: bool = False,
    ) -> None:
        super().__init__()
        padding, side, channels = kernel_size // 2, image_size, in_channels
        for number, width in enumerate((filters, *self.later), start=1):
            conv = nn.Conv2d(channels, width, kernel_size, padding=padding)
            self.add_module(f"conv{number}", conv)
            if number > len(self.later):
                self.dropout = Dropout(0.5, at_test=dropout_at_test)
            pool, step = self.first_pool if number == 1 else (nn.MaxPool2d, 2)
            self.add_module(f"pool{number}", pool(step))
            self.add_module(f"relu{number}", nn.ReLU())
            side, channels = (side + 2 * padding - kernel_size + 1) // step, width
        self.flatten = nn.Flatten()
        self.hidden = nn.Linear(channels * side * side, 50)
        self.relu = nn.ReLU()
        self.head = nn.Linear(50, num_classes)


class MnistNet2(MnistNet):
    """Three convolutions and two linear layers: 34,370 parameters at 1x28x28 and 10 classes."""

    later = (20, 30)


class MnistNet3(MnistNet):
    """Two convolutions, the first pooled by the mean of 3x3 px: 21,840 parameters."""

    first_pool = (nn.AvgPool2d, 3)
