"""`mnist`, `fashion-mnist`, `kmnist`, `emnist-*`: sets that torchvision knows how to fetch.

Where the IDX files lie under SIGLUM_DATA already they are read as they are, without torchvision;
otherwise its loaders download them and check their sums.
"""

import importlib
import os
from pathlib import Path

import numpy as np
import platformdirs

from siglum.errors import DataError, MissingExtra
from siglum.images import idx
from siglum.images.imageset import ImageSet

_DIGITS = tuple("0123456789")
_UPPER = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER = tuple("abcdefghijklmnopqrstuvwxyz")
_MERGED = tuple("abdefghnqrt")  # small letters that do not look like their capitals
_FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

# name -> torchvision's class, EMNIST's split, and the class names by label
SETS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "mnist": ("MNIST", "", _DIGITS),
    "fashion-mnist": ("FashionMNIST", "", _FASHION),
    "kmnist": ("KMNIST", "", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
    "emnist-byclass": ("EMNIST", "byclass", _DIGITS + _UPPER + _LOWER),
    "emnist-bymerge": ("EMNIST", "bymerge", _DIGITS + _UPPER + _MERGED),
    "emnist-balanced": ("EMNIST", "balanced", _DIGITS + _UPPER + _MERGED),
    "emnist-letters": ("EMNIST", "letters", _UPPER),
    "emnist-digits": ("EMNIST", "digits", _DIGITS),
    "emnist-mnist": ("EMNIST", "mnist", _DIGITS),
}


def root() -> Path:
    """Return the folder where sets lie: SIGLUM_DATA, or the user's data folder."""
    return Path(os.environ.get("SIGLUM_DATA") or platformdirs.user_data_dir("siglum"))


def parts(name: str) -> tuple[str, ...]:
    """Return the parts that are there; both when nothing is, since both can be fetched."""
    set_name, split, _ = SETS[name]
    return idx.parts(root() / set_name / "raw", _prefix(split)) or ("train", "test")


def load(name: str, part: str) -> ImageSet:
    """Read one part of the set called `name`, fetching it first where it is not there.

    Raises:
        DataError: if it is not there and cannot be fetched; says which files to put where.
        MissingExtra: if it is not there and torchvision is not installed.
    """
    set_name, split, classes = SETS[name]
    raw, prefix = root() / set_name / "raw", _prefix(split)
    if part not in idx.parts(raw, prefix):
        _fetch(name, part, set_name, split, raw)
    images = idx.load(raw, part, name, prefix)
    if not split:
        return ImageSet.from_arrays(images.store, images.labels, classes, name)
    labels = images.labels - 1 if split == "letters" else images.labels
    upright = np.ascontiguousarray(images.store.transpose(0, 1, 3, 2))  # EMNIST lies on its side
    return ImageSet.from_arrays(upright, labels, classes, name)


def _prefix(split: str) -> str:
    return f"emnist-{split}-" if split else ""


def _fetch(name: str, part: str, set_name: str, split: str, raw: Path) -> None:
    stem = f"{_prefix(split)}{idx.STEMS[part]}"
    files = f"{stem}-images-idx3-ubyte.gz and {stem}-labels-idx1-ubyte.gz"
    remedy = f"Put {files} into {raw}, or set SIGLUM_DATA to the folder that holds {set_name}/raw."
    try:
        datasets = importlib.import_module("torchvision.datasets")
    except ImportError:
        raise MissingExtra(
            f"{name} must be in {raw}, or torchvision must be installed to fetch it. {remedy}"
        ) from None
    options = {"split": split} if split else {"train": part == "train"}
    try:
        getattr(datasets, set_name)(root(), download=True, **options)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{name} must be fetched, and that failed ({error}). {remedy}") from None
