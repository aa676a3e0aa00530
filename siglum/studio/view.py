"""What the page is told: states, answers and samples as JSON values; docs/studio-protocol.md.

Shapes: S the side of the frame, K classes.
"""

import base64
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siglum import stats
from siglum.recogniser.bundle import Calibration
from siglum.recogniser.predict import Recogniser
from siglum.studio import changes
from siglum.studio.changes import Change, Line
from siglum.studio.heat import heat as heat_of
from siglum.studio.seen import Seen
from siglum.studio.snapshot import Snapshot, class_id, reading_of

SHOWN = 5  # answers, nearest drawings

Json = dict[str, Any]


def shared(now: Snapshot, backbone: Recogniser, title: str, folder: str) -> Json:
    """Return what the page shows of a folder to everybody, but for the drawings.

    Args:
        title: what the folder is called.
        folder: its random id.
    """
    advice = {name: why for name, why in now.analysis.advice if name in now.state.classes}
    printed = frozenset(backbone.classes)
    counts = Counter((entry.class_name, entry.part) for entry in now.state.drawings.values())
    judged = _judged(now)
    return {
        "version": now.version,
        "title": title,
        "folder": folder,
        "ready": now.taught is not None,
        "analysed": now.analysis.at == now.at,
        "classes": [
            {
                "id": class_id(name),
                "name": name,
                "print": name in printed,
                "taught": counts[name, "taught"],
                "quiz": counts[name, "quiz"],
                "judged": {part: len(hits.get(name, [])) for part, hits in judged.items()},
                "right": _rate(judged["taught"].get(name, [])),
                "advice": advice.get(name),
            }
            for name in now.state.classes
        ],
        "right": _rate([hit for hits in judged["taught"].values() for hit in hits]),
        "confusions": _confusions(now, "taught"),
        "advice": [{"class": class_id(name), "why": why} for name, why in advice.items()],
        "curve": [
            {"samples": one.samples, "right": one.right, "low": one.low, "high": one.high}
            for one in now.analysis.curve
        ],
        "promises": promises(now),
        "writers": _writers(now),
        "quiz": {
            "right": _rate([hit for hits in judged["quiz"].values() for hit in hits]),
            "confusions": _confusions(now, "quiz"),
        },
    }


def turns(lines: Sequence[Line], session: str | None) -> Json:
    """Return what can be undone and made again.

    Args:
        lines: of the ledger.
        session: whose changes they are; None for everybody's.
    """
    undo, redo = changes.last(lines, session)
    return {"undo": _line(lines, undo), "redo": _line(lines, redo)}


def answer(now: Snapshot, seen: Seen, evidence: Sequence[str], heat: bool, began: float) -> Json:
    """Return what is said of one character.

    Args:
        evidence: what was done to it, in words.
        heat: whether to find out on which ink the answer rests, too.
        began: `time.perf_counter()` when it was asked.
    """
    empty = seen.empty
    found: Json = {
        "answers": [],
        "set": [],
        "none": False,
        "empty": empty,
        "ink": _bytes(seen.ink),
        "side": len(seen.ink),
        "evidence": list(evidence),
        "nearest": [] if empty else _nearest(now, seen),
    }
    if now.taught is not None and now.lesson is not None and not empty:
        recogniser, classes = now.taught.recogniser, now.lesson.classes
        reading = reading_of(recogniser, [seen])
        order = np.argsort(-reading.probs[0], kind="stable")
        found["answers"] = [
            {
                "class": class_id(classes[label]),
                "name": classes[label],
                "probability": float(reading.probs[0, label]),
            }
            for label in order[:SHOWN].tolist()
        ]
        found["set"] = [
            class_id(classes[label]) for label in order.tolist() if reading.sets[0, label]
        ]
        found["none"] = bool(reading.none[0])
        if heat:
            shown, left = heat_of(recogniser, seen.ink, seen.place[None], int(order[0]))
            found |= {"heat": _bytes(shown), "heat_left": left}
    found["ms"] = round(1000 * (time.perf_counter() - began), 1)
    return found


def sample(now: Snapshot, name: str) -> Json:
    """Return what is known of a drawing."""
    entry = now.state.drawings[name]
    read, read_as = now.read.get(name), now.read_as(name)
    return {
        "id": name,
        "class": class_id(entry.class_name),
        "writer": entry.writer,
        "part": entry.part,
        "wrong": now.is_right(name) is False,
        "read": None if read_as is None else class_id(read_as),
        "probability": 0.0 if read is None else read.probability,
    }


