"""The network of the included backbone in PyTorch, with a head for characters of one's own.

Its batch normalisations are folded into the convolutions. The recipe trains the head alone.
"""

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
    """Two networks side by side: 2,162,624 parameters at 1x56x56, and the head.

    The mean of each further channel, such as the position channels, is a feature, too.
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
