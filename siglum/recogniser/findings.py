"""How well a recogniser was taught, what it confuses, and what to draw next.

Everything here is read off samples that were left out of their own fit.
Shapes: N samples, K classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.recogniser import backbone as backbones
from siglum.recogniser import class_vectors, place
from siglum.recogniser.lesson import Lesson
from siglum.recogniser.predict import Recogniser
from siglum.recogniser.teach import PENALTY, SCALE, Taught

MORE = 3  # drawings to ask for at a time
DRAWS = 10  # of samples for each point of the curve
SIZES = (1, 2, 3, 5, 10, 20, 50)  # samples a class along the curve
ADVICE = 3  # classes to speak of


@dataclass(frozen=True)
class Confusion:
    """Samples of one class that are read as another."""

    meant: str
    read: str
    times: int
    of: int  # samples of the class


@dataclass(frozen=True)
class Advice:
    """A class that would gain from more drawings."""

    name: str
    why: str  # a sentence

    def __str__(self) -> str:
        return f"draw {MORE} more of {self.name!r}: {self.why}"


@dataclass(frozen=True)
class Point:
    """A point of the learning curve."""

    samples: int  # a class, 0 for print alone
    right: float  # share of the other samples that is read right, mean of the draws
    low: float  # the lowest and the highest draw
    high: float


@dataclass(frozen=True, eq=False)
class Findings:
    """What is to be said after teaching."""

    right: stats.Rate | None  # of the samples, each left out of its own fit
    confusions: tuple[Confusion, ...]  # the commonest first
    advice: tuple[Advice, ...]  # the class that would gain most first
    curve: tuple[Point, ...]
    untested: tuple[str, ...]  # classes without samples


def findings(backbone: Recogniser, lesson: Lesson, taught: Taught) -> Findings:
    """Say how well a lesson was learned."""
    labels, classes = lesson.samples.labels, lesson.classes
    judged = np.isfinite(taught.left_out[np.arange(len(labels)), labels])
    answers = taught.left_out.argmax(axis=1)
    confusion = stats.confusion_matrix(labels[judged], answers[judged], len(classes))
    counts = lesson.counts
    off = confusion.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")
    pairs = [divmod(int(place), len(classes)) for place in order[: np.count_nonzero(off)]]
    return Findings(
        right=taught.right,
        confusions=tuple(
            Confusion(classes[a], classes[b], int(off[a, b]), int(counts[a])) for a, b in pairs
        ),
        advice=_advice(lesson, taught, off),
        curve=curve(backbone, lesson),
        untested=tuple(name for name, n in zip(classes, counts, strict=True) if not n),
    )


def curve(backbone: Recogniser, lesson: Lesson) -> tuple[Point, ...]:
    """Return how well so many samples a class read the others, for the sizes there are enough of.

    Of every class with more than that, so many are drawn and the rest is read; `DRAWS` times.
    """
    labels, places, counts = lesson.samples.labels, lesson.samples.places, lesson.counts
    prints = backbones.prints(backbone, lesson.classes)
    random = np.random.RandomState(0)
    printed = prints.any(axis=1)
    points = []
    for size in (0, *SIZES):
        judged = np.flatnonzero((counts > size) & (printed if not size else True))
        if len(judged) < 2 or len(judged) < (counts > 0).sum() / 2:
            continue
        shares = []
        for _ in range(DRAWS if size else 1):
            order = random.permutation(len(labels))
            rank = _rank_within(labels[order])
            chosen, rest = order[rank < size], order[rank >= size]
            rest = rest[np.isin(labels[rest], judged)]
            fitted = class_vectors.ridge(
                lesson.features[chosen], labels[chosen], prints, PENALTY, SCALE
            )
            logits = SCALE * (lesson.features[rest] @ fitted.head.vectors.T)
            where, _ = place.learned(places[chosen], labels[chosen], len(counts), fitted.left_out)
            if where is not None:
                logits += place.place_logits(places[rest], where)
            answers = logits.argmax(axis=1)
            shares.append(float((answers == labels[rest]).mean()))
        points.append(Point(size, float(np.mean(shares)), min(shares), max(shares)))
    return tuple(points)


def _advice(lesson: Lesson, taught: Taught, off: NDArray[np.int64]) -> tuple[Advice, ...]:
    """Rank classes by the share of their samples that more drawings may put right.

    Of few samples a share is guessed: one wrong and one right one are added to what was counted.
    """
    counts = lesson.counts
    named = []
    guessed = (off.sum(axis=1) + 1) / (counts + 2)
    gain = guessed / np.sqrt(counts + 1)
    for label in np.argsort(-gain, kind="stable"):
        name, n, wrong = lesson.classes[label], int(counts[label]), int(off[label].sum())
        if name in taught.unknown:
            why = "nothing is known of it yet."
        elif wrong:
            taken = lesson.classes[int(off[label].argmax())]
            why = f"it is taken for {taken!r} ({int(off[label].max())} of {n})."
        elif n == 0:
            why = "it is known from print alone, and was never tested."
        elif n < MORE:
            why = f"it has {'one drawing' if n == 1 else f'{n} drawings'} only."
        else:
            continue
        named.append(Advice(name, why))
    return tuple(named[:ADVICE])


def _rank_within(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return of each label how many equal ones stand before it."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order], side="left")
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - starts
    return rank
