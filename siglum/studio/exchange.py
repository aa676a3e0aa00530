"""Import and export: bundles, plain image files, files of strokes, a report.

Files from others may be hostile: nothing in them is run, no name in them becomes a path outside
the cache, and time, pixels and memory are limited.
"""

import json
import re
import shutil
import sqlite3
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from siglum import __version__, formatting, stats
from siglum.errors import DataError, SiglumError
from siglum.files import atomic_path, read_json, to_csv, write_atomic
from siglum.formatting import count
from siglum.images import decode, folder as folders, formats, strokes, studio_set
from siglum.images.cache import Content, Listing, Progress, Row, first_names, no_progress
from siglum.images.characters import OUTPUTS_COLUMNS, OUTPUTS_FILE, read_outputs
from siglum.images.studio_set import FILE, Entry, State
from siglum.recogniser import bundle as bundles, calibration
from siglum.recogniser.fit import to_bundle
from siglum.recogniser.predict import Recogniser
from siglum.studio import snapshot, store
from siglum.studio.snapshot import Json, Pixels, Studio
from siglum.studio.store import NewDrawing, StudioError

MAX_FILES = 3 * store.MAX_DRAWINGS  # in a zip
MAX_UNPACKED = 2**30  # bytes
MAX_SECONDS, MAX_PIXELS = 60.0, 2_000_000_000  # of an upload
MAX_STORED = 512 * 2**20  # bytes of PNG that are held until an upload is saved
SAME = 0.99  # cosine of features from which two drawings of a sign are the same one
SIDE, USUAL = 256, 0.6  # px of an image made from ink; share of it for ink of unknown size
UNSAFE = re.compile(  # in names of folders, on some file system
    r'[\x00-\x1f\x7f<>:"/\\|?*%~]|^[. ]|[. ]$|^(?=(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)).',
    re.IGNORECASE,
)
THUMBNAIL = 80  # px, in a report
MAX_EACH, MAX_ALL = 12, 1_500  # thumbnails of a class or confusion; of all classes

# A drawing to save, labelled with the name of its class; its image; its ink if that came instead.
Source = tuple[NewDrawing, Pixels, Pixels | None]
Item = tuple[str, Callable[[], Source]]  # a name for messages, and how to read it
Items = tuple[dict[str, str], list[Item], list[tuple[str, str]]]  # outputs; drawings; unreadable


def open_source(
    source: Path, backbone: Recogniser, see: Progress = no_progress
) -> tuple[Studio, list[str]]:
    """Open a set, or import images to a new one; return messages."""
    folder = source
    if source.is_file():
        folder = source.with_suffix("")
    elif source.suffix in (".siglum", ".zip", ".ndjson", ".inkml") and not source.exists():
        raise DataError(f"No such file: {source}.")
    elif not (source / FILE).exists() and any(source.glob("[!.]*")):
        folder = source.with_name(f"{source.resolve().name}-signs")
    is_new = not (folder / FILE).exists()
    if folder != source and is_new and folder.exists():
        raise DataError(f"{folder} exists already. Rename it, or {source}.")
    studio, messages = Studio(folder, backbone, see), []
    try:
        if folder != source and studio.store.last_event("undo") is None:
            messages = _import(studio, _list(source, str(source)))["messages"]
    except BaseException:
        studio.close()
        if is_new:
            shutil.rmtree(folder)
        raise
    return studio, messages


def import_upload(studio: Studio, content: bytes, session: str | None) -> Json:
    """Import a bundle or a zip of images that a browser sent; return what was added."""
    if content.count(b"PK\1\2") > MAX_FILES:  # reading so long a list takes minutes
        raise StudioError(422, f"This zip has more than {MAX_FILES:,} files.")
    if not studio.importing.acquire(blocking=False):
        raise StudioError(409, "Another import is running. Wait until it is done, or cancel it.")
    try:
        studio.import_cancelled.clear()
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "upload.zip"
            path.write_bytes(content)
            return _import(studio, _list(path, "this file"), session, is_upload=True)
    finally:
        studio.importing.release()


