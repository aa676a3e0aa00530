"""Folders of images, CSV files with their labels, and archives, which are unpacked into the cache.

The class of an image is the folder that it lies in, below what all folders have in common:
`a/x.png` in `folder:signs` and `signs/a/x.png` in `archive:signs.zip` are both of class `a`.
"""

import codecs
import csv
import io
import os
import re
import sys
import tarfile
import tempfile
import time
import unicodedata
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from glob import glob, has_magic
from itertools import takewhile
from pathlib import Path
from typing import Self

from siglum.errors import DataError
from siglum.files import cache_dir, read_json, reading, sha256
from siglum.formatting import printable
from siglum.images import cache, decode
from siglum.images.cache import Listing, Progress, Row, no_progress
from siglum.images.decode import MAX_BYTES, NOT_AN_IMAGE, Unreadable, as_text

# Of system and companion files, of images, of the columns of CSV files, and of other data files.
NAMES = read_json(Path(__file__).with_name("folder.json"))
AFFIX = r"(?:[\W\d_]|set|data|images|imgs?|split)*"
PART = re.compile(  # a folder name that means a part of a data set, such as "Test_images"
    f"{AFFIX}(?:(?P<train>train(?:ing)?)|(?P<val>val(?:id|idate|idation)?|dev)|"
    f"(?P<test>test(?:ing)?|eval(?:uation)?|holdout)){AFFIX}",
    re.IGNORECASE,
)
MAX_ENTRIES = 200_000  # files before the first image
MAX_MEMBERS, MAX_SECONDS = 2_000_000, 1800  # of an archive
MAX_RATIO, SMALL_ARCHIVE, MAX_UNPACKED = 100, 2**30, 64 * 2**30  # bytes that it unpacks to
CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def read(root: Path, source: str, progress: Progress = no_progress) -> Listing:
    """List the images of a folder of class folders, which may lie below folders of parts."""
    names, unreadable = scan(root, source, progress)
    places = parts_and_classes(names)
    rows = []
    for name in names:
        part, label = places[name.rpartition("/")[0]]
        if label:
            rows.append(Row(name, class_name(label, source), part))
        else:
            unreadable.append((name, "not in a class folder"))
    if not rows:
        example = f" ({printable(': '.join(unreadable[0]))})" if unreadable else ""
        raise DataError(
            f"{source} has no images in class folders{example}. Put the images of each class in a "
            "folder of its own, or list them in a CSV file of lines file,label."
        )
    return list_files(root, rows, unreadable)


def list_files(root: Path, rows: Sequence[Row], unreadable: Sequence[Unreadable] = ()) -> Listing:
    """List image files, whose names are relative to `root`."""

    def version(name: str) -> object:
        with suppress(OSError):  # reading it will tell why
            facts = os.stat(os.path.join(root, name))  # noqa: PTH116, PTH118  thrice as fast
            return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
        return None

    return Listing(rows, lambda name: decode.read_bytes(root / name), version, unreadable)


def scan(
    root: Path, source: str, progress: Progress = no_progress
) -> tuple[list[str], list[Unreadable]]:
    """Return the names of the images below a folder, ascending, and what cannot be read.

    Names are relative, with "/". Links are followed, but not to a folder above them.
    """
    names: list[str] = []
    unreadable: list[Unreadable] = []
    total = 0

    def note(error: OSError) -> None:
        name = os.path.relpath(error.filename, root)
        unreadable.append((name, f"cannot be listed: {error.strerror}"))

    for path, folders, files in os.walk(root, onerror=note, followlinks=True):
        home = "" if path == str(root) else os.path.relpath(path, root).replace(os.sep, "/") + "/"
        total += len(folders) + len(files)
        progress(f"scanning {source}", total, 0)
        if total > MAX_ENTRIES and not names:
            remedy = "Name the folder that holds the class folders."
            raise DataError(f"{source} has no image among its first {total:,} files. {remedy}")
        real = Path(path).resolve()
        above = {name for name in folders if real.is_relative_to(Path(path, name).resolve())}
        folders[:] = [name for name in folders if not is_system(name) and name not in above]
        for name in files:
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122  five times as fast as Path
            if is_system(name) or suffix in NAMES["companion_suffixes"]:
                continue
            reason = ""
            if suffix not in NAMES["image_suffixes"]:
                try:
                    reason = decode.explain(decode.read_bytes(Path(path, name), 1000))
                except DataError as error:
                    reason = str(error)
            if not reason:
                names.append(home + name)
            elif suffix or reason != NOT_AN_IMAGE:
                unreadable.append((home + name, reason))
    return sorted(names), sorted(unreadable)


def is_system(name: str) -> bool:
    """Return whether a file or folder is hidden, or was created by the operating system."""
    return name.startswith(".") or name.lower() in NAMES["system_names"]


