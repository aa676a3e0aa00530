"""`idx:DIR`: MNIST-style files, `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`.

The test part has `t10k` for `train`; every file may be compressed with gzip.
Format: big-endian; two zero bytes, the type 0x08, the number of axes, one int32 per axis, then the
bytes. Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", file formats.
"""

import gzip
import math
import struct
import warnings
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siglum.errors import DataError, choose
from siglum.images.decode import NOT_AN_IMAGE, explain, has_light_background
from siglum.images.imageset import ImageSet

STEMS = {"train": "train", "test": "t10k"}
MAX_BYTES = 8 * 2**30  # of one file, unpacked
MNIST_MEANS = (  # of each digit at 7 x 7 pixels, row by row, in sixteenths
    "0000000003ab3002ba9a006b24b10983a7005dd8100011000000000000056100009700000e200003d10000681000000000"
    "0001100017b9200144a300138a2005cea5104a764000000000000000027b8100148b20006db200223a4004ac9100011000"
    "00000000022430028494004d9e30026ba100026510000110000000000037851018953101aa6100235830039b7100011000"
    "00022000038510017821002b9a6002dcc50005a51000000000000000012331004bbe400233c200019810004a3000034100"
    "0000000003a9300198a60017f910019b71002ac71000121000000000001651001a8b3003b9e10014991000285100023200"
)


def parts(root: Path, prefix: str = "") -> tuple[str, ...]:
    """Return which of "train" and "test" have an images file in a folder."""
    return tuple(part for part in STEMS if _find(root, f"{prefix}{STEMS[part]}-images-idx3"))


def load(root: Path, part: str, source: str, prefix: str = "") -> ImageSet:
    """Read one part; classes are named by their numbers, files may have a prefix."""
    stem = f"{prefix}{choose(STEMS, part, 'part')}"
    images = _read(root, f"{stem}-images-idx3")  # (N, H, W)
    labels = _read(root, f"{stem}-labels-idx1")  # (N,)
    if len(images) != len(labels):
        raise DataError(f"{root} has {len(images)} images of {stem}, but {len(labels)} labels.")
    if not prefix and _is_transposed(images, labels):
        warnings.warn(
            f"The digits of {source} look transposed, as EMNIST's files store them. The sources "
            "emnist-digits, emnist-letters, ... turn them upright.",
            stacklevel=2,
        )
    values, numbers = np.unique(labels, return_inverse=True)
    return ImageSet.from_arrays(images, numbers, [str(value) for value in values], source)


def _is_transposed(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> bool:
    """Compare the means of the digits with MNIST's, upright and transposed."""
    means = []
    for digit in range(10):
        rows = np.flatnonzero(labels == digit)[:500]
        if not len(rows):
            return False
        mean = Image.fromarray(images[rows].mean(axis=0, dtype=np.float32))
        means.append(np.asarray(mean.resize((7, 7), Image.Resampling.BOX)))
    differences = np.stack(means) - np.mean(means, axis=0)
    if has_light_background(images[:500, None]).mean() > 0.5:
        differences = -differences
    mnist = np.array([int(digit, 16) for digit in MNIST_MEANS]).reshape(10, 7, 7)
    mnist = mnist - mnist.mean(axis=0)
    size = np.linalg.norm(mnist) * max(float(np.linalg.norm(differences)), 1e-9)
    upright = (mnist * differences).sum() / size
    transposed = (mnist * differences.transpose(0, 2, 1)).sum() / size
    return bool(transposed > max(0.35, upright + 0.2))


def _find(root: Path, stem: str) -> Path | None:
    """Return a file here, in a folder of its own name, or in torchvision's `raw` folder."""
    name = f"{stem.replace('-idx', '[-.]idx')}-ubyte"
    for pattern in (name, f"{name}.gz", f"{name}/{name}", f"raw/{name}*", f"*/raw/{name}*"):
        paths = [path for path in root.glob(pattern) if path.is_file()]
        if len({path.parent for path in paths}) == 1:
            return min(paths)
    return None


def _read(root: Path, stem: str) -> NDArray[np.uint8]:
    path = _find(root, stem)
    if path is None:
        remedy = "Copy the IDX files there."
        if any(root.glob("emnist-*")):
            remedy = "For EMNIST's files use emnist-digits, emnist-letters, ... as the source."
        raise DataError(f"{root} has no file {stem}-ubyte or {stem}-ubyte.gz. {remedy}")
    facts = path.stat()
    return _array(path, int(stem[-1]), (facts.st_size, facts.st_mtime_ns))


@lru_cache(maxsize=4)  # a study opens the same set for each of its runs
def _array(path: Path, axes: int, version: tuple[int, int]) -> NDArray[np.uint8]:
    try:
        with path.open("rb") as packed:
            compressed = packed.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as file:
            header = file.read(4 + 4 * axes)
            if header[:4] != bytes((0, 0, 8, axes)):
                reason = explain(header + file.read(1000))
                raise DataError(
                    f"{path} is not IDX of bytes with {axes} axes"
                    f"{'' if reason in ('', NOT_AN_IMAGE) else f' but {reason}'}, "
                    f"it starts with {header[:4].hex(' ') or 'nothing'}. Download it again."
                )
            shape = struct.unpack(f">{axes}I", header[4:].ljust(4 * axes, b"\0"))
            expected = math.prod(shape)
            data = file.read(min(expected, MAX_BYTES) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"Cannot read {path}: {error}. Copy it again.") from None
    if not 0 < expected == len(data):
        size = f"{len(data):,}" if len(data) <= expected else f"more than {expected:,}"
        raise DataError(
            f"{path} has {size} bytes for shape {shape}, not {expected:,}. Copy it again."
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
