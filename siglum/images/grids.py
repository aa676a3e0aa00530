"""Arithmetic on whole grey pictures: sizes, means, extremes and smooth surfaces.

What depends on the size alone is a small matrix that is made once.
Shapes: H x W pixels as they are, h x w pixels as asked for.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.uint8]  # (H, W)
Shares = NDArray[np.floating]  # (H, W)
Surface = NDArray[np.floating]  # (3, 3): how much of each power of y (down) times one of x (across)

DEGREES = ([0, 0, 1, 0, 1, 2], [0, 1, 0, 2, 1, 0])  # of y and of x, together at most 2


def shrunk(plane: Grey, side: int) -> Grey:
    """Return (h, w), a longer side of at most `side`, by means over whole squares of pixels."""
    factor = -(-max(plane.shape) // side)
    if factor == 1:
        return plane
    return np.asarray(Image.fromarray(plane).reduce(factor), dtype=np.uint8)


def closed(grey: Grey, reach: int) -> Grey:
    """Return the lightest around every pixel, and then the darkest around of these.

    What is dark and narrower than the reach either way is filled with what is around it.
    Source: Serra 1982, "Image analysis and mathematical morphology".
    """
    return extreme(extreme(grey, reach, np.maximum), reach, np.minimum)


def extreme(grey: Grey, reach: int, either: np.ufunc) -> Grey:
    """Return the largest or smallest value so near by, in a square around every pixel.

    Windows double: the extreme of 2 n pixels is that of two neighbouring windows of n.
    """
    values, outside = grey, 0 if either is np.maximum else 255  # which is never the extreme
    for across in (True, False):
        height, width = values.shape
        shape = (height, width + 2 * reach) if across else (height + 2 * reach, width)
        wide = np.full(shape, outside, dtype=np.uint8)
        inner = (slice(None), slice(reach, -reach)) if across else (slice(reach, -reach),)
        wide[inner] = values
        window, length = 1, 2 * reach + 1
        while window < length:
            step = min(window, length - window)
            if across:
                wide = either(wide[:, :-step], wide[:, step:])
            else:
                wide = either(wide[:-step], wide[step:])
            window += step
        values = wide
    return values


def middle(values: NDArray[Any]) -> Any:
    """Return the median, of an even number the upper of the two in the middle."""
    half = values.size // 2
    return np.partition(values, half, axis=None)[half]


def resized(values: NDArray[np.generic], height: int, width: int) -> Shares:
    """Return (h, w) in another size: by means where it shrinks, between neighbours where not."""
    down, across = resampling(values.shape[0], height), resampling(values.shape[1], width)
    made: Shares = down @ values.astype(np.float32) @ across.T
    return made


def blurred(values: NDArray[np.generic], radius: int, times: int = 1) -> Shares:
    """Return means of (..., h, w) over squares of side 2 `radius` + 1, cut off at the borders."""
    height, width = values.shape[-2:]
    down, across = means(height, radius, times), means(width, radius, times)
    return down @ values.astype(np.float32) @ across.T


def surface(made_of: Surface, height: int, width: int) -> Shares:
    """Return the surface over (h, w) that is made of so much of each power of y and of x."""
    light: Shares = powers_of(height) @ made_of @ powers_of(width).T
    return light


@lru_cache(maxsize=256)
def powers_of(length: int) -> Shares:
    """Return 1, x and x squared (length, 3) of pixels' middles, x from -1 to 1 over the side."""
    x = (2 * np.arange(length) + 1) / length - 1
    return np.stack([np.ones_like(x), x, x * x], axis=-1).astype(np.float32)


@lru_cache(maxsize=256)
def terms_of(height: int, width: int) -> Shares:
    """Return the products of at most the second degree of y and x over (h, w): (6, h w)."""
    down, across = DEGREES
    made = powers_of(height).T[down, :, None] * powers_of(width).T[across, None]
    return made.reshape(6, -1)


@lru_cache(maxsize=128)
def resampling(length: int, to: int) -> Shares:
    """Return the weights (to, length) of pixels along one axis for each pixel of another size."""
    scale = length / to
    off = np.arange(length) + 0.5 - scale * (np.arange(to)[:, None] + 0.5)
    near = (off > -scale / 2) & (off <= scale / 2) if scale > 1 else np.maximum(1 - np.abs(off), 0)
    weights: Shares = (near / near.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


@lru_cache(maxsize=256)
def middle_of(height: int, width: int) -> Shares:
    """Return weights (h, w) that fall from the middle to the borders and add up to 1."""
    down, across = (1.1 - np.linspace(-1, 1, length) ** 2 for length in (height, width))
    weights: Shares = np.outer(down, across) / (down.sum() * across.sum())
    return weights


@lru_cache(maxsize=256)
def means(length: int, radius: int, times: int) -> Shares:
    """Return the matrix that takes means over 2 `radius` + 1 of `length` values, so often."""
    places = np.arange(length)
    near = (np.abs(places[:, None] - places) <= radius).astype(np.float32)
    once = near / near.sum(axis=1, keepdims=True)
    return np.linalg.matrix_power(once, times)
