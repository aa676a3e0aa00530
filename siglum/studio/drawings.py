"""From a drawing or a photo to normalised ink and features, and the images that are saved.

Shapes: C channels, H x W pixels, S the side of the normalised ink, D features.
"""

import io
import threading
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siglum.errors import DataError
from siglum.images import decode, page, strokes
from siglum.images.components import Box
from siglum.images.ink import FILL, InkReport, normalise
from siglum.images.strokes import Drawing
from siglum.recogniser.predict import Recogniser
from siglum.studio.errors import StudioError

SIGNATURES = {  # how a file begins, by its content type: the decoder gets what was declared
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/webp": (b"RIFF",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/bmp": (b"BM",),
}
MAX_SIGNS = 500  # on a page
MAX_PIXELS = 25_000_000  # of an uploaded image; decoding takes half a GiB for a moment
PHOTO_SIDE = 1024  # px of the longer side of a photo that is saved
_decoding = threading.Lock()  # one image at a time, for the memory

Pixels = NDArray[np.uint8]
Features = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ink:
    """One sign as the network sees it."""

    ink: Pixels  # (S, S)
    position: NDArray[np.float32]  # (3,), see `recogniser.prototypes`; NaN where unknown
    features: Features  # (D,), of length 1

    @cached_property
    def empty(self) -> bool:
        """Whether there is no ink."""
        return not self.ink.any()


def stroke_image(drawing: Drawing) -> Pixels:
    """Return the image (H, W) of a drawing, dark on white."""
    return 255 - strokes.rasterise(drawing)


def to_png(image: Pixels, max_side: int = PHOTO_SIDE) -> bytes:
    """Return the PNG of an image (H, W) or (C, H, W), shrunk to `max_side` px if it is larger."""
    if image.ndim == 3:
        image = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    picture, file = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((max_side, max_side), Image.Resampling.BOX)
    picture.save(file, "PNG", compress_level=1)  # half the time, a tenth larger
    return file.getvalue()


def decode_image(content: bytes, max_side: int = decode.MAX_SIDE) -> Pixels:
    """Decode an image from somebody else: (C, H, W).

    Raises:
        StudioError: if it cannot be read.
    """
    try:
        with _decoding:
            return decode.decode(content, None, max_side, MAX_PIXELS)
    except DataError as error:
        raise StudioError("unreadable", f"Cannot read this image: it {error}.") from None


def decode_upload(content: bytes, content_type: str) -> Pixels:
    """Decode an image that must be of its declared type: (C, H, W)."""
    if not content.startswith(SIGNATURES[content_type]):
        message = "This is not an image that can be read. Use PNG, JPEG, WebP, GIF or BMP."
        raise StudioError("unreadable", message)
    return decode_image(content, 2 * page.WORKING)


def extract(backbone: Recogniser, image: Pixels) -> tuple[Ink, InkReport]:
    """Return the ink of one sign's image (H, W) or (C, H, W), and the report about it."""
    settings = backbone.bundle.preprocess
    ink, report = normalise(image, settings.size, settings.margins or FILL)
    position = np.array([report.height, report.width, report.position], np.float32)
    return Ink(ink, position, backbone.features(ink[None])[0]), report


def extract_page(backbone: Recogniser, image: Pixels) -> tuple[list[tuple[Box, int, Ink]], bool]:
    """Return box, row and ink of each sign on a page (C, H, W), and whether it lies sideways."""
    settings = backbone.bundle.preprocess
    result = page.read_page(image, settings)
    signs = [(row, sign) for row, signs in enumerate(result.rows) for sign in signs]
    if len(signs) > MAX_SIGNS:
        message = f"At most {MAX_SIGNS} signs at once; this page has {len(signs):,}. Crop it."
        raise StudioError("several_signs", message)
    inks = np.array([sign.ink for _, sign in signs], np.uint8)
    features = backbone.features(inks.reshape(-1, settings.size, settings.size))
    unknown = np.full(3, np.nan, np.float32)
    return [
        (sign.box, row, Ink(sign.ink, unknown, one))
        for (row, sign), one in zip(signs, features, strict=True)
    ], result.sideways


def drawing_notes(report: InkReport) -> list[str]:
    """Describe the ink of a drawing in sentences."""
    if report.empty:
        return ["Nothing is drawn yet."]
    size = f"{100 * report.width:.0f} x {100 * report.height:.0f} % of the pad"
    scale = f"scaled to {100 * report.scale:.0f} % and centred"
    return [*report.warnings(), f"Your drawing is {size}; {scale}."]
