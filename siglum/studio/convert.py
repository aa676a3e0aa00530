"""Convert a set in the format before SQLite: image files in folders and a ledger of changes.

The old files stay, in `old-format/` inside the set. What cannot be read is named in a warning.
"""

import json
import re
import sqlite3
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from siglum.errors import DataError
from siglum.files import read_json, sync_dir
from siglum.images import decode, strokes, studio_set
from siglum.images.studio_set import OLD_FILE as LEDGER
from siglum.studio.drawings import stroke_image, to_png

COPY = "old-format"
FOLDERS = ("removed", "quiz", "samples")
OLD_FILES = (*FOLDERS, ".id", LEDGER)
DRAWING_ID = re.compile("[0-9a-f]{16}")
Labels = dict[str, str | None]  # name of the class by drawing; None for a deleted one


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
    classes, labels = _replay(folder / LEDGER)
    for id, paths in sorted(files.items()):
        labels.setdefault(id, _label(paths))
    ids = {name: f"{number:016x}" for number, name in enumerate(classes, 1)}
    for name in filter(None, labels.values()):
        ids.setdefault(name, f"{len(ids) + 1:016x}")
    for name, id in ids.items():
        database.execute("INSERT INTO class (id, name) VALUES (?, ?)", (id, name))
    unreadable = []
    for id, label in labels.items():
        content = _read(files.get(id, {}))
        if content is not None:
            studio_set.insert(database, id, None if label is None else ids[label], *content)
        elif label is not None:
            unreadable.append(id)
    if unreadable:
        warnings.warn(
            f"{folder}: {len(unreadable):,} damaged or missing drawings were left out, such as "
            f"{unreadable[0]}. The old files are in {folder / COPY}.",
            stacklevel=4,
        )
    with suppress(OSError, ValueError):
        return (folder / ".id").read_text("ascii")[:16]
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


def _find(folder: Path) -> dict[str, dict[str, Path]]:
    """Return the files of every drawing by suffix; an interrupted move may have parted them."""
    files: dict[str, dict[str, Path]] = {}
    for top in FOLDERS:
        for path in sorted((folder / top).rglob("*")):
            if DRAWING_ID.fullmatch(path.stem) and path.suffix in (".json", ".png"):
                files.setdefault(path.stem, {})[path.suffix] = path
    return files


def _label(paths: Mapping[str, Path]) -> str | None:
    parent = next(iter(paths.values())).parent
    if parent.name == "removed":
        return None
    with suppress(OSError, ValueError):
        return (parent / "name.txt").read_text("utf-8") or parent.name
    return parent.name


def _replay(ledger: Path) -> tuple[list[str], Labels]:
    """Return the classes and labels after all changes of a ledger; none if it is damaged."""
    classes: list[str] = []
    labels: Labels = {}
    undone: set[int] = set()
    try:
        lines = [json.loads(line) for line in ledger.read_bytes().split(b"\n")[:-1]]
        for line in lines:
            if line["do"] in ("undo", "redo"):
                (undone.add if line["do"] == "undo" else undone.discard)(line["of"])
        for number, line in enumerate(lines, 1):
            if number not in undone:
                _apply(line, classes, labels)
        return classes, labels
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        warnings.warn(
            f"{ledger} is damaged ({error!r:.80}), so the classes were read from the folders "
            "instead. Drawings that you had moved or deleted just before may be back.",
            stacklevel=5,
        )
    return [], {}


def _apply(line: dict[str, Any], classes: list[str], labels: Labels) -> None:
    name, target = line.get("name"), line.get("to", line.get("into"))
    match line["do"]:
        case "add class":
            classes.append(line["name"])
        case "add drawing":
            labels[line["drawing"]] = name
        case "move drawings" | "remove drawings":
            labels.update(dict.fromkeys(line["drawings"], target))
        case "rename class" | "merge class" | "delete class":
            index = classes.index(line["name"])
            classes[index : index + 1] = [line["to"]] if line["do"] == "rename class" else []
            labels.update({id: target for id, label in labels.items() if label == name})
        case "undo" | "redo":
            pass
        case other:
            raise ValueError(f"unknown change {other!r}")


def _read(paths: Mapping[str, Path]) -> tuple[tuple[object, ...], str | None, bytes] | None:
    """Return (author, split, time, photo), strokes and image; one of the files may be damaged."""
    image, points, author, time = b"", None, "", ""
    split = "test" if any(path.parents[1].name == "quiz" for path in paths.values()) else "train"
    with suppress(OSError, DataError, KeyError):
        content = paths[".png"].read_bytes()
        decode.decode(content)
        image = content
    with suppress(DataError, AttributeError, KeyError):
        value = read_json(paths[".json"])
        author, part, time = (str(value.pop(key)) for key in ("writer", "part", "when"))
        split = "test" if part == "quiz" else "train"
        drawing = strokes.parse(value)  # fails for a photo, which has none
        points = json.dumps(strokes.to_json(drawing))
        image = image or to_png(stroke_image(drawing))
    return ((author, split, time, points is None), points, image) if image else None
