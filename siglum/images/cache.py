"""Packed copies of image files: decoded once, then memory-mapped.

    <cache>/packs/<key>.bin     uint8 (M, P, S, S), M images of P planes
                  <key>.npz     properties of each image
    <cache>/notes/<key>.json    results of `load_cached`

Files are written whole and the `.npz` last, so that a pack with one is complete.
"""

import hashlib
import json
import mmap
import shutil
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.files import atomic_path, cache_dir, read_json, write_atomic
from siglum.formatting import printable
from siglum.images import decode, ink
from siglum.images.decode import Unreadable, as_text
from siglum.images.imageset import ImageSet, Originals

VERSION = 6  # of the format above and of everything that decides a packed byte
BATCH = 256  # images between two reports of progress

Progress = Callable[[str, int, int], None]  # (activity, done, total; 0 where it is unknown)
Raw = bytes | NDArray[np.uint8] | DataError


class Pack(NamedTuple):
    """Memory-mapped images and what is known about each."""

    store: NDArray[np.uint8]  # (M, P, S, S)
    mapping: mmap.mmap
    originals: Originals
    reasons: dict[int, str]  # why an image could not be read
    notes: dict[int, str]  # what of a readable image is not read


def no_progress(activity: str, done: int, total: int) -> None:
    """Ignore progress."""


