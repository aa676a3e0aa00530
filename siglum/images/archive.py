"""`archive:FILE`: a zip or tar of folders, one a class; members are read in memory only.

An archive with a member whose name leaves the archive is refused whole: nothing is ever
written to disk, but such a file was made to do harm. Bounds are checked against what is really
read, not against what the archive declares.
"""

import bz2
import gzip
import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from siglum.errors import DataError
from siglum.images.cache import recall
from siglum.images.listing import Listing, Unreadable, is_picture
from siglum.images.pictures import MAX_BYTES

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
MAX_MEMBERS = 2_000_000
MAX_UNPACKED = 64 * 2**30  # bytes of all members together

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError)

Member = tuple[str, bytes | DataError | None]  # None: listed only


def scan(path: Path, source: str) -> Listing:
    """List the pictures in an archive.

    Raises:
        DataError: if the file is no archive, is damaged, or holds a name that leaves it, an
            encrypted member, too many members or too many bytes.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing" if not path.exists() else "no file"
        raise DataError(f"{source} must name an archive file, got {found} there.")
    facts = path.stat()
    signature = repr((str(path.resolve()), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns))
    members = _zip if zipfile.is_zipfile(path) else _tar

    def names_in() -> tuple[list[str], list[Unreadable]]:
        found: set[str] = set()
        unreadable: list[Unreadable] = []
        for name, raw in members(path, source, names_only=True):
            if isinstance(raw, DataError):
                unreadable.append((name, str(raw)))
            elif name in found:
                unreadable.append((name, "is in the archive twice"))
            else:
                found.add(name)
        return sorted(found), unreadable

    names, unreadable = recall(f"names {signature}", names_in)

    def read() -> Iterator[tuple[int, bytes | DataError]]:
        left = {name: position for position, name in enumerate(names)}
        for name, raw in members(path, source, names_only=False):
            position = left.pop(name, None)
            if position is not None and raw is not None:
                yield position, raw
        for position in left.values():
            yield position, DataError("is missing from the archive")

    def contents() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    bad = tuple((name, reason) for name, reason in unreadable)
    return Listing(source, names, bad, signature, contents, read)


def _checked(names: Iterable[str], source: str) -> None:
    """Raise DataError for a name that would leave the folder it is unpacked into."""
    for count, name in enumerate(names, start=1):
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (path.parts and ":" in path.parts[0]):
            raise DataError(
                f"{source} must hold relative names that stay inside, got {name!r}. "
                "Do not unpack it; pack the pictures again."
            )
        if count > MAX_MEMBERS:
            raise DataError(f"{source} must hold at most {MAX_MEMBERS} members, got more.")


def _zip(path: Path, source: str, names_only: bool) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _checked((member.filename for member in members), source)
            unpacked = sum(member.file_size for member in members)
            _within(unpacked, source)
            for member in members:
                if member.is_dir() or not is_picture(member.filename):
                    continue
                if member.flag_bits & 0x1:
                    raise DataError(
                        f"{source} must not be encrypted, got {member.filename!r}. "
                        "Pack the pictures again without a password."
                    )
                if names_only:
                    yield member.filename, None
                    continue
                try:
                    with archive.open(member) as file:
                        yield member.filename, file.read(MAX_BYTES + 1)
                except (*_BROKEN, NotImplementedError) as error:
                    yield member.filename, DataError(f"is damaged ({error})")
    except _BROKEN as error:
        raise DataError(f"{source} must be a whole archive, got a damaged one ({error}).") from None


def _tar(path: Path, source: str, names_only: bool) -> Iterator[Member]:
    openers = {b"\x1f\x8b": "gz", b"\xfd7": "xz", b"BZ": "bz2"}
    try:
        with path.open("rb") as packed:
            kind = openers.get(packed.read(2), "")
            packed.seek(0)
            with (
                _unpacked(packed, kind) as stream,
                tarfile.open(
                    fileobj=_Bounded(stream, source),  # type: ignore[call-overload]
                    mode="r|",
                    encoding="utf-8",
                    errors="replace",
                ) as archive,
            ):
                for count, member in enumerate(archive):
                    _checked([member.name], source)
                    if count >= MAX_MEMBERS:
                        raise DataError(f"{source} must hold at most {MAX_MEMBERS} members.")
                    archive.members = []  # or the whole listing stays in memory
                    name = member.name.removeprefix("./")
                    if not is_picture(name) or member.isdir():
                        continue
                    if not member.isreg():
                        if names_only:
                            yield name, DataError("is a link or a device, not a file")
                    elif names_only:
                        yield name, None
                    else:
                        file = archive.extractfile(member)
                        assert file is not None, name
                        yield name, file.read(MAX_BYTES + 1)
    except _BROKEN as error:
        raise DataError(
            f"{source} must be a whole archive ({', '.join(ENDINGS)}), got another kind of file or "
            f"a damaged one ({error})."
        ) from None


def _unpacked(packed: IO[bytes], kind: str) -> IO[bytes]:
    if kind == "gz":
        return gzip.GzipFile(fileobj=packed)  # type: ignore[return-value]
    if kind == "xz":
        return lzma.LZMAFile(packed)
    return bz2.BZ2File(packed) if kind == "bz2" else packed


class _Bounded:
    """A stream that refuses to give more than MAX_UNPACKED bytes."""

    def __init__(self, stream: IO[bytes], source: str) -> None:
        self.stream, self.source, self.given = stream, source, 0

    def read(self, size: int = -1) -> bytes:
        piece = self.stream.read(size)
        self.given += len(piece)
        _within(self.given, self.source)
        return piece


def _within(unpacked: int, source: str) -> None:
    if unpacked > MAX_UNPACKED:
        raise DataError(
            f"{source} must unpack to at most {MAX_UNPACKED} bytes, got more. "
            "Split it, or unpack it yourself and use folder:DIR."
        )
