"""Convert a set in the format before SQLite: image files in folders and a ledger of changes.

The old files stay, in `old-format/` inside the set. What cannot be read is named in a warning.
"""

import json
import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from siglum.errors import DataError
from siglum.files import read_json, sync_dir
from siglum.images import decode, strokes
from siglum.images.studio_set import OLD_FILE as LEDGER
from siglum.studio.drawings import stroke_image, to_png

SPLITS = {"samples": "train", "quiz": "test", "removed": "train"}  # by folder
OLD_FILES = (*SPLITS, ".id", LEDGER)
COPY = "old-format"
DRAWING_ID = re.compile("[0-9a-f]{16}")


class _Files(NamedTuple):
    split: str
    label: str | None  # of the folder; None for a deleted drawing
    json: Path | None
    image: Path | None


class _History(NamedTuple):
    classes: list[str]
    labels: dict[str, str | None]  # by drawing, in order of creation; None for a deleted one


def is_old_set(folder: Path) -> bool:
    """Return whether a folder holds a set in the old format."""
    return (folder / LEDGER).is_file() or any(
        DRAWING_ID.fullmatch(path.stem) for path in (folder / "samples").glob("*/*.json")
    )


def read_old_set(folder: Path, database: sqlite3.Connection) -> str | None:
    """Copy a set in the old format into an empty database; return its id, None if there is none."""
    if not is_old_set(folder):
        return None
    files = _find(folder)
    history = _replay(folder / LEDGER) or _History([], {})
    labels = history.labels | {
        id: one.label for id, one in sorted(files.items()) if id not in history.labels
    }
    names = dict.fromkeys([*history.classes, *filter(None, labels.values())])
    ids = {name: f"{number:016x}" for number, name in enumerate(names, 1)}
    for name, id in ids.items():
        database.execute("INSERT INTO class (id, name) VALUES (?, ?)", (id, name))
    unreadable = []
    for id, label in labels.items():
        try:
            facts, points, image = _read(files.get(id))
        except DataError as error:
            if label is not None:
                unreadable.append(f"{id}: {error}")
            continue
        number = database.execute(
            "INSERT INTO drawing (id, class, split, author, time, photo) VALUES (?, ?, ?, ?, ?, ?)",
            (id, None if label is None else ids[label], *facts, points is None),
        ).lastrowid
        database.execute("INSERT INTO content VALUES (?, ?, ?)", (number, points, image))
    if unreadable:
        warnings.warn(
            f"{folder}: {len(unreadable):,} damaged or missing drawings were left out, such as "
            f"{unreadable[0]} The old files are in {folder / COPY}.",
            stacklevel=4,
        )
    with suppress(OSError, ValueError):
        if DRAWING_ID.fullmatch(set_id := (folder / ".id").read_text("ascii")):
            return set_id
    return None


def put_old_files_away(folder: Path) -> None:
    """Move the files of the old format, which have been converted, to a folder of their own."""
    if not is_old_set(folder):
        return
    target = folder / COPY
    while any((target / name).exists() and (folder / name).exists() for name in OLD_FILES):
        target = target.with_name(f"{target.name}-copy")
    target.mkdir(exist_ok=True)
    for name in OLD_FILES:
        with suppress(FileNotFoundError):
            (folder / name).rename(target / name)
    sync_dir(folder)


def _find(folder: Path) -> dict[str, _Files]:
    """Return the files of every drawing; an interrupted move may have parted them."""
    files: dict[str, _Files] = {}
    for top, split in SPLITS.items():
        label: str | None = None
        for path in sorted((folder / top).glob("*" if top == "removed" else "*/*")):
            if not DRAWING_ID.fullmatch(path.stem) or path.suffix not in (".json", ".png"):
                continue
            if top != "removed":
                label = path.parent.name
                with suppress(OSError, ValueError):
                    label = (path.parent / "name.txt").read_text("utf-8") or label
            one = files.get(path.stem, _Files(split, label, None, None))
            one = one._replace(label=one.label or label)
            is_json = path.suffix == ".json"
            files[path.stem] = one._replace(json=path) if is_json else one._replace(image=path)
    return files


def _replay(ledger: Path) -> _History | None:
    """Return the classes and labels after all changes of a ledger; None if it is damaged."""
    try:
        lines = [json.loads(line) for line in ledger.read_bytes().split(b"\n")[:-1]]
        undone: set[int] = set()
        for line in lines:
            if line["do"] in ("undo", "redo"):
                (undone.add if line["do"] == "undo" else undone.discard)(line["of"])
        return _apply(line for number, line in enumerate(lines, 1) if number not in undone)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        warnings.warn(
            f"{ledger} is damaged ({error!r:.80}), so the classes were read from the folders "
            "instead. Drawings that you had moved or deleted just before may be back.",
            stacklevel=5,
        )
        return None


def _apply(lines: Iterator[dict[str, Any]]) -> _History:
    classes: list[str] = []
    labels: dict[str, str | None] = {}

    def relabel(old: str, new: str | None) -> None:
        labels.update({id: new for id, label in labels.items() if label == old})

    for line in lines:
        match line["do"]:
            case "add class":
                classes.append(line["name"])
            case "rename class":
                classes[classes.index(line["name"])] = line["to"]
                relabel(line["name"], line["to"])
            case "merge class" | "delete class":
                classes.remove(line["name"])
                relabel(line["name"], line.get("into"))
            case "add drawing":
                labels[line["drawing"]] = line["name"]
            case "move drawings" | "remove drawings":
                labels.update(dict.fromkeys(line["drawings"], line.get("to")))
            case "undo" | "redo":
                pass
            case other:
                raise ValueError(f"unknown change {other!r}")
    return _History(classes, labels)


def _read(files: _Files | None) -> tuple[tuple[str, str, str], str | None, bytes]:
    """Return (split, author, time), strokes and image; either of the two files may be damaged."""
    if files is None:
        raise DataError("its files are missing.")
    image = b""
    facts = (files.split, "", "")
    points = None
    with suppress(OSError, DataError):
        if files.image is not None:
            content = files.image.read_bytes()
            decode.decode(content)
            image = content
    with suppress(DataError, AttributeError, KeyError):
        if files.json is not None:
            value = read_json(files.json)
            author, split, time = (str(value.pop(key)) for key in ("writer", "part", "when"))
            facts = ("test" if split == "quiz" else "train", author, time)
            drawing = strokes.parse(value)  # fails for a photo, which has none
            points = json.dumps(strokes.to_json(drawing))
            image = image or to_png(stroke_image(drawing))
    if not image:
        raise DataError("its files are damaged.")
    return facts, points, image