def promises(now: Snapshot) -> list[str]:
    """Say what is promised of new drawings, and what is only guessed."""
    if now.taught is None:
        return []
    found: Calibration = now.taught.recogniser.bundle.calibration
    said = []
    for promise, what in (
        (found.sets, "of the sets hold the sign that was meant"),
        (found.none, "of true signs are taken for none of these, at most"),
    ):
        if promise is not None:
            how = "Promised of drawings like these" if promise.pictures else "Guessed, not promised"
            said.append(f"{how}: {100 * promise.share:.0f} % {what}.")
    return said


def _nearest(now: Snapshot, seen: Seen) -> list[Json]:
    """Return the taught drawings that look most alike to the network, the nearest first."""
    if now.lesson is None or not len(now.lesson):
        return []
    alike = now.lesson.features @ seen.features
    nearest = [now.rows[row] for row in np.argsort(-alike, kind="stable")[:SHOWN].tolist()]
    return [{"id": one, "class": class_id(now.state.drawings[one].class_name)} for one in nearest]


def _judged(now: Snapshot) -> dict[str, dict[str, list[bool]]]:
    """Return whether each drawing that can be judged is read right, by part and class."""
    found: dict[str, dict[str, list[bool]]] = {"taught": {}, "quiz": {}}
    for name in now.read:
        if (right := now.is_right(name)) is not None:
            entry = now.state.drawings[name]
            found[entry.part].setdefault(entry.class_name, []).append(right)
    return found


def _confusions(now: Snapshot, part: str) -> list[Json]:
    """Return which class is read as which other or none, the commonest first, with the drawings."""
    cells: dict[tuple[str, str | None], list[str]] = {}
    of: Counter[str] = Counter()
    for name in now.read:
        entry, right = now.state.drawings[name], now.is_right(name)
        if entry.part != part or right is None:
            continue
        of[entry.class_name] += 1
        if not right:
            cells.setdefault((entry.class_name, now.read_as(name)), []).append(name)
    return [
        {
            "meant": class_id(meant),
            "read": None if read_as is None else class_id(read_as),
            "times": len(names),
            "of": of[meant],
            "samples": names,
        }
        for (meant, read_as), names in sorted(cells.items(), key=lambda cell: -len(cell[1]))
    ]


def _writers(now: Snapshot) -> list[Json]:
    """Return how much each writer drew, of which class, and how well others' teaching reads it."""
    found: dict[str, Json] = {}
    for entry in now.state.drawings.values():
        empty = {"name": entry.writer, "taught": 0, "quiz": 0, "right": None, "classes": {}}
        one = found.setdefault(entry.writer, empty)
        one[entry.part] += 1
        drawn, class_ = one["classes"], class_id(entry.class_name)
        drawn[class_] = drawn.get(class_, 0) + 1
    rates: Mapping[str, stats.Rate] = now.analysis.writers
    for name, one in found.items():
        if name in rates:
            one["right"] = _shown(rates[name])
    return list(found.values())


def _line(lines: Sequence[Line], number: int | None) -> Json | None:
    if number is None:
        return None
    change = lines[number - 1].change
    assert not isinstance(change, changes.Undo | changes.Redo)
    return {"line": number, "said": words(change)}


def words(change: Change) -> str:
    """Say what a change was, as in "added x"; names stand in isolates, as they may be written."""
    match change:
        case changes.AddClass(name):
            return f"added {_isolated(name)}"
        case changes.RenameClass(name, to):
            return f"renamed {_isolated(name)} to {_isolated(to)}"
        case changes.MergeClass(name, into):
            return f"merged {_isolated(name)} into {_isolated(into)}"
        case changes.DeleteClass(name):
            return f"deleted {_isolated(name)}"
        case changes.AddDrawing(_, name):
            return f"drew {_isolated(name)}"
        case changes.MoveDrawings(drawings, to):
            return f"moved {_drawings(drawings)} to {_isolated(to)}"
        case changes.RemoveDrawings(drawings):
            return f"deleted {_drawings(drawings)}"


def _drawings(names: Sequence[str]) -> str:
    return "a drawing" if len(names) == 1 else f"{len(names):,} drawings"


def _isolated(name: str) -> str:
    return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}"


def _rate(hits: Sequence[bool]) -> Json | None:
    return _shown(stats.wilson(sum(hits), len(hits))) if hits else None


def _shown(rate: stats.Rate) -> Json:
    return {"hits": rate.hits, "total": rate.total, "low": rate.low, "high": rate.high}


def _bytes(array: NDArray[np.uint8]) -> str:
    return base64.b64encode(array.tobytes()).decode()
