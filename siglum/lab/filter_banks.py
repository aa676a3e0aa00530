"""Filter banks as the filters of a network's first convolution: F filters of k x k, k >= 3."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.errors import ConfigError

Filters = NDArray[np.float64]


def gabor(number: int, size: int) -> Filters:
    """Return cosine waves under a Gaussian: wavelengths of 3 px to k in each orientation.

    Sources: Gabor 1946, "Theory of communication", Journal of the IEE 93; Daugman 1985,
    "Uncertainty relation for resolution in space, spatial frequency, and orientation optimized by
    two-dimensional visual cortical filters", Journal of the Optical Society of America A 2.
    """
    num_lengths = max(1, round(math.sqrt(number / 4))) if size > 3 else 1
    turns, index = np.divmod(np.arange(number)[:, None, None], num_lengths)
    angles = np.pi * turns / math.ceil(number / num_lengths)
    lengths = np.geomspace(3, size, num_lengths)[index]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    waves = np.cos(2 * np.pi * (x * np.cos(angles) + y * np.sin(angles)) / lengths)
    return np.asarray(waves * np.exp(-2 * (x**2 + y**2) / lengths**2))  # sigma: half a wavelength


def sobel(number: int, size: int) -> Filters:
    """Return derivatives in `number` directions of the full circle, the first to the right.

    Source: Sobel, Feldman 1968, "A 3x3 isotropic gradient operator for image processing".
    """
    smooth, slope = _masks(size)[:2]
    angles = 2 * np.pi * np.arange(number)[:, None, None] / number
    across, down = np.outer(smooth, slope), np.outer(slope, smooth)
    return np.asarray(np.cos(angles) * across + np.sin(angles) * down)


def laws(number: int, size: int) -> Filters:
    """Return products of level, edge, spot, wave and ripple masks, the smoothest first.

    After all k * k - 1 of them, they repeat with the opposite sign.

    Source: Laws 1980, "Textured image segmentation", University of Southern California.
    """
    masks, pairs = _masks(size), sorted(np.ndindex(size, size), key=sum)[1:]
    products = np.array([np.outer(masks[down], masks[across]) for down, across in pairs])
    turn, index = np.divmod(np.arange(number), len(pairs))
    return np.asarray((-1.0) ** turn[:, None, None] * products[index])


def _masks(size: int) -> list[NDArray[np.float64]]:
    """Return the binomial smoothing mask and its differences: for k = 5 Laws' L, E, S, W and R."""
    roots = ([-1] * (size - 1 - order) + [1] * order for order in range(size))
    return [np.asarray(np.poly(root)[::-1], np.float64) for root in roots]


FILTER_BANKS = {"gabor": gabor, "laws": laws, "sobel": sobel}


def filter_bank(model: nn.Module, name: str) -> dict[str, Tensor]:
    """Return the filters of a bank as the first convolution's weights, by their name.

    They have no mean, and the standard deviation of the random weights that they replace.
    """
    convolutions = ((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    path, conv = next(convolutions, ("", None))
    if conv is None or conv.kernel_size[0] != conv.kernel_size[1] or conv.kernel_size[0] < 3:
        raise ConfigError(f"init {name!r} needs a convolution with square filters of 3 px or more.")
    filters = torch.from_numpy(FILTER_BANKS[name](conv.out_channels, conv.kernel_size[0])).float()
    filters -= filters.mean(dim=(1, 2), keepdim=True)
    filters *= conv.weight.detach().std() / filters.std(dim=(1, 2), keepdim=True)
    return {f"{path}.weight": filters[:, None].repeat(1, conv.weight.shape[1], 1, 1)}
