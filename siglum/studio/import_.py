"""Import drawings and classes from a bundle, a zip or a folder of images.

Files from others may be hostile: nothing in them is run, no name in them becomes a path, and time,
pixels and memory are limited. An import is one change, all or nothing.
"""

import io
import json
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from siglum.errors import DataError, SiglumError
from siglum.files import parse_json
from siglum.formatting import count
from siglum.images import folder as folders
from siglum.images import strokes
from siglum.images.components import bounding_box
from siglum.images.decode import IMAGE_SUFFIXES
from siglum.images.studio_set import Entry, is_set
from siglum.recogniser import bundle as bundles
from siglum.recogniser.predict import Recogniser
from siglum.studio import drawings
from siglum.studio.convert import is_old_set
from siglum.studio.drawings import Features, Pixels
from siglum.studio.errors import StudioError
from siglum.studio.schemas import class_name, clean_name
from siglum.studio.state import Studio
from siglum.studio.store import MAX_DRAWINGS, NewDrawing, timestamp

MAX_MEMBERS = 3 * MAX_DRAWINGS
MAX_MEMBER = 20 * 2**20  # bytes, unpacked
MAX_UNPACKED = 2**30  # bytes of all members
MAX_SECONDS, MAX_PIXELS = 60.0, 2_000_000_000
MAX_STORED = 512 * 2**20  # bytes of PNG that are held until all is saved
SAME = 0.99  # cosine of features from which two drawings of a sign are the same one
SIDE, USUAL = 256, 0.6  # px of an image made from ink; share of it for ink of unknown size
DIRECTORY_ENTRY = b"PK\x01\x02"
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


class Source(NamedTuple):
    """One drawing in a file."""

    image: Pixels
    strokes: strokes.Drawing | None
    facts: dict[str, Any]
    ink: Pixels | None = None  # (S, S), if it came without an image


Item = tuple[str, Callable[[], Source]]  # a name for messages, and how to read it


def import_bytes(studio: Studio, content: bytes, session: str | None, job: Job) -> Result:
    """Import a bundle or a zip of images.

    Raises:
        StudioError: if another import is running, or it is neither.
    """
    if not job.lock.acquire(blocking=False):
        message = "Another import is running. Wait until it is done, or cancel it."
        raise StudioError("busy", message)
    try:
        job.cancelled.clear()
        return _import(studio, *_open_archive(content), session, job)
    finally:
        job.lock.release()


def find_set(source: Path) -> Path:
    """Return the folder of the set that `siglum studio SOURCE` opens.

    Raises:
        DataError: if there is something else.
    """
    visible = []
    if source.is_dir() and not is_set(source) and not is_old_set(source):
        visible = sorted(path.name for path in source.iterdir() if not path.name.startswith("."))
    if source.is_file():
        folder = source.with_suffix("")
    elif not visible:
        if source.suffix in (".siglum", ".zip") and not source.is_dir():
            raise DataError(f"No such file: {source}.")
        return source
    elif any(path.suffix.lower() in IMAGE_SUFFIXES for path in source.glob("**/*/*")):
        folder = source.with_name(f"{source.resolve().name}-signs")
    else:
        raise DataError(
            f"{source} holds other files, such as {visible[0]!r}. Choose a new folder for your "
            "signs, or one with a folder of images for each class."
        )
    if folder.exists() and not is_set(folder):
        raise DataError(f"{folder} is in the way. Rename it, or {source}.")
    return folder


