"""Shards: preprocessed images in Parquet files, for sets that are larger than memory or the disk.

A file `PART-NUMBER.shard.parquet` has the columns image, the bytes of uint8 (C, H, W), and label;
its metadata holds the settings of the input and the classes. A folder may hold those of several
exports, and be where pyarrow reads: s3://, gs://.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siglum.config import InputSettings, Preprocess, build
from siglum.errors import ConfigError, DataError, missing_extra
from siglum.files import cannot_read, parse_json
from siglum.images.cache import Progress
from siglum.images.imageset import ImageSet

SHARD_BYTES = 32 * 2**20  # of images in a file
WINDOW = 4  # shards in memory, whose images are shuffled together
NAME = re.compile(r"(train|val|test|all)-\d+\.shard\.parquet")
KEY = b"siglum"  # of the metadata

Part = tuple[Any, list[str]]  # pyarrow's file system, and the paths of shards in it


class Shards:
    """Images (N, C, H, W) that are read a file at a time; the last few files stay in memory."""

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, part: Part, counts: Sequence[int], settings: InputSettings) -> None:
        planes = Preprocess(**settings.model_dump()).planes
        self.shape = (sum(counts), planes, settings.size, settings.size)
        self.settings, self._part = settings, part
        self._starts = np.cumsum([0, *counts])
        self._recent: dict[int, NDArray[np.uint8]] = {}  # the least recently used is the first

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        images, numbers = np.empty((len(rows), *self.shape[1:]), np.uint8), self._numbers(rows)
        for number in np.unique(numbers).tolist():
            is_inside = numbers == number
            images[is_inside] = self._shard(number)[rows[is_inside] - self._starts[number]]
        return images

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of images that are in memory."""
        return sum(shard.nbytes for shard in self._recent.values())

    def _numbers(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._starts, rows, side="right") - 1

    def _shard(self, number: int) -> NDArray[np.uint8]:
        shard = self._recent.pop(number, None)
        if shard is None:
            while len(self._recent) >= WINDOW:
                del self._recent[next(iter(self._recent))]
            file_system, paths = self._part
            with _open(paths[number], file_system) as file:
                chunks = file.read(["image"])["image"].chunks
                pixels = [np.frombuffer(chunk.buffers()[1], np.uint8) for chunk in chunks]
                shard = np.concatenate(pixels).reshape(-1, *self.shape[1:])
        self._recent[number] = shard
        return shard

    def shuffle(self, rows: NDArray[np.int64], random: np.random.RandomState) -> NDArray[np.int64]:
        """Return the positions of `rows`: a few random shards after the other, shuffled."""
        windows = random.permutation(len(self._starts) - 1) // WINDOW  # (number of shards,)
        order = random.permutation(len(rows))
        return order[np.argsort(windows[self._numbers(rows[order])], kind="stable")]

    def check(self, preprocess: Preprocess, source: str) -> None:
        """Raise ConfigError unless the images were preprocessed with these settings."""
        for name, value in self.settings:
            if (wanted := getattr(preprocess, name)) != value:
                raise ConfigError(
                    f"{name} must be {value}, as in the export of {source}, got {wanted}. "
                    f"Set it, or export the images again with another {name}."
                )
        if preprocess.margins is not None:
            raise ConfigError(
                f"The ink of {source} fills another share of the image than in training, and "
                "shards cannot be cropped. Use the source that was exported."
            )


def _pyarrow(module: str = "") -> Any:
    try:
        return import_module(f"pyarrow{module}")
    except ModuleNotFoundError as error:
        raise missing_extra("A set of shards", error.name, "parquet") from None


@contextmanager
def _open(path: str, file_system: Any) -> Iterator[Any]:
    parquet = _pyarrow(".parquet")
    try:
        with parquet.ParquetFile(path, filesystem=file_system) as file:
            yield file
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(f"Cannot read the shard {path}: {reason}.") from None


