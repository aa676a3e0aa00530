"""Decode image files, the only module that opens them, and encode images as PNG.

Formats are allow-listed and recognised by content; sizes are checked before pixels are decoded.
Shapes: C channels, H x W pixels, N images, S the side of a square.
"""

import base64
import io
import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from siglum.config import Preprocess
from siglum.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
MAX_BYTES = 64 * 2**20  # of one file
MAX_PIXELS = 89_000_000  # each takes up to 8 bytes while it is decoded
MAX_JPEG_PIXELS = 210_000_000  # JPEG is decoded at a fraction of its size
MAX_SIDE = 10_000  # px; a line of a few bytes would be padded to a square of gigabytes
LARGE = 16_000_000  # pixels; larger images are reduced while they are decoded
LARGE_SIDE = 4_096  # px that their longer side has at least
PNG_SIDE = 1_024  # px of the longer side of an image that is encoded, at most

Unreadable = tuple[str, str]  # (file name, reason)

NOT_AN_IMAGE = f"not an image ({', '.join(FORMATS)})"
SIGNATURES = {  # how files that people take for images begin, and what they are; "" for an image
    rb"\x89PNG|\xff\xd8|GIF8|BM.{4}\0\0\0\0|II\*\0|MM\0\*|RIFF.{4}WEBP|P[1-6]\s": "",
    rb".{4}ftypavi[fs]": "AVIF",
    rb".{4}ftyp(hei|hev|mif1|msf1)": "HEIC",
    rb"%PDF": "PDF",
    rb"%!PS|\xc5\xd0\xd3\xc6": "PostScript",
    rb"\0\0\0\x0cJXL |\xff\x0a": "JPEG XL",
    rb".{0,500}<svg": "SVG",
    rb".{0,500}<ink": "InkML",
    rb".{0,100}<(html|!doctype html)": "a web page",
    rb"PK\x03\x04": "an archive",
    rb"version https://git-lfs": "a Git LFS pointer (run: git lfs pull)",
}


def explain(data: bytes) -> str:
    """Return "" if bytes begin an image, else what they are instead, and the remedy."""
    for pattern, name in SIGNATURES.items():
        if re.match(pattern, data[:1000], re.DOTALL | re.IGNORECASE):
            remedy = "" if "(" in name else "; convert it to PNG or JPEG"
            return f"{name} is not supported{remedy}" if name else ""
    return NOT_AN_IMAGE


