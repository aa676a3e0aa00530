"""Packed copies of folders and archives: decoded once, then memory-mapped.

A pack is keyed by the contents of its files and by how they were fitted, so that a change of
either makes a new one, and a set that was only moved is found again. A second, cheap key (names,
sizes, times) remembers which contents a folder had, so that nothing is read twice.

    <cache>/packs/<key>/images.bin    uint8 (M, P, S, S)
                        index.npz     what is known of each picture
    <cache>/seen/<signature>.json     the digest of the contents, and an archive's names

Packs are written to a temporary folder beside the others and renamed when whole.
"""

import hashlib
import json
import math
import mmap
import os
import shutil
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import platformdirs
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.images import decode
from siglum.images.imageset import ImageSet, Originals
from siglum.images.ink import preprocess_image
from siglum.images.listing import Listing, classes_of

VERSION = 5  # of the format above and of everything that decides a packed byte
BATCH = 256  # pictures between two reports of progress

Progress = Callable[[str, int, int], None]  # (what is being done, done, of)
Planes = Callable[[NDArray[np.uint8], Preprocess], NDArray[np.uint8]]
Raw = bytes | NDArray[np.uint8] | DataError
Pack = tuple[NDArray[np.uint8], mmap.mmap, Originals, list[tuple[int, str]]]  # last: the unreadable


def preprocess_planes(image: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """Return what a network sees of an image: uint8 (P, S, S)."""
    return preprocess_image(image, preprocess)[0]


def no_progress(what: str, done: int, total: int) -> None:
    """Report progress to nobody."""


def folder() -> Path:
    """Return where packs are kept: SIGLUM_CACHE, or the user's cache folder."""
    return Path(os.environ.get("SIGLUM_CACHE") or platformdirs.user_cache_dir("siglum"))


def load(listing: Listing, preprocess: Preprocess, progress: Progress = no_progress) -> ImageSet:
    """Return the pictures of a listing, packing them first if they are not packed yet.

    Raises:
        DataError: if no picture can be read, or there is no room for the pack.
    """
    names, classes = classes_of(listing)
    if listing.empty:
        warnings.warn(
            f"{listing.source}: folders without a picture are left out ({len(listing.empty)}): "
            f"{', '.join(listing.empty[:5])}",
            stacklevel=2,
        )
    progress(f"reading {listing.source}", 0, 0)
    contents = load_cached(f"contents {listing.signature}", listing.contents)
    store, mapping, originals, reasons = memmap(
        contents, len(names), listing.read, preprocess, listing.source, progress
    )
    outside = [name for name, label in zip(listing.names, names, strict=True) if label is None]
    unreadable = [*listing.unreadable]
    unreadable += [(listing.names[i], reason) for i, reason in reasons]
    unreadable += [(name, "lies outside the class folders") for name in outside]
    good = np.array([name is not None for name in names])
    good[[i for i, _ in reasons]] = False
    rows = np.flatnonzero(good)
    if not len(rows):
        name, reason = unreadable[0]
        raise DataError(
            f"{listing.source} must hold a picture that can be read, got none of {len(names)}: "
            f"{name} {reason}."
        )
    kept = {names[i] for i in rows.tolist()}
    if gone := [name for name in classes if name not in kept]:
        warnings.warn(
            f"{listing.source}: classes without a readable picture are left out ({len(gone)}): "
            f"{', '.join(gone[:5])}",
            stacklevel=2,
        )
    classes = tuple(name for name in classes if name in kept)
    number = {name: label for label, name in enumerate(classes)}
    return ImageSet(
        store=store,
        rows=rows,
        labels=np.fromiter((number[names[i] or ""] for i in rows.tolist()), np.int64, len(rows)),
        classes=classes,
        source=listing.source,
        files=[listing.names[i] for i in rows.tolist()]
        if len(rows) < len(names)
        else listing.names,
        unreadable=tuple(sorted(unreadable)),
        originals=originals,
        mapping=mapping,
    )


def rebuild(images: ImageSet, preprocess: Preprocess, progress: Progress = no_progress) -> ImageSet:
    """Return a set in memory as `preprocess` wants it: as it is, inverted, or fitted and packed.

    Raises:
        DataError: if there is no room for the pack.
    """
    same = images.shape == (preprocess.channels, preprocess.size, preprocess.size)
    if same and not preprocess.cuts_out:
        turned = decode.needs_inversion(decode.has_light_background(images.store), preprocess)
        if not turned.any():
            return images
        store = images.store.copy()
        store[turned] = 255 - store[turned]
        return replace(images, store=store)

    def raws() -> Iterator[tuple[int, Raw]]:
        return ((index, images.store[row]) for index, row in enumerate(images.rows))

    store, mapping, originals, _ = memmap(
        images.fingerprint, len(images), raws, preprocess, images.source, progress
    )
    rows = np.arange(len(images), dtype=np.int64)
    return replace(images, store=store, rows=rows, mapping=mapping, originals=originals)


def load_cached(signature: str, make: Callable[[], Any]) -> Any:
    """Return what `make` returned when the files behind `signature` were first seen; JSON only."""
    digest = hashlib.blake2b(signature.encode("utf-8", "surrogateescape"), digest_size=16)
    note = folder() / "seen" / f"{digest.hexdigest()}.json"
    with suppress(OSError, ValueError):  # not seen yet, or the note was cut off
        return json.loads(note.read_text())
    made = make()
    with _room("notes of what was read"):
        note.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=note.parent) as unfinished:
            new = Path(unfinished) / note.name
            new.write_text(json.dumps(made))
            new.replace(note)
    return made


