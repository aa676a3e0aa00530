"""Draw images for people: samples of each class, ink before and after, boxes on a page."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from siglum import formatting
from siglum.images import decode
from siglum.images.imageset import ImageSet
from siglum.images.ink import InkReport

CELL, GAP, MARGIN = 56, 4, 24  # px
SIDE, TEXT, LINE = 160, 460, 20  # px: an image of a comparison, the text beside it, a line of text
PAPER, INK, QUIET, BOX = "#fbfaf7", "#1c1b19", "#6b675f", "#b3402a"
NAME = 24  # letters of a class name


def contact_sheet(images: ImageSet, columns: int = 12, max_classes: int = 62) -> Image.Image:
    """Draw the first images of each class, one class per row, as ink on paper."""
    names = images.classes[:max_classes]
    labels = [formatting.shorten(formatting.printable(name), NAME) for name in names]
    font = _font(16)
    left = MARGIN + 12 + max(int(font.getlength(label)) for label in labels)
    more = len(images.classes) - len(names)
    height = 2 * MARGIN + len(names) * (CELL + GAP) + (24 if more else 0)
    sheet = Image.new("RGB", (left + columns * (CELL + GAP) + MARGIN, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, label in enumerate(labels):
        top = MARGIN + row * (CELL + GAP)
        draw.text((MARGIN, top + CELL / 2), label, INK, font, anchor="lm")
        members = np.flatnonzero(images.labels == row)[:columns]
        for column, image in enumerate(images.take(members)):
            sheet.paste(_cell(image), (left + column * (CELL + GAP), top))
    if more:
        note = f"and {formatting.count(more, 'more class', 'more classes')}"
        draw.text((MARGIN, height - MARGIN), note, QUIET, font, anchor="ls")
    return sheet


def comparison(
    rows: Sequence[tuple[str, NDArray[np.uint8], NDArray[np.uint8], InkReport]],
) -> Image.Image:
    """Draw each image, its extracted ink, and the report's warnings; one image per row.

    Args:
        rows: name, image (C, H, W), ink (S, S) and report of each.
    """
    height, left = SIDE + 2 * GAP, 2 * MARGIN + SIDE
    text = left + SIDE + MARGIN
    sheet = Image.new("RGB", (text + TEXT + MARGIN, 2 * MARGIN + len(rows) * height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (name, image, ink, report) in enumerate(rows):
        top = MARGIN + number * height
        scale = SIDE / max(image.shape[1:])
        size = tuple(max(1, round(side * scale)) for side in image.shape[:0:-1])
        original = _colour(image).resize((size[0], size[1]))
        if not report.empty:
            y, x, bottom, right = (scale * edge for edge in report.box)
            ImageDraw.Draw(original).rectangle((x - 1, y - 1, right, bottom), None, BOX)
        sheet.paste(original, (MARGIN + (SIDE - size[0]) // 2, top + (SIDE - size[1]) // 2))
        sheet.paste(_on_paper(ink).resize((SIDE, SIDE), Image.Resampling.NEAREST), (left, top))
        polarity = "Dark ink on light paper." if report.inverted else "Light ink on dark paper."
        sentences = report.warnings() if report.empty else [polarity, *report.warnings()]
        draw.text((text, top), formatting.shorten(formatting.printable(name), 50), INK, _font(15))
        lines = [line for sentence in sentences for line in _wrap(sentence)]
        for row, line in enumerate(lines[: SIDE // LINE - 1], start=1):
            draw.text((text, top + 4 + row * LINE), line, QUIET, _font(13))
    return sheet


def boxed(image: NDArray[np.uint8], labels: Sequence[tuple[Sequence[int], str]]) -> Image.Image:
    """Draw boxes (top, left, bottom, right), each with a label above, on an image (C, H, W)."""
    page = _colour(image)
    draw = ImageDraw.Draw(page)
    line = max(2, max(page.size) // 500)
    font = _font(max(12, max(page.size) // 45))
    for (top, left, bottom, right), label in labels:
        draw.rectangle((left - line, top - line, right + line, bottom + line), None, BOX, line)
        draw.text((left, max(top - line, 0)), label, BOX, font, anchor="lb")
    return page


def _colour(image: NDArray[np.uint8]) -> Image.Image:
    colours = image if len(image) == 3 else image.repeat(3, axis=0)
    return Image.fromarray(np.ascontiguousarray(colours.transpose(1, 2, 0)))


def _cell(image: NDArray[np.uint8]) -> Image.Image:
    if len(image) == 3:
        return Image.fromarray(image.transpose(1, 2, 0)).resize((CELL, CELL))
    dark = decode.has_light_background(image[None])[0]
    ink = _on_paper(255 - image[0] if dark else image[0])
    return ink.resize((CELL, CELL), Image.Resampling.NEAREST)


def _on_paper(ink: NDArray[np.uint8]) -> Image.Image:
    paper = Image.new("RGB", ink.shape[::-1], "white")
    paper.paste(INK, mask=Image.fromarray(ink))
    return paper


def _wrap(sentence: str) -> list[str]:
    lines = [""]
    for word in sentence.split():
        longer = f"{lines[-1]} {word}".strip()
        if _font(13).getlength(longer) > TEXT and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font with many scripts where matplotlib brings one, else Pillow's own."""
    package = find_spec("matplotlib")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
        if path.exists():
            return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)
