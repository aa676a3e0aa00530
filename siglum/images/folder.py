"""Folders of images, and archives, which are unpacked once into the cache and read as folders.

The class of an image is the folder that it lies in, below what all folders have in common:
`a/x.png` in `folder:signs` and `signs/a/x.png` in `archive:signs.zip` are both of class `a`.
"""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
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
from glob import glob, has_magic
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.files import cache_dir, cannot_read, cannot_write
from siglum.formatting import printable
from siglum.images import cache, decode
from siglum.images.cache import Progress, first_names, no_progress
from siglum.images.decode import IMAGE_SUFFIXES, MAX_BYTES, NOT_AN_IMAGE, Unreadable, as_text
from siglum.images.imageset import ImageSet

SYSTEM_NAMES = {  # what operating systems, clouds and network drives leave, besides .names
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
PART_WORDS = {*PARTS, "set", "data", "dataset", "images", "imgs", "img", "split"}
MAX_ENTRIES = 200_000  # files before the first image
MAX_MEMBERS, MAX_SECONDS = 2_000_000, 1800  # of an archive
MAX_RATIO, SMALL_ARCHIVE, MAX_UNPACKED = 100, 2**30, 64 * 2**30  # bytes that it unpacks to
CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

Member = tuple[str, int, Callable[[], bytes]]  # of an archive: name, size, how to read it


class Listing(NamedTuple):
    """The image files of a folder, before any is decoded."""

    names: list[str]  # relative, with "/", ascending
    unreadable: list[Unreadable]  # files that look like images and cannot be read
    empty: list[str]  # folders without an image


def scan(root: Path, source: str, progress: Progress = no_progress) -> Listing:
    """List the images below a folder. Links are followed, but not in circles."""
    if root.parent != cache_dir() / "unpacked":
        return _scan(root, source, progress)
    # An unpacked archive never changes, and listing 60,000 files takes seconds.
    signature = f"listing {cache.VERSION} {root.name}"
    return Listing(*cache.load_cached(signature, lambda: _scan(root, source, progress)))


def _scan(root: Path, source: str, progress: Progress) -> Listing:
    names: list[str] = []
    unreadable: list[Unreadable] = []
    folders: set[str] = set()
    total = 0
    pending: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(root),))]
    while pending:
        folder, parents = pending.pop()
        try:
            with os.scandir(root / folder) as opened:
                entries = [(entry.name, _is_dir(entry)) for entry in opened]
        except OSError as error:
            unreadable.append((folder or ".", f"cannot be listed: {error.strerror}"))
            continue
        total += len(entries)
        progress(f"scanning {source}", total, 0)
        if total > MAX_ENTRIES and not names:
            raise DataError(
                f"{source} has no image among its first {total:,} files. "
                "Name the folder that holds the class folders."
            )
        for entry, is_dir in entries:
            name = f"{folder}/{entry}" if folder else entry
            if _is_system(entry):
                continue
            if not is_dir:
                reason = _reason(root, name)
                if reason == "":
                    names.append(name)
                elif reason:
                    unreadable.append((name, reason))
            elif (real := os.path.realpath(root / name)) in parents:
                unreadable.append((name, "a link to a folder above it"))
            else:
                folders.add(name)
                pending.append((name, (*parents, real)))
    bad = {name for name, _ in unreadable}
    homes = {name.rpartition("/")[0] for name in (*folders, *names, *bad)}
    used = homes | {str(up) for home in homes for up in PurePosixPath(home).parents}
    empty = sorted(name for name in folders - used - bad if "/__" not in f"/{name}")
    return Listing(sorted(names), unreadable, empty)


