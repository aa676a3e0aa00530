"""An open set and the recogniser fitted to it, shared by everybody who draws.

Changes are on disk first. Fitting follows, and one fit serves all changes that waited for it.
Readers take the current snapshot and wait for nobody. JSON values: docs/studio-protocol.md.
Shapes: C channels, H x W pixels, S the side of the ink, D features, N train drawings, K classes.
"""

import base64
import math
import threading
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.errors import DataError, SiglumError
from siglum.images import decode, strokes
from siglum.images.cache import Content, Progress, no_progress
from siglum.images.charsets import confusables_among, shapes
from siglum.images.ink import FILL, PAGE_WORKING, InkReport, normalise
from siglum.images.studio_set import State
from siglum.recogniser.bundle import Samples
from siglum.recogniser.calibration import Predictions, softmax
from siglum.recogniser.fit import CurvePoint, Fitted, fit, learning_curve, suggest
from siglum.recogniser.predict import Recogniser
from siglum.studio.store import Store

NUM_CANDIDATES = 5  # and similar drawings
NUM_NEWEST = 3  # train drawings of a class in the state
PATCHES = 5  # along each side of a heatmap; they overlap by half
MAX_PIXELS = 25_000_000  # of an uploaded image; decoding takes half a GiB for a moment
IDLE = 0.2  # seconds between two looks for a change to analyse
REST = 4.0  # the analysis rests so many times as long as it worked, so that drawing comes first
MAX_REST = 10.0  # seconds
_decoding = threading.Lock()  # one image at a time, for the memory

Json = dict[str, Any]
Issue = tuple[str | None, str | None, float]  # ids of label and prediction, and its probability
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Ink:
    """One sign as the network sees it."""

    ink: Pixels  # (S, S)
    position: NDArray[np.float32]  # (3,), see `recogniser.head`; NaN where unknown
    features: NDArray[np.float32]  # (D,), of length 1


def to_pixels(content: Content) -> Pixels:
    """Return the image (C, H, W) of a file, strokes or itself; DataError if it cannot be read."""
    if isinstance(content, strokes.Drawing):
        return 255 - strokes.rasterise(content)[None]
    if not isinstance(content, bytes):
        return content
    try:
        with _decoding:
            return decode.decode(content, None, 2 * PAGE_WORKING, MAX_PIXELS)
    except DataError as error:
        raise DataError(f"Cannot read this image: {error}.") from None