def _import(
    studio: Studio, listed: Items, session: str | None = None, is_upload: bool = False
) -> Json:
    texts, items, unreadable = listed
    try:
        texts = {store.class_name(name): text for name, text in texts.items()}
    except ValueError as error:
        raise StudioError(422, f"A name in this file cannot be used: {error}.") from None
    now = studio.update()
    saved: dict[tuple[str, str], list[Any]] = defaultdict(list)  # features by class and split
    for id, entry in now.state.drawings.items():
        saved[now.state.classes[entry.label], entry.split].append(now.inks[id].features)
    new: list[NewDrawing] = []
    notes, duplicates, stored, pixels, start = list[str](), 0, 0, 0, time.monotonic()
    for done, (item, read) in enumerate(items):
        studio.import_progress = done, len(items)
        if studio.import_cancelled.is_set():
            messages = ["Import cancelled. Nothing was added."]
            return {"added": 0, "classes_added": 0, "duplicates": 0, "messages": messages}
        slow = time.monotonic() - start > MAX_SECONDS
        if is_upload and (slow or pixels > MAX_PIXELS or stored > MAX_STORED):
            images = f"{done:,} of {len(items):,} images"
            notes = [f"This is too much at once: stopped after {images}. Import the rest in parts."]
            break
        try:
            drawing, image, original = read()
            pixels += image.size
            ink = snapshot.extract(studio.backbone, image)[0]
            if not ink.ink.any():
                raise DataError("no ink")
            features = [ink.features]
            if original is not None:  # compared as it came, too
                features += [*studio.backbone.features(original[None])]
            candidates = saved[drawing.facts.label, drawing.facts.split]
            similar = [max(one @ other for other in features) for one in candidates]
            if similar and max(similar) >= SAME:
                duplicates += 1
                del candidates[int(np.argmax(similar))]  # it is the same as one drawing only
                continue
            stored += len(drawing.image)
            new.append(drawing)
            studio.inks[drawing.id] = ink
        except (SiglumError, ValueError) as error:
            unreadable.append((item, str(error).rstrip(".")))
    names = [*texts, *(drawing.facts.label for drawing in new)]
    ids = studio.store.add_classes(names, session, texts, new)
    added = len({*ids} - now.state.classes.keys())
    studio.update()
    messages = [f"Imported {count(len(new), 'drawing')} and {count(added, 'new sign')}.", *notes]
    if duplicates:
        messages.append(f"{duplicates:,} skipped: you have them already.")
    if unreadable:
        named = first_names([f"{item[-40:]}: {reason}" for item, reason in unreadable])
        messages.append(f"{count(len(unreadable), 'file')} could not be read: {named}.")
    counts = {"added": len(new), "classes_added": added, "duplicates": duplicates}
    return counts | {"messages": messages}


def _list(path: Path, name: str) -> Items:
    """List what is in a bundle, a zip or folder of images, or a file or folder of strokes."""
    kind = formats.kind_of(path)
    if path.is_file() and not kind:
        try:
            with zipfile.ZipFile(path) as archive:
                members = {member.filename: member.file_size for member in archive.infolist()}
        except Exception:  # hostile bytes make the reader raise nearly anything
            raise StudioError(422, "Choose a .siglum file or a .zip of images.") from None
        if bundles.CARD in members:
            return _list_bundle(bundles.decode(path.read_bytes(), name))
        if sum(members.values()) > MAX_UNPACKED:
            raise StudioError(422, f"This zip unpacks to more than {MAX_UNPACKED >> 20} MB.")
        path = folders.unpack(path, name)
        kind = formats.kind_of(path)
    items: list[Item] = []
    if kind:
        listing = formats.read(kind, path, name, no_progress)
        items += [(row.name, partial(_read_row, listing, row)) for row in listing.rows]
        return {}, items, [*listing.unreadable]
    listing = folders.read(path, name)
    for row in listing.rows:
        items.append((row.name, partial(_read_image, path / row.name, row.label, row.part)))
    unreadable, texts = [*listing.unreadable], {}
    for file in [*path.glob(OUTPUTS_FILE), *path.glob(f"*/{OUTPUTS_FILE}")][:1]:
        try:
            texts = read_outputs(file)
        except ValueError as error:
            message = str(error).replace(str(file), OUTPUTS_FILE)
            unreadable.append((OUTPUTS_FILE, message.rstrip(".")))
    return texts, items, unreadable


def _read_image(path: Path, label: str, split: str) -> Source:
    """Read an image, or rather the strokes in the JSON file beside it (docs/samples-format.md)."""
    facts: dict[str, Any] = {"label": label, "split": split}
    with suppress(DataError, TypeError, ValueError):  # then the image counts
        facts |= read_json(path.with_suffix(".json"))
        keys = ("version", "aspect", "strokes")
        return _to_source(facts, strokes.parse({key: facts.get(key) for key in keys}))
    return _to_source(facts, decode.read_bytes(path))


def _read_row(listing: Listing, row: Row) -> Source:
    facts = {"label": row.label, "split": row.part, "author": row.writer}
    return _to_source(facts, listing.read(row.name))


def _to_source(facts: Json, content: Content) -> Source:
    text = json.dumps(strokes.to_json(content)) if isinstance(content, strokes.Drawing) else None
    image = snapshot.to_pixels(content)
    entry = Entry(
        store.class_name(str(facts["label"])),
        store.clean_name(str(facts.get("author", "")))[: store.MAX_NAME],
        "test" if facts["split"] == "test" else "train",
        store.clean_name(str(facts.get("time") or store.timestamp()))[:40],
        text is None,
    )
    return NewDrawing(entry, text, decode.to_png(image)), image, None


def _list_bundle(bundle: bundles.Bundle) -> Items:
    samples = bundle.samples

    def read(row: int) -> Source:
        assert samples is not None
        image = ink_image(samples.ink[row], samples.positions[row])
        facts = {"label": bundle.classes[samples.labels[row]], "split": "train"}
        return *_to_source(facts, image)[:2], samples.ink[row]

    rows = range(0 if samples is None else len(samples.labels))
    texts = {name: bundle.outputs.get(name, "") for name in bundle.classes}
    return texts, [(f"drawing {row + 1}", partial(read, row)) for row in rows], []


