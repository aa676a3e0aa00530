"""What a user takes away: the recogniser as a bundle, the drawings as plain files."""

import csv
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from siglum.errors import DataError
from siglum.files import write_atomic
from siglum.recogniser import bundle as bundles
from siglum.recogniser.fit import to_bundle
from siglum.studio.errors import StudioError
from siglum.studio.state import Snapshot
from siglum.studio.store import Store

SPOOL = 16 * 2**20  # bytes of a zip that stay in memory
UNSAFE = re.compile(  # in names of folders, on some file system
    r'[\x00-\x1f\x7f<>:"/\\|?*%~]|^[. ]|[. ]$|^(?=(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)).',
    re.IGNORECASE,
)


def bundle(now: Snapshot) -> bytes:
    """Return the file of the recogniser."""
    if now.fitted is None:
        raise StudioError("conflict", "Two signs are needed first. Add or draw them under Teach.")
    return bundles.encode(to_bundle(now.fitted, command="siglum studio"))


def files(store: Store) -> Iterator[tuple[str, bytes]]:
    """Yield relative path and content of every file of an export; docs/samples-format.md."""
    state = store.state
    has_test = any(entry.split == "test" for entry in state.drawings.values())
    folders = _folders(state.classes)
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(["file", "label", "author", "split", "time"])
    for id, entry in state.drawings.items():
        strokes, image = store.content(id)
        stem = f"{entry.split + '/' if has_test else ''}{folders[entry.label]}/{id}"
        facts = {"label": state.classes[entry.label], "author": entry.author}
        facts |= {"split": entry.split, "time": entry.time}
        drawing = json.loads(strokes) if strokes else {}
        yield f"{stem}.png", image
        yield f"{stem}.json", json.dumps(facts | drawing, ensure_ascii=False).encode()
        rows.writerow([f"{stem}.png", *facts.values()])
    yield "labels.csv", table.getvalue().encode()


def write_folder(store: Store, folder: Path) -> int:
    """Write an export to a new folder; return the number of drawings.

    Raises:
        DataError: if the folder exists and is not empty, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists already. Choose another name.")
    for name, content in files(store):
        write_atomic(folder / name, content)
    return len(store.state.drawings)


def write_zip(store: Store, file: IO[bytes]) -> None:
    """Write an export as a zip."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # PNGs are small already
        for name, content in files(store):
            archive.writestr(name, content)


def open_zip(store: Store) -> IO[bytes]:
    """Return an export as an open zip."""
    file = tempfile.SpooledTemporaryFile(SPOOL)  # noqa: SIM115 - the caller closes it
    write_zip(store, file)
    file.seek(0)
    return file


def _folders(classes: Mapping[str, str]) -> dict[str, str]:
    """Return a folder's name for each class, safe and distinct on every file system."""
    folders: dict[str, str] = {}
    used: set[str] = set()
    for id, name in classes.items():
        safe = UNSAFE.sub(lambda match: f"%{ord(match[0]):02x}", name)[:60]
        folders[id] = f"{safe} ({id[:6]})" if safe.casefold() in used else safe
        used.add(safe.casefold())
    return folders
