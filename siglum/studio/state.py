"""An open set and the recogniser fitted to it, shared by everybody who draws.

Changes go through the store one by one and are on disk first. Fitting follows, and one fit serves
all changes that waited for it. Whoever only reads takes the current snapshot and waits for nobody.
Shapes: N train drawings, K classes that are known from fonts or a drawing.
"""

import json
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from siglum import stats
from siglum.errors import SiglumError
from siglum.images import decode
from siglum.images.studio_set import State
from siglum.recogniser.bundle import Samples
from siglum.recogniser.calibration import Predictions, calibrated, softmax
from siglum.recogniser.fit import (
    CurvePoint,
    Fitted,
    Suggestion,
    fit,
    learning_curve,
    suggest,
)
from siglum.recogniser.predict import Recogniser
from siglum.studio.drawings import Ink, extract
from siglum.studio.store import Store

REST = 4.0  # the analysis rests so many times as long as it worked, so that drawing comes first
MIN_REST, MAX_REST = 0.2, 10.0  # seconds


@dataclass(frozen=True)
class Guess:
    """The prediction for a saved drawing, made without that drawing."""

    label: str | None = None  # id of a class; None if rejected, or if it cannot be judged
    probability: float = 0.0
    rejected: bool = False
    correct: bool | None = None  # None if it cannot be judged


