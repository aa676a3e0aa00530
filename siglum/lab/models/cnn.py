"""A convolutional network with options; the three networks of report 2 are cases of it.

The published networks end in a log-softmax and minimise the negative log-likelihood; these end in
logits and minimise the cross-entropy, which is equal. The published programs also apply dropout in
evaluation; `dropout_at_test` does that.
"""

from torch import nn

from siglum.errors import ConfigError, choose
from siglum.lab.models.layers import Dropout, Network, check_minimum

POOLS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d, "none": nn.Identity}
ACTIVATIONS = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


class CNN(Network):
    """Convolutions with pooling, and two linear layers; by default `mnist_net`.

    The first convolution has `filters`, the n-th n * `growth`; all have `kernel_size`, k // 2 px of
    padding and `stride`. After each: pooling over `pool_size` px (for the first, `first_pool` and
    `first_pool_size` where they are set) and the activation. `dropout` applies to the output of the
    last convolution. `hidden` are the nodes between it and the head; 0 leaves that layer out.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 28,
        layers: int = 2,
        filters: int = 10,
        growth: int = 10,
        kernel_size: int = 5,
        stride: int = 1,
        pool: str = "max",
        pool_size: int = 2,
        first_pool: str = "",
        first_pool_size: int = 0,
        activation: str = "relu",
        batch_norm: bool = False,
        dropout: float = 0.5,
        dropout_at_test: bool = False,
        hidden: int = 50,
    ) -> None:
        super().__init__()
        check_minimum(1, layers=layers, filters=filters, growth=growth)
        check_minimum(1, kernel_size=kernel_size, stride=stride, pool_size=pool_size)
        check_minimum(0, first_pool_size=first_pool_size, hidden=hidden)
        activate = choose(ACTIVATIONS, activation, "activation")
        padding, side, channels = kernel_size // 2, image_size, in_channels
        for number in range(1, layers + 1):
            width = filters if number == 1 else number * growth
            kind, step = pool, pool_size
            if number == 1:
                kind, step = first_pool or pool, first_pool_size or pool_size
            side = (side + 2 * padding - kernel_size) // stride + 1
            side //= 1 if kind == "none" else step
            if side < 1:
                raise ConfigError(
                    f"layers, kernel_size, stride and pool_size must leave at least 1 px of the "
                    f"{image_size} px, got none after convolution {number} of {layers}."
                )
            conv = nn.Conv2d(channels, width, kernel_size, stride, padding)
            self.add_module(f"conv{number}", conv)
            if batch_norm:
                self.add_module(f"norm{number}", nn.BatchNorm2d(width))
            if number == layers:
                self.dropout = Dropout(dropout, dropout_at_test)
            self.add_module(f"pool{number}", choose(POOLS, kind, "pool")(step))
            self.add_module(f"{activation}{number}", activate())
            channels = width
        self.flatten = nn.Flatten()
        features = channels * side * side
        if hidden:
            self.hidden = nn.Linear(features, hidden)
            self.add_module(activation, activate())
        self.head = nn.Linear(hidden or features, num_classes)
