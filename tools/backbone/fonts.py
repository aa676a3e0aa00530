"""Find font files, and the faces and characters in them.

A face is one family in one style, such as "Caveat Bold". Its characters may lie in several files;
where two files have the same character, the first by name counts. fontTools reads which characters
a file has, and FreeType (through Pillow) draws them. FreeType opens each file first, since it
holds a compressed font to the sizes that it declares.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import ImageFont

from siglum.errors import DataError
from siglum.images.cache import Progress, no_progress

SUFFIXES = (".ttf", ".otf", ".ttc", ".otc", ".woff", ".woff2")
EM = 128  # px that a face is drawn at
BOLD = 700  # the second weight drawn from a variable font

logging.getLogger("fontTools").addHandler(logging.NullHandler())  # it reports oddities


@dataclass(frozen=True)
class Part:
    """Some characters of a face, in one file."""

    path: str
    index: int = 0  # in a collection
    axes: tuple[float, ...] = ()  # a variable font's, in its order; none for its default
    characters: str = ""


@dataclass(frozen=True)
class Face:
    """One family in one style; no character is in two of its parts."""

    name: str
    parts: tuple[Part, ...]

    @property
    def characters(self) -> str:
        """All its characters, in the order in which they are drawn."""
        return "".join(part.characters for part in self.parts)


def find_fonts(folder: Path) -> list[Path]:
    """Return the font files below a folder by name, without those in hidden folders."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_faces(
    paths: Sequence[Path], wanted: set[str], progress: Progress = no_progress
) -> tuple[list[Face], list[tuple[str, str]]]:
    """Return the faces with the wanted characters, and the unreadable files with reasons."""
    parts: defaultdict[str, list[Part]] = defaultdict(list)
    unreadable = []
    for done, path in enumerate(paths, start=1):
        progress("reading fonts", done, len(paths))
        try:
            for name, part in _parts(path, wanted):
                open_font(part)  # so that it will open later, too
                before = {char for other in parts[name] for char in other.characters}
                if new := "".join(sorted({*part.characters} - before)):
                    parts[name].append(replace(part, characters=new))
        except DataError as error:
            unreadable.append((str(path), str(error)))
    return [Face(name, tuple(parts[name])) for name in sorted(parts) if parts[name]], unreadable


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
        raise DataError(f"cannot be opened by FreeType: {error}") from None
    return font


def _parts(path: Path, wanted: set[str]) -> Iterator[tuple[str, Part]]:
    """Yield every face of a file with its name.

    Raises:
        DataError: if it cannot be read; the message is the reason alone.
    """
    from fontTools.ttLib import TTCollection, TTFont  # late: a tenth of a second

    open_font(Part(str(path)), em=16)
    try:
        with path.open("rb") as file:
            collection = file.read(4) == b"ttcf"
            file.seek(0)
            fonts = TTCollection(file, lazy=True) if collection else [TTFont(file, lazy=True)]
            for index, font in enumerate(fonts):
                yield from _styles(font, path, index, wanted)
    except DataError:
        raise
    except Exception as error:  # fontTools raises nearly anything, too
        raise DataError(f"is damaged: {error}") from None


def _styles(font: Any, path: Path, index: int, wanted: set[str]) -> Iterator[tuple[str, Part]]:
    """Yield a font with its name, and a variable one in bold too."""
    if not any(table in font for table in ("glyf", "CFF ", "CFF2")):
        raise DataError("has no outlines, only pictures")
    # Names of our own, since reading those that the font gives its glyphs takes longer.
    font.setGlyphOrder([f"glyph{number}" for number in range(font["maxp"].numGlyphs)])
    characters = "".join(sorted({chr(code) for code in font.getBestCmap() or {}} & wanted))
    family = font["name"].getBestFamilyName() or path.stem
    style = font["name"].getBestSubFamilyName() or "Regular"
    yield f"{family} {style}", Part(str(path), index, (), characters)
    axes = {axis.axisTag: axis for axis in font["fvar"].axes} if "fvar" in font else {}
    weight = axes.get("wght")
    if weight is not None and weight.defaultValue < BOLD <= weight.maxValue:
        values = [BOLD if tag == "wght" else axis.defaultValue for tag, axis in axes.items()]
        bold = "Bold" if style == "Regular" else f"{style} Bold"
        yield f"{family} {bold}", Part(str(path), index, tuple(map(float, values)), characters)
