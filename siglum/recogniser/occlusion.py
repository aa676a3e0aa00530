"""Which ink a prediction rests on.

Shapes: S the side of the ink, M patches, K classes.
"""

import numpy as np
from numpy.typing import NDArray

from siglum.recogniser.predict import Recogniser

PATCHES = 5  # along each side; they overlap by half


def heatmap(
    recogniser: Recogniser, ink: NDArray[np.uint8], position: NDArray[np.float32], label: int
) -> tuple[NDArray[np.uint8], float]:
    """Cover one patch of the ink (S, S) after the other with paper, and measure what it costs.

    Returns (S, S), 255 where covering lowers the log-odds of `label` most; and the lowest
    probability of `label` with a patch covered.

    Source: Zeiler, Fergus 2014, "Visualizing and understanding convolutional networks",
    arXiv:1311.2901, section 4.2; there patches are grey.
    """
    size = len(ink)
    side = -(-size // PATCHES)
    starts = range(0, size - side + 1, max(1, side // 2))
    patches = [(slice(y, y + side), slice(x, x + side)) for y in starts for x in starts]
    patches = [patch for patch in patches if ink[patch].any()]
    covered = np.repeat(ink[None], len(patches) + 1, axis=0)
    for image, patch in zip(covered, patches, strict=False):
        image[patch] = 0
    positions = np.repeat(position[None], len(covered), axis=0)
    logits = recogniser.logits(covered[:, None], positions)[:, : len(recogniser.classes)]
    scaled = logits.astype(np.float64) / recogniser.bundle.calibration.temperature
    odds = scaled[:, label] - np.logaddexp.reduce(np.delete(scaled, label, axis=1), axis=1)
    drops, counts = np.zeros((size, size)), np.zeros((size, size))
    for drop, patch in zip(odds[-1] - odds[:-1], patches, strict=True):
        drops[patch] += drop
        counts[patch] += 1
    mean = np.maximum(drops / np.maximum(counts, 1), 0) * (ink > 0)
    heat = np.rint(255 * mean / max(float(mean.max()), 1e-9)).astype(np.uint8)
    return heat, float(1 / (1 + np.exp(-odds.min())))
