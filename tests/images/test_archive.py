"""Zip and tar files are unpacked once, safely, and read as folders."""

import bz2
import gzip
import io
import lzma
import re
import struct
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import making
import pytest
from hypothesis import given, strategies as st
from making import SIGNS, VALUES, Files, little_memory, png, write_folder, write_tar, write_zip

from siglum.errors import ConfigError, DataError, SiglumError
from siglum.images import folder, sources
from siglum.images.imageset import ImageSet

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
either = pytest.mark.parametrize("write", [write_zip, write_tar])


def load(path: Path) -> ImageSet:
    return sources.load(f"archive:{path}")


def fails(path: Path, message: str) -> None:
    expected = rf"Cannot unpack archive:{path}: {message}.* Copy or download it again, or unpack it"
    with pytest.raises(DataError, match=f"^{expected}"):
        load(path)


@pytest.mark.parametrize("kind", WRITERS)
def test_an_archive_gives_the_same_as_its_folder(tmp_path: Path, kind: str) -> None:
    plain = sources.load(f"folder:{write_folder(tmp_path / 'signs')}")
    turned = {f"./deep/er/{name}": raw for name, raw in reversed(SIGNS.items())}

    assert load(WRITERS[kind](tmp_path / kind, SIGNS)).fingerprint == plain.fingerprint
    if "zip" in kind:  # as some Windows programs write them, against the format's rule
        turned = {name.replace("/", "\\"): raw for name, raw in turned.items()}
    images = load(WRITERS[kind](tmp_path / f"deep.{kind}", turned))
    assert images.fingerprint == plain.fingerprint
    assert list(images.files or ()) == [f"deep/er/{name}" for name in SIGNS]


def test_an_archive_is_unpacked_once_for_its_contents(tmp_path: Path, cache_folder: Path) -> None:
    path = write_zip(tmp_path / "signs.zip")
    load(path)
    moved = path.rename(tmp_path / "moved.zip")
    assert load(moved).images.max(axis=(1, 2, 3)).tolist() == VALUES
    write_zip(path, {"a/0.png": png(77)})
    assert load(path).images.max() == 77

    assert len(list((cache_folder / "unpacked").iterdir())) == 2


def test_loose_images_in_a_zip_are_named_with_the_remedy(tmp_path: Path) -> None:
    loose = {"0.png": png(1), "1.png": png(2)}

    with pytest.raises(
        DataError, match=r"has no images in class folders \(0\.png: .*Put the images of"
    ):
        load(write_zip(tmp_path / "s.zip", loose))
    with pytest.warns(UserWarning, match=r"2 files cannot be read.* 0\.png: not in a class folder"):
        assert load(write_zip(tmp_path / "both.zip", SIGNS | loose)).classes == ("a", "b")


def test_control_characters_in_names_do_not_reach_messages(tmp_path: Path) -> None:
    files = {"\x1b[2J/\x1b[2J.png": b"text", "b/\x1b]0;x\x07.png": png(1)}
    with pytest.warns(UserWarning) as caught:
        load(write_zip(tmp_path / "signs.zip", files))

    assert len(caught) == 1 and str(caught[0].message).isprintable()


def write_unflagged(path: Path, names: list[str], encoding: str) -> Path:
    """Write a zip whose names are in an encoding that it does not tell."""
    with zipfile.ZipFile(path, "w") as archive:
        for letter, name in zip("ABC", names, strict=False):
            archive.writestr(letter * len(name.encode(encoding)), png(10))
    raw = path.read_bytes()
    for letter, name in zip("ABC", names, strict=False):
        coded = name.encode(encoding)
        raw = raw.replace(letter.encode() * len(coded), coded)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("name", ["α", "δέλτα", "ж", "数"])
def test_utf8_names_without_their_flag_are_read(tmp_path: Path, name: str) -> None:
    """macOS writes such archives; without the flag the format means code page 437."""
    names = [f"{name}/0.png", f"__MACOSX/{name}/._0.png", "z/01234567.png"]

    path = write_unflagged(tmp_path / "signs.zip", names, "utf-8")

    assert load(path).classes == tuple(sorted([name, "z"]))


def test_names_in_another_code_page_are_warned_of(tmp_path: Path) -> None:
    path = write_unflagged(tmp_path / "signs.zip", ["ä/0.png"], "cp850")

    with pytest.warns(UserWarning, match="names, which are read as code page 437. If they are"):
        assert load(path).classes == ("ä",)


@either
@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "../../etc/cron.d/x"])
def test_a_name_that_leads_out_refuses_the_archive(
    tmp_path: Path, cache_folder: Path, write: Writer, name: str
) -> None:
    fails(write(tmp_path / "signs", {**SIGNS, name: png(50)}), f"{name!r} leads out of it")
    assert list((cache_folder / "unpacked").iterdir()) == []


