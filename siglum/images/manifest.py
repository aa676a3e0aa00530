"""`manifest:FILE`: images under labels of a CSV file, one image per line.

Any usual dialect is read: commas, semicolons or tabs, UTF-8, UTF-16 or Windows-1252, any order and
names of columns, or no header. The first lines may name another place of the images
(`# source: archive:signs.zip`), and its part (`# part: test`).
"""

import codecs
import csv
import io
import unicodedata
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from itertools import pairwise, takewhile
from pathlib import Path

import numpy as np

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.files import atomic_path
from siglum.images import folder
from siglum.images.cache import Progress
from siglum.images.decode import IMAGE_SUFFIXES
from siglum.images.imageset import ImageSet

KIND = "manifest"
PARTS = ("train", "test")
FILE_COLUMNS = (
    *("file", "filename", "filepath", "path", "image", "imagepath", "imagefile", "imagename"),
    *("imageid", "img", "picture", "name", "id"),
)
LABEL_COLUMNS = (
    *("new", "label", "labels", "class", "classname", "latex", "character", "char", "letter"),
    *("symbol", "sign", "digit", "glyph", "category", "target", "tag", "truth", "groundtruth"),
    *("text", "transcription", "word", "y", "classid", "labelid", "symbolid"),
)


@dataclass(frozen=True)
class Manifest:
    """The labels that a CSV file gives."""

    source: str  # where the images are, such as "archive:signs.zip"; "" beside the file
    part: str  # of the source, where it has parts
    labels: Mapping[str, str]  # file -> label
    lines: Mapping[str, int]  # file -> line number, from 1


@dataclass(frozen=True)
class Line:
    """One image of a manifest that Siglum writes; the fields are the columns."""

    file: str
    old: str
    new: str
    probability: str  # of `new`, in [0, 1]
    margin: str  # `probability` less the runner-up's
    run: str  # that predicted it


def read(path: Path, spec: str) -> Manifest:
    """Read a CSV file of files and labels.

    Raises:
        DataError: if it is not such a file; the message names the line and the remedy.
    """
    lines = _text(path, spec).splitlines(keepends=True)
    notes: dict[str, str] = {}
    start = 0
    while start < len(lines) and (lines[start].startswith("#") or not lines[start].strip(" ,;\t\r\n")):
        key, _, value = lines[start][1:].strip().rstrip(",;\t").partition(":")
        notes.setdefault(key.strip(), value.strip())
        start += 1
    part = notes.get("part", PARTS[0])
    if part not in PARTS:
        raise DataError(f"{spec} must have '# part: train' or '# part: test', got {part!r}.")
    rows = _rows(lines[start:], start, spec)
    if not rows:
        raise DataError(f"{spec} has no lines. Each line names an image file and its label.")
    width = len(rows[0][1])
    for number, row in rows:
        if len(row) != width:
            raise DataError(f"{spec} has {len(row)} columns in line {number}, not {width}.")
    file_column, label_column, first = _columns([row for _, row in rows[:20]], spec)
    labels: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for number, row in rows[first:]:
        name, label = row[file_column].strip(), row[label_column].strip()
        if not label or not name:
            raise DataError(
                f"{spec} has no label for {name!r} in line {number}. "
                "Delete the line to leave the image out."
            )
        if name in labels:
            raise DataError(
                f"{spec} names {name!r} in line {numbers[name]} and in line {number}. "
                "Delete one of them."
            )
        labels[name], numbers[name] = folder.class_name(label, spec), number
    if not labels:
        raise DataError(f"{spec} has a header and no lines. Add lines of a file and its label.")
    _warn_similar(set(labels.values()), spec)
    return Manifest(notes.get("source", ""), part, labels, numbers)


