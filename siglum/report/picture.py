"""Pictures of a set as part of the page.

Shapes: C channels, H x W pixels.
"""

import base64
import io
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from siglum.images.imageset import ImageSet
from siglum.report.facts import Facts

LARGEST = 64  # side of a picture on the page, px of the picture; larger ones are made smaller


@dataclass(frozen=True)
class Picture:
    """A picture with what is said of it."""

    address: str  # a data: URI
    alt: str
    note: str = ""  # under it
    file: str = ""  # where it came from, if known


def address(image: NDArray[np.uint8]) -> str:
    """Return uint8 (C, H, W) as a PNG in a data: URI; of ink with further planes, the ink."""
    pixels = image[0] if len(image) != 3 else image.transpose(1, 2, 0)
    made = Image.fromarray(np.ascontiguousarray(pixels))
    made.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    file = io.BytesIO()
    made.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def picture(images: ImageSet, index: int, alt: str, note: str = "") -> Picture:
    """Return one picture of a set."""
    file = images.files[index] if images.files is not None else ""
    return Picture(address(images.take(np.array([index]))[0]), alt, note, file)


def look(facts: Facts) -> Markup:
    """Return the class and size of a run's pictures, as attributes of what holds them.

    Grey pictures lie light on dark, whatever they came from, and are shown as ink on paper. Where
    that was switched off, and in colour, they are shown as they are.
    """
    ink = facts.preprocess.polarity == "light" and facts.preprocess.channels == 1
    return Markup('class="pictures {}" style="--side: {}px"').format(
        "ink" if ink else "kept", shown_side(facts)
    )


def shown_side(facts: Facts) -> int:
    """Return the side of a run's pictures on the page, px: a whole number of theirs."""
    side = min(facts.preprocess.size, LARGEST)
    return side * max(1, round(56 / side))