def parts_and_classes(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the part and the class of each folder of images; "" for no class.

    Folders at the top that are called train, test, ... are parts, if there is one for training and
    another one, with class folders in them. Otherwise all images are of the part "all".
    """
    homes = sorted({name.rpartition("/")[0] for name in names})
    paths = [home.split("/") if home else [] for home in homes]
    levels = zip(*paths, strict=False)
    shared = sum(1 for _ in takewhile(lambda level: len({*level}) == 1, levels))
    paths = [path[max(shared - 1, 0) if len(paths) == 1 else shared :] for path in paths]
    parents = {path[0] for path in paths if len(path) > 1}
    matches = {top: PART.fullmatch(top) for top in parents}
    parts = {top: match.lastgroup or "" for top, match in matches.items() if match}
    count, tops = len({*parts.values()}), {path[0] for path in paths if path}
    if count < 2 or ("train" not in parts.values() and count < len(tops)):
        return {home: ("all", "/".join(path)) for home, path in zip(homes, paths, strict=True)}
    return {
        home: (parts[path[0]], "/".join(path[1:])) if path and path[0] in parts else ("", "")
        for home, path in zip(homes, paths, strict=True)
    }


def class_name(name: str, source: str) -> str:
    """Return a class name with its control characters escaped; refuse a blank one."""
    if not name.strip():
        raise DataError(f"{source} has a class with a blank name, {name!r}. Rename it.")
    return sys.intern(CONTROL.sub(lambda match: ascii(match[0])[1:-1], as_text(name)))


def read_labels(path: Path, spec: str) -> tuple[str, dict[str, str]]:
    """Return the source of images that a CSV file names, or "", and the label of each file.

    Any usual dialect is read: commas, semicolons or tabs, UTF-8, UTF-16 or Windows-1252, any order
    and names of columns, or no header. The first line may name a folder or an archive of images
    (`# source: archive:signs.zip`); else they are relative to the file.
    """
    lines = _csv_text(path, spec).splitlines(keepends=True)
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
    file, label, header = _csv_columns([row for row in rows[:20] if len(row) == width], spec)
    labels: dict[str, str] = {}
    for row in rows[header:]:
        if len(row) != width or not row[file] or not row[label] or row[file] in labels:
            raise DataError(
                f"{spec} must have {width} columns in each line, a label, and a file that no other "
                f"line has, got {delimiter.join(row)[:200]!r}. Correct or delete the line."
            )
        labels[row[file]] = class_name(row[label], spec)
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


def _csv_text(path: Path, spec: str) -> str:
    with reading(spec):
        data = path.read_bytes()
    utf16 = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        message = f"{spec} is read as Windows-1252. If names are wrong, save it as CSV UTF-8."
        warnings.warn(message, stacklevel=2)
        return data.decode("cp1252", "replace")


def _csv_columns(rows: Sequence[Sequence[str]], spec: str) -> tuple[int, int, int]:
    """Return the columns of files and of labels, and 1 where there is a header, else 0."""
    width = len(rows[0])
    if sum(cell.isdigit() for cell in rows[-1]) > max(40, width - 3):
        raise DataError(f"{spec} holds pixels, not names of image files. Read it as pixels:FILE.")
    suffixes = tuple(NAMES["image_suffixes"])
    is_image = [[cell.lower().endswith(suffixes) for cell in row] for row in rows]
    header = ["".join(filter(str.isalnum, cell.casefold())) for cell in rows[0]]
    header = [] if any(is_image[0]) else header
    candidates = [header.index(name) for name in NAMES["file_columns"] if name in header]
    with_images = [column for column in range(width) if any(row[column] for row in is_image)]
    files = [i for i in candidates if i in with_images] or with_images or candidates
    labels = [header.index(name) for name in NAMES["label_columns"] if name in header]
    labels += range(width) if not header or width == 2 else []
    label = next((column for column in labels if column not in files[:1]), None)
    if not files or label is None:
        actual = ",".join(rows[0])[:200]
        problem = f"{spec} has no columns of image files and labels, but {actual!r}."
        raise DataError(f"{problem} Name them file and label in its first line.")
    return files[0], label, int(bool(header))


def list_labelled(root: Path, labels: dict[str, str], spec: str, progress: Progress) -> Listing:
    """List image files with labels, which are below `root`.

    A name that is no file there, such as an absolute path of another computer or a name without
    its suffix, stands for the one file that shares most of its end.
    """
    names = {name: name.replace("\\", "/") for name in labels}
    missing = [name for name, path in names.items() if not (root / path).is_file()]
    files: dict[str, list[str]] = {}  # by every end of their path, with and without suffix
    for path in scan(root, spec, progress)[0] if missing else ():
        for end in (*_ends(path), *_ends(path.rpartition(".")[0])):
            files.setdefault(end, []).append(path)
    for name in missing:
        matches = next((files[end] for end in _ends(names[name]) if end in files), [])
        if len(matches) != 1:
            problem = f"which {'matches several files' if matches else 'does not exist'} in {root}"
            raise DataError(f"{spec} names {name!r}, {problem}. Correct or delete the line.")
        names[name] = matches[0]
    if len({*names.values()}) < len(names):
        raise DataError(f"{spec} names a file twice, in two ways. Delete one of the lines.")
    return list_files(root, sorted(Row(names[name], labels[name]) for name in names))


def _ends(path: str) -> list[str]:
    """Return the ends of a path, the longest first: "a/b.png" and "b.png"."""
    names = path.casefold().split("/")
    return ["/".join(names[start:]) for start in range(len(names))]


def unpack(path: Path, source: str, progress: Progress = no_progress) -> Path:
    """Unpack a zip or tar file into the cache, once for its contents, and return the folder.

    Only regular files of at most 64 MB are unpacked, and none outside the folder. An archive that
    is damaged or encrypted, or that unpacks to far more than images would, is refused.
    """
    try:
        target = cache_dir() / "unpacked" / sha256(path)
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            cache.remove_unfinished(target.parent)
            with tempfile.TemporaryDirectory(".tmp", ".", target.parent) as temporary:
                files = Path(temporary, "files")
                _extract(path, files, source, progress)
                files.rename(target)
        return target
    except Exception as error:  # the readers of hostile bytes raise nearly anything
        remedy = "Copy or download it again, or unpack it yourself, and name the folder."
        raise DataError(f"Cannot unpack {source}: {error}. {remedy}") from None


def _extract(path: Path, target: Path, source: str, progress: Progress) -> None:
    limit = min(max(MAX_RATIO * path.stat().st_size, SMALL_ARCHIVE), MAX_UNPACKED)
    deadline, total = time.monotonic() + MAX_SECONDS, 0
    target.mkdir()
    for number, (name, size, extract) in enumerate(_members(path, source), start=1):
        total += size
        if number > MAX_MEMBERS or total > limit or time.monotonic() > deadline:
            raise ValueError("it unpacks to far more than images would")
        names = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in names:
            raise ValueError(f"{name!r} leads out of it")
        if size > MAX_BYTES or any(map(is_system, names)):
            continue
        if target.joinpath(*names).exists():
            raise ValueError(f"it has {name!r} twice, maybe in upper and lower case")
        extract(target)
        if number % 100 == 0:
            progress(f"unpacking {source}", number, 0)


def _members(path: Path, source: str) -> Iterator[tuple[str, int, Callable[[Path], object]]]:
    """Yield name, size and a function that extracts it, for each file of an archive."""
    if not is_archive(path):
        raise ValueError("it is not a whole zip or tar file")
    if zipfile.is_zipfile(path):
        try:  # macOS writes UTF-8 without saying so
            archive = zipfile.ZipFile(path, metadata_encoding="utf-8")
        except UnicodeDecodeError:
            rule = "does not state the encoding of its names, which are read as code page 437."
            remedy = "If they are wrong, unpack it yourself, and name the folder."
            warnings.warn(f"{source} {rule} {remedy}", stacklevel=2)
            archive = zipfile.ZipFile(path)
        with archive:
            for member in archive.infolist():
                member.filename = member.filename.replace("\\", "/")  # some Windows programs'
                if not member.is_dir():
                    yield member.filename, member.file_size, partial(archive.extract, member)
        return
    with _open_tar(path) as tar:
        assert tar.fileobj is not None
        for entry in tar:
            tar.members = []  # type: ignore[attr-defined]  # or memory grows with the archive
            if entry.isreg():
                yield entry.name, entry.size, partial(tar.extract, entry, filter="data")
        if tar.fileobj.tell() == tar.offset:  # no block of zeros ends it
            raise tarfile.ReadError("unexpected end of data")
        tar.fileobj.read(MAX_BYTES)  # to where a compressed stream has its checksum


def _open_tar(path: Path) -> tarfile.TarFile:
    return tarfile.open(path, tarinfo=_Header, encoding="utf-8", errors="surrogateescape")


class _Header(tarfile.TarInfo):
    """A header that may not be of hundreds of megabytes, which tarfile reads into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.size > MAX_BYTES and not header.isreg():
            raise ValueError(f"it has a header of {header.size} bytes")
        return header


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip or tar file."""
    if not path.is_file() or zipfile.is_zipfile(path):
        return path.is_file()
    with suppress(Exception), _open_tar(path):
        return True
    return False


def expand_files(places: Sequence[str | Path]) -> list[Path]:
    """Return the files that a user names; patterns such as `*.png` and folders are expanded."""
    files: list[Path] = []
    for place in map(str, places):
        path = Path(place).expanduser()
        images = [path]
        if path.is_dir():
            images = [path / name for name in scan(path, place)[0]]
        elif not path.exists() and (has_magic(place) or re.match("[a-z]{2,}:/", place)):
            images = sorted(map(Path, glob(str(path), recursive=True)))  # noqa: PTH207
        if not images:
            raise DataError(f"No image files in {place}. Name files or folders on this computer.")
        files += images
    return files