def create_set(folder: Path, source: Path, backbone: Recogniser) -> Result:
    """Create a set from a bundle, a zip or a folder of images, whole or not at all."""
    unfinished = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with closing(Studio(unfinished, backbone)) as studio:
            if source.is_dir():
                paths = sorted(path for path in source.rglob("*") if path.is_file())
                files = {path.relative_to(source).as_posix(): path.read_bytes for path in paths}
                result = _import(studio, (), _items(files), None, Job())
            else:
                result = import_bytes(studio, source.read_bytes(), None, Job())
        unfinished.rename(folder)
    except OSError as error:
        raise DataError(f"Cannot import {source}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return result


def _import(
    studio: Studio, names: Sequence[str], items: Sequence[Item], session: str | None, job: Job
) -> Result:
    names = [class_name(name) for name in names]
    now = studio.update()
    saved: dict[tuple[str, str], list[Features]] = {}  # by class and split
    for id, entry in now.state.drawings.items():
        key = (now.state.classes[entry.label], entry.split)
        saved.setdefault(key, []).append(now.inks[id].features)
    new: list[NewDrawing] = []
    errors, messages = [], []
    duplicates = pixels = stored = 0
    start = time.monotonic()
    job.done, job.total = 0, len(items)
    for name, read in items:
        if job.cancelled.is_set():
            return Result(0, 0, 0, True, ["Import cancelled. Nothing was added."])
        slow = time.monotonic() - start > MAX_SECONDS
        if slow or pixels > MAX_PIXELS or stored > MAX_STORED:
            messages.append(
                f"This is too much at once: stopped after {job.done:,} of {job.total:,} images. "
                "Import the rest in smaller parts."
            )
            break
        job.done += 1
        try:
            source = read()
            pixels += source.image.size
            drawing, ink = _drawing(source), drawings.extract(studio.backbone, source.image)[0]
            if ink.empty:
                raise StudioError("no_ink", "no ink.")
            features = ink.features[None]
            if source.ink is not None:  # compared as it came, too
                features = np.concatenate([features, studio.backbone.features(source.ink[None])])
            if _remove_equal(saved.get((drawing.facts.label, drawing.facts.split), []), features):
                duplicates += 1
                continue
            stored += len(drawing.image)
            new.append(drawing)
            studio.remember(drawing.id, ink)
        except (SiglumError, ValueError) as error:
            errors.append(f"{name[-40:]}: {error}")
    classes_added = studio.store.add_import(names, new, session)
    studio.update()
    summary = f"Imported {count(len(new), 'drawing')} and {count(classes_added, 'new sign')}."
    messages.insert(0, summary)
    if duplicates:
        messages.append(f"{duplicates:,} skipped: you have them already.")
    if errors:
        more = f", and {len(errors) - MAX_NAMED:,} more" if len(errors) > MAX_NAMED else ""
        listed = "; ".join(errors[:MAX_NAMED])
        messages.append(f"{count(len(errors), 'file')} could not be read: {listed}{more}")
    return Result(len(new), classes_added, duplicates, False, messages)


def _drawing(source: Source) -> NewDrawing:
    """Return what to save; its label is the name of its class."""
    facts, points = source.facts, source.strokes
    entry = Entry(
        class_name(str(facts["label"])),
        clean_name(str(facts.get("author", facts.get("writer", "")))),  # `writer`: old format
        "test" if facts["split"] == "test" or facts.get("part") == "quiz" else "train",
        str(facts.get("time") or timestamp())[:40],
        points is None,
    )
    text = None if points is None else json.dumps(strokes.to_json(points))
    return NewDrawing(entry, text, drawings.to_png(source.image))


def _remove_equal(candidates: list[Features], features: Features) -> bool:
    """Find a saved drawing with such features (n, D), and let it not count for another one."""
    similar = [float((features @ one).max()) for one in candidates]
    if not similar or max(similar) < SAME:
        return False
    del candidates[similar.index(max(similar))]
    return True


def _open_archive(content: bytes) -> tuple[Sequence[str], list[Item]]:
    """Return the classes and drawings of a bundle or a zip."""
    if content.count(DIRECTORY_ENTRY) > MAX_MEMBERS:  # reading so long a list takes minutes
        raise StudioError("unreadable", f"This zip has more than {MAX_MEMBERS:,} files.")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        members = archive.infolist()
    except Exception:  # hostile bytes make the reader raise nearly anything
        raise StudioError("unreadable", "Choose a .siglum file or a .zip of images.") from None
    if bundles.CARD in archive.namelist():
        return _of_bundle(bundles.decode(content, "The bundle"))
    if sum(member.file_size for member in members) > MAX_UNPACKED:
        message = f"This zip unpacks to more than {MAX_UNPACKED // 2**20:,} MB. Import it in parts."
        raise StudioError("unreadable", message)
    files = {
        _member_name(one): partial(_read_member, archive, one)
        for one in members
        if not one.is_dir()
    }
    return (), _items(files)


def _member_name(member: zipfile.ZipInfo) -> str:
    name = member.filename.replace("\\", "/")
    if not member.flag_bits & 0x800:
        with suppress(UnicodeError):  # zips from a Mac hold UTF-8 without saying so
            return name.encode("cp437").decode("utf-8")
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


def _items(files: Mapping[str, Callable[[], bytes]]) -> list[Item]:
    """Return the drawings among files: images in a folder for each class, with JSON beside them."""
    names = [
        name
        for name in files
        if (path := PurePosixPath(name)).suffix.lower() not in folders.OTHER_SUFFIXES
        and not any(map(folders.is_system, path.parts))
    ]
    places = folders.parts_and_classes(names)
    return [
        (name, partial(_read_image, name, places[name.rpartition("/")[0]][0], files))
        for name in names
    ]


def _read_image(name: str, part: str, files: Mapping[str, Callable[[], bytes]]) -> Source:
    path = PurePosixPath(name)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise StudioError("unreadable", "its format is not supported.")
    if len(path.parts) < 2:
        raise StudioError("unreadable", "it lies in no folder of a class.")
    split = "test" if part == "test" else "train"
    facts: dict[str, Any] = {"label": path.parts[-2], "split": split}
    if (read_facts := files.get(f"{name.removesuffix(path.suffix)}.json")) is not None:
        more = parse_json(read_facts(), "its JSON")
        if not isinstance(more, dict):
            raise StudioError("unreadable", "its JSON is not a table.")
        facts |= more
    if "strokes" in facts:
        fields = ("version", "aspect", "strokes")
        points = strokes.parse({name: facts.get(name) for name in fields})
        return Source(drawings.stroke_image(points), points, facts)
    image = drawings.decode_image(files[name](), 2 * drawings.PHOTO_SIDE)
    return Source(image, None, facts)


def _of_bundle(bundle: bundles.Bundle) -> tuple[Sequence[str], list[Item]]:
    if (samples := bundle.samples) is None:
        return bundle.classes, []

    def read(row: int) -> Source:
        image = ink_image(samples.ink[row], samples.positions[row])
        facts = {"label": bundle.classes[samples.labels[row]], "split": "train"}
        return Source(image, None, facts, samples.ink[row])

    rows = range(len(samples.labels))
    return bundle.classes, [(f"drawing {row + 1}", partial(read, row)) for row in rows]


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
    image = Image.new("L", (SIDE, SIDE))
    scaled = Image.fromarray(crop).resize((columns, rows), Image.Resampling.BICUBIC)
    y = min(max(round(SIDE * middle - rows / 2), 1), SIDE - 1 - rows)
    image.paste(scaled, ((SIDE - columns) // 2, y))
    return (255 - np.asarray(image))[None]
