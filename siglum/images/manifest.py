"""`manifest:FILE`: images under labels of a CSV file, one image per line.

Any usual dialect is read: commas, semicolons or tabs, UTF-8, UTF-16 or Windows-1252, any order and
names of columns, or no header. The first line may name a folder or an archive of images
(`# source: archive:signs.zip`); else they are relative to the file.
"""

import codecs
import csv
import io
import unicodedata
import warnings
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from siglum.errors import DataError
from siglum.files import cannot_read
from siglum.images import folder
from siglum.images.cache import Listing, Progress, Row


def read(path: Path, spec: str) -> tuple[str, dict[str, str]]:
    """Return the source of the images, or "", and the label of each file."""
    lines = _text(path, spec).splitlines(keepends=True)
    start = sum(1 for _ in takewhile(lambda line: line[0] == "#" or not line.strip(), lines))
    fields = [line.strip("#,;\t\r\n ").partition(":") for line in lines[:start]]
    notes = {key.strip(): value.strip() for key, _, value in fields}
    sample = [line for line in lines[start:][:20] if line.strip()]
    if not sample:
        raise DataError(f"{spec} is empty. Each line must name an image file and its label.")
    delimiter = max(",;\t|", key=lambda mark: min(line.count(mark) for line in sample))
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
    first: dict[str, str] = {}
    for name in sorted({*labels.values()}):  # `o` and `O` do differ
        text = " ".join(unicodedata.normalize("NFC", name).split())
        other = first.setdefault(text if len(text) == 1 else text.casefold(), name)
        if other != name:
            message = f"{spec}: {other!a} and {name!a} are two classes. If they are one, merge "
            warnings.warn(message + "them with --rename.", stacklevel=2)
    return notes.get("source", ""), labels


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
        raise DataError(f"{spec} holds pixels, not names of image files. Read it as pixels:FILE.")
    suffixes = tuple(folder.NAMES["image_suffixes"])
    is_image = [[cell.lower().endswith(suffixes) for cell in row] for row in rows]
    header = ["".join(filter(str.isalnum, cell.casefold())) for cell in rows[0]]
    header = [] if any(is_image[0]) else header
    candidates = [header.index(name) for name in folder.NAMES["file_columns"] if name in header]
    with_images = [column for column in range(width) if any(row[column] for row in is_image)]
    files = [i for i in candidates if i in with_images] or with_images or candidates
    labels = [header.index(name) for name in folder.NAMES["label_columns"] if name in header]
    labels += range(width) if not header or width == 2 else []
    label = next((column for column in labels if column not in files[:1]), None)
    if not files or label is None:
        raise DataError(
            f"{spec} has no columns of image files and labels, but {','.join(rows[0])[:200]!r}. "
            "Name them file and label in its first line."
        )
    return files[0], label, int(bool(header))


def list_files(root: Path, labels: dict[str, str], spec: str, progress: Progress) -> Listing:
    """List the labelled image files, which are below `root`.

    A name that is no file there, such as an absolute path of another computer or a name without
    its suffix, stands for the one file that shares most of its end.
    """
    names = {name: name.replace("\\", "/") for name in labels}
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
                f"{spec} names {name!r}, which {problem} in {root}. Correct or delete the line."
            )
        names[name] = matches[0]
    if len({*names.values()}) < len(names):
        raise DataError(f"{spec} names a file twice, in two ways. Delete one of the lines.")
    return folder.list_files(root, sorted(Row(names[name], labels[name]) for name in names))


def _ends(path: str) -> list[str]:
    """Return the ends of a path, the longest first: "a/b.png" and "b.png"."""
    names = path.casefold().split("/")
    return ["/".join(names[start:]) for start in range(len(names))]