def _text(path: Path, spec: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read {spec}: {(error.strerror or str(error)).lower()}.") from None
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    encoding = next((name for mark, name in marks.items() if data.startswith(mark)), "utf-8")
    if data[1:2] == b"\0" or data[:1] == b"\0":
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        warnings.warn(
            f"{spec} is not UTF-8 and is read as Windows-1252. If names are wrong, save it as "
            "CSV UTF-8.",
            stacklevel=2,
        )
        return data.decode("cp1252", "replace")


def _rows(lines: Sequence[str], skipped: int, spec: str) -> list[tuple[int, list[str]]]:
    """Parse CSV with the delimiter that gives most of the first lines the same columns."""
    best: list[tuple[int, list[str]]] = []
    for delimiter in ",;\t|":
        try:
            reader = csv.reader(
                io.StringIO("".join(lines), newline=""),
                delimiter=delimiter,
                skipinitialspace=True,
                strict=True,
            )
            rows = [(skipped + reader.line_num, row) for row in reader if any(map(str.strip, row))]
        except csv.Error as error:
            if delimiter == ",":
                raise DataError(f"{spec} is not CSV: {error} in line {reader.line_num}.") from None
            continue
        if not best or _regularity(rows) > _regularity(best):
            best = rows
    return best


def _regularity(rows: Sequence[tuple[int, list[str]]]) -> tuple[bool, int]:
    widths = {len(row) for _, row in rows[:20]}
    return len(widths) == 1 and widths != {1}, max(widths, default=0)


def _columns(rows: Sequence[Sequence[str]], spec: str) -> tuple[int, int, int]:
    """Return the columns of files and of labels, and 1 where there is a header, else 0."""
    width = len(rows[0])
    if sum(cell.strip().isdigit() for cell in rows[-1]) > max(40, width - 3):
        raise DataError(
            f"{spec} holds pixels, not names of image files, as Kaggle's digits do. Save each row "
            "as an image in a folder of its class, or use mnist."
        )
    images = [
        column
        for column in range(width)
        if any(row[column].strip().lower().endswith(IMAGE_SUFFIXES) for row in rows)
    ]
    header = ["".join(filter(str.isalnum, cell.casefold())) for cell in rows[0]]
    if any(rows[0][column].strip().lower().endswith(IMAGE_SUFFIXES) for column in images):
        header = []
    columns = [header.index(name) for name in FILE_COLUMNS if name in header]
    file_column = next((column for column in columns if column in images or not images), None)
    if file_column is None and images:
        file_column = images[0]
    columns = [header.index(name) for name in LABEL_COLUMNS if name in header]
    columns += [] if header and width > 2 else range(width)
    label_column = next((column for column in columns if column != file_column), None)
    if file_column is None or label_column is None:
        raise DataError(
            f"{spec} has no columns of files and labels, but {', '.join(rows[0])[:200]!r}. "
            "Name them file and label in its first line."
        )
    return file_column, label_column, int(bool(header))


def _warn_similar(labels: Iterable[str], spec: str) -> None:
    """Warn of labels that differ in blanks, case or normal form only; `o` and `O` do differ."""
    first: dict[str, str] = {}
    for label in sorted(labels):
        text = " ".join(unicodedata.normalize("NFC", label).split())
        other = first.setdefault(text if len(text) == 1 else text.casefold(), label)
        if other != label:
            warnings.warn(
                f"{spec}: {other!a} and {label!a} are two classes. If they are one, rename one of "
                "them with --classes.",
                stacklevel=2,
            )


def load(
    root: Path, manifest: Manifest, spec: str, preprocess: Preprocess, progress: Progress
) -> ImageSet:
    """Load the image files that a manifest names, which are below `root`.

    A name may be relative to `root` or to any folder, absolute, or without its suffix: the file
    with the longest common end is taken, if there is one.

    Raises:
        DataError: if there is no such file, or there are several.
    """
    names = {name: name.replace("\\", "/") for name in manifest.labels}
    missing = [name for name, path in names.items() if not (root / path).is_file()]
    if missing:
        ends: dict[str, list[str]] = {}
        for path in folder.scan(root, spec, progress).names:
            file = path.rpartition("/")[2].casefold()
            for end in {file, file.rpartition(".")[0]}:
                ends.setdefault(end, []).append(path)
    for name in missing:
        candidates = ends.get(names[name].rpartition("/")[2].casefold(), [])
        lengths = [_common_end(names[name], path) for path in candidates]
        if lengths.count(max(lengths, default=0)) != 1:
            problem = "which is several files" if candidates else "which does not exist"
            raise DataError(
                f"{spec} names {name!r} in line {manifest.lines[name]}, {problem} in {root}. "
                "Correct the line, or delete it to leave the image out."
            )
        names[name] = candidates[lengths.index(max(lengths))]
    files = sorted(zip(names.values(), manifest.labels.values(), strict=True))
    for (path, _), (other, _) in pairwise(files):
        if path == other:
            raise DataError(f"{spec} names {path!r} twice. Delete one of the lines.")
    paths, labels = zip(*files, strict=True)
    return folder.load_files(root, list(paths), labels, spec, preprocess, progress)


def _common_end(one: str, other: str) -> int:
    pairs = zip(reversed(one.split("/")[:-1]), reversed(other.split("/")[:-1]), strict=False)
    return 1 + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def names_of(images: ImageSet) -> Sequence[str]:
    """Return what a manifest calls each image: its file, or its number where it has none."""
    return images.files if images.files is not None else [str(i) for i in range(len(images))]


def select(images: ImageSet, manifest: Manifest, spec: str) -> ImageSet:
    """Return the images that a manifest names, in their own order, under its labels.

    Raises:
        DataError: if the manifest names an image that is not there.
    """
    rows = [row for row, name in enumerate(names_of(images)) if name in manifest.labels]
    labels = [manifest.labels[names_of(images)[row]] for row in rows]
    if len(rows) < len(manifest.labels):
        name = next(iter(manifest.labels.keys() - {*names_of(images)}))
        raise DataError(
            f"{spec} names {name!r} in line {manifest.lines[name]}, which is not in "
            f"{images.source}. Correct the line, or delete it."
        )
    classes = tuple(sorted({*labels}))
    numbers = np.array([classes.index(label) for label in labels], dtype=np.int64)
    return replace(
        images.subset(np.array(rows, np.int64)), labels=numbers, classes=classes, source=spec
    )


def check_free(path: Path) -> None:
    """Raise DataError where a new manifest cannot be written."""
    if path.exists() or path.is_symlink():
        raise DataError(f"{path} exists. Choose another name with -o, or delete it.")
    if not path.parent.is_dir():
        raise DataError(f"{path.parent} is not a folder. Create it: mkdir -p {path.parent}")


def write(
    path: Path, source: str, part: str | None, lines: Iterable[Line], notes: Sequence[str] = ()
) -> None:
    """Write a manifest, whole or not at all.

    Args:
        part: of the source; None where it has none.
        notes: for people, as comments in the first lines.

    Raises:
        DataError: if `path` exists or cannot be written.
    """
    check_free(path)
    places = [f"source: {source}", *([f"part: {part}"] if part else [])]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {' '.join(note.splitlines())}\n" for note in (*places, *notes))
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(field.name for field in fields(Line))
        rows.writerows(astuple(line) for line in lines)
