"""A folder of samples: what people drew, a folder a class. The only file that knows its names.

    <folder>/samples/<class>/<id>.json    strokes, writer, when, part
                             <id>.png     the picture, dark ink on white, or a photo as it was
                             name.txt     the class's name, where the folder's name is not it
            /quiz/<class>/...             drawn to test with, and never learned from
            /removed/<id>.json, <id>.png  what was removed, kept
            /ledger.jsonl                 every change
            /.id                          a random name of the folder

Files are written to a temporary name, synced and renamed, and a sample is never overwritten. The
picture comes first: a sample is there, whole, once its JSON is.
"""

import errno
import io
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siglum.errors import DataError
from siglum.images import class_folders, decode, strokes
from siglum.images.strokes import Drawing

Picture = NDArray[np.uint8]  # (C, H, W), of any paper and ink

LEDGER, REMOVED, ID = "ledger.jsonl", "removed", ".id"
FOLDERS = {"taught": "samples", "quiz": "quiz"}  # by part
MAX_BYTES = 4 * 2**20  # of a sample's JSON: several times what the most points take
NAME = re.compile("[0-9a-f]{16}")
MAX_TEXT = 100  # characters of a writer's name, or a time


@dataclass(frozen=True, eq=False)
class Sample:
    """A drawing or a photo, and what is known of it."""

    drawing: Drawing | Picture
    writer: str  # "" where nobody said
    part: str  # what it was drawn for: "taught" or "quiz"
    when: str  # UTC, as in 2025-01-31T12:00:00Z


class Found(NamedTuple):
    """Where a sample lies."""

    path: Path  # of its files, less their endings
    class_name: str | None  # None for one that was removed
    part: str | None


def identity(folder: Path) -> str:
    """Return the random name of a folder, 16 hexadecimal digits; one is made where there is none.

    Raises:
        DataError: if it cannot be written.
    """
    path, name = folder / ID, secrets.token_hex(8)
    with suppress(OSError, ValueError):
        if NAME.fullmatch(found := path.read_text("ascii")):
            return found
    with _writing(folder):
        path.unlink(missing_ok=True)
        _write(path, name.encode())
        sync(folder)
    return name


def stem(folder: Path, part: str, class_name: str, name: str) -> Path:
    """Return the path of a sample's files, less their endings."""
    return folder / FOLDERS[part] / class_folders.folder_of(class_name) / name


def removed_stem(folder: Path, name: str) -> Path:
    """Return the path of a removed sample's files, less their endings."""
    return folder / REMOVED / name


def write(folder: Path, sample: Sample, class_name: str, name: str | None = None) -> str:
    """Write a sample under a new random name, or the given one; return it. It is on disk then.

    Raises:
        DataError: if it has no ink or no such writer or part, or cannot be written.
    """
    name = secrets.token_hex(8) if name is None else checked_name(name)
    value = {
        "version": strokes.VERSION,
        "writer": checked_writer(sample.writer),
        "part": checked_part(sample.part),
        "when": class_folders.checked(sample.when, "when", MAX_TEXT),
    }
    if isinstance(sample.drawing, Drawing):
        value |= strokes.to_json(sample.drawing)
    picture = _png(sample.drawing)
    raw = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    path = stem(folder, sample.part, class_name, name)
    with _writing(folder):
        _open_class(path.parent, class_name)
        try:
            _write(path.with_suffix(".png"), picture)
            _write(path.with_suffix(".json"), raw.encode())
            sync(path.parent)
        except FileExistsError:
            raise
        except BaseException:
            take_back(path)
            raise
    return name


def take_back(path: Path) -> None:
    """Delete the files of a sample (`path` less endings) that nobody was told is kept."""
    for ending in (".json", ".png"):
        path.with_suffix(ending).unlink(missing_ok=True)


def read(path: Path, most: int = decode.MAX_PIXELS) -> Sample:
    """Read a sample, given the path of its files less their endings; nothing of it is trusted.

    Args:
        most: pixels that a photo may have.

    Raises:
        DataError: if there is no such sample or it is damaged.
    """
    value = json_of(path.with_suffix(".json"))
    try:
        if not isinstance(value, dict):
            raise DataError(f"it must be a table, got {type(value).__name__}.")
        facts = {key: value.pop(key, None) for key in ("writer", "part", "when")}
        drawing = (
            decode.read(path.with_suffix(".png"), max_pixels=most)
            if value == {"version": strokes.VERSION}
            else strokes.parse(value)
        )
        return Sample(
            drawing=drawing,
            writer=checked_writer(facts["writer"]),
            part=checked_part(facts["part"]),
            when=class_folders.checked(facts["when"], "when", MAX_TEXT),
        )
    except DataError as error:
        raise DataError(f"{path.name}.json must hold a sample: {error}") from None


