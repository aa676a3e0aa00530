"""Read strokes from the files of fonts and data sets, as signs."""

import html
import math
import re
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path import parse_path

from siglum.errors import DataError
from siglum.files import data_dir
from tools.backbone.signs import Floats, Sign, build_sign

CURVE = np.linspace(0, 1, 9)[1:, None]  # places on a piece of a curve
TRACED = "\u2e80"  # from here on KiCad's font was traced by a machine
MISSING = "F^K[KFYFY[K["  # box in KiCad's font for a character that it lacks
OMNIGLOT = "omniglot/strokes_background_small1.zip"
SUFFIXES = (".svg", ".lff", ".cpp")
GREEK = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWX", "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ", strict=True))
GREEK |= {latin.lower(): greek.lower() for latin, greek in GREEK.items()}
# Alphabets of Omniglot whose letters are characters of ours, in their order.
LETTERS = {"Greek": "αβγδεζηθικλμνξοπρστυφχψω", "Latin": "abcdefghijklmnopqrstuvwxyz"}
RENAMED = {"greeks": GREEK}  # fonts that have other characters in the place of Latin letters
Glyph = tuple[str, list[Any]]  # character, strokes (P, 2)


def _svg_paths(outlines: str) -> list[list[Floats]]:
    pen = RecordingPen()
    parse_path(outlines, pen)
    strokes: list[list[Floats]] = []
    for step, arguments in pen.value:
        points = [np.array(point, float) for point in arguments]
        if step == "moveTo":
            strokes.append(points)
        elif step == "curveTo":
            a, (b, c, d), t = strokes[-1][-1], points, CURVE
            curve = a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3
            strokes[-1].extend(curve)
        elif step == "closePath":
            strokes[-1].append(strokes[-1][0])
        else:  # lineTo; endPath has no points
            strokes[-1].extend(points)
    return strokes


def read_kanjivg(path: Path) -> Iterator[Glyph]:
    """Yield the character of a file of KanjiVG."""
    outlines = re.findall(r'<path [^>]*\bd="([^"]+)"', path.read_text(encoding="utf-8"))
    yield chr(int(path.stem.partition("-")[0], 16)), _svg_paths(" ".join(outlines))


def read_svg_font(path: Path) -> Iterator[Glyph]:
    """Yield the glyphs of an SVG font."""
    text = path.read_text(encoding="utf-8")
    for name, outlines in re.findall(r'<glyph unicode="([^"]+)"[^>]* d="([^"]+)"', text):
        yield html.unescape(name), [np.multiply(way, (1, -1)) for way in _svg_paths(outlines)]


def read_librecad(path: Path) -> Iterator[Glyph]:
    """Yield the glyphs of a LibreCAD font: lines, and arcs by the tangent of their quarter."""
    glyphs: dict[str, list[Any]] = {}
    for block in re.split(r"^\[", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        first, *lines = block.splitlines()
        strokes = glyphs.setdefault(chr(int(first.partition("]")[0].lstrip("#"), 16)), [])
        for line in filter(str.strip, lines):
            if line.startswith("C"):
                strokes.extend(glyphs.get(chr(int(line[1:5], 16)), []))
            else:
                strokes.append(_librecad_stroke(line))
    renamed = RENAMED.get(path.stem, {})
    yield from ((renamed.get(name, name), strokes) for name, strokes in glyphs.items())


def _librecad_stroke(line: str) -> Floats:
    points: list[complex] = []
    for x, y, bulge in re.findall(r"(-?[\d.]+),(-?[\d.]+)(?:,?A(-?[\d.]+))?", line):
        point = complex(float(x), float(y))
        if bulge and points:
            half = 2 * math.atan(float(bulge))
            t = CURVE[:-1, 0]
            chord = (point - points[-1]) * np.sin(t * half) / math.sin(half)
            points.extend(points[-1] + chord * np.exp(1j * (t - 1) * half))
        points.append(point)
    ways = np.array(points)
    return np.stack([ways.real, -ways.imag], axis=1)


def read_newstroke(path: Path) -> Iterator[Glyph]:
    """Yield the glyphs of KiCad's font: Hershey's code, two letters a point, from U+0020 on."""
    lines = re.findall(r'^ *"((?:[^"\\]|\\.)*)"', path.read_text(encoding="utf-8"), re.MULTILINE)
    for code, line in enumerate(lines[: ord(TRACED) - 32], start=32):
        if line != MISSING:
            ways = line.replace(r"\\", "\\").replace(r"\"", '"')[2:].split(" R")
            yield chr(code), [np.array([*map(ord, way)]).reshape(-1, 2) for way in ways if way]


READERS: dict[str, Callable[[Path], Iterator[Glyph]]] = {  # by package
    "kanjivg": read_kanjivg,
    "hersheytext": read_svg_font,
    "librecad-data": read_librecad,
    "gerbonara": read_newstroke,
}


def read_package(folder: Path, wanted: Container[str]) -> Iterator[Sign]:
    """Yield the wanted characters of an installed package."""
    if folder.name not in READERS or not folder.exists():
        raise DataError(f"No strokes in {folder}. Run python -m tools.backbone install FOLDER.")
    for path in sorted(folder.iterdir()):
        if path.suffix in SUFFIXES:
            for character, strokes in READERS[folder.name](path):
                if character in wanted and (sign := build_sign(character, strokes)):
                    yield sign


def read_omniglot(alphabets: Container[str]) -> Iterator[Sign]:
    """Yield the drawings of some alphabets from Omniglot's archive of pen strokes."""
    path = (data_dir() or Path()) / OMNIGLOT
    if not path.exists():
        raise DataError(f"No such file: {path}. Set SIGLUM_DATA to the folder of data sets.")
    with ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            *_, alphabet, letter, file = ("", "", *Path(name).parts)
            if file.endswith(".txt") and alphabet in alphabets and "__MACOSX" not in name:
                ways = archive.read(name).decode().partition("START")[2].split("BREAK")
                points = [re.findall(r"^([-\d.]+),([-\d.]+),", way, re.MULTILINE) for way in ways]
                strokes = [np.multiply(np.array(way, float), (1, -1)) for way in points if way]
                if sign := build_sign(letter_name(alphabet, letter), strokes):
                    yield sign


def letter_name(alphabet: str, letter: str) -> str:
    """Return the class of a letter of Omniglot, such as "character03": a character, or its path."""
    number = int(letter.removeprefix("character"))
    return LETTERS[alphabet][number - 1] if alphabet in LETTERS else f"{alphabet}/{letter}"
