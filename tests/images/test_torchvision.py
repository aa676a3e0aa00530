import re
import sys
from pathlib import Path

import numpy as np
import pytest
from making import write_idx_pair

from siglum.errors import DataError, MissingExtra
from siglum.images import sources, torchvision


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that SIGLUM_DATA names."""
    monkeypatch.setenv("SIGLUM_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "count"),
    [
        *(("mnist", 10), ("fashion-mnist", 10), ("kmnist", 10), ("emnist-mnist", 10)),
        *(("emnist-byclass", 62), ("emnist-bymerge", 47), ("emnist-balanced", 47)),
        *(("emnist-letters", 26), ("emnist-digits", 10)),
    ],
)
def test_every_set_has_as_many_classes_as_published(name: str, count: int) -> None:
    classes = torchvision.SETS[name][2]

    assert len(classes) == len(set(classes)) == count


def test_emnist_has_torchvisions_classes() -> None:
    """`letters` has 26 there too, behind a first one that is not used."""
    datasets = pytest.importorskip("torchvision.datasets")
    for name, (_, split, classes) in torchvision.SETS.items():
        if split and split != "letters":
            assert list(classes) == datasets.EMNIST.classes_split_dict[split], name


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_files_that_lie_there_are_read_as_they_are(root: Path, name: str) -> None:
    set_name, _, classes = torchvision.SETS[name]
    written, labels = write_idx_pair(root / set_name / "raw", "t10k", classes=10, count=12)

    found = torchvision.load(name, "test")

    np.testing.assert_array_equal(found.images[:, 0], written)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.classes == classes
    assert found.source == name


def test_emnist_is_stood_upright(root: Path) -> None:
    """Its files hold every picture with rows and columns exchanged."""
    written, labels = write_idx_pair(root / "EMNIST/raw", "emnist-digits-train", side=5)

    found = torchvision.load("emnist-digits", "train")

    np.testing.assert_array_equal(found.images[:, 0], written.transpose(0, 2, 1))
    np.testing.assert_array_equal(found.labels, labels)


def test_letters_count_from_one(root: Path) -> None:
    write_idx_pair(root / "EMNIST/raw", "emnist-letters-t10k", count=26, classes=26, first_label=1)

    found = torchvision.load("emnist-letters", "test")

    assert [found.classes[label] for label in found.labels] == list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_a_failed_download_names_the_files_and_their_folder(tmp_path: Path, monkeypatch) -> None:
    """A file in the way of the folder: torchvision fails before it looks for the network."""
    pytest.importorskip("torchvision.datasets")
    (tmp_path / "data").write_text("")
    monkeypatch.setenv("SIGLUM_DATA", str(tmp_path / "data"))
    raw, stem = tmp_path / "data/EMNIST/raw", "emnist-letters-train"

    message = (
        f"Cannot download emnist-letters: [Errno 20] Not a directory: '{raw.parent}'. Put "
        f"{stem}-images-idx3-ubyte.gz and {stem}-labels-idx1-ubyte.gz into {raw}, or set "
        "SIGLUM_DATA to the folder that holds EMNIST/raw."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        torchvision.load("emnist-letters", "train")


def test_without_torchvision_it_says_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)

    message = (
        f"kmnist is not in {root}/KMNIST/raw, and torchvision, which downloads it, is not "
        "installed. Put t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz into "
        f"{root}/KMNIST/raw, or set SIGLUM_DATA to the folder that holds KMNIST/raw."
    )
    with pytest.raises(MissingExtra, match=f"^{re.escape(message)}$"):
        torchvision.load("kmnist", "test")


def test_fashion_is_not_inverted(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bag or a coat reaches the border, and is not paper for that."""
    monkeypatch.setenv("SIGLUM_DATA", str(data_folder))
    raw = torchvision.load("fashion-mnist", "train")

    found = sources.load("fashion-mnist", "train")

    assert found.fingerprint == raw.fingerprint
    assert found.moments() == pytest.approx((0.2860, 0.3530), abs=1e-4)
    assert found.counts.tolist() == [6000] * 10
    first = [found.classes[label] for label in sources.load("fashion-mnist", "test").labels[:3]]
    assert first == ["Ankle boot", "Pullover", "Trouser"]
