"""Which ink an answer rests on: what it loses when a piece is covered with paper.

Source: Zeiler, Fergus 2014, "Visualizing and understanding convolutional networks",
arXiv:1311.2901, section 4.2; here the piece is paper, not grey.
Shapes: S the side of the frame, M pieces, K classes.
"""

import numpy as np
from numpy.typing import NDArray

from siglum.recogniser.decide import softmax
from siglum.recogniser.place import Places
from siglum.recogniser.predict import Recogniser

PIECES = 5  # that make a side; they overlap by half


def heat(
    recogniser: Recogniser, ink: NDArray[np.uint8], place: Places, label: int
) -> tuple[NDArray[np.uint8], float]:
    """Return how much each place counts for an answer, and what is left without the best piece.

    Args:
        ink: (S, S).
        place: (1, 3), of the ink in its picture.
        label: of the answer, in [0, K).

    Returns:
        uint8 (S, S), 255 where the odds fall most and 0 where they do not; and the lowest
        probability of the answer with a piece covered.
    """
    size = len(ink)
    side = -(-size // PIECES)
    starts = range(0, size - side + 1, max(1, side // 2))
    corners = [(row, column) for row in starts for column in starts]
    inked = [(row, column) for row, column in corners if _piece(ink, row, column, side).any()]
    covered = np.repeat(ink[None], len(inked) + 1, axis=0)
    for picture, (row, column) in zip(covered, inked, strict=False):
        _piece(picture, row, column, side)[:] = 0
    logits = recogniser.logits(covered[:, None], np.repeat(place, len(covered), axis=0))
    count = len(recogniser.classes)
    scaled = logits[:, :count].astype(np.float64) / recogniser.bundle.calibration.temperature
    rest = np.delete(scaled, label, axis=1)
    highest = rest.max(axis=1)
    odds = scaled[:, label] - highest - np.log(np.exp(rest - highest[:, None]).sum(axis=1))
    sums, times = np.zeros((size, size)), np.zeros((size, size))
    for fall, (row, column) in zip(odds[-1] - odds[:-1], inked, strict=True):
        _piece(sums, row, column, side)[:] += fall
        _piece(times, row, column, side)[:] += 1
    mean = np.maximum(sums / np.maximum(times, 1), 0) * (ink > 0)
    shown = np.rint(255 * mean / max(float(mean.max()), 1e-9)).astype(np.uint8)
    return shown, float(softmax(scaled)[:, label].min())


def _piece(of: NDArray, row: int, column: int, side: int) -> NDArray:  # type: ignore[type-arg]
    return of[row : row + side, column : column + side]
