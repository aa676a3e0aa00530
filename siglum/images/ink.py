"""Extract the ink of any image: light on dark, cropped, its mass centred in a square frame.

Finds paper and ink in uneven light, removes ruling, and frames what is left. Thin strokes are
strengthened and widened, so that none fades away.
Shapes: C channels, H x W pixels, h x w pixels of a smaller copy, S the side of the frame,
P components, N files.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.images import decode
from siglum.images.components import (
    Box,
    Components,
    Mask,
    count_characters,
    find_components,
    pad,
    stroke_width,
)
from siglum.images.decode import as_text
from siglum.images.imageset import ImageSet
from siglum.images.ruling import find_ruling, may_have_ruling, punch_holes

Grey = NDArray[np.uint8]  # (H, W)
Floats = NDArray[np.floating]

WORKING = 512  # px, the longer side on which ink is searched
FILL = 6 / 7  # of the frame's side, by the longer side of the ink
THIN = 1 / 10  # of the ink's longer side: thinner strokes are widened to that
WEAK = 0.5  # of the ink's threshold: paler pixels are ink where they touch certain ink
SPECK = 0.25  # of the stroke's width squared: a dot is about one, dust is less
DOTS, MAX_DOTS = 5, 500  # small components on one level that may make a dotted line

SMALL = 64  # px, the longer side of the copy on which colour, polarity and light are judged
EVEN = 4  # levels of 255 within which even paper keeps
PAPER = 0.6  # of all pixels, the least share of even paper
BROAD = 1 / 6  # of the longer side: broader ink may be other paper
SMOOTH = 0.04  # of the light: largest distance of paper from a smooth surface
EXPLAINED = 0.75  # of all pixels that must lie on that surface
REACH = 1 / 4  # of the longer side, the largest distance at which paper is searched
STROKES = 2  # widths of a stroke, the distance at which paper is surely near
CONTRAST = 0.04  # of the paper's light, the least that ink takes; grain stays below
GRAIN = 5.0  # standard deviations of the paper's grain, the least between paper and ink
EDGE = 2  # levels of 255 by which the edge of a shadow lies below the mean around it
HISTOGRAM = 256  # px of the longer side that are enough for a histogram
LEVELS = np.arange(256.0)
DEGREES = ([0, 0, 1, 0, 1, 2], [0, 1, 0, 2, 1, 0])  # of y and x in a surface of degree 2
RIDGE = 1e-3 * np.eye(6)

PALE, UNEVEN, SHORT = 0.15, 0.3, 20  # a warning: contrast below, unevenness above, px below
INK = 25  # of 255: brighter pixels of a canonical image are ink
NEAR = 1.5 / 28  # of the side: tolerance of the ink's size and position in a frame
AGREE = 0.95  # of the images must have the same margins


@dataclass(frozen=True)
class InkReport:
    """Where the ink of an image is, and what was done to it."""

    inverted: bool = False  # dark ink on light paper was inverted
    box: Box = (0, 0, 0, 0)  # top, left, bottom, right, the last two exclusive, px
    height: float = 0.0  # of the box, in heights of the image
    width: float = 0.0  # of the box, in heights of the image too: may be above 1
    position: float = 0.5  # of the box's middle: 0 at the top of the image, 1 at its bottom
    stroke: float = 0.0  # mean stroke width, px of the image
    scale: float = 1.0  # px of the frame per px of the image
    contrast: float = 0.0  # share of the paper's light that the ink takes, in [0, 1]
    unevenness: float = 0.0  # share of the light missing where the paper is darkest, in [0, 1]
    touches_border: bool = False
    ignored: int = 0  # pieces at the border that belong to something else
    characters: int = 0
    lines: str = ""  # ruling: "removed", "in doubt", or "" for none

    @property
    def empty(self) -> bool:
        """Whether there is no ink."""
        return self.box[2] == 0

    def warnings(self) -> list[str]:
        """Return what may spoil the prediction, each with its remedy, the gravest first."""
        if self.empty:
            return ["No ink found: nothing stands out from the paper. Use a darker pen."]
        result = []
        if self.characters > 1:
            count = "Two" if self.characters == 2 else "Several"
            result.append(f"{count} characters found: use --page, or crop the picture to one.")
        if self.touches_border:
            result.append("Ink touches the edge of the picture: leave a margin.")
        if self.contrast < PALE:
            result.append(
                f"Pale ink: it takes {100 * self.contrast:.0f} % of the paper's light. "
                "Use a darker pen."
            )
        if self.unevenness > UNEVEN:
            result.append(
                f"Uneven light: {100 * self.unevenness:.0f} % is missing at the darkest place. "
                "Avoid shadows."
            )
        top, left, bottom, right = self.box
        if max(bottom - top, right - left) < SHORT:
            result.append(f"Small ink: {right - left} x {bottom - top} px. Go nearer.")
        if self.lines == "removed":
            result.append("Ruled lines were removed: use blank paper if the ink looks wrong.")
        if self.lines == "in doubt":
            result.append("Straight lines or a frame count as ink: crop the picture inside them.")
        if self.ignored:
            pieces = "1 piece" if self.ignored == 1 else f"{self.ignored} pieces"
            result.append(f"Ignored {pieces} at the edge of the picture.")
        return result


@dataclass(frozen=True)
class Binarized:
    """How much of the paper's light each pixel lacks."""

    share: Floats  # (H, W); about 0 on paper, at most 1
    threshold: float  # pixels above are certainly ink; 1 where there is no ink
    contrast: float  # between the means of ink and paper, in [0, 1]
    grain: float  # standard deviation of the share on paper
    inverted: bool
    unevenness: float


