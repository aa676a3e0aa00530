"""A labelled set of small images of one size: what every source returns and training reads.

Shapes: N images, C channels, H x W pixels, K classes, M a selection.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from siglum.errors import ConfigError, DataError, closest_match
from siglum.images.decode import Unreadable

if TYPE_CHECKING:
    from siglum.images.shards import Shards

CHUNK = 4096  # images handled at once where a whole set is read

ORIGINAL = np.dtype([("size", np.int32, 2), ("digest", np.uint64), ("light", np.bool_)])
"""An image before it was resized: height and width, a hash of its pixels, a light background."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with labels, in memory, in a memory-mapped file or in shards; subsets share them."""

    store: "NDArray[np.uint8] | Shards"  # (M, C, H, W); at least the images of this set
    rows: NDArray[np.int64]  # (N,), the index of each image in `store`
    labels: NDArray[np.int64]  # (N,), in [0, K)
    classes: tuple[str, ...]  # K names, in label order
    source: str  # such as "folder:signs"
    files: Sequence[str] | None = None  # N names, where images are files
    writers: tuple[str, ...] | None = None  # N names, where they are known
    unreadable: tuple[Unreadable, ...] = ()  # files and pages that are not in the set
    originals: NDArray[np.void] | None = None  # (M,) of ORIGINAL, where images were decoded

    def __post_init__(self) -> None:
        store, labels = self.store, self.labels
        if store.dtype != np.uint8 or store.ndim != 4 or labels.shape != self.rows.shape:
            actual = f"{store.dtype} {store.shape} and {labels.shape}"
            raise DataError(f"images must be uint8 (N, C, H, W) and labels (N,), got {actual}.")
        if len(self) and not 0 <= labels.min() <= labels.max() < len(self.classes):
            limits = f"{labels.min()} to {labels.max()}"
            raise DataError(f"labels must be in [0, {len(self.classes)}), got {limits}.")

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
        """Shape of one image: C, H, W."""
        channels, height, width = self.store.shape[1:]
        return channels, height, width

    def take(self, indices: NDArray[np.integer] | slice) -> NDArray[np.uint8]:
        """Return a copy of the images at `indices`: uint8 (M, C, H, W)."""
        return self.store[self.rows[indices]]

    def chunks(self) -> Iterator[NDArray[np.uint8]]:
        """Yield copies of all images, some thousands at once."""
        for start in range(0, len(self), CHUNK):
            yield self.take(slice(start, start + CHUNK))

    @property
    def images(self) -> NDArray[np.uint8]:
        """All images, copied: uint8 (N, C, H, W)."""
        return self.take(slice(None))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Images per class: int64 (K,)."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)

    @property
    def fingerprint(self) -> str:
        """Hex digest of images, labels and class names; the same on any machine."""
        digest = hashlib.blake2b(repr((self.shape, self.classes)).encode(), digest_size=16)
        for chunk in self.chunks():
            digest.update(chunk.tobytes())
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def moments(self, channels: int | None = None) -> tuple[float, float]:
        """Return mean and standard deviation of all bytes / 255, of the first `channels` planes."""
        count = total = squares = 0  # integers, so that the sum is exact on every machine
        for images in self.chunks():
            chunk = images[:, :channels].astype(np.uint16)
            count += chunk.size
            total += int(chunk.sum(dtype=np.uint64))
            squares += int((chunk * chunk).sum(dtype=np.uint64))
        mean = total / count
        return mean / 255, math.sqrt(max(squares / count - mean * mean, 0.0)) / 255

    def subset(self, indices: NDArray[np.integer]) -> "ImageSet":
        """Return the images at `indices`, in that order, without copying them."""
        return replace(
            self,
            rows=self.rows[indices],
            labels=self.labels[indices],
            files=None if self.files is None else [self.files[i] for i in indices],
            writers=None if self.writers is None else tuple(self.writers[i] for i in indices),
        )

    def rename(self, names: Mapping[str, str]) -> "ImageSet":
        """Rename classes and sort them by name; two classes with one name are merged."""
        self._check_classes(names)
        renamed = [names.get(name, name) for name in self.classes]
        return replace(self, classes=tuple(renamed)).with_classes(tuple(sorted(set(renamed))))

    def select_classes(self, names: Sequence[str]) -> "ImageSet":
        """Return the images of some classes, in the order that the classes have here."""
        self._check_classes(names)
        wanted = [label for label, name in enumerate(self.classes) if name in names]
        images = self.subset(np.flatnonzero(np.isin(self.labels, wanted)))
        return images.with_classes(tuple(self.classes[label] for label in wanted))

    def _check_classes(self, names: Sequence[str] | Mapping[str, str]) -> None:
        for name in names:
            if name not in self.classes:
                hint = closest_match(name, self.classes)
                raise ConfigError(f"No such class in {self.source}: {name!r}.{hint}")

    def with_classes(self, classes: tuple[str, ...]) -> "ImageSet":
        """Number the labels by `classes`, which may be more than this set has, but not fewer."""
        index = {name: label for label, name in enumerate(classes)}
        table = np.array([index.get(name, -1) for name in self.classes], dtype=np.int64)
        missing = np.flatnonzero((table < 0) & (self.counts > 0))
        if len(missing):
            rule = f"must hold only classes of the run ({', '.join(classes[:20])}), got"
            remedy = f"{self.classes[missing[0]]!r}. Rename classes with --rename FILE."
            raise DataError(f"{self.source} {rule} {remedy}")
        return replace(self, classes=classes, labels=table[self.labels])
