"""Folders of images, and archives, which are unpacked once into the cache and read as folders.

The class of an image is the folder that it lies in, below what all folders have in common:
`a/x.png` in `folder:signs` and `signs/a/x.png` in `archive:signs.zip` are both of class `a`.
"""

import bz2
import glob
import gzip
import hashlib
import io
import lzma
import os
import re
import shutil
import stat
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.files import cache_dir, cannot_write
from siglum.images import cache, decode
from siglum.images.cache import Progress, no_progress
from siglum.images.decode import IMAGE_SUFFIXES, MAX_BYTES, NOT_AN_IMAGE, Unreadable, as_text
from siglum.images.imageset import ImageSet

SYSTEM_NAMES = {  # what operating systems, clouds and network drives leave; like names with a dot
    *("__macosx", "@eadir", "@recycle", "@tmp", "#recycle", "#snapshot", "$recycle.bin"),
    *("recycler", "lost+found", "system volume information", "network trash folder"),
    *("temporary items", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
}
OTHER_SUFFIXES = {  # of files that accompany images
    *(".txt", ".md", ".rst", ".csv", ".tsv", ".xls", ".xlsx", ".json", ".jsonl", ".ndjson"),
    *(".xml", ".yaml", ".yml", ".toml", ".html", ".py", ".ipynb", ".sh", ".log", ".db", ".ini"),
    *(".npy", ".npz", ".mat", ".pt", ".h5", ".gz", ".zip", ".tar", ".tgz", ".md5", ".sha256"),
}
PARTS = {  # words that name a part of a data set
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "holdout"), "test"),
}
PART_WORDS = {"set", "data", "dataset", "images", "imgs", "img", "split"}
MAX_ENTRIES = 200_000  # files before the first image
MAX_MEMBERS, MAX_SECONDS = 2_000_000, 1800  # of an archive
MAX_RATIO, SMALL_ARCHIVE, MAX_UNPACKED = 100, 2**30, 64 * 2**30  # bytes that it unpacks to
CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Listing(NamedTuple):
    """The image files of a folder, before any is decoded."""

    names: list[str]  # relative, with "/", ascending
    unreadable: list[Unreadable]  # files that look like images and cannot be read
    empty: list[str]  # folders without an image


def scan(root: Path, source: str, progress: Progress = no_progress) -> Listing:
    """List the images below a folder. Links are followed, but not in circles.

    Raises:
        DataError: if `root` is not a folder, or has very many files and no image.
    """
    if not root.is_dir():
        raise DataError(f"{source} is not a folder.")
    listing, folders, total = Listing([], [], []), set(), 0
    pending = [("", (os.path.realpath(root),))]
    while pending:
        folder, parents = pending.pop()
        try:
            with os.scandir(root / folder) as opened:
                entries = [(entry.name, _is_dir(entry)) for entry in opened]
        except OSError as error:
            listing.unreadable.append((folder or ".", f"cannot be listed: {error.strerror}"))
            continue
        total += len(entries)
        progress(f"scanning {source}", total, 0)
        if total > MAX_ENTRIES and not listing.names:
            raise DataError(
                f"{source} has no image among its first {total:,} files. "
                "Name the folder that holds the class folders."
            )
        for entry, is_dir in entries:
            if _is_system(entry):
                continue
            name = f"{folder}/{entry}" if folder else entry
            if not is_dir:
                reason = _reason(root / name)
                if reason:
                    listing.unreadable.append((name, reason))
                elif reason == "":
                    listing.names.append(name)
            elif (real := os.path.realpath(root / name)) in parents:
                listing.unreadable.append((name, "a link to a folder above it"))
            else:
                folders.add(name)
                pending.append((name, (*parents, real)))
    files = [*listing.names, *(name for name, _ in listing.unreadable)]
    used = {str(parent) for name in {*folders, *files} for parent in PurePosixPath(name).parents}
    listing.names.sort()
    listing.empty.extend(sorted(n for n in folders - used if "/__" not in f"/{n}"))
    return listing