@dataclass(frozen=True)
class Extraction:
    """The ink of an image, found on a copy of h x w pixels."""

    binarized: Binarized
    components: Components
    selected: NDArray[np.bool_]  # (P,), the components that are ink
    ignored: int
    stroke: float  # px of the copy; 0 where there is no ink
    factor: int  # px of the image per px of the copy
    lines: str  # of the paper: "removed", "in doubt", or "" for none


class PreprocessedFiles(NamedTuple):
    """Image files as a network sees them, and the files that cannot be read."""

    images: NDArray[np.uint8]  # (N, planes, S, S)
    files: tuple[str, ...]
    inverted: tuple[bool, ...]
    positions: NDArray[np.float32]  # (N, 3): height, width and position; NaN if not extracted
    warnings: tuple[tuple[str, ...], ...]
    unreadable: tuple[tuple[str, str], ...]  # name and reason


def normalise(
    image: NDArray[np.uint8], size: int = SMALL, fill: float = FILL
) -> tuple[NDArray[np.uint8], InkReport]:
    """Return an image's ink in the middle of a square frame, and a report.

    Args:
        image: (H, W) or (C, H, W), of any polarity, paper, light and ink.
        size: S, px.
        fill: share of the side that the longer side of the ink fills.

    Returns:
        uint8 (S, S), 0 for paper and 255 for full ink; all 0 where there is no ink.
    """
    image = image[None] if image.ndim == 2 else image
    extraction = extract(image, WORKING)
    report = InkReport(
        inverted=extraction.binarized.inverted,
        unevenness=extraction.binarized.unevenness,
        lines=extraction.lines,
    )
    if not extraction.stroke:
        return np.zeros((size, size), np.uint8), report
    components, selected, factor = extraction.components, extraction.selected, extraction.factor
    top, left, bottom, right = box = components.bounding_box(selected)
    ink = flatten(extraction.binarized, components.mask(selected), box)
    framed, scale = frame(ink, extraction.stroke, size, fill)
    height, width = components.shape
    return framed, replace(
        report,
        box=(
            factor * top,
            factor * left,
            min(factor * bottom, image.shape[1]),
            min(factor * right, image.shape[2]),
        ),
        height=(bottom - top) / height,
        width=(right - left) / height,
        position=(top + bottom) / 2 / height,
        stroke=extraction.stroke * factor,
        scale=scale / factor,
        contrast=extraction.binarized.contrast,
        touches_border=top == 0 or left == 0 or bottom == height or right == width,
        ignored=extraction.ignored,
        characters=count_characters(components.boxes[selected], extraction.stroke),
    )


