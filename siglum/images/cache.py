"""Listings of images, and packed copies of them: decoded once, then memory-mapped.

`<cache>/packs/<key>.bin` holds uint8 (M, P, S, S), M images of P planes; `<key>.npz`, which is
written last, properties of each image.
"""

import json
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.files import atomic_path, cache_dir
from siglum.formatting import printable
from siglum.images import decode, ink
from siglum.images.decode import Unreadable, as_text
from siglum.images.imageset import ORIGINAL, ImageSet
from siglum.images.strokes import Drawing, rasterise

VERSION = 9  # of the format above and of everything that decides a packed byte

Progress = Callable[[str, int, int], None]  # (activity, done, total; 0 where it is unknown)
Pixels = NDArray[np.uint8]
Content = bytes | Drawing | Pixels  # an encoded image, strokes or (C, H, W)
Read = Callable[[int], Content]  # returns an image, or raises DataError
# Images (M, P, S, S), what they were, and why some of them are not read, or not all of them.
Pack = tuple[Pixels, NDArray[np.void], dict[int, str]]


def no_progress(activity: str, done: int, total: int) -> None:
    """Ignore progress."""


class Row(NamedTuple):
    """One image of a source, before it is decoded."""

    name: str  # distinct, such as that of its file
    label: str
    part: str = "all"  # or "train", "val" or "test", where the source has parts
    writer: str = ""  # "" if not known


@dataclass(frozen=True)
class Listing:
    """The labelled images of a source, before any is decoded."""

    rows: Sequence[Row]
    read: Callable[[str], Content]  # returns an image by its name, or raises DataError
    version: Callable[[str], object]  # changes with an image
    unreadable: Sequence[Unreadable] = ()  # other files, with the reasons


Arrays = Mapping[str, Callable[[], ImageSet]]  # by part: a source that needs no decoding


def load(
    listing: Listing, part: str, source: str, progress: Progress, preprocess: Preprocess
) -> ImageSet:
    """Load a part of a listing from its pack, which is written if need be."""
    rows = [row for row in listing.rows if row.part == part]
    contents = repr([(row.name, listing.version(row.name)) for row in rows])
    store, originals, notes = _pack(
        contents, len(rows), lambda i: listing.read(rows[i].name), preprocess, source, progress
    )
    unreadable = [*listing.unreadable, *((rows[i].name, note) for i, note in notes.items())]
    readable = np.flatnonzero(originals["size"][:, 0])
    selected = [rows[i] for i in readable.tolist()]
    if not selected:
        name, reason = unreadable[-1]
        raise DataError(f"{source} has no image that can be read. {printable(name)}: {reason}.")
    classes, labels = np.unique([row.label for row in selected], return_inverse=True)
    missing = {row.label for row in rows} - {*classes.tolist()}
    unreadable += [(name, "no image of this class can be read") for name in missing]
    return ImageSet(
        store=store,
        rows=readable,
        labels=labels.astype(np.int64),
        classes=tuple(classes.tolist()),
        source=source,
        files=[as_text(row.name) for row in selected],
        writers=tuple(row.writer for row in selected) if all(r.writer for r in selected) else None,
        unreadable=tuple(sorted((as_text(name), reason) for name, reason in unreadable)),
        originals=originals,
    )


def rebuild(images: ImageSet, preprocess: Preprocess, progress: Progress = no_progress) -> ImageSet:
    """Return a set as it is, if it fits, or inverted, or resized and packed; shards must fit."""
    if not isinstance(images.store, np.ndarray):
        images.store.check(preprocess)
        return images
    same = images.shape == (preprocess.channels, preprocess.size, preprocess.size)
    if same and not preprocess.cuts_out:
        light = decode.has_light_background(images.store)
        inverted = decode.needs_inversion(light, preprocess)[:, None, None, None]
        if not inverted.any():
            return images
        return replace(images, store=np.where(inverted, 255 - images.store, images.store))
    contents, count = images.fingerprint, len(images)
    store, originals, _ = _pack(
        contents, count, lambda i: images.store[images.rows[i]], preprocess, images.source, progress
    )
    return replace(images, store=store, rows=np.arange(count), originals=originals)


