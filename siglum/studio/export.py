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

MAX_NAMES = 20  # of classes in the title of a bundle
SPOOL = 16 * 2**20  # bytes of a zip that stay in memory
UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*%~]|^[. ]|[. ]$')  # in names of folders
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
MANIFEST = "labels.csv"


def bundle(now: Snapshot) -> bytes:
    """Return the file of the recogniser."""
    if now.fitted is None:
        raise StudioError("conflict", "Two signs are needed first. Add or draw them under Teach.")
    names = now.fitted.recogniser.classes
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    title = f"{len(names)} signs: {' '.join(names[:MAX_NAMES])}{more}"
    return bundles.encode(to_bundle(now.fitted, title, "siglum studio"))


def files(store: Store) -> Iterator[tuple[str, bytes]]:
    """Yield relative path and content of every file of an export; docs/samples-format.md.

    Images lie in a folder for each class, below `train/` and `test/` if there are test drawings.
    Strokes and facts lie beside them as JSON, and `labels.csv` holds the exact label of each.
    """
    state = store.state
    has_test = any(entry.split == "test" for entry in state.drawings.values())
    folders = _folders(state.classes)
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(["file", "label", "author", "split", "time"])
    for id, entry in state.drawings.items():
        strokes, image = store.content(id)
        label = state.classes[entry.label]
        stem = f"{entry.split + '/' if has_test else ''}{folders[entry.label]}/{id}"
        facts = {"label": label, "author": entry.author, "split": entry.split, "time": entry.time}
        drawing = {} if strokes is None else json.loads(strokes)
        yield f"{stem}.png", image
        yield f"{stem}.json", json.dumps(facts | drawing, ensure_ascii=False).encode()
        rows.writerow([f"{stem}.png", *facts.values()])
    yield MANIFEST, table.getvalue().encode()


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


def open_zip(store: Store) -> IO[bytes]:
    """Return an export as an open zip file."""
    file = tempfile.SpooledTemporaryFile(SPOOL)  # noqa: SIM115 - whoever sends it closes it
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # PNGs are small already
            for name, content in files(store):
                archive.writestr(name, content)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def _folders(classes: Mapping[str, str]) -> dict[str, str]:
    """Return a folder's name for each class, safe and distinct on every file system."""
    folders: dict[str, str] = {}
    used: set[str] = set()
    for id, name in classes.items():
        safe = UNSAFE.sub(lambda match: f"%{ord(match[0]):02x}", name)[:60]
        if DEVICES.match(safe):
            safe = f"%{ord(safe[0]):02x}{safe[1:]}"
        if safe.casefold() in used:
            safe = f"{safe} ({id[:6]})"
        used.add(safe.casefold())
        folders[id] = safe
    return folders
