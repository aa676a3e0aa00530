"""`archive:FILE`: a zip or tar of folders, one a class; members are read in memory only.

An archive with a member whose name leaves the archive is refused whole: nothing is ever
written to disk, but such a file was made to do harm. Bounds are checked against what is really
read, not against what the archive declares.
"""

import bz2
import gzip
import hashlib
import lzma
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from posixpath import normpath
from typing import IO

from siglum.errors import DataError
from siglum.images.cache import load_cached
from siglum.images.decode import MAX_BYTES, Unreadable, as_text
from siglum.images.listing import Listing, empty_of, is_picture

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
MAX_MEMBERS = 2_000_000
MAX_UNPACKED = 64 * 2**30  # bytes of all members together
MAX_HEADER = 2**20  # bytes of a tar's long name or extended header, which is read at once

Member = tuple[str, bytes | DataError | None]  # None: listed only; a folder ends in "/"


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
    try:
        with path.open("rb") as file:
            members = _zip if file.read(4) in (b"PK\3\4", b"PK\5\6") else _tar
    except OSError as error:
        raise DataError(f"{source} must be readable, got {error.strerror!r}.") from None

    def names_in() -> tuple[list[str], list[Unreadable], list[str]]:
        found: set[str] = set()
        folders: set[str] = set()
        unreadable: list[Unreadable] = []
        for name, raw in members(path, source, names_only=True):
            if name.endswith("/"):
                folders.add(name[:-1])
            elif isinstance(raw, DataError):
                unreadable.append((name, str(raw)))
            elif name in found:
                unreadable.append((name, "is in the archive twice"))
            else:
                found.add(name)
        empty = empty_of(folders, [*found, *(name for name, _ in unreadable)])
        return sorted(found), unreadable, empty

    names, unreadable, empty = load_cached(f"listing {signature}", names_in)

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
    return Listing(source, names, bad, signature, contents, read, empty)


def _checked(names: Iterable[str], source: str) -> None:
    """Raise DataError for a name that would leave the folder it is unpacked into."""
    for count, name in enumerate(names, start=1):
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or (name and not parts[0]) or re.match("[A-Za-z]:", name):
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
                # Some Windows programs write backslashes, against the format's rule.
                name = normpath(member.filename.replace("\\", "/"))
                if member.is_dir():
                    if names_only:
                        yield f"{name}/", None
                    continue
                if not is_picture(name):
                    continue
                if member.flag_bits & 0x1:
                    raise DataError(
                        f"{source} must not be encrypted, got {member.filename!r}. "
                        "Pack the pictures again without a password."
                    )
                if names_only:
                    yield name, None
                    continue
                try:
                    with archive.open(member) as file:
                        raw = file.read(MAX_BYTES + 1)
                except Exception as error:
                    yield name, DataError(f"is damaged ({error})")
                else:
                    yield name, raw
    except DataError:
        raise
    except Exception as error:  # the readers of hostile bytes raise nearly anything
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
                    fileobj=(bounded := _Bounded(stream, source)),  # type: ignore[call-overload]
                    mode="r|",
                    encoding="utf-8",
                    errors="surrogateescape",
                    tarinfo=_Header,
                ) as archive,
            ):
                for count, member in enumerate(archive):
                    _checked([member.name], source)
                    if count >= MAX_MEMBERS:
                        raise DataError(
                            f"{source} must hold at most {MAX_MEMBERS} members, got more."
                        )
                    archive.members = []  # or the whole listing stays in memory
                    name = as_text(normpath(member.name))
                    if member.isdir():
                        if names_only:
                            yield f"{name}/", None
                        continue
                    if not is_picture(name):
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
                bounded.finish()
    except DataError:
        raise
    except Exception as error:
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


class _Header(tarfile.TarInfo):
    """A header whose long name or extension, which tarfile reads in one piece, is bounded."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        extends = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        named = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if self.type in extends + named and self.size > MAX_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        info: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return info


class _Bounded:
    """A stream that refuses to give more than MAX_UNPACKED bytes, and to end too early."""

    def __init__(self, stream: IO[bytes], source: str) -> None:
        self.stream, self.source, self.given, self.end = stream, source, 0, b""

    def read(self, size: int = -1) -> bytes:
        piece = self.stream.read(size)
        self.given += len(piece)
        self.end = (self.end + piece)[-tarfile.BLOCKSIZE :]
        _within(self.given, self.source)
        return piece

    def finish(self) -> None:
        """Read what tarfile leaves: a stream's sum, and the block of zeros that ends a tar."""
        while self.read(tarfile.RECORDSIZE):
            pass
        if self.end != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("unexpected end of data")


def _within(unpacked: int, source: str) -> None:
    if unpacked > MAX_UNPACKED:
        raise DataError(
            f"{source} must unpack to at most {MAX_UNPACKED} bytes, got more. "
            "Split it, or unpack it yourself and use folder:DIR."
        )
