"""What a set of pictures is like: counts, sizes, polarity, exact duplicates, a sheet of samples."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from siglum.images import decode
from siglum.images.decode import Unreadable
from siglum.images.imageset import CHUNK, ImageSet

CELL, GAP, MARGIN = 56, 4, 24  # of the sheet, px
PAPER, INK, QUIET = "#fbfaf7", "#1c1b19", "#6b675f"


@dataclass(frozen=True)
class Description:
    """A set in figures."""

    source: str
    classes: tuple[str, ...]
    counts: tuple[int, ...]  # pictures a class
    writers: int | None  # how many, where known
    sizes: tuple[tuple[str, int], ...]  # ("28 x 28", pictures), the commonest first, width first
    light_paper: int  # pictures with dark ink on light paper, as they were found
    duplicates: int  # pictures whose pixels are those of an earlier picture of the set
    contradictions: int  # of these, the ones whose class is another
    duplicate_examples: tuple[tuple[str, str], ...]  # names, or numbers, of up to five pairs
    unreadable: tuple[Unreadable, ...]
    fingerprint: str


def describe(images: ImageSet) -> Description:
    """Look at every picture of a set once."""
    if images.originals is not None:
        digests, light = (
            images.originals.digests[images.rows],
            images.originals.light[images.rows],
        )
        sides, counts = np.unique(images.originals.sizes[images.rows], axis=0, return_counts=True)
    else:
        digests, light = _digests(images), decode.has_light_background(images.images)
        sides, counts = np.array([images.shape[1:]]), np.array([len(images)])
    sizes = {f"{w} x {h}": n for (h, w), n in zip(sides.tolist(), counts.tolist(), strict=True)}
    _, first, number = np.unique(digests, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[number] != np.arange(len(digests)))
    pairs = np.stack([first[number[again]], again], axis=1)  # (earlier, later)
    names = images.files or range(len(images))
    return Description(
        source=images.source,
        classes=images.classes,
        counts=tuple(images.counts.tolist()),
        writers=None if images.writers is None else len(set(images.writers)),
        sizes=tuple(Counter(sizes).most_common()),
        light_paper=int(light.sum()),
        duplicates=len(pairs),
        contradictions=int((images.labels[pairs[:, 0]] != images.labels[pairs[:, 1]]).sum()),
        duplicate_examples=tuple((str(names[a]), str(names[b])) for a, b in pairs[:5]),
        unreadable=images.unreadable,
        fingerprint=images.fingerprint,
    )


def _digests(images: ImageSet) -> NDArray[np.uint64]:
    """Number the pictures so that equal ones have equal numbers."""
    numbers: defaultdict[bytes, int] = defaultdict(lambda: len(numbers))
    found = []
    for start in range(0, len(images), CHUNK):
        found += [numbers[image.tobytes()] for image in images.take(slice(start, start + CHUNK))]
    return np.array(found, dtype=np.uint64)


def contact_sheet(images: ImageSet, columns: int = 12, most: int = 62) -> Image.Image:
    """Draw the first pictures of each class, a row a class, as ink on paper.

    Args:
        columns: pictures a class at the most.
        most: classes at the most; the sheet says how many it leaves out.
    """
    shown = images.classes[:most]
    font = face(16)
    left = MARGIN + 12 + max(int(font.getlength(_short(name))) for name in shown)
    height = 2 * MARGIN + len(shown) * (CELL + GAP) + (24 if len(images.classes) > most else 0)
    sheet = Image.new("RGB", (left + columns * (CELL + GAP) + MARGIN, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(shown):
        top = MARGIN + row * (CELL + GAP)
        draw.text((MARGIN, top + CELL / 2), _short(name), INK, font, anchor="lm")
        members = np.flatnonzero(images.labels == row)[:columns]
        for column, image in enumerate(images.take(members)):
            sheet.paste(_cell(image), (left + column * (CELL + GAP), top))
    if len(images.classes) > most:
        note = f"and {len(images.classes) - most} more classes"
        draw.text((MARGIN, height - MARGIN), note, QUIET, font, anchor="ls")
    return sheet


def _cell(image: NDArray[np.uint8]) -> Image.Image:
    """Return a picture as a cell of the sheet; grey ones as dark ink on paper."""
    if len(image) == 3:
        return Image.fromarray(image.transpose(1, 2, 0)).resize((CELL, CELL))
    ink = image[0] if not decode.has_light_background(image[None])[0] else 255 - image[0]
    cell = Image.new("RGB", ink.shape[::-1], "white")
    cell.paste(INK, mask=Image.fromarray(ink))
    return cell.resize((CELL, CELL), Image.Resampling.NEAREST)


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"


def face(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a face that knows many scripts where one is installed, else Pillow's own."""
    package = find_spec("matplotlib")
    if package is not None and package.origin is not None:
        face = Path(package.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
        if face.exists():
            return ImageFont.truetype(face, size)
    return ImageFont.load_default(size)
