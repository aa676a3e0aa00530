"""`manifest:FILE`: pictures of another source under labels of their own, one a line.

A CSV file in UTF-8, as `siglum relabel` writes it and as a person may. Lines that start with "#"
come first; `# source: archive:signs.zip` among them names where the pictures lie, and
`# part: test` which part of it, where it has parts. Then a header that names at least the columns
`file` and `new`, and a line a picture. A picture without a line is left out.
"""

import csv
import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from itertools import chain
from pathlib import Path

import numpy as np

from siglum.errors import DataError
from siglum.images.imageset import ImageSet

KIND = "manifest"
PARTS = ("train", "test")
NEEDED = ("file", "new")


@dataclass(frozen=True)
class Manifest:
    """What a manifest says."""

    source: str  # where the pictures lie, such as "archive:signs.zip"
    part: str  # of the source, where it has parts
    labels: Mapping[str, str]  # file -> label
    lines: Mapping[str, int]  # file -> line number in the manifest, from 1


@dataclass(frozen=True)
class Line:
    """One picture of a manifest; the fields are the columns."""

    file: str
    old: str
    new: str
    probability: str  # of `new`, in [0, 1]
    margin: str  # `probability` less the runner-up's
    run: str  # that labelled it


def read(path: Path, spec: str) -> Manifest:
    """Read a manifest.

    Raises:
        DataError: if it is no such file; the message says which line breaks which rule.
    """
    text = _text(path, spec)
    if not text.strip():
        raise DataError(f"{spec} must have a line for at least one picture, got an empty file.")
    lines = io.StringIO(text, newline="")
    notes: dict[str, str] = {}
    first, above = "", 0  # the header, and the lines above it
    for first in lines:
        if first.startswith("#"):
            # Spreadsheets fill the line up with commas.
            key, colon, value = first[1:].strip().rstrip(",").partition(":")
            if colon and key.strip() in ("source", "part"):
                if key.strip() in notes:
                    raise DataError(f"{spec} must have one line '# {key.strip()}:', got two.")
                notes[key.strip()] = value.strip()
        elif first.strip():
            break
        first, above = "", above + 1
    source, part = _place(notes, spec)
    rows = csv.reader(chain([first], lines), strict=True)
    try:
        columns = next(rows, [])
        if not columns:
            raise DataError(
                f"{spec} must have a header such as {','.join(NEEDED)} and lines below, got none."
            )
        for column in NEEDED:
            if columns.count(column) != 1:
                raise DataError(
                    f"{spec} must have the columns {' and '.join(NEEDED)} once each, "
                    f"got {','.join(columns)!r}."
                )
        file_at, new_at = (columns.index(column) for column in NEEDED)
        labels: dict[str, str] = {}
        numbers: dict[str, int] = {}
        for row in rows:
            number = above + rows.line_num
            if not row:
                continue
            if len(row) != len(columns):
                raise DataError(
                    f"{spec} must have {len(columns)} fields in every line, as in its header, "
                    f"got {len(row)} in line {number}."
                )
            file, new = row[file_at], row[new_at]
            if not new.strip():
                raise DataError(
                    f"{spec} must give every picture a label, got none in line {number} for "
                    f"{file!r}. Delete the line to leave the picture out."
                )
            if file in labels:
                raise DataError(
                    f"{spec} must name a picture once, got {file!r} in line {numbers[file]} and "
                    f"in line {number}. Delete one of them."
                )
            labels[file], numbers[file] = sys.intern(new), number
    except csv.Error as error:
        raise DataError(
            f"{spec} must be CSV, got {error} in line {above + rows.line_num}."
        ) from None
    if not labels:
        raise DataError(f"{spec} must have a line for at least one picture, got none.")
    return Manifest(source, part, labels, numbers)


def _text(path: Path, spec: str) -> str:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing" if not path.exists() else "no file"
        raise DataError(f"{spec} must name a CSV file, got {found} there.")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{spec} must be readable, got {error.strerror!r}.") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{spec} must be UTF-8, got byte {error.object[error.start]:#04x} in line {line}. "
            "Save it again as CSV UTF-8."
        ) from None


def _place(notes: Mapping[str, str], spec: str) -> tuple[str, str]:
    """Return the source and the part that the first lines name."""
    source, part = notes.get("source", ""), notes.get("part", PARTS[0])
    if not source:
        raise DataError(
            f"{spec} must say where its pictures lie in a first line such as "
            "'# source: archive:signs.zip', got none."
        )
    if source.partition(":")[0] == KIND:
        raise DataError(
            f"{spec} must have the pictures themselves as its source, got the manifest {source!r}. "
            "Name what that one names."
        )
    if part not in PARTS:
        raise DataError(f"{spec} must have '# part: train' or '# part: test', got {part!r}.")
    return source, part


def names_of(images: ImageSet) -> Sequence[str]:
    """Return what a manifest calls each picture: its file, or its number where it has none."""
    return images.files if images.files is not None else [str(i) for i in range(len(images))]


def select(images: ImageSet, manifest: Manifest, spec: str) -> ImageSet:
    """Return the pictures that the manifest names, in their own order, under its labels.

    Args:
        images: the manifest's source.

    Raises:
        DataError: if the manifest names a picture that is not there.
    """
    left = dict(manifest.labels)
    found = [
        (index, label)
        for index, name in enumerate(names_of(images))
        if (label := left.pop(name, None)) is not None
    ]
    if left:
        name = next(iter(left))
        reason = dict(images.unreadable).get(name)
        raise DataError(
            f"{spec} must name pictures of {images.source}, got {name!r} in line "
            f"{manifest.lines[name]}{f', which {reason}' if reason else ''} "
            f"({len(left):,} of {len(manifest.labels):,} lines name none). "
            "Delete such lines, or put the source's name right."
        )
    classes = tuple(sorted({label for _, label in found}))
    number = {name: label for label, name in enumerate(classes)}
    kept = images.subset(np.array([index for index, _ in found], dtype=np.int64))
    labels = np.array([number[label] for _, label in found], dtype=np.int64)
    return replace(kept, labels=labels, classes=classes, source=spec, unreadable=())


def check_free(path: Path) -> None:
    """Raise DataError where no new manifest can be written."""
    try:
        there, folder = path.exists() or path.is_symlink(), path.parent.is_dir()
    except OSError as error:  # no permission, too long a name
        raise DataError(
            f"out must be a place that can be looked at, got {path}: {error}."
        ) from None
    if there:
        raise DataError(
            f"out must not exist yet, got {path}; a manifest is never overwritten. "
            "Choose another name with -o, or delete it."
        )
    if not folder:
        raise DataError(
            f"out must lie in a folder that exists, got {path}. Make the folder first: "
            f"mkdir -p {path.parent}"
        )


def write(
    path: Path, source: str, part: str | None, lines: Iterable[Line], notes: Sequence[str] = ()
) -> None:
    """Write a manifest, under a temporary name first, so that it is there whole or not at all.

    Args:
        part: of the source; None where it has none.
        notes: said in the first lines, for people.

    Raises:
        DataError: if `path` exists or cannot be written.
    """
    check_free(path)
    places = [f"source: {source}", *([f"part: {part}"] if part else [])]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            with temporary.open("x", encoding="utf-8", newline="") as file:
                for note in (*places, *notes):
                    file.write(f"# {' '.join(note.splitlines())}\n")
                rows = csv.writer(file, lineterminator="\n")
                rows.writerow(field.name for field in fields(Line))
                rows.writerows(astuple(line) for line in lines)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(
            f"out must be a place that can be written, got {path}: {error.strerror}. "
            "Make room, or choose another with -o."
        ) from None