def _key(*values: object) -> str:
    text = json.dumps(values, sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def load_cached(signature: str, compute: Callable[[], Any]) -> Any:
    """Return what `compute` returned when it was first called for `signature`; JSON only."""
    path = cache_dir() / "notes" / f"{_key(signature)}.json"
    with suppress(DataError):  # not computed yet, or damaged
        return read_json(path)
    value = compute()
    write_atomic(path, json.dumps(value))
    return value


def rebuild(images: ImageSet, preprocess: Preprocess, progress: Progress = no_progress) -> ImageSet:
    """Preprocess a set in memory: return it as it is, inverted, or resized and packed."""
    same = images.shape == (preprocess.channels, preprocess.size, preprocess.size)
    if same and not preprocess.cuts_out:
        light = decode.has_light_background(images.store)
        inverted = decode.needs_inversion(light, preprocess)[:, None, None, None]
        if not inverted.any():
            return images
        return replace(images, store=np.where(inverted, 255 - images.store, images.store))

    def raws() -> Iterator[tuple[int, Raw]]:
        return ((index, images.store[row]) for index, row in enumerate(images.rows))

    pack = memmap(images.fingerprint, len(images), raws, preprocess, images.source, progress)
    rows = np.arange(len(images), dtype=np.int64)
    return replace(
        images, store=pack.store, rows=rows, mapping=pack.mapping, originals=pack.originals
    )


def load(
    contents: str,
    names: Sequence[str],
    labels: Sequence[str],
    raws: Callable[[], Iterable[tuple[int, Raw]]],
    source: str,
    preprocess: Preprocess,
    progress: Progress = no_progress,
    unreadable: Sequence[Unreadable] = (),
) -> ImageSet:
    """Load labelled image files from the pack of their contents, which is written if need be.

    Args:
        contents: identifies the images.
        raws: yields their bytes with their indices, in any order.
        unreadable: further files to report.
    """
    pack = memmap(contents, len(names), raws, preprocess, source, progress)
    if not all(map(str.isascii, names)):
        names = [as_text(name) for name in names]
    problems = [(as_text(name), reason) for name, reason in unreadable]
    problems += [(names[row], reason) for row, reason in (pack.reasons | pack.notes).items()]
    rows = np.array([row for row in range(len(names)) if row not in pack.reasons], np.int64)
    if not len(rows):
        name, reason = problems[-1]
        raise DataError(f"{source} has no image that can be read. {printable(name)}: {reason}.")
    classes = tuple(sorted({labels[row] for row in rows.tolist()}))
    if missing := sorted({*labels} - {*classes}):
        warnings.warn(
            f"{source}: classes without a readable image are ignored: {first_names(missing)}.",
            stacklevel=2,
        )
    index = {name: label for label, name in enumerate(classes)}
    return ImageSet(
        store=pack.store,
        rows=rows,
        labels=np.fromiter((index[labels[row]] for row in rows.tolist()), np.int64, len(rows)),
        classes=classes,
        source=source,
        files=names if len(rows) == len(names) else [names[row] for row in rows.tolist()],
        unreadable=tuple(sorted(problems)),
        originals=pack.originals,
        mapping=pack.mapping,
    )


def first_names(names: Sequence[str]) -> str:
    """Return up to five names for a message, and how many more there are."""
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return printable(", ".join(names[:5])) + more


def memmap(
    contents: str,
    count: int,
    raws: Callable[[], Iterable[tuple[int, Raw]]],
    preprocess: Preprocess,
    source: str,
    progress: Progress,
) -> Pack:
    """Open the pack of `count` images, writing it first where it is missing or damaged."""
    settings = preprocess.model_dump(exclude={"mean", "std"})
    path = cache_dir() / "packs" / f"{_key(VERSION, contents, settings)}.bin"
    shape = (count, preprocess.planes, preprocess.size, preprocess.size)
    if path.with_suffix(".npz").exists():
        try:
            return _open(path, shape)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            warnings.warn(f"{path} is damaged ({error}). It is written again.", stacklevel=3)
    remove_unfinished(path.parent)
    try:
        _write(path, shape, raws(), preprocess, source, progress)
    except DataError as error:
        raise DataError(
            f"{error} {source} needs {np.prod(shape) / 2**20:,.0f} MB there. Free some space, or "
            "set SIGLUM_CACHE to another folder."
        ) from None
    return _open(path, shape)


def _write(
    path: Path,
    shape: tuple[int, ...],
    raws: Iterable[tuple[int, Raw]],
    preprocess: Preprocess,
    source: str,
    progress: Progress,
) -> None:
    count, size = shape[0], int(np.prod(shape[1:]))
    sizes, light = np.zeros((count, 2), np.int32), np.zeros(count, dtype=bool)
    digests = np.zeros(count, np.uint64)
    reasons: dict[int, str] = {}
    notes: dict[int, str] = {}
    with atomic_path(path) as temporary, temporary.open("r+b") as file:
        file.truncate(count * size)
        # One after the other: in threads small images take three times as long, since decoders
        # pass the interpreter's lock to and fro.
        for done, (index, raw) in enumerate(raws, start=1):
            try:
                image = _decode(raw, preprocess)
                if isinstance(raw, bytes) and (note := decode.further_pages(raw)):
                    notes[index] = note
                sizes[index] = image.shape[1:]
                light[index] = decode.has_light_background(image[None])[0]
                digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=8)
                digest.update(image.tobytes())
                digests[index] = int.from_bytes(digest.digest(), "little")
                file.seek(index * size)
                file.write(ink.preprocess_image(image, preprocess)[0].tobytes())
            except DataError as error:
                reasons[index] = str(error)
            if done % BATCH == 0 or done == count:
                progress(f"packing {source}", done, count)
        rows = np.array([row for row in range(count) if row not in reasons], np.int64)
        for index in rows[decode.needs_inversion(light[rows], preprocess)].tolist():
            file.seek(index * size)
            pixels = np.frombuffer(file.read(size), dtype=np.uint8)
            file.seek(index * size)
            file.write((255 - pixels).tobytes())
    texts = np.frombuffer(json.dumps([[*reasons.items()], [*notes.items()]]).encode(), np.uint8)
    with atomic_path(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, sizes=sizes, light=light, digests=digests, texts=texts)


def _decode(raw: Raw, preprocess: Preprocess) -> NDArray[np.uint8]:
    if isinstance(raw, DataError):
        raise raw
    if isinstance(raw, bytes):
        return decode.decode(raw, None if preprocess.cuts_out else preprocess.channels)
    return decode.to_channels(raw, preprocess.channels)


def _open(path: Path, shape: tuple[int, ...]) -> Pack:
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    store = np.frombuffer(mapping, dtype=np.uint8).reshape(shape)
    # Opened here, since np.load leaves a file open that it cannot read.
    with path.with_suffix(".npz").open("rb") as file, np.load(file, allow_pickle=False) as index:
        originals = Originals(index["sizes"], index["digests"], index["light"])
        reasons, notes = map(dict, json.loads(index["texts"].tobytes()))
    return Pack(store, mapping, originals, reasons, notes)


def remove_unfinished(folder: Path) -> None:
    """Remove temporary files of processes that were killed a day ago or earlier."""
    for old in folder.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > 86_400:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
