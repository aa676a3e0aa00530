"""A folder of samples that is open, and what was learned of it: one place for all who draw.

Changes go one by one through the ledger, which has them on disk before anybody is told. Learning
follows: one learning serves all changes that waited for it. Who only reads takes the snapshot that
there is, and waits for nobody.
"""

import json
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from siglum.errors import ConfigError, DataError, SiglumError
from siglum.images import decode, samples, strokes
from siglum.images.samples import Picture
from siglum.images.strokes import Drawing
from siglum.recogniser.predict import Recogniser
from siglum.studio import changes, snapshot, view
from siglum.studio.changes import Change, Edit
from siglum.studio.ledger import Ledger
from siglum.studio.seen import Seen, look
from siglum.studio.snapshot import Analysis, Snapshot

MOST_CLASSES, MOST_DRAWINGS = 1_000, 20_000


class Missing(SiglumError):
    """What is asked for is not there."""


class Conflict(SiglumError):
    """What is asked for does not fit what is so."""


class Studio:
    """An open folder; its methods may be called from several threads."""

    def __init__(
        self,
        folder: Path,
        backbone: Recogniser,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Open a folder, and learn what is in it.

        Args:
            progress: is told how many drawings of how many have been looked at.

        Raises:
            DataError: if the folder cannot be opened; see `Ledger`.
        """
        self.backbone = backbone
        self.folder = folder
        self.ledger = Ledger(folder)
        self.news = threading.Condition()  # told of each new snapshot
        self._changing = threading.Lock()  # around the ledger and `_seen`; taken after `_learning`
        self._learning = threading.Lock()
        self._seen: dict[str, Seen] = {}
        self._telling = threading.Lock()
        self._told: tuple[Snapshot | None, str] = None, ""
        try:
            self.id = samples.identity(folder)
            names = list(self.ledger.state.drawings)
            for done, name in enumerate(names):
                self._seen[name] = self._look(name)
                progress(done + 1, len(names))
            self._changes = 0
            made = snapshot.taken(backbone, self.ledger.state, dict(self._seen), 0)
            # Versions grow across restarts, so that no page takes an old state for the new one.
            self.current = replace(made, version=int(time.time() * 1000))
        except BaseException:
            self.ledger.close()
            raise

    @property
    def title(self) -> str:
        """What the folder is called."""
        return self.folder.resolve().name

    def close(self) -> None:
        """Let go of the folder."""
        self.ledger.close()

    def record(self, change: Edit, session: str = "") -> Snapshot:
        """Make a change, learn, and return what is so then.

        Raises:
            Conflict: if it does not fit what is so.
        """
        return self.learned(self.note(change, session))

    def note(self, change: Edit, session: str = "") -> int:
        """Make a change without learning from it yet; return how many there are for `learned`."""
        with self._changing:
            return self._note(change, session)

    def _note(self, change: Edit, session: str) -> int:
        if type(change) is changes.AddClass:
            self.check_classes([change.name])
        try:
            self.ledger.record(change, session)
        except DataError as error:
            raise Conflict(str(error)) from None
        self._changes += 1
        return self._changes

    def add_class(self, name: str, session: str = "") -> bool:
        """Add a class where it is not there yet; return whether it is new. It is not learned yet.

        Raises:
            Conflict: if it may not be called so.
        """
        with self._changing:
            if name in self.ledger.state.classes:
                return False
            self._note(changes.AddClass(name), session)
            return True

    def check_classes(self, names: Iterable[str]) -> None:
        """Raise ConfigError where there is no room for those of the classes that are new."""
        there = self.ledger.state.classes
        _check_room(len(there), len(set(names) - set(there)), MOST_CLASSES, "classes")

    def draw(
        self,
        drawing: Drawing | Picture,
        class_name: str,
        writer: str,
        part: str,
        session: str = "",
        name: str | None = None,
    ) -> tuple[str, Snapshot]:
        """Keep a drawing or a photo and learn; return its name, and what is so then.

        Args:
            name: 16 hexadecimal digits; one that was kept before is not kept again.

        Raises:
            DataError: if it shows no ink.
        """
        name, wanted = self.keep(drawing, class_name, writer, part, session, name)
        return name, self.learned(wanted)

    def keep(
        self,
        drawing: Drawing | Picture,
        class_name: str,
        writer: str,
        part: str,
        session: str = "",
        name: str | None = None,
        when: str | None = None,
    ) -> tuple[str, int]:
        """Keep a drawing without learning it yet; see `draw` and `learned`.

        Args:
            when: it was drawn, UTC; now by default.
        """
        with self._changing:
            if class_name not in self.ledger.state.classes:
                raise Conflict(f"class must be one that there is, got {class_name!r} any more.")
            _check_room(len(self.ledger.state.drawings), 1, MOST_DRAWINGS, "drawings")
            name = self.ledger.draw(drawing, class_name, writer, part, session, name, when)
            if name in self.ledger.state.drawings and name not in self._seen:
                self._seen[name] = self._look(name)
                self._changes += 1
            return name, self._changes

    def undo(self, session: str | None, line: int) -> Snapshot:
        """Undo the last change, of a session or of all, which must be that of a line.

        Raises:
            Conflict: if there is none, or another is the last, or later changes rest on it.
        """
        return self._leave(self.ledger.undo, session, line)

    def redo(self, session: str | None, line: int) -> Snapshot:
        """Make the change again that was undone last, which must be that of a line.

        Raises:
            Conflict: if there is none, or another is the last, or it does not fit any more.
        """
        return self._leave(self.ledger.redo, session, line)

    def _leave(
        self, leave: Callable[[str | None, int], Change], session: str | None, line: int
    ) -> Snapshot:
        with self._changing:
            try:
                leave(session, line)
            except DataError as error:
                raise Conflict(str(error)) from None
            self._changes += 1
            wanted = self._changes
            for name in self.ledger.state.drawings.keys() - self._seen.keys():
                try:
                    self._seen[name] = self._look(name)
                except DataError as error:
                    warnings.warn(f"{error} It does not count.", stacklevel=3)
        return self.learned(wanted)

    def learned(self, wanted: int | None = None) -> Snapshot:
        """Return a snapshot that has seen so many changes, or all; learn where there is none."""
        with self._learning:
            if self.current.at < (self._changes if wanted is None else wanted):
                with self._changing:
                    state, seen, at = self.ledger.state, dict(self._seen), self._changes
                self._publish(snapshot.taken(self.backbone, state, seen, at, self.current))
            return self.current

    def analysed(self, analysis: Analysis) -> None:
        """Add to the current snapshot what was found out behind the scenes."""
        with self._learning:
            self._publish(replace(self.current, analysis=analysis))

    def _publish(self, made: Snapshot) -> None:
        with self.news:
            self.current = replace(made, version=self.current.version + 1)
            self.news.notify_all()

    def told(self, now: Snapshot) -> str:
        """Return what everybody is told of a snapshot, as JSON, which is made once."""
        with self._telling:
            if self._told[0] is not now:
                said = view.shared(now, self.backbone, self.title, self.id)
                self._told = now, json.dumps(said, ensure_ascii=False, separators=(",", ":"))
            return self._told[1]

    def picture(self, name: str) -> bytes:
        """Return the PNG file of a drawing that counts.

        Raises:
            Missing: if it has gone.
        """
        try:
            return self.ledger.read(name, ".png")
        except DataError:
            raise Missing(f"sample must be one that there is, got {name}.") from None

    def _look(self, name: str) -> Seen:
        """Look at a drawing's picture, as any other command would; draw it where it is damaged.

        Raises:
            DataError: if it is the picture of a photo that is damaged.
        """
        path = self.ledger.path(name)
        try:
            picture = decode.read(path.with_suffix(".png"))
        except DataError as error:
            kept = samples.read(path).drawing
            if not isinstance(kept, Drawing):
                raise DataError(
                    f"{path}.png must be a picture, but it {error}. Remove it and its .json."
                ) from None
            picture = 255 - strokes.rasterise(kept)
        return look(self.backbone, picture)[0]


def _check_room(there: int, more: int, most: int, what: str) -> None:
    if more and there + more > most:
        raise ConfigError(f"{what} must be at most {most:,}, got {there:,} and {more:,} more.")
