"""Any picture -> canonical ink: light on dark, cut out, mass centred in a square frame.

The steps are small functions in the order in which `normalise` takes them; the first of them,
telling ink from paper, is `paper.darkness`. Shrinking averages over areas, and thin strokes are
strengthened and widened, so that none fades away.
Shapes: C channels, H x W pixels as found, h x w as looked at, S the side of the frame, P parts
or planes.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.images import decode, grids, groups, paper
from siglum.images.connected import Box, Mask, Parts, parts_of
from siglum.images.paper import Darkness

WORKING = 512  # px, the longer side on which ink is looked for; larger pictures are shrunk to it
PALE = 0.5  # of what is ink for certain: paler pixels are ink where they hang together with it
SPECK = 0.25  # of the stroke's width squared: a dot is about one, dust is less
DOTS, MANY = 5, 500  # small parts on one level that make a dotted line; of more, none is looked for
FILL = 6 / 7  # of the frame's side, by the longer side of the ink
THIN = 1 / 10  # of the ink's longer side: thinner strokes are widened to that


@dataclass(frozen=True)
class Ink:
    """What of a picture is ink."""

    dark: Darkness  # (h, w)
    parts: Parts
    kept: NDArray[np.bool_]  # (P,)
    left_out: int  # parts that were cut off by the border, and are no part of the character
    stroke: float  # mean width of the strokes, px of h x w; 0 where there is no ink
    factor: int  # px of the picture for one of h x w, along each axis


@dataclass(frozen=True)
class Evidence:
    """What was found in a picture, and what was done to it; `evidence.sentences` says it."""

    inverted: bool  # whether dark ink on light paper was made light ink on dark
    box: Box  # around the ink: top, left, bottom, right (the last two exclusive), px
    height: float  # of the box, in heights of the picture
    width: float  # of the box, in heights of the picture too, so that it may be above 1
    place: float  # of the box's middle: 0 at the picture's top, 1 at its bottom
    stroke: float  # mean width of a stroke, px of the picture
    scale: float  # px of the frame for one of the picture
    contrast: float  # share of the paper's light that the ink takes, in [0, 1]
    uneven: float  # share of the light that is missing where the paper is darkest, in [0, 1]
    cut: bool  # whether the ink touches the border, so that some may be missing
    left_out: int  # scraps at the border that were taken for something else's
    characters: int  # how many it looks like; one is expected

    @property
    def empty(self) -> bool:
        """Whether there was no ink; then box and stroke are 0, place is 0.5 and scale is 1."""
        return self.box[2] == 0


NOTHING = Evidence(
    inverted=False,
    box=(0, 0, 0, 0),
    height=0,
    width=0,
    place=0.5,
    stroke=0,
    scale=1,
    contrast=0,
    uneven=0,
    cut=False,
    left_out=0,
    characters=0,
)


def normalise(
    picture: NDArray[np.uint8], size: int, fill: float = FILL
) -> tuple[NDArray[np.uint8], Evidence]:
    """Return a picture's ink in the middle of a frame, and how it came there.

    Args:
        picture: (H, W) or (C, H, W), of any polarity, paper, light and ink.
        size: S, the side of the frame, px.
        fill: share of the side that the longer side of the ink is to fill.

    Returns:
        uint8 (S, S), 0 for paper and 255 for full ink; all 0 where there is no ink.
    """
    picture = picture[None] if picture.ndim == 2 else picture
    found = find(picture, WORKING)
    if not found.stroke:
        nothing = replace(NOTHING, inverted=found.dark.inverted, uneven=found.dark.uneven)
        return np.zeros((size, size), np.uint8), nothing
    mask = found.parts.drawn(found.kept)
    top, left, bottom, right = box = found.parts.around(found.kept)
    framed, scale = into_frame(flattened(found.dark, mask, box), found.stroke, size, fill)
    height, width = found.parts.shape
    factor = found.factor
    return framed, Evidence(
        inverted=found.dark.inverted,
        box=(
            factor * top,
            factor * left,
            min(factor * bottom, picture.shape[1]),
            min(factor * right, picture.shape[2]),
        ),
        height=(bottom - top) / height,
        width=(right - left) / height,
        place=(top + bottom) / 2 / height,
        stroke=found.stroke * factor,
        scale=scale / factor,
        contrast=found.dark.contrast,
        uneven=found.dark.uneven,
        cut=top == 0 or left == 0 or bottom == height or right == width,
        left_out=found.left_out,
        characters=groups.likely_characters(found.parts.boxes[found.kept], found.stroke),
    )


def planes(picture: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """Return what a network is to see of (C, H, W), in bytes: uint8 (P, S, S)."""
    return seen(picture, preprocess)[0]


def seen(
    picture: NDArray[np.uint8], preprocess: Preprocess
) -> tuple[NDArray[np.uint8], Evidence | None]:
    """Return what a network is to see of (C, H, W), in bytes: uint8 (P, S, S), and its evidence.

    Where the preprocess `cuts_out` the ink is light on dark whatever it was; else it stays as it
    is, and there is no evidence. With `place` three even planes follow the ink: the height, width
    and place of its `Evidence`.
    """
    if not preprocess.cuts_out:
        return decode.resize(picture, preprocess), None
    ink, found = normalise(picture, preprocess.size, preprocess.frame or FILL)
    if not preprocess.place:
        return ink[None], found
    facts = np.clip([found.height, found.width, found.place], 0, 1)
    even = np.rint(255 * facts).astype(np.uint8)[:, None, None].repeat(ink.size, axis=1)
    return np.concatenate([ink[None], even.reshape(-1, *ink.shape)]), found


def find(picture: NDArray[np.uint8], working: int) -> Ink:
    """Tell what of (C, H, W) is ink, on a copy whose longer side is at most `working` px.

    Source of the two thresholds: Canny 1986, "A computational approach to edge detection", IEEE
    Transactions on Pattern Analysis and Machine Intelligence 8(6).
    """
    factor = -(-max(picture.shape[1:]) // working)
    if factor > 1:
        picture = np.stack([grids.shrunk(plane, working) for plane in picture])
    dark = paper.darkness(picture)
    sure = dark.share > dark.above
    parts = parts_of(dark.share > max(PALE * dark.above, min(3 * dark.grain, dark.above)))
    kept = parts.holding(sure)
    if not kept.any():
        return Ink(dark, parts, kept, 0, 0.0, factor)
    strange = foreign(parts, kept)
    own = kept & ~strange
    stroke = parts.stroke(np.where(own, parts.areas, 0).argmax())
    dust = parts.areas < SPECK * stroke**2
    return Ink(dark, parts, own & ~dust, int((kept & strange & ~dust).sum()), stroke, factor)


def foreign(parts: Parts, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say which parts (P,) come from outside the picture: a ruled line, a piece of a neighbour.

    Such a part is cut off by the border while the largest part is not. Lines that run from border
    to border are not taken for the largest part where there is another.
    """
    if len(parts) < 2:
        return np.zeros(len(parts), dtype=bool)
    cut = parts.cut
    sides = parts.boxes[:, 2:] - parts.boxes[:, :2]
    longer = sides.max(axis=1)
    lines = (cut[:, :2] & cut[:, 2:]).any(axis=1) & (parts.areas < longer * longer / 8)
    whole = np.where(kept & ~lines, parts.areas, 0)
    main = whole.argmax()
    if not whole[main]:
        return np.zeros(len(parts), dtype=bool)
    dots = dotted(parts, kept, int(longer[main]))
    return dots if cut[main].any() else dots | cut.any(axis=1)


