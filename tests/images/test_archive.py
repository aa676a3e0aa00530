import bz2
import gzip
import io
import lzma
import os
import re
import struct
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import SIGNS, VALUES, Files, png, write_folder, write_tar, write_zip

from siglum.errors import DataError
from siglum.images import archive, decode, sources
from siglum.images.imageset import ImageSet

DAMAGED = "must be a whole archive (.zip, .tar, .tar.gz, .tgz, .tar.xz, .txz, .tar.bz2), "
DAMAGED += "got another kind of file or a damaged one ("

Writer = Callable[[Path, Files], Path]
WRITERS: dict[str, Writer] = {
    "stored.zip": write_zip,
    "deflated.zip": lambda path, files: write_zip(path, files, compression=zipfile.ZIP_DEFLATED),
    "tar": lambda path, files: write_tar(path, files, "w"),
    "gnu.tar": lambda path, files: write_tar(path, files, "w", format=tarfile.GNU_FORMAT),
    "tar.gz": lambda path, files: write_tar(path, files, "w:gz"),
    "tar.xz": lambda path, files: write_tar(path, files, "w:xz"),
    "tar.bz2": lambda path, files: write_tar(path, files, "w:bz2"),
}
every_kind = pytest.mark.parametrize("kind", WRITERS)
either = pytest.mark.parametrize("write", [write_zip, write_tar])


def load(path: Path) -> ImageSet:
    return sources.load(f"archive:{path}")


def values(found: ImageSet) -> list[int]:
    return found.images.max(axis=(1, 2, 3)).tolist()


def fails(path: Path, message: str, *, whole: bool = True) -> None:
    end = "$" if whole else ""
    with pytest.raises(DataError, match=f"^{re.escape(f'archive:{path} {message}')}{end}"):
        load(path)


@every_kind
def test_an_archive_is_what_its_folder_is(tmp_path: Path, kind: str) -> None:
    folder = sources.load(f"folder:{write_folder(tmp_path / 'signs')}")

    found = load(WRITERS[kind](tmp_path / kind, SIGNS))

    assert found.fingerprint == folder.fingerprint
    assert list(found.files or ()) == list(folder.files or ()) == list(SIGNS)


@every_kind
def test_members_may_come_in_any_order_below_any_folder(tmp_path: Path, kind: str) -> None:
    turned = {f"./deep/er/{name}": raw for name, raw in reversed(SIGNS.items())}

    found = load(WRITERS[kind](tmp_path / kind, turned))

    assert found.classes == ("a", "b")
    assert values(found) == VALUES
    assert list(found.files or ()) == [f"deep/er/{name}" for name in SIGNS]


@every_kind
def test_any_name_may_be_a_class(tmp_path: Path, kind: str) -> None:
    names = sorted(["two words", "👩🏽‍🔬", "אבג", "__pycache__", "<img onerror=alert(1)>", "12:30"])
    files = {f"{name}/0.png": png(number + 1) for number, name in enumerate(names)}

    found = load(WRITERS[kind](tmp_path / kind, files))

    assert list(found.classes) == names
    assert values(found) == list(range(1, len(names) + 1))


def test_names_in_a_tar_that_are_not_utf8_stay_apart(tmp_path: Path) -> None:
    names = [os.fsdecode(byte) for byte in (b"\xfe", b"\xff")]
    files = {f"{name}/0.png": png(10 * number) for number, name in enumerate(names, start=1)}

    found = load(write_tar(tmp_path / "signs.tar", files, format=tarfile.GNU_FORMAT))

    assert found.classes == ("\\xfe", "\\xff")
    assert values(found) == [10, 20]


def test_backslashes_in_a_zip_are_folders(tmp_path: Path) -> None:
    """As some Windows programs write them, against the format's rule."""
    files = {name.replace("/", "\\"): raw for name, raw in SIGNS.items()}

    found = load(write_zip(tmp_path / "signs.zip", files))

    assert found.classes == ("a", "b")
    assert values(found) == VALUES


@either
@pytest.mark.parametrize(
    "name",
    [
        *("../x.png", "a/../../x.png", "/a/x.png", "//host/a/x.png", "../../etc/cron.d/x"),
        *("..\\x.png", "a\\..\\..\\x.png", "\\a\\x.png", "C:\\a\\x.png", "C:/a/x.png", "c:x.png"),
    ],
)
def test_a_name_that_leaves_the_archive_refuses_it_whole(
    tmp_path: Path, write: Writer, name: str
) -> None:
    path = write(tmp_path / "signs", {**SIGNS, name: png(50)})

    fails(
        path,
        f"must hold relative names that stay inside, got {name!r}. "
        "Do not unpack it; pack the pictures again.",
    )


@either
def test_too_many_members_are_refused(
    tmp_path: Path, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)

    fails(write(tmp_path / "signs", SIGNS), "must hold at most 3 members, got more.")