def _is_system(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def _is_dir(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):
        return entry.is_dir()
    return False


def _reason(root: Path, name: str) -> str | None:
    """Return "" for an image, None for a file that is not, or why an image cannot be read."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122  a Path costs five times as much
    if suffix in IMAGE_SUFFIXES or suffix in OTHER_SUFFIXES:
        return "" if suffix in IMAGE_SUFFIXES else None
    try:
        reason = decode.explain(decode.read_bytes(root / name, 1000))
    except DataError as error:
        return str(error) if suffix else None
    return None if reason == NOT_AN_IMAGE and not suffix else reason


def parts(root: Path, source: str, progress: Progress = no_progress) -> list[str]:
    """Return which of "train", "val" and "test" a folder has; [] where it has no parts."""
    groups = part_folders(scan(root, source, progress).names)
    return [part for part in ("train", "val", "test") if part in groups]


def part_folders(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the top folders that are parts of a data set: {"train": ["training-set"], ...}.

    Empty where there is no folder for training and another part, with class folders in them.
    """
    inside: dict[str, set[str]] = {}  # top folder -> the class folders in it
    for path in filter(None, _paths(names).values()):
        inside.setdefault(path[0], set()).add("/".join(path[1:]))
    groups: dict[str, list[str]] = {}
    for top, classes in sorted(inside.items()):
        words = {word for word in re.split("[^a-z]+", top.lower()) if word}
        named = {PARTS[word] for word in words & {*PARTS}}
        if len(named) == 1 and words <= PART_WORDS and classes != {""}:
            groups.setdefault(named.pop(), []).append(top)
    return groups if len(groups) > 1 and ("train" in groups or len(groups) == len(inside)) else {}


def _paths(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the path of each image folder below what all of them have in common."""
    folders = sorted({name.rpartition("/")[0] for name in names})
    paths = [folder.split("/") if folder else [] for folder in folders]
    levels = zip(*paths, strict=False)
    shared = sum(1 for _ in takewhile(lambda level: len({*level}) == 1, levels))
    cut = max(shared - 1, 0) if len(paths) == 1 else shared
    return {folder: path[cut:] for folder, path in zip(folders, paths, strict=True)}


def load(
    root: Path, part: str, source: str, preprocess: Preprocess, progress: Progress = no_progress
) -> ImageSet:
    """Load the images of a folder of class folders, or of one part of it."""
    listing = scan(root, source, progress)
    groups = part_folders(listing.names)
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
        example = f", such as {printable(': '.join(unreadable[0]))}" if unreadable else ""
        raise DataError(
            f"{source} has no images in class folders ({len(unreadable):,} other files{example}). "
            "Put the images of each class in a folder of its own, or list them in a CSV file of "
            f"lines file,label. Suffixes of images: {', '.join(IMAGE_SUFFIXES)}."
        )
    if listing.empty:
        warnings.warn(
            f"{source}: folders without an image are ignored: {first_names(listing.empty)}.",
            stacklevel=2,
        )
    return load_files(root, names, labels, source, preprocess, progress, unreadable)


def class_name(name: str, source: str) -> str:
    """Return a class name with its control characters escaped; refuse a blank one."""
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
    """Load image files, with a label each, from a pack, which is written first if need be.

    Args:
        names: relative to `root`.
        unreadable: further files to report.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        version = None
        with suppress(OSError):  # reading it will tell why
            facts = os.stat(os.path.join(root, name))  # noqa: PTH116, PTH118  thrice as fast
            version = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        digest.update(repr((name, version)).encode("utf-8", "surrogateescape"))

    def raws() -> Iterator[tuple[int, bytes | DataError]]:
        for index, name in enumerate(names):
            try:
                yield index, decode.read_bytes(root / name)
            except DataError as error:
                yield index, error

    return cache.load(
        digest.hexdigest(), names, labels, raws, source, preprocess, progress, unreadable
    )


def unpack(path: Path, source: str, progress: Progress = no_progress) -> Path:
    """Unpack a zip or tar file into the cache, once for its contents, and return the folder.

    Only regular files of at most 64 MB are unpacked. The whole archive is refused where it is
    damaged or encrypted, has a member that leads out of the folder, or unpacks to far more than
    images would.
    """

    try:
        facts = path.stat()
        version = (str(path.resolve()), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        digest: str = cache.load_cached(repr(version), lambda: _digest(path))
        target = cache_dir() / "unpacked" / digest
    except OSError as error:
        raise cannot_read(source, error) from None
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        cache.remove_unfinished(target.parent)
        with tempfile.TemporaryDirectory(".tmp", ".", target.parent) as temporary:
            files = Path(temporary) / "files"
            files.mkdir()
            _extract(path, files, source, progress)
            try:
                files.rename(target)
            except OSError:
                if not target.is_dir():  # else another process was quicker
                    raise
    except DataError:
        raise
    except Exception as error:  # the readers of hostile bytes raise nearly anything
        if isinstance(error, OSError) and error.errno is not None:
            raise cannot_write(target, error) from None
        raise DataError(f"{source} is damaged: {error}. Copy or download it again.") from None
    return target


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _extract(path: Path, target: Path, source: str, progress: Progress) -> None:
    limit = min(max(MAX_RATIO * path.stat().st_size, SMALL_ARCHIVE), MAX_UNPACKED)
    deadline, total = time.monotonic() + MAX_SECONDS, 0
    members = _zip_members if zipfile.is_zipfile(path) else _tar_members
    for number, (name, size, read) in enumerate(members(path, source), start=1):
        names = [part for part in name.replace("\\", "/").split("/") if part != "."]
        if ".." in names or not any(names[:1]) or re.match("[A-Za-z]:", name):
            raise DataError(
                f"{source} has a member that leads out of the archive: {name!r}. "
                "Do not unpack it; pack the images again."
            )
        total += size
        if number > MAX_MEMBERS or total > limit or time.monotonic() > deadline:
            raise DataError(
                f"{source} unpacks to far more than images would. If you trust it, unpack it "
                "yourself, and name the folder."
            )
        if size <= MAX_BYTES and not any(map(_is_system, names)):
            file = target.joinpath(*names)
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.exists():
                raise DataError(
                    f"{source} has {name!r} twice, or in upper and lower case, which are one on "
                    "this disk. Unpack it elsewhere, and name the folder."
                )
            file.write_bytes(read())
        if number % 100 == 0:
            progress(f"unpacking {source}", number, 0)


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
        warnings.warn(
            f"{source} does not tell the encoding of its names, which may be wrong: "
            f"{first_names(unsure)}. If so, unpack it, and name the folder.",
            stacklevel=2,
        )


def _tar_members(path: Path, source: str) -> Iterator[Member]:
    openers: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"\xfd7": lzma.open, b"BZ": bz2.open}
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
            archive.members = []  # type: ignore[attr-defined]  # or memory grows with the archive
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
    """Return the files that a user names; patterns such as `*.png` and folders are expanded."""
    files: list[Path] = []
    for place in map(str, places):
        path = Path(place).expanduser()
        images = [path]
        if re.match("[a-z]{2,}:/", place):
            raise DataError(f"{place} is not on this computer. Download it, and name the file.")
        if path.is_dir():
            images = [path / name for name in scan(path, place).names]
        elif not path.exists() and has_magic(place):
            images = sorted(map(Path, glob(str(path), recursive=True)))  # noqa: PTH207
        if not images:
            raise DataError(f"No image files in {place}.")
        files += images
    return files
