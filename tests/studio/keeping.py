"""A ledger that is begun, and what a reader of its folders finds."""

from pathlib import Path

from siglum.images import samples
from siglum.images.strokes import parse
from siglum.studio.changes import AddClass, State
from siglum.studio.ledger import Ledger

SHOWN = parse({"version": 1, "aspect": 1, "strokes": [[[0.2, 0.2, 0, 0.5], [0.8, 0.7, 9, 0.5]]]})


def begun(folder: Path, *names: str) -> Ledger:
    ledger = Ledger(folder)
    for name in names:
        ledger.record(AddClass(name))
    return ledger


def on_disk(folder: Path) -> dict[str, tuple[str, str]]:
    """Class and part of every drawing that a reader of the folders would find."""
    return {
        found.path.name: (found.class_name, found.part)
        for found in samples.find(folder)
        if found.class_name is not None and found.part is not None
    }


def in_state(state: State) -> dict[str, tuple[str, str]]:
    return {name: (entry.class_name, entry.part) for name, entry in state.drawings.items()}