@either
@pytest.mark.parametrize(
    "name", ["/a/x.png", "//host/a/x.png", "\\a\\x.png", "a\\..\\..\\x.png", "C:\\a\\x.png"]
)
def test_nothing_is_written_outside_the_cache(
    tmp_path: Path, cache_folder: Path, write: Writer, name: str
) -> None:
    before = sorted(tmp_path.iterdir())
    with suppress(DataError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load(write(tmp_path / "signs", {**SIGNS, name: png(50)}))

    assert sorted(tmp_path.iterdir()) == [*before, tmp_path / "signs"]
    assert not Path("/a").exists() and not Path("/host").exists()
    assert {path.name for path in cache_folder.iterdir()} <= {"packs", "unpacked"}


def test_links_and_devices_are_not_unpacked(tmp_path: Path, cache_folder: Path) -> None:
    path = tmp_path / "signs.tar"
    with tarfile.open(path, "w") as archive:
        for name, raw in SIGNS.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
        for kind, name in ((tarfile.SYMTYPE, "a/2.png"), (tarfile.LNKTYPE, "a/3.png")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "/etc/passwd"
            archive.addfile(link)
        fifo = tarfile.TarInfo("a/4.png")
        fifo.type = tarfile.FIFOTYPE
        archive.addfile(fifo)

    assert list(load(path).files or ()) == list(SIGNS)
    (unpacked,) = (cache_folder / "unpacked").iterdir()
    assert not any(file.is_symlink() for file in unpacked.rglob("*"))


FAR_MORE = "it unpacks to far more than images would"


@pytest.mark.parametrize("kind", ["deflated.zip", "tar", "tar.xz"])
@pytest.mark.parametrize(("limit", "size"), [("MAX_UNPACKED", 2**22), ("MAX_MEMBERS", 5)])
def test_a_bomb_is_refused(
    tmp_path: Path, kind: str, limit: str, size: int, cache_folder: Path, monkeypatch
) -> None:
    monkeypatch.setattr(folder, limit, size - 1)
    path = WRITERS[kind](tmp_path / kind, {**SIGNS, "zeros.bin": bytes(size)})

    fails(path, FAR_MORE)
    assert list((cache_folder / "unpacked").iterdir()) == []


def test_a_member_of_2_to_the_62_bytes_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "signs.tar"
    with path.open("wb") as file:
        member = tarfile.TarInfo("a/0.png")
        member.size = 2**62
        file.write(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    start = time.monotonic()

    fails(path, FAR_MORE)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_long_name_of_gigabytes_is_not_read(tmp_path: Path, format: int) -> None:
    """Python's tarfile would read such a header in one piece, into memory."""
    member = tarfile.TarInfo("long")
    member.type = tarfile.XHDTYPE if format == tarfile.PAX_FORMAT else tarfile.GNUTYPE_LONGNAME
    member.size = 2**31
    path = making.write_zeros(tmp_path / "signs.tar.gz", member.tobuf(format))
    for kind in ("archive:", ""):
        with little_memory(), pytest.raises(SiglumError, match="is not a"):
            sources.load(f"{kind}{path}")


def test_overlapping_members_are_refused_soon(tmp_path: Path) -> None:
    """900 entries of the directory point to one member of 4 MB."""
    path = tmp_path / "signs.zip"
    write_zip(path, {"a/0.png": bytes(2**22)}, compression=zipfile.ZIP_DEFLATED)
    raw = path.read_bytes()
    start = raw.index(b"PK\1\2")
    entry, end = raw[start : raw.index(b"PK\5\6")], raw[raw.index(b"PK\5\6") :]
    entries = [entry.replace(b"a/0.png", f"a/{i:03}.p".encode()) for i in range(900)]
    size = sum(map(len, entries))
    end = end[:8] + struct.pack("<HHII", 900, 900, size, start) + end[20:]
    path.write_bytes(raw[:start] + b"".join(entries) + end)
    began = time.monotonic()

    fails(path, "")
    assert time.monotonic() - began < 10


def test_encrypted_archives_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "signs.zip")
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(raw)

    fails(path, ".* is encrypted, password required")


@pytest.mark.parametrize("kind", ["deflated.zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_an_archive_cut_short_is_refused(tmp_path: Path, kind: str) -> None:
    whole = WRITERS[kind](tmp_path / kind, SIGNS).read_bytes()
    end = len(whole) - 10_000 if kind == "tar" else len(whole)
    for length in (end // 3, end // 2, end - 20):
        path = tmp_path / f"{length}.{kind}"
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            load(path)


@pytest.mark.parametrize("raw", [b"plain text", gzip.compress(b"\0\0\x08\3")], ids=["text", "gzip"])
def test_other_files_are_no_archives(tmp_path: Path, raw: bytes) -> None:
    """A gzip file is not damaged because it is no archive, such as one file of MNIST."""
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(raw)

    fails(path, re.escape("it is not a whole zip or tar file"))
    with pytest.raises(ConfigError, match="is not a source. Name a folder"):
        sources.load(str(path))


def _archive_bytes(kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        path = WRITERS[kind](Path(place) / "x", {"a/é.png": png(10), "b/0.png": png(20)})
        return path.read_bytes()[:4000]


SEEDS = [_archive_bytes(kind) for kind in ("deflated.zip", "tar", "gnu.tar")]
SEEDS += [pack(SEEDS[2]) for pack in (gzip.compress, lzma.compress, bz2.compress)]


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 3999), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_changed_bytes_are_read_or_refused(seed: bytes, changes: list[tuple[int, int]]) -> None:
    """Python's readers raise ValueError, IndexError, UnicodeDecodeError, ..."""
    raw = bytearray(seed)
    for place, value in changes:
        raw[place % len(raw)] = value
    # Mend the sums, or most changed headers of a tar are refused for these alone.
    for start in range(0, len(raw) - 511, 512):
        if raw[start + 257 : start + 262] == b"ustar":
            raw[start + 148 : start + 156] = b" " * 8
            raw[start + 148 : start + 156] = b"%06o\0 " % sum(raw[start : start + 512])
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings(), suppress(DataError):
        warnings.simplefilter("ignore")
        path = Path(place) / "signs"
        path.write_bytes(raw)
        load(path)
