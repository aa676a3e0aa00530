"""`manifest:FILE`: images under labels of a CSV file, one image per line.

Any usual dialect is read: commas, semicolons or tabs, UTF-8, UTF-16 or Windows-1252, any order and
names of columns, or no header. The first lines may name the images' source
(`# source: archive:signs.zip`) and its part (`# part: test`); else they are relative to the file.
"""

import codecs
import csv
import io
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from siglum.errors import DataError
from siglum.files import atomic_path, cannot_read
from siglum.images import folder
from siglum.images.cache import Listing, Progress, Row
from siglum.images.decode import IMAGE_SUFFIXES

COLUMNS = ("file", "old", "new", "probability", "margin", "run")  # of those that Siglum writes
FILE_COLUMNS = (
    *("file", "filename", "filepath", "path", "image", "imagepath", "imagefile", "imagename"),
    *("imageid", "img", "picture", "name", "id"),
)
LABEL_COLUMNS = (
    *("new", "label", "labels", "class", "classname", "latex", "character", "char", "letter"),
    *("symbol", "sign", "digit", "glyph", "category", "target", "tag", "truth", "groundtruth"),
    *("text", "transcription", "word", "y", "classid", "labelid", "symbolid"),
)


class Manifest(NamedTuple):
    """The labels that a CSV file gives."""

    source: str  # of the images, or "" where their names are relative to the file
    part: str  # of the source, where it has parts
    labels: dict[str, str]  # by file


