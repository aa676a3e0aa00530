import gzip
import re
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import write_idx, write_idx_pair

from siglum.errors import DataError
from siglum.images import idx

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def fails(folder: Path, message: str, part: str = "train") -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        idx.load(folder, part, "idx:here")


def test_reads_what_was_written(tmp_path: Path) -> None:
    images, labels = write_idx_pair(tmp_path, "t10k", count=7, classes=3)

    found = idx.load(tmp_path, "test", "idx:here")

    np.testing.assert_array_equal(found.images, images[:, None])
    np.testing.assert_array_equal(found.labels, labels)
    assert found.classes == ("0", "1", "2")
    assert found.source == "idx:here"


def test_gzipped_and_dotted_names_are_read_the_same(tmp_path: Path) -> None:
    write_idx_pair(tmp_path)
    plain = idx.load(tmp_path, "train", "idx:here")
    for name in (IMAGES, LABELS):
        raw = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        (tmp_path / f"{name.replace('-idx', '.idx')}.gz").write_bytes(gzip.compress(raw))

    assert idx.load(tmp_path, "train", "idx:here").fingerprint == plain.fingerprint


def test_parts_are_those_with_images(tmp_path: Path) -> None:
    assert idx.parts(tmp_path) == ()
    write_idx_pair(tmp_path, "t10k")
    assert idx.parts(tmp_path) == ("test",)
    write_idx_pair(tmp_path, "emnist-digits-train")
    assert idx.parts(tmp_path, "emnist-digits-") == ("train",)


def test_missing_files_are_named(tmp_path: Path) -> None:
    message = f"{tmp_path} must hold {{}} or the same with .gz. Copy the IDX files there."

    fails(tmp_path, message.format(IMAGES))
    write_idx(tmp_path / IMAGES, np.zeros((2, 3, 4)))
    fails(tmp_path, message.format(LABELS))
    (tmp_path / LABELS).mkdir()
    fails(tmp_path, message.format(LABELS))


def test_truncated_file_says_how_many_bytes_are_missing(tmp_path: Path) -> None:
    path = write_idx(tmp_path / IMAGES, np.zeros((2, 3, 4)))
    path.write_bytes(path.read_bytes()[:-5])

    fails(tmp_path, f"{IMAGES} must hold 24 bytes for shape (2, 3, 4), got 19.")


def test_a_header_cut_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / IMAGES).write_bytes(b"\0\0\x08\3" + struct.pack(">IB", 2, 0))
    write_idx(tmp_path / LABELS, np.zeros(2))

    fails(tmp_path, f"{IMAGES} must not be empty, got shape (2, 0, 0).")


def test_a_count_above_the_file_is_not_believed(tmp_path: Path) -> None:
    """No buffer of that size may be made."""
    head = struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    (tmp_path / IMAGES).write_bytes(head + bytes(100))
    shape = (2**32 - 1,) * 3

    fails(tmp_path, f"{IMAGES} must hold {(2**32 - 1) ** 3} bytes for shape {shape}, got 100.")


def test_bytes_after_the_end_are_an_error(tmp_path: Path) -> None:
    path = write_idx(tmp_path / IMAGES, np.zeros((2, 3, 4)))
    path.write_bytes(path.read_bytes() + b"!")

    fails(tmp_path, f"{IMAGES} must hold 24 bytes for shape (2, 3, 4), got 25.")


@pytest.mark.parametrize(
    ("raw", "got"),
    [
        (b"", "nothing"),
        (b"\0\0\x08", "00 00 08"),
        (b"\0\0\x0d\3" + bytes(12), "00 00 0d 03"),
        (b"\0\0\x08\1" + bytes(12), "00 00 08 01"),
        (b"\x89PNG\r\n", "89 50 4e 47"),
    ],
)
def test_wrong_magic_shows_the_bytes(tmp_path: Path, raw: bytes, got: str) -> None:
    (tmp_path / IMAGES).write_bytes(raw)

    fails(tmp_path, f"{IMAGES} must start with 00 00 08 03 (IDX of bytes, 3 axes), got {got}.")


def test_gzip_in_gzip_and_gzip_without_its_ending_are_told(tmp_path: Path) -> None:
    path = write_idx(tmp_path / IMAGES, np.zeros((2, 3, 4)))
    once = gzip.compress(path.read_bytes())

    path.write_bytes(once)
    fails(tmp_path, f"{IMAGES} must hold IDX, got gzip. Unpack it once.")
    path.unlink()
    (tmp_path / f"{IMAGES}.gz").write_bytes(gzip.compress(once))
    fails(tmp_path, f"{IMAGES}.gz must hold IDX, got gzip. Unpack it once.")


@pytest.mark.parametrize("damage", ["cut", "crc", "body", "no gzip"])
def test_damaged_gzip_is_told(tmp_path: Path, damage: str) -> None:
    path = write_idx(tmp_path / IMAGES, np.random.RandomState(0).randint(0, 256, (20, 8, 8)))
    raw = bytearray(gzip.compress(path.read_bytes()))
    path.unlink()
    if damage == "cut":
        raw = raw[:-30]
    elif damage == "crc":
        raw[-6] ^= 1
    elif damage == "body":
        raw[200:260] = bytes(60)
    else:
        raw = bytearray(b"plain text")
    (tmp_path / f"{IMAGES}.gz").write_bytes(raw)

    message = rf"^{IMAGES}\.gz must be readable whole, got .+\. Copy it again\.$"
    with pytest.raises(DataError, match=message):
        idx.load(tmp_path, "train", "idx:here")


def test_images_and_labels_must_be_as_many(tmp_path: Path) -> None:
    write_idx(tmp_path / IMAGES, np.zeros((3, 2, 2)))
    write_idx(tmp_path / LABELS, np.zeros(2))

    fails(tmp_path, "train-labels must hold a label for each of 3 images, got 2.")


@pytest.mark.parametrize("shape", [(0, 28, 28), (3, 0, 0), (3, 28, 0)])
def test_images_must_have_pixels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    write_idx(tmp_path / IMAGES, np.zeros(shape))

    fails(tmp_path, f"{IMAGES} must not be empty, got shape {shape}.")


@given(st.binary(max_size=40) | st.binary(max_size=30).map(lambda raw: b"\0\0\x08\3" + raw))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_idx(folder / LABELS, np.zeros(1))
        (folder / IMAGES).write_bytes(raw)
        with suppress(DataError):
            assert len(idx.load(folder, "train", "idx:here")) == 1


def test_mnist_begins_as_published(data_folder: Path) -> None:
    train = idx.load(data_folder / "MNIST/raw", "train", "mnist")
    test = idx.load(data_folder / "MNIST/raw", "test", "mnist")

    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert (len(train), len(test), train.shape) == (60_000, 10_000, (1, 28, 28))
    assert train.counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert train.moments() == pytest.approx((0.1307, 0.3081), abs=1e-4)