def _pack(
    contents: str, count: int, read: Read, preprocess: Preprocess, source: str, progress: Progress
) -> Pack:
    """Open the pack of the images that `contents` identifies; write it if missing or damaged."""
    settings = preprocess.model_dump(exclude={"mean", "std"})
    identity = json.dumps((VERSION, contents, settings), sort_keys=True).encode()
    path = cache_dir() / "packs" / f"{blake2b(identity, digest_size=16).hexdigest()}.bin"
    shape = (count, preprocess.planes, preprocess.size, preprocess.size)
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return _open(path, shape)
    remove_unfinished(path.parent)
    try:
        # Written, not mapped: on a full disk, writing to a map would kill the process.
        with atomic_path(path) as temporary, temporary.open("w+b") as file:
            report = partial(progress, f"packing {source}")
            originals, notes = _write(file, count, read, preprocess, report)
        with atomic_path(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
            np.savez(file, originals=originals, notes=np.array(json.dumps([*notes.items()])))
    except DataError as error:
        problem = f"{error} {source} needs {np.prod(shape) / 2**20:,.0f} MB there."
        remedy = "Free some space, or set SIGLUM_CACHE to another folder."
        raise DataError(f"{problem} {remedy}") from None
    return _open(path, shape)


def _open(path: Path, shape: tuple[int, ...]) -> Pack:
    # Opened here, since np.load leaves a file open that it cannot read.
    with path.with_suffix(".npz").open("rb") as file, np.load(file, allow_pickle=False) as index:
        originals, notes = index["originals"], dict(json.loads(str(index["notes"])))
    return np.asarray(np.memmap(path, np.uint8, "r", shape=shape)), originals, notes


def _write(
    file: BinaryIO, count: int, read: Read, preprocess: Preprocess, progress: partial[None]
) -> tuple[NDArray[np.void], dict[int, str]]:
    size = preprocess.planes * preprocess.size**2
    originals, notes = np.zeros(count, ORIGINAL), dict[int, str]()
    # One after the other: in threads small images take three times as long, since decoders pass
    # the interpreter's lock to and fro.
    for index in range(count):
        planes = np.zeros(size, np.uint8)
        try:
            raw = read(index)
            if isinstance(raw, bytes):
                image = decode.decode(raw, None if preprocess.cuts_out else preprocess.channels)
                if note := decode.further_pages(raw):
                    notes[index] = note
            else:
                raw = 255 - rasterise(raw)[None] if isinstance(raw, Drawing) else raw
                image = decode.to_channels(raw, preprocess.channels)
            planes = ink.preprocess_image(image, preprocess)[0]
            pixels = repr(image.shape).encode() + image.tobytes()
            digest = int.from_bytes(blake2b(pixels, digest_size=8).digest(), "little")
            originals[index] = image.shape[1:], digest, decode.has_light_background(image[None])[0]
        except DataError as error:
            notes[index] = str(error)
        file.write(planes.tobytes())
        if index % 256 == 255 or index + 1 == count:
            progress(index + 1, count)
    readable = np.flatnonzero(originals["size"][:, 0])
    to_invert = decode.needs_inversion(originals["light"][readable], preprocess)
    for index in readable[to_invert].tolist():
        file.seek(index * size)
        inverted = 255 - np.frombuffer(file.read(size), dtype=np.uint8)
        file.seek(index * size)
        file.write(inverted.tobytes())
    return originals, notes


def remove_unfinished(folder: Path) -> None:
    """Remove temporary files of processes that were killed a day ago or earlier."""
    for old in folder.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > 86_400:
                shutil.rmtree(old) if old.is_dir() else old.unlink()


def first_names(names: Sequence[str]) -> str:
    """Return up to five names for a message, and how many more there are."""
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return printable(", ".join(names[:5])) + more
