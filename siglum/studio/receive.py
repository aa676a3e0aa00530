"""What somebody sent: a bundle, or drawings in a zip. It is read whole, and nothing of it is run.

No name in a file becomes a path: a folder's name is only a class's name here.
Shapes: S the side of the frame, H x W pixels.
"""

import io
import re
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siglum.errors import DataError, SiglumError
from siglum.images import class_folders, decode, samples, strokes
from siglum.images.components import bounding_box
from siglum.images.samples import Sample
from siglum.images.strokes import Drawing
from siglum.recogniser import bundle as bundles
from siglum.studio import wire
from siglum.studio.seen import DECODING, MOST_PIXELS, look, small
from siglum.studio.snapshot import Snapshot
from siglum.studio.studio import MOST_DRAWINGS, Conflict, Studio

MOST_MEMBERS = 3 * MOST_DRAWINGS
MEMBER = b"PK\x01\x02"  # what each begins with in a zip's list of them
MOST_BYTES = 2**30  # of all members, unpacked
MOST_MEMBER = 20 * 2**20
SIDE = 256  # px of a picture that is made of a bundle's sample
USUAL = 0.6  # of that side, for ink of which nobody knows how large it was
SKIPPED = re.compile(r"(?:^|/)(?:\.|__MACOSX/)")
SAID = 5  # files that could not be read are named


@dataclass
class Job:
    """The one long piece of work that there may be, and how to end it."""

    busy: threading.Lock = field(default_factory=threading.Lock)
    cancelled: threading.Event = field(default_factory=threading.Event)


class Given(NamedTuple):
    """A drawing or photo that somebody sent, or why it cannot be read."""

    what: str  # a name for messages
    class_name: str
    sample: Sample | SiglumError


class Taken(NamedTuple):
    """What was done with a file."""

    said: list[str]  # in words
    samples: list[str]  # ids of the drawings that are kept of it


def receive(studio: Studio, raw: bytes, who: str, job: Job) -> tuple[Snapshot, Taken]:
    """Take classes and drawings from a file; return what is so then, and what was done.

    Raises:
        Conflict: if another file is being taken in.
        DataError: if it is neither a bundle nor a zip of drawings.
    """
    if not job.busy.acquire(blocking=False):
        raise Conflict("one file must be taken in at a time, got a second one. Wait, or cancel.")
    try:
        job.cancelled.clear()
        classes, given = _opened(raw)
        return _taken(studio, classes, given, who, job)
    finally:
        job.busy.release()


def _taken(
    studio: Studio, classes: tuple[str, ...], given: Iterator[Given], who: str, job: Job
) -> tuple[Snapshot, Taken]:
    """Keep what is new of a file, and learn once at the end."""
    studio.check_classes(classes)
    try:
        taken = _keep(studio, classes, given, who, job)
    finally:
        now = studio.learned()
    return now, taken


def _keep(
    studio: Studio, classes: tuple[str, ...], given: Iterator[Given], who: str, job: Job
) -> Taken:
    known = 0
    kept: list[str] = []
    bad: list[str] = []
    new = sum(studio.add_class(name, who) for name in classes)
    # As often as it is here a drawing of the file is taken for one of those, and not kept again.
    now = studio.current
    here = Counter(
        (entry.class_name, entry.part, now.seen[drawing].digest)
        for drawing, entry in now.state.drawings.items()
    )
    for one in given:
        if job.cancelled.is_set():
            break
        try:
            if isinstance(one.sample, SiglumError):
                raise one.sample
            name = wire.text("class", one.class_name)
            writer = wire.text("writer", one.sample.writer, least=0)
            seen, found = look(studio.backbone, _shown(one.sample.drawing))
            if found.empty:
                raise DataError("it must show ink, got none.")
            if here[mark := (name, one.sample.part, seen.digest)]:
                here[mark] -= 1
                known += 1
                continue
            new += studio.add_class(name, who)
            drawing = one.sample.drawing
            drawing = drawing if isinstance(drawing, Drawing) else small(drawing)
            when = one.sample.when or None
            kept.append(studio.keep(drawing, name, writer, one.sample.part, who, when=when)[0])
        except SiglumError as error:
            bad.append(f"{one.what}: {error}")
    said = [f"Took {_count(len(kept), 'drawing')} and {_count(new, 'new sign')}."]
    if job.cancelled.is_set():
        said.append("It was cancelled; what was taken until then is kept.")
    if known:
        said.append(f"{_count(known, 'drawing')} more: here already, to the pixel.")
    if bad:
        more = f", and {len(bad) - SAID} more" if len(bad) > SAID else ""
        said.append(
            f"{_count(len(bad), 'drawing')} could not be taken: {' '.join(bad[:SAID])}{more}"
        )
    return Taken(said, kept)


