"""Baselines without depth: one decision over fixed features, fitted to all images in one call.

They do not augment, and the seed decides the split alone.
Shapes: N training images, B images, C channels, S the side, D features, K classes.
"""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siglum.errors import ConfigError
from siglum.lab.models.layers import Fitted

CHUNK = 256  # images at once: their distances to 54,000 others take 55 MB
ABSENT = -1e4  # logit of a class without training images; its probability remains finite
MAX_STEPS = 200  # of L-BFGS


class LinearBaseline(Fitted):
    """Fixed features and a linear head, which `solve` computes from the features."""

    head: nn.Linear

    def __init__(self, features: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(num_features, num_classes)

    def solve(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight (K, D) and bias (K,) for features (N, D) with all labels 0 to K - 1."""
        raise NotImplementedError

    @torch.no_grad()
    def fit(self, images: Tensor, labels: Tensor) -> None:
        """Fit the head to images (N, C, S, S) with labels (N,)."""
        features = torch.cat([self.forward_features(chunk) for chunk in torch.split(images, CHUNK)])
        present = torch.bincount(labels).nonzero()[:, 0]  # classes that have images
        if len(present) < 2:
            raise ConfigError("A baseline needs training images of at least 2 classes, got 1.")
        weight, bias = self.solve(features, torch.searchsorted(present, labels))
        self.head.weight.zero_()[present] = weight.to(self.head.weight)
        self.head.bias.fill_(ABSENT)[present] = bias.to(self.head.bias)


class NearestMean(LinearBaseline):
    """Predicts the class whose mean image is nearest, which is exactly linear.

    The probabilities are those of normal classes with one variance, of all pixels and classes.
    """

    def __init__(self, num_classes: int, in_channels: int = 1, image_size: int = 28) -> None:
        super().__init__(nn.Flatten(), in_channels * image_size**2, num_classes)

    def solve(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight and bias: -|x - mean|² / (2 variance) without its term |x|²."""
        classes = range(int(labels.max()) + 1)
        means = torch.stack([features[labels == k].mean(dim=0) for k in classes])
        pairs = zip(torch.split(features, CHUNK), torch.split(labels, CHUNK), strict=True)
        squares = sum(float((chunk - means[rows]).square().sum()) for chunk, rows in pairs)
        variance = squares / features.numel() or 1.0
        return means / variance, -means.square().sum(dim=1) / (2 * variance)


class LogisticRegression(LinearBaseline):
    """Multinomial logistic regression on pixels; `c` is the inverse of its L2 regularisation."""

    def __init__(
        self, num_classes: int, in_channels: int = 1, image_size: int = 28, c: float = 0.01
    ) -> None:
        super().__init__(nn.Flatten(), in_channels * image_size**2, num_classes)
        self.c = _check_positive("c", c)

    def solve(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight and bias by at most 200 steps of L-BFGS."""
        from sklearn import linear_model

        model = linear_model.LogisticRegression(C=self.c, max_iter=MAX_STEPS)
        return _coefficients(model, features, labels)


class HogSvm(LinearBaseline):
    """A linear support vector machine for each class on histograms of oriented gradients.

    Its margins are the logits, so probabilities are not calibrated. `cells` is their number along
    each side of the image, `c` the inverse of the regularisation.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1,
        image_size: int = 28,
        cells: int = 7,
        c: float = 0.1,
    ) -> None:
        if not 2 <= cells <= image_size:
            rule = f"cells must be at least 2 and at most the side {image_size}"
            raise ConfigError(f"{rule}, got {cells}.")
        cell = image_size // cells
        super().__init__(Hog(cell), 36 * (image_size // cell - 1) ** 2, num_classes)
        self.c = _check_positive("c", c)

    def solve(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight and bias of LIBLINEAR, with the squared hinge loss."""
        from sklearn.svm import LinearSVC

        return _coefficients(LinearSVC(C=self.c, dual=False, random_state=0), features, labels)


class Hog(nn.Module):
    """Histograms of oriented gradients: 9 directions without sign, blocks of 2 x 2 cells, L2-Hys.

    Source: Dalal, Triggs 2005, "Histograms of oriented gradients for human detection".
    """

    def __init__(self, cell: int) -> None:
        super().__init__()
        self.cell = cell  # side, px

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, S, S) to (B, 36 M), of M overlapping blocks."""
        down = F.pad(images[:, :, 2:] - images[:, :, :-2], (0, 0, 1, 1))
        right = F.pad(images[:, :, :, 2:] - images[:, :, :, :-2], (1, 1))
        squares, colour = (down.square() + right.square()).max(dim=1, keepdim=True)
        down, right = down.gather(1, colour)[:, 0], right.gather(1, colour)[:, 0]
        directions = (torch.atan2(down, right) / torch.pi % 1 * 9).long().clamp(max=8)
        lengths = squares.clamp(min=1e-24).sqrt()  # the gradient of the root of 0 is infinite
        votes = F.one_hot(directions, 9).movedim(3, 1) * lengths
        cells = F.avg_pool2d(votes, self.cell)
        blocks = F.unfold(cells, 2)  # (B, 36, M)
        for limit in (0.2, 1.0):
            scale = (blocks.square().sum(dim=1, keepdim=True) + 1e-10).sqrt()
            blocks = (blocks / scale).clamp(max=limit)
        return blocks.flatten(1)


class NearestNeighbours(Fitted):
    """Predicts the commonest class among the `k` nearest training images, which it stores."""

    head: "Neighbours"

    def __init__(
        self, num_classes: int, in_channels: int = 1, image_size: int = 28, k: int = 5
    ) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.head = Neighbours(in_channels * image_size**2, num_classes, _check_positive("k", k))

    @torch.no_grad()
    def fit(self, images: Tensor, labels: Tensor) -> None:
        """Store images (N, C, S, S) with labels (N,)."""
        self.head.images = nn.Parameter(images.flatten(1).to(self.head.images))
        self.head.labels = labels.to(self.head.labels)


class Neighbours(nn.Module):
    """The shares of the classes among the nearest vectors, by Euclidean distance.

    One further neighbour, split evenly over all classes, keeps their logarithms finite.
    """

    labels: Tensor

    def __init__(self, num_features: int, num_classes: int, k: int) -> None:
        super().__init__()
        self.num_classes, self.k = num_classes, k
        self.images = nn.Parameter(torch.zeros(num_classes, num_features))
        self.register_buffer("labels", torch.arange(num_classes))
        self.register_load_state_dict_pre_hook(_resize)  # type: ignore[no-untyped-call]

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, D) to log-probabilities (B, K)."""
        if torch.compiler.is_compiling():
            return self._log_shares(features)
        return torch.cat([self._log_shares(chunk) for chunk in torch.split(features, CHUNK)])

    def _log_shares(self, features: Tensor) -> Tensor:
        distances = self.images.square().sum(dim=1) - 2 * features @ self.images.T  # without |x|²
        k = min(self.k, len(self.images))
        nearest = self.labels[distances.topk(k, largest=False).indices]
        counts = F.one_hot(nearest, self.num_classes).sum(dim=1)
        return ((counts + 1 / self.num_classes) / (k + 1)).log()


def _resize(module: Neighbours, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Make room for the number of images that the stored state has."""
    if (labels := state.get(f"{prefix}labels")) is not None:
        module.images = nn.Parameter(module.images.new_empty(len(labels), module.images.shape[1]))
        module.labels = module.labels.new_empty(len(labels))


def _check_positive(name: str, value: Any) -> Any:
    if value <= 0:
        raise ConfigError(f"{name} must be above 0, got {value}.")
    return value


def _coefficients(model: Any, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Fit a linear classifier of scikit-learn; of two classes, it has coefficients for one."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        model.fit(features.numpy(), labels.numpy())
    weight, bias = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
    if len(weight) == 1:
        return torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    return weight, bias
