"""An open set and the recogniser fitted to it, shared by everybody who draws.

Changes go through the store one by one and are on disk first. Fitting follows, and one fit serves
all changes that waited for it. Whoever only reads takes the current snapshot and waits for nobody.
Shapes: N train drawings, K classes that are known from fonts or a drawing, D features.
"""

import json
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from siglum import stats
from siglum.errors import SiglumError
from siglum.images import decode
from siglum.recogniser.bundle import Samples
from siglum.recogniser.calibration import Predictions, calibrated, softmax
from siglum.recogniser.fit import CurvePoint, Fitted, TrainingSet, fit, learning_curve
from siglum.recogniser.predict import Recogniser
from siglum.studio.drawings import Ink, extract
from siglum.studio.store import NewDrawing, State, Store

MIN_CLASSES = 2  # known ones, before anything can be told apart
ENOUGH = 3  # drawings of a class, before more are no longer suggested
REST = 4.0  # the analysis rests so many times as long as it worked, so that drawing comes first
MIN_REST, MAX_REST = 0.2, 10.0  # seconds


@dataclass(frozen=True)
class Guess:
    """The prediction for a saved drawing, made without that drawing."""

    label: str | None  # id of a class; None if rejected, or if its own class is otherwise unknown
    probability: float = 0.0
    rejected: bool = False
    correct: bool | None = None  # None if it cannot be judged


