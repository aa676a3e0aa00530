"""States, predictions and drawings as JSON values; docs/studio-protocol.md."""

import base64
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, astuple
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.recogniser.occlusion import heatmap
from siglum.studio.drawings import Ink
from siglum.studio.state import Snapshot, Studio

SHOWN = 5  # candidates, similar drawings

Json = dict[str, Any]


def shared_state(studio: Studio, now: Snapshot) -> Json:
    """Return the state without what depends on the session."""
    state, fonts, curve = now.state, frozenset(studio.backbone.classes), now.analysis.curve
    axis = math.log1p(curve[-1].samples_per_class if curve else 0) or 1.0
    counts, hits, judged = Counter[Any](), Counter[Any](), Counter[Any]()
    authors: dict[str, Json] = {}
    for id, entry in state.drawings.items():
        author = authors.setdefault(entry.author, {"train": 0, "test": 0, "classes": Counter()})
        author[entry.split] += 1
        author["classes"][entry.label] += 1
        for key in ((entry.split, entry.label), (entry.split, None)):
            counts[key] += 1
            hits[key] += now.guesses[id].correct is True
            judged[key] += now.guesses[id].correct is not None

    def accuracy(split: str, label: str | None = None) -> Json | None:
        key = split, label
        return asdict(stats.wilson(hits[key], judged[key])) if judged[key] else None

    def confusions(split: str) -> list[Json]:
        cells: dict[tuple[str, str | None], list[str]] = {}
        for id in state.select(split=split):
            if now.guesses[id].correct is False:
                cell = state.drawings[id].label, now.guesses[id].label
                cells.setdefault(cell, []).append(id)
        return [
            {"label": label, "prediction": predicted, "count": len(ids)}
            | {"total": judged[split, label], "drawings": ids}
            for (label, predicted), ids in sorted(cells.items(), key=lambda cell: -len(cell[1]))
        ]

    suggestions = {
        id: {"kind": one.kind, "message": one.message} for id, one in now.suggestions.items()
    }
    rates = {name: asdict(rate) for name, rate in now.analysis.authors.items()}
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
                "train": counts["train", id],
                "test": counts["test", id],
                "accuracy": accuracy("train", id),
                "test_accuracy": accuracy("test", id),
                "suggestion": suggestions.get(id),
            }
            for id, name in state.classes.items()
        ],
        "accuracy": accuracy("train"),
        "confusions": confusions("train"),
        "suggestions": [{"class": id, **one} for id, one in suggestions.items()],
        "learning_curve": [
            {"drawings": n, "accuracy": mean, "low": low, "high": high, "x": math.log1p(n) / axis}
            for n, mean, low, high in map(astuple, curve)
        ],
        "calibration": _calibration(now),
        "authors": [
            {"name": name, **row, "accuracy": rates.get(name)} for name, row in authors.items()
        ],
        "test": {"accuracy": accuracy("test"), "confusions": confusions("test")},
    }


def _calibration(now: Snapshot) -> Json | None:
    if now.fitted is None:
        return None
    calibration = now.fitted.recogniser.bundle.calibration
    sets, rejection = calibration.sets, calibration.rejection
    if sets is None or rejection is None:
        return None
    return {
        "coverage": sets.coverage,
        "false_rejection_rate": round(1 - rejection.coverage, 6),
        "measured": bool(sets.num_samples and rejection.num_samples),
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
        names = now.fitted.recogniser.classes
        value["candidates"] = [
            {"class": now.class_ids[k], "name": names[k], "probability": float(probs[k])}
            for k in order[:SHOWN]
        ]
        value["prediction_set"] = [now.class_ids[label] for label in order if chosen[label]]
        value["rejected"] = bool(rejected)
        if heat:
            image, lowest = heatmap(now.fitted.recogniser, ink.ink, ink.position, order[0])
            value |= {"heatmap": _base64(image), "probability_covered": lowest}
        similarity = now.fitted.features @ ink.features
        nearest = np.argsort(-similarity, kind="stable")[:SHOWN].tolist()
        ids = [now.rows[row] for row in nearest]
        value["similar"] = [{"id": id, "class": now.state.drawings[id].label} for id in ids]
    return value | {"ms": round(1000 * (time.perf_counter() - start), 1)}


def drawing(now: Snapshot, id: str) -> Json:
    """Return the facts about a saved drawing, and the prediction for it."""
    entry, guess = now.state.drawings[id], now.guesses[id]
    facts: Json = {"class": entry.label, "author": entry.author, "split": entry.split}
    facts |= {"id": id, "time": entry.time, "photo": bool(entry.photo)}
    facts |= {"prediction": guess.label, "rejected": guess.rejected}
    return facts | {"probability": guess.probability, "correct": guess.correct}


def _base64(image: NDArray[np.uint8]) -> str:
    return base64.b64encode(image.tobytes()).decode()