def _is_system(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def _is_dir(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):
        return entry.is_dir()
    return False


def _reason(path: Path) -> str | None:
    """Return "" for an image, None for a file that is not, or why an image cannot be read."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or suffix in OTHER_SUFFIXES:
        return "" if suffix in IMAGE_SUFFIXES else None
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            reason = decode.explain(file.read(1000))
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if reason == NOT_AN_IMAGE and not suffix else reason


def parts(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the folders that are parts of a data set, such as {"train": ["training-set"], ...}.

    Empty where there is no folder for training, and another part, with class folders in it.
    """
    inside: dict[str, set[str]] = {}  # top folder -> the class folders in it
    for path in filter(None, _paths(names).values()):
        inside.setdefault(path[0], set()).add("/".join(path[1:]))
    groups: dict[str, list[str]] = {}
    for top, classes in sorted(inside.items()):
        words = {word for word in re.split("[^a-z]+", top.lower()) if word}
        named = {PARTS[word] for word in words & {*PARTS}}
        if len(named) == 1 and words <= {*PARTS} | PART_WORDS and classes != {""}:
            groups.setdefault(named.pop(), []).append(top)
    return groups if len(groups) > 1 and ("train" in groups or len(groups) == len(inside)) else {}


def _paths(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the path of each image folder below what all of them have in common."""
    paths = {name: name.split("/") if name else [] for name in {n.rpartition("/")[0] for n in names}}
    shared = len(os.path.commonprefix([*paths.values()]))
    cut = max(shared - 1, 0) if len(paths) == 1 else shared
    return {name: path[cut:] for name, path in paths.items()}


def load(
    root: Path, part: str, source: str, preprocess: Preprocess, progress: Progress = no_progress
) -> ImageSet:
    """Load the images of a folder of class folders, or of one part of it.

    Raises:
        DataError: if no image can be read, or none lies in a class folder.
    """
    listing = scan(root, source, progress)
    groups = parts(listing.names)
    if groups and part not in groups:
        raise DataError(f"{source} has no part {part!r}, only {', '.join(groups)}.")
    owner = {top: name for name, tops in groups.items() for top in tops}
    classes: dict[str, str] = {}  # image folder -> class, or "" outside the class folders
    for folder, path in _paths(listing.names).items():
        top = path[0] if path else ""
        if owner.get(top, part) == part:
            path = path[1:] if top in owner else [] if groups else path
            classes[folder] = class_name("/".join(path), source) if path else ""
    names, labels, unreadable = [], [], listing.unreadable
    for name in listing.names:
        label = classes.get(name.rpartition("/")[0])
        if label:
            names.append(name)
            labels.append(sys.intern(label))
        elif label == "":
            unreadable.append((name, "not in a class folder"))
    if not names:
        example = f" (such as {as_text(unreadable[0][0])})" if unreadable else ""
        raise DataError(
            f"{source} has no images in class folders, but {len(unreadable):,} others{example}. "
            "Put the images of each class in a folder of its own, or list them in a CSV file of "
            f"lines file,label. Suffixes of images are {', '.join(IMAGE_SUFFIXES)}."
        )
    if listing.empty:
        warn(f"{source}: folders without an image are ignored: {{}}.", listing.empty)
    return load_files(root, names, labels, source, preprocess, progress, unreadable)


def warn(message: str, names: Sequence[str]) -> None:
    """Issue a warning with up to five names in the place of {}."""
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    warnings.warn(message.format(as_text(", ".join(names[:5])) + more), stacklevel=3)


def class_name(name: str, source: str) -> str:
    """Return a class name with its control characters escaped.

    Raises:
        DataError: if it is blank.
    """
    if not name.strip():
        raise DataError(f"{source} has a class with a blank name, {name!r}. Rename it.")
    return CONTROL.sub(lambda match: ascii(match[0])[1:-1], as_text(name))


def load_files(
    root: Path,
    names: Sequence[str],
    labels: Sequence[str],
    source: str,
    preprocess: Preprocess,
    progress: Progress = no_progress,
    unreadable: Sequence[Unreadable] = (),
) -> ImageSet:
    """Load image files with a label each, packing them first where they are not packed yet.

    Args:
        names: relative to `root`.
        unreadable: further files to report.

    Raises:
        DataError: if no image can be read, or the pack cannot be written.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        version = None
        with suppress(OSError):  # reading it will tell why
            facts = (root / name).stat()
            version = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        digest.update(repr((name, version)).encode("utf-8", "surrogateescape"))

    def raws() -> Iterator[tuple[int, bytes | DataError]]:
        for index, name in enumerate(names):
            try:
                yield index, decode.read_bytes(root / name)
            except DataError as error:
                yield index, error

    pack = cache.memmap(digest.hexdigest(), len(names), raws, preprocess, source, progress)
    shown = names if all(map(str.isascii, names)) else [as_text(name) for name in names]
    problems = sorted(
        [(as_text(name), reason) for name, reason in unreadable]
        + [(shown[row], reason) for row, reason in (pack.reasons | pack.notes).items()]
    )
    rows = np.array([row for row in range(len(names)) if row not in pack.reasons], np.int64)
    if not len(rows):
        name, reason = problems[0]
        raise DataError(f"{source} has no image that can be read. {name}: {reason}.")
    classes = tuple(sorted({labels[row] for row in rows.tolist()}))
    if missing := sorted({*labels} - {*classes}):
        warn(f"{source}: classes without a readable image are ignored: {{}}.", missing)
    index = {name: label for label, name in enumerate(classes)}
    return ImageSet(
        store=pack.store,
        rows=rows,
        labels=np.fromiter((index[labels[row]] for row in rows.tolist()), np.int64, len(rows)),
        classes=classes,
        source=source,
        files=shown if len(rows) == len(names) else [shown[row] for row in rows.tolist()],
        unreadable=tuple(problems),
        originals=pack.originals,
        mapping=pack.mapping,
    )


def unpack(path: Path, source: str, progress: Progress = no_progress) -> Path:
    """Unpack a zip or tar file into the cache, once for its contents, and return the folder.

    Only regular files of at most 64 MB are unpacked.

    Raises:
        DataError: if the file is not an archive, is damaged or encrypted, has a member that leads
            out of the folder, or unpacks to far more than images would.
    """

    def digest() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    try:
        facts = path.stat()
        version = repr((os.path.realpath(path), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns))
        target = cache_dir() / "unpacked" / cache.load_cached(version, digest)
    except OSError as error:
        raise DataError(f"Cannot read {source}: {(error.strerror or str(error)).lower()}.") from None
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=target.parent))
        try:
            _extract(path, temporary, source, progress)
            with suppress(FileExistsError):  # another process was quicker
                temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except (DataError, KeyboardInterrupt):
        raise
    except OSError as error:
        if error.errno is not None and not isinstance(error, gzip.BadGzipFile):
            raise cannot_write(target, error) from None
        raise DataError(f"{source} is damaged: {error}. Copy or download it again.") from None
    except Exception as error:  # the readers of hostile bytes raise nearly anything
        raise DataError(f"{source} is damaged: {error}. Copy or download it again.") from None
    return target


