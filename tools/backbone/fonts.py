"""Find font files, and the faces and characters in them.

A face is one family in one style, such as "Caveat Bold". Its characters may lie in several files;
where two files have the same character, the first by name counts. fontTools reads which characters
a file has, and FreeType (through Pillow) draws them. FreeType opens each file first, since it
holds a compressed font to the sizes that it declares.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ImageFont

from siglum.errors import DataError
from siglum.images.cache import Progress, no_progress

ENDINGS = (".ttf", ".otf", ".ttc", ".otc", ".woff", ".woff2")
EM = 128  # px that a face is drawn at
MAX_BYTES = 128 * 2**20  # of one file, and of what it unpacks to
MAX_FACES = 64  # of one collection
BOLD = 700  # the second weight drawn from a variable font
OUTLINES = ("glyf", "CFF ", "CFF2")
LINE = "bdfhklgjpqy"  # letters that reach from the top of the line to its bottom

logging.getLogger("fontTools").addHandler(logging.NullHandler())  # it reports oddities


@dataclass(frozen=True)
class Part:
    """Some characters of a face, in one file."""

    path: str
    index: int  # in a collection
    axes: tuple[float, ...]  # a variable font's, in its order; none for its default
    characters: str


@dataclass(frozen=True)
class Face:
    """One family in one style; no character is in two of its parts."""

    name: str
    parts: tuple[Part, ...]
    above: float  # how far its line reaches above and below its foot, ems
    below: float

    @property
    def characters(self) -> str:
        """All its characters, in the order in which they are drawn."""
        return "".join(part.characters for part in self.parts)


def find_fonts(folders: Sequence[Path]) -> list[Path]:
    """Return the font files below some folders by name; a folder may be missing, or be a font."""
    paths = [path for path in folders if path.is_file()]
    for folder in folders:
        for above, inner, names in os.walk(folder, followlinks=False):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            paths += [Path(above, name) for name in names if name.lower().endswith(ENDINGS)]
    return sorted(dict.fromkeys(paths))


def read_faces(
    paths: Iterable[Path], wanted: Iterable[str], progress: Progress = no_progress
) -> tuple[list[Face], list[tuple[str, str]]]:
    """Return the faces with some of the wanted characters, and the unreadable files with reasons.

    A line reaches from the highest to the lowest of the letters in `LINE` where the face has them,
    since declared heights only separate lines; else as far as the face declares.
    """
    paths, wanted = list(paths), frozenset(wanted)
    assigned: dict[str, set[str]] = {}
    parts: dict[str, list[Part]] = {}
    lines: dict[str, tuple[float, float]] = {}
    unreadable = []
    for done, path in enumerate(paths, start=1):
        progress("reading fonts", done, len(paths))
        try:
            for name, part in _parts(path, wanted):
                have = assigned.setdefault(name, set())
                new = "".join(sorted({*part.characters} - have))
                have |= {*new}
                if new:
                    piece = Part(part.path, part.index, part.axes, new)
                    if name not in lines or {*LINE} <= {*new}:
                        lines[name] = _line(piece)
                    parts.setdefault(name, []).append(piece)
        except DataError as error:
            unreadable.append((str(path), str(error)))
    return [Face(name, tuple(parts[name]), *lines[name]) for name in sorted(parts)], unreadable


def open_font(part: Part, em: int = EM) -> ImageFont.FreeTypeFont:
    """Return a part's font, ready to draw with `em` px to the em.

    Raises:
        DataError: if FreeType cannot open it; the message is the reason alone.
    """
    try:
        # Basic layout: one character stands by itself, and every Pillow has it.
        font = ImageFont.truetype(part.path, em, part.index, layout_engine=ImageFont.Layout.BASIC)
        if part.axes:
            font.set_variation_by_axes(list(part.axes))
    except Exception as error:  # a hostile file may raise nearly anything
        raise DataError(f"cannot be opened by FreeType ({_first_line(error)})") from None
    return font


def _line(part: Part) -> tuple[float, float]:
    font = open_font(part)
    above, below = map(float, font.getmetrics())
    if {*LINE} <= {*part.characters}:
        with suppress(OSError):  # a damaged outline
            boxes = [font.getbbox(letter, anchor="ls") for letter in LINE]
            above, below = -min(box[1] for box in boxes), max(box[3] for box in boxes)
    return min(max(above / EM, 0.5), 2.0), min(max(below / EM, 0.1), 1.0)


def _parts(path: Path, wanted: frozenset[str]) -> Iterator[tuple[str, Part]]:
    """Yield every face of a file with its name.

    Raises:
        DataError: if it cannot be read; the message is the reason alone.
    """
    from fontTools.ttLib import TTCollection, TTFont, TTLibError  # late: a tenth of a second

    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from None
    if size > MAX_BYTES:
        raise DataError(f"has {size} bytes, more than {MAX_BYTES}")
    open_font(Part(str(path), 0, (), ""), em=16)
    with path.open("rb") as file:
        head = file.read(20)
    if head[:4] in (b"wOFF", b"wOF2") and int.from_bytes(head[16:20], "big") > MAX_BYTES:
        raise DataError(f"declares more than {MAX_BYTES} bytes")
    try:
        if head[:4] == b"ttcf":
            count = int.from_bytes(head[8:12], "big")
            if count > MAX_FACES:
                raise DataError(f"declares {count} faces, more than {MAX_FACES}")
            with path.open("rb") as file:
                for index, font in enumerate(TTCollection(file, lazy=True)):
                    yield from _styles(font, path, index, wanted)
        else:
            with path.open("rb") as file:
                yield from _styles(TTFont(file, lazy=True), path, 0, wanted)
    except DataError:
        raise
    except ImportError:
        raise DataError("needs brotli to be read: pip install brotli") from None
    except (TTLibError, Exception, RecursionError) as error:
        raise DataError(f"is damaged ({_first_line(error)})") from None


def _styles(
    font: Any, path: Path, index: int, wanted: frozenset[str]
) -> Iterator[tuple[str, Part]]:
    """Yield a font with its name, and a variable one in bold too."""
    if not any(table in font for table in OUTLINES):
        raise DataError("has no outlines, only pictures")
    # Names of our own, since reading those that the font gives its glyphs takes longer.
    font.setGlyphOrder([f"glyph{number}" for number in range(font["maxp"].numGlyphs)])
    codes = font.getBestCmap() or {}
    characters = "".join(sorted(chr(code) for code in codes if chr(code) in wanted))
    family = font["name"].getBestFamilyName() or path.stem
    style = font["name"].getBestSubFamilyName() or "Regular"
    yield f"{family} {style}", Part(str(path), index, (), characters)
    if "fvar" not in font:
        return
    axes = {axis.axisTag: axis for axis in font["fvar"].axes}
    weight = axes.get("wght")
    if weight is not None and weight.defaultValue < BOLD <= weight.maxValue:
        values = [BOLD if tag == "wght" else axis.defaultValue for tag, axis in axes.items()]
        bold = "Bold" if style == "Regular" else f"{style} Bold"
        yield f"{family} {bold}", Part(str(path), index, tuple(map(float, values)), characters)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:80] if lines else type(error).__name__