@pytest.mark.parametrize("kind", ["deflated.zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_a_bomb_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little it weighs, and although the big member is no picture."""
    monkeypatch.setattr(archive, "MAX_UNPACKED", 2**20)
    path = WRITERS[kind](tmp_path / kind, {**SIGNS, "zeros.bin": bytes(2**21)})

    fails(
        path,
        "must unpack to at most 1048576 bytes, got more. "
        "Split it, or unpack it yourself and use folder:DIR.",
    )


@either
def test_a_member_that_is_too_big_is_left_out(
    tmp_path: Path, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not even read to its end."""
    for module in (archive, decode):
        monkeypatch.setattr(module, "MAX_BYTES", 1000)
    path = write(tmp_path / "signs", {**SIGNS, "a/2.png": bytes(5000)})

    with pytest.warns(UserWarning, match="a/2.png, which has 1001 bytes, more than 1000"):
        assert values(load(path)) == VALUES


def test_a_member_that_unpacks_to_more_than_it_declares_is_left_out(tmp_path: Path) -> None:
    path = WRITERS["deflated.zip"](tmp_path / "signs.zip", {**SIGNS, "a/2.png": bytes(5000)})
    raw = path.read_bytes()
    path.write_bytes(raw.replace(struct.pack("<I", 5000), struct.pack("<I", 50)))

    with pytest.warns(UserWarning, match=r"a/2\.png, which is damaged \(Bad CRC-32 for file"):
        assert values(load(path)) == VALUES


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_long_name_of_gigabytes_is_not_read(tmp_path: Path, format: int) -> None:
    """Python's tarfile would read such a header in one piece, into memory."""
    kind = tarfile.XHDTYPE if format == tarfile.PAX_FORMAT else tarfile.GNUTYPE_LONGNAME
    member = tarfile.TarInfo("long")
    member.type, member.size = kind, 2**31
    path = tmp_path / "signs.tar.gz"
    with gzip.open(path, "wb") as file:
        file.write(member.tobuf(format) + bytes(2**20))

    fails(path, f"{DAMAGED}a header of 2147483648 bytes).")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "signs.zip")
    raw = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(re.escape(mark), bytes(raw)):
            raw[found.start() + offset] |= 1
    path.write_bytes(raw)

    fails(
        path,
        "must not be encrypted, got 'a/0.png'. Pack the pictures again without a password.",
    )


def test_a_member_with_a_wrong_sum_is_left_out_with_one_warning(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "signs.zip")
    raw = bytearray(path.read_bytes())
    raw[raw.index(SIGNS["a/1.png"]) + 20] ^= 1
    path.write_bytes(raw)

    with pytest.warns(UserWarning) as caught:
        found = load(path)

    assert [str(warning.message) for warning in caught] == [
        f"archive:{path}: 1 of 4 files are left out, such as a/1.png, which is damaged "
        f"(Bad CRC-32 for file 'a/1.png'). All of them: siglum data archive:{path}"
    ]
    assert values(found) == [10, 30, 40]


@either
def test_the_second_of_two_members_with_one_name_is_left_out(tmp_path: Path, write: Writer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's own, on writing
        path = write(tmp_path / "signs", [*SIGNS.items(), ("a/0.png", png(99))])

    with pytest.warns(UserWarning, match=r"1 of 5 .* a/0\.png, which is in the archive twice\."):
        found = load(path)

    assert values(found) == VALUES


def test_links_and_devices_in_a_tar_are_left_out(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "signs.tar")
    kinds = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
    with tarfile.open(path, "a") as file:
        for number, kind in enumerate(kinds):
            member = tarfile.TarInfo(f"a/link{number}.png")
            member.type, member.linkname = kind, "/etc/passwd"
            file.addfile(member)

    with pytest.warns(UserWarning, match="4 of 8 files are left out"):
        found = load(path)

    assert values(found) == VALUES
    assert {reason for _, reason in found.unreadable} == {"is a link or a device, not a file"}


def test_a_link_in_a_zip_is_no_picture(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a/link.png")
    link.external_attr = 0o120777 << 16
    path = write_zip(tmp_path / "signs.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link, "/etc/passwd")

    with pytest.warns(UserWarning, match=r"a/link\.png, which is no picture"):
        assert values(load(path)) == VALUES


def test_hidden_and_other_members_are_passed_over(tmp_path: Path) -> None:
    other = {"__MACOSX/a/._0.png": b"", "a/.DS_Store": b"", "a/notes.txt": b"", ".git/x.png": b""}

    found = load(write_zip(tmp_path / "signs.zip", SIGNS | other))

    assert list(found.files or ()) == list(SIGNS)
    assert found.unreadable == ()


def test_a_folder_named_like_a_picture_is_none(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "signs.tar", {"b.png/0.png": png(10)})
    with tarfile.open(path, "a") as file:
        member = tarfile.TarInfo("a.png")
        member.type = tarfile.DIRTYPE
        file.addfile(member)

    with pytest.warns(UserWarning, match=r"folders without a picture are left out \(1\): a\.png$"):
        found = load(path)

    assert found.classes == ("b.png",)


@either
def test_empty_folders_are_left_out_with_one_warning(tmp_path: Path, write: Writer) -> None:
    path = tmp_path / "signs"
    if write is write_zip:
        write(path, {"top/": b"", "top/a/": b"", "top/c/": b"", "top/a/0.png": png(10)})
    else:
        for name in ("a", "c"):
            (tmp_path / "top" / name).mkdir(parents=True)
        (tmp_path / "top/a/0.png").write_bytes(png(10))
        with tarfile.open(path, "w") as file:
            file.add(tmp_path / "top", "top")

    for _ in range(2):  # the second time the names come from the cache
        with pytest.warns(UserWarning) as caught:
            found = load(path)

        message = f"archive:{path}: folders without a picture are left out (1): top/c"
        assert [str(warning.message) for warning in caught] == [message]
        assert found.classes == ("a",)


@pytest.mark.parametrize("kind", ["deflated.zip", "tar.gz", "tar.xz", "tar.bz2"])
@pytest.mark.parametrize("share", [0.2, 0.9, 0.99])
def test_an_archive_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    path = WRITERS[kind](tmp_path / kind, SIGNS)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])

    with pytest.raises(DataError, match=r" must be a whole archive.*, got .*damaged one \(.+\)\.$"):
        load(path)


@pytest.mark.parametrize("length", [3700, 3500, 3072])
def test_a_tar_cut_in_a_member_or_a_header_or_between_is_refused(
    tmp_path: Path, length: int
) -> None:
    """Python's tarfile tells only the first; without the others a class could go in silence."""
    path = write_tar(tmp_path / "signs.tar")
    path.write_bytes(path.read_bytes()[:length])

    fails(path, f"{DAMAGED}unexpected end of data).")


def test_the_sum_of_a_gzipped_tar_is_checked(tmp_path: Path) -> None:
    """It lies behind the end of the tar, where tarfile does not look."""
    path = write_tar(tmp_path / "signs.tar.gz", mode="w:gz")
    raw = bytearray(path.read_bytes())
    raw[-8] ^= 1
    path.write_bytes(raw)

    fails(path, f"{DAMAGED}CRC check failed", whole=False)


@pytest.mark.parametrize("raw", [b"", b"plain text", b"PK", bytes(10_000), png(10)])
def test_another_kind_of_file_is_told(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "signs.zip"
    path.write_bytes(raw)

    with pytest.raises(DataError, match=r"got another kind of file|got none\. Pictures end in"):
        load(path)


def test_a_tar_with_a_zip_at_its_end_is_a_tar(tmp_path: Path) -> None:
    """zipfile.is_zipfile looks for a zip at the end of any file."""
    inner = write_zip(tmp_path / "inner.zip").read_bytes()

    assert (
        values(load(write_tar(tmp_path / "signs", {**SIGNS, "notes/inner.zip": inner}))) == VALUES
    )


@pytest.mark.parametrize(("kind", "got"), [("folder", "a folder"), ("fifo", "no file")])
def test_the_place_must_be_a_file(tmp_path: Path, kind: str, got: str) -> None:
    path = tmp_path / "signs"
    fails(path, "must name an archive file, got nothing there.")
    path.mkdir() if kind == "folder" else os.mkfifo(path)

    fails(path, f"must name an archive file, got {got} there.")


def test_no_member_is_ever_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = write_zip(tmp_path / "signs.zip", {**SIGNS, "a/run.sh": b"", "b/x.pth": b""})
    load(path)

    assert list((tmp_path / "here").iterdir()) == []


def _tar_bytes(kind: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as writing:
        for name in ("a/é.png", "b/" + "x" * 120 + ".png"):
            member = tarfile.TarInfo(name)
            member.mtime = 1.5
            member.size = len(png(10))
            writing.addfile(member, io.BytesIO(png(10)))
    return file.getvalue()[:4000]


def _zip_bytes() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as writing:
        writing.writestr("a/é.png", png(10))
        writing.writestr("b/0.png", png(20))
    return file.getvalue()


SEEDS = [_zip_bytes(), _tar_bytes(tarfile.PAX_FORMAT), _tar_bytes(tarfile.GNU_FORMAT)]
SEEDS += [pack(SEEDS[2]) for pack in (gzip.compress, lzma.compress, bz2.compress)]


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 3999), st.integers(0, 255)), min_size=1, max_size=4),
    st.booleans(),
)
def test_changed_bytes_are_read_or_refused(
    seed: bytes, changes: list[tuple[int, int]], mend_sums: bool
) -> None:
    """Whatever Python's readers make of them: ValueError, IndexError, UnicodeDecodeError, ..."""
    raw = bytearray(seed)
    for place, value in changes:
        raw[place % len(raw)] = value
    if mend_sums:  # or most changed headers of a tar are refused for their sums alone
        for start in range(0, len(raw) - 511, 512):
            if raw[start + 257 : start + 262] == b"ustar":
                raw[start + 148 : start + 156] = b" " * 8
                raw[start + 148 : start + 156] = b"%06o\0 " % sum(raw[start : start + 512])
    with tempfile.TemporaryDirectory() as place, suppress(DataError):
        path = Path(place) / "signs"
        path.write_bytes(raw)
        found = archive.scan(path, "archive:here")
        assert {index for index, _ in found.read()} == set(range(len(found.names)))
