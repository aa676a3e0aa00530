"""Draw images for people: samples of each class, ink before and after, boxes on a page."""

import textwrap
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from siglum import formatting
from siglum.images import decode
from siglum.images.imageset import ImageSet
from siglum.images.ink import InkReport

CELL, GAP, MARGIN = 56, 4, 24  # px
SIDE, TEXT = 160, 460  # px: an image of a comparison, and the text beside it
PAPER, INK, QUIET, BOX = "#fbfaf7", "#1c1b19", "#6b675f", "#b3402a"
NAME, COLUMNS, MAX_CLASSES = 24, 12, 62  # letters of a class name; images and rows of a sheet


def contact_sheet(images: ImageSet) -> Image.Image:
    """Draw the first images of each class, one class per row, as ink on paper."""
    names = images.classes[:MAX_CLASSES]
    labels = [formatting.shorten(formatting.printable(name), NAME) for name in names]
    if len(images.classes) > MAX_CLASSES:
        labels.append(f"and {len(images.classes) - MAX_CLASSES:,} more")
    font = _font(16)
    left = MARGIN + 12 + max(int(font.getlength(label)) for label in labels)
    size = left + COLUMNS * (CELL + GAP) + MARGIN, 2 * MARGIN + len(labels) * (CELL + GAP)
    sheet = Image.new("RGB", size, PAPER)
    for row, label in enumerate(labels):
        top = MARGIN + row * (CELL + GAP)
        ImageDraw.Draw(sheet).text((MARGIN, top + CELL / 2), label, INK, font, anchor="lm")
        members = np.flatnonzero(images.labels == row)[: COLUMNS if row < MAX_CLASSES else 0]
        pixels = images.take(members)
        dark = ~decode.has_light_background(pixels) & (pixels.shape[1] == 1)
        for column, image in enumerate(np.where(dark[:, None, None, None], 255 - pixels, pixels)):
            cell = _colour(image).resize((CELL, CELL), Image.Resampling.NEAREST)
            sheet.paste(cell, (left + column * (CELL + GAP), top))
    return sheet


def comparison(
    rows: Sequence[tuple[str, NDArray[np.uint8], NDArray[np.uint8], InkReport]],
) -> Image.Image:
    """Draw names, images (C, H, W), their ink (S, S) and its warnings, one row each."""
    left = 2 * MARGIN + SIDE
    text = left + SIDE + MARGIN
    size = text + TEXT + MARGIN, 2 * MARGIN + len(rows) * (SIDE + 2 * GAP)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (name, image, ink, report) in enumerate(rows):
        top = MARGIN + number * (SIDE + 2 * GAP)
        original = ImageOps.contain(_colour(image), (SIDE, SIDE))
        if not report.empty:
            scale = max(original.size) / max(image.shape)
            y, x, bottom, right = (scale * edge for edge in report.box)
            ImageDraw.Draw(original).rectangle((x - 1, y - 1, right, bottom), None, BOX)
        sheet.paste(original, (MARGIN, top))
        inked = _colour(255 - ink[None]).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        sheet.paste(inked, (left, top))
        polarity = "Dark ink on light paper." if report.inverted else "Light ink on dark paper."
        sentences = report.warnings() if report.empty else [polarity, *report.warnings()]
        draw.text((text, top), formatting.shorten(formatting.printable(name), 50), INK, _font(15))
        lines = [line for sentence in sentences for line in textwrap.wrap(sentence, 66)]
        draw.text((text, top + 24), "\n".join(lines[:7]), QUIET, _font(13), spacing=5)
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
    return Image.fromarray(np.ascontiguousarray(decode.to_channels(image, 3).transpose(1, 2, 0)))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font with many scripts where matplotlib brings one, else Pillow's own."""
    package = find_spec("matplotlib")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
        if path.exists():
            return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)
