"""Sets of signs drawn in the Studio: the SQLite file `signs.db` and reading it as a data source."""

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.images import cache
from siglum.images.cache import Progress
from siglum.images.imageset import ImageSet

FILE = "signs.db"
OLD_FILE = "ledger.jsonl"  # of the format before SQLite; the Studio converts it
APPLICATION_ID = 0x53_49_47_4C
VERSION = 2
SCHEMA = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE class (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT UNIQUE);
CREATE TABLE drawing (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, class TEXT,
    split TEXT NOT NULL, author TEXT NOT NULL, time TEXT NOT NULL, photo INTEGER NOT NULL);
CREATE INDEX drawing_class ON drawing (class);
CREATE TABLE content (number INTEGER PRIMARY KEY, strokes TEXT, image BLOB NOT NULL);
CREATE TABLE event (number INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL,
    session TEXT NOT NULL, description TEXT NOT NULL, classes TEXT NOT NULL,
    drawings TEXT NOT NULL, undone INTEGER NOT NULL DEFAULT 0);
"""


@dataclass(frozen=True)
class Entry:
    """The facts about a drawing."""

    label: str  # id of its class
    author: str  # "" if not named
    split: str  # "train" or "test"
    time: str  # UTC, as in 2026-01-31T12:00:00Z
    photo: bool  # an image instead of strokes


@dataclass(frozen=True)
class State:
    """The classes and drawings that are not deleted; never changed once built."""

    classes: Mapping[str, str] = field(default_factory=dict)  # name by id, in order of creation
    drawings: Mapping[str, Entry] = field(default_factory=dict)  # by id, in order of creation

    def select(self, label: str | None = None, split: str | None = None) -> list[str]:
        """Return the ids of the drawings of a class, of a split, or of both."""
        return [
            id
            for id, entry in self.drawings.items()
            if label in (None, entry.label) and split in (None, entry.split)
        ]


def create_tables(database: sqlite3.Connection) -> None:
    """Make an empty set of an empty database."""
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {VERSION}")
    database.executescript(SCHEMA)


def insert(
    database: sqlite3.Connection,
    id: str,
    label: str | None,
    facts: Sequence[object],
    strokes: str | None,
    image: bytes,
) -> None:
    """Insert a drawing; `facts` are author, split, time and photo."""
    number = database.execute(
        "INSERT INTO drawing (id, class, author, split, time, photo) VALUES (?, ?, ?, ?, ?, ?)",
        (id, label, *facts),
    ).lastrowid
    database.execute("INSERT INTO content VALUES (?, ?, ?)", (number, strokes, image))


def read_state(database: sqlite3.Connection) -> State:
    """Return the classes and drawings of a set."""
    classes = database.execute(
        "SELECT id, name FROM class WHERE name IS NOT NULL ORDER BY number"
    ).fetchall()
    drawings = database.execute(
        "SELECT id, class, author, split, time, photo FROM drawing "
        "WHERE class IS NOT NULL ORDER BY number"
    ).fetchall()
    return State(dict(classes), {id: Entry(*facts) for id, *facts in drawings})


def read_content(database: sqlite3.Connection, id: str) -> tuple[str | None, bytes]:
    """Return the strokes, as JSON, and the PNG of a drawing.

    Raises:
        DataError: if there is no such drawing, or the file is damaged.
    """
    query = "SELECT strokes, image FROM content JOIN drawing USING (number) WHERE drawing.id = ?"
    try:
        strokes, image = database.execute(query, (id,)).fetchone() or (None, None)
    except sqlite3.Error as error:
        raise DataError(f"Cannot read drawing {id}: {error}.") from None
    if image is None:
        raise DataError(f"No such drawing: {id}.")
    return strokes, image


def connect(path: Path, writable: bool = False) -> sqlite3.Connection:
    """Open the database of a set and check that it is one, and whole.

    Raises:
        DataError: if it is missing, damaged, of another version or another program's.
    """
    modes = ["rw"] if writable else ["ro"]
    if not writable and not _has_log(path):
        modes.append("ro&immutable=1")  # where the folder is read-only, SQLite needs this
    for mode in modes:
        uri = f"{path.resolve().as_uri()}?mode={mode}"
        database = None
        try:
            database = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA cell_size_check = ON")
            _check(database, path)
            return database
        except sqlite3.OperationalError as error:
            reason = str(error)
        except sqlite3.DatabaseError as error:
            raise _damaged(path, str(error)) from None
        except BaseException:
            if database is not None:
                database.close()
            raise
    raise DataError(f"Cannot open {path}: {reason}.")


def _has_log(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} is damaged ({reason}). Restore it from a backup, or save what can be read with: "
        f"sqlite3 {path.name} .recover"
    )


def _check(database: sqlite3.Connection, path: Path) -> None:
    def pragma(name: str) -> int:
        return int(database.execute(f"PRAGMA {name}").fetchone()[0])

    if pragma("application_id") != APPLICATION_ID:
        raise DataError(f"{path} is not a set of signs: another program made it.")
    if pragma("user_version") > VERSION:
        raise DataError(f"{path} was made by a newer Siglum: pip install --upgrade siglum")
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(SCHEMA)
        tables = "SELECT type, name, sql FROM sqlite_schema ORDER BY name"
        if database.execute(tables).fetchall() != empty.execute(tables).fetchall():
            raise _damaged(path, "its tables are not as Siglum makes them")
    if (result := database.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise _damaged(path, str(result).replace("\n", " "))


def is_set(folder: Path) -> bool:
    """Return whether a folder holds a set of signs, of this format or the one before."""
    return (folder / FILE).is_file() or (folder / OLD_FILE).is_file()


def parts(folder: Path) -> tuple[str, ...]:
    """Return ("train", "test") for a set that has test drawings, else ("all",)."""
    with closing(open_set(folder)) as database:
        query = "SELECT 1 FROM drawing WHERE class IS NOT NULL AND split = 'test' LIMIT 1"
        return ("train", "test") if database.execute(query).fetchone() else ("all",)


def load(folder: Path, part: str, spec: str, preprocess: Preprocess, see: Progress) -> ImageSet:
    """Load the drawings of a set, with their labels and, where all are named, their authors.

    Raises:
        DataError: if there are no drawings of this part, or the set cannot be read.
    """
    split = "test" if part == "test" else "train"
    with closing(open_set(folder)) as database:
        query = (
            "SELECT class.id || '/' || drawing.id || '.png', class.id, name, author, image "
            "FROM drawing JOIN class ON class.id = drawing.class "
            "JOIN content ON content.number = drawing.number WHERE split = ? ORDER BY 1"
        )
        try:
            rows = database.execute(query, (split,)).fetchall()
            files, ids, names, authors, images = zip(*rows, strict=True)
        except sqlite3.DatabaseError as error:
            raise _damaged(folder / FILE, str(error)) from None
        except ValueError:
            raise DataError(
                f"{spec} has no drawings to {split} with yet. Draw some first."
            ) from None
    digest = hashlib.blake2b(digest_size=16)
    for file, image in zip(files, images, strict=True):
        digest.update(repr((file, len(image))).encode() + image)
    loaded = cache.load(
        digest.hexdigest(), files, ids, lambda: enumerate(images), spec, preprocess, see
    ).rename(dict(zip(ids, names, strict=True)))
    return replace(loaded, writers=authors) if all(authors) else loaded


def open_set(folder: Path) -> sqlite3.Connection:
    """Open a set to read it; a Studio may have it open. DataError if it must be converted first."""
    if not (folder / FILE).is_file():
        raise DataError(
            f"{folder} is a set of signs in an older format. Open it once to convert it: "
            f"siglum studio {folder}"
        )
    return connect(folder / FILE)