def preprocess_image(
    image: NDArray[np.uint8], preprocess: Preprocess
) -> tuple[NDArray[np.uint8], InkReport | None]:
    """Return what a network sees of (C, H, W), uint8 (planes, S, S), and the report of its ink.

    Without ink extraction the image is only resized, its polarity stays, and there is no report.
    Three even planes with height, width and position follow where `position_channels` is set.
    """
    if not preprocess.cuts_out:
        return decode.resize(image, preprocess), None
    ink, report = normalise(image, preprocess.size, preprocess.margins or FILL)
    return add_position(ink, report.height, report.width, report.position, preprocess), report


def add_position(
    ink: NDArray[np.uint8], height: float, width: float, position: float, preprocess: Preprocess
) -> NDArray[np.uint8]:
    """Return ink (1, S, S), or (4, S, S) with the planes of its size and position."""
    if not preprocess.position_channels:
        return ink[None]
    values = np.rint(255 * np.clip([height, width, position], 0, 1)).astype(np.uint8)
    return np.concatenate([ink[None], np.full((3, *ink.shape), values[:, None, None])])


def preprocess_files(files: Sequence[Path], preprocess: Preprocess) -> PreprocessedFiles:
    """Read and preprocess files, each by itself."""
    # Of extracted ink, twice the working size is enough.
    enough = 2 * WORKING if preprocess.cuts_out else decode.MAX_SIDE
    channels = None if preprocess.cuts_out else preprocess.channels
    images, names, inverted, positions, warnings = [], [], [], [], []
    unreadable: list[tuple[str, str]] = []
    for file in files:
        try:
            image = decode.read(file, channels, enough)
        except DataError as error:
            unreadable.append((as_text(str(file)), str(error)))
            continue
        planes, report = preprocess_image(image, preprocess)
        light = decode.has_light_background(image[None])
        images.append(255 - planes if decode.needs_inversion(light, preprocess)[0] else planes)
        names.append(as_text(str(file)))
        dark_ink = bool(light[0]) if report is None else report.inverted
        inverted.append(preprocess.polarity == "light" and dark_ink)
        warnings.append(tuple(report.warnings()) if report else ())
        positions.append(
            (report.height, report.width, report.position) if report else (math.nan,) * 3
        )
    shape = (len(images), preprocess.planes, preprocess.size, preprocess.size)
    return PreprocessedFiles(
        np.array(images, np.uint8).reshape(shape),
        tuple(names),
        tuple(inverted),
        np.array(positions, np.float32).reshape(-1, 3),
        tuple(warnings),
        tuple(unreadable),
    )


def margins(images: ImageSet) -> float | None:
    """Return the share of the side that the ink's longer side fills; None where it varies.

    Images that come cropped and centred by mass or by box, such as MNIST, have one share. None
    also where the ink reaches the border. Looks at 1,000 images.
    """
    channels, height, side = images.shape
    if channels != 1 or height != side:
        return None
    rows = np.linspace(0, len(images) - 1, min(1000, len(images))).round().astype(int)
    ink = images.take(rows)[:, 0]
    ink = ink[ink.max(axis=(1, 2)) > INK].astype(np.float32)
    if len(ink) < AGREE * len(rows):
        return None
    marked = ink > INK
    ends = []
    for axis in (2, 1):
        along = marked.any(axis=axis)
        ends += [along.argmax(axis=1), side - along[:, ::-1].argmax(axis=1)]
    top, bottom, left, right = ends
    longer = np.maximum(bottom - top, right - left)
    usual = float(np.median(longer))
    inside = (np.minimum(top, left) > 0) & (np.maximum(bottom, right) < side)
    inside &= np.abs(longer - usual) <= NEAR * side
    centres = np.arange(side) + 0.5
    mass = ink.sum(axis=(1, 2))
    by_mass = ink.sum(axis=2) @ centres / mass, ink.sum(axis=1) @ centres / mass
    by_box = (top + bottom) / 2, (left + right) / 2
    agreeing = [
        inside & (np.maximum(abs(down - side / 2), abs(across - side / 2)) <= NEAR * side)
        for down, across in (by_mass, by_box)
    ]
    return usual / side if max(map(np.mean, agreeing)) >= AGREE else None


