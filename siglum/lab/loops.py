"""Loops that numba compiles, for what torch has no fused operation for.

Each inner loop does one thing over the channels, so that it becomes vector code. Values are the
bits of floating-point numbers: above zero they order as the numbers do, below they are negative.
Shapes: B pictures, H x W pixels, C channels.
"""

import os

import numpy as np
from numpy.typing import NDArray

from siglum.files import cache_dir

# Compiled code is kept beside the packs, which is a place that can be written.
os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_dir() / "compiled"))

from numba import njit

NOWHERE = 4  # the route of a window whose maximum is 0


@njit(nogil=True, cache=True)
def _draw(bits: NDArray[np.uint64], state: np.uint64) -> None:
    """Fill `bits` with the random numbers that follow `state`.

    Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA,
    figure 17 (SplitMix).
    """
    for i in range(bits.shape[0]):
        z = state + np.uint64(i) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits[i] = z ^ (z >> np.uint64(31))


@njit(nogil=True, cache=True)
def pool(
    images: NDArray[np.signedinteger],  # (B, H, W, C)
    pooled: NDArray[np.signedinteger],  # (B, H // 2, W // 2, C)
    route: NDArray[np.int8],  # the same: where in its window the maximum was, or NOWHERE
    seed: np.uint64,
    least: int,  # a value is kept when its 16 random bits are at least this
) -> None:
    """Drop, take the maximum of every 2 x 2 window and 0, and note where it was."""
    batch, rows, columns, channels = pooled.shape
    bits = np.empty(columns * channels, np.uint64)
    draws = bits.view(np.int16).reshape(columns, 4, channels)
    for b in range(batch):
        for r in range(rows):
            before = np.uint64((b * rows + r) * columns * channels)
            _draw(bits, seed + before * np.uint64(0x9E3779B97F4A7C15))
            for q in range(columns):
                best, where = pooled[b, r, q], route[b, r, q]
                for c in range(channels):
                    best[c] = 0
                for c in range(channels):
                    where[c] = NOWHERE
                for k in range(4):
                    values, draw = images[b, 2 * r + k // 2, 2 * q + k % 2], draws[q, k]
                    for c in range(channels):
                        value = values[c] * (draw[c] >= least)
                        where[c] = k if value > best[c] else where[c]
                    for c in range(channels):
                        best[c] = max(values[c] * (draw[c] >= least), best[c])


@njit(nogil=True, cache=True)
def unpool(
    gradient: NDArray[np.signedinteger],  # (B, H // 2, W // 2, C)
    route: NDArray[np.int8],
    back: NDArray[np.signedinteger],  # (B, H, W, C)
) -> None:
    """Put every gradient where its maximum was, and zero elsewhere in the window."""
    batch, rows, columns, channels = gradient.shape
    for b in range(batch):
        for r in range(rows):
            for q in range(columns):
                values, where = gradient[b, r, q], route[b, r, q]
                for k in range(4):
                    out = back[b, 2 * r + k // 2, 2 * q + k % 2]
                    for c in range(channels):
                        out[c] = values[c] * (where[c] == k)
