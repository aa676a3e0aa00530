"""What a user takes away: the recogniser as a bundle, the drawings as plain files."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

from siglum.errors import DataError
from siglum.files import atomic_path, write_atomic
from siglum.images import studio_set
from siglum.images.studio_set import State
from siglum.recogniser import bundle as bundles
from siglum.recogniser.fit import to_bundle
from siglum.studio.errors import StudioError
from siglum.studio.state import Snapshot

UNSAFE = re.compile(  # in names of folders, on some file system
    r'[\x00-\x1f\x7f<>:"/\\|?*%~]|^[. ]|[. ]$|^(?=(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)).',
    re.IGNORECASE,
)
Content = Callable[[str], tuple[str | None, bytes]]  # strokes and PNG of a drawing


def bundle(now: Snapshot) -> bytes:
    """Return the file of the recogniser."""
    if now.fitted is None:
        raise StudioError("conflict", "Two signs are needed first. Add or draw them under Teach.")
    return bundles.encode(to_bundle(now.fitted, command="siglum studio"))


def files(state: State, content: Content) -> Iterator[tuple[str, bytes]]:
    """Yield relative path and content of every file of an export; docs/samples-format.md."""
    has_test = any(entry.split == "test" for entry in state.drawings.values())
    folders: dict[str, str] = {}  # by class, distinct on every file system
    for id, name in state.classes.items():
        safe = UNSAFE.sub(lambda match: f"%{ord(match[0]):02x}", name)[:60]
        used = {other.casefold() for other in folders.values()}
        folders[id] = f"{safe} ({id[:6]})" if safe.casefold() in used else safe
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(["file", "label", "author", "split", "time"])
    for id, entry in state.drawings.items():
        strokes, image = content(id)
        stem = f"{entry.split + '/' if has_test else ''}{folders[entry.label]}/{id}"
        facts = {"label": state.classes[entry.label], "author": entry.author}
        facts |= {"split": entry.split, "time": entry.time}
        drawing = json.loads(strokes) if strokes else {}
        yield f"{stem}.png", image
        yield f"{stem}.json", json.dumps(facts | drawing, ensure_ascii=False).encode()
        rows.writerow([f"{stem}.png", *facts.values()])
    yield "labels.csv", table.getvalue().encode()


def write_zip(file: IO[bytes], state: State, content: Content) -> None:
    """Write an export as a zip."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # PNGs are small already
        for name, data in files(state, content):
            archive.writestr(name, data)


def write_set(folder: Path, out: Path, as_zip: bool) -> int:
    """Export a set, which a Studio may have open, to a new folder or zip; return its drawings.

    Raises:
        DataError: if the set cannot be read, or `out` exists or cannot be written.
    """
    if out.exists() and (as_zip or not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists already. Choose another name.")
    with closing(studio_set.connect(folder)) as database:
        state = studio_set.read_state(database)

        def content(id: str) -> tuple[str | None, bytes]:
            return studio_set.read_content(database, id)

        if as_zip:
            with atomic_path(out) as temporary, temporary.open("wb") as file:
                write_zip(file, state, content)
        else:
            for name, data in files(state, content):
                write_atomic(out / name, data)
    return len(state.drawings)
