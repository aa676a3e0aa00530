"""States, predictions and drawings as JSON values; docs/studio-protocol.md."""

import base64
import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from siglum import stats
from siglum.recogniser.fit import CurvePoint
from siglum.studio.drawings import Ink, Pixels, heatmap
from siglum.studio.state import Guess, Snapshot, Studio

SHOWN = 5  # candidates, similar drawings

Json = dict[str, Any]


def shared_state(studio: Studio, now: Snapshot) -> Json:
    """Return the state without what depends on the session."""
    state, fonts = now.state, frozenset(studio.backbone.classes)
    counts = Counter((entry.label, entry.split) for entry in state.drawings.values())
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
                "suggestion": vars(now.suggestions[id]) if id in now.suggestions else None,
            }
            for id, name in state.classes.items()
        ],
        "accuracy": accuracy(now, "train"),
        "confusions": confusions(now, "train"),
        "suggestions": [{"class": id, **vars(one)} for id, one in now.suggestions.items()],
        "learning_curve": learning_curve(now.analysis.curve),
        "calibration": calibration(now),
        "authors": authors(now),
        "test": {"accuracy": accuracy(now, "test"), "confusions": confusions(now, "test")},
    }


def history(studio: Studio, session: str | None) -> Json:
    """Return what a session can undo and redo."""
    return {
        word: None if event is None else {"event": event[0], "description": event[1]}
        for word, event in studio.store.last_events(session).items()
    }


def prediction(now: Snapshot, ink: Ink, notes: Sequence[str], heat: bool, start: float) -> Json:
    """Return the prediction for one sign.

    Args:
        heat: whether to compute a heatmap too.
        start: `time.perf_counter()` when the request came.
    """
    value: Json = {
        "candidates": [],
        "prediction_set": [],
        "rejected": False,
        "empty": ink.empty,
        "ink": _base64(ink.ink),
        "size": len(ink.ink),
        "notes": list(notes),
        "similar": _similar(now, ink),
    }
    if now.fitted is not None and not ink.empty:
        reading = now.predict([ink])
        probs = reading.probs[0]
        order = np.argsort(-probs, kind="stable").tolist()
        value["candidates"] = [
            {
                "class": now.class_ids[label],
                "name": now.state.classes[now.class_ids[label]],
                "probability": float(probs[label]),
            }
            for label in order[:SHOWN]
        ]
        chosen = reading.sets[0]
        value["prediction_set"] = [now.class_ids[label] for label in order if chosen[label]]
        value["rejected"] = bool(reading.rejected[0])
        if heat:
            image, lowest = heatmap(now.fitted.recogniser, ink, order[0])
            value |= {"heatmap": _base64(image), "probability_covered": lowest}
    value["ms"] = round(1000 * (time.perf_counter() - start), 1)
    return value


def drawing(now: Snapshot, id: str) -> Json:
    """Return the facts about a saved drawing, and the prediction for it."""
    entry, guess = now.state.drawings[id], now.guesses.get(id, Guess(None))
    return {
        "id": id,
        "class": entry.label,
        "author": entry.author,
        "split": entry.split,
        "time": entry.time,
        "photo": bool(entry.photo),
        "prediction": guess.label,
        "rejected": guess.rejected,
        "probability": guess.probability,
        "correct": guess.correct,
    }


def accuracy(now: Snapshot, split: str, label: str | None = None) -> Json | None:
    """Return the rate of correct predictions for the drawings of a split, or of a class."""
    guesses = [now.guesses.get(id, Guess(None)) for id in now.state.select(label, split)]
    judged = [guess.correct for guess in guesses if guess.correct is not None]
    return _rate(stats.wilson(sum(judged), len(judged))) if judged else None


def confusions(now: Snapshot, split: str) -> list[Json]:
    """Return which class is mistaken for which, with the drawings, most frequent first."""
    cells: dict[tuple[str, str | None], list[str]] = {}
    totals: Counter[str] = Counter()
    for id in now.state.select(split=split):
        label, guess = now.state.drawings[id].label, now.guesses.get(id, Guess(None))
        totals[label] += guess.correct is not None
        if guess.correct is False:
            cells.setdefault((label, guess.label), []).append(id)
    return [
        {
            "label": label,
            "prediction": predicted,
            "count": len(ids),
            "total": totals[label],
            "drawings": ids,
        }
        for (label, predicted), ids in sorted(cells.items(), key=lambda cell: -len(cell[1]))
    ]


def learning_curve(points: Sequence[CurvePoint]) -> list[Json]:
    """Return the points of the curve; `x` is the logarithmic position on the axis, 0 to 1."""
    last = (
        math.log1p(points[-1].samples_per_class) if points and points[-1].samples_per_class else 1.0
    )
    return [
        {
            "drawings": point.samples_per_class,
            "accuracy": point.accuracy,
            "low": point.low,
            "high": point.high,
            "x": math.log1p(point.samples_per_class) / last,
        }
        for point in points
    ]


def calibration(now: Snapshot) -> Json | None:
    """Return what is promised of predictions, and whether it was measured on these drawings."""
    if now.fitted is None:
        return None
    values = now.fitted.recogniser.bundle.calibration
    if values.sets is None or values.rejection is None:
        return None
    return {
        "coverage": values.sets.coverage,
        "false_rejection_rate": 1 - values.rejection.coverage,
        "measured": bool(values.sets.num_samples and values.rejection.num_samples),
    }


def authors(now: Snapshot) -> list[Json]:
    """Return how much each author drew, and how well it is recognised."""
    found: dict[str, Json] = {}
    for entry in now.state.drawings.values():
        empty = {"name": entry.author, "train": 0, "test": 0, "classes": {}, "accuracy": None}
        one = found.setdefault(entry.author, empty)
        one[entry.split] += 1
        one["classes"][entry.label] = one["classes"].get(entry.label, 0) + 1
    for name, rate in now.analysis.authors.items():
        if name in found:
            found[name]["accuracy"] = _rate(rate)
    return list(found.values())


def _similar(now: Snapshot, ink: Ink) -> list[Json]:
    if now.training_set is None or not now.rows or ink.empty:
        return []
    order = np.argsort(-(now.training_set.features @ ink.features), kind="stable")
    ids = [now.rows[row] for row in order[:SHOWN].tolist()]
    return [{"id": id, "class": now.state.drawings[id].label} for id in ids]


def _rate(rate: stats.Rate) -> Json:
    return {"hits": rate.hits, "total": rate.total, "low": rate.low, "high": rate.high}


def _base64(image: Pixels) -> str:
    return base64.b64encode(image.tobytes()).decode()
