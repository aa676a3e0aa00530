"""A container is read whole and unchanged, or not at all."""

import hashlib
import io
import re
import struct
import warnings
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_bundles import with_directory

from siglum.errors import DataError
from siglum.recogniser import container

LIMITS = {"a.txt": 100, "b.txt": 100, "c.txt": 100}
MEMBERS = {"a.txt": b"first", "b.txt": b"", "c.txt": b"third" * 5}
RAW = container.pack(MEMBERS)
DAMAGED = "x.siglum must be byte for byte as it was written, got "


def refusal(raw: bytes) -> str:
    with pytest.raises(DataError) as error:
        container.unpack(raw, LIMITS, "x.siglum")
    return str(error.value)


def zipped(members: dict[str, bytes], **options: object) -> bytes:
    """What another program would write."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, raw in members.items():
            archive.writestr(name.rstrip("*"), raw, **options)  # type: ignore[arg-type]
    return file.getvalue()


@given(st.tuples(*[st.binary(max_size=100)] * 3))
def test_what_is_packed_is_unpacked_and_zipfile_agrees(parts: tuple[bytes, ...]) -> None:
    members = dict(zip(LIMITS, parts, strict=True))

    raw = container.pack(members)

    assert container.unpack(raw, LIMITS, "x") == members
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == members


def test_the_layout_does_not_change() -> None:
    """Another layout would make every bundle of today unreadable."""
    assert hashlib.sha256(RAW).hexdigest() == (
        "c0662f9ef263742328bffaf2b9f369e9d00d860f6795f4831ca53358137efa59"
    )


def test_every_changed_byte_is_refused() -> None:
    for place in range(len(RAW)):
        for bit in (0, 3, 7):
            changed = bytearray(RAW)
            changed[place] ^= 1 << bit
            with pytest.raises(DataError):
                container.unpack(bytes(changed), LIMITS, "x")


def test_every_truncation_is_refused() -> None:
    for length in range(len(RAW)):
        with pytest.raises(DataError):
            container.unpack(RAW[:length], LIMITS, "x")


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_words(raw: bytes) -> None:
    for start in (b"", b"PK\3\4"):
        with pytest.raises(DataError, match="^x must "):
            container.unpack(start + raw, LIMITS, "x")
        with pytest.raises(DataError, match="^x must "):
            container.unpack(start + raw + RAW[-22:], LIMITS, "x")


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"", "an empty file"),
        (b"\x80\x04\x95\x0b", "a Python pickle, which is never opened"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"\xff\xd8\xff\xe0", "a JPEG picture"),
        (b"{}", "JSON"),
        (b"\x08\x08\x12\x04onnx", "a file that begins with the bytes 08 08 12 04"),
    ],
)
def test_what_is_no_zip_is_named(raw: bytes, found: str) -> None:
    assert refusal(raw) == (
        f"x.siglum must be a bundle, a zip that Siglum wrote, got {found}. "
        "Make one with: siglum export RUN -o NAME.siglum"
    )


@pytest.mark.parametrize("name", ["../a.txt", "/a.txt", "C:\\a.txt", "d.txt", "a.txt/", "A.TXT"])
def test_members_that_are_not_expected_are_refused(name: str) -> None:
    assert refusal(zipped({name: b"", **MEMBERS})) == (
        f"x.siglum must hold only a.txt, b.txt, c.txt, got {name!r}. {container.AGAIN}"
    )


def test_a_member_twice_is_refused() -> None:
    assert refusal(zipped({**MEMBERS, "a.txt*": b"other"})) == (
        f"x.siglum must hold each member once, got a.txt twice. {container.AGAIN}"
    )


def test_a_missing_member_is_named() -> None:
    raw = container.pack({"a.txt": b"", "c.txt": b""})

    assert refusal(raw) == (f"x.siglum must hold b.txt, got only a.txt, c.txt. {container.AGAIN}")
    assert container.unpack(raw, LIMITS, "x", ["b.txt"]) == {"a.txt": b"", "c.txt": b""}


def test_an_encrypted_member_is_refused() -> None:
    assert refusal(with_directory(RAW, {8: ("<H", 1)})) == (
        f"x.siglum must hold members that are not encrypted, got a.txt. {container.AGAIN}"
    )


def test_a_compressed_member_is_refused_before_it_is_inflated() -> None:
    """100 bytes at most are allowed; here 10 million would come out."""
    bomb = zipped({"a.txt": bytes(10_000_000)}, compress_type=zipfile.ZIP_DEFLATED)

    assert refusal(bomb) == (
        "x.siglum must hold members that are stored as they are, got a.txt compressed. "
        f"{container.AGAIN}"
    )


def test_a_member_that_is_too_large_is_refused() -> None:
    assert refusal(container.pack({**MEMBERS, "a.txt": bytes(101)})) == (
        f"x.siglum must hold at most 100 bytes of a.txt, got 101. {container.AGAIN}"
    )


def test_members_that_overlap_are_refused() -> None:
    """The second entry's bytes are the first's."""
    raw = with_directory(RAW, {46 + 5 + 42: ("<L", 0)})

    assert refusal(raw).startswith(DAMAGED)


def test_what_another_program_wrote_is_refused() -> None:
    """With the same members, their dates differ."""
    assert re.fullmatch(
        re.escape(DAMAGED) + r"a difference within 35 bytes from byte 0 on\. .*",
        refusal(zipped(MEMBERS)),
    )


def test_members_in_another_order_are_refused() -> None:
    assert refusal(container.pack(dict(reversed(MEMBERS.items())))).startswith(DAMAGED)


def test_bytes_between_before_and_behind_are_refused() -> None:
    start = struct.unpack("<L", RAW[-6:-2])[0]
    between = bytearray(RAW[:start] + b"hidden" + RAW[start:])
    struct.pack_into("<L", between, len(between) - 6, start + 6)

    assert refusal(bytes(between)).startswith(DAMAGED)
    assert refusal(RAW + b"\0") == f"{DAMAGED}another end. {container.AGAIN}"
    assert refusal(b"PK\3\4" + RAW).startswith(DAMAGED)


def test_a_comment_is_refused() -> None:
    commented = RAW[:-2] + struct.pack("<H", 5) + b"hello"

    assert refusal(commented) == f"{DAMAGED}another end. {container.AGAIN}"


def test_a_directory_without_end_is_refused_before_it_is_read() -> None:
    assert refusal(container.pack({f"{number}.txt": b"" for number in range(65)})) == (
        f"x.siglum must list at most 64 members in 65,536 bytes, got 65 in 3,370. {container.AGAIN}"
    )
    huge = RAW[:-22] + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, 2**31, 0, 0)

    assert refusal(huge) == (
        "x.siglum must list at most 64 members in 65,536 bytes, got 3 in 2,147,483,648. "
        f"{container.AGAIN}"
    )
