"""A set of signs on disk: one SQLite file, in which every change is one transaction.

An event records each value that it changed, before and after. Undo writes the values before back,
if the current ones are still those after. Nothing is deleted: a class without a name and a drawing
without a class are deleted ones.
"""

import json
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from siglum.errors import DataError
from siglum.files import sync_dir
from siglum.formatting import count
from siglum.images import studio_set
from siglum.images.studio_set import FILE, Entry
from siglum.studio import convert
from siglum.studio.errors import StudioError

MAX_CLASSES, MAX_DRAWINGS = 1_000, 20_000
Change = tuple[str, str | None, str | None]  # an id, the value before, the value after
OWN = "(:session IS NULL OR session = :session)"
DONE = f"(SELECT max(number) FROM event WHERE NOT undone AND {OWN})"
UNDONE = f"(SELECT min(number) FROM event WHERE undone AND {OWN} AND number > coalesce({DONE}, 0))"


@dataclass(frozen=True)
class NewDrawing:
    """A drawing to save."""

    facts: Entry
    strokes: str | None  # JSON; None for a photo
    image: bytes  # PNG
    id: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True)
class Event:
    """A change that can be undone or redone."""

    number: int
    description: str
    classes: list[Change]
    drawings: list[Change]


def timestamp() -> str:
    """Return the current time in UTC, as in 2026-01-31T12:00:00Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """An open set of signs; no other process may change it meanwhile, threads may.

    `session` says whose change it is, and whose last change to undo; None stands for everybody.
    """

    def __init__(self, folder: Path) -> None:
        """Open a set, or create one; convert one of the old format, and keep a copy of it.

        Raises:
            DataError: if another Studio has it open, or it cannot be read and written.
        """
        self.folder, self.path = folder, folder / FILE
        self._lock = threading.RLock()
        self._file_lock = FileLock(folder / ".lock", thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file_lock.acquire(timeout=0)
            if not self.path.exists():
                self._create()
            convert.put_old_files_away(folder)
            self._database = studio_set.connect(folder, writable=True)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self.set_id: str = self._database.execute("SELECT value FROM setting").fetchone()[0]
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

    def _create(self) -> None:
        """Write the database to a temporary file and rename it, so that it is whole or absent."""
        temporary = self.path.with_name(f".{FILE}.new")
        temporary.unlink(missing_ok=True)
        database = sqlite3.connect(temporary, isolation_level=None)
        try:
            database.executescript(studio_set.SCHEMA)
            database.execute("BEGIN")
            set_id = convert.read_old_set(self.folder, database) or secrets.token_hex(8)
            database.execute("INSERT INTO setting VALUES ('set_id', ?)", (set_id,))
            database.execute("COMMIT")
        finally:
            database.close()
        temporary.replace(self.path)
        sync_dir(self.folder)

    def close(self) -> None:
        """Release the set."""
        with self._lock:
            self._database.close()
            self._file_lock.release()

    def add_classes(self, names: Sequence[str], session: str | None = None) -> list[str]:
        """Add the classes that do not exist yet, as one event; return the ids of all."""
        with self._lock:
            ids, new = self._new_classes(names)
            if new:
                more = f" and {len(new) - 1:,} more" if len(new) > 1 else ""
                self._record(session, f"added {_isolate(new[0][2])}{more}", new)
            return [ids[name] for name in names]

    def rename_class(self, id: str, name: str, session: str | None = None) -> None:
        """Rename a class; StudioError if another one has this name."""
        with self._lock:
            old = self.class_name(id)
            for other, taken in self.state.classes.items():
                if taken == name and other != id:
                    message = f"You already have {name!r}. Merge the two?"
                    raise StudioError("name_taken", message, **{"class": other})
            self._record(session, f"renamed {_isolate(old)} to {_isolate(name)}", [(id, old, name)])

    def remove_class(self, id: str, into: str | None, session: str | None = None) -> None:
        """Delete a class with its drawings, or merge them into another class."""
        with self._lock:
            old = self.class_name(id)
            description = f"deleted {_isolate(old)}"
            if into is not None:
                description = f"merged {_isolate(old)} into {_isolate(self.class_name(into))}"
            if id == into:
                raise StudioError("conflict", f"Choose another class to merge {old!r} into.")
            drawings: list[Change] = [(one, id, into) for one in self.state.select(id)]
            self._record(session, description, [(id, old, None)], drawings)

    def move_drawings(
        self, ids: Sequence[str], label: str | None, session: str | None = None
    ) -> None:
        """Move drawings to another class, or delete them (None); all or none."""
        with self._lock:
            changes: list[Change] = [(id, self.drawing(id).label, label) for id in ids]
            many = "a drawing" if len(ids) == 1 else f"{len(ids):,} drawings"
            description = f"deleted {many}"
            if label is not None:
                description = f"moved {many} to {_isolate(self.class_name(label))}"
            self._record(session, description, drawings=changes)

    def add_drawing(
        self, new: NewDrawing, session: str | None = None, replaces: str | None = None
    ) -> None:
        """Save a drawing; the same id a second time saves nothing.

        Args:
            replaces: id of a drawing that the new one completes. If adding it was the last event
                of the session, both become one event.
        """
        with self._lock:
            if self.has(new.id):
                return
            label = new.facts.label
            description = f"drew {_isolate(self.class_name(label))}"
            changes: list[Change] = [(new.id, None, label)]
            amended = None
            if replaces is not None and (old := self.state.drawings.get(replaces)) is not None:
                changes.append((replaces, old.label, None))
                last = self.last_event("undo", session)
                if last and not last.classes and last.drawings == [(replaces, None, old.label)]:
                    amended = last.number
            self._record(session, description, drawings=changes, new=[new], amended=amended)

    def add_import(
        self, names: Sequence[str], drawings: Sequence[NewDrawing], session: str | None = None
    ) -> int:
        """Save imported classes and drawings, whose labels are names of classes, as one event.

        Returns:
            The number of new classes.
        """
        with self._lock:
            ids, new = self._new_classes([*names, *(one.facts.label for one in drawings)])
            if new or drawings:
                changes: list[Change] = [(one.id, None, ids[one.facts.label]) for one in drawings]
                self._record(
                    session, f"imported {count(len(drawings), 'drawing')}", new, changes, drawings
                )
            return len(new)

    def revert(self, word: str, number: int, session: str | None = None) -> None:
        """Undo or redo the event that is next, which must have this number.

        Raises:
            StudioError: if there is none, it is another one, or later changes depend on it.
        """
        with self._lock:
            if (event := self.last_event(word, session)) is None:
                raise StudioError("nothing_to_undo", f"Nothing to {word}.")
            if event.number != number:
                message = f"Another change came first. Look at it, then {word} again."
                raise StudioError("outdated", message)
            changes = event.classes, event.drawings
            if word == "undo":
                changes = _reverse(event.classes), _reverse(event.drawings)
            with self._transaction() as execute:
                self._apply(event.description, *changes)
                execute("UPDATE event SET undone = ? WHERE number = ?", (word == "undo", number))

    def last_event(self, word: str, session: str | None = None) -> Event | None:
        """Return the event to undo or redo next."""
        which = DONE if word == "undo" else UNDONE
        query = f"SELECT number, description, classes, drawings FROM event WHERE number = {which}"
        with self._lock:
            row = self._database.execute(query, {"session": session}).fetchone()
        if row is None:
            return None
        classes, drawings = ([tuple(one) for one in json.loads(text)] for text in row[2:])
        return Event(row[0], row[1], classes, drawings)

    def class_name(self, id: str) -> str:
        """Return the name of a class; StudioError if there is none."""
        if (name := self.state.classes.get(id)) is None:
            raise StudioError("not_found", "That class no longer exists. Load the page again.")
        return name

    def drawing(self, id: str) -> Entry:
        """Return the facts about a drawing; StudioError if there is none."""
        if (entry := self.state.drawings.get(id)) is None:
            raise StudioError("not_found", "That drawing is already gone.")
        return entry

    def has(self, id: str) -> bool:
        """Return whether a drawing was ever saved under this id."""
        with self._lock:
            row = self._database.execute("SELECT 1 FROM drawing WHERE id = ?", (id,)).fetchone()
        return row is not None

    def content(self, id: str) -> tuple[str | None, bytes]:
        """Return the strokes, as JSON, and the PNG of a drawing, also of a deleted one."""
        with self._lock:
            return studio_set.read_content(self._database, id)

    def _new_classes(self, names: Sequence[str]) -> tuple[dict[str, str], list[Change]]:
        """Return ids by name, and the changes that create those that do not exist."""
        ids = {name: id for id, name in self.state.classes.items()}
        new = {name: secrets.token_hex(8) for name in names if name not in ids}
        return ids | new, [(id, None, name) for name, id in new.items()]

    def _record(
        self,
        session: str | None,
        description: str,
        classes: Sequence[Change] = (),
        drawings: Sequence[Change] = (),
        new: Sequence[NewDrawing] = (),
        amended: int | None = None,
    ) -> None:
        """Make changes and record them as one event, in place of `amended` if there is one."""
        created = [id for id, before, _ in classes if before is None]
        if created and len(self.state.classes) + len(created) > MAX_CLASSES:
            raise StudioError("invalid", f"A set holds at most {MAX_CLASSES:,} classes.")
        if new and len(self.state.drawings) + len(new) > MAX_DRAWINGS:
            raise StudioError("invalid", f"A set holds at most {MAX_DRAWINGS:,} drawings.")
        recorded = drawings if amended is None else drawings[:1]
        with self._transaction() as execute:
            for id in created:
                execute("INSERT INTO class (id) VALUES (?)", (id,))
            for one in new:
                studio_set.insert(
                    self._database, one.id, None, astuple(one.facts)[1:], one.strokes, one.image
                )
            self._apply(description, classes, drawings)
            execute(
                f"DELETE FROM event WHERE (undone AND {OWN}) OR number = :amended",
                {"session": session, "amended": amended},
            )
            values = (timestamp(), session or "", description)
            execute(
                "INSERT INTO event (time, session, description, classes, drawings) "
                "VALUES (?, ?, ?, ?, ?)",
                (*values, json.dumps(classes), json.dumps(recorded)),
            )

    def _apply(self, event: str, classes: Sequence[Change], drawings: Sequence[Change]) -> None:
        """Set values that are still as they were before; refuse if one is not."""
        conflict = StudioError("cannot_undo", f"Cannot do this ({event}): it was changed since.")
        tables = (("class", "name", classes), ("drawing", "class", drawings))
        for table, column, changes in tables:
            query = f"UPDATE {table} SET {column} = ? WHERE id = ? AND {column} IS ?"
            try:
                for id, before, after in changes:
                    if self._database.execute(query, (after, id, before)).rowcount != 1:
                        raise conflict
            except sqlite3.IntegrityError:  # another class has the name
                raise conflict from None
        orphans = "SELECT 1 FROM class JOIN drawing ON class = class.id WHERE name IS NULL LIMIT 1"
        if self._database.execute(orphans).fetchone():
            raise conflict

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database.execute
            self._database.execute("COMMIT")
            self.state = studio_set.read_state(self._database)
        except BaseException as error:
            with suppress(sqlite3.Error):  # the first error is the one to report
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise StudioError(
                    "cannot_save",
                    f"Cannot save to {self.path}: {error}. Nothing was changed. Make sure that "
                    "the disk has free space and that you may write to the folder.",
                ) from None
            raise


def _reverse(changes: Sequence[Change]) -> list[Change]:
    return [(id, after, before) for id, before, after in changes]


def _isolate(name: str | None) -> str:
    """Return a name between the marks that keep its writing direction to itself."""
    return f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}"
