"""Import drawings and classes from a bundle, a zip or a folder of images.

Files from others may be hostile: nothing in them is run, no name in them becomes a path, and time,
pixels and memory are limited. An import is one change, all or nothing.
"""

import io
import json
import re
import shutil
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from siglum.errors import DataError, SiglumError
from siglum.files import parse_json
from siglum.formatting import count
from siglum.images import strokes
from siglum.images.components import bounding_box
from siglum.images.decode import IMAGE_SUFFIXES
from siglum.images.studio_set import is_set
from siglum.recogniser import bundle as bundles
from siglum.recogniser.predict import Recogniser
from siglum.studio.convert import is_old_set
from siglum.studio.drawings import Ink, Pixels, decode_image, shrink_photo, stroke_image, to_png
from siglum.studio.errors import StudioError
from siglum.studio.schemas import class_name, clean_name
from siglum.studio.state import Studio
from siglum.studio.store import MAX_DRAWINGS, Entry, NewDrawing, timestamp

MAX_MEMBERS = 3 * MAX_DRAWINGS
MAX_MEMBER = 20 * 2**20  # bytes, unpacked
MAX_UNPACKED = 2**30  # bytes of all members
MAX_SECONDS = 60.0
MAX_TOTAL_PIXELS = 2_000_000_000
MAX_STORED = 512 * 2**20  # bytes of PNG that are held until all is saved
SAME = 0.99  # cosine of features from which two drawings of a sign are the same one
SIDE, USUAL = 256, 0.6  # px of an image made from ink; share of it that ink of unknown size gets
DIRECTORY_ENTRY = b"PK\x01\x02"
HIDDEN = re.compile(r"(?:^|/)(?:\.|__MACOSX/|@)")
SPLITS = {"train": "train", "valid": "train", "val": "train", "test": "test"} | {
    "samples": "train",  # folders of the Studio's old format
    "quiz": "test",
}
COMPANIONS = ("json", "csv", "txt", "md")
MAX_NAMED = 5  # unreadable files named in a message