def checked_name(name: Any) -> str:
    """Return the name of a sample's files; DataError if it may not be one."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise DataError(f"sample must be named by 16 hexadecimal digits, got {name!r:.40}.")
    return name


def checked_writer(writer: Any) -> str:
    """Return a writer's name, "" where nobody said; DataError if it may not be one."""
    return "" if writer == "" else class_folders.checked(writer, "writer", MAX_TEXT)


def checked_part(part: Any) -> str:
    """Return a part; DataError if there is no such part."""
    if part not in tuple(FOLDERS):
        raise DataError(f"part must be {' or '.join(FOLDERS)}, got {str(part)[:40]!r}.")
    return str(part)


def move(source: Path, target: Path, class_name: str | None) -> None:
    """Move a sample (paths less endings), or what is left to be moved of it.

    Half a sample of its name, which an interrupted write left there, makes room for it.

    Args:
        class_name: of the folder that it goes to; None for what is removed.

    Raises:
        DataError: if it cannot be moved.
    """
    with _writing(target.parent):
        _open_class(target.parent, class_name)
        for ending in (".json", ".png"):
            with suppress(FileNotFoundError):
                source.with_suffix(ending).replace(target.with_suffix(ending))


def close(folder: Path) -> None:
    """Remove a folder that samples were moved out of, if nothing is left in it.

    Raises:
        DataError: if it cannot be removed.
    """
    with _writing(folder):
        if [path.name for path in listed(folder)] in ([], [class_folders.NAME]):
            (folder / class_folders.NAME).unlink(missing_ok=True)
            if folder.is_dir():
                folder.rmdir()


def find(folder: Path) -> list[Found]:
    """Return every sample of a folder, after putting right what was interrupted.

    A move that was interrupted is ended; half a sample of which nobody was told is removed.

    Raises:
        DataError: if the folder cannot be listed or changed.
    """
    found: list[Found] = []
    halves: dict[str, list[Found]] = {}
    with _writing(folder):
        for part, top in [*FOLDERS.items(), (None, REMOVED)]:
            for place in [folder / top] if part is None else listed(folder / top):
                told = class_folders.read_name(place)
                class_name = None if part is None else class_folders.class_of(place.name, told)
                names = {path.name for path in listed(place)}
                for name in names:
                    if name.startswith(".") and name.endswith(".new"):
                        (place / name).unlink()
                for name in sorted({name.partition(".")[0] for name in names}):
                    ends = names & {f"{name}.json", f"{name}.png"}
                    if NAME.fullmatch(name) and ends:
                        one = Found(place / name, class_name, part)
                        (found if len(ends) == 2 else halves.setdefault(name, [])).append(one)
    for name, pieces in halves.items():
        facts = [half for half in pieces if half.path.with_suffix(".json").exists()]
        target = Found(folder / REMOVED / name, None, None)
        if 0 < len(facts) < len(pieces):
            target = facts[0]
            found.append(target)
        for half in pieces:
            if half.path != target.path:
                move(half.path, target.path, target.class_name)
                close(half.path.parent)
    return found


def json_of(path: Path) -> Any:
    """Return the value of a JSON file; DataError if it is none."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise DataError(f"{path.name} must have at most {MAX_BYTES:,} bytes, got more.")
        return json.loads(raw)
    except RecursionError:
        raise DataError(f"{path.name} must be JSON, got lists within lists too deep.") from None
    except OSError as error:
        raise DataError(f"{path.name} must be a file that can be read: {error.strerror}.") from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path.name} must be JSON, got {error}.") from None


def listed(folder: Path) -> list[Path]:
    """Return what a folder holds, ascending; nothing where there is none."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def sync(folder: Path) -> None:
    """Sync a folder's list of names, where the system can."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _png(drawing: Drawing | Picture) -> bytes:
    """Return the picture of a drawing, or a photo, as a file."""
    pixels = 255 - strokes.rasterise(drawing) if isinstance(drawing, Drawing) else drawing
    if isinstance(drawing, Drawing) and pixels.min() == 255:
        raise DataError("drawing must have ink on the pad, got none. Draw inside it.")
    if pixels.ndim == 3:
        pixels = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)  # half the time, a tenth larger
    return file.getvalue()


def _open_class(folder: Path, class_name: str | None) -> None:
    """Make a class's folder, and say in it what the class is called where that is not plain."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        sync(folder.parent)
    named = folder / class_folders.NAME
    if class_name is not None and class_name != folder.name and not named.exists():
        _write(named, class_name.encode())


def _write(path: Path, raw: bytes) -> None:
    """Write a new file in one step."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with temporary.open("xb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            raise FileExistsError(errno.EEXIST, "the file exists already", str(path))
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn a full or read-only disk into an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder} must be a folder that can be written, got {error.strerror!r}. "
            "Make room, or choose another."
        ) from error
