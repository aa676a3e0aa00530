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
from siglum.lab.models.layers import Fitted, check_minimum

LINEAR = ("hog_svm", "logistic_regression", "nearest_mean")
CHUNK = 256  # images at once: their distances to 54,000 others take 55 MB
CELLS = 7  # of histograms, along each side
ABSENT = -1e4  # logit of a class without training images; its probability remains finite


class LinearBaseline(Fitted):
    """A linear head over fixed features.

    "nearest_mean" predicts the class whose mean image is nearest; its probabilities are those of
    normal classes with one variance. "logistic_regression" takes at most 200 steps of L-BFGS.
    "hog_svm" is a support vector machine for each class over histograms of oriented gradients; its
    margins are the logits, so probabilities are not calibrated.
    """

    head: nn.Linear

    def __init__(
        self, kind: str, num_classes: int, in_channels: int = 1, image_size: int = 28
    ) -> None:
        super().__init__()
        self.kind, cell = kind, max(image_size // CELLS, 1)
        self.features = Hog(cell) if kind == "hog_svm" else nn.Flatten()
        num_features = self.features(torch.zeros(1, in_channels, image_size, image_size)).numel()
        self.head = nn.Linear(num_features, num_classes)

    @torch.no_grad()
    def fit(self, images: Tensor, labels: Tensor) -> None:
        """Fit the head to images (N, C, S, S) with labels (N,)."""
        features = torch.cat([self.features(chunk) for chunk in torch.split(images, CHUNK)])
        present = torch.bincount(labels).nonzero()[:, 0]
        if len(present) < 2:
            raise ConfigError("A baseline needs training images of at least 2 classes, got 1.")
        if self.kind == "nearest_mean":
            means = torch.stack([features[labels == k].mean(dim=0) for k in present])
            of_labels = means[torch.searchsorted(present, labels)]
            variance = (features - of_labels).square().mean().clamp(min=1e-12)
            # -|x - mean|² / (2 variance) without |x|², which is equal for all classes
            weight, bias = means / variance, -means.square().sum(dim=1) / (2 * variance)
        else:
            from sklearn.linear_model import LogisticRegression
            from sklearn.svm import LinearSVC

            model: Any = LogisticRegression(C=0.01, max_iter=200)
            if self.kind == "hog_svm":
                model = LinearSVC(C=0.1, dual=False, random_state=0)
            with warnings.catch_warnings(action="ignore"):  # of too few steps to converge
                model.fit(features.numpy(), labels.numpy())
            weight, bias = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
            if len(weight) == 1:  # for two classes
                weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        self.head.weight.zero_()[present] = weight.to(self.head.weight)
        self.head.bias.fill_(ABSENT)[present] = bias.to(self.head.bias)


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
        angles = torch.atan2(down.gather(1, colour), right.gather(1, colour))[:, 0]
        directions = (angles / torch.pi % 1 * 9).long().clamp(max=8)
        lengths = squares.clamp(min=1e-24).sqrt()  # the gradient of the root of 0 is infinite
        cells = F.avg_pool2d(F.one_hot(directions, 9).movedim(3, 1) * lengths, self.cell)
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
        check_minimum(1, k=k)
        self.flatten = nn.Flatten()
        self.head = Neighbours(in_channels * image_size**2, num_classes, k)

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
        k, squares, shares = min(self.k, len(self.images)), self.images.square().sum(dim=1), []
        for chunk in torch.split(features, CHUNK):
            distances = squares - 2 * chunk @ self.images.T  # without |x|²
            nearest = self.labels[distances.topk(k, largest=False).indices]
            counts = F.one_hot(nearest, self.num_classes).sum(dim=1)
            shares.append((counts + 1 / self.num_classes) / (k + 1))
        return torch.cat(shares).log()


def _resize(module: Neighbours, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Make room for as many images as the stored state has."""
    if (labels := state.get(f"{prefix}labels")) is not None:
        module.images = nn.Parameter(module.images.new_empty(len(labels), module.images.shape[1]))
        module.labels = module.labels.new_empty(len(labels))