@dataclass(frozen=True)
class Suggestion:
    """A class that needs more drawings, and why."""

    kind: str
    message: str


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
    class_ids: tuple[str, ...]  # K, in label order
    rows: tuple[str, ...]  # N drawings, in the order of the training set
    training_set: TrainingSet | None  # None while fewer than two classes are known
    fitted: Fitted | None
    analysis: Analysis
    version: int = 0  # grows with everything that is new

    @classmethod
    def build(
        cls, backbone: Recogniser, state: State, inks: Mapping[str, Ink], before: "Snapshot | None"
    ) -> "Snapshot":
        """Fit a recogniser to a state. Test drawings and classes without an example stay out."""
        analysis = Analysis() if before is None else before.analysis
        if before is not None and _examples(before.state) == _examples(state):
            if analysis.of is before.state:
                analysis = replace(analysis, of=state)
            return replace(before, state=state, inks=inks, analysis=analysis)
        rows = tuple(id for id in state.select(split="train") if not inks[id].empty)
        with_drawing = {state.drawings[id].label for id in rows}
        class_ids = tuple(
            id
            for id, name in state.classes.items()
            if id in with_drawing or name in frozenset(backbone.classes)
        )
        if len(class_ids) < MIN_CLASSES:
            return cls(state, inks, (), rows, None, None, analysis)
        label_of = {id: label for label, id in enumerate(class_ids)}
        size = backbone.bundle.preprocess.size
        samples = Samples(
            np.array([inks[id].ink for id in rows], np.uint8).reshape(-1, size, size),
            np.array([label_of[state.drawings[id].label] for id in rows], np.int64),
            np.array([inks[id].position for id in rows], np.float32).reshape(-1, 3),
        )
        features = np.array([inks[id].features for id in rows], np.float32)
        names = tuple(state.classes[id] for id in class_ids)
        training_set = TrainingSet(names, samples, features.reshape(-1, len(backbone.head.centre)))
        fitted = fit(backbone, training_set)
        return cls(state, inks, class_ids, rows, training_set, fitted, analysis)

    @cached_property
    def guesses(self) -> dict[str, Guess]:
        """The prediction for every drawing, without itself; empty before anything is fitted."""
        if self.fitted is None or self.training_set is None:
            return {}
        labels = self.training_set.samples.labels
        known = np.isfinite(self.fitted.loo_logits[np.arange(len(labels)), labels])
        temperature = self.fitted.recogniser.bundle.calibration.temperature
        probs = softmax(self.fitted.loo_logits / temperature)
        guesses = {
            id: self._guess(id, row, False) if can_judge else Guess(None)
            for id, row, can_judge in zip(self.rows, probs, known, strict=True)
        }
        others = [id for id in self.state.drawings if id not in guesses]
        reading = self.predict([self.inks[id] for id in others])
        for id, row, none in zip(others, reading.probs, reading.rejected, strict=True):
            judged = self.state.drawings[id].label in self.class_ids
            guesses[id] = self._guess(id, row, bool(none)) if judged else Guess(None)
        return guesses

    def _guess(self, id: str, probs: Any, rejected: bool) -> Guess:
        best = int(probs.argmax())
        label = None if rejected else self.class_ids[best]
        right = label == self.state.drawings[id].label
        return Guess(label, float(probs[best]), rejected, right)

    def predict(self, inks: Sequence[Ink]) -> Predictions:
        """Return calibrated predictions; the network is not run again."""
        assert self.fitted is not None
        recogniser = self.fitted.recogniser
        head = recogniser.head
        features = np.array([one.features for one in inks], np.float32)
        positions = np.array([one.position for one in inks], np.float32).reshape(-1, 3)
        logits = head.logits(features.reshape(-1, len(head.centre)), positions)
        return calibrated(logits, recogniser.bundle.calibration, len(self.class_ids))

    @cached_property
    def suggestions(self) -> dict[str, Suggestion]:
        """The classes that need drawings most, by id; most urgent first."""
        wrong: dict[str, list[str]] = {id: [] for id in self.state.classes}
        counts = dict.fromkeys(self.state.classes, 0)
        for id in self.state.select(split="train"):
            label, guess = self.state.drawings[id].label, self.guesses.get(id, Guess(None))
            counts[label] += 1
            if guess.correct is False and guess.label is not None:
                wrong[label].append(guess.label)
        found: dict[str, tuple[float, Suggestion]] = {}
        for id, name in self.state.classes.items():
            count = counts[id]
            if id not in self.class_ids and not count:
                one = Suggestion("unknown", f"Draw {name!r}: no font has it.")
            elif wrong[id]:
                other = max(wrong[id], key=wrong[id].count)
                times = wrong[id].count(other)
                one = Suggestion(
                    "confused", f"{times} of {count} mistaken for {self.state.classes[other]!r}"
                )
            elif not count:
                one = Suggestion("untested", "Known from fonts. Draw it once to check your hand.")
            elif count < ENOUGH:
                drawings = "1 drawing" if count == 1 else f"{count} drawings"
                one = Suggestion("few_drawings", f"{drawings}, {ENOUGH - count} more help")
            else:
                continue
            # The share that is wrong, guessed from few, and how much one drawing more would help.
            gain = (len(wrong[id]) + 1) / (count + 2) / (count + 1) ** 0.5
            found[id] = (gain + (one.kind == "unknown"), one)
        return {id: one for id, (_, one) in sorted(found.items(), key=lambda item: -item[1][0])}


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
        self._serialised: tuple[Snapshot | None, str] = None, ""
        try:
            for done, id in enumerate(self.store.state.drawings, 1):
                self._read_ink(id)
                progress(done, len(self.store.state.drawings))
            first = self._build(None)
            # Versions grow across restarts, so that no page takes an old state for the new one.
            self.current = replace(first, version=int(time.time() * 1000))
        except BaseException:
            self.store.close()
            raise

    def close(self) -> None:
        """Release the set."""
        self.store.close()

    def extract(self, image: Any) -> Ink:
        """Return the ink of an image."""
        return extract(self.backbone, image)[0]

    def features(self, ink: Any) -> Any:
        """Return the features (D,) of normalised ink (S, S)."""
        return self.backbone.features(ink[None])[0]

    def add_drawing(
        self, new: NewDrawing, ink: Ink, session: str | None = None, replaces: str | None = None
    ) -> Snapshot:
        """Save a drawing and fit again; see `Store.add_drawing`."""
        self._inks.setdefault(new.id, ink)
        self.store.add_drawing(new, session, replaces)
        return self.update()

    def add_import(
        self,
        names: Sequence[str],
        drawings: Sequence[tuple[NewDrawing, Ink]],
        session: str | None = None,
    ) -> int:
        """Save what was imported and fit again; return the number of new classes."""
        for new, ink in drawings:
            self._inks.setdefault(new.id, ink)
        created = self.store.add_import(names, [new for new, _ in drawings], session)
        self.update()
        return created

    def update(self) -> Snapshot:
        """Return a snapshot of all changes made so far, fitted if needed."""
        with self._fitting:
            if self.current.state is not self.store.state:
                self._publish(self._build(self.current))
            return self.current

    def serialise(self, snapshot: Snapshot, to_json: Callable[[], Any]) -> str:
        """Return what `to_json` says of a snapshot, as text that is made once."""
        with self.news:
            if self._serialised[0] is not snapshot:
                text = json.dumps(to_json(), ensure_ascii=False, separators=(",", ":"))
                self._serialised = snapshot, text
            return self._serialised[1]

    def publish_analysis(self, analysis: Analysis) -> None:
        """Add to the current snapshot what took longer to compute."""
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
                self.publish_analysis(analyse(self.backbone, now))
            except Exception:  # a bug, which the next change may not meet
                failed = now.state
                traceback.print_exc()
            rest = REST * (time.monotonic() - start)
            closing.wait(min(max(MIN_REST, rest), MAX_REST))

    def _build(self, before: Snapshot | None) -> Snapshot:
        state = self.store.state
        for id in state.drawings:
            if id not in self._inks:
                self._read_ink(id)
        return Snapshot.build(self.backbone, state, dict(self._inks), before)

    def _publish(self, snapshot: Snapshot) -> None:
        with self.news:
            self.current = replace(snapshot, version=self.current.version + 1)
            self.news.notify_all()

    def _read_ink(self, id: str) -> None:
        try:
            image = decode.decode(self.store.content(id)[1], None)
        except SiglumError as error:
            warnings.warn(f"Drawing {id} cannot be read: {error}", stacklevel=2)
            image = np.full((1, 8, 8), 255, np.uint8)
        self._inks[id] = self.extract(image)