def ink_image(ink: Pixels, position: np.ndarray) -> Pixels:
    """Return an image (1, H, W) whose extracted ink is about `ink` (S, S) at a `position` (3,)."""
    frame = Image.fromarray(ink)
    crop = frame.crop(frame.getbbox())
    height, width, middle = position.tolist()
    if not 0 < max(height, width) <= 1:
        scale = USUAL / max(crop.size)
        height, width, middle = scale * crop.height, scale * crop.width, 0.5
    columns, rows = (min(max(round(SIDE * side), 1), SIDE - 2) for side in (width, height))
    y = min(max(round(SIDE * middle - rows / 2), 1), SIDE - 1 - rows)
    image = Image.new("L", (SIDE, SIDE))
    scaled = crop.resize((columns, rows), Image.Resampling.BICUBIC)
    image.paste(scaled, ((SIDE - columns) // 2, y))
    return (255 - np.asarray(image))[None]


def export_bundle(studio: Studio) -> bytes:
    """Return the file of the recogniser."""
    if (fitted := studio.current.fitted) is None:
        raise StudioError(409, "Two signs are needed first. Add or draw them under Teach.")
    return bundles.encode(to_bundle(fitted, command="siglum studio"))


def _list_files(state: State, database: sqlite3.Connection) -> Iterator[tuple[str, bytes]]:
    """Yield relative path and content of every file of an export; docs/samples-format.md."""
    has_test = any(entry.split == "test" for entry in state.drawings.values())
    names: dict[str, str] = {}  # of folders by class, distinct on every file system
    for id, name in state.classes.items():
        safe = UNSAFE.sub(lambda match: f"%{ord(match[0]):02x}", name)[:60]
        used = {other.casefold() for other in names.values()}
        names[id] = f"{safe} ({id[:6]})" if safe.casefold() in used else safe
    rows = [["file", "label", "author", "split", "time"]]
    for id, entry in state.drawings.items():
        points, image = studio_set.read_content(database, id)
        stem = f"{entry.split + '/' if has_test else ''}{names[entry.label]}/{id}"
        facts = {"label": state.classes[entry.label], "author": entry.author}
        facts |= {"split": entry.split, "time": entry.time}
        drawing = json.loads(points) if points else {}
        yield f"{stem}.png", image
        yield f"{stem}.json", json.dumps(facts | drawing, ensure_ascii=False).encode()
        rows.append([f"{stem}.png", *facts.values()])
    yield "labels.csv", to_csv(rows).encode()
    if state.outputs:
        yield OUTPUTS_FILE, to_csv([OUTPUTS_COLUMNS, *state.outputs.items()]).encode()


def _quickdraw_lines(state: State, database: sqlite3.Connection) -> Iterator[str]:
    """Yield QuickDraw's lines, with writer and split added; photos have no strokes."""
    for id, entry in state.drawings.items():
        if points := studio_set.read_content(database, id)[0]:
            drawing = strokes.parse(json.loads(points))
            scale = (*(256 * side for side in drawing.sides), 1)
            lists = [(stroke[:, :3] * scale).round(2).T.tolist() for stroke in drawing.strokes]
            facts = {"word": state.classes[entry.label], "writer": entry.author}
            line = facts | {"split": entry.split, "drawing": lists}
            yield json.dumps(line, ensure_ascii=False) + "\n"


def write_set(folder: Path, out: Path) -> int:
    """Export a set, which a Studio may have open, to a new folder or file; count its drawings."""
    as_zip, as_lines = out.suffix == ".zip", out.suffix == ".ndjson"
    if out.exists() and (as_zip or not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists already. Choose another name.")
    with closing(studio_set.connect(folder)) as database:
        state = studio_set.read_state(database)
        files = _list_files(state, database)
        if as_lines:
            lines = [*_quickdraw_lines(state, database)]
            write_atomic(out, "".join(lines))
            return len(lines)
        if as_zip:
            with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
                for name, data in files:  # not compressed: PNGs are small already
                    archive.writestr(name, data)
        else:
            for name, data in files:
                write_atomic(out / name, data)
    return len(state.drawings)


def report_page(studio: Studio) -> str:
    """Return a page on how well the signs are recognised; it loads and runs nothing."""
    now = studio.current

    def thumbnail(id: str) -> str:
        return decode.png_uri(snapshot.to_pixels(studio.store.content(id)[1]), THUMBNAIL)

    page = formatting.render_template(
        "siglum.studio",
        "report.html",
        state=now.json,
        title=studio.title,
        drawings=now.drawings,
        examples=now.state.select,
        names=now.state.classes,
        rate=lambda one: formatting.rate_and_interval(stats.Rate(**one)),
        thumbnail=thumbnail,
        max_thumbnails=min(MAX_EACH, 1 + MAX_ALL // (len(now.state.classes) + 1)),
        promises=now.fitted and calibration.describe(now.fitted.recogniser.bundle.calibration),
        date=formatting.date(date.today().isoformat()),
        version=__version__,
    )
    return page.replace(" %", "\N{NO-BREAK SPACE}%")
