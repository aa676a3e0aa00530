"""Small files for the tests of this folder: pictures, folders, archives and IDX files."""

import io
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Files = Mapping[str, bytes] | Iterable[tuple[str, bytes]]


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return the bytes of a picture file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def sign(value: int) -> NDArray[np.uint8]:
    """Return a light block of `value` on black: uint8 (28, 28), which no fitting changes."""
    pixels = np.zeros((28, 28), dtype=np.uint8)
    pixels[8:20, 8:20] = value
    return pixels


def png(value: int) -> bytes:
    return encoded(Image.fromarray(sign(value)))


SIGNS = {"a/0.png": png(10), "a/1.png": png(20), "b/0.png": png(30), "b/1.png": png(40)}
VALUES = [10, 20, 30, 40]


def write_folder(folder: Path, files: Files = SIGNS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in dict(files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    return folder


def write_zip(path: Path, files: Files = SIGNS, **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, raw in files.items() if isinstance(files, Mapping) else files:
            archive.writestr(name, raw)
    return path


def write_tar(path: Path, files: Files = SIGNS, mode: str = "w", **options: Any) -> Path:
    with tarfile.open(path, mode, **options) as archive:  # type: ignore[call-overload]
        for name, raw in files.items() if isinstance(files, Mapping) else files:
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def write_idx(path: Path, values: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())
    return path


def write_idx_pair(
    folder: Path, stem: str = "train", *, count: int = 6, classes: int = 3, first_label: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Write images and labels; return them: uint8 (N, 28, 28) and uint8 (N,)."""
    random = np.random.RandomState(count)
    images = random.randint(0, 256, (count, 28, 28)).astype(np.uint8)
    images[:, [0, -1]] = images[:, :, [0, -1]] = 0  # a dark border, so that nothing is inverted
    labels = (np.arange(count) % classes + first_label).astype(np.uint8)
    write_idx(folder / f"{stem}-images-idx3-ubyte", images)
    write_idx(folder / f"{stem}-labels-idx1-ubyte", labels)
    return images, labels
