"""`manifest:FILE`: images under labels of a CSV file, one image per line.

Any usual dialect is read: commas, semicolons or tabs, UTF-8, UTF-16 or Windows-1252, any order and
names of columns, or no header. The first lines may name the images' source
(`# source: archive:signs.zip`) and its part (`# part: test`); else they are beside the file.
"""

import codecs
import csv
import io
import unicodedata
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.files import atomic_path, cannot_read
from siglum.images import folder
from siglum.images.cache import Progress
from siglum.images.decode import IMAGE_SUFFIXES
from siglum.images.imageset import ImageSet

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

    source: str  # of the images, or "" where they are beside the file
    part: str  # of the source, where it has parts
    labels: Mapping[str, str]  # file -> label
    lines: Mapping[str, int]  # file -> line number, from 1


class Line(NamedTuple):
    """One image of a manifest that Siglum writes; the fields are the columns."""

    file: str
    old: str
    new: str
    probability: str  # of `new`, in [0, 1]
    margin: str  # `probability` less the runner-up's
    run: str  # that predicted it


def read(path: Path, spec: str) -> Manifest:
    """Read a CSV file of files and labels; a DataError names the line and the remedy."""
    lines = _text(path, spec).splitlines(keepends=True)
    notes: dict[str, str] = {}
    start = sum(1 for _ in takewhile(lambda line: line[0] == "#" or not line.strip(), lines))
    for line in lines[:start]:
        key, _, value = line.strip("#,;\t\r\n ").partition(":")
        notes[key.strip()] = value.strip()
    part = notes.get("part", PARTS[0])
    if part not in PARTS:
        raise DataError(f"{spec} must have '# part: train' or '# part: test', got {part!r}.")
    rows = _parse(lines[start:], start, spec)
    if not rows:
        raise DataError(f"{spec} is empty. Each line must name an image file and its label.")
    width = len(rows[0][1])
    file_column, label_column, header = _columns([r for _, r in rows[:20] if len(r) == width], spec)
    labels: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for number, row in rows[header:]:
        if len(row) != width:
            raise DataError(f"{spec} has {len(row)} columns in line {number}, not {width}.")
        name, label = row[file_column].strip(), row[label_column].strip()
        if not label or not name:
            raise DataError(
                f"{spec} has no label for {name!r} in line {number}. "
                "Delete the line to leave the image out."
            )
        if name in labels:
            raise DataError(
                f"{spec} has {name!r} in line {numbers[name]} and in line {number}. "
                "Delete one of them."
            )
        labels[name], numbers[name] = folder.class_name(label, spec), number
    if not labels:
        raise DataError(f"{spec} has only a header. Add lines of image files and their labels.")
    _warn_similar({*labels.values()}, spec)
    return Manifest(notes.get("source", ""), part, labels, numbers)


def _text(path: Path, spec: str) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise cannot_read(spec, error) from None
    encoding = "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in data[:2]:
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        warnings.warn(
            f"{spec} is not UTF-8 and is read as Windows-1252. If names are wrong, save it as "
            "CSV UTF-8.",
            stacklevel=2,
        )
        return data.decode("cp1252", "replace")


def _parse(lines: Sequence[str], skipped: int, spec: str) -> list[tuple[int, list[str]]]:
    """Parse CSV by the delimiter that gives the first lines equally many columns, and the most."""
    best: list[tuple[int, list[str]]] = []
    best_score, problem = (False, 0), ""
    for delimiter in ",;\t|":
        text = io.StringIO("".join(lines), newline="")
        reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
        try:
            rows = [(skipped + reader.line_num, row) for row in reader if any(map(str.strip, row))]
        except csv.Error as error:
            problem = problem or f"{error} in line {skipped + reader.line_num}"
            continue
        widths = {len(row) for _, row in rows[:20]}
        score = (len(widths) == 1 and widths != {1}, max(widths, default=0))
        if score > best_score:
            best, best_score = rows, score
    if problem and best_score[1] < 2:
        raise DataError(f"{spec} is not CSV: {problem}.")
    return best