@dataclass(frozen=True)
class Analysis:
    """What takes longer to compute, and follows in the background."""

    of: State | None = None
    curve: tuple[CurvePoint, ...] = ()
    authors: Mapping[str, stats.Rate] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of a set and the recogniser fitted to it; never changed once built."""

    state: State
    inks: Mapping[str, Ink]  # by drawing
    class_ids: tuple[str, ...] = ()  # K, in label order
    rows: tuple[str, ...] = ()  # N drawings, in the order of the training set
    fitted: Fitted | None = None  # None while fewer than two classes are known
    analysis: Analysis = Analysis()
    version: int = 0  # grows with everything that is new

    @cached_property
    def guesses(self) -> dict[str, Guess]:
        """The prediction for every drawing, made without it."""
        guesses = dict.fromkeys(self.state.drawings, Guess())
        if self.fitted is None:
            return guesses
        temperature = self.fitted.recogniser.bundle.calibration.temperature
        left_out = softmax(self.fitted.loo_logits / temperature)
        rows = [
            (self.rows[row], left_out[row], False) for row in np.flatnonzero(self.fitted.counted)
        ]
        judgeable, trained = set(self.class_ids), set(self.rows)
        others = [
            id
            for id, entry in self.state.drawings.items()
            if entry.label in judgeable and id not in trained
        ]
        predictions = self.predict([self.inks[id] for id in others])
        rows += zip(others, predictions.probs, predictions.rejected.tolist(), strict=True)
        for id, probs, rejected in rows:
            best = int(probs.argmax())
            label = None if rejected else self.class_ids[best]
            correct = label == self.state.drawings[id].label
            guesses[id] = Guess(label, float(probs[best]), rejected, correct)
        return guesses

    def predict(self, inks: Sequence[Ink]) -> Predictions:
        """Return calibrated predictions; the network is not run again."""
        assert self.fitted is not None
        recogniser, num_classes = self.fitted.recogniser, len(self.class_ids)
        features = np.array([one.features for one in inks], np.float32)
        positions = np.array([one.position for one in inks], np.float32).reshape(-1, 3)
        width = len(recogniser.head.centre)
        logits = recogniser.head.logits(features.reshape(-1, width), positions)
        return calibrated(logits, recogniser.bundle.calibration, num_classes)

    @cached_property
    def suggestions(self) -> dict[str, Suggestion]:
        """The classes that need drawings, by id, most urgent first."""
        index = {id: label for label, id in enumerate(self.state.classes)}
        counts = [0] * len(index)
        errors: Counter[tuple[int, int]] = Counter()
        for id in self.state.select(split="train"):
            label, guess = index[self.state.drawings[id].label], self.guesses[id]
            counts[label] += 1
            if guess.correct is False and guess.label is not None:
                errors[label, index[guess.label]] += 1
        known = set(self.class_ids)
        unknown = [id not in known and not counts[label] for id, label in index.items()]
        ids, names = tuple(index), tuple(self.state.classes.values())
        return {ids[label]: one for label, one in suggest(names, counts, errors, unknown).items()}


def build(
    backbone: Recogniser, state: State, inks: Mapping[str, Ink], before: Snapshot | None
) -> Snapshot:
    """Fit a recogniser to a state. Test drawings and classes without an example stay out."""
    if before is not None and _examples(before.state) == _examples(state):
        analysis = before.analysis
        if analysis.of is before.state:
            analysis = replace(analysis, of=state)
        return replace(before, state=state, inks=inks, analysis=analysis)
    analysis = Analysis() if before is None else before.analysis
    rows = tuple(id for id in state.select(split="train") if not inks[id].empty)
    known = {state.drawings[id].label for id in rows}
    known |= {id for id, name in state.classes.items() if name in set(backbone.classes)}
    class_ids = tuple(id for id in state.classes if id in known)
    if len(class_ids) < 2:
        return Snapshot(state, inks, rows=rows, analysis=analysis)
    label_of = {id: label for label, id in enumerate(class_ids)}
    samples = features = None
    if rows:
        samples = Samples(
            np.array([inks[id].ink for id in rows]),
            np.array([label_of[state.drawings[id].label] for id in rows], np.int64),
            np.array([inks[id].position for id in rows]),
        )
        features = np.array([inks[id].features for id in rows])
    names = [state.classes[id] for id in class_ids]
    fitted = fit(backbone, names, samples, features)
    return Snapshot(state, inks, class_ids, rows, fitted, analysis)


def _examples(state: State) -> tuple[Mapping[str, str], list[tuple[str, str]]]:
    train = [(id, one.label) for id, one in state.drawings.items() if one.split == "train"]
    return state.classes, train


class Studio:
    """An open set; its methods may be called from several threads."""

    def __init__(
        self,
        folder: Path,
        backbone: Recogniser,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Open a set and fit a recogniser to it.

        Args:
            progress: called with the number of drawings read and their total.

        Raises:
            DataError: if the set cannot be opened; see `Store`.
        """
        self.backbone = backbone
        self.store = Store(folder)
        self.title = folder.resolve().name
        self.news = threading.Condition()  # notified of each new snapshot
        self._fitting = threading.Lock()
        self._inks: dict[str, Ink] = {}
        self._shared: tuple[Snapshot | None, str] = None, ""
        try:
            for done, id in enumerate(self.store.state.drawings, 1):
                self._inks[id] = self._read_ink(id)
                progress(done, len(self.store.state.drawings))
            first = build(backbone, self.store.state, dict(self._inks), None)
            # Versions grow across restarts, so that no page takes an old state for the new one.
            self.current = replace(first, version=int(time.time() * 1000))
        except BaseException:
            self.store.close()
            raise

    def close(self) -> None:
        """Release the set."""
        self.store.close()

    def remember(self, id: str, ink: Ink) -> None:
        """Keep the ink of a drawing that is about to be saved."""
        self._inks.setdefault(id, ink)

    def update(self) -> Snapshot:
        """Return a snapshot of all changes made so far, fitted if needed."""
        with self._fitting:
            state = self.store.state
            if self.current.state is not state:
                for id in state.drawings.keys() - self._inks.keys():
                    self._inks[id] = self._read_ink(id)
                self._publish(build(self.backbone, state, dict(self._inks), self.current))
            return self.current

    def shared_state(self, serialise: Callable[["Studio", Snapshot], Any]) -> str:
        """Return the current state as JSON, without what depends on the session; made once."""
        with self.news:
            now = self.current
            if self._shared[0] is not now:
                value = serialise(self, now)
                text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
                self._shared = now, text
            return self._shared[1]

    def analyse(self, now: Snapshot) -> None:
        """Compute what takes longer than a fit, and add it to the current snapshot."""
        analysis = Analysis(now.state)
        if now.fitted is not None:
            authors = np.array([now.state.drawings[id].author for id in now.rows])
            curve = learning_curve(now.fitted)
            analysis = Analysis(now.state, curve, by_author(now.fitted, authors))
        with self._fitting:
            self._publish(replace(self.current, analysis=analysis))

    def analyse_until(self, closing: threading.Event) -> None:
        """Analyse each new snapshot, or the latest of several, until closing."""
        failed: State | None = None
        while not closing.is_set():
            with self.news:
                now = self.current
                if now.state in (now.analysis.of, failed):
                    self.news.wait(timeout=0.5)
                    continue
            start = time.monotonic()
            try:
                self.analyse(now)
            except Exception:  # a bug, which the next change may not meet
                failed = now.state
                traceback.print_exc()
            rest = REST * (time.monotonic() - start)
            closing.wait(min(max(MIN_REST, rest), MAX_REST))

    def _publish(self, snapshot: Snapshot) -> None:
        with self.news:
            self.current = replace(snapshot, version=self.current.version + 1)
            self.news.notify_all()

    def _read_ink(self, id: str) -> Ink:
        try:
            image = decode.decode(self.store.content(id)[1], None)
        except SiglumError as error:
            warnings.warn(f"Drawing {id} cannot be read: {error}", stacklevel=2)
            image = np.full((1, 8, 8), 255, np.uint8)
        return extract(self.backbone, image)[0]


def by_author(fitted: Fitted, authors: Any) -> dict[str, stats.Rate]:
    """Return how many of each author's drawings are recognised from those of the other authors.

    Anonymous drawings may be anybody's: they are neither learned from here nor judged, nor are
    classes that only one author drew and no font has.
    """
    names = [name for name in dict.fromkeys(authors.tolist()) if name]
    rates: dict[str, stats.Rate] = {}
    samples, classes = fitted.samples, fitted.recogniser.classes
    for name in names if len(names) > 1 else []:
        own = authors == name
        others = ~own & (authors != "")
        arrays: Any = (array[others] for array in samples)
        without = fit(fitted.backbone, classes, Samples(*arrays), fitted.features[others])
        head = without.recogniser.head
        logits = head.logits(fitted.features[own], samples.positions[own])[:, : len(classes)]
        unknown = np.isin(classes, without.unknown_classes)
        logits[:, unknown] = -np.inf
        labels = samples.labels[own]
        if (judged := ~unknown[labels]).any():
            hits = (logits.argmax(axis=1) == labels)[judged]
            rates[name] = stats.wilson(int(hits.sum()), len(hits))
    return rates
