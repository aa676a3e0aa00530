"""Looking into a network: one self-contained page, or a piece of it as a file."""

import io
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from siglum.errors import ConfigError, RunError, choose
from siglum.lab.examine.subject import PARTS, DoesNotApplyError, Subject
from siglum.report import files, words
from siglum.report.examine import canvas
from siglum.report.examine.network import Table
from siglum.report.examine.pieces import PIECES, Piece
from siglum.report.page import whole

__all__ = ["ENDINGS", "PIECES", "arrays", "write_folder", "write_page", "write_piece"]

ENDINGS = (".png", ".svg", ".npz")  # of a piece as a file


@dataclass(frozen=True)
class Shown:
    """A piece on the page."""

    name: str
    piece: Piece
    finding: str
    figure: Markup | None  # None where it does not apply
    table: Table | None


def write_piece(piece: Piece, made: Any, path: Path) -> Path:
    """Write what a piece made to a .png, .svg or .npz file and return its path.

    Raises:
        ConfigError: if the ending is another.
        RunError: if it cannot be written.
    """
    if path.suffix == ".npz":
        file = io.BytesIO()
        np.savez_compressed(file, **arrays(made))  # type: ignore[arg-type]
        return files.replace(path, file.getvalue())
    check_ending(path)
    return files.replace(path, canvas.raw(piece.draw(made, canvas.SHEET), path.suffix))


def check_place(path: Path) -> None:
    """Raise RunError if a page or piece cannot be written to `path`, before it is made."""
    if not path.parent.is_dir():
        raise RunError(
            f"{path} must be a place that can be written, but there is no folder {path.parent}. "
            "Choose another with -o."
        )


def check_ending(path: Path) -> None:
    """Raise ConfigError if `path` has not the ending of a piece."""
    if path.suffix not in ENDINGS:
        raise ConfigError(f"-o must end in {', '.join(ENDINGS)} for a piece, got {str(path)!r}.")


def write_folder(subject: Subject, names: Iterable[str], folder: Path) -> list[str]:
    """Write the page and every piece, drawn twice and as arrays, into a folder.

    Returns:
        The sentences of those that do not apply.

    Raises:
        RunError: if it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{folder} must be a folder that can be written, got {error.strerror!r}. "
            "Choose another with -o."
        ) from error
    made = make(subject, names)
    for name, result in made.items():
        for ending in ENDINGS:
            if not isinstance(result, DoesNotApplyError):
                write_piece(PIECES[name], result, folder / f"{name}{ending}")
    files.replace(folder / "examine.html", _page(subject, made))
    return [f"{name}: {r}" for name, r in made.items() if isinstance(r, DoesNotApplyError)]


def write_page(subject: Subject, names: Iterable[str], path: Path) -> Path:
    """Write the page of some pieces to `path` and return it.

    Raises:
        RunError: if it cannot be written.
    """
    return files.replace(path, _page(subject, make(subject, names)))


def make(subject: Subject, names: Iterable[str]) -> dict[str, Any]:
    """Return what the pieces make; the DoesNotApplyError of one that has nothing to show.

    Raises:
        ConfigError: if there is no such piece.
    """
    made: dict[str, Any] = {}
    for name in names:
        piece = choose(PIECES, name, "only")
        try:
            made[name] = piece.make(subject)
        except DoesNotApplyError as error:
            made[name] = error
    return made


def arrays(made: Any) -> dict[str, NDArray[Any]]:
    """Return the fields of a result, or the columns of several, as arrays without objects."""
    if isinstance(made, tuple):
        columns = {
            field.name: [getattr(row, field.name) for row in made] for field in fields(made[0])
        }
        return {name: _array(values) for name, values in columns.items()}
    assert is_dataclass(made), made
    found: dict[str, NDArray[Any]] = {}
    for field in fields(made):
        value = getattr(made, field.name)
        if isinstance(value, dict):
            found |= {f"{field.name}.{key}": np.asarray(item) for key, item in value.items()}
        else:
            found[field.name] = _array(value)
    return found


def _array(value: Any) -> NDArray[Any]:
    """Return an array; shapes of several lengths as text, since there are no ragged arrays."""
    if isinstance(value, list) and any(isinstance(item, tuple) for item in value):
        value = [" x ".join(map(str, item)) for item in value]
    return np.asarray(value)


def _page(subject: Subject, made: dict[str, Any]) -> bytes:
    shown = [_shown(name, result) for name, result in made.items()]
    page = whole(
        "examine.html",
        subject.run.name,
        "examine",
        [(piece.name, piece.piece.title) for piece in shown],
        ["examine.css"],
        headline=_headline(subject),
        shown=shown,
    )
    return page.encode("utf-8", "backslashreplace")


def _shown(name: str, result: Any) -> Shown:
    piece = PIECES[name]
    if isinstance(result, DoesNotApplyError):
        return Shown(name, piece, str(result), None, None)
    finding = f"{piece.finding(result)}."
    if name == "layers":
        return Shown(name, piece, finding, Markup(""), piece.table(result) if piece.table else None)
    figure = canvas.svg(piece.draw(result, canvas.PAGE), name)
    return Shown(name, piece, finding, figure, None)


def _headline(subject: Subject) -> Markup:
    """Say what is looked into, and with which pictures."""
    model = words.name(subject.run.config.model)
    if subject.files:
        pictures = words.count(len(subject.files), "file")
        return Markup("Inside {}, with {} that you gave.").format(model, pictures)
    try:
        part = subject.shown_part
    except DoesNotApplyError:
        return Markup("Inside {}, without its pictures.").format(model)
    said = Markup("Inside {}, with {} pictures of {}.").format(
        model, PARTS[part], words.name(words.source(subject.run.config.data))
    )
    if part != "test" and subject.part is None:
        said += Markup(" The run has no test pictures.")
    return said
