import gzip
import re
import struct
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import write_idx, write_idx_pair

from siglum.errors import DataError
from siglum.images import idx, sources

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
HEAD = struct.pack(">4B3I", 0, 0, 8, 3, 2, 3, 4)  # of two images of 3 x 4 pixels


def fails(folder: Path, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        idx.load(folder, "train", "idx:here")


def test_reads_what_was_written(tmp_path: Path) -> None:
    images, labels = write_idx_pair(tmp_path, "t10k", count=7, classes=3)

    read = idx.load(tmp_path, "test", "idx:here")

    np.testing.assert_array_equal(read.images, images[:, None])
    np.testing.assert_array_equal(read.labels, labels)
    assert read.classes == ("0", "1", "2")
    assert read.source == "idx:here"


def plain(raw: bytes) -> bytes:
    return raw


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("{}", gzip.compress),  # by content, whatever the suffix
        ("{}.gz", gzip.compress),
        ("{}.gz", plain),
        ("dots", plain),
        ("{}/{}", plain),  # as some programs unpack
        ("raw/{}", plain),
        ("MNIST/raw/{}.gz", gzip.compress),
    ],
)
def test_usual_names_and_places_are_read(tmp_path: Path, name: str, pack: object) -> None:
    assert callable(pack)
    write_idx_pair(tmp_path / "plain")
    for file in (IMAGES, LABELS):
        path = name.format(file, file) if name != "dots" else file.replace("-idx", ".idx")
        (tmp_path / "set" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / path).write_bytes(pack((tmp_path / "plain" / file).read_bytes()))

    expected = idx.load(tmp_path / "plain", "train", "idx:here").fingerprint
    assert idx.load(tmp_path / "set", "train", "idx:here").fingerprint == expected
    assert sources.resolve(str(tmp_path / "set")) == f"idx:{tmp_path / 'set'}"


def test_parts_are_those_with_images(tmp_path: Path) -> None:
    assert idx.parts(tmp_path) == ()
    write_idx_pair(tmp_path, "t10k")
    assert idx.parts(tmp_path) == ("test",)
    write_idx_pair(tmp_path, "emnist-digits-train")
    assert idx.parts(tmp_path, "emnist-digits-") == ("train",)


def test_labels_are_one_per_image_and_may_begin_at_one(tmp_path: Path) -> None:
    write_idx_pair(tmp_path, first_label=1)
    assert idx.load(tmp_path, "train", "idx:here").classes == ("1", "2", "3")

    write_idx(tmp_path / LABELS, np.zeros(2))
    fails(tmp_path, f"{tmp_path} has 6 images of train, but 2 labels.")


def test_missing_files_are_named(tmp_path: Path) -> None:
    fails(tmp_path, f"{tmp_path} has no file {IMAGES} or {IMAGES}.gz. Copy the IDX files there.")
    write_idx(tmp_path / IMAGES, np.zeros((2, 3, 4)))
    fails(tmp_path, f"{tmp_path} has no file {LABELS} or {LABELS}.gz.")
    (tmp_path / IMAGES).rename(tmp_path / f"emnist-digits-{IMAGES}")
    fails(
        tmp_path, f"{tmp_path} has no file {IMAGES} or {IMAGES}.gz. For EMNIST's files use emnist"
    )


def test_a_bomb_is_read_only_as_far_as_its_header_says(tmp_path: Path) -> None:
    """6 GB of zeros in a gzip file would fill the memory."""
    import resource

    (tmp_path / f"{IMAGES}.gz").write_bytes(gzip.compress(HEAD + bytes(2**29), 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    fails(tmp_path, f"{tmp_path / IMAGES}.gz has more than 24 bytes for shape (2, 3, 4), not 24.")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17  # KiB


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (HEAD + bytes(19), "has 19 bytes for shape (2, 3, 4), not 24. Copy it again."),
        (HEAD + bytes(25), "has more than 24 bytes for shape (2, 3, 4), not 24. Copy it again."),
        (HEAD[:4] + b"\xff" * 12 + bytes(100), "has 100 bytes for shape (4294967295, 42949672"),
        (HEAD[:12] + bytes(4), "has 0 bytes for shape (2, 3, 0), not 0."),
        (b"", "is not IDX of bytes with 3 axes, it starts with nothing. Download it again."),
        (b"\0\0\x0d\3" + bytes(12), "is not IDX of bytes with 3 axes, it starts with 00 00 0d 03."),
        (b"<html>404", "is not IDX of bytes with 3 axes but a web page"),
        (
            gzip.compress(gzip.compress(bytes(99))),
            "is not IDX of bytes with 3 axes, it starts with",
        ),
    ],
    ids=["short", "long", "huge", "no pixels", "empty", "floats", "web page", "gzip twice"],
)
def test_other_files_are_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / IMAGES).write_bytes(raw)

    fails(tmp_path, f"{tmp_path / IMAGES} {message}")


@pytest.mark.parametrize("damage", ["cut", "crc", "body"])
def test_damaged_gzip_is_refused(tmp_path: Path, damage: str) -> None:
    path = write_idx(tmp_path / IMAGES, np.random.RandomState(0).randint(0, 256, (20, 8, 8)))
    raw = bytearray(gzip.compress(path.read_bytes()))
    if damage == "cut":
        raw = raw[:-30]
    elif damage == "crc":
        raw[-6] ^= 1
    else:
        raw[200:260] = bytes(60)
    path.write_bytes(raw)

    with pytest.raises(DataError, match=rf"^{re.escape(str(path))} has|^Cannot read .* Copy it"):
        idx.load(tmp_path, "train", "idx:here")


@given(st.binary(max_size=40) | st.binary(max_size=30).map(lambda raw: b"\0\0\x08\3" + raw))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_idx(folder / LABELS, np.zeros(1))
        (folder / IMAGES).write_bytes(raw)
        with suppress(DataError):
            assert len(idx.load(folder, "train", "idx:here")) == 1


def write_digits(folder: Path, transpose: bool, light: bool) -> Path:
    digits = sources.load("mnist5k", "test")
    images = digits.images[:, 0].transpose(0, 2, 1) if transpose else digits.images[:, 0]
    write_idx(folder / IMAGES, 255 - images if light else images)
    write_idx(folder / LABELS, digits.labels)
    return folder


@pytest.mark.parametrize("light", [False, True])
def test_transposed_digits_are_warned_of(tmp_path: Path, light: bool) -> None:
    """EMNIST stores its images so, and is used under MNIST's file names."""
    idx.load(write_digits(tmp_path / "upright", False, light), "train", "idx:here")
    with pytest.warns(UserWarning, match=r"look transposed, as EMNIST's files.*emnist-digits"):
        idx.load(write_digits(tmp_path / "transposed", True, light), "train", "idx:here")


def test_other_sets_are_not_taken_for_transposed_digits(data_folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("FashionMNIST", "KMNIST", "MNIST"):
            idx.load(data_folder / name / "raw", "test", name)


def test_mnist_begins_as_published(data_folder: Path) -> None:
    train = idx.load(data_folder / "MNIST/raw", "train", "mnist")
    test = idx.load(data_folder / "MNIST/raw", "test", "mnist")

    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert (len(train), len(test), train.shape) == (60_000, 10_000, (1, 28, 28))
    assert train.counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert train.moments() == pytest.approx((0.1307, 0.3081), abs=1e-4)