def decode(
    data: bytes,
    channels: int | None = 1,
    max_side: int = MAX_SIDE,
    max_pixels: int = MAX_JPEG_PIXELS,
) -> NDArray[np.uint8]:
    """Return an image file's pixels: uint8 (C, H, W), grey or red, green, blue.

    Applies the EXIF orientation, puts transparent ink on a contrasting background, and scales 16
    bits to 8. The message of a DataError is a reason to put after a file name.

    Args:
        channels: 1 or 3; None for 3 where there is colour and 1 where there is none.
        max_side: px of the longer side that the caller needs. A JPEG of twice as many, and any
            image of more than 16 megapixels, is reduced, but not below this.
        max_pixels: refuse images of more.
    """
    if not data:
        raise DataError("empty file")
    if len(data) > MAX_BYTES:
        raise DataError(f"larger than {MAX_BYTES >> 20} MB; save it smaller")
    is_jpeg = data.startswith(b"\xff\xd8")
    max_pixels = max_pixels if is_jpeg else min(max_pixels, MAX_PIXELS)
    too_large = DataError(f"more than {max_pixels:,} pixels; crop it or save it smaller")
    try:
        file = io.BytesIO(data)
        with (  # Image.open would refuse a JPEG that can still be reduced
            JpegImagePlugin.JpegImageFile(file) if is_jpeg else Image.open(file, formats=FORMATS)
        ) as image:
            large, longest = image.width * image.height > LARGE, max(image.size)
            if image.width * image.height > max_pixels:
                raise too_large
            if longest > MAX_SIDE and not large:
                raise DataError(f"longer than {MAX_SIDE:,} pixels; crop it")
            max_side = min(max_side, LARGE_SIDE) if large else max_side
            width, height = (-(-side * max_side // longest) for side in image.size)
            image.draft(None, (width, height))
            return _pixels(image, channels, max_side if large else longest)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_large from None
    except Exception as error:  # decoders of hostile bytes raise nearly anything
        detail = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise DataError(explain(data) or f"damaged image{detail}") from None


def _pixels(image: Image.Image, channels: int | None, max_side: int) -> NDArray[np.uint8]:
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in ("1", "P", "PA", "RGBa", "La") or "transparency" in image.info:
        alpha = image.mode not in ("1", "P") or "transparency" in image.info
        image = image.convert("RGBA" if alpha else "L" if image.mode == "1" else "RGB")
    if (factor := max(image.size) // max_side) > 1:
        image = (image.convert("I") if image.mode.startswith("I") else image).reduce(factor)
    if image.mode.startswith("I") or image.mode == "F":  # 16 or 32 bits per pixel
        deep = np.nan_to_num(np.asarray(image, dtype=np.float64))
        tops = (1, 255, 65535) if image.mode == "F" else (255, 65535)
        top = next((top for top in tops if deep.max(initial=0) <= top), 65535)
        image = Image.fromarray(np.clip(deep * 255 / top, 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA"):  # put on black if the visible ink is light, else on white
        grey, opacity = np.asarray(image.convert("L")), np.asarray(image.getchannel("A"))
        visible = np.multiply(grey, opacity, dtype=np.uint16).sum(dtype=np.float64)
        light = visible > 127 * max(opacity.sum(dtype=np.float64), 1.0) and opacity.mean() < 250
        paper = Image.new("RGB", image.size, "black" if light else "white")
        paper.paste(image.convert("RGB"), mask=image.getchannel("A"))
        image = paper
    if channels == 1 or image.mode == "L":
        return to_channels(np.asarray(image.convert("L"))[None], channels or 1)
    colours = np.stack([np.asarray(band) for band in image.convert("RGB").split()])
    return colours[:1] if channels is None and (colours[1:] == colours[0]).all() else colours


def to_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Convert pixels (C, H, W) to grey or to red, green, blue."""
    if len(image) == channels:
        return image
    if channels == 3:
        return image.repeat(3, axis=0)
    return np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))[None]


def read(path: Path, channels: int | None = None, max_side: int = MAX_SIDE) -> NDArray[np.uint8]:
    """Return the pixels of a file, as `decode` does; warn where it has further pages."""
    data = read_bytes(path)
    image = decode(data, channels, max_side)
    if note := further_pages(data):
        warnings.warn(f"{as_text(str(path))}: {note}.", stacklevel=2)
    return image


def to_png(image: NDArray[np.uint8], max_side: int = PNG_SIDE, optimize: bool = False) -> bytes:
    """Return the PNG of pixels (C, H, W), shrunk to `max_side` px if they are larger."""
    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    picture, file = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((max_side, max_side), Image.Resampling.BOX)
    # Level 1 takes half the time, and a tenth more bytes; `optimize` overrules it.
    picture.save(file, "PNG", compress_level=1, optimize=optimize)
    return file.getvalue()


def png_uri(image: NDArray[np.uint8], max_side: int = PNG_SIDE) -> str:
    """Return the PNG of pixels (C, H, W) as a data URI for a page."""
    png = to_png(image, max_side, optimize=True)
    return "data:image/png;base64," + base64.b64encode(png).decode()


def read_bytes(path: Path, limit: int = MAX_BYTES + 1) -> bytes:
    """Return the first bytes of a regular file, and enough of a large one to refuse it."""
    try:
        if not path.is_file():  # opening a FIFO would wait for ever
            raise DataError("not a file" if path.exists() else "no such file")
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise DataError(f"cannot be read: {(error.strerror or str(error)).lower()}") from None


def further_pages(data: bytes) -> str:
    """Return a note on the pages or frames after the first, which are not read, or ""."""
    animated = b"acTL" in data[:200] or b"ANIM" in data[:200]  # PNG, WebP
    if not animated and not data.startswith((b"II*\0", b"MM\0*", b"GIF8")):
        return ""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        pages = getattr(image, "n_frames", 1)
    return f"only the first of {pages} pages is read; save each as a file" if pages > 1 else ""


def as_text(name: str) -> str:
    """Return a file name that can be written as UTF-8: bytes that are not UTF-8 become `\\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def has_light_background(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return whether most of each border is light, for images (N, C, H, W): bool (N,)."""
    grey = _border(images).mean(axis=1)
    return np.asarray((grey > 127).mean(axis=1) > 0.5)


def _border(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    top, bottom = images[:, :, 0, :], images[:, :, -1, :]
    left, right = images[:, :, 1:-1, 0], images[:, :, 1:-1, -1]
    return np.concatenate([top, bottom, left, right], axis=2)


def needs_inversion(light: NDArray[np.bool_], preprocess: Preprocess) -> NDArray[np.bool_]:
    """Return which images of a set to invert so that all have light ink, given `light` (N,).

    None where `preprocess` keeps the polarity or extracts the ink. Where at least 98 % of a set
    agree on their background, the others have much ink at the border and are treated alike.
    """
    if preprocess.polarity == "keep" or preprocess.cuts_out or not len(light):
        return np.zeros_like(light)
    share = light.mean()
    return light if 0.02 < share < 0.98 else np.full_like(light, share > 0.5)


def resize(image: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """Resize (C, H, W) to the square (C, S, S); margins have the colour of the border.

    Shrinking averages over areas, so that thin strokes grow pale but never vanish; growing
    interpolates.
    """
    size, (channels, height, width) = preprocess.size, image.shape
    if preprocess.resize == "pad" and height != width:
        side = max(height, width)
        paper = np.median(_border(image[None])[0], axis=1).astype(np.uint8)
        square = np.broadcast_to(paper[:, None, None], (channels, side, side)).copy()
        top, left = (side - height) // 2, (side - width) // 2
        square[:, top : top + height, left : left + width] = image
        image = square
    if image.shape[1:] == (size, size):
        return image
    method = Image.Resampling.BOX if max(image.shape) > size else Image.Resampling.BILINEAR
    planes = [Image.fromarray(plane).resize((size, size), method) for plane in image]
    return np.stack([np.asarray(plane) for plane in planes])
