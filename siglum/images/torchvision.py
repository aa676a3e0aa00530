"""`mnist`, `fashion-mnist`, `kmnist`, `emnist-*`: sets that torchvision can download.

IDX files that are in SIGLUM_DATA already are read without torchvision.
"""

import importlib
from pathlib import Path

import numpy as np
import platformdirs

from siglum.errors import DataError, MissingExtra, choose
from siglum.files import data_dir
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


def parts(name: str) -> tuple[str, ...]:
    """Return the parts on disk; both where there is none, since both can be downloaded."""
    raw, prefix = _place(name)
    return idx.parts(raw, prefix) or ("train", "test")


def load(name: str, part: str) -> ImageSet:
    """Read one part of the set called `name`, downloading it first where it is not on disk."""
    raw, prefix = _place(name)
    choose(idx.STEMS, part, "part")
    if part not in idx.parts(raw, prefix):
        _download(name, part, raw, prefix)
    images = idx.load(raw, part, name, prefix)
    _, split, classes = SETS[name]
    labels = np.array([int(label) for label in images.classes])[images.labels]
    if split == "letters":
        labels = labels - 1
    # EMNIST's files are transposed.
    store = np.ascontiguousarray(images.store.transpose(0, 1, 3, 2)) if split else images.store
    return ImageSet.from_arrays(store, labels, classes, name)


def _place(name: str) -> tuple[Path, str]:
    set_name, split, _ = SETS[name]
    root = data_dir() or Path(platformdirs.user_data_dir("siglum"))
    return root / set_name / "raw", f"emnist-{split}-" if split else ""


def _download(name: str, part: str, raw: Path, prefix: str) -> None:
    set_name, split, _ = SETS[name]
    stem = f"{prefix}{idx.STEMS[part]}"
    remedy = (
        f"Put {stem}-images-idx3-ubyte.gz and {stem}-labels-idx1-ubyte.gz into {raw}, or set "
        f"SIGLUM_DATA to the folder that holds {set_name}/raw."
    )
    try:
        datasets = importlib.import_module("torchvision.datasets")
    except ImportError:
        raise MissingExtra(
            f"{name} is not in {raw}, and torchvision, which downloads it, is not installed. "
            f"{remedy}"
        ) from None
    options = {"split": split} if split else {"train": part == "train"}
    try:
        getattr(datasets, set_name)(raw.parents[1], download=True, **options)
    except (OSError, RuntimeError) as error:
        raise DataError(f"Cannot download {name}: {error}. {remedy}") from None
