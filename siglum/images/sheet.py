"""Pictures before and after, side by side with what was found, for people to see."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from siglum.images.describe import GAP, INK, MARGIN, PAPER, QUIET, face

BOX = "#b3402a"
SIDE, TEXT, LINE = 160, 460, 20  # px: a picture, the words beside it, a line of them


class Row(NamedTuple):
    """One picture of a sheet."""

    name: str
    picture: NDArray[np.uint8]  # (C, H, W), as found
    ink: NDArray[np.uint8]  # (S, S), as cut out; light on dark
    box: tuple[int, int, int, int]  # top, left, bottom, right; all 0 where there is no ink
    said: Sequence[str]  # sentences


def before_and_after(rows: Sequence[Row]) -> Image.Image:
    """Draw a line for each picture: as found with the ink's box, as cut out, and the words."""
    height = SIDE + 2 * GAP
    left = 2 * MARGIN + SIDE
    words = left + SIDE + MARGIN
    sheet = Image.new("RGB", (words + TEXT + MARGIN, 2 * MARGIN + len(rows) * height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        top = MARGIN + number * height
        sheet.paste(_found(row), (MARGIN, top))
        cut = Image.new("RGB", row.ink.shape, "white")
        cut.paste(INK, mask=Image.fromarray(row.ink))
        sheet.paste(cut.resize((SIDE, SIDE), Image.Resampling.NEAREST), (left, top))
        lines = [line for sentence in row.said for line in _broken(sentence)]
        draw.text((words, top), _shortened(row.name), INK, face(15))
        for place, line in enumerate(lines[: SIDE // LINE - 1], start=1):
            draw.text((words, top + 4 + place * LINE), line, QUIET, face(13))
    return sheet


def boxed(picture: NDArray[np.uint8], labels: Sequence[tuple[Sequence[int], str]]) -> Image.Image:
    """Draw boxes (top, left, bottom, right) with a label above each on (C, H, W)."""
    page = _coloured(picture)
    draw = ImageDraw.Draw(page)
    line = max(2, max(page.size) // 500)
    letters = face(max(12, max(page.size) // 45))
    for (top, left, bottom, right), label in labels:
        draw.rectangle((left - line, top - line, right + line, bottom + line), None, BOX, line)
        draw.text((left, max(top - line, 0)), label, BOX, letters, anchor="lb")
    return page


def _found(row: Row) -> Image.Image:
    """Return a picture in a square of `SIDE`, with the ink's box."""
    picture = _coloured(row.picture)
    scale = SIDE / max(picture.size)
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    shape = tuple(max(1, round(side * scale)) for side in picture.size)
    square = Image.new("RGB", (SIDE, SIDE), PAPER)
    shown = picture.resize((shape[0], shape[1]), how)
    top, left, bottom, right = (round(scale * edge) for edge in row.box)
    if row.box[2]:
        ImageDraw.Draw(shown).rectangle((left - 1, top - 1, right, bottom), None, BOX)
    square.paste(shown, ((SIDE - shape[0]) // 2, (SIDE - shape[1]) // 2))
    return square


def _coloured(picture: NDArray[np.uint8]) -> Image.Image:
    colours = picture if len(picture) == 3 else picture.repeat(3, axis=0)
    return Image.fromarray(np.ascontiguousarray(colours.transpose(1, 2, 0)))


def _broken(sentence: str) -> list[str]:
    """Break a sentence into lines that fit beside a picture."""
    lines = [""]
    for word in sentence.split():
        longer = f"{lines[-1]} {word}".strip()
        if face(13).getlength(longer) > TEXT and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _shortened(name: str) -> str:
    while face(15).getlength(name) > TEXT:
        name = f"…{name[2:]}"
    return name