def read(path: Path, spec: str) -> Manifest:
    """Read a CSV file of files and labels."""
    lines = _text(path, spec).splitlines(keepends=True)
    start = sum(1 for _ in takewhile(lambda line: line[0] == "#" or not line.strip(), lines))
    fields = [line.strip("#,;\t\r\n ").partition(":") for line in lines[:start]]
    notes = {key.strip(): value.strip() for key, _, value in fields}
    first = [line for line in lines[start:][:20] if line.strip()]
    if not first:
        raise DataError(f"{spec} is empty. Each line must name an image file and its label.")
    delimiter = max(",;\t|", key=lambda mark: min(line.count(mark) for line in first))
    try:
        table = io.StringIO("".join(lines[start:]), newline="")
        reader = csv.reader(table, delimiter=delimiter, skipinitialspace=True)
        rows = [[cell.strip() for cell in row] for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise DataError(f"{spec} is not CSV: {error}.") from None
    width = len(rows[0])
    file, label, header = _columns([row for row in rows[:20] if len(row) == width], spec)
    labels: dict[str, str] = {}
    for row in rows[header:]:
        if len(row) != width or not row[file] or not row[label] or row[file] in labels:
            raise DataError(
                f"{spec} must have {width} columns in each line, a label, and a file that no other "
                f"line has, got {delimiter.join(row)[:200]!r}. Correct or delete the line."
            )
        labels[row[file]] = folder.class_name(row[label], spec)
    if not labels:
        raise DataError(f"{spec} has only a header. Add lines of image files and their labels.")
    _warn_similar({*labels.values()}, spec)
    return Manifest(notes.get("source", ""), notes.get("part", "train"), labels)


def _text(path: Path, spec: str) -> str:
    try:
        data = path.read_bytes()
        utf16 = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except OSError as error:
        raise cannot_read(spec, error) from None
    except UnicodeDecodeError:
        message = f"{spec} is read as Windows-1252. If names are wrong, save it as CSV UTF-8."
        warnings.warn(message, stacklevel=2)
        return data.decode("cp1252", "replace")


def _columns(rows: Sequence[Sequence[str]], spec: str) -> tuple[int, int, int]:
    """Return the columns of files and of labels, and 1 where there is a header, else 0."""
    width = len(rows[0])
    if sum(cell.isdigit() for cell in rows[-1]) > max(40, width - 3):
        raise DataError(
            f"{spec} holds pixels, not names of image files, as Kaggle's digits do. Save each row "
            "as an image in a folder of its class, or use mnist."
        )
    is_image = [[cell.lower().endswith(IMAGE_SUFFIXES) for cell in row] for row in rows]
    header = ["".join(filter(str.isalnum, cell.casefold())) for cell in rows[0]]
    header = [] if any(is_image[0]) else header
    candidates = [header.index(name) for name in FILE_COLUMNS if name in header]
    with_images = [column for column in range(width) if any(row[column] for row in is_image)]
    files = [i for i in candidates if i in with_images] or with_images or candidates
    labels = [header.index(name) for name in LABEL_COLUMNS if name in header]
    labels += range(width) if not header or width == 2 else []
    label = next((column for column in labels if column not in files[:1]), None)
    if not files or label is None:
        raise DataError(
            f"{spec} has no columns of image files and labels, but {','.join(rows[0])[:200]!r}. "
            "Name them file and label in its first line."
        )
    return files[0], label, int(bool(header))


def _warn_similar(labels: Iterable[str], spec: str) -> None:
    """Warn of labels that differ in blanks, case or normal form only; `o` and `O` do differ."""
    first: dict[str, str] = {}
    for label in sorted(labels):
        text = " ".join(unicodedata.normalize("NFC", label).split())
        other = first.setdefault(text if len(text) == 1 else text.casefold(), label)
        if other != label:
            message = f"{spec}: {other!a} and {label!a} are two classes. If they are one, merge "
            warnings.warn(message + "them with --rename.", stacklevel=2)


def list_files(root: Path, manifest: Manifest, spec: str, progress: Progress) -> Listing:
    """List the image files that a manifest names, which are below `root`.

    A name that is no file there, such as an absolute path of another computer or a name without
    its suffix, stands for the one file that shares most of its end.
    """
    names = {name: name.replace("\\", "/") for name in manifest.labels}
    missing = [name for name, path in names.items() if not (root / path).is_file()]
    files: dict[str, list[str]] = {}  # by every end of their path, with and without suffix
    for path in folder.scan(root, spec, progress)[0] if missing else ():
        for end in (*_ends(path), *_ends(path.rpartition(".")[0])):
            files.setdefault(end, []).append(path)
    for name in missing:
        matches = next((files[end] for end in _ends(names[name]) if end in files), [])
        if len(matches) != 1:
            problem = "matches several files" if matches else "does not exist"
            raise DataError(
                f"{spec} names {name!r}, which {problem} in {root} ({len(missing):,} of "
                f"{len(names):,} lines to search for). Correct or delete the line."
            )
        names[name] = matches[0]
    if len({*names.values()}) < len(names):
        raise DataError(f"{spec} names a file twice, in two ways. Delete one of the lines.")
    rows = sorted(Row(path, manifest.labels[name]) for name, path in names.items())
    return folder.list_files(root, rows)


def _ends(path: str) -> list[str]:
    """Return the ends of a path, the longest first: "a/b.png" and "b.png"."""
    names = path.casefold().split("/")
    return ["/".join(names[start:]) for start in range(len(names))]


def relabel(listing: Listing, manifest: Manifest, spec: str) -> Listing:
    """Return the images that a manifest names, under its labels."""
    labels = manifest.labels
    if unknown := sorted(labels.keys() - {row.name for row in listing.rows}):
        raise DataError(
            f"{spec} names {unknown[0]!r}, which is not in {manifest.source}. Correct or delete "
            "the line."
        )
    rows = [Row(row.name, labels[row.name]) for row in listing.rows if row.name in labels]
    return replace(listing, rows=rows)


def check_free(path: Path) -> None:
    """Raise DataError where a new manifest cannot be written."""
    if path.exists() or path.is_symlink() or not path.parent.is_dir():
        raise DataError(f"{path} must be a new file in a folder that exists. Choose another name.")


def write(
    path: Path,
    source: str,
    part: str | None,
    rows: Iterable[Sequence[object]],
    notes: Sequence[str] = (),
) -> None:
    """Write a manifest with COLUMNS, whole or not at all; `notes` for people become comments."""
    check_free(path)
    notes = [f"source: {source}", *([f"part: {part}"] if part else []), *notes]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {' '.join(note.splitlines())}\n" for note in notes)
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
