"""What a network says of single pictures, beside the truth.

Shapes: N pictures, C channels, S the side of the picture, K classes.
"""

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray

from siglum.lab.examine.subject import Pictures, Subject, ink, logits


@dataclass(frozen=True, eq=False)
class Answers:
    """Pictures, and the log-probability of every class for each."""

    names: tuple[str, ...]  # N pictures
    kind: str  # of one picture: "test picture", "file"
    chosen: str  # how: a key of `subject.CHOSEN`, or "" where somebody named them
    classes: tuple[str, ...]  # K
    pictures: NDArray[np.float32]  # (N, C, S, S), in [0, 1]
    log_probs: NDArray[np.float32]  # (N, K), natural logarithms
    predicted: NDArray[np.int64]  # (N,), the best match
    labels: NDArray[np.int64]  # (N,), the truth; -1 where it is not known

    def truth(self, row: int) -> str | None:
        """Return the name of the true class, if it is known."""
        return None if self.labels[row] < 0 else self.classes[self.labels[row]]

    def answer(self, row: int) -> str:
        """Return the name of the best match."""
        return self.classes[int(self.predicted[row])]

    def wrong(self, row: int) -> bool:
        """Whether the truth is known and is another."""
        return bool(self.labels[row] >= 0 and self.labels[row] != self.predicted[row])


def first(subject: Subject) -> Answers:
    """Return the first six pictures, as report 2 shows them, with the truth."""
    return _answers(subject, subject.pictures(6))


def answers(subject: Subject) -> Answers:
    """Return what is said of the first ten pictures."""
    return _answers(subject, subject.pictures(10))


def predictions(subject: Subject) -> Answers:
    """Return what is said of the first thirty pictures."""
    return _answers(subject, subject.pictures(30))


def _answers(subject: Subject, shown: Pictures) -> Answers:
    log_probs = F.log_softmax(logits(subject, shown.images), dim=1).cpu().numpy()
    return Answers(
        names=shown.names,
        kind=shown.kind,
        chosen=shown.chosen,
        classes=subject.classes,
        pictures=ink(shown, subject.preprocess),
        log_probs=log_probs,
        predicted=log_probs.argmax(axis=1),
        labels=shown.labels,
    )