def is_set(path: Path) -> bool:
    """Return whether a folder holds shards."""
    return any(NAME.fullmatch(file.name) for file in path.rglob("*.shard.parquet"))


def find(where: str, spec: str) -> dict[str, Part]:
    """Return the shards of each part in a folder, which a path or a URI names."""
    fs, paths = _pyarrow(".fs"), defaultdict[str, list[str]](list)
    try:
        file_system, folder = fs.FileSystem.from_uri(where)
        infos = file_system.get_file_info(fs.FileSelector(folder, recursive=True))
    except (OSError, ValueError) as error:
        raise cannot_read(spec, error) from None
    for path in sorted(info.path for info in infos):
        if match := NAME.fullmatch(path.rpartition("/")[2]):
            paths[match[1]].append(path)
    if not paths:
        raise DataError(f"{spec} has no shards, such as train-00000.shard.parquet.")
    return {part: (file_system, files) for part, files in paths.items()}


def load(part: Part, spec: str, progress: Progress) -> ImageSet:
    """Return the images of a part; their labels are read now, their pixels when they are used."""
    file_system, paths = part
    columns, all_classes, all_settings = list[Any](), list[list[str]](), list[InputSettings]()
    for number, path in enumerate(paths):
        progress(f"reading {spec}", number, len(paths))
        with _open(path, file_system) as file:
            facts = parse_json((file.schema_arrow.metadata or {}).get(KEY, b""), "its metadata")
            all_classes.append(facts["classes"])
            all_settings.append(build(InputSettings, facts["settings"]))
            names = _pyarrow().array(facts["classes"])
            column = _pyarrow(".compute").index_in(file.read(["label"])["label"], value_set=names)
            columns.append(column.fill_null(-1).to_numpy())
        if all_settings[-1] != all_settings[0]:
            raise DataError(f"{spec} must have shards of equal settings: {path} has others.")
    classes = sorted({name for names in all_classes for name in names})
    labels = [
        np.searchsorted(classes, names)[column]  # (images of the shard,)
        for names, column in zip(all_classes, columns, strict=True)
    ]
    store = Shards(part, [len(column) for column in columns], all_settings[0])
    rows = np.arange(len(store), dtype=np.int64)
    return ImageSet(store, rows, np.concatenate(labels), tuple(classes), spec)


def write(sets: Iterable[tuple[str, ImageSet]], out: Path, preprocess: Preprocess) -> int:
    """Write parts, which `preprocess` made, to a new folder; return the number of images.

    The images of a part are in a random order, so that a few shards hold all classes.
    """
    _pyarrow()
    count = 0
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(".tmp", ".", out.parent) as temporary:
            folder = Path(temporary, "shards")
            folder.mkdir()
            for part, images in sets:
                count += len(images)
                _write_part(images, folder / part, preprocess)
            folder.rename(out)
    except OSError as error:
        raise DataError(f"Cannot write {out}: {error.strerror or error}.") from None
    return count


def _write_part(images: ImageSet, start: Path, preprocess: Preprocess) -> None:
    arrow, parquet = _pyarrow(), _pyarrow(".parquet")
    settings = preprocess.model_dump(include=set(InputSettings.model_fields))
    metadata = {KEY: json.dumps({"classes": images.classes, "settings": settings})}
    names, size = arrow.array(images.classes), math.prod(images.shape)
    order = np.random.RandomState(0).permutation(len(images))
    step = max(1, SHARD_BYTES // size)
    for number in range(-(-len(images) // step)):
        rows = order[number * step : (number + 1) * step]
        pixels = arrow.py_buffer(images.take(rows))
        column = arrow.Array.from_buffers(arrow.binary(size), len(rows), [None, pixels])
        labels = names.take(arrow.array(images.labels[rows]))
        parquet.write_table(
            arrow.table({"image": column, "label": labels}, metadata=metadata),
            f"{start}-{number:05}.shard.parquet",
            compression="zstd",
            use_dictionary=["label"],
            write_statistics=["label"],
        )