@dataclass
class Job:
    """The one import that may run, its progress, and a way to stop it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    cancelled: threading.Event = field(default_factory=threading.Event)
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class Result:
    """What an import did."""

    added: int
    classes_added: int
    duplicates: int
    cancelled: bool
    messages: list[str]


class Item(NamedTuple):
    """A drawing to import."""

    name: str  # for messages
    label: str
    split: str
    read: Callable[[], tuple[Any, Pixels, dict[str, Any]]]  # strokes or None, image, facts
    ink: Pixels | None = None  # (S, S), if it came without an image


def import_bytes(studio: Studio, content: bytes, session: str | None, job: Job) -> Result:
    """Import a bundle or a zip of images.

    Raises:
        StudioError: if another import is running, or it is neither.
    """
    return _run(studio, lambda: _open_archive(content), session, job)


def find_set(source: Path) -> Path:
    """Return the folder of the set that `siglum studio SOURCE` opens.

    Raises:
        DataError: if there is something else.
    """
    if source.is_file() or source.suffix in (".siglum", ".zip"):
        if not source.is_file():
            raise DataError(f"No such file: {source}.")
        folder = source.with_suffix("")
    elif not source.is_dir() or is_set(source) or is_old_set(source) or not _visible(source):
        return source
    elif any(path.suffix.lower() in IMAGE_SUFFIXES for path in source.glob("**/*/*")):
        folder = source.with_name(f"{source.resolve().name}-signs")
    else:
        raise DataError(
            f"{source} holds other files, such as {_visible(source)[0]!r}. Choose a new folder for "
            "your signs, or one with a folder of images for each class."
        )
    if folder.exists() and not is_set(folder):
        raise DataError(f"{folder} is in the way. Rename it, or {source}.")
    return folder


def _visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def create_set(folder: Path, source: Path, backbone: Recogniser) -> Result:
    """Create a set from a bundle, a zip or a folder of images, whole or not at all."""
    unfinished = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with closing(Studio(unfinished, backbone)) as studio:
            if source.is_dir():
                paths = sorted(path for path in source.rglob("*") if path.is_file())
                files = {path.relative_to(source).as_posix(): path.read_bytes for path in paths}
                result = _run(studio, lambda: ((), _items(files)), None, Job())
            else:
                result = import_bytes(studio, source.read_bytes(), None, Job())
        unfinished.rename(folder)
    except OSError as error:
        raise DataError(f"Cannot import {source}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return result


def _run(
    studio: Studio,
    open_source: Callable[[], tuple[tuple[str, ...], list[Item]]],
    session: str | None,
    job: Job,
) -> Result:
    if not job.lock.acquire(blocking=False):
        message = "Another import is running. Wait until it is done, or cancel it."
        raise StudioError("busy", message)
    try:
        job.cancelled.clear()
        job.done = job.total = 0
        names, items = open_source()
        job.total = len(items)
        return _import(studio, names, items, session, job)
    finally:
        job.lock.release()


def _import(
    studio: Studio, names: tuple[str, ...], items: list[Item], session: str | None, job: Job
) -> Result:
    names = tuple(class_name(name) for name in names)
    chosen: list[tuple[NewDrawing, Ink]] = []
    errors: list[str] = []
    messages: list[str] = []
    known = _Known(studio)
    duplicates = pixels = stored = 0
    start = time.monotonic()
    for item in items:
        if job.cancelled.is_set():
            return Result(0, 0, 0, True, ["Import cancelled. Nothing was added."])
        if (
            time.monotonic() - start > MAX_SECONDS
            or pixels > MAX_TOTAL_PIXELS
            or stored > MAX_STORED
        ):
            messages.append(
                f"This is too much at once: stopped after {job.done:,} of {job.total:,} images. "
                "Import the rest in smaller parts."
            )
            break
        job.done += 1
        try:
            points, image, facts = item.read()
            pixels += image.size
            label = class_name(str(facts.get("label", item.label)))
            ink = studio.extract(image)
            features = [ink.features]
            if item.ink is not None:  # it came without an image, and is compared as it came too
                features.append(studio.features(item.ink))
            if ink.empty:
                raise StudioError("no_ink", "no ink.")
            split = facts.get("split", item.split)
            if known.holds(label, split, features):
                duplicates += 1
                continue
            author = clean_name(str(facts.get("author", "")))
            entry = Entry(
                label,
                author,
                "test" if split == "test" else "train",
                str(facts.get("time") or timestamp())[:40],
                points is None,
            )
            png = to_png(image if points is not None else shrink_photo(image))
            stored += len(png)
            text = None if points is None else json.dumps(strokes.to_json(points))
            chosen.append((NewDrawing(entry, text, png), ink))
        except (SiglumError, ValueError) as error:
            errors.append(f"{item.name}: {error}")
    classes_added = studio.add_import(names, chosen, session)
    added = f"Imported {count(len(chosen), 'drawing')}"
    messages.insert(0, f"{added} and {count(classes_added, 'new sign')}.")
    if duplicates:
        messages.append(f"{duplicates:,} skipped: you have them already.")
    if errors:
        more = f", and {len(errors) - MAX_NAMED:,} more" if len(errors) > MAX_NAMED else ""
        listed = "; ".join(errors[:MAX_NAMED])
        messages.append(f"{count(len(errors), 'file')} could not be read: {listed}{more}")
    return Result(len(chosen), classes_added, duplicates, False, messages)


class _Known:
    """The drawings of a set; each stands for one imported drawing like it."""

    def __init__(self, studio: Studio) -> None:
        self.features: dict[tuple[str, str], list[Any]] = {}
        now = studio.update()
        for id, entry in now.state.drawings.items():
            key = (now.state.classes[entry.label], entry.split)
            self.features.setdefault(key, []).append(now.inks[id].features)

    def holds(self, label: str, split: str, features: list[Any]) -> bool:
        """Return whether there is such a drawing, and do not count it again."""
        candidates = self.features.get((label, split), [])
        if not candidates:
            return False
        similar = (np.array(candidates) @ np.array(features).T).max(axis=1)
        if similar.max() >= SAME:
            del candidates[int(similar.argmax())]
        return bool(similar.max() >= SAME)


def _open_archive(content: bytes) -> tuple[tuple[str, ...], list[Item]]:
    if content.count(DIRECTORY_ENTRY) > MAX_MEMBERS:  # reading so long a list takes minutes
        raise StudioError("unreadable", f"This zip has more than {MAX_MEMBERS:,} files.")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        members = [member for member in archive.infolist() if not member.is_dir()]
    except Exception:  # hostile bytes make the reader raise nearly anything
        message = "Choose a .siglum file or a .zip of images."
        raise StudioError("unreadable", message) from None
    if bundles.CARD in {member.filename for member in members}:
        return _of_bundle(bundles.decode(content, "The bundle"))
    if sum(member.file_size for member in members) > MAX_UNPACKED:
        message = f"This zip unpacks to more than {MAX_UNPACKED // 2**20:,} MB. Import it in parts."
        raise StudioError("unreadable", message)

    def reader(member: zipfile.ZipInfo) -> Callable[[], bytes]:
        return lambda: _read_member(archive, member)

    return (), _items({_decoded_name(member): reader(member) for member in members})


def _decoded_name(member: zipfile.ZipInfo) -> str:
    """Return a member's name; zips from a Mac hold UTF-8 without saying so."""
    name = member.filename.replace("\\", "/")
    if not member.flag_bits & 0x800:
        try:
            return name.encode("cp437").decode("utf-8")
        except (UnicodeEncodeError, UnicodeDecodeError):
            pass
    return name


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.flag_bits & 1 or member.compress_type not in (0, zipfile.ZIP_DEFLATED):
        raise StudioError("unreadable", "it has a password, or is compressed in an unusual way.")
    try:
        with archive.open(member) as file:
            content = file.read(MAX_MEMBER + 1)
    except Exception as error:
        raise StudioError("unreadable", f"it is damaged ({str(error)[:80]}).") from None
    if len(content) > MAX_MEMBER:
        raise StudioError("unreadable", f"it has more than {MAX_MEMBER // 2**20} MB.")
    return content


