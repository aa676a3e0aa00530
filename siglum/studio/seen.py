"""What the recogniser sees of a drawing or a photo, and what was done to come there.

Shapes: C channels, H x W pixels, S the side of the frame, D features.
"""

import hashlib
import threading
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siglum.errors import DataError
from siglum.images import decode, page
from siglum.images.ink import FILL, InkReport, normalise
from siglum.recogniser import backbone as backbones
from siglum.recogniser.predict import Recogniser

BEGINNINGS = {  # of a file, by what it is sent as: what a decoder gets must be what was said
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/webp": (b"RIFF",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/bmp": (b"BM",),
}
DECODING = threading.Lock()  # one picture at a time
MOST = 500  # characters of a page
MOST_PIXELS = 25_000_000  # of a picture that somebody sends: half a GiB for a moment
KEPT = 1024  # px of the longer side of a photo that is kept: twice what is looked at


@dataclass(frozen=True, eq=False)
class Seen:
    """A character as the network sees it."""

    ink: NDArray[np.uint8]  # (S, S)
    place: NDArray[np.float32]  # (3,), of the ink in its picture; NaN where it is not known
    features: NDArray[np.float32]  # (D,), of length 1

    @cached_property
    def empty(self) -> bool:
        """Whether there is no ink."""
        return not self.ink.any()

    @cached_property
    def digest(self) -> bytes:
        """Equal for equal ink."""
        return hashlib.blake2b(self.ink.tobytes(), digest_size=16).digest()


def look(backbone: Recogniser, picture: NDArray[np.uint8]) -> tuple[Seen, InkReport]:
    """Return what is seen of one character's picture (H, W) or (C, H, W), and what was found."""
    preprocess = backbone.bundle.preprocess
    ink, found = normalise(picture, preprocess.size, preprocess.margins or FILL)
    place = np.array([found.height, found.width, found.position], np.float32)
    return Seen(ink, place, backbones.features(backbone, ink[None])[0]), found


def decoded(raw: bytes, kind: str) -> NDArray[np.uint8]:
    """Return a picture's pixels: uint8 (C, H, W).

    Args:
        kind: what it was sent as, such as "image/png".

    Raises:
        DataError: if it is no such picture, or cannot be read whole.
    """
    if not raw.startswith(BEGINNINGS[kind]):
        raise DataError(f"picture must be {kind}, as it was sent, got {raw[:8]!r} at its start.")
    try:
        with DECODING:
            return decode.decode(raw, None, 2 * page.WORKING, MOST_PIXELS)
    except DataError as error:
        raise DataError(f"picture must be one that can be read, but it {error}.") from None


def small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a photo (C, H, W) as it is kept: its longer side is at most `KEPT` px."""
    longest = max(picture.shape[1:])
    if longest <= KEPT:
        return picture
    down, across = (max(1, round(side * KEPT / longest)) for side in picture.shape[1:])
    planes = [Image.fromarray(p).resize((across, down), Image.Resampling.BOX) for p in picture]
    return np.stack([np.asarray(plane) for plane in planes])


def look_at_page(
    backbone: Recogniser, picture: NDArray[np.uint8]
) -> tuple[list[tuple[page.Character, int, Seen]], bool]:
    """Return the characters of a page (C, H, W), each with its row, and whether it lies sideways.

    Raises:
        DataError: if there are too many.
    """
    found = page.read_page(picture, backbone.bundle.preprocess)
    characters = [(one, row) for row, ones in enumerate(found.rows) for one in ones]
    if len(characters) > MOST:
        raise DataError(
            f"picture must show at most {MOST} characters, got {len(characters):,}. "
            "Photograph a part of the page."
        )
    size = backbone.bundle.preprocess.size
    inks = np.array([one.ink for one, _ in characters], np.uint8).reshape(-1, size, size)
    unknown = np.full(3, np.nan, np.float32)
    seen = [
        Seen(ink, unknown, features)
        for ink, features in zip(inks, backbones.features(backbone, inks), strict=True)
    ]
    return [(*pair, one) for pair, one in zip(characters, seen, strict=True)], found.sideways


def said_of_photo(found: InkReport) -> list[str]:
    """Say what was found in a photo."""
    return found.warnings()


def said_of_drawing(found: InkReport) -> list[str]:
    """Say what was found on a pad, whose paper and light are known."""
    if found.empty:
        return ["Nothing is drawn yet."]
    # Of the pad everybody knows that its ink is light or dark.
    doubts = found.warnings()
    box = f"The ink is {100 * found.width:.0f} x {100 * found.height:.0f} % of the pad's height"
    return [
        *doubts,
        f"{box}, its middle {100 * found.position:.0f} % from the top.",
        f"Cut out, scaled {found.scale:.2f} times, and centred by its mass.",
    ]