def _columns(rows: Sequence[Sequence[str]], spec: str) -> tuple[int, int, int]:
    """Return the columns of files and of labels, and 1 where there is a header, else 0."""
    width = len(rows[0])
    if sum(cell.strip().isdigit() for cell in rows[-1]) > max(40, width - 3):
        raise DataError(
            f"{spec} holds pixels, not names of image files, as Kaggle's digits do. Save each row "
            "as an image in a folder of its class, or use mnist."
        )

    def images(row: Sequence[str]) -> set[int]:
        return {i for i, cell in enumerate(row) if cell.strip().lower().endswith(IMAGE_SUFFIXES)}

    header = ["".join(filter(str.isalnum, cell.casefold())) for cell in rows[0]]
    if images(rows[0]):
        header = []
    candidates = [header.index(name) for name in FILE_COLUMNS if name in header]
    with_images = sorted(set().union(*map(images, rows)))
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
            warnings.warn(
                f"{spec}: {other!a} and {label!a} are two classes. If they are one, merge them "
                "with --rename.",
                stacklevel=2,
            )


def load(
    root: Path, manifest: Manifest, spec: str, preprocess: Preprocess, progress: Progress
) -> ImageSet:
    """Load the image files that a manifest names, which are below `root`.

    A name that is no file there, such as an absolute path of another computer or a name without
    its suffix, stands for the one file that shares most of its end.
    """
    names = {name: name.replace("\\", "/") for name in manifest.labels}
    missing = [name for name, path in names.items() if not (root / path).is_file()]
    ends: dict[str, list[str]] = {}
    for path in folder.scan(root, spec, progress).names if missing else ():
        file = path.rpartition("/")[2].casefold()
        for end in {file, file.rpartition(".")[0]}:
            ends.setdefault(end, []).append(path)
    for name in missing:
        *parents, file = names[name].split("/")
        matches: dict[int, list[str]] = {0: []}  # by the number of folders that are the same
        for path in ends.get(file.casefold(), []):
            pairs = zip(reversed(parents), reversed(path.split("/")[:-1]), strict=False)
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            matches.setdefault(shared, []).append(path)
        candidates = matches[max(matches)]
        if len(candidates) != 1:
            problem = "matches several files" if candidates else "does not exist"
            raise DataError(
                f"{spec} names {name!r} in line {manifest.lines[name]}, which {problem} in {root} "
                f"({len(missing):,} of {len(names):,} lines to search for). Correct the line, or "
                "delete it to leave the image out."
            )
        names[name] = candidates[0]
    files = sorted((path, manifest.labels[name]) for name, path in names.items())
    paths, labels = zip(*files, strict=True)
    if len({*paths}) < len(paths):
        raise DataError(f"{spec} names a file twice, in two ways. Delete one of the lines.")
    return folder.load_files(root, paths, labels, spec, preprocess, progress)


def names_of(images: ImageSet) -> Sequence[str]:
    """Return what a manifest calls each image: its file, or its number where it has none."""
    return images.files if images.files is not None else [str(i) for i in range(len(images))]


def select(images: ImageSet, manifest: Manifest, spec: str) -> ImageSet:
    """Return the images that a manifest names, in their own order, under its labels."""
    names = names_of(images)
    if unknown := manifest.labels.keys() - {*names}:
        name = min(unknown, key=lambda name: manifest.lines[name])
        raise DataError(
            f"{spec} names {name!r} in line {manifest.lines[name]}, which is not in "
            f"{images.source}. Correct the line, or delete it."
        )
    rows = np.array([row for row, name in enumerate(names) if name in manifest.labels], np.int64)
    classes, labels = np.unique([manifest.labels[names[row]] for row in rows], return_inverse=True)
    return replace(images.subset(rows), labels=labels, classes=tuple(classes.tolist()), source=spec)


def check_free(path: Path) -> None:
    """Raise DataError where a new manifest cannot be written."""
    if path.exists() or path.is_symlink():
        raise DataError(f"{path} exists. Choose another name with -o, or delete it.")
    if not path.parent.is_dir():
        raise DataError(f"{path.parent} is not a folder. Create it: mkdir -p {path.parent}")


def write(
    path: Path, source: str, part: str | None, lines: Iterable[Line], notes: Sequence[str] = ()
) -> None:
    """Write a manifest, whole or not at all; `notes` for people become comments."""
    check_free(path)
    places = [f"source: {source}", *([f"part: {part}"] if part else [])]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {' '.join(note.splitlines())}\n" for note in (*places, *notes))
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(Line._fields)
        rows.writerows(lines)
