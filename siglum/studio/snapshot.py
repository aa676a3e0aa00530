"""What a Studio knows at one moment: what counts, what was learned of it, and how well.

A snapshot is never changed once it is made, so that whoever reads it needs no lock.
Shapes: N taught drawings, K classes that are known by print or a drawing, D features.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.recogniser import decide
from siglum.recogniser import teach as teaching
from siglum.recogniser.bundle import Samples
from siglum.recogniser.decide import Reading
from siglum.recogniser.findings import Point
from siglum.recogniser.head import logits_of
from siglum.recogniser.lesson import Lesson
from siglum.recogniser.predict import Recogniser
from siglum.recogniser.teach import Taught
from siglum.studio.changes import Entry, State
from siglum.studio.seen import Seen

LEAST = 2  # known classes, before anything can be told apart


@dataclass(frozen=True)
class Read:
    """What is said of a drawing that was kept, by all but itself."""

    label: int | None  # None where nothing else is known of its class
    probability: float
    none: bool = False  # whether it looks like none of the classes; of taught ones never told


@dataclass(frozen=True)
class Analysis:
    """What takes longer to find out, and is made behind the scenes."""

    at: int = -1  # the changes it has seen
    advice: tuple[tuple[str, str], ...] = ()  # a class, and why it needs drawings
    curve: tuple[Point, ...] = ()
    writers: Mapping[str, stats.Rate] = field(default_factory=dict)  # each read by the others


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What counts, and what was learned of it."""

    at: int  # how many changes it has seen
    state: State
    seen: Mapping[str, Seen]  # by drawing; at least those that count
    lesson: Lesson | None  # None where fewer than two classes are known
    rows: tuple[str, ...]  # N drawings, as the lesson has them
    taught: Taught | None
    analysis: Analysis  # of this moment, or of one a little before
    version: int = 0  # grows by one with all that is new

    @cached_property
    def names(self) -> dict[str, str]:
        """The classes' names, by what they are called in requests."""
        return {class_id(name): name for name in self.state.classes}

    @cached_property
    def labels(self) -> dict[str, int]:
        """The numbers of the classes that are known."""
        return {} if self.lesson is None else {n: i for i, n in enumerate(self.lesson.classes)}

    @cached_property
    def read(self) -> dict[str, Read]:
        """What is said of each drawing, taught or not, that can be judged; by drawing."""
        if self.taught is None or self.lesson is None:
            return {}
        found = _left_out(self.taught, self.rows, self.lesson.samples.labels)
        others = [name for name in self.state.drawings if name not in found]
        reading = reading_of(self.taught.recogniser, [self.seen[name] for name in others])
        best = reading.probs.argmax(axis=1)
        for row, (name, label) in enumerate(zip(others, best.tolist(), strict=True)):
            known = self.state.drawings[name].class_name in self.labels
            probability, none = float(reading.probs[row, label]), bool(reading.none[row])
            found[name] = Read(label, probability, none) if known else Read(None, 0.0)
        return found

    def read_as(self, drawing: str) -> str | None:
        """The class that a drawing is read as; None for none of them, or where nothing is said."""
        read = self.read.get(drawing)
        if read is None or read.label is None or read.none or self.lesson is None:
            return None
        return self.lesson.classes[read.label]

    def is_right(self, drawing: str) -> bool | None:
        """Whether a drawing is read as its own class; None where that cannot be judged."""
        read = self.read.get(drawing)
        if read is None or read.label is None:
            return None
        return self.read_as(drawing) == self.state.drawings[drawing].class_name


@lru_cache(maxsize=4096)
def class_id(name: str) -> str:
    """Return what a class is called in requests: the same for one name, everywhere and always."""
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()


def taken(
    backbone: Recogniser,
    state: State,
    seen: Mapping[str, Seen],
    at: int,
    before: Snapshot | None = None,
) -> Snapshot:
    """Learn from what counts. Classes of which nothing is known yet are left out.

    So are drawings that could not be seen. Where what is taught is as it was, as behind a drawing
    for the quiz, what was learned and found out before is so still.
    """
    if not state.drawings.keys() <= seen.keys():
        there = {name: entry for name, entry in state.drawings.items() if name in seen}
        state = State(state.classes, there)
    if before is not None and _taught(state) == _taught(before.state):
        analysis = before.analysis
        if analysis.at == before.at:
            analysis = replace(analysis, at=at)
        return replace(before, at=at, state=state, seen=seen, analysis=analysis)
    lesson, rows = lesson_of(backbone, state, seen)
    taught = None if lesson is None else teaching.learn(backbone, lesson)
    analysis = Analysis() if before is None else before.analysis
    return Snapshot(at, state, seen, lesson, rows, taught, analysis)


def _taught(state: State) -> tuple[tuple[str, ...], list[tuple[str, Entry]]]:
    drawings = [item for item in state.drawings.items() if item[1].part == "taught"]
    return state.classes, drawings


def lesson_of(
    backbone: Recogniser, state: State, seen: Mapping[str, Seen]
) -> tuple[Lesson | None, tuple[str, ...]]:
    """Return what is to be learned, and its drawings; None where fewer than two classes are known.

    Drawings that are equal to the pixel all count: each was drawn, and dots and bars often are.
    """
    rows = tuple(name for name in state.of(part="taught") if not seen[name].empty)
    printed = frozenset(backbone.classes)
    drawn = {state.drawings[name].class_name for name in rows}
    classes = tuple(name for name in state.classes if name in drawn or name in printed)
    if len(classes) < LEAST:
        return None, rows
    position = {name: label for label, name in enumerate(classes)}
    labels = np.array([position[state.drawings[name].class_name] for name in rows], np.int64)
    size = backbone.bundle.preprocess.size
    width = len(centre_of(backbone))
    samples = Samples(
        np.array([seen[name].ink for name in rows], np.uint8).reshape(-1, size, size),
        labels,
        np.array([seen[name].place for name in rows], np.float32).reshape(-1, 3),
    )
    features = np.array([seen[name].features for name in rows], np.float32).reshape(-1, width)
    return Lesson(classes, samples, features), rows


def reading_of(recogniser: Recogniser, seen: Sequence[Seen]) -> Reading:
    """Read what was seen, without running the network again."""
    head = recogniser.bundle.head
    assert head is not None
    count = len(recogniser.classes)
    features = np.array([one.features for one in seen], np.float32).reshape(-1, len(head.centre))
    places = np.array([one.place for one in seen], np.float32).reshape(-1, 3)
    if not len(seen):
        return decide.plain(np.empty((0, count)))
    # The head takes features as the network gives them: their length is nothing to it.
    logits = logits_of(features + head.centre, head, places)
    return decide.read(logits, recogniser.bundle.calibration, count)


def centre_of(backbone: Recogniser) -> NDArray[np.float32]:
    """Return what is subtracted from features: float32 (D,)."""
    head = backbone.bundle.head
    assert head is not None
    return head.centre


def _left_out(taught: Taught, rows: Sequence[str], labels: NDArray[np.int64]) -> dict[str, Read]:
    """Return what is said of each taught drawing by all the others."""
    if not rows:
        return {}
    own = taught.left_out[np.arange(len(rows)), labels]
    scaled = taught.left_out / taught.recogniser.bundle.calibration.temperature
    probs = decide.softmax(scaled)
    best = probs.argmax(axis=1)
    return {
        name: Read(int(label), float(probs[row, label])) if known else Read(None, 0.0)
        for row, (name, label, known) in enumerate(zip(rows, best, np.isfinite(own), strict=True))
    }