def _opened(raw: bytes) -> tuple[tuple[str, ...], Iterator[Given]]:
    """Return the classes and drawings of a bundle or a zip."""
    if (many := raw.count(MEMBER)) > MOST_MEMBERS:  # a list of so many takes minutes to read
        raise DataError(
            f"zip must hold at most {MOST_MEMBERS:,} files, got {many:,}. Send a part of it."
        )
    try:
        archive = zipfile.ZipFile(io.BytesIO(raw))
        members = archive.infolist()
    except Exception:  # the readers of hostile bytes raise nearly anything
        raise DataError(
            "file must be a bundle (.siglum) or a zip of drawings, got another kind of file."
        ) from None
    if bundles.CARD in {member.filename for member in members}:
        bundle = bundles.decode(raw, "the bundle")
        names = tuple(wire.text("class", name) for name in bundle.classes)
        return names, _of_bundle(bundle)
    unpacked = sum(member.file_size for member in members)
    if unpacked > MOST_BYTES:
        raise DataError(
            f"zip must hold at most {MOST_BYTES:,} bytes in all, got {unpacked:,}. Send a part of "
            "it."
        )
    return (), _of_zip(archive, members)


def _of_zip(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> Iterator[Given]:
    """Read drawings with their pictures, and pictures alone, each of the class of its folder."""
    stems: dict[str, dict[str, zipfile.ZipInfo]] = {}
    for member in members:
        name = member.filename.replace("\\", "/")
        if not member.is_dir() and not SKIPPED.search(name) and "/" in name:
            stem, _, ending = name.rpartition(".")
            stems.setdefault(stem, {})[f".{ending.lower()}"] = member
    with tempfile.TemporaryDirectory() as folder:
        for stem, files in stems.items():
            above, _, own = stem.rpartition("/")
            if samples.NAME.fullmatch(own) and _removed(above):
                continue
            if own == class_folders.NAME.partition(".")[0] and ".txt" in files:
                continue
            shown = next((end for end in decode.IMAGE_SUFFIXES if end in files), None)
            if shown is None:
                continue
            try:
                told = stems.get(f"{above}/name", {}).get(".txt")
                named = None if told is None else _read(archive, told).decode(errors="replace")
                class_name = class_folders.class_of(above.rpartition("/")[2], named)
                picture = _read(archive, files[shown])
                facts = _read(archive, files[".json"]) if ".json" in files else None
                yield Given(own[:40], class_name, _sample(Path(folder), picture, facts))
            except SiglumError as error:
                yield Given(own[:40], "?", error)


def _removed(folder: str) -> bool:
    """Say whether this is where removed samples are kept, and no class that is called so."""
    above, _, name = folder.rpartition("/")
    return name == samples.REMOVED and above.rpartition("/")[2] not in samples.FOLDERS.values()


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.flag_bits & 1 or member.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):
        raise DataError("it must be stored or deflated without a password, got another way.")
    try:
        with archive.open(member) as file:
            raw = file.read(MOST_MEMBER + 1)
    except Exception as error:
        raise DataError(f"it must be whole, got damage ({str(error)[:80]}).") from None
    if len(raw) > MOST_MEMBER:
        raise DataError(f"it must have at most {MOST_MEMBER:,} bytes, got more.")
    return raw


def _sample(folder: Path, picture: bytes, facts: bytes | None) -> Sample:
    """Read one sample by the reader of samples, from files of our own naming."""
    if facts is None:
        return Sample(_decoded(picture), "", "taught", "")
    path = folder / "sample"
    path.with_suffix(".png").write_bytes(picture)
    path.with_suffix(".json").write_bytes(facts)
    with DECODING:
        return samples.read(path, MOST_PIXELS)


def _decoded(raw: bytes) -> NDArray[np.uint8]:
    try:
        with DECODING:
            return decode.decode(raw, None, max_pixels=MOST_PIXELS)
    except DataError as error:
        raise DataError(f"it {error}.") from None


def _of_bundle(bundle: bundles.Bundle) -> Iterator[Given]:
    if bundle.samples is None:
        return
    held = bundle.samples
    rows = zip(held.ink, held.labels.tolist(), held.places, strict=True)
    for number, (ink, label, place) in enumerate(rows, start=1):
        found: Sample | SiglumError = DataError("it must show ink, got none.")
        if ink.any():
            found = Sample(as_picture(ink, place), "", "taught", "")
        yield Given(f"sample {number}", bundle.classes[label], found)


def as_picture(ink: NDArray[np.uint8], place: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture (1, H, W), dark on white, whose canonical ink is about the given one (S, S).

    Args:
        place: (3,): its height, width and middle in heights of the picture, where they are known.
    """
    top, left, bottom, right = bounding_box(ink > 0)
    cut = ink[top:bottom, left:right]
    height, width, middle = (float(value) for value in place)
    if not np.isfinite(place).all() or not 0 < max(height, width) <= 1:
        longer = max(cut.shape)
        height, width, middle = USUAL * cut.shape[0] / longer, USUAL * cut.shape[1] / longer, 0.5
    rows, columns = (min(max(round(SIDE * side), 1), SIDE - 2) for side in (height, width))
    grown = np.asarray(Image.fromarray(cut).resize((columns, rows), Image.Resampling.BICUBIC))
    picture = np.zeros((SIDE, SIDE), np.uint8)
    first = min(max(round(SIDE * middle - rows / 2), 1), SIDE - 1 - rows)
    start = (SIDE - columns) // 2
    picture[first : first + rows, start : start + columns] = grown
    return (255 - picture)[None]


def _shown(drawing: Drawing | NDArray[np.uint8]) -> NDArray[np.uint8]:
    return 255 - strokes.rasterise(drawing) if isinstance(drawing, Drawing) else drawing


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