def extract(backbone: Recogniser, image: Pixels) -> tuple[Ink, InkReport]:
    """Return the ink of one sign's image (C, H, W), and the report about it."""
    settings = backbone.preprocess
    ink, report = normalise(image, settings.size, settings.margins or FILL)
    position = np.array([report.height, report.width, report.position], np.float32)
    return Ink(ink, position, backbone.features(ink[None])[0]), report


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of a set and the recogniser fitted to it; never changed once built."""

    backbone: Recogniser
    inks: Mapping[str, Ink]  # by drawing
    issues: Mapping[str, Issue] | None = None  # by drawing; None: those of leaving one out
    state: State = field(default_factory=State)
    class_ids: tuple[str, ...] = ()  # K, in label order
    rows: tuple[str, ...] = ()  # N drawings, in the order of the training set
    examples: tuple[Any, ...] = ()  # everything that the fit depends on
    fitted: Fitted | None = None  # None while there are fewer than two such classes
    # What takes longer to compute than a fit, and follows in the background:
    analysed: State | None = None  # the state that it belongs to
    curve: tuple[CurvePoint, ...] = ()
    authors: Mapping[str, stats.Rate] = field(default_factory=dict)
    version: int = 0  # grows with everything that is new

    def _predict(self, fitted: Fitted, inks: Sequence[Ink]) -> Predictions:
        """Return calibrated predictions; the network is not run again."""
        features = np.array([one.features for one in inks])
        positions = np.array([one.position for one in inks])
        return fitted.recogniser.predict_features(features, positions)

    @cached_property
    def drawings(self) -> dict[str, Json]:
        """The facts about each drawing, the prediction made without it, and the doubt; by id."""
        drawings = self._predict_drawings()
        for id, one in drawings.items():
            issue = (one["class"], one["prediction"], one["probability"])
            if self.issues is not None or one["correct"] is not False:
                issue = (self.issues or {}).get(id, (None, None, 0.0))
            if issue[0] == one["class"] != self.state.confirmed.get(id):
                one["suspect"] = {"prediction": issue[1], "probability": issue[2]}
        return drawings

    def _predict_drawings(self) -> dict[str, Json]:
        unjudged: Json = {"prediction": None, "rejected": False, "probability": 0.0}
        unjudged |= {"correct": None, "suspect": None}
        drawings: dict[str, Json] = {
            id: {"id": id, "class": one.label, "author": one.author, "split": one.split}
            | {"time": one.time, "photo": bool(one.photo)}
            | unjudged
            for id, one in self.state.drawings.items()
        }
        if self.fitted is None:
            return drawings
        temperature = self.fitted.recogniser.bundle.calibration.temperature
        probs = softmax(self.fitted.loo_logits / temperature)
        guesses = [(self.rows[k], probs[k], False) for k in np.flatnonzero(self.fitted.counted)]
        tests = self.state.select(split="test")
        tests = [id for id in tests if drawings[id]["class"] in self.class_ids]
        if tests:
            predictions = self._predict(self.fitted, [self.inks[id] for id in tests])
            guesses += zip(tests, predictions.probs, predictions.rejected.tolist(), strict=True)
        for id, own_probs, rejected in guesses:
            best = int(own_probs.argmax())
            label, probability = None if rejected else self.class_ids[best], float(own_probs[best])
            guess = {"prediction": label, "rejected": rejected, "probability": probability}
            drawings[id] |= guess | {"correct": label == drawings[id]["class"]}
        return drawings

    @cached_property
    def json(self) -> Json:
        """The state for the page, without what depends on the browser."""
        groups: dict[Any, list[Json]] = defaultdict(list)
        authors: dict[str, list[Json]] = defaultdict(list)
        for one in self.drawings.values():
            groups[one["split"], one["class"]].append(one)
            groups[one["split"]].append(one)
            authors[one["author"]].append(one)
        ids, fonts, tests = [*self.state.classes], {*self.backbone.classes}, groups["test"]
        confusions = _confusions(groups["train"])
        errors = {
            (ids.index(one["label"]), ids.index(one["prediction"])): one["count"]
            for one in confusions
        }
        counts = [len(groups["train", id]) for id in ids]
        unknown = [id not in self.class_ids and not n for id, n in zip(ids, counts, strict=True)]
        names = tuple(self.state.classes.values())
        urgent = suggest(names, counts, errors, unknown)
        suggestions = {ids[label]: suggestion for label, suggestion in urgent.items()}
        # Positions on the axis of the learning curve are logarithmic, and 1 at its end.
        end = math.log1p(self.curve[-1].samples_per_class if self.curve else 0) or 1.0
        return {
            "version": self.version,
            "ready": self.fitted is not None,
            "up_to_date": self.analysed is self.state,
            "classes": [
                {
                    "id": id,
                    "name": name,
                    "output": self.state.outputs.get(name, shapes(name)[0]),
                    "in_fonts": not fonts.isdisjoint(shapes(name)),
                    "train": len(groups["train", id]),
                    "test": len(groups["test", id]),
                    "accuracy": recognition_rate(groups["train", id]),
                    "test_accuracy": recognition_rate(groups["test", id]),
                    "newest": [
                        {"id": one["id"], "photo": one["photo"]}
                        for one in groups["train", id][-NUM_NEWEST:]
                    ],
                    "suggestion": suggestions.get(id),
                }
                for id, name in self.state.classes.items()
            ],
            "accuracy": recognition_rate(groups["train"]),
            "confusions": confusions,
            "suggestions": [{"class": id, **one} for id, one in suggestions.items()],
            "lookalikes": confusables_among(names),
            "learning_curve": [
                {"drawings": n, "accuracy": mean, "low": low, "high": high}
                | {"x": math.log1p(n) / end}
                for n, mean, low, high in self.curve
            ],
            "authors": [
                {
                    "name": name,
                    "train": sum(one["split"] == "train" for one in drawings),
                    "test": sum(one["split"] == "test" for one in drawings),
                    "classes": Counter(one["class"] for one in drawings),
                    "accuracy": asdict(self.authors[name]) if name in self.authors else None,
                }
                for name, drawings in authors.items()
            ],
            "test": {"accuracy": recognition_rate(tests), "confusions": _confusions(tests)},
        }

    def describe(self, ink: Ink, notes: Sequence[str] = (), heat: bool = False) -> Json:
        """Return the prediction for one sign, with a heatmap if `heat`."""
        empty = not ink.ink.any()
        value: Json = {"candidates": [], "prediction_set": [], "rejected": False, "similar": []}
        value |= {"output": "", "empty": empty, "notes": [*notes]}
        value |= {"ink": _base64(ink.ink), "size": len(ink.ink)}
        if self.fitted is not None and not empty:
            (probs,), (in_set,), (rejected,) = self._predict(self.fitted, [ink])
            order = np.argsort(-probs, kind="stable").tolist()
            for k in order[:NUM_CANDIDATES]:
                id = self.class_ids[k]
                one = {"class": id, "name": self.state.classes[id], "probability": float(probs[k])}
                value["candidates"].append(one)
            value["prediction_set"] = [self.class_ids[k] for k in order if in_set[k]]
            value["rejected"] = bool(rejected)
            name = value["candidates"][0]["name"]
            output = self.state.outputs.get(name, shapes(name)[0])
            value["output"] = "" if rejected else output
            if heat:
                image, lowest = occlusion(self.fitted.recogniser, ink, order[0])
                value |= {"heatmap": _base64(image), "probability_covered": lowest}
            nearest = np.argsort(-self.fitted.features @ ink.features, kind="stable")
            for id in (self.rows[row] for row in nearest[:NUM_CANDIDATES]):
                own = self.state.drawings[id]
                value["similar"].append({"id": id, "class": own.label, "photo": bool(own.photo)})
        return value


def occlusion(recogniser: Recogniser, ink: Ink, label: int) -> tuple[Pixels, float]:
    """Blank out one patch of the ink at a time, and measure the change in the score.

    Returns (S, S), 255 where covering lowers the log-odds of `label` most; and the lowest
    probability of `label` with a patch covered.

    Source: Zeiler, Fergus 2014, "Visualizing and understanding convolutional networks",
    arXiv:1311.2901, section 4.2; there patches are grey.
    """
    size = len(ink.ink)
    side = -(-size // PATCHES)
    starts = range(0, size - side + 1, max(1, side // 2))
    patches = [(slice(y, y + side), slice(x, x + side)) for y in starts for x in starts]
    patches = [patch for patch in patches if ink.ink[patch].any()]
    masks = np.zeros((len(patches) + 1, size, size), bool)  # the last one covers nothing
    for mask, patch in zip(masks, patches, strict=False):
        mask[patch] = True
    positions = np.repeat(ink.position[None], len(masks), axis=0)
    logits = recogniser.logits((ink.ink * ~masks)[:, None], positions)
    logits = logits[:, : len(recogniser.classes)]
    scaled = logits.astype(np.float64) / recogniser.bundle.calibration.temperature
    odds = scaled[:, label] - np.logaddexp.reduce(np.delete(scaled, label, axis=1), axis=1)
    drops = np.tensordot(odds[-1] - odds, masks, 1) / np.maximum(masks.sum(axis=0), 1)
    mean = np.maximum(drops, 0) * (ink.ink > 0)
    heat = np.rint(255 * mean / max(float(mean.max()), 1e-9)).astype(np.uint8)
    return heat, float(1 / (1 + np.exp(-odds.min())))


def recognition_rate(drawings: Sequence[Json]) -> Json | None:
    """Return the rate of correct predictions; None if there is no prediction."""
    judged = [one["correct"] for one in drawings if one["correct"] is not None]
    return asdict(stats.wilson(sum(judged), len(judged))) if judged else None


def _confusions(drawings: Sequence[Json]) -> list[Json]:
    totals = Counter(one["class"] for one in drawings if one["correct"] is not None)
    cells: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for one in drawings:
        if one["correct"] is False:
            cells[one["class"], one["prediction"]].append(one["id"])
    return [
        {"label": label, "prediction": predicted, "count": len(ids), "total": totals[label]}
        | {"drawings": ids}
        for (label, predicted), ids in sorted(cells.items(), key=lambda cell: -len(cell[1]))
    ]


def _base64(image: Pixels) -> str:
    return base64.b64encode(image.tobytes()).decode()


class Studio:
    """An open set; its methods may be called from several threads."""

    def __init__(self, folder: Path, backbone: Recogniser, see: Progress = no_progress) -> None:
        """Open a set and fit a recogniser to it; DataError if it cannot be opened."""
        self.backbone = backbone
        self.store = Store(folder)
        self.title = folder.resolve().name
        self.inks: dict[str, Ink] = {}  # by drawing; those about to be saved may be added
        self.importing, self.import_cancelled = threading.Lock(), threading.Event()
        self.import_progress = 0, 0  # images read, and their total
        self._changing = threading.Lock()  # of the snapshot
        # Versions grow across restarts, so that no page takes an old state for the new one.
        self.current = Snapshot(backbone, self.inks, version=int(time.time() * 1000))
        try:
            self.update(see)
        except BaseException:
            self.store.close()
            raise

    def close(self) -> None:
        """Release the set."""
        self.store.close()

    def update(self, see: Progress = no_progress) -> Snapshot:
        """Return a snapshot of all changes until now, fitted if needed."""
        with self._changing:
            state = self.store.state
            if self.current.state is not state:
                missing = [id for id in state.drawings if id not in self.inks]
                for done, id in enumerate(missing, 1):
                    see("drawings", done, len(missing))
                    try:
                        image = to_pixels(self.store.content(id)[1])
                    except SiglumError as error:
                        message = f"Drawing {id} is damaged and counts as blank: {error}"
                        warnings.warn(message, stacklevel=2)
                        image = np.full((1, 8, 8), 255, np.uint8)
                    self.inks[id] = extract(self.backbone, image)[0]
                self._publish(build(self.current, state))
            return self.current

    def analyse(self, now: Snapshot) -> None:
        """Compute what takes longer than a fit, and add it to the current snapshot."""
        curve: tuple[CurvePoint, ...] = ()
        rates: dict[str, stats.Rate] = {}
        try:
            if now.fitted is not None:
                authors = np.array([now.state.drawings[id].author for id in now.rows])
                curve, rates = learning_curve(now.fitted), by_author(now.fitted, authors)
        except Exception:  # a bug, which the next change may not meet
            traceback.print_exc()
        with self._changing:
            self._publish(replace(self.current, analysed=now.state, curve=curve, authors=rates))

    def analyse_until(self, closing: threading.Event) -> None:
        """Analyse each new snapshot, or the latest of several, until closing."""
        rest = IDLE
        while not closing.wait(rest):
            now, start = self.current, time.monotonic()
            if now.analysed is not now.state:
                self.analyse(now)
            rest = min(max(IDLE, REST * (time.monotonic() - start)), MAX_REST)

    def announce(self, issues: Mapping[str, Issue] | None = None) -> None:
        """Give the state a new version, after issues or something else than the set changed."""
        with self._changing:
            self._publish(replace(self.current, issues=issues or self.current.issues))

    def _publish(self, snapshot: Snapshot) -> None:
        snapshot = replace(snapshot, version=self.current.version + 1)
        _ = snapshot.json  # cached now, not by each of many threads that ask for it
        self.current = snapshot


def build(before: Snapshot, state: State) -> Snapshot:
    """Fit a recogniser to a state. Test drawings and classes without an example stay out."""
    backbone, inks, fonts = before.backbone, before.inks, frozenset(before.backbone.classes)
    rows = tuple(id for id in state.select(split="train") if inks[id].ink.any())
    own = [state.drawings[id].label for id in rows]
    in_fonts = {id for id, name in state.classes.items() if not fonts.isdisjoint(shapes(name))}
    class_ids = tuple(id for id in state.classes if id in in_fonts.union(own))
    names = [state.classes[id] for id in class_ids]
    examples = class_ids, names, rows, own, state.outputs
    now = replace(before, state=state, class_ids=class_ids, rows=rows, examples=examples)
    if examples == before.examples:  # only test drawings or empty classes changed
        return now
    fitted, samples, features = None, None, None
    if len(class_ids) > 1:
        if rows:
            labels = {id: label for label, id in enumerate(class_ids)}
            samples = Samples(
                np.array([inks[id].ink for id in rows]),
                np.array([labels[id] for id in own], np.int64),
                np.array([inks[id].position for id in rows]),
            )
            features = np.array([inks[id].features for id in rows])
        outputs = {shapes(name)[0]: text for name, text in state.outputs.items()}
        fitted = fit(backbone, names, samples, features, outputs)
    return replace(now, fitted=fitted)


def by_author(fitted: Fitted, authors: NDArray[np.str_]) -> dict[str, stats.Rate]:
    """Return how many of each author's drawings are recognised from those of other named ones."""
    samples, classes, rates = fitted.samples, fitted.recogniser.classes, {}
    signs = fitted.recogniser.bundle.names
    names = [name for name in dict.fromkeys(authors.tolist()) if name]
    for name in names if len(names) > 1 else []:
        own = authors == name
        others = ~own & (authors != "")  # anonymous drawings may be anybody's
        arrays: Any = (array[others] for array in samples)
        without = fit(fitted.backbone, signs, Samples(*arrays), fitted.features[others])
        possible = ~np.isin(classes, without.unknown_classes)
        own &= possible[samples.labels]
        if own.any():
            logits = without.recogniser.head.logits(fitted.features[own], samples.positions[own])
            logits = np.where(possible, logits[:, : len(classes)], -np.inf)
            hits = logits.argmax(axis=1) == samples.labels[own]
            rates[name] = stats.wilson(int(hits.sum()), len(hits))
    return rates