def dotted(parts: Parts, kept: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Say which parts (P,) are dots of a dotted line, such as forms have to write on.

    That is at least `DOTS` of them on one level, over half of the picture, each a piece of a line
    that is thin beside a character of that length, px.
    """
    found = np.zeros(len(parts), dtype=bool)
    if len(parts) < DOTS:
        return found
    for across, along in ((0, 1), (1, 0)):
        starts, ends = parts.boxes[:, :2], parts.boxes[:, 2:]
        sides = ends - starts
        thin = kept & (sides[:, across] <= length / 8) & (sides[:, along] <= length / 2)
        few = np.flatnonzero(thin)
        if not DOTS <= len(few) <= MANY:
            continue
        middles = (starts[few, across] + ends[few, across]) / 2
        level = np.abs(middles[:, None] - middles) <= length / 16
        last = np.where(level, ends[few, along], 0).max(axis=1)
        first = np.where(level, starts[few, along], last.max()).min(axis=1)
        far = last - first >= parts.shape[along] / 2
        found[few[far & (level.sum(axis=1) >= DOTS)]] = True
    return found


def flattened(dark: Darkness, mask: Mask, box: Box) -> NDArray[np.float32]:
    """Return the ink of a box between 0 and 1: the mask and its soft edge, and nothing else.

    Full ink is the middle of what is ink for certain.
    """
    top, left, bottom, right = box
    share, mask = dark.share[top:bottom, left:right], mask[top:bottom, left:right]
    near = mask.copy()
    for lines in (near, near.T):
        lines[:-1] |= lines[1:]
        lines[1:] |= lines[:-1]
    full = grids.middle(share[mask & (share > dark.above)])
    ink: NDArray[np.float32] = np.clip(share / full, 0, 1) * near
    return ink


def into_frame(
    ink: NDArray[np.float32], stroke: float, size: int, fill: float
) -> tuple[NDArray[np.uint8], float]:
    """Scale (H, W) to fill a frame but for its margin, and lay its mass into the middle.

    Strokes that would be thinner than `THIN` are widened to that. Where there is more ink on one
    side, the box moves to the other, up to the edge of the frame.

    Returns:
        uint8 (S, S), and the scale.
    """
    longer = max(ink.shape)
    inner = size - 2 * max(1, round(size * (1 - fill) / 2))
    lacking = max(0.0, inner * THIN - max(1.0, stroke * inner / longer))
    scale = (inner - lacking) / longer
    rows, columns = (max(1, round(side * scale)) for side in ink.shape)
    small = grids.resized(ink, rows, columns)
    small = np.minimum(small / min(stroke * scale, 1.0), 1)  # a stroke of half a pixel is half dark
    small = widened(small, lacking / 2) if lacking else small
    framed = np.zeros((size, size), dtype=np.uint8)
    top, left = _start(small.sum(axis=1), size), _start(small.sum(axis=0), size)
    framed[top : top + len(small), left : left + small.shape[1]] = np.rint(255 * small)
    return framed, scale


def widened(ink: NDArray[np.float32], by: float) -> NDArray[np.float32]:
    """Return (H, W) with strokes that reach further by so many pixels, or parts of one, all around.

    The shape grows by as many whole pixels on every side.
    """
    rim = math.ceil(by)
    height, width = ink.shape
    wide = np.zeros((height + 2 * rim, width + 2 * rim), dtype=np.float32)
    wide[rim : rim + height, rim : rim + width] = ink
    for step in range(rim):
        share = np.float32(min(by - step, 1.0))
        for lines in (wide, wide.T):
            near = np.maximum(lines[:-2], lines[2:]) * share
            np.maximum(lines[1:-1], near, out=lines[1:-1])
    return wide


def _start(mass: NDArray[np.floating], size: int) -> int:
    """Return where rows of this mass begin, so that its centre is as near the middle as can be."""
    centre = float((mass * (np.arange(len(mass)) + 0.5)).sum() / mass.sum())
    return min(max(round(size / 2 - centre), 0), size - len(mass))
