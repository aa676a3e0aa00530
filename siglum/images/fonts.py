"""`fonts:DIR#greek`: characters drawn from fonts; the class is the character, the writer the face.

Without a folder the system's fonts are taken, without characters all of `charsets.groups()`.
What each font has is remembered in the cache folder, and the pictures are packed there.
"""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.images import cache, charsets, faces, glyphs
from siglum.images.cache import Progress, no_progress
from siglum.images.faces import Face
from siglum.images.imageset import ImageSet

VERSION = 1  # of everything that decides which characters are kept and how they are drawn
CHOICE = "#"  # stands between the folder and the characters
JUDGES = ("digits", "latin", "greek", "cyrillic", "punctuation")  # compared with, wanted or not


def load(place: Path, spec: str, preprocess: Preprocess, progress: Progress) -> ImageSet:
    """Draw the characters that `spec` names behind its "#" from every font at a place.

    Args:
        place: a folder or a file; not looked at where `spec` names none, as in "fonts:#greek".

    Raises:
        ConfigError: if the characters are not named as `charsets.resolve` has it.
        DataError: if no font has one of them.
    """
    where, _, named = spec.partition(":")[2].partition(CHOICE)
    wanted = charsets.resolve(named) if named else charsets.resolve(",".join(charsets.groups()))
    folders = [place] if where else faces.system_folders()
    found, unreadable, contents = scan(folders, wanted, spec, progress)
    classes = tuple(sorted({char for face in found for char in face.characters}))
    if not classes:
        reason = f" ({unreadable[0][0]} {unreadable[0][1]})" if unreadable else ""
        raise DataError(
            f"{spec} must find a font with one of {len(wanted)} characters, got none in "
            f"{', '.join(map(str, folders))}{reason}. Install fonts, or name another folder."
        )
    if named and (missing := [char for char in wanted if char not in classes]):
        warnings.warn(
            f"{spec}: no font has {len(missing)} of {len(wanted)} characters: "
            f"{', '.join(map(charsets.describe, missing[:5]))}",
            stacklevel=2,
        )
    store, mapping, originals, reasons = cache.memmap(
        contents,
        glyphs.count(found),
        lambda: _raws(found),
        preprocess,
        spec,
        progress,
        glyphs.planes,
    )
    number = {character: label for label, character in enumerate(classes)}
    labels = np.array([number[c] for face in found for c in face.characters], dtype=np.int64)
    writers = [face.name for face in found for _ in face.characters]
    # Face by face and in each by character, in however many files a face may lie.
    face = np.repeat(np.arange(len(found)), [len(face.characters) for face in found])
    good = np.lexsort((labels, face))
    good = good[~np.isin(good, [row for row, _ in reasons])]
    bad = [(f"{classes[labels[row]]} of {writers[row]}", reason) for row, reason in reasons]
    return ImageSet(
        store=store,
        rows=good,
        labels=labels[good],
        classes=classes,
        source=spec,
        writers=tuple(writers[row] for row in good.tolist()),
        unreadable=(*unreadable, *bad),
        originals=originals,
        mapping=mapping,
    )


def scan(
    folders: Sequence[Path], wanted: Sequence[str], source: str, progress: Progress = no_progress
) -> tuple[list[Face], list[tuple[str, str]], str]:
    """Return the faces in some folders with what they have of `wanted` and can be trusted.

    Returns:
        The faces by name, the files that cannot be read with reasons, and a digest of it all.
    """
    paths = faces.find(folders)
    digest = hashlib.blake2b(repr((VERSION, sorted(wanted))).encode(), digest_size=16)
    for path in paths:
        try:
            facts = path.stat()
        except OSError:
            continue
        digest.update(
            repr((str(path), facts.st_size, facts.st_mtime_ns)).encode("utf-8", "replace")
        )

    def look() -> dict[str, Any]:
        judges = [character for name in JUDGES for character in charsets.groups()[name]]
        found, unreadable = faces.read(paths, {*wanted, *judges}, progress)
        trusted = [glyphs.only(face, {*wanted}) for face in glyphs.kept(found, progress)]
        found = [face for face in trusted if face.parts]
        return {
            "faces": faces.to_json(found),
            "unreadable": unreadable,
            "contents": _contents(found),
        }

    noted = cache.load_cached(f"fonts {digest.hexdigest()}", look)
    unreadable = [(name, reason) for name, reason in noted["unreadable"]]
    return faces.from_json(noted["faces"]), unreadable, noted["contents"]


def _contents(found: Sequence[Face]) -> str:
    """Return a digest of the fonts' bytes and of what is drawn of them, wherever they lie."""
    whole = hashlib.blake2b(repr(VERSION).encode(), digest_size=16)
    files: dict[str, str] = {}
    for face in found:
        for part in face.parts:
            if part.path not in files:
                with Path(part.path).open("rb") as file:
                    files[part.path] = hashlib.file_digest(file, "sha256").hexdigest()
            what = (face.name, files[part.path], part.index, part.axes, part.characters)
            whole.update(repr(what).encode())
    return whole.hexdigest()


def _raws(found: Sequence[Face]) -> Iterator[tuple[int, NDArray[np.uint8] | DataError]]:
    row = 0
    for face in found:
        for _, picture in glyphs.pictures_of(face):
            yield row, picture
            row += 1