def same_margins(one: float | None, other: float) -> bool:
    """Whether images already fill the frame as asked."""
    return one is not None and abs(one - other) <= NEAR


def extract(image: NDArray[np.uint8], working: int, whole_page: bool = False) -> Extraction:
    """Find the ink of (C, H, W) on a copy whose longer side is at most `working` px.

    Source of the two thresholds: Canny 1986, "A computational approach to edge detection", IEEE
    Transactions on Pattern Analysis and Device Intelligence 8(6).
    """
    factor = -(-max(image.shape[1:]) // working)
    if factor > 1:
        image = np.stack([_shrink(plane, working) for plane in image])
    binarized = binarize(image)
    mask = _weak(binarized)
    components = find_components(mask)
    ruling, doubtful = None, False
    if whole_page or may_have_ruling(components):
        ruling, doubtful = find_ruling(binarized.share, mask, whole_page)
    if ruling is not None:
        binarized = _without(binarized, ruling, mask & ~ruling)
        components = find_components(_weak(binarized) & ~ruling)
    lines = "removed" if ruling is not None else "in doubt" if doubtful else ""
    certain = components.overlapping(binarized.share > binarized.threshold)
    if not certain.any():
        return Extraction(binarized, components, certain, 0, 0.0, factor, lines)
    foreign = _foreign(components, certain)
    own = certain & ~foreign
    stroke = components.stroke_width(np.where(own, components.areas, 0).argmax())
    large = components.areas >= SPECK * stroke**2
    ignored = int((certain & foreign & large).sum())
    return Extraction(binarized, components, own & large, ignored, stroke, factor, lines)


def _weak(binarized: Binarized) -> Mask:
    weak = max(WEAK * binarized.threshold, min(3 * binarized.grain, binarized.threshold))
    mask: Mask = binarized.share > weak
    return mask


def _without(binarized: Binarized, ruling: Mask, ink: Mask) -> Binarized:
    """Remove ruling with its soft edge, and find the threshold of what is left."""
    edge = _dilate(_dilate(ruling)) & ~ink
    share = np.where(edge, 0, binarized.share)
    threshold, contrast = _threshold(share)
    if contrast < max(CONTRAST, GRAIN * binarized.grain):
        threshold, contrast = 1.0, 0.0
    return replace(binarized, share=share, threshold=threshold, contrast=contrast)


def _dilate(mask: Mask) -> Mask:
    wide = mask.copy()
    for lines in (wide, wide.T):
        lines[:-1] |= lines[1:]
        lines[1:] |= lines[:-1]
    return wide


def _foreign(components: Components, certain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the components (P,) from outside: dotted lines, and pieces cut off by the border.

    Where the largest component itself touches the border, others may, too. Lines from border to
    border are not the largest where there is another.
    """
    none = np.zeros(len(components), dtype=bool)
    if len(components) < 2:
        return none
    border, longer = components.at_border, components.lengths
    across = (border[:, :2] & border[:, 2:]).any(axis=1)
    lines = across & (components.areas < longer * longer / 8)
    holes = punch_holes(components, certain)
    candidates = np.where(certain & ~lines & ~holes, components.areas, 0)
    main = candidates.argmax()
    if not candidates[main]:
        return none
    foreign = holes | _dotted(components, certain, int(longer[main]))
    return foreign if border[main].any() else foreign | border.any(axis=1)


def _dotted(components: Components, certain: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Return the dots (P,) of dotted lines over half of the image, as forms have them.

    Each is a piece of a line that is thin compared with a character of that length, px.
    """
    dots = np.zeros(len(components), dtype=bool)
    starts, ends = components.boxes[:, :2], components.boxes[:, 2:]
    sides = ends - starts
    for across, along in ((0, 1), (1, 0)):
        thin = certain & (sides[:, across] <= length / 8) & (sides[:, along] <= length / 2)
        rows = np.flatnonzero(thin)
        if not DOTS <= len(rows) <= MAX_DOTS:
            continue
        middles = (starts[rows, across] + ends[rows, across]) / 2
        level = np.abs(middles[:, None] - middles) <= length / 16
        last = np.where(level, ends[rows, along], 0).max(axis=1)
        first = np.where(level, starts[rows, along], last.max()).min(axis=1)
        long = last - first >= components.shape[along] / 2
        dots[rows[long & (level.sum(axis=1) >= DOTS)]] = True
    return dots


def flatten(binarized: Binarized, mask: Mask, box: Box) -> NDArray[np.float32]:
    """Return the ink of a box in [0, 1], with its soft edge and nothing else; 1 is the median."""
    top, left, bottom, right = box
    share, mask = binarized.share[top:bottom, left:right], mask[top:bottom, left:right]
    near = _dilate(mask)
    full = _median(share[mask & (share > binarized.threshold)])
    ink: NDArray[np.float32] = np.clip(share / full, 0, 1) * near
    return ink


def frame(
    ink: NDArray[np.float32], stroke: float, size: int, fill: float
) -> tuple[NDArray[np.uint8], float]:
    """Scale ink (H, W) to fill a frame (S, S) but for its margin, and centre its mass.

    Strokes thinner than `THIN` are widened. Lopsided ink moves up to the edge of the frame.

    Returns:
        uint8 (S, S), and the scale.
    """
    longer = max(ink.shape)
    inner = size - 2 * max(1, round(size * (1 - fill) / 2))
    lacking = max(0.0, inner * THIN - max(1.0, stroke * inner / longer))
    scale = (inner - lacking) / longer
    rows, columns = (max(1, round(side * scale)) for side in ink.shape)
    small = _resize(ink, rows, columns)
    small = np.minimum(small / min(stroke * scale, 1.0), 1)  # a stroke of half a pixel is half dark
    if lacking:
        small = _widen(small, lacking / 2)
    framed = np.zeros((size, size), dtype=np.uint8)
    top, left = _start(small.sum(axis=1), size), _start(small.sum(axis=0), size)
    framed[top : top + len(small), left : left + small.shape[1]] = np.rint(255 * small)
    return framed, scale


def _widen(ink: Floats, width: float) -> Floats:
    """Let strokes (H, W) reach `width` px further on every side, fractions included."""
    rim = math.ceil(width)
    wide = pad(ink, rim, rim)
    for step in range(rim):
        share = np.float32(min(width - step, 1.0))
        for lines in (wide, wide.T):
            near = np.maximum(lines[:-2], lines[2:]) * share
            np.maximum(lines[1:-1], near, out=lines[1:-1])
    return wide


def _start(mass: Floats, size: int) -> int:
    """Return where rows of this mass begin, so that its centre is nearest to the middle."""
    centre = float((mass * (np.arange(len(mass)) + 0.5)).sum() / mass.sum())
    return min(max(round(size / 2 - centre), 0), size - len(mass))


def binarize(image: NDArray[np.uint8]) -> Binarized:
    """Separate ink from paper of (C, H, W), grey or RGB, in any light."""
    grey = _to_grey(image)
    even = _on_even_paper(grey)
    return _on_any_paper(grey) if even is None else even


def _on_even_paper(grey: Grey) -> Binarized | None:
    """Separate thin ink from paper of one level, as data sets have it; None for all else."""
    border = _border(grey)
    level = int(_median(border))
    low, high = max(level - EVEN, 0), min(level + EVEN, 255)
    if np.count_nonzero((border < low) | (border > high)) > 0.1 * len(border):
        return None
    counts = np.bincount(grey.ravel(), minlength=256)
    darker, lighter = int(counts[:low].sum()), int(counts[high + 1 :].sum())
    ink, other = max(darker, lighter), min(darker, lighter)
    if not ink or ink > (1 - PAPER) * grey.size or other > 0.02 * ink:
        return None
    inverted = darker > lighter
    if stroke_width(grey < low if inverted else grey > high) > BROAD * max(grey.shape):
        return None
    light = level if inverted else 255 - level
    shares = (level - LEVELS if inverted else LEVELS - level) / light
    threshold, contrast = _otsu(np.bincount(_to_bytes(shares), counts, 256))
    share = shares.astype(np.float32).take(grey)
    grain = _grain(share)
    if contrast < max(2 * GRAIN * EVEN / 255, GRAIN * grain):
        return None
    return Binarized(share, threshold, contrast, grain, inverted, 0.0)


def _on_any_paper(grey: Grey) -> Binarized:
    """Separate ink from paper in light that falls off, with shadows and other papers."""
    small = _shrink(grey, SMALL)
    inverted = _is_dark_on_light(small)
    if not inverted:
        grey, small = 255 - grey, 255 - small
    light = _paper_light(grey, small)
    share = _missing(grey, light)
    grain = _grain(share)
    step = max(1, max(grey.shape) // HISTOGRAM)
    threshold, contrast = _threshold(share[::step, ::step])
    if contrast < max(CONTRAST, GRAIN * grain):
        threshold, contrast = 1.0, 0.0
    step = max(1, max(light.shape) // SMALL)
    lights = np.sort(light[::step, ::step], axis=None)
    unevenness = 1 - float(lights[len(lights) // 50]) / max(
        float(lights[-1 - len(lights) // 50]), 1
    )
    return Binarized(share, threshold, contrast, grain, inverted, unevenness)


def _to_grey(image: NDArray[np.uint8]) -> Grey:
    """Return the mix of channels in which strokes differ most from their surroundings.

    The first principal component of the differences without its negative parts: grey stays grey,
    and yellow on white becomes the blue channel.
    """
    if len(image) == 1 or (image[1:] == image[0]).all():
        return np.asarray(image[0])
    small = np.stack([_shrink(plane, SMALL) for plane in image]).astype(np.float32)
    fine = (small - _blur(small, max(small.shape) // 6)).reshape(3, -1)
    direction = np.linalg.eigh(fine @ fine.T)[1][:, -1]
    direction *= np.sign(direction[np.abs(direction).argmax()])
    shares = np.maximum(direction, 0) / np.maximum(direction, 0).sum()
    red, green = (int(share) for share in np.rint(256 * shares[:2]))
    weights = np.array([red, green, 256 - red - green], dtype=np.uint16)
    mixed = image[0] * weights[0] + image[1] * weights[1] + image[2] * weights[2]
    return np.asarray(mixed >> 8, dtype=np.uint8)


def _is_dark_on_light(small: Grey) -> bool:
    """Whether the ink of (h, w) is darker than the paper.

    Ink covers less than paper, so differences from the surroundings are skewed towards it, also in
    uneven light and where ink touches the border. Where both cover the same, the border decides.
    """
    fine = small - _blur(small, max(small.shape) // 6)
    squares = _centre_weights(*small.shape) * fine * fine
    skewness = float((squares * fine).sum()) / max(float(squares.sum()) ** 1.5, 1e-6)
    middle = 255 * _otsu(np.bincount(small.ravel(), minlength=256))[0]
    light = float((_border(small) > middle).mean())
    return bool(2 * light - 1 > skewness)


def _paper_light(grey: Grey, small: Grey) -> Floats:
    """Return the paper's light (H, W), also under the ink, which is darker.

    Smoothly falling light is divided out first. Of the rest there are two estimates, and the lower
    holds: a closing keeps the hard edge of a shadow, but is too light where light falls off towards
    a border; a mean over what is no ink follows such a fall, but blurs edges.

    Args:
        small: a copy (h, w) for the estimates; enough where it shows no edge.
    """
    fall = _falling_light(small)
    if fall is not None:
        small = _divide(small, fall)
    reach = _reach(small)
    near = _close(small, reach)
    mean = _mean_light(small, near)
    if grey.shape == small.shape:
        light = np.minimum(near, mean)
    elif np.count_nonzero(near < mean - np.float32(EDGE)) <= 0.001 * small.size:
        light = _resize(mean, *grey.shape)
    else:
        grey = grey if fall is None else _divide(grey, fall)
        reach = max(1, round(reach * max(grey.shape) / max(small.shape)))
        light = np.minimum(_close(grey, reach), _resize(mean, *grey.shape))
    return light if fall is None else light * _surface(fall, *grey.shape)


def _falling_light(small: Grey) -> Floats | None:
    """Return the coefficients of light that falls smoothly over (h, w), 1 at its brightest.

    A surface of degree 2 is fitted repeatedly without the pixels off it. None where the light is
    even, or where too few pixels lie on the surface in the end.
    """
    level = float(_median(_border(small)))
    even = np.count_nonzero(np.abs(small - level) <= SMOOTH * level)
    if min(small.shape) < 8 or even > EXPLAINED * small.size:
        return None
    rough = _shrink(small, SMALL // 2)
    terms, values = _terms(*rough.shape), rough.ravel().astype(np.float32)
    near = np.ones(len(values), dtype=np.float32)
    for _ in range(4):
        some = terms * near
        weights = np.linalg.solve(some @ terms.T + RIDGE, some @ values).astype(np.float32)
        fitted = weights @ terms
        off = np.abs(values - fitted) / np.maximum(fitted, 1)
        before, near = near, (off <= max(SMOOTH, 1.5 * float(_median(off)))).astype(np.float32)
        if (near == before).all():
            break
    if np.count_nonzero(off <= SMOOTH) < EXPLAINED * len(off):
        return None
    fall = np.zeros((3, 3), dtype=np.float32)
    fall[DEGREES] = weights
    light = _surface(fall, *small.shape)
    return None if light.min() < 0.1 * light.max() else fall / light.max()


def _divide(grey: Grey, fall: Floats) -> Grey:
    return np.minimum(grey / _surface(fall, *grey.shape), 255).astype(np.uint8)


def _mean_light(small: Grey, near: Grey) -> Grey:
    """Return the mean light of what is no ink (h, w) in wide surroundings, by a first estimate."""
    first = _missing(small, near)
    threshold, contrast = _threshold(first)
    border = _border(small)
    if contrast < CONTRAST and np.ptp(border) <= 2 * CONTRAST * border.max():
        return np.full_like(small, _median(border))  # even paper: what differs is a blot
    paper = (first <= threshold / 2).astype(np.float32)
    share, light = _blur(np.stack([paper, paper * small]), max(small.shape) // 8, times=2)
    return np.where(share > 0.02, light / np.maximum(share, 1e-6), 255).astype(np.uint8)


def _reach(small: Grey) -> int:
    """Return how far away paper is to be searched: two stroke widths.

    So near by, a shadow or a piece of other paper, which are wider than strokes, is paper.
    """
    far: int = max(1, round(REACH * max(small.shape)))
    share = _missing(small, _close(small, far))
    dark = share > _threshold(share)[0]
    if not dark.any():
        return far
    darker, contrast = _threshold(share[dark][None])
    stroke = stroke_width(share > darker if contrast else dark)
    return min(far, math.ceil(STROKES * stroke))


def _missing(grey: Grey, paper: Floats | Grey) -> Floats:
    """Return the share of the paper's light that is missing."""
    return 1 - grey / np.maximum(paper, 1, dtype=np.float32)


def _threshold(share: Floats) -> tuple[float, float]:
    """Return the share that separates ink from paper, and the contrast of their means."""
    return _otsu(np.bincount(_to_bytes(share).ravel(), minlength=256))


def _to_bytes(share: Floats) -> Grey:
    scaled: Grey = np.clip(share * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
    return scaled


def _otsu(counts: NDArray[Any]) -> tuple[float, float]:
    """Return the share of 255 that separates a histogram (256,), and the contrast of both means.

    Source: Otsu 1979, "A threshold selection method from gray-level histograms", IEEE
    Transactions on Systems, Man, and Cybernetics 9(1).
    """
    below, total = counts.cumsum(dtype=np.float64), (counts * LEVELS).cumsum()
    size = below[-1]
    both = below * (size - below)
    score = (total[-1] * below - total * size) ** 2 / np.maximum(both, 1)
    # A gap in the histogram is a plateau; its middle is as far from the paper as from the ink.
    best = (score >= score.max() * (1 - 1e-9)).nonzero()[0]
    level = best[len(best) // 2]
    if not both[level]:
        return (level + 0.5) / 255, 0.0
    dark = (total[-1] - total[level]) / (size - below[level])
    return (level + 0.5) / 255, float(dark - total[level] / below[level]) / 255


def _border(grey: Grey) -> Grey:
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _grain(share: Floats) -> float:
    """Return the standard deviation on paper, from the differences of pixels near each other."""
    lag = max(share.shape) // SMALL | 1  # odd, so that few lines of squared paper coincide
    apart = np.abs(share[::lag, lag::lag] - share[::lag, :-lag:lag])
    # The lower quartile: squared paper raises the median.
    quarter = apart.size // 4
    return 2.219 * float(np.partition(apart, quarter, axis=None)[quarter]) if apart.size else 0.0


def _shrink(plane: Grey, side: int) -> Grey:
    """Return a longer side of at most `side`, by means over whole squares of pixels."""
    factor = -(-max(plane.shape) // side)
    return np.asarray(Image.fromarray(plane).reduce(factor)) if factor > 1 else plane


def _close(grey: Grey, reach: int) -> Grey:
    """Fill what is dark and narrower than the reach with its surroundings.

    Source: Serra 1982, "Image analysis and mathematical morphology".
    """
    return _extreme(_extreme(grey, reach, np.maximum, 0), reach, np.minimum, 255)


def _extreme(grey: Grey, reach: int, either: np.ufunc, outside: int) -> Grey:
    """Return the largest or smallest value in a square around every pixel; windows double."""
    for axis in (1, 0):
        lines = pad(grey, 0 if axis else reach, reach if axis else 0, outside)
        lines = lines.T if axis else lines
        window, length = 1, 2 * reach + 1
        while window < length:
            step = min(window, length - window)
            lines = either(lines[:-step], lines[step:])
            window += step
        grey = lines.T if axis else lines
    return grey


def _median(values: NDArray[Any]) -> Any:
    """Return the median, of an even number the upper of the two in the middle."""
    half = values.size // 2
    return np.partition(values, half, axis=None)[half]


def _resize(values: NDArray[Any], height: int, width: int) -> Floats:
    """Return (height, width): means where it shrinks, linear interpolation where not."""
    down, across = _resampling(values.shape[0], height), _resampling(values.shape[1], width)
    resized: Floats = down @ values.astype(np.float32) @ across.T
    return resized


def _blur(values: NDArray[Any], radius: int, times: int = 1) -> Floats:
    """Return means of (..., h, w) over squares of side 2 `radius` + 1, cut off at the borders."""
    height, width = values.shape[-2:]
    down, across = _means(height, radius, times), _means(width, radius, times)
    return down @ values.astype(np.float32) @ across.T


def _surface(weights: Floats, height: int, width: int) -> Floats:
    surface: Floats = _powers(height) @ weights @ _powers(width).T
    return surface


@lru_cache(maxsize=256)
def _powers(length: int) -> Floats:
    """Return 1, x and x squared (length, 3) at the pixels' centres, x from -1 to 1."""
    x = (2 * np.arange(length) + 1) / length - 1
    return np.stack([np.ones_like(x), x, x * x], axis=-1).astype(np.float32)


@lru_cache(maxsize=256)
def _terms(height: int, width: int) -> Floats:
    """Return the products of at most degree 2 of y and x over (h, w): (6, h w)."""
    down, across = DEGREES
    terms = _powers(height).T[down, :, None] * _powers(width).T[across, None]
    return terms.reshape(6, -1)


@lru_cache(maxsize=128)
def _resampling(length: int, target: int) -> Floats:
    """Return the weights (target, length) of pixels along one axis for each new pixel."""
    scale = length / target
    off = np.arange(length) + 0.5 - scale * (np.arange(target)[:, None] + 0.5)
    near = (off > -scale / 2) & (off <= scale / 2) if scale > 1 else np.maximum(1 - np.abs(off), 0)
    weights: Floats = (near / near.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


@lru_cache(maxsize=256)
def _centre_weights(height: int, width: int) -> Floats:
    """Return weights (h, w) that fall from the middle to the borders and add up to 1."""
    down, across = (1.1 - np.linspace(-1, 1, length) ** 2 for length in (height, width))
    weights: Floats = np.outer(down, across) / (down.sum() * across.sum())
    return weights


@lru_cache(maxsize=256)
def _means(length: int, radius: int, times: int) -> Floats:
    """Return the matrix (length, length) of repeated means over 2 `radius` + 1 values."""
    places = np.arange(length)
    near = (np.abs(places[:, None] - places) <= radius).astype(np.float32)
    return np.linalg.matrix_power(near / near.sum(axis=1, keepdims=True), times)
