"""A set of signs on disk: one SQLite file, in which every change is one transaction.

An event records each value that it changed, before and after; undo writes those before back. A
class without a name and a drawing without a class are deleted ones.
"""

import json
import re
import secrets
import sqlite3
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from siglum.errors import ConfigError, DataError, SiglumError
from siglum.files import atomic_path
from siglum.formatting import count
from siglum.images import charsets, studio_set
from siglum.images.studio_set import CONFIRMED, FILE, OUTPUT, Entry

MAX_CLASSES, MAX_DRAWINGS, MAX_NAME = 1_000, 20_000, 100
Change = tuple[str, str | None, str | None]  # an id, the value before, the value after
SET_ID = "INSERT INTO setting VALUES ('set_id', lower(hex(randomblob(8))));"
SET_NAME = "UPDATE class SET name = ? WHERE id = ? AND name IS ?"
SET_CLASS = "UPDATE drawing SET class = ? WHERE id = ? AND class IS ?"
SET_SETTING = (
    "INSERT INTO setting (value, name) VALUES (?1, ?2) "
    "ON CONFLICT (name) DO UPDATE SET value = ?1 WHERE value IS ?3"
)
OWN = "(:session IS NULL OR session = :session)"
DONE = f"(SELECT max(number) FROM event WHERE NOT undone AND {OWN})"
UNDONE = f"(SELECT min(number) FROM event WHERE undone AND {OWN} AND number > coalesce({DONE}, 0))"


class StudioError(SiglumError):
    """A request cannot be fulfilled; `status` is that of HTTP, see docs/studio-protocol.md."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class NewDrawing:
    """A drawing to save."""

    facts: Entry
    strokes: str | None  # JSON; None for a photo
    image: bytes  # PNG
    id: str = field(default_factory=lambda: secrets.token_hex(8))


class Event(NamedTuple):
    """A change that can be undone or redone."""

    number: int
    description: str
    classes: list[Change]
    drawings: list[Change]


def timestamp() -> str:
    """Return the current time in UTC, as in 2026-01-31T12:00:00Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clean_name(value: str) -> str:
    """Return a name in Unicode's composed form, on one line; ValueError if there is none."""
    # The time that this takes grows with the square of the length, for combining marks.
    name = unicodedata.normalize("NFC", value[: 10 * MAX_NAME]).strip()
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        raise ValueError("A name must be text on one line")
    return name


def class_name(value: str) -> str:
    """Return the name of a class; a Unicode name of several words stands for its character."""
    if not 0 < len(name := clean_name(value)) <= MAX_NAME:
        raise ValueError(f"A name must have 1 to {MAX_NAME} characters")
    if " " in name and name.isascii() and "," not in name:
        with suppress(ConfigError, ValueError):
            (name,) = charsets.resolve(name)
    is_list = name.strip("|") and re.fullmatch(r"([^|\\]?\|)+[^|\\]?", name)
    if is_list and len(charsets.shapes(name)) == 1:
        raise ValueError(charsets.SHAPES_RULE.format(name))
    return name


