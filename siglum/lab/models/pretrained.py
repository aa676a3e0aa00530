"""Networks for trained weights: those of the included backbone, and those of torchvision."""

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.lab.models.layers import Dropout, Network

SCALE = 10.0  # of features of length 1, so that each of the 128 numbers is about 1
FEATURES = 128  # of each network
POSITION = 8.0  # weight of the further channels: more numbers say what the ink looks like


class Branch(nn.Module):
    """Five convolutions, three of which halve the map, and a linear layer to the features."""

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 5, stride=2, padding=2)
        self.narrow = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.refine = nn.Conv2d(64, 64, 3, padding=1)
        self.wide = nn.Conv2d(64, 128, 3, stride=2, padding=1)
        self.refine_wide = nn.Conv2d(128, 128, 3, padding=1)
        self.project = nn.Linear(128 * (-(-image_size // 8)) ** 2, FEATURES)

    def forward(self, ink: Tensor) -> Tensor:
        """Map ink (B, 1, S, S) to features (B, D) of length 1."""
        x = F.relu(self.narrow(F.relu(self.stem(ink))))
        x = F.relu(x + self.refine(x))
        x = F.relu(self.wide(x))
        x = F.relu(x + self.refine_wide(x))
        return F.normalize(self.project(x.flatten(1)).float(), dim=1)


class SignNet(Network):
    """The backbone, two networks side by side: 2,161,280 parameters at 1x56x56, and the head.

    Its batch normalisations are folded into the convolutions; the recipe trains the head alone. The
    mean of each further channel, such as the position channels, is a feature, too.
    """

    def __init__(
        self, num_classes: int, in_channels: int = 1, image_size: int = 56, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(Branch(image_size) for _ in range(2))
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(2 * FEATURES + in_channels - 1, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D)."""
        ink, position = images[:, :1], images[:, 1:].mean(dim=(2, 3))
        features = torch.cat([network(ink) for network in self.networks], dim=1)
        return torch.cat([self.dropout(SCALE * features), POSITION * position], dim=1)


def included_weights() -> dict[str, Tensor]:
    """Return the weights of the included backbone, which has no head."""
    import onnx

    from siglum.recogniser.predict import default_backbone

    graph = onnx.load_from_string(default_backbone().bundle.model).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {}
    for name, array in arrays.items():
        if name.endswith(".int8"):
            array, name = array * arrays[name.replace(".int8", ".scale")], name[: -len(".int8")]
        elif not name.endswith("bias"):
            continue
        # "refine.0.0.weight_bias" is the bias of our `refine`.
        name = re.sub(r"(?<=[a-z])(\.0)+(?=\.weight)", "", name).replace("weight_bias", "bias")
        weights[name] = torch.tensor(array)
    return weights


class TorchvisionNetwork(Network):
    """A network's convolutions, average pooling, and report 2's head, with batch normalisation.

    A grey image fills all three colour channels, so weights trained on colour images apply
    unchanged. All parts but the head have torchvision's names, so its files of weights fit. The
    networks halve images five times; the recipe's `size` scales 28 px up to 64.

    Sources: He, Zhang, Ren, Sun 2015, "Deep residual learning for image recognition",
    arXiv:1512.03385; Simonyan, Zisserman 2014, "Very deep convolutional networks for large-scale
    image recognition", arXiv:1409.1556.
    """

    def __init__(
        self, name: str, num_classes: int, in_channels: int = 1, image_size: int = 64
    ) -> None:
        super().__init__()
        from torchvision.models import get_model  # takes a second to import

        for part, module in get_model(name, weights=None).named_children():
            if part not in ("avgpool", "classifier", "fc"):
                self.add_module(part, module)
        features = 0
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                features = layer.out_channels  # of the last
            elif isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 0.1  # MobileNet's 0.01 needs more than a few hundred steps
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        last = nn.Linear(features, num_classes)
        self.head = nn.Sequential(nn.BatchNorm1d(features), Dropout(0.5), last)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D)."""
        return super().forward_features(images.expand(-1, 3, -1, -1))  # a view


class MobileNetV3(TorchvisionNetwork):
    """Small has 933,930 parameters at 10 classes, Large 2,983,482.

    `pad_below` moves a row of padding of strided convolutions from above to below: for TensorFlow's
    weights with mirrored kernels.

    Source: Howard and others 2019, "Searching for MobileNetV3", arXiv:1905.02244.
    """

    def __init__(
        self,
        name: str,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 64,
        pad_below: bool = False,
    ) -> None:
        super().__init__(name, num_classes, in_channels, image_size)
        for conv in self.modules():
            if pad_below and isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
                shift_padding(conv)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D)."""
        # The bfloat16 gradient of a depthwise convolution is ten times slower on a CPU.
        with torch.autocast(images.device.type, enabled=False):
            return super().forward_features(images)


def shift_padding(conv: nn.Conv2d) -> None:
    """Pad a strided convolution above and below as TensorFlow does.

    TensorFlow pads an even side by k - 2 in total, the smaller half first; torch by k // 2 at both
    ends. Mirrored kernels undo the difference horizontally, but not vertically.
    """
    kernel = conv.kernel_size[0]
    conv.padding = (0, int(conv.padding[1]))
    padding = (0, 0, (kernel - 2) // 2, (kernel - 1) // 2)  # left, right, above, below
    conv.register_forward_pre_hook(lambda _, inputs: F.pad(inputs[0], padding))
