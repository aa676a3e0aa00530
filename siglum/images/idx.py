"""`idx:DIR`, `mnist`, `emnist-letters`, ...: MNIST-style files such as `train-images-idx3-ubyte`.

The test part has `t10k` for `train`; every file may be compressed with gzip. EMNIST's files are
known by their published names. Known sets are read from SIGLUM_DATA, or downloaded by torchvision.

Format: big-endian; two zero bytes, the type 0x08, the number of axes, one int32 per axis, then the
bytes. Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", file formats.
"""

import gzip
import importlib
import math
import struct
import warnings
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from siglum.errors import DataError
from siglum.files import data_dir, read_json
from siglum.images.cache import Arrays, Progress
from siglum.images.imageset import ImageSet

STEMS = {"train": "train", "test": "t10k"}
MAX_BYTES = 8 * 2**30  # of one file, unpacked
# By name: torchvision's class, EMNIST's split, and the class names by label.
KNOWN: dict[str, tuple[str, str, Sequence[str]]] = read_json(Path(__file__).with_name("idx.json"))


def parts(root: Path, prefix: str = "") -> tuple[str, ...]:
    """Return which of "train" and "test" have an images file in a folder."""
    return tuple(part for part in STEMS if _find(root, f"{prefix}{STEMS[part]}-images-idx3"))


def emnist_sets(root: Path) -> list[str]:
    """Return the EMNIST sets whose files are in a folder under their published names."""
    splits = {name: split for name, (_, split, _) in KNOWN.items() if split}
    return [name for name, split in splits.items() if parts(root, f"emnist-{split}-")]


def read(root: Path, spec: str, progress: Progress) -> Arrays:
    """Return functions that load the parts of a folder; classes are named by their numbers."""
    if names := emnist_sets(root):
        if len(names) > 1:
            remedy = "Copy the files of one into a folder of their own."
            raise DataError(f"{spec} has several sets: {', '.join(names)}. {remedy}")
        return read_known(root, names[0], progress)

    def load(part: str) -> ImageSet:
        images, labels = _load(root, STEMS[part])
        if _is_transposed(images, labels):
            problem = f"The digits of {spec} look transposed, as EMNIST's files store them."
            remedy = "Under the published names, emnist-...-images-idx3-ubyte.gz, they are upright."
            warnings.warn(f"{problem} {remedy}", stacklevel=2)
        values, numbers = np.unique(labels, return_inverse=True)
        return ImageSet.from_arrays(images, numbers, [str(value) for value in values], spec)

    return {part: partial(load, part) for part in parts(root) or ("train",)}


def read_known(place: Path, name: str, progress: Progress) -> Arrays:
    """Return functions that load the parts of a known set; what is missing is downloaded first."""
    set_name, split, classes = KNOWN[name]
    home = data_dir() or Path(platformdirs.user_data_dir("siglum"))
    folder = place if place.is_dir() else home / set_name / "raw"
    prefix = f"emnist-{split}-" if split else ""
    on_disk = parts(folder, prefix)

    def load(part: str) -> ImageSet:
        if part not in on_disk:
            _download(name, part, folder, prefix + STEMS[part])
        images, labels = _load(folder, prefix + STEMS[part])
        # EMNIST's files are transposed, and its letters count from 1.
        images = np.ascontiguousarray(images.transpose(0, 2, 1)) if split else images
        numbers = labels.astype(np.int64) - (split == "letters")
        return ImageSet.from_arrays(images, numbers, classes, name)

    return {part: partial(load, part) for part in on_disk or STEMS}


def _download(name: str, part: str, folder: Path, stem: str) -> None:
    set_name, split, _ = KNOWN[name]
    remedy = (
        f"Put {stem}-images-idx3-ubyte.gz and {stem}-labels-idx1-ubyte.gz into {folder}, or set "
        f"SIGLUM_DATA to the folder that holds {set_name}/raw."
    )
    try:
        datasets = importlib.import_module("torchvision.datasets")
        options = {"split": split} if split else {"train": part == "train"}
        getattr(datasets, set_name)(folder.parents[1], download=True, **options)
    except (ImportError, OSError, RuntimeError) as error:
        raise DataError(f"Cannot download {name} with torchvision: {error}. {remedy}") from None


def _load(root: Path, stem: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the images (N, H, W) and the labels (N,) of a part."""
    images, labels = _read(root, f"{stem}-images-idx3"), _read(root, f"{stem}-labels-idx1")
    if len(images) != len(labels):
        raise DataError(f"{root} has {len(images)} images of {stem}, but {len(labels)} labels.")
    return images, labels


def _is_transposed(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> bool:
    """Return whether the mean of each digit is wider than high, and above all that of the 1."""
    sizes = []
    for digit in range(10):
        if digit not in labels:
            return False
        mean = images[labels == digit][:500].mean(axis=0)
        ink = np.abs(mean - np.median(mean[[0, -1]])) + 1e-9
        profiles = ink.sum(axis=1), ink.sum(axis=0)
        sizes.append([np.cov(np.arange(len(p)), ddof=0, aweights=p) for p in profiles])
    height, width = np.array(sizes).T
    return bool((width > height).all() and width[1] > 2 * height[1])


def _find(root: Path, stem: str) -> Path | None:
    """Return a file here, in a folder of its own name, or in torchvision's `raw` folder."""
    name = f"{stem.replace('-idx', '[-.]idx')}-ubyte"
    for pattern in (name, f"{name}.gz", f"{name}/{name}", f"raw/{name}*", f"*/raw/{name}*"):
        paths = [path for path in root.glob(pattern) if path.is_file()]
        if len({path.parent for path in paths}) == 1:
            return min(paths)
    return None


def _read(root: Path, stem: str) -> NDArray[np.uint8]:
    path, axes = _find(root, stem), int(stem[-1])
    if path is None:
        names = f"{stem}-ubyte or {stem}-ubyte.gz"
        raise DataError(f"{root} has no file {names}. Copy the IDX files there.")
    try:
        with path.open("rb") as packed:
            compressed = packed.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as file:
            header = file.read(4 + 4 * axes).ljust(4 + 4 * axes, b"\0")
            shape = struct.unpack(f">{axes}I", header[4:])
            expected = math.prod(shape)
            data = file.read(min(expected, MAX_BYTES) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"Cannot read {path}: {error}. Copy it again.") from None
    if header[:4] != bytes((0, 0, 8, axes)) or not 0 < expected == len(data):
        problem = f"is not a whole IDX file of bytes with {axes} axes"
        raise DataError(f"{path} {problem}. Copy or download it again.")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
