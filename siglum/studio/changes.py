"""What can happen to a folder of samples, and what is so after it.

State is a pure function of the lines of a ledger. A change that was undone is left out, so that
what others did after it stays; where something rests on it, it cannot be undone.
"""

import bisect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace

from siglum.errors import DataError, nearest
from siglum.images import class_folders, samples


@dataclass(frozen=True)
class AddClass:
    """A class that is new, behind all others."""

    name: str


@dataclass(frozen=True)
class RenameClass:
    """A class keeps its drawings and its place, under a name that no class has."""

    name: str
    to: str


@dataclass(frozen=True)
class MergeClass:
    """The drawings of a class become those of another; the class is gone."""

    name: str
    into: str


@dataclass(frozen=True)
class DeleteClass:
    """A class is gone, and its drawings no longer count."""

    name: str


@dataclass(frozen=True)
class AddDrawing:
    """A drawing that is new, behind all others."""

    drawing: str  # its random name
    name: str  # of its class
    writer: str
    part: str  # "taught" or "quiz"


@dataclass(frozen=True)
class MoveDrawings:
    """Drawings are of another class."""

    drawings: tuple[str, ...]
    to: str


@dataclass(frozen=True)
class RemoveDrawings:
    """Drawings no longer count."""

    drawings: tuple[str, ...]


@dataclass(frozen=True)
class Undo:
    """A change is left out."""

    of: int  # its line, from 1


@dataclass(frozen=True)
class Redo:
    """A change that was undone counts again."""

    of: int


Edit = AddClass | RenameClass | MergeClass | DeleteClass | MoveDrawings | RemoveDrawings
Change = Edit | AddDrawing
CHANGES: dict[str, type[Change | Undo | Redo]] = {
    "add class": AddClass,
    "rename class": RenameClass,
    "merge class": MergeClass,
    "delete class": DeleteClass,
    "add drawing": AddDrawing,
    "move drawings": MoveDrawings,
    "remove drawings": RemoveDrawings,
    "undo": Undo,
    "redo": Redo,
}
WORDS = {kind: words for words, kind in CHANGES.items()}
TYPES: dict[str, type] = {"of": int, "drawings": list}  # of what a line says; all else is text


@dataclass(frozen=True)
class Line:
    """One line of a ledger."""

    when: str  # UTC, as in 2025-01-31T12:00:00Z
    session: str  # whose change it is; "" for nobody's
    change: Change | Undo | Redo


@dataclass(frozen=True)
class Entry:
    """What is known of a drawing that counts."""

    class_name: str
    writer: str
    part: str


@dataclass(frozen=True)
class State:
    """What counts; never changed once it is made."""

    classes: tuple[str, ...] = ()  # in the order they were added
    drawings: dict[str, Entry] = field(default_factory=dict)  # by name, in the order of adding

    def of(
        self, class_name: str | None = None, writer: str | None = None, part: str | None = None
    ) -> list[str]:
        """Return the names of the drawings of a class, by a writer, of a part, or all of that."""
        return [
            name
            for name, entry in self.drawings.items()
            if class_name in (None, entry.class_name)
            and writer in (None, entry.writer)
            and part in (None, entry.part)
        ]


