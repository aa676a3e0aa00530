"""States, predictions and drawings as JSON values; docs/studio-protocol.md."""

import base64
import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.recogniser.fit import CurvePoint
from siglum.recogniser.occlusion import heatmap
from siglum.studio.drawings import Ink
from siglum.studio.state import Guess, Snapshot, Studio
from siglum.studio.store import Store

SHOWN = 5  # candidates, similar drawings

Json = dict[str, Any]


def shared_state(studio: Studio, now: Snapshot) -> Json:
    """Return the state without what depends on the session."""
    state, fonts = now.state, frozenset(studio.backbone.classes)
    counts = Counter((entry.label, entry.split) for entry in state.drawings.values())
    suggestions = {
        id: {"kind": one.kind, "message": one.message} for id, one in now.suggestions.items()
    }
    return {
        "version": now.version,
        "title": studio.title,
        "set_id": studio.store.set_id,
        "ready": now.fitted is not None,
        "up_to_date": now.analysis.of is now.state,
        "classes": [
            {
                "id": id,
                "name": name,
                "in_fonts": name in fonts,
                "train": counts[id, "train"],
                "test": counts[id, "test"],
                "accuracy": accuracy(now, "train", id),
                "test_accuracy": accuracy(now, "test", id),
                "suggestion": suggestions.get(id),
            }
            for id, name in state.classes.items()
        ],
        "accuracy": accuracy(now, "train"),
        "confusions": confusions(now, "train"),
        "suggestions": [{"class": id, **one} for id, one in suggestions.items()],
        "learning_curve": learning_curve(now.analysis.curve),
        "calibration": calibration(now),
        "authors": authors(now),
        "test": {"accuracy": accuracy(now, "test"), "confusions": confusions(now, "test")},
    }


def history(store: Store, session: str | None) -> Json:
    """Return what a session can undo and redo."""
    events = {word: store.last_event(word, session) for word in ("undo", "redo")}
    return {
        word: event and {"event": event.number, "description": event.description}
        for word, event in events.items()
    }


def prediction(now: Snapshot, ink: Ink, notes: Sequence[str], heat: bool, start: float) -> Json:
    """Return the prediction for one sign.

    Args:
        heat: whether to compute a heatmap too.
        start: `time.perf_counter()` when the request came.
    """
    value: Json = {"candidates": [], "prediction_set": [], "rejected": False, "similar": []}
    value |= {"empty": ink.empty, "ink": _base64(ink.ink), "size": len(ink.ink), "notes": [*notes]}
    if now.fitted is not None and not ink.empty:
        (probs,), (chosen,), (rejected,) = now.predict([ink])
        order = np.argsort(-probs, kind="stable").tolist()
        ids = [now.class_ids[label] for label in order]
        value["candidates"] = [
            {"class": id, "name": now.state.classes[id], "probability": float(probs[label])}
            for id, label in zip(ids[:SHOWN], order, strict=False)
        ]
        value["prediction_set"] = [
            id for id, label in zip(ids, order, strict=True) if chosen[label]
        ]
        value["rejected"] = bool(rejected)
        if heat:
            image, lowest = heatmap(now.fitted.recogniser, ink.ink, ink.position, order[0])
            value |= {"heatmap": _base64(image), "probability_covered": lowest}
    if now.fitted is not None and now.rows and not ink.empty:
        nearest = np.argsort(-(now.fitted.training_set.features @ ink.features), kind="stable")[
            :SHOWN
        ]
        similar = [now.rows[row] for row in nearest.tolist()]
        value["similar"] = [{"id": id, "class": now.state.drawings[id].label} for id in similar]
    return value | {"ms": round(1000 * (time.perf_counter() - start), 1)}


def drawing(now: Snapshot, id: str) -> Json:
    """Return the facts about a saved drawing, and the prediction for it."""
    entry, guess = now.state.drawings[id], now.guesses.get(id, Guess())
    facts: Json = {"class": entry.label, "author": entry.author, "split": entry.split}
    facts |= {"id": id, "time": entry.time, "photo": bool(entry.photo)}
    predicted = {"prediction": guess.label, "rejected": guess.rejected}
    return facts | predicted | {"probability": guess.probability, "correct": guess.correct}


def accuracy(now: Snapshot, split: str, label: str | None = None) -> Json | None:
    """Return the rate of correct predictions for the drawings of a split, or of a class."""
    guesses = [now.guesses.get(id, Guess()) for id in now.state.select(label, split)]
    judged = [guess.correct for guess in guesses if guess.correct is not None]
    return _rate(stats.wilson(sum(judged), len(judged))) if judged else None


def confusions(now: Snapshot, split: str) -> list[Json]:
    """Return which class is mistaken for which, with the drawings, most frequent first."""
    cells: dict[tuple[str, str | None], list[str]] = {}
    totals: Counter[str] = Counter()
    for id in now.state.select(split=split):
        label, guess = now.state.drawings[id].label, now.guesses.get(id, Guess())
        totals[label] += guess.correct is not None
        if guess.correct is False:
            cells.setdefault((label, guess.label), []).append(id)
    return [
        {"label": label, "prediction": predicted, "count": len(ids), "total": totals[label]}
        | {"drawings": ids}
        for (label, predicted), ids in sorted(cells.items(), key=lambda cell: -len(cell[1]))
    ]


def learning_curve(points: Sequence[CurvePoint]) -> list[Json]:
    """Return the points of the curve; `x` is the logarithmic position on the axis, 0 to 1."""
    last = (
        math.log1p(points[-1].samples_per_class) if points and points[-1].samples_per_class else 1.0
    )
    return [
        {
            "drawings": one.samples_per_class,
            "accuracy": one.accuracy,
            "low": one.low,
            "high": one.high,
        }
        | {"x": math.log1p(one.samples_per_class) / last}
        for one in points
    ]


def calibration(now: Snapshot) -> Json | None:
    """Return what is promised of predictions, and whether it was measured on these drawings."""
    if now.fitted is None:
        return None
    sets = now.fitted.recogniser.bundle.calibration.sets
    rejection = now.fitted.recogniser.bundle.calibration.rejection
    if sets is None or rejection is None:
        return None
    measured = bool(sets.num_samples and rejection.num_samples)
    rates = {"coverage": sets.coverage, "false_rejection_rate": round(1 - rejection.coverage, 6)}
    return rates | {"measured": measured}


def authors(now: Snapshot) -> list[Json]:
    """Return how much each author drew, and how well it is recognised."""
    rows: dict[str, Json] = {}
    for entry in now.state.drawings.values():
        row = rows.setdefault(entry.author, {"train": 0, "test": 0, "classes": Counter()})
        row[entry.split] += 1
        row["classes"][entry.label] += 1
    rates = now.analysis.authors
    return [
        {"name": name, **row, "accuracy": _rate(rates[name]) if name in rates else None}
        for name, row in rows.items()
    ]


def _rate(rate: stats.Rate) -> Json:
    return {"hits": rate.hits, "total": rate.total, "low": rate.low, "high": rate.high}


def _base64(image: NDArray[np.uint8]) -> str:
    return base64.b64encode(image.tobytes()).decode()
