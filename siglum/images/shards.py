"""Shards: preprocessed images in Parquet files, for sets that are larger than memory or the disk.

A file `PART-NUMBER.shard.parquet` has the columns image, the bytes of uint8 (C, H, W), and label;
its metadata holds the settings of the input. A folder may hold those of several exports, and be
where pyarrow reads: s3://, gs://.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siglum.config import InputSettings, Preprocess, build
from siglum.errors import ConfigError, DataError, require_extra
from siglum.files import parse_json, reading
from siglum.images.cache import Progress
from siglum.images.imageset import ImageSet

SHARD_BYTES = 32 * 2**20  # of images in a file
WINDOW = 4  # shards in memory, whose images are shuffled together
NAME = re.compile(r"(train|val|test|all)-\d+\.shard\.parquet")
KEY = b"siglum"  # of the metadata


class Shards:
    """Images (N, C, H, W) that are read a file at a time; the last few files stay in memory."""

    dtype, ndim, nbytes = np.dtype(np.uint8), 4, 0

    def __init__(self, source: str, files: Sequence[Any], preprocess: Preprocess) -> None:
        self.source, self.files, self.preprocess = source, files, preprocess
        self.starts = np.cumsum([0, *(file.count_rows() for file in files)])
        self.shape = (int(self.starts[-1]), preprocess.planes, preprocess.size, preprocess.size)
        self._recent: dict[int, NDArray[np.uint8]] = {}  # the least recently used is the first

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        images, numbers = np.empty((len(rows), *self.shape[1:]), np.uint8), self._numbers(rows)
        for number in np.unique(numbers).tolist():
            inside = numbers == number
            images[inside] = self._shard(number)[rows[inside] - self.starts[number]]
        return images

    def _numbers(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self.starts, rows, side="right") - 1

    def _shard(self, number: int) -> NDArray[np.uint8]:
        shard = self._recent.pop(number, None)
        if shard is None:
            while len(self._recent) >= WINDOW:
                del self._recent[next(iter(self._recent))]
            with reading(self.source, ValueError):
                chunks = self.files[number].to_table(columns=["image"])["image"].chunks
            pixels = [np.frombuffer(chunk.buffers()[1], np.uint8) for chunk in chunks]
            shard = np.concatenate(pixels).reshape(-1, *self.shape[1:])
        self._recent[number] = shard
        return shard

    def shuffle(self, rows: NDArray[np.int64], random: np.random.RandomState) -> NDArray[np.int64]:
        """Return the positions of `rows`: a few random shards after the other, shuffled."""
        windows = random.permutation(len(self.files)) // WINDOW  # of each shard
        order = random.permutation(len(rows))
        return order[np.argsort(windows[self._numbers(rows[order])], kind="stable")]

    def check(self, preprocess: Preprocess) -> None:
        """Raise ConfigError unless the images were preprocessed with these settings."""
        wanted = preprocess.model_copy(update={"mean": 0.0, "std": 1.0})
        if differences := {k: v for k, v in self.preprocess if getattr(wanted, k) != v}:
            text = ", ".join(f"{name} {value}" for name, value in differences.items())
            rule = f"{self.source} must be used as it was exported, with {text}"
            remedy = "shards are not resized or cropped again. Export with other settings."
            raise ConfigError(f"{rule}: {remedy}")


def _pyarrow(module: str = "") -> Any:
    with require_extra("A set of shards", "parquet"):
        return import_module(f"pyarrow{module}")


def is_set(path: Path) -> bool:
    """Return whether a folder holds shards."""
    return any(NAME.fullmatch(file.name) for file in path.rglob("*.shard.parquet"))


def find(where: str, source: str) -> dict[str, list[Any]]:
    """Return the files of each part in a folder, which a path or a URI names."""
    dataset, parts = _pyarrow(".dataset"), defaultdict[str, list[Any]](list)
    with reading(source, ValueError):
        for file in dataset.dataset(where, format="parquet").get_fragments():
            if match := NAME.fullmatch(Path(file.path).name):
                parts[match[1]].append(file)
    if not parts:
        raise DataError(f"{source} has no shards, such as train-00000.shard.parquet.")
    return parts


def load(files: Sequence[Any], source: str, progress: Progress) -> ImageSet:
    """Return the images of a part; their labels are read now, their pixels when they are used."""
    tables, settings = list[Any](), set[Any]()
    with reading(source, ValueError):
        for number, file in enumerate(files):
            progress(f"reading {source}", number, len(files))
            tables.append(file.to_table(columns=["label"]))
            settings.add((file.physical_schema.metadata or {}).get(KEY))
        if None in settings or len(settings) > 1:
            raise ValueError("not all files are shards that were exported with the same settings")
        preprocess = build(Preprocess, parse_json(settings.pop(), "the metadata"))
        store = Shards(source, files, preprocess)
    labels = _pyarrow().concat_tables(tables)["label"].dictionary_encode().combine_chunks()
    classes, codes = np.unique(labels.dictionary.to_pylist(), return_inverse=True)
    rows = np.arange(len(labels), dtype=np.int64)
    return ImageSet(store, rows, codes[labels.indices.to_numpy()], tuple(classes.tolist()), source)


def write(parts: Iterable[tuple[str, ImageSet]], out: Path, preprocess: Preprocess) -> int:
    """Write parts, which `preprocess` made, to a new folder; return the number of images.

    The images of a part are in a random order, so that a few shards hold all classes.
    """
    arrow, parquet, total = _pyarrow(), _pyarrow(".parquet"), 0
    settings = preprocess.model_dump_json(include=set(InputSettings.model_fields))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(".tmp", ".", out.parent) as temporary:
            folder = Path(temporary, "shards")
            folder.mkdir()
            for part, images in parts:
                total += len(images)
                names, size = arrow.array(images.classes), math.prod(images.shape)
                order, step = np.random.RandomState(0).permutation(len(images)), SHARD_BYTES // size
                for number, start in enumerate(range(0, len(images), step)):
                    rows = order[start : start + step]
                    pixels = [None, arrow.py_buffer(images.take(rows))]
                    columns = {
                        "image": arrow.Array.from_buffers(arrow.binary(size), len(rows), pixels),
                        "label": names.take(arrow.array(images.labels[rows])),
                    }
                    table = arrow.table(columns, metadata={KEY: settings})
                    path = folder / f"{part}-{number:05}.shard.parquet"
                    parquet.write_table(table, path, compression="zstd", use_dictionary=["label"])
            folder.rename(out)
    except OSError as error:
        raise DataError(f"Cannot write {out}: {error.strerror or error}.") from None
    return total
