"""A labelled set of small pictures of one size: what every source returns and training reads.

Shapes: N pictures, C channels, H x W pixels, K classes, M a selection.
"""

import hashlib
import math
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from siglum.errors import ConfigError, DataError, nearest

CHUNK = 4096  # pictures handled at once where a whole set is walked through


@dataclass(frozen=True, eq=False)
class Originals:
    """What was seen of every picture of a store before it was fitted."""

    sizes: NDArray[np.int32]  # (M, 2): height and width, px
    digests: NDArray[np.uint64]  # (M,): equal for equal pixels
    light: NDArray[np.bool_]  # (M,): whether it lies on light paper


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Pictures with their labels, in a fixed order.

    The pictures may lie in memory or in a packed file; `take` reads either, and a subset
    shares them with the set it came from.
    """

    store: NDArray[np.uint8]  # (M, C, H, W); at least the pictures of this set
    rows: NDArray[np.int64]  # (N,), where in `store` each picture lies
    labels: NDArray[np.int64]  # (N,), in [0, K)
    classes: tuple[str, ...]  # K names, in label order
    source: str  # what was asked for, such as "folder:signs"
    files: Sequence[str] | None = None  # N names, where pictures were files
    writers: tuple[str, ...] | None = None  # N names, where known
    unreadable: tuple[tuple[str, str], ...] = ()  # files left out: (name, reason)
    originals: Originals | None = None
    mapping: mmap.mmap | None = field(default=None, repr=False)  # the file behind `store`

    def __post_init__(self) -> None:
        if self.store.dtype != np.uint8 or self.store.ndim != 4:
            raise DataError(
                f"images must be uint8 (N, C, H, W), got {self.store.dtype} {self.store.shape}."
            )
        if self.labels.shape != self.rows.shape:
            raise DataError(
                f"labels must be one a picture ({len(self.rows)}), got {len(self.labels)}."
            )
        if len(self) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise DataError(
                f"labels must lie in [0, {len(self.classes)}) for {len(self.classes)} classes, "
                f"got {self.labels.min()} to {self.labels.max()}."
            )

    @classmethod
    def from_arrays(
        cls,
        images: NDArray[np.uint8],
        labels: NDArray[np.integer],
        classes: Sequence[str],
        source: str = "arrays",
    ) -> "ImageSet":
        """Make a set of arrays in memory: uint8 (N, H, W) or (N, C, H, W), and labels (N,)."""
        if images.ndim == 3:
            images = images[:, None]
        rows = np.arange(len(images), dtype=np.int64)
        return cls(images, rows, labels.astype(np.int64), tuple(classes), source)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one picture: C, H, W."""
        channels, height, width = self.store.shape[1:]
        return channels, height, width

    def take(self, indices: NDArray[np.integer] | slice) -> NDArray[np.uint8]:
        """Return a copy of the pictures at `indices`: uint8 (M, C, H, W)."""
        images = self.store[self.rows[indices]]
        if self.mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            # The pages stay in the system's cache; this process lets go of them, so that its
            # memory does not grow with the set.
            self.mapping.madvise(mmap.MADV_DONTNEED)
        return images

    @property
    def images(self) -> NDArray[np.uint8]:
        """All pictures, copied: uint8 (N, C, H, W)."""
        return self.take(slice(None))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Pictures a class: int64 (K,)."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)

    @property
    def fingerprint(self) -> str:
        """Hex digest of pictures, labels and class names; the same on any machine."""
        digest = hashlib.blake2b(repr((self.shape, self.classes)).encode(), digest_size=16)
        for start in range(0, len(self), CHUNK):
            digest.update(self.take(slice(start, start + CHUNK)).tobytes())
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def moments(self, channels: int | None = None) -> tuple[float, float]:
        """Return mean and standard deviation of all bytes, divided by 255.

        Args:
            channels: count only the first so many; the planes behind them are no picture.
        """
        total = squares = 0  # whole numbers, so that every machine finds the same
        for start in range(0, len(self), CHUNK):
            chunk = self.take(slice(start, start + CHUNK))[:, :channels].astype(np.uint16)
            total += int(chunk.sum(dtype=np.uint64))
            squares += int((chunk * chunk).sum(dtype=np.uint64))
        count = len(self) * math.prod(self.take(slice(1))[0, :channels].shape)
        mean = total / count
        return mean / 255, math.sqrt(max(squares / count - mean * mean, 0.0)) / 255

    def subset(self, indices: NDArray[np.integer]) -> "ImageSet":
        """Return the pictures at `indices`, in that order, without copying them."""
        return replace(
            self,
            rows=self.rows[indices],
            labels=self.labels[indices],
            files=None if self.files is None else [self.files[i] for i in indices],
            writers=None if self.writers is None else tuple(self.writers[i] for i in indices),
        )

    def rename(self, names: Mapping[str, str]) -> "ImageSet":
        """Give classes new names, in the order of the names; two with one name become one.

        Raises:
            ConfigError: if `names` renames a class that is not there.
        """
        for old in names:
            if old not in self.classes:
                raise ConfigError(
                    f"classes must name classes of {self.source}, got {old!r}."
                    f"{nearest(old, self.classes)}"
                )
        renamed = [names.get(name, name) for name in self.classes]
        return replace(self, classes=tuple(renamed)).with_classes(tuple(sorted(set(renamed))))

    def select_classes(self, names: Sequence[str]) -> "ImageSet":
        """Keep the pictures of some classes, in the order that the classes have.

        Raises:
            ConfigError: if a class is not there.
        """
        for name in names:
            if name not in self.classes:
                raise ConfigError(
                    f"only must name classes of {self.source}, got {name!r}."
                    f"{nearest(name, self.classes)}"
                )
        kept = tuple(name for name in self.classes if name in names)
        wanted = [label for label, name in enumerate(self.classes) if name in kept]
        return self.subset(np.flatnonzero(np.isin(self.labels, wanted))).with_classes(kept)

    def with_classes(self, classes: tuple[str, ...]) -> "ImageSet":
        """Number the labels by `classes`, which may be more than this set has.

        Raises:
            DataError: if this set has pictures of a class that is not in `classes`.
        """
        position = {name: index for index, name in enumerate(classes)}
        missing = [
            name for name in self.classes if name not in position and self._has_pictures(name)
        ]
        if missing:
            raise DataError(
                f"{self.source} must hold only classes of the run ({', '.join(classes[:20])}), "
                f"got {missing[0]!r}. Rename classes with --rename FILE."
            )
        table = np.array([position.get(name, -1) for name in self.classes], dtype=np.int64)
        return replace(self, classes=classes, labels=table[self.labels])

    def _has_pictures(self, name: str) -> bool:
        wanted = [label for label, other in enumerate(self.classes) if other == name]
        return bool(np.isin(self.labels, wanted).any())