def memmap(
    contents: str,
    count: int,
    raws: Callable[[], Iterable[tuple[int, Raw]]],
    preprocess: Preprocess,
    source: str,
    progress: Progress,
    planes: Planes = preprocess_planes,
) -> Pack:
    """Open the pack of `contents`, writing it first where there is none or a damaged one.

    Args:
        contents: tells all that decides the `count` pictures, and `planes` of them.
        raws: yields pictures in any order, each with its place.
        planes: fits a picture (C, H, W) as `preprocess` says: uint8 (P, S, S).

    Raises:
        DataError: if there is no room for the pack.
    """
    geometry = preprocess.model_dump(exclude={"mean", "std"})
    key = json.dumps([VERSION, contents, geometry], sort_keys=True)
    pack = folder() / "packs" / hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    if pack.exists():
        try:
            return _open(pack, count, preprocess)
        except DataError as error:
            warnings.warn(f"{error} It is made again", stacklevel=3)
            with _room(source):
                shutil.rmtree(pack)
    _write(pack, count, raws(), preprocess, source, progress, planes)
    return _open(pack, count, preprocess)


def _write(
    pack: Path,
    count: int,
    raws: Iterable[tuple[int, Raw]],
    preprocess: Preprocess,
    source: str,
    progress: Progress,
    planes: Planes,
) -> None:
    """Decode `count` pictures, in any order, into a new pack."""
    size = preprocess.planes * preprocess.size**2
    sizes, light = np.zeros((count, 2), np.int32), np.zeros(count, dtype=bool)
    digests, reasons = np.zeros(count, np.uint64), {}
    with _room(source, count * size):
        pack.parent.mkdir(parents=True, exist_ok=True)
        _clear_unfinished(pack.parent)
        temporary = Path(tempfile.mkdtemp(prefix="unfinished-", dir=pack.parent))
        try:
            with (temporary / "images.bin").open("w+b") as file:
                file.truncate(count * size)
                for done, (index, raw) in enumerate(raws, start=1):
                    # One after the other: side by side in threads, small pictures take three
                    # times as long, since decoders give the interpreter's lock to and fro.
                    try:
                        image = _decoded(raw, preprocess)
                    except DataError as error:
                        reasons[index] = str(error)
                    else:
                        sizes[index] = image.shape[1:]
                        light[index] = decode.has_light_background(image[None])[0]
                        digests[index] = _digest(image)
                        file.seek(index * size)
                        file.write(planes(image, preprocess).tobytes())
                    if done % BATCH == 0 or done == count:
                        progress(f"packing {source}", done, count)
                readable = np.array([i not in reasons for i in range(count)])
                turned = np.zeros(count, dtype=bool)
                turned[readable] = decode.needs_inversion(light[readable], preprocess)
                _invert(file, np.flatnonzero(turned), size)
                file.flush()
                os.fsync(file.fileno())
            with (temporary / "index.npz").open("wb") as file:
                bad = np.array(sorted(reasons), dtype=np.int64)
                why = json.dumps([reasons[int(i)] for i in bad]).encode()
                reason_bytes = np.frombuffer(why, dtype=np.uint8)
                np.savez(file, sizes=sizes, light=light, digests=digests, bad=bad, why=reason_bytes)
                file.flush()
                os.fsync(file.fileno())
            try:
                temporary.rename(pack)
            except OSError:
                if not pack.exists():  # else another process was quicker
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _clear_unfinished(packs: Path) -> None:
    """Remove what processes that were killed a day ago or more left behind."""
    for old in packs.glob("unfinished-*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > 86_400:
                shutil.rmtree(old)


def _decoded(raw: Raw, preprocess: Preprocess) -> NDArray[np.uint8]:
    if isinstance(raw, DataError):
        raise raw
    if isinstance(raw, bytes):
        return decode.decode(raw, None if preprocess.cuts_out else preprocess.channels)
    return decode.to_channels(raw, preprocess.channels)


def _digest(image: NDArray[np.uint8]) -> int:
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=8)
    digest.update(image.tobytes())
    return int.from_bytes(digest.digest(), "little")


def _invert(file: BinaryIO, indices: NDArray[np.int64], size: int) -> None:
    for index in indices.tolist():
        file.seek(index * size)
        picture = np.frombuffer(file.read(size), dtype=np.uint8)
        file.seek(index * size)
        file.write((255 - picture).tobytes())


def _open(pack: Path, count: int, preprocess: Preprocess) -> Pack:
    shape = (count, preprocess.planes, preprocess.size, preprocess.size)
    try:
        with (pack / "images.bin").open("rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found != math.prod(shape):
                raise ValueError(f"images.bin has {found} bytes, not {math.prod(shape)}")
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # Opened here, since np.load leaves a file open that it cannot read.
        with (pack / "index.npz").open("rb") as file, np.load(file, allow_pickle=False) as index:
            originals = Originals(index["sizes"], index["digests"], index["light"])
            reasons = zip(index["bad"].tolist(), json.loads(index["why"].tobytes()), strict=True)
            store = np.frombuffer(mapping, dtype=np.uint8).reshape(shape)
            return store, mapping, originals, list(reasons)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{pack} must be a whole pack, got a damaged one ({error}).") from None


@contextmanager
def _room(source: str, need: int = 0) -> Iterator[None]:
    """Turn a full or read-only disk into an error that says what to do."""
    try:
        yield
    except OSError as error:
        megabytes = f"{need / 2**20:.0f} MB " if need else ""
        raise DataError(
            f"the cache folder must have {megabytes}room for {source}, got {error.strerror!r} at "
            f"{folder()}. Set SIGLUM_CACHE to a folder that can be written."
        ) from error