def _extract(path: Path, target: Path, source: str, progress: Progress) -> None:
    limit = min(max(MAX_RATIO * path.stat().st_size, SMALL_ARCHIVE), MAX_UNPACKED)
    deadline, total = time.monotonic() + MAX_SECONDS, 0
    members = _zip_members if zipfile.is_zipfile(path) else _tar_members
    for number, (name, size, extract) in enumerate(members(path, source)):
        names = name.replace("\\", "/").split("/")
        if ".." in names or not names[0] or re.match("[A-Za-z]:", name):
            raise DataError(
                f"{source} has a member that leads out of the archive: {name!r}. "
                "Do not unpack it; pack the images again."
            )
        total += size
        if number >= MAX_MEMBERS or total > limit or time.monotonic() > deadline:
            raise DataError(
                f"{source} unpacks to far more than {number:,} images would. "
                "If you trust it, unpack it yourself and name the folder."
            )
        if size <= MAX_BYTES and not any(map(_is_system, names)):
            out = target.joinpath(*names)
            out.parent.mkdir(parents=True, exist_ok=True)
            with out.open("xb") as file:
                file.write(extract())
        if number % 100 == 0:
            progress(f"unpacking {source}", number, 0)


Member = tuple[str, int, Callable[[], bytes]]  # name, size, contents


def _zip_members(path: Path, source: str) -> Iterator[Member]:
    unsure = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename
            if member.is_dir() or stat.S_ISLNK(member.external_attr >> 16):
                continue
            if member.flag_bits & 0x1:
                raise DataError(f"{source} is encrypted. Pack the images without a password.")
            if not member.flag_bits & 0x800 and not name.isascii():
                try:  # macOS writes UTF-8 without saying so
                    name = name.encode("cp437").decode("utf-8")
                except UnicodeError:
                    unsure.append(name)
            yield name, member.file_size, partial(archive.read, member)
    if unsure:
        warn(
            f"{source}: the encoding of some names is unknown, and they may read wrongly: {{}}. "
            "Unpack it, and name the folder.",
            unsure,
        )


def _tar_members(path: Path, source: str) -> Iterator[Member]:
    openers = {b"\x1f\x8b": gzip.open, b"\xfd7": lzma.open, b"BZ": bz2.open}
    with path.open("rb") as packed:
        opener = openers.get(packed.read(2), open)
    with (
        opener(path, "rb") as stream,
        _Bounded(stream) as bounded,
        tarfile.open(
            fileobj=bounded, mode="r:", encoding="utf-8", errors="surrogateescape"
        ) as archive,
    ):
        for member in archive:
            archive.members.clear()  # or the list of all members stays in memory
            file = archive.extractfile(member) if member.isreg() else None
            if file is not None:
                yield member.name, member.size, file.read
        if bounded.tell() == archive.offset:  # no block of zeros ends it
            raise tarfile.ReadError("unexpected end of data")
        bounded.read(MAX_BYTES)  # to where a compressed stream has its checksum


class _Bounded(io.BufferedReader):
    """A stream that reads no piece of hundreds of megabytes, as a hostile header may ask for."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_BYTES:
            raise tarfile.ReadError(f"it has a header of {size} bytes")
        return super().read(size)


def expand_files(places: Sequence[str | Path]) -> list[Path]:
    """Return the files that a user names: patterns such as `*.png` and folders are expanded.

    Raises:
        DataError: if a place is a URL, or a pattern or folder that has no image.
    """
    files: list[Path] = []
    for place in map(str, places):
        if re.match("[a-z]+:/", place):
            raise DataError(f"{place} is not a file. Download it, and name the file.")
        path = Path(place).expanduser()
        if path.is_dir():
            images = [path / name for name in scan(path, place).names]
        elif not path.exists() and glob.has_magic(place):
            images = sorted(map(Path, glob.glob(str(path), recursive=True)))
        else:
            images = [path]
        if not images:
            raise DataError(f"No image files in {place}.")
        files += images
    return files
