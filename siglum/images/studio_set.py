"""Sets of signs drawn in the Studio: the SQLite file `signs.db` and reading it as a data source."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from siglum.errors import DataError
from siglum.images.cache import Listing, Progress, Row

FILE = "signs.db"
OLD_FILE = "ledger.jsonl"  # of the format before SQLite; the Studio converts it
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

    def select(self, label: str | None = None, split: str | None = None) -> list[str]:
        """Return the ids of the drawings of a class, of a split, or of both."""
        return [
            id
            for id, entry in self.drawings.items()
            if label in (None, entry.label) and split in (None, entry.split)
        ]


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
    """Return the strokes, as JSON, and the PNG of a drawing; DataError if there is none."""
    query = "SELECT strokes, image FROM content JOIN drawing USING (number) WHERE drawing.id = ?"
    try:
        strokes, image = database.execute(query, (id,)).fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise DataError(f"Cannot read drawing {id}: {error}.") from None
    return strokes, image


def connect(folder: Path, writable: bool = False) -> sqlite3.Connection:
    """Open the database of a set, which a Studio may have open; check that it is one, and whole.

    Raises:
        DataError: if it is missing, damaged, of another version or another program's.
    """
    path = folder / FILE
    if not path.is_file():
        raise DataError(
            f"{folder} is a set of signs in an older format. Open it once to convert it: "
            f"siglum studio {folder}"
        )
    modes = ["rw"] if writable else ["ro"]
    log = folder / f"{FILE}-wal"
    if not writable and not (log.exists() and log.stat().st_size):
        modes.append("ro&immutable=1")  # where the folder is read-only, SQLite needs this
    reason = ""
    for mode in modes:
        uri = f"{path.resolve().as_uri()}?mode={mode}"
        try:
            with ExitStack() as opened:
                database = sqlite3.connect(
                    uri, uri=True, isolation_level=None, check_same_thread=False
                )
                opened.enter_context(closing(database))
                database.execute("PRAGMA trusted_schema = OFF")
                database.execute("PRAGMA cell_size_check = ON")
                _check(database, path)
                opened.pop_all()
                return database
        except sqlite3.OperationalError as error:
            reason = str(error)
        except sqlite3.DatabaseError as error:
            raise _damaged(path, str(error)) from None
    raise DataError(f"Cannot open {path}: {reason}.")


def _check(database: sqlite3.Connection, path: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(SCHEMA)
        for query in FORMAT:
            if database.execute(query).fetchall() != empty.execute(query).fetchall():
                raise DataError(
                    f"{path} is not a set of signs of this version. If a newer Siglum made it: "
                    "pip install --upgrade siglum"
                )
    if (result := database.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise _damaged(path, result)


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} is damaged ({' '.join(reason.split())}). Restore it from a backup, or save what "
        f"can be read with: sqlite3 {path.name} .recover"
    )


def is_set(folder: Path) -> bool:
    """Return whether a folder holds a set of signs, of this format or the one before."""
    return (folder / FILE).is_file() or (folder / OLD_FILE).is_file()


def read(folder: Path, spec: str, progress: Progress) -> Listing:
    """List the drawings of a set; it has parts where there are test drawings."""
    query = (
        "SELECT class.id || '/' || drawing.id || '.png', name, split, author, image "
        "FROM drawing JOIN class ON class.id = drawing.class "
        "JOIN content ON content.number = drawing.number ORDER BY 1"
    )
    with closing(connect(folder)) as database:
        try:
            drawings = database.execute(query).fetchall()
        except sqlite3.DatabaseError as error:
            raise _damaged(folder / FILE, str(error)) from None
    if not drawings:
        raise DataError(f"{spec} has no drawings yet. Draw some first.")
    has_test = any(split == "test" for _, _, split, _, _ in drawings)
    images = {file: image for file, _, _, _, image in drawings}
    return Listing(
        [
            Row(file, name, split if has_test else "all", author)
            for file, name, split, author, _ in drawings
        ],
        images.__getitem__,
        lambda file: blake2b(images[file]).hexdigest(),
    )