class Store:
    """An open set, which threads may change; `session` owns a change, None stands for everybody."""

    def __init__(self, folder: Path) -> None:
        """Open a set, or create one; DataError if that is impossible or another Studio has it."""
        self.folder, self.path = folder, folder / FILE
        self._lock = threading.RLock()
        self._file_lock = FileLock(folder / ".lock", thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file_lock.acquire(timeout=0)
            if not self.path.exists():
                with atomic_path(self.path) as new, closing(sqlite3.connect(new)) as database:
                    database.executescript(studio_set.SCHEMA + SET_ID)
            self._database = studio_set.connect(folder, writable=True)
            self._database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
            self.set_id = self.read_setting("set_id")
            self.state = studio_set.read_state(self._database)
        except Timeout:
            message = f"{folder} is open in another Studio. Use its page, or end it with Ctrl-C."
            raise DataError(message) from None
        except BaseException as error:
            self._file_lock.release()
            if isinstance(error, sqlite3.Error | OSError):
                raise DataError(
                    f"Cannot open {folder}: {error}. Make sure that the disk has free space and "
                    "that you may write to the folder."
                ) from None
            raise

    def close(self) -> None:
        """Release the set."""
        with self._lock:
            self._database.close()
            self._file_lock.release()

    def add_classes(
        self,
        names: Sequence[str],
        session: str | None = None,
        outputs: Mapping[str, str] | None = None,
        drawings: Sequence[NewDrawing] = (),
    ) -> list[str]:
        """Add classes and outputs that do not exist yet, and imported drawings, as one event.

        Drawings are labelled with names of classes. Returns the ids of the classes, in their order.
        """
        with self._lock:
            existing = {name: id for id, name in self.state.classes.items()}
            ids = {name: existing.get(name) or secrets.token_hex(8) for name in names}
            new = [name for name in ids if name not in existing]
            classes: list[Change] = [(ids[name], None, name) for name in new]
            classes += [
                (OUTPUT + ids[name], "", text)
                for name, text in (outputs or {}).items()
                if text and name not in self.state.outputs
            ]
            changes: list[Change] = [(one.id, None, ids[one.facts.label]) for one in drawings]
            description = f"imported {count(len(drawings), 'drawing')}"
            if new and not drawings:
                more = f" and {len(new) - 1:,} more" if len(new) > 1 else ""
                description = f"added {_isolate(new[0])}{more}"
            if classes or drawings:
                self._record(session, description, classes, changes, drawings)
            return [ids[name] for name in names]

    def rename_class(self, id: str, name: str, session: str | None = None) -> None:
        """Rename a class; StudioError if another one has this name."""
        with self._lock:
            old = self._class_name(id)
            if name in self.state.classes.values() and name != old:
                raise StudioError(409, f"You already have {name!r}. Merge the two?")
            self._record(session, f"renamed {_isolate(old)} to {_isolate(name)}", [(id, old, name)])

    def set_output(self, id: str, output: str, session: str | None = None) -> None:
        """Set the output of a class; "" is its name."""
        with self._lock:
            name = self._class_name(id)
            before, after = self.state.outputs.get(name, ""), "" if output == name else output
            if before != after:
                description = f"changed the output of {_isolate(name)}"
                self._record(session, description, [(OUTPUT + id, before, after)])

    def remove_class(self, id: str, into: str | None, session: str | None = None) -> None:
        """Merge a class into another one, or delete it with its drawings (None)."""
        with self._lock:
            old = self._class_name(id)
            description = f"deleted {_isolate(old)}"
            if into is not None:
                description = f"merged {_isolate(old)} into {_isolate(self._class_name(into))}"
            if id == into:
                raise StudioError(409, f"Choose another class to merge {old!r} into.")
            drawings = [(one, id, into) for one in self.state.select(id)]
            self._record(session, description, [(id, old, None)], drawings)

    def move_drawings(
        self, ids: Sequence[str], label: str | None, session: str | None = None
    ) -> None:
        """Move drawings to a class, or delete them (None); to their own class: confirm it."""
        with self._lock:
            if not self.state.drawings.keys() >= set(ids):
                raise StudioError(404, "That drawing no longer exists. Load the page again.")
            changes: list[Change] = [(id, self.state.drawings[id].label, label) for id in ids]
            same = [id for id, before, _ in changes if before == label]
            confirmed = [(CONFIRMED + id, self.state.confirmed.get(id, ""), label) for id in same]
            many = "a drawing" if len(ids) == 1 else f"{len(ids):,} drawings"
            description = f"deleted {many}"
            if label is not None:
                verb = ("kept {} in", "moved {} to")[len(same) < len(ids)].format(many)
                description = f"{verb} {_isolate(self._class_name(label))}"
            self._record(session, description, confirmed, changes)

    def add_drawing(self, new: NewDrawing, session: str | None = None) -> None:
        """Save a drawing, once for each id."""
        with self._lock:
            if self._database.execute("SELECT 1 FROM drawing WHERE id = ?", (new.id,)).fetchone():
                return
            description = f"drew {_isolate(self._class_name(new.facts.label))}"
            self._record(session, description, (), [(new.id, None, new.facts.label)], [new])

    def revert(self, word: str, number: int, session: str | None = None) -> None:
        """Undo or redo the event that is next, which must have this number."""
        with self._lock:
            event = self.last_event(word, session)
            if event is None or event.number != number:
                raise StudioError(409, f"There is nothing to {word}, or another change came first.")
            changes: tuple[list[Change], ...] = (event.classes, event.drawings)
            if word == "undo":
                changes = tuple([(id, new, old) for id, old, new in some] for some in changes)
            with self._transaction() as execute:
                self._apply(event.description, *changes)
                execute("UPDATE event SET undone = ? WHERE number = ?", (word == "undo", number))

    def last_event(self, word: str, session: str | None = None) -> Event | None:
        """Return the event to undo or redo next."""
        which = DONE if word == "undo" else UNDONE
        query = f"SELECT number, description, classes, drawings FROM event WHERE number = {which}"
        with self._lock:
            row = self._database.execute(query, {"session": session}).fetchone()
        return row and Event(*row[:2], *map(json.loads, row[2:]))

    def drawings_of(self, session: str | None) -> set[str]:
        """Return the ids of the drawings that a session saved, also of deleted ones."""
        with self._lock:
            query = "SELECT drawings FROM event WHERE session = ?"
            rows = self._database.execute(query, (session or "",)).fetchall()
        return {id for (text,) in rows for id, before, _ in json.loads(text) if before is None}

    def read_setting(self, name: str) -> str:
        """Return what is stored under a name, or an empty text."""
        with self._lock:
            query = "SELECT value FROM setting WHERE name = ?"
            return str((self._database.execute(query, (name,)).fetchone() or [""])[0])

    def write_setting(self, name: str, value: str) -> None:
        """Store a text under a name."""
        with self._lock, self._transaction() as execute:
            execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))

    def content(self, id: str) -> tuple[str | None, bytes]:
        """Return the strokes, as JSON, and the PNG of a drawing, also of a deleted one."""
        with self._lock:
            return studio_set.read_content(self._database, id)

    def _class_name(self, id: str) -> str:
        if id not in self.state.classes:
            raise StudioError(404, "That class no longer exists. Load the page again.")
        return self.state.classes[id]

    def _record(
        self,
        session: str | None,
        description: str,
        classes: Sequence[Change] = (),
        drawings: Sequence[Change] = (),
        new: Sequence[NewDrawing] = (),
    ) -> None:
        """Make changes and record them as one event."""
        created = [id for id, before, _ in classes if before is None]
        if created and len(self.state.classes) + len(created) > MAX_CLASSES:
            raise StudioError(422, f"A set holds at most {MAX_CLASSES:,} classes.")
        if new and len(self.state.drawings) + len(new) > MAX_DRAWINGS:
            raise StudioError(422, f"A set holds at most {MAX_DRAWINGS:,} drawings.")
        recorded = [json.dumps(classes), json.dumps(drawings)]
        with self._transaction() as execute:
            for id in created:
                execute("INSERT INTO class (id) VALUES (?)", (id,))
            for one in new:
                number = execute(
                    "INSERT INTO drawing (id, author, split, time, photo) VALUES (?, ?, ?, ?, ?)",
                    (one.id, *astuple(one.facts)[1:]),
                ).lastrowid
                execute("INSERT INTO content VALUES (?, ?, ?)", (number, one.strokes, one.image))
            self._apply(description, classes, drawings)
            execute(f"DELETE FROM event WHERE undone AND {OWN}", {"session": session})
            execute(
                "INSERT INTO event (time, session, description, classes, drawings) "
                "VALUES (?, ?, ?, ?, ?)",
                (timestamp(), session or "", description, *recorded),
            )

    def _apply(self, event: str, classes: Sequence[Change], drawings: Sequence[Change]) -> None:
        """Set values that are still as they were before; refuse if one is not."""
        conflict = StudioError(409, f"Cannot do this ({event}): it was changed since.")
        for update, changes in ((SET_NAME, classes), (SET_CLASS, drawings)):
            try:
                for id, before, after in changes:
                    query = SET_SETTING if id.startswith((OUTPUT, CONFIRMED)) else update
                    if self._database.execute(query, (after, id, before)).rowcount != 1:
                        raise conflict
            except sqlite3.IntegrityError:  # another class has the name
                raise conflict from None
        orphans = "SELECT 1 FROM class JOIN drawing ON class = class.id WHERE name IS NULL LIMIT 1"
        if self._database.execute(orphans).fetchone():
            raise conflict
        if classes:
            names = self._database.execute("SELECT name FROM class WHERE name IS NOT NULL")
            try:
                charsets.check_shapes(name for (name,) in names)
            except ConfigError as error:
                raise StudioError(409, str(error)) from None

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        try:
            with self._database as database:  # commits, or rolls back
                database.execute("BEGIN IMMEDIATE")
                yield database.execute
            if (state := studio_set.read_state(database)) != self.state:
                self.state = state  # an equal one would be fitted again
        except sqlite3.Error as error:
            raise StudioError(
                507,
                f"Cannot save to {self.path}: {error}. Nothing was changed. Make sure that "
                "the disk has free space and that you may write to the folder.",
            ) from None


def _isolate(name: str | None) -> str:
    """Return a name between the marks that keep its writing direction to itself."""
    return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}"
