"""Sets of signs drawn in the Studio: the SQLite file `signs.db` and reading it as a data source."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from siglum.errors import DataError
from siglum.images.cache import Listing, Progress, Row

FILE = "signs.db"
OUTPUT = "output/"  # begins the name of a setting, followed by the id of a class
CONFIRMED = "confirmed/"  # likewise, followed by the id of a drawing
SCHEMA = """
PRAGMA synchronous = FULL;
PRAGMA application_id = 1397311308;
PRAGMA user_version = 2;
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
FORMAT = (  # equal in every set; other tables, views or triggers could run code when it is read
    "PRAGMA application_id",
    "PRAGMA user_version",
    "SELECT type, name, sql FROM sqlite_schema ORDER BY name",
)


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
    outputs: Mapping[str, str] = field(default_factory=dict)  # by name of a class, if not that name
    confirmed: Mapping[str, str] = field(default_factory=dict)  # the class, by drawing

    def select(self, label: str | None = None, split: str | None = None) -> list[str]:
        """Return the ids of the drawings of a class, of a split, or of both."""
        drawings = [(id, d) for id, d in self.drawings.items() if label in (None, d.label)]
        return [id for id, drawing in drawings if split in (None, drawing.split)]


def read_state(database: sqlite3.Connection) -> State:
    """Return the classes and drawings of a set."""
    classes = "SELECT id, name FROM class WHERE name IS NOT NULL ORDER BY number"
    drawings = (
        "SELECT id, class, author, split, time, photo FROM drawing "
        "WHERE class IS NOT NULL ORDER BY number"
    )
    outputs = (
        "SELECT class.name, value FROM class JOIN setting ON setting.name = :prefix || class.id "
        "WHERE class.name IS NOT NULL AND value != '' ORDER BY number"
    )
    confirmed = "SELECT substr(name, :start), value FROM setting WHERE name GLOB :names"
    keys = {"start": len(CONFIRMED) + 1, "names": f"{CONFIRMED}*"}
    return State(
        dict(database.execute(classes).fetchall()),
        {id: Entry(*facts) for id, *facts in database.execute(drawings).fetchall()},
        dict(database.execute(outputs, {"prefix": OUTPUT}).fetchall()),
        dict(database.execute(confirmed, keys).fetchall()),
    )


def read_content(database: sqlite3.Connection, id: str) -> tuple[str | None, bytes]:
    """Return the strokes, as JSON, and the PNG of a drawing; DataError if there is none."""
    query = "SELECT strokes, image FROM content JOIN drawing USING (number) WHERE drawing.id = ?"
    try:
        strokes, image = database.execute(query, (id,)).fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise DataError(f"Cannot read drawing {id}: {error}.") from None
    return strokes, image


def connect(folder: Path, writable: bool = False) -> sqlite3.Connection:
    """Open the database of a set, which a Studio may have open; check that it is one, and whole."""
    path, log = folder / FILE, folder / f"{FILE}-wal"
    mode = "rw" if writable else "ro"
    if not (writable or os.access(folder, os.W_OK) or (log.exists() and log.stat().st_size)):
        mode = "ro&immutable=1"  # else SQLite would make files beside it
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    try:
        with ExitStack() as opened, closing(sqlite3.connect(":memory:")) as empty:
            database = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            opened.enter_context(closing(database))
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA cell_size_check = ON")
            empty.executescript(SCHEMA)
            for query in FORMAT:
                if database.execute(query).fetchall() != empty.execute(query).fetchall():
                    reason = "is not a set of signs of this version"
                    raise DataError(f"{path} {reason}. If a newer Siglum made it, upgrade Siglum.")
            if (result := database.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(result)
            opened.pop_all()
            return database
    except sqlite3.Error as error:
        raise DataError(
            f"Cannot read {path}: {' '.join(str(error).split())}. If it is damaged, restore it "
            f"from a backup, or save what can be read with: sqlite3 {path.name} .recover"
        ) from None


def is_set(folder: Path) -> bool:
    """Return whether a folder holds a set of signs."""
    return (folder / FILE).is_file()


def read(folder: Path, spec: str, progress: Progress) -> Listing:
    """List the drawings of a set; it has parts where there are test drawings."""
    query = (
        "SELECT class.id || '/' || drawing.id || '.png', name, split, author, image "
        "FROM drawing JOIN class ON class.id = drawing.class "
        "JOIN content ON content.number = drawing.number ORDER BY 1"
    )
    try:
        with closing(connect(folder)) as database:
            drawings = database.execute(query).fetchall()
    except sqlite3.Error as error:
        raise DataError(f"Cannot read {folder / FILE}: {error}. Is it damaged?") from None
    if not drawings:
        raise DataError(f"{spec} has no drawings yet. Draw some first.")
    rows = [Row(*facts) for *facts, _ in drawings]
    if all(row.part == "train" for row in rows):
        rows = [row._replace(part="all") for row in rows]
    images = {name: image for name, *_, image in drawings}
    return Listing(rows, images.__getitem__, lambda name: blake2b(images[name]).hexdigest())