def _items(files: dict[str, Callable[[], bytes]]) -> list[Item]:
    """Return the drawings among files: images in a folder for each class, with JSON beside them."""
    items = []
    for path, read in files.items():
        stem, dot, ending = path.rpartition(".")
        *folders, own = stem.split("/")
        if HIDDEN.search(path) or ending.lower() in COMPANIONS:
            continue
        if f"{dot}{ending.lower()}" not in IMAGE_SUFFIXES:
            items.append(Item(path[-40:], "", "train", _fails("its format is not supported.")))
            continue
        if not folders:
            items.append(Item(path[-40:], "", "train", _fails("it lies in no folder of a class.")))
            continue
        splits = [SPLITS[name.lower()] for name in folders[:-1] if name.lower() in SPLITS]
        facts = files.get(f"{stem}.json")
        label = folders[-1]
        items.append(Item(own[:40], label, splits[-1] if splits else "train", _reader(read, facts)))
    return items


def _fails(message: str) -> Any:
    def fail() -> Any:
        raise StudioError("unreadable", message)

    return fail


def _reader(read: Callable[[], bytes], read_facts: Callable[[], bytes] | None) -> Any:
    def item() -> tuple[Any, Pixels, dict[str, Any]]:
        facts = {} if read_facts is None else parse_json(read_facts(), "its JSON")
        if isinstance(facts, dict) and "strokes" in facts:
            points = strokes.parse({key: facts.get(key) for key in strokes_fields})
            return points, stroke_image(points), facts
        return None, decode_image(read()), facts if isinstance(facts, dict) else {}

    return item


strokes_fields = ("version", "aspect", "strokes")


def _of_bundle(bundle: bundles.Bundle) -> tuple[tuple[str, ...], list[Item]]:
    samples = bundle.samples
    if samples is None:
        return bundle.classes, []

    def reader(row: int) -> Any:
        return lambda: (None, ink_image(samples.ink[row], samples.positions[row]), {})

    rows = enumerate(samples.labels.tolist())
    items = [
        Item(f"drawing {n + 1}", bundle.classes[k], "train", reader(n), samples.ink[n])
        for n, k in rows
    ]
    return bundle.classes, items


def ink_image(ink: Pixels, position: np.ndarray) -> Pixels:
    """Return an image (1, H, W), dark on white, whose normalised ink is about `ink` (S, S).

    Args:
        position: (3,), height, width and vertical middle of the ink in heights of the image.
    """
    if not ink.any():
        raise StudioError("no_ink", "no ink.")
    top, left, bottom, right = bounding_box(ink > 0)
    crop = ink[top:bottom, left:right]
    height, width, middle = (float(value) for value in position)
    if not np.isfinite(position).all() or not 0 < max(height, width) <= 1:
        height, width = (USUAL * side / max(crop.shape) for side in crop.shape)
        middle = 0.5
    rows, columns = (min(max(round(SIDE * side), 1), SIDE - 2) for side in (height, width))
    image = np.zeros((SIDE, SIDE), np.uint8)
    y = min(max(round(SIDE * middle - rows / 2), 1), SIDE - 1 - rows)
    x = (SIDE - columns) // 2
    scaled = Image.fromarray(crop).resize((columns, rows), Image.Resampling.BICUBIC)
    image[y : y + rows, x : x + columns] = np.asarray(scaled)
    return (255 - image)[None]
