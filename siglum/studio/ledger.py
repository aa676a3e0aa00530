"""The ledger of a folder of samples: every change a line, on disk before it counts.

`ledger.jsonl` only grows. It is replayed when it is opened; a line that was cut off, which nobody
was told of, is dropped. The ledger decides what counts, and the files follow it: a drawing is
written before its line and moved after a change's, and whatever was interrupted between the two is
made up for at the next opening. So the folders always say what is so to whoever reads them.
"""

import errno
import os
import secrets
import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from siglum.errors import DataError
from siglum.images import class_folders, samples
from siglum.images.samples import LEDGER, Found, Picture, Sample
from siglum.images.strokes import Drawing
from siglum.studio import changes
from siglum.studio.changes import (
    AddClass,
    AddDrawing,
    Change,
    Edit,
    Entry,
    Line,
    Redo,
    RemoveDrawings,
    State,
    Undo,
)

LOCK = ".lock"


class Ledger:
    """A folder of samples that this process, and no other, may change; its threads may at once."""

    def __init__(self, folder: Path) -> None:
        """Open a folder, which is made where there is none.

        Raises:
            DataError: if another process has it open, if it cannot be read and written, or if a
                line of the ledger is damaged.
        """
        self.folder = folder
        self._path = folder / LEDGER
        self._turn = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / LOCK, thread_local=False)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise DataError(
                f"{folder} must be open in one Studio at a time, got a second one. Use the page of "
                "the first, or end it."
            ) from None
        except OSError as error:
            raise _unwritable(folder, error) from None
        try:
            self._lines = _read(self._path)
            added = [line.change for line in self._lines if isinstance(line.change, AddDrawing)]
            self._known = {change.drawing for change in added}
            try:
                self._state = changes.replay(self._lines)
            except DataError as error:
                raise _damaged(str(error)) from None
            self._follow()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        self._lock.release()

    @property
    def state(self) -> State:
        """What counts now."""
        return self._state

    def record(self, change: Edit, session: str = "") -> State:
        """Make a change, which is on disk then; return what counts after it.

        Raises:
            DataError: if the change does not fit what is so, or cannot be written.
        """
        with self._turn:
            before, state = self._state, changes.after(self._state, change)
            self._append([change], session, state)
            self._move(before)
            return state

    def draw(
        self,
        drawing: Drawing | Picture,
        class_name: str,
        writer: str = "",
        part: str = "taught",
        session: str = "",
        name: str | None = None,
        when: str | None = None,
    ) -> str:
        """Add a drawing or a photo to a class, and return its name; it is on disk then.

        Args:
            name: 16 hexadecimal digits, of which nobody else thought; the same one a second time
                adds nothing, so that whoever had no answer may ask again. Random by default.
            when: it was drawn; now by default.

        Raises:
            DataError: if there is no such class or part, if the drawing has no ink, or if it cannot
                be written.
        """
        name = secrets.token_hex(8) if name is None else name
        with self._turn:
            if name in self._known:
                return name
            change = AddDrawing(name, class_name, writer, part)
            state = changes.after(self._state, change)
            sample = Sample(drawing, writer, part, when or _now())
            samples.write(self.folder, sample, class_name, name)
            try:
                self._append([change], session, state)
            except BaseException:
                samples.take_back(_stem(self.folder, name, state.drawings[name]))
                raise
            return name

    def knows(self, name: str) -> bool:
        """Say whether a drawing was ever added under a name."""
        with self._turn:
            return name in self._known

    def undo(self, session: str | None = None, line: int | None = None) -> Change:
        """Undo the last change, of a session or of all, that is not yet undone; return it.

        Args:
            line: the number of its line; None for whichever it is.

        Raises:
            DataError: if there is none, if it is of another line, or if a later change rests on it.
        """
        with self._turn:
            return self._leave(changes.last(self._lines, session)[0], "undo", session, line)

    def redo(self, session: str | None = None, line: int | None = None) -> Change:
        """Make the change again that was undone last; return it. A new change ends that.

        Args:
            line: the number of its line; None for whichever it is.

        Raises:
            DataError: if there is none, if it is of another line, or if it does not fit any more.
        """
        with self._turn:
            return self._leave(changes.last(self._lines, session)[1], "redo", session, line)

    def path(self, drawing: str) -> Path:
        """Return the path of a drawing's files, less their endings .json and .png.

        Raises:
            DataError: if there is no such drawing.
        """
        entry = self._state.drawings.get(drawing)
        if entry is None:
            raise DataError(f"drawing must be one that counts, got {drawing!r:.40}.")
        return _stem(self.folder, drawing, entry)

    def read(self, drawing: str, ending: str) -> bytes:
        """Return what is in a file of a drawing: ".png" or ".json".

        Raises:
            DataError: if there is no such drawing, or its file cannot be read.
        """
        with suppress(OSError):
            return self.path(drawing).with_suffix(ending).read_bytes()
        try:
            with self._turn:  # now nothing is being moved
                return self.path(drawing).with_suffix(ending).read_bytes()
        except OSError as error:
            raise DataError(
                f"{drawing}{ending} must be a file that can be read: {error.strerror}."
            ) from None

    @property
    def lines(self) -> Sequence[Line]:
        """All that happened, in order."""
        return self._lines

    def _leave(
        self, number: int | None, word: str, session: str | None, wanted: int | None
    ) -> Change:
        """Undo or redo the change of a line, which is the one that is wanted."""
        if number is None:
            raise DataError(f"{word} must have a change to {word}, got none.")
        if wanted not in (None, number):
            raise DataError(
                f"{word} must be of the last change, line {number}, got line {wanted}: there is "
                "news since. Look at it, and ask again."
            )
        change = Undo(number) if word == "undo" else Redo(number)
        before, line = self._state, Line(_now(), session or "", change)
        try:
            state = changes.replay([*self._lines, line])
        except DataError as error:
            raise DataError(f"{word} must leave later changes as they are, got {error}") from None
        self._append([change], session or "", state)
        self._move(before)
        undone = self._lines[number - 1].change
        assert not isinstance(undone, Undo | Redo), number
        return undone

    def _append(self, made: Sequence[Change | Undo | Redo], session: str, state: State) -> None:
        """Write lines and sync them, or leave the ledger as it was.

        Args:
            state: what is so after them.
        """
        assert self._lock.is_locked, "the ledger is closed"
        if session:
            class_folders.checked(session, "session", samples.MAX_TEXT)
        lines = [Line(_now(), session, change) for change in made]
        raw = "".join(f"{changes.written(line)}\n" for line in lines).encode()
        try:
            with self._path.open("ab", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                try:
                    if file.write(raw) < len(raw):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(file.fileno())
                except BaseException:
                    file.truncate(size)
                    raise
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        self._lines += lines
        self._state = state
        self._known.update(change.drawing for change in made if isinstance(change, AddDrawing))

    def _move(self, before: State) -> None:
        """Bring the files to where they belong now, or leave that to the next opening.

        The line is on disk: whatever happens here, its change counts.
        """
        old, new = before.drawings, self._state.drawings
        changed = [name for name in old | new if old.get(name) != new.get(name)]
        try:
            self._bring({name: _stem(self.folder, name, old.get(name)) for name in changed})
        except DataError as error:
            warnings.warn(f"{error} Drawings are moved when it is opened again.", stacklevel=4)

    def _bring(self, places: Mapping[str, Path]) -> None:
        """Move drawings from where they are."""
        left = set()
        for name, source in places.items():
            entry = self._state.drawings.get(name)
            target = _stem(self.folder, name, entry)
            if source != target:
                samples.move(source, target, None if entry is None else entry.class_name)
                left.add(source.parent)
        for folder in sorted(left):
            samples.close(folder)

    def _follow(self) -> None:
        """Make up for what was interrupted, and take in what was put into the folder."""
        found: dict[str, Found] = {}
        for place in samples.find(self.folder):
            if (other := found.get(place.path.name)) is not None:
                raise DataError(
                    f"{self.folder} must hold a drawing once, got {other.path} and {place.path}. "
                    "Take one out."
                )
            found[place.path.name] = place
        self._adopt([place for name, place in found.items() if name not in self._known])
        self._bring({name: place.path for name, place in found.items() if name in self._known})
        lost = [name for name in self._state.drawings if name not in found]
        if lost:
            self._add([RemoveDrawings(tuple(lost))])
            warnings.warn(
                f"{self.folder}: files of {len(lost)} drawings are gone, such as those of "
                f"{lost[0]}; they no longer count.",
                stacklevel=3,
            )

    def _add(self, made: Sequence[Change]) -> None:
        """Write changes of nobody's."""
        if made:
            lines = [*self._lines, *(Line("", "", change) for change in made)]
            self._append(made, "", changes.replay(lines))

    def _adopt(self, places: list[Found]) -> None:
        """Take in drawings that no line tells of: of an interrupted write, or from elsewhere."""
        read, left = [], []
        for place in places:
            if place.class_name is None or place.part is None:
                continue
            try:
                sample = samples.read(place.path)
                add = AddDrawing(place.path.name, place.class_name, sample.writer, place.part)
                changes.after(State((place.class_name,)), add)
                read.append((sample.when, place.path.name, add))
            except DataError as error:
                left.append(str(error))
        drawn = [add for _, _, add in sorted(read, key=lambda each: each[:2])]
        new = dict.fromkeys(add.name for add in drawn if add.name not in self._state.classes)
        self._add([*(AddClass(name) for name in new), *drawn])
        if left:
            warnings.warn(f"{self.folder}: {len(left)} files are left out: {left[0]}", stacklevel=4)


def _stem(folder: Path, name: str, entry: Entry | None) -> Path:
    """Return where the files of a drawing belong."""
    if entry is None:
        return samples.removed_stem(folder, name)
    return samples.stem(folder, entry.part, entry.class_name, name)


def _read(path: Path) -> list[Line]:
    """Return the lines of a ledger, which is made where there is none, and cut off half a line."""
    try:
        with path.open("a+b") as file:
            file.seek(0)
            raw = file.read()
            whole = raw.rfind(b"\n") + 1
            if whole < len(raw):
                file.truncate(whole)
            os.fsync(file.fileno())
        if not raw:
            samples.sync(path.parent)
    except OSError as error:
        raise _unwritable(path.parent, error) from None
    lines = []
    for number, text in enumerate(raw[:whole].split(b"\n")[:-1], start=1):
        try:
            lines.append(changes.parse(text))
        except DataError as error:
            raise _damaged(f"line {number} {error}") from None
    return lines


def _damaged(reason: str) -> DataError:
    return DataError(
        f"{LEDGER} must hold the changes as they were written, but {reason.rstrip('.')}. "
        "Take it from a copy, or move it away: then what is in the folders counts."
    )


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{folder} must be a folder that can be read and written, got {error.strerror!r}. Make "
        "room, or choose another."
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
