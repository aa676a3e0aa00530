"""What a person takes along: the recogniser as a bundle, and the drawings as a plain folder."""

import contextlib
import tempfile
import zipfile
from typing import IO

from siglum.errors import DataError
from siglum.images import class_folders, samples
from siglum.recogniser import bundle as bundles
from siglum.recogniser import teach as teaching
from siglum.studio.snapshot import Snapshot
from siglum.studio.studio import Conflict, Studio

NAMED = 20  # classes in a title
SPOOL = 16 * 2**20  # bytes of a zip that are kept in memory


def bundle(now: Snapshot) -> bytes:
    """Return the file of the recogniser.

    Raises:
        Conflict: if there is none yet.
    """
    if now.taught is None:
        raise Conflict("a recogniser must know two classes, got fewer. Name or draw them first.")
    made = teaching.finished(now.taught, title(now.taught.recogniser.classes), "siglum studio")
    return bundles.encode(made)


def title(names: tuple[str, ...]) -> str:
    """Return what a recogniser is, in words."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} signs: {' '.join(names[:NAMED])}{more}"


def zipped(studio: Studio, now: Snapshot) -> IO[bytes]:
    """Return an open zip of all drawings that count, in the folders of docs/samples-format.md.

    Raises:
        DataError: if one of them cannot be read.
    """
    with contextlib.ExitStack() as failing:
        file = failing.enter_context(tempfile.SpooledTemporaryFile(SPOOL))
        _write(file, studio, now)
        failing.pop_all()  # whoever sends it closes it
    file.seek(0)
    return file


def _write(file: IO[bytes], studio: Studio, now: Snapshot) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # pictures are small already
        named: set[str] = set()
        for name, entry in now.state.drawings.items():
            folder = f"{samples.FOLDERS[entry.part]}/{class_folders.folder_of(entry.class_name)}"
            try:
                picture, facts = (studio.ledger.read(name, ending) for ending in (".png", ".json"))
            except DataError:
                if name in studio.ledger.state.drawings:
                    raise
                continue  # removed a moment ago
            if folder not in named and not folder.endswith(f"/{entry.class_name}"):
                archive.writestr(f"{folder}/{class_folders.NAME}", entry.class_name)
            named.add(folder)
            archive.writestr(f"{folder}/{name}.png", picture)
            archive.writestr(f"{folder}/{name}.json", facts)
