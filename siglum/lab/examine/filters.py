"""The filters of a convolution, and what each does to a picture by itself.

Shapes: F filters, C channels, h x w the kernel, S the side of the picture.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.lab.examine.layers import layers
from siglum.lab.examine.subject import DoesNotApplyError, Pictures, Subject, ink, taken


@dataclass(frozen=True, eq=False)
class Filters:
    """The weights of one convolution."""

    layer: str
    weights: NDArray[np.float32]  # (F, C, h, w)


@dataclass(frozen=True, eq=False)
class Effect:
    """One picture, and each filter's answer to it alone."""

    layer: str
    name: str  # of the picture
    picture: NDArray[np.float32]  # (C, S, S), in [0, 1]
    weights: NDArray[np.float32]  # (F, C, h, w)
    effects: NDArray[np.float32]  # (F, S, S)


def filters(subject: Subject) -> Filters:
    """Return the filters of `subject.layer`, by default of the first convolution.

    Raises:
        DoesNotApplyError: if the layer, or the network, has none.
    """
    found = _convolutions(subject)
    if subject.layer is None:
        if not found:
            raise DoesNotApplyError("The network has no convolution, so it has no filters.")
        layer = next(iter(found))
    elif subject.layer in found:
        layer = subject.layer
    else:
        listed = ", ".join(found) or "none"
        raise DoesNotApplyError(
            f"layer must have filters to show them ({listed}), got {subject.layer!r}."
        )
    return Filters(layer, found[layer].weight.detach().cpu().numpy())


def effect(subject: Subject) -> Effect:
    """Return what each filter that sees the picture makes of one: the first training picture's.

    A file is taken instead where one is given. The picture is ink between 0 and 1; nothing is added
    (no bias) and nothing cut off (no ReLU), so that what a filter does can be seen by itself.

    Raises:
        DoesNotApplyError: if the layer's filters see no picture.
    """
    found = filters(subject)
    channels = subject.preprocess.channels
    first = next(iter(_convolutions(subject)))
    if found.layer != first or found.weights.shape[1] < channels:
        raise DoesNotApplyError(
            f"layer must be the first convolution ({first}), whose filters see the picture itself, "
            f"got {found.layer!r}. 'maps' shows what comes out of the others."
        )
    chosen = _picture(subject)
    picture = ink(chosen, subject.preprocess)[0]
    weights = found.weights[:, :channels]
    answer = correlate(torch.from_numpy(picture), torch.from_numpy(weights))
    return Effect(found.layer, chosen.names[0], picture, weights, answer.numpy())


def correlate(picture: Tensor, weights: Tensor) -> Tensor:
    """Return what each filter sums up around every pixel, with paper (0) beyond the edge.

    Args:
        picture: float32 (C, S, S).
        weights: float32 (F, C, h, w).

    Returns:
        float32 (F, S, S).
    """
    height, width = weights.shape[2:]
    left, top = (width - 1) // 2, (height - 1) // 2
    padded = F.pad(picture, (left, width - 1 - left, top, height - 1 - top))
    return F.conv2d(padded[None], weights)[0]


def _picture(subject: Subject) -> Pictures:
    if subject.files:
        return subject.pictures(1)
    return taken(subject.data.train, np.array([0]), "training picture")


def _convolutions(subject: Subject) -> dict[str, nn.Conv2d]:
    """Return the convolutions in the order in which they are called."""
    modules = dict(subject.model.named_modules())
    called = [layer.name for layer in layers(subject.model, subject.shape)]
    found = {name: modules[name] for name in called if name in modules}
    return {name: module for name, module in found.items() if isinstance(module, nn.Conv2d)}