def parse(text: str | bytes) -> Line:
    """Return what a line says.

    Raises:
        DataError: if it is no such line; the message is the reason alone.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"is no JSON ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"is a {type(value).__name__}, not a table")
    words = value.get("do")
    if not isinstance(words, str) or words not in CHANGES:
        raise DataError(f"does {words!r:.40}, which this Siglum does not know")
    kind = CHANGES[words]
    own = {each.name: TYPES.get(each.name, str) for each in fields(kind)}
    wanted: dict[str, type] = own | {"when": str, "session": str}
    if value.keys() != {"do", *wanted}:
        raise DataError(f"must have do, {', '.join(wanted)}, got {', '.join(value):.80}")
    for name, type_ in wanted.items():
        if type(value[name]) is not type_:
            raise DataError(f"has {name} {value[name]!r:.40}, not {type_.__name__}")
    if "drawings" in own:
        if not all(isinstance(name, str) for name in value["drawings"]):
            raise DataError(f"has drawings {value['drawings']!r:.40}, not names")
        value["drawings"] = tuple(value["drawings"])
    when, session = value["when"], value["session"]
    return Line(when, session, kind(**{name: value[name] for name in own}))


def written(line: Line) -> str:
    """Return a line as JSON, without the end of the line."""
    about = {"when": line.when, "session": line.session, "do": WORDS[type(line.change)]}
    return json.dumps(about | asdict(line.change), ensure_ascii=False)


def replay(lines: Sequence[Line]) -> State:
    """Return what is so after some lines.

    Raises:
        DataError: if a line does not fit what is so before it; the message begins with its number.
    """
    undone: set[int] = set()
    for number, line in enumerate(lines, start=1):
        of = line.change.of if isinstance(line.change, Undo | Redo) else None
        if of is None:
            continue
        if isinstance(line.change, Undo):
            if not 0 < of < number or of in undone or isinstance(lines[of - 1].change, Undo | Redo):
                raise DataError(f"line {number} undoes line {of}, which is no change that counts")
            undone.add(of)
        elif of not in undone:
            raise DataError(f"line {number} redoes line {of}, which is not undone")
        else:
            undone.remove(of)
    classes: list[str] = []
    drawings: dict[str, Entry] = {}
    for number, line in enumerate(lines, start=1):
        if number not in undone and not isinstance(line.change, Undo | Redo):
            try:
                _apply(classes, drawings, line.change)
            except DataError as error:
                raise DataError(f"line {number} ({WORDS[type(line.change)]}): {error}") from None
    return State(tuple(classes), drawings)


def after(state: State, change: Change) -> State:
    """Return what is so after a change.

    Raises:
        DataError: if it does not fit: it names a class or drawing that is not there, or a new one
            by a name that is taken.
    """
    classes, drawings = list(state.classes), dict(state.drawings)
    _apply(classes, drawings, change)
    return State(tuple(classes), drawings)


def last(lines: Sequence[Line], session: str | None = None) -> tuple[int | None, int | None]:
    """Return which line can be undone next, and which redone, of a session or of all.

    A new change ends what could be redone.
    """
    done: list[int] = []
    undone: list[int] = []
    for number, line in enumerate(lines, start=1):
        match line.change:
            case Undo(of) if of in done:
                done.remove(of)
                undone.append(of)
            case Redo(of) if of in undone:
                undone.remove(of)
                bisect.insort(done, of)
            case Undo() | Redo():
                pass
            case _ if session in (None, line.session):
                done.append(number)
                undone.clear()
    return done[-1] if done else None, undone[-1] if undone else None


def _apply(classes: list[str], drawings: dict[str, Entry], change: Change) -> None:
    """Change what is so, or raise DataError and leave it."""
    match change:
        case AddClass(name):
            _free(class_folders.checked(name), classes)
            classes.append(name)
        case RenameClass(name, to):
            place = _there(name, classes)
            _free(class_folders.checked(to), classes)
            classes[place] = to
            _give(drawings, name, to)
        case MergeClass(name, into):
            place = _there(name, classes)
            _there(into, classes)
            if name == into:
                raise DataError(f"into must be another class than {name!r}.")
            del classes[place]
            _give(drawings, name, into)
        case DeleteClass(name):
            del classes[_there(name, classes)]
            for drawing in [key for key, entry in drawings.items() if entry.class_name == name]:
                del drawings[drawing]
        case AddDrawing(drawing, name, writer, part):
            _there(name, classes)
            if drawing in drawings:
                raise DataError(f"drawing must be new, got {drawing!r} again.")
            samples.checked_name(drawing)
            samples.checked_writer(writer)
            samples.checked_part(part)
            drawings[drawing] = Entry(name, writer, part)
        case MoveDrawings(names, to):
            _there(to, classes)
            entries = {name: _drawing(name, drawings) for name in names}
            moved = {name: replace(entry, class_name=to) for name, entry in entries.items()}
            drawings.update(moved)
        case RemoveDrawings(names):
            for drawing in {name: _drawing(name, drawings) for name in names}:
                del drawings[drawing]


def _there(name: str, classes: Sequence[str]) -> int:
    if name not in classes:
        raise DataError(
            f"class must be one that there is, got {name!r}.{nearest(name, list(classes))}"
        )
    return classes.index(name)


def _free(name: str, classes: Sequence[str]) -> None:
    if name in classes:
        raise DataError(f"class must have a name that is free, got {name!r}.")


def _drawing(name: str, drawings: Mapping[str, Entry]) -> Entry:
    if name not in drawings:
        raise DataError(f"drawing must be one that counts, got {name!r:.40}.")
    return drawings[name]


def _give(drawings: dict[str, Entry], old: str, new: str) -> None:
    for drawing, entry in drawings.items():
        if entry.class_name == old:
            drawings[drawing] = replace(entry, class_name=new)
