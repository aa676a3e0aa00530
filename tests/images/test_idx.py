import gzip
import re
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from making import little_memory, write_idx, write_idx_pair, write_zeros

from siglum.errors import DataError
from siglum.images import idx, sources

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
HEAD = struct.pack(">4B3I", 0, 0, 8, 3, 2, 3, 4)  # of two images of 3 x 4 pixels


def fails(folder: Path, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        sources.load(f"idx:{folder}")


def test_reads_what_was_written(tmp_path: Path) -> None:
    images, labels = write_idx_pair(tmp_path, "t10k", count=7, classes=3, first_label=1)

    read = sources.load(f"idx:{tmp_path}", "test")

    np.testing.assert_array_equal(read.images, images[:, None])
    np.testing.assert_array_equal(read.labels, labels - 1)
    assert read.classes == ("1", "2", "3")
    assert sources.parts(f"idx:{tmp_path}") == ("test",)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("{}", gzip.compress),  # by content, whatever the suffix
        ("{}.gz", gzip.compress),
        ("{}.gz", bytes),
        ("dots", bytes),
        ("{}/{}", bytes),  # as some programs unpack
        ("raw/{}", bytes),
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

    expected = sources.load(f"idx:{tmp_path / 'plain'}").fingerprint
    read = sources.load(str(tmp_path / "set"))
    assert (read.fingerprint, read.source) == (expected, f"idx:{tmp_path / 'set'}")


def test_missing_files_and_labels_are_named(tmp_path: Path) -> None:
    fails(tmp_path, f"{tmp_path} has no file {IMAGES} or {IMAGES}.gz. Copy the IDX files there.")
    write_idx(tmp_path / IMAGES, np.zeros((2, 3, 4)))
    fails(tmp_path, f"{tmp_path} has no file {LABELS} or {LABELS}.gz.")
    write_idx(tmp_path / LABELS, np.zeros(3))
    fails(tmp_path, f"{tmp_path} has 2 images of train, but 3 labels.")
    (tmp_path / IMAGES).rename(tmp_path / f"emnist-digits-{IMAGES}")
    fails(tmp_path, f"{tmp_path} has no file emnist-digits-{LABELS} or emnist-digits-{LABELS}.gz.")


def test_a_bomb_is_read_only_as_far_as_its_header_says(tmp_path: Path) -> None:
    write_zeros(tmp_path / f"{IMAGES}.gz", HEAD)
    with little_memory():
        fails(tmp_path, f"{tmp_path / IMAGES}.gz is not a whole IDX file")


@pytest.mark.parametrize(
    "raw",
    [
        *(HEAD + bytes(19), HEAD + bytes(25), HEAD[:4] + b"\xff" * 12 + bytes(100)),
        *(HEAD[:12] + bytes(4), b"", b"\0\0\x0d\3" + bytes(12), b"<html>404"),
        *(gzip.compress(gzip.compress(bytes(99))), gzip.compress(HEAD + bytes(24))[:-30]),
        gzip.compress(HEAD + bytes(24))[:-6] + bytes(6),
    ],
    ids=[
        *("short", "long", "huge", "no pixels", "empty", "floats", "web page", "gzip twice"),
        *("gzip cut", "checksum"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / IMAGES).write_bytes(raw)

    with pytest.raises(DataError, match=rf"{IMAGES}( is not a whole IDX file|: .* Copy it again)"):
        sources.load(f"idx:{tmp_path}")


def write_digits(folder: Path, transpose: bool, light: bool) -> str:
    digits = sources.load("mnist5k", "test")
    images = digits.images[:, 0].transpose(0, 2, 1) if transpose else digits.images[:, 0]
    write_idx(folder / IMAGES, 255 - images if light else images)
    write_idx(folder / LABELS, digits.labels)
    return f"idx:{folder}"


@pytest.mark.parametrize("light", [False, True])
def test_transposed_digits_are_warned_of(tmp_path: Path, light: bool) -> None:
    """EMNIST stores its images so, and is used under MNIST's file names."""
    sources.load(write_digits(tmp_path / "upright", False, light))
    with pytest.warns(UserWarning, match=r"look transposed, as EMNIST's files.*published names"):
        sources.load(write_digits(tmp_path / "transposed", True, light))


def test_other_sets_are_not_taken_for_transposed_digits(data_folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("FashionMNIST", "KMNIST", "MNIST"):
            sources.load(f"idx:{data_folder / name / 'raw'}", "test")


# Known sets


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that SIGLUM_DATA names."""
    monkeypatch.setenv("SIGLUM_DATA", str(tmp_path))
    return tmp_path


def test_known_sets_have_the_classes_of_torchvision() -> None:
    """`letters` has 26 there too, after a first one that is not used."""
    datasets = pytest.importorskip("torchvision.datasets")
    counts = {name: len({*classes}) for name, (_, _, classes) in idx.KNOWN.items()}

    assert [*counts.values()] == [10, 10, 10, 62, 47, 47, 26, 10, 10]
    for name, (_, split, classes) in idx.KNOWN.items():
        if split and split != "letters":
            assert list(classes) == datasets.EMNIST.classes_split_dict[split], name


@pytest.mark.parametrize("spec", ["emnist-letters", "EMNIST/raw"])
def test_emnist_is_stood_upright_and_its_letters_count_from_one(root: Path, spec: str) -> None:
    """By its name, and by its files' names, which hold rows and columns exchanged."""
    folder, stem = root / "EMNIST/raw", "emnist-letters-t10k"
    written, _ = write_idx_pair(folder, stem, count=26, classes=26, first_label=1)

    read = sources.load(spec, "test")

    np.testing.assert_array_equal(read.images[:, 0], written.transpose(0, 2, 1))
    assert "".join(read.classes[label] for label in read.labels) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    write_idx_pair(folder, "emnist-digits-train")
    fails(folder, f"idx:{folder} has several sets: emnist-letters, emnist-digits. Copy the")


def test_a_failed_download_names_the_files_and_their_folder(tmp_path: Path, monkeypatch) -> None:
    """A file in the way of the folder: torchvision fails before it looks for the network."""
    pytest.importorskip("torchvision.datasets")
    (tmp_path / "data").write_text("")
    monkeypatch.setenv("SIGLUM_DATA", str(tmp_path / "data"))
    raw, stem = tmp_path / "data/EMNIST/raw", "emnist-letters-train"

    remedy = (
        f"Put {stem}-images-idx3-ubyte.gz and {stem}-labels-idx1-ubyte.gz into {raw}, or set "
        "SIGLUM_DATA to the folder that holds EMNIST/raw."
    )
    with pytest.raises(DataError, match=rf"^Cannot download emnist-letters .*{re.escape(remedy)}"):
        sources.load("emnist-letters", "train")
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(DataError, match=f"with torchvision: .* {re.escape(remedy)}$"):
        sources.load("emnist-letters", "train")


def test_fashion_is_not_inverted(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bag or a coat reaches the border, and is not paper for that."""
    monkeypatch.setenv("SIGLUM_DATA", str(data_folder))

    read = sources.load("fashion-mnist", "train")

    assert read.moments() == pytest.approx((0.2860, 0.3530), abs=1e-4)
    assert read.counts.tolist() == [6000] * 10
    first = [read.classes[label] for label in sources.load("fashion-mnist", "test").labels[:3]]
    assert first == ["Ankle boot", "Pullover", "Trouser"]
