"""A zip that can be written in one way only, so that a changed byte anywhere is seen.

Members are stored as they are, in one order, with one date and the same attributes, and nothing
lies between, before or behind them. To read is to list the members, to write them again, and to
compare: what a zip could hide in headers, comments, gaps or overlaps cannot be there.

Source: PKWARE 2022, "APPNOTE.TXT - .ZIP File Format Specification", 6.3.10, sections 4.3.7,
4.3.12 and 4.3.16; the layout is written here because zipfile's may change with its version.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping

from siglum.errors import DataError

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
VERSION, UNIX, DATE = 20, 3, 33  # PKZIP 2.0; attributes as Unix has them; 1 January 1980
PLAIN_FILE = 0o100644 << 16
MAX_MEMBERS = 64
MAX_DIRECTORY = 64 * 1024  # bytes
AGAIN = "Copy it again from where it came from, or make it again."


def pieces(members: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yield what the file consists of, piece by piece, in the order of `members`."""
    directory, offset = [], 0
    for name, raw in members.items():
        encoded = name.encode("ascii")
        facts = (0, 0, 0, DATE, zlib.crc32(raw), len(raw), len(raw), len(encoded), 0)
        head = LOCAL.pack(b"PK\3\4", VERSION, *facts) + encoded
        yield head
        yield raw
        made_by = UNIX << 8 | VERSION
        entry = CENTRAL.pack(b"PK\1\2", made_by, VERSION, *facts, 0, 0, 0, PLAIN_FILE, offset)
        directory.append(entry + encoded)
        offset += len(head) + len(raw)
    listed = b"".join(directory)
    yield listed
    count = len(directory)
    yield END.pack(b"PK\5\6", 0, 0, count, count, len(listed), offset, 0)


def pack(members: Mapping[str, bytes]) -> bytes:
    """Return the file of `members`, in their order."""
    return b"".join(pieces(members))


def listing(raw: bytes, name: str) -> zipfile.ZipFile:
    """Open a zip without reading any member; what it lists is bounded.

    Args:
        name: of the file, for messages.

    Raises:
        DataError: if it is no zip, is cut off, or has something behind its end.
    """
    if raw[:4] != b"PK\3\4":
        raise DataError(
            f"{name} must be a bundle, a zip that Siglum wrote, got {_kind(raw)}. "
            "Make one with: siglum export RUN -o NAME.siglum"
        )
    end = raw[-END.size :]
    signature, *_, count, size, _, comment = END.unpack(end.rjust(END.size, b"\0"))
    if signature != b"PK\5\6" or comment or raw[-END.size - 20 :][:4] == b"PK\6\7":
        raise _damaged(name, "another end")
    if count > MAX_MEMBERS or size > MAX_DIRECTORY:
        raise DataError(
            f"{name} must list at most {MAX_MEMBERS} members in {MAX_DIRECTORY:,} bytes, got "
            f"{count:,} in {size:,}. {AGAIN}"
        )
    try:
        return zipfile.ZipFile(io.BytesIO(raw))
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError) as error:
        raise _damaged(name, f"a list of members that cannot be read ({error})") from None


def unpack(
    raw: bytes,
    limits: Mapping[str, int],
    name: str,
    optional: Collection[str] = (),
) -> dict[str, bytes]:
    """Return the members of what `pack` made.

    Args:
        limits: the names that may be there, in their order, and how many bytes each may have.
        name: of the file, for messages.
        optional: the names that may be absent.

    Raises:
        DataError: if anything is not as `pack` would write it; nothing is read before names and
            sizes are known to be allowed.
    """
    infos = listing(raw, name).infolist()
    seen: set[str] = set()
    for info in infos:
        rule = _broken_rule(info, limits, seen)
        if rule:
            raise DataError(f"{name} must {rule}. {AGAIN}")
        seen.add(info.filename)
    for wanted in limits:
        if wanted not in seen and wanted not in optional:
            raise DataError(f"{name} must hold {wanted}, got only {_names(seen)}. {AGAIN}")
    members = {}
    for info in infos:
        start = info.header_offset + LOCAL.size + len(info.filename)
        members[info.filename] = raw[start : start + info.file_size]
    ordered = {wanted: members[wanted] for wanted in limits if wanted in members}
    place = 0
    for piece in pieces(ordered):
        if raw[place : place + len(piece)] != piece:
            raise _damaged(name, f"a difference within {len(piece):,} bytes from byte {place:,} on")
        place += len(piece)
    if place != len(raw):
        raise _damaged(name, f"{len(raw):,} bytes where {place:,} belong")
    return ordered


def _broken_rule(info: zipfile.ZipInfo, limits: Mapping[str, int], seen: set[str]) -> str | None:
    """Return the rule that a listed member breaks, and how; None if it may be read."""
    member = info.filename
    if member not in limits:
        return f"hold only {', '.join(limits)}, got {member[:100]!r}"
    if member in seen:
        return f"hold each member once, got {member} twice"
    if info.flag_bits & 1:
        return f"hold members that are not encrypted, got {member}"
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        return f"hold members that are stored as they are, got {member} compressed"
    if info.file_size > limits[member]:
        return f"hold at most {limits[member]:,} bytes of {member}, got {info.file_size:,}"
    return None


def _damaged(name: str, found: str) -> DataError:
    return DataError(f"{name} must be byte for byte as it was written, got {found}. {AGAIN}")


def _kind(raw: bytes) -> str:
    """Say what a file that is no zip begins like."""
    if not raw:
        return "an empty file"
    kinds = {b"\x80": "a Python pickle, which is never opened", b"\x89PNG": "a PNG picture"}
    kinds |= {b"\xff\xd8": "a JPEG picture", b"{": "JSON"}
    known = (kind for start, kind in kinds.items() if raw.startswith(start))
    return next(known, f"a file that begins with the bytes {raw[:4].hex(' ')}")


def _names(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