class _Chain:
    """Stores of pictures of one shape, one behind the other, read as if they were one."""

    def __init__(self, *stores: NDArray[np.uint8]) -> None:
        self.stores = stores
        self.begins = np.cumsum([0, *map(len, stores)])
        self.shape = (int(self.begins[-1]), *stores[0].shape[1:])
        self.dtype, self.ndim = stores[0].dtype, stores[0].ndim

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        found = np.empty((len(rows), *self.shape[1:]), np.uint8)
        number = np.searchsorted(self.begins, rows, side="right") - 1
        for which in np.unique(number):
            mine = number == which
            found[mine] = self.stores[which][rows[mine] - self.begins[which]]
        return found


def concat(one: ImageSet, other: ImageSet) -> ImageSet:
    """Return the pictures of two sets, without copying them; classes by one name are one.

    Writers and files are kept where both sets have them.

    Raises:
        DataError: if pictures of the one are of another shape than those of the other.
    """
    if one.shape != other.shape:
        raise DataError(f"sets must have pictures of one shape, got {one.shape} and {other.shape}.")
    classes = one.classes + tuple(name for name in other.classes if name not in one.classes)
    one, other = one.with_classes(classes), other.with_classes(classes)
    return ImageSet(
        store=_Chain(one.store, other.store),  # type: ignore[arg-type]
        rows=np.concatenate([one.rows, len(one.store) + other.rows]),
        labels=np.concatenate([one.labels, other.labels]),
        classes=classes,
        source=f"{one.source} and {other.source}",
        files=[*one.files, *other.files] if one.files and other.files else None,
        writers=one.writers + other.writers if one.writers and other.writers else None,
        unreadable=one.unreadable + other.unreadable,
        mapping=one.mapping,
    )
