"""`idx:DIR`: MNIST-style files, `train-images-idx3-ubyte` beside `train-labels-idx1-ubyte`.

The test part has `t10k` for `train`; every file may be gzipped.
Format: big-endian; two zero bytes, the type 0x08, the number of axes, one int32 an axis, then the
bytes. Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", file formats.
"""

import gzip
import math
import struct
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from siglum.errors import DataError
from siglum.images.imageset import ImageSet

STEMS = {"train": "train", "test": "t10k"}


def parts(root: Path, prefix: str = "") -> tuple[str, ...]:
    """Return which of "train" and "test" have an images file in `root`."""
    return tuple(
        part for part in STEMS if _find(root, f"{prefix}{STEMS[part]}", "images") is not None
    )


def load(root: Path, part: str, source: str, prefix: str = "") -> ImageSet:
    """Read one part from `root`; classes are named by their numbers.

    Args:
        prefix: what the file names begin with, such as "emnist-letters-".

    Raises:
        DataError: if a file is missing, truncated, or not IDX of unsigned bytes, or if images
            and labels differ in number.
    """
    stem = f"{prefix}{STEMS[part]}"
    images = _read(root, stem, "images", axes=3)  # (N, H, W)
    labels = _read(root, stem, "labels", axes=1)  # (N,)
    if len(images) != len(labels):
        raise DataError(
            f"{stem}-labels must hold a label for each of {len(images)} images, got {len(labels)}."
        )
    names = tuple(str(label) for label in range(int(labels.max()) + 1))
    return ImageSet.from_arrays(images, labels, names, source)


def _find(root: Path, stem: str, kind: str) -> Path | None:
    axes = {"images": 3, "labels": 1}[kind]
    names = [f"{stem}-{kind}{joint}idx{axes}-ubyte" for joint in "-."]
    paths = [root / f"{name}{end}" for name in names for end in ("", ".gz")]
    return next((path for path in paths if path.is_file()), None)


def _read(root: Path, stem: str, kind: str, axes: int) -> NDArray[np.uint8]:
    path = _find(root, stem, kind)
    if path is None:
        raise DataError(
            f"{root} must hold {stem}-{kind}-idx{axes}-ubyte or the same with .gz. "
            "Copy the IDX files there."
        )
    facts = path.stat()
    return _array(path, axes, (facts.st_size, facts.st_mtime_ns))


@lru_cache(maxsize=4)  # a study opens the same set for each of its runs
def _array(path: Path, axes: int, version: tuple[int, int]) -> NDArray[np.uint8]:
    """Read a file, once for each `version` of it; the array cannot be written to."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4)
            if head[:2] == b"\x1f\x8b":
                raise DataError(f"{path.name} must hold IDX, got gzip. Unpack it once.")
            if head != bytes((0, 0, 8, axes)):
                raise DataError(
                    f"{path.name} must start with 00 00 08 {axes:02d} (IDX of bytes, {axes} axes), "
                    f"got {head.hex(' ') or 'nothing'}."
                )
            shape = struct.unpack(f">{axes}I", file.read(4 * axes).ljust(4 * axes, b"\0"))
            expected = math.prod(shape)
            raw = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path.name} must be readable whole, got {error}. Copy it again."
        ) from None
    if not expected:
        raise DataError(f"{path.name} must not be empty, got shape {shape}.")
    if len(raw) != expected:
        raise DataError(
            f"{path.name} must hold {expected} bytes for shape {shape}, got {len(raw)}."
        )
    return np.frombuffer(raw, dtype=np.uint8).reshape(shape)