def analyse(backbone: Recogniser, now: Snapshot) -> Analysis:
    """Compute the learning curve and how well each author is recognised."""
    if now.training_set is None:
        return Analysis(now.state)
    return Analysis(now.state, learning_curve(backbone, now.training_set), by_author(backbone, now))


def by_author(backbone: Recogniser, now: Snapshot) -> dict[str, stats.Rate]:
    """Return how many of each author's drawings are recognised from those of the other authors.

    Anonymous drawings may be anybody's: they are neither learned from here nor judged, nor are
    classes that only one author drew and no font has.
    """
    data = now.training_set
    assert data is not None
    authors = np.array([now.state.drawings[id].author for id in now.rows])
    names = [name for name in dict.fromkeys(authors.tolist()) if name]
    rates: dict[str, stats.Rate] = {}
    for name in names if len(names) > 1 else []:
        own = np.flatnonzero(authors == name)
        excluded = np.flatnonzero((authors == name) | (authors == ""))
        fitted = fit(backbone, data.remove(excluded.tolist()))
        head = fitted.recogniser.head
        logits = head.logits(data.features[own], data.samples.positions[own])
        logits = logits[:, : len(data.classes)]
        unknown = np.isin(data.classes, fitted.unknown_classes)
        logits[:, unknown] = -np.inf
        labels = data.samples.labels[own]
        judged = ~unknown[labels]
        if judged.any():
            correct = logits[judged].argmax(axis=1) == labels[judged]
            rates[name] = stats.wilson(int(correct.sum()), len(correct))
    return rates
