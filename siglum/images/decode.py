"""One picture file's bytes, decoded and fitted to the square that the network sees.

The only module that opens picture files. Formats are allow-listed, the size is checked from the
header before any pixel is decoded, and whatever a decoder raises becomes a reason in words.
Shapes: H x W pixels as found, C channels, S the side of the square.
"""

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from siglum.config import Preprocess
from siglum.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
MAX_BYTES = 64 * 2**20  # of one file
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485  # Pillow's own bound: 1 GiB of RGBA / 3
MAX_SIDE = 10_000  # px; a line of a few bytes would be padded to a square of gigabytes

Unreadable = tuple[str, str]  # (file name, reason)

# Pillow only warns between its bound and twice its bound; refuse there already.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


def decode(
    raw: bytes, channels: int | None = 1, max_side: int = MAX_SIDE, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Return a picture file's pixels: uint8 (C, H, W), grey or red, green, blue.

    Turns by EXIF, lays transparency on the paper that its ink needs, brings 16 bits to 8.

    Args:
        channels: 1 or 3; None for 3 where there is colour and 1 where there is none.
        max_side: px of the longer side; a JPEG that has at least twice as many is read at a half, a
            quarter or an eighth of its size, which takes a fraction of the time.
        max_pixels: pixels that it may have; each takes about 20 bytes for a moment.

    Raises:
        DataError: if the bytes are no picture that can be read whole; the message is the reason
            alone, to be put behind a file's name.
    """
    if not raw:
        raise DataError("is empty")
    if len(raw) > MAX_BYTES:
        raise DataError(f"has {len(raw)} bytes, more than {MAX_BYTES}")
    try:
        with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            longest, pixels = max(image.size), image.width * image.height
            if longest <= MAX_SIDE and pixels <= max_pixels:
                across, down = (-(-side * max_side // longest) for side in image.size)
                image.draft(None, (across, down))
                return _pixels(image, channels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"declares more than {MAX_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise DataError(f"is no picture ({', '.join(FORMATS)})") from None
    except Exception as error:  # decoders of hostile bytes raise nearly anything
        raise DataError(f"is damaged ({str(error) or type(error).__name__})") from None
    if longest <= MAX_SIDE:
        raise DataError(f"has {pixels} pixels, more than {max_pixels}")
    raise DataError(f"has a side of {longest} pixels, more than {MAX_SIDE}")


def read(
    file: Path, channels: int | None = None, max_side: int = MAX_SIDE, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Return the pixels of a file, as `decode` does.

    Raises:
        DataError: as `decode`, and if there is no such file or it cannot be read.
    """
    if not file.is_file():
        raise DataError("is no file" if file.exists() else "is not there")
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from None
    return decode(raw, channels, max_side, max_pixels)


def as_text(name: str) -> str:
    """Return a file name that can be written as UTF-8: bytes that are not UTF-8 become `\\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def to_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return pixels (C, H, W) as grey or as red, green, blue, whichever they are."""
    if len(image) == channels:
        return image
    if channels == 3:
        return image.repeat(3, axis=0)
    return np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))[None]


def _pixels(image: Image.Image, channels: int | None) -> NDArray[np.uint8]:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":  # 16 or 32 bits a pixel
        deep = np.nan_to_num(np.asarray(image, dtype=np.float64))
        tops = (1, 255, 65535) if image.mode == "F" else (255, 65535)
        top = next((top for top in tops if deep.max(initial=0) <= top), 65535)
        image = Image.fromarray(np.clip(deep * 255 / top, 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = _on_paper(image.convert("RGBA"))
    if channels == 1 or image.mode in ("1", "L"):
        grey = np.asarray(image.convert("L"))[None]
        return grey.repeat(3, axis=0) if channels == 3 else grey
    colours = np.stack([np.asarray(band) for band in image.convert("RGB").split()])
    return colours[:1] if channels is None and (colours[1:] == colours[0]).all() else colours


def _on_paper(image: Image.Image) -> Image.Image:
    """Lay a transparent picture on black when what it shows is light, on white otherwise."""
    grey, alpha = np.asarray(image.convert("L")), np.asarray(image.getchannel("A"))
    shown = np.multiply(grey, alpha, dtype=np.uint16).sum(dtype=np.float64)
    light = shown > 127 * max(alpha.sum(dtype=np.float64), 1.0)
    paper = Image.new("RGB", image.size, "black" if light and alpha.mean() < 250 else "white")
    paper.paste(image, mask=image)
    return paper


def has_light_background(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Say of each picture whether most of its border is light, so that its ink must be dark.

    Args:
        images: (N, C, H, W).

    Returns:
        bool (N,).
    """
    edges = _border(images)
    grey = edges[:, 0] if edges.shape[1] == 1 else edges.mean(axis=1)
    light: NDArray[np.bool_] = (grey > 127).mean(axis=1) > 0.5
    return light


def _border(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the outermost pixels: uint8 (N, C, M)."""
    top, bottom = images[:, :, 0, :], images[:, :, -1, :]
    left, right = images[:, :, 1:-1, 0], images[:, :, 1:-1, -1]
    return np.concatenate([top, bottom, left, right], axis=2)


def resize(image: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """Bring (C, H, W) to the square (C, S, S); margins have the colour of the border.

    Shrinking averages over areas, so that thin strokes grow pale but never vanish; growing
    interpolates.
    """
    size, (channels, height, width) = preprocess.size, image.shape
    if preprocess.resize == "pad" and height != width:
        side = max(height, width)
        square = np.empty((channels, side, side), dtype=np.uint8)
        square[:] = np.median(_border(image[None])[0], axis=1).astype(np.uint8)[:, None, None]
        top, left = (side - height) // 2, (side - width) // 2
        square[:, top : top + height, left : left + width] = image
        image = square
    if image.shape[1:] == (size, size):
        return image
    how = Image.Resampling.BOX if max(image.shape) > size else Image.Resampling.BILINEAR
    planes = [Image.fromarray(plane).resize((size, size), how) for plane in image]
    return np.stack([np.asarray(plane) for plane in planes])


def needs_inversion(light: NDArray[np.bool_], preprocess: Preprocess) -> NDArray[np.bool_]:
    """Say which pictures of a set must be inverted so that all have light ink.

    Where at least 98 % of a set agree, the few others are taken for pictures with much ink at
    the border, not for another kind of paper.

    Args:
        light: (N,), whether each picture lies on light paper.
        preprocess: its `ink` decides whether anything is to be done; ink that is cut out is light
            already.
    """
    if preprocess.polarity == "keep" or preprocess.cuts_out or not len(light):
        return np.zeros_like(light)
    share = light.mean()
    if share <= 0.02:
        return np.zeros_like(light)
    return np.ones_like(light) if share >= 0.98 else light
