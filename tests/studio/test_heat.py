"""Heat is where the answer rests, by a backbone whose features can be worked out."""

import numpy as np
import pytest
from small_backbone import CHARACTERS, a_backbone, printed

from siglum.recogniser.lesson import begin
from siglum.recogniser.teach import learn
from siglum.studio.heat import heat

RECOGNISER = learn(a_backbone(), begin(a_backbone(), CHARACTERS)).recogniser
NOWHERE = np.full((1, 3), np.nan, np.float32)


def odds(ink: np.ndarray, label: int) -> float:
    """Log-odds of a class."""
    logits = RECOGNISER.logits(ink[None, None])[0, : len(CHARACTERS)].astype(float)
    logits /= RECOGNISER.bundle.calibration.temperature
    return float(logits[label] - np.log(np.exp(np.delete(logits, label)).sum()))


@pytest.mark.parametrize("label", [0, 3, 9])
def test_heat_is_where_covering_a_pixel_costs_the_answer_most(label: int) -> None:
    """Not to the pixel: pieces are larger."""
    ink = printed()[label]
    shown, left = heat(RECOGNISER, ink, NOWHERE, label)
    costs = []
    for row, column in np.argwhere(ink):
        covered = ink.copy()
        covered[row, column] = 0
        costs.append(odds(ink, label) - odds(covered, label))

    assert shown.shape == ink.shape and shown.max() == 255 and not shown[ink == 0].any()
    assert np.corrcoef(costs, shown[ink > 0])[0, 1] > 0.4
    assert 0 <= left < RECOGNISER.read(ink[None, None]).probs[0, label]


def test_one_dot_is_all_that_counts() -> None:
    ink = np.zeros((8, 8), np.uint8)
    ink[4, 4] = 255
    best = int(RECOGNISER.read(ink[None, None]).probs.argmax())
    shown, _ = heat(RECOGNISER, ink, NOWHERE, best)

    assert not np.delete(shown.ravel(), 4 * 8 + 4).any()


def test_two_classes_are_enough() -> None:
    recogniser = learn(a_backbone(), begin(a_backbone(), CHARACTERS[:2])).recogniser
    shown, left = heat(recogniser, printed()[0], NOWHERE, 0)

    assert shown.any() and 0 <= left <= 1
