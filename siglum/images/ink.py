"""Extract the ink of any image, or of each character of a page: light on dark, cropped, its mass
centred in a square frame.

Shapes: C channels, H x W pixels, h x w pixels of a smaller copy, S the side of the frame,
P components, G characters.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.images import components, decode, ruling
from siglum.images.components import Box, Components, Floats, Mask
from siglum.images.imageset import ImageSet

Grey = NDArray[np.uint8]  # (H, W)

WORKING = 512  # px, the longer side on which ink is searched
FILL = 6 / 7  # of the frame's side, by the longer side of the ink
THIN = 1 / 10  # of the ink's longer side: thinner strokes are widened to that, but
THIN_PX = 3.5  # px of the frame at most, so that a large frame shows more detail
WEAK = 0.5  # of the ink's threshold: paler pixels are ink where they touch certain ink
SPECK = 0.25  # of the stroke's width squared: a dot is about one, dust is less

SMALL = 64  # px, the longer side of the copy on which colour, polarity and light are judged
CELLS = 4  # of that side: broader differences are light, not strokes
EVEN = 4  # levels of 255 within which even paper keeps
PAPER = 0.6  # of all pixels, the least share of even paper
BROAD = 1 / 6  # of the longer side: broader ink may be other paper
REACH = 1 / 4  # of the longer side, the largest distance at which paper is searched
STROKES = 2  # widths of a stroke, the distance at which paper is surely near
CONTRAST = 0.04  # of the paper's light, the least that ink takes; grain stays below
GRAIN = 5.0  # standard deviations of the paper's grain, the least between paper and ink
SAMPLES = 32  # of a side, at which the grain is measured
HISTOGRAM = 256  # px of the longer side that are enough for a histogram
LEVELS = np.arange(256.0)

PALE, UNEVEN, SHORT = 0.15, 0.3, 20  # a warning: contrast below, unevenness above, px below
INK = 25  # of 255: brighter pixels of a canonical image are ink
NEAR = 1.5 / 28  # of the side: tolerance of the ink's size and position in a frame
AGREE = 0.95  # of the images must have the same margins

PAGE_WORKING = 2048  # px, the longer side on which a page is searched
MAX_PIECES = 4_000  # of ink on a page; memory and time grow with the square
SIMILAR = 2  # times larger or smaller than others may be a character at the border
DUST = 0.2  # of a character's height: smaller things with nothing near are dust
SIDEWAYS = 0.7  # of the characters: if so many are wider than high, the page may lie on its side


@dataclass(frozen=True)
class InkReport:
    """Where the ink of an image is, and what was done to it."""

    inverted: bool = False  #: dark ink on light paper was inverted
    box: Box = (0, 0, 0, 0)  #: top, left, bottom, right, the last two exclusive, px
    height: float = 0.0  #: of the box, in heights of the image
    width: float = 0.0  #: of the box, in heights of the image too; may be above 1
    position: float = 0.5  #: of the box's middle, from 0 at the top to 1 at the bottom
    stroke: float = 0.0  #: mean stroke width, px of the image
    scale: float = 1.0  #: px of the frame per px of the image
    contrast: float = 0.0  #: share of the paper's light that the ink takes, in [0, 1]
    unevenness: float = 0.0  #: share of the light missing where the paper is darkest, in [0, 1]
    touches_border: bool = False
    ignored: int = 0  #: pieces at the border that belong to something else
    characters: int = 0
    lines: str = ""  #: "removed", "in doubt", or "" for no ruling

    @property
    def empty(self) -> bool:
        """Whether there is no ink."""
        return self.box[2] == 0

    def warnings(self) -> list[str]:
        """Return problems of the image with their remedies, the most serious first."""
        if self.empty:
            return ["No ink found: nothing stands out from the paper. Use a darker pen."]
        top, left, bottom, right = self.box
        pale, dark = f"{100 * self.contrast:.0f} %", f"{100 * self.unevenness:.0f} %"
        small = f"{right - left} x {bottom - top} px"
        rules = (
            (self.characters > 1, "Several characters found: use --page, or crop to one."),
            (self.touches_border, "Ink touches the edge of the picture: leave a margin."),
            (self.contrast < PALE, f"Pale ink: it takes {pale} of the light. Use a darker pen."),
            (self.unevenness > UNEVEN, f"Uneven light: {dark} is missing. Avoid shadows."),
            (max(bottom - top, right - left) < SHORT, f"Small ink: {small}. Go nearer."),
            (self.lines == "removed", "Removed ruled lines: use blank paper if ink is missing."),
            (self.lines == "in doubt", "Straight lines or a frame count as ink: crop inside them."),
            (self.ignored, f"Ignored pieces at the edge of the picture: {self.ignored}."),
        )
        return [sentence for applies, sentence in rules if applies]


@dataclass(frozen=True)
class Extraction:
    """The ink of an image, on a copy of h x w pixels."""

    share: Floats  # (h, w), of the paper's light that is missing: about 0 on paper, at most 1
    threshold: float  # pixels above are certainly ink; 1 where there is no ink
    components: Components
    certain: NDArray[np.bool_]  # (P,), components with certain ink
    factor: int  # px of the image per px of the copy
    report: InkReport  # what is known of the whole image


class Character(NamedTuple):
    """One character of a page."""

    box: Box  # px of the page
    ink: NDArray[np.uint8]  # (S, S), 0 for paper and 255 for full ink


class Page(NamedTuple):
    """The characters of a page."""

    rows: list[list[Character]]  # from the top, each from the left
    inverted: bool  # dark ink on light paper was inverted
    sideways: bool  # the page may be turned by a quarter


def normalise(
    image: NDArray[np.uint8], size: int = SMALL, fill: float = FILL
) -> tuple[NDArray[np.uint8], InkReport]:
    """Return the ink of (H, W) or (C, H, W) in the middle of a frame, uint8 (S, S), and a report.

    The longer side of the ink has the share `fill` of the frame's side `size`, px.
    """
    image = image[None] if image.ndim == 2 else image
    extraction = _extract(image, WORKING)
    parts, certain, factor = extraction.components, extraction.certain, extraction.factor
    if not certain.any():
        return np.zeros((size, size), np.uint8), extraction.report
    foreign = ruling.punch_holes(parts, certain)
    main = np.where(certain & ~foreign, parts.areas, 0).argmax()
    foreign |= ruling.dotted_lines(parts, certain, int(parts.sides[main].max()))
    cut = parts.at_border
    if not cut[main].any():
        foreign |= cut.any(axis=1)
    stroke = parts.stroke_width(np.arange(len(parts)) == main)
    large = certain & (parts.areas >= SPECK * stroke**2)
    framed, scale = frame(_flatten(extraction, large & ~foreign), stroke, size, fill)
    boxes, (height, width) = parts.boxes[large & ~foreign], parts.shape
    top, left, bottom, right = components.union(boxes)
    ends = min(factor * bottom, image.shape[1]), min(factor * right, image.shape[2])
    return framed, replace(
        extraction.report,
        box=(factor * top, factor * left, *ends),
        height=(bottom - top) / height,
        width=(right - left) / height,
        position=(top + bottom) / 2 / height,
        stroke=float(stroke * factor),
        scale=float(scale / factor),
        touches_border=top == 0 or left == 0 or bottom == height or right == width,
        ignored=int((large & foreign).sum()),
        characters=components.count_characters(boxes, stroke),
    )


def preprocess_image(
    image: NDArray[np.uint8], preprocess: Preprocess
) -> tuple[NDArray[np.uint8], InkReport | None]:
    """Return what a network sees of (C, H, W), uint8 (planes, S, S), and the report of its ink."""
    if not preprocess.cuts_out:
        return decode.resize(image, preprocess), None
    ink, report = normalise(image, preprocess.size, preprocess.margins or FILL)
    if not preprocess.position_channels:
        return ink[None], report
    position = np.clip([report.height, report.width, report.position], 0, 1)
    planes = np.full((3, *ink.shape), np.rint(255 * position)[:, None, None], np.uint8)
    return np.concatenate([ink[None], planes]), report


def margins(images: ImageSet) -> float | None:
    """Return the share of the side that the ink's longer side fills, as in MNIST, or None."""
    channels, height, side = images.shape
    if channels != 1 or height != side:
        return None
    rows = np.linspace(0, len(images) - 1, min(1000, len(images))).round().astype(int)
    marked = images.take(rows)[:, 0] > INK
    profiles = np.stack([marked.any(axis=2), marked.any(axis=1)])  # (2, N, S)
    longer = (side - profiles.argmax(2) - profiles[:, :, ::-1].argmax(2)).max(axis=0)
    usual = float(np.median(longer))
    alike = profiles.any(axis=(0, 2)) & ~profiles[:, :, [0, -1]].any(axis=(0, 2))
    alike &= np.abs(longer - usual) <= NEAR * side
    return usual / side if alike.mean() >= AGREE else None


def read_page(image: NDArray[np.uint8], preprocess: Preprocess, limit: int = MAX_PIECES) -> Page:
    """Find at most `limit` characters of a page (C, H, W); `preprocess` frames each."""
    extraction = _extract(image, PAGE_WORKING, whole_page=True)
    parts, factor = extraction.components, extraction.factor
    members, stroke = _characters(extraction)
    if not len(members):
        return Page([], extraction.report.inverted, sideways=False)
    if len(members) > MAX_PIECES:
        raise DataError(f"More than {MAX_PIECES:,} pieces of ink are on this page. Crop it.")
    group, boxes = components.group_characters(parts.boxes[members], stroke)
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(axis=1)
    large = np.flatnonzero(longer >= DUST * np.median(longer))
    if len(large) > limit:
        raise DataError(f"At most {limit:,} signs at once; this page has {len(large):,}. Crop it.")

    def character(number: int) -> Character:
        selected = np.zeros(len(parts), dtype=bool)
        selected[members[group == number]] = True
        ink, stroke = _flatten(extraction, selected), parts.stroke_width(selected)
        framed, _ = frame(ink, stroke, preprocess.size, preprocess.margins or FILL)
        top, left, bottom, right = (factor * boxes[number]).tolist()
        return Character((top, left, bottom, right), framed)

    rows = [[character(large[i]) for i in row] for row in components.reading_order(boxes[large])]
    lying = (sides[large, 1] > sides[large, 0]).mean() >= SIDEWAYS and len(large) > 3
    return Page(rows, extraction.report.inverted, bool(lying))


def _characters(extraction: Extraction) -> tuple[NDArray[np.int64], float]:
    """Return the components that belong to characters, and their mean stroke width, px."""
    parts, certain = extraction.components, extraction.certain
    borders, longer = parts.at_border.sum(axis=1), parts.sides.max(axis=1)
    inner = certain & (borders == 0)
    inner = inner if inner.any() else certain
    if not inner.any():
        return np.flatnonzero(inner), 0.0
    stroke = parts.stroke_width(inner)
    large = certain & (parts.areas >= SPECK * stroke**2)
    usual = np.median(longer[inner])
    # Ink at the border may be the edge of a table: it counts where it is as large as others.
    cut = (borders == 1) & (longer >= usual / SIMILAR) & (longer <= SIMILAR * usual)
    return np.flatnonzero(large & (inner | cut) & ~ruling.punch_holes(parts, large)), stroke


def _extract(image: NDArray[np.uint8], working: int, whole_page: bool = False) -> Extraction:
    """Find the ink of (C, H, W) on a copy whose longer side is at most `working` px.

    Source of the two thresholds: Canny 1986, "A computational approach to edge detection".
    """
    factor = -(-max(image.shape[1:]) // working)
    grey = _to_grey(np.stack([_shrink(plane, working) for plane in image]))
    share, inverted, unevenness = _missing_light(grey)
    grain, lines = _grain(share), ""
    threshold, contrast, mask = _separate(share, grain)
    parts = components.find_components(mask)
    if max(mask.shape) >= ruling.SMALLEST:
        printed, in_doubt = ruling.find_ruling(share, mask, parts, whole_page)
        lines = "removed" if printed.any() else "in doubt" if in_doubt else ""
    if lines == "removed":
        share = np.where(_dilate(_dilate(printed)) & (printed | ~mask), 0, share)
        threshold, contrast, mask = _separate(share, grain)
        parts = components.find_components(mask)
    certain = parts.containing(share[mask] > threshold)
    report = InkReport(inverted, contrast=contrast, unevenness=unevenness, lines=lines)
    return Extraction(share, threshold, parts, certain, factor, report)


def _separate(share: Floats, grain: float) -> tuple[float, float, Mask]:
    """Return the threshold of certain ink, its contrast, and the mask of weak ink."""
    step = max(1, max(share.shape) // HISTOGRAM)
    threshold, contrast = _otsu(share[::step, ::step])
    if contrast < max(CONTRAST, GRAIN * grain):
        threshold, contrast = 1.0, 0.0
    return threshold, contrast, share > max(WEAK * threshold, min(3 * grain, threshold))


def _dilate(mask: Mask) -> Mask:
    wide = mask.copy()
    for lines in (wide, wide.T):
        lines[:-1] |= lines[1:]
        lines[1:] |= lines[:-1]
    return wide


def _flatten(extraction: Extraction, selected: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the ink of some components in [0, 1], with its soft edge; 1 is the median."""
    top, left, bottom, right = components.union(extraction.components.boxes[selected])
    mask = extraction.components.mask(selected)[top:bottom, left:right]
    share = extraction.share[top:bottom, left:right]
    full = _median(share[mask & (share > extraction.threshold)])
    ink: NDArray[np.float32] = np.clip(share / full, 0, 1) * _dilate(mask)
    return ink


def frame(
    ink: NDArray[np.float32], stroke: float, size: int, fill: float
) -> tuple[NDArray[np.uint8], float]:
    """Return a frame, uint8 (S, S), with the ink (H, W) scaled and centred, and the scale."""
    longer = max(ink.shape)
    inner = size - 2 * max(1, round(size * (1 - fill) / 2))
    lacking = max(0.0, min(inner * THIN, THIN_PX) - max(1.0, stroke * inner / longer))
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
    wide = components.pad(ink, rim, rim)
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


def _missing_light(grey: Grey) -> tuple[Floats, bool, float]:
    """Return the share of the paper's light that each pixel lacks, polarity, and unevenness."""
    even = _even_paper(grey)
    if even is not None:
        level, inverted = even
        grey, level = (grey, level) if inverted else (255 - grey, 255 - level)
        return _missing(grey, np.float32(level)), inverted, 0.0
    inverted = _is_dark_on_light(_shrink(grey, SMALL))
    grey = grey if inverted else 255 - grey
    light = _paper_light(grey)
    step = max(1, max(grey.shape) // SMALL)
    lights = np.sort(light[::step, ::step], axis=None)
    unevenness = 1 - lights[len(lights) // 50] / max(lights[-1 - len(lights) // 50], 1)
    return _missing(grey, light), inverted, float(unevenness)


def _even_paper(grey: Grey) -> tuple[int, bool] | None:
    """Return level and polarity of thin ink on paper of one level, as data sets have it."""
    border = _border(grey)
    level = int(_median(border))
    low, high = max(level - EVEN, 0), min(level + EVEN, 255)
    if np.count_nonzero((border < low) | (border > high)) > 0.1 * len(border):
        return None
    darker, lighter = grey < low, grey > high
    counts = np.count_nonzero(darker), np.count_nonzero(lighter)
    other, ink = sorted(counts)
    if not ink or ink > (1 - PAPER) * grey.size or other > 0.02 * ink:
        return None
    inverted = bool(counts[0] > counts[1])
    stroke = components.stroke_width(darker if inverted else lighter)
    return (level, inverted) if stroke <= BROAD * max(grey.shape) else None


def _to_grey(image: NDArray[np.uint8]) -> Grey:
    """Mix channels by the fourth power of their strokes: yellow on white becomes the blue one."""
    if (image[1:] == image[0]).all():
        return np.asarray(image[0])
    small = np.stack([_shrink(plane, SMALL) for plane in image])
    fine = ((small - _blur(small)) ** 2).sum(axis=(1, 2)) ** 2
    red, green = np.rint(256 * fine[:2] / max(fine.sum(), 1e-6)).astype(np.uint16)
    mixed = image[0] * red + image[1] * green + image[2] * (256 - red - green)
    return np.asarray(mixed >> 8, dtype=np.uint8)


def _is_dark_on_light(small: Grey) -> bool:
    """Whether the ink of (h, w) is darker than the paper. In doubt, the border is paper."""
    fine = small - _blur(small)  # skewed, since there is more paper, in uneven light too
    square = fine * fine
    skewness = (square * fine).mean() / max(square.mean() ** 1.5, 1e-6)
    light = _border(small) > 255 * _otsu(small / np.float32(255))[0]
    return bool(light.mean() - 0.5 > skewness)


def _paper_light(grey: Grey) -> Floats:
    """Return the paper's light (H, W), also under the ink, which is darker.

    A closing keeps the hard edge of a shadow, but is too light where light falls off towards a
    border. A surface of degree 2 over what is no ink follows that. The lower of both holds.
    """
    small = _shrink(grey, SMALL)
    longer = max(small.shape)
    reach = max(1, round(REACH * longer))
    share = _missing(small, _close(small, reach))
    threshold, _ = _otsu(share)
    dark = share > threshold
    if dark.any():
        # Paper is two stroke widths away. So near by, a shadow or other paper is paper, too.
        darker, contrast = _otsu(share[dark])
        stroke = components.stroke_width(share > darker if contrast else dark)
        reach = min(reach, math.ceil(STROKES * stroke))
    terms = _surface_terms(*small.shape)
    on_paper = terms * (share <= threshold / 2).ravel()
    weights = np.linalg.solve(on_paper @ terms.T + 1e-3 * np.eye(6), on_paper @ small.ravel())
    surface = np.maximum(weights @ terms, 1).reshape(small.shape)
    reach = max(1, round(reach * max(grey.shape) / longer))
    return np.minimum(_close(grey, reach), _resize(surface, *grey.shape))


@lru_cache(maxsize=16)
def _surface_terms(height: int, width: int) -> Floats:
    """Return the terms of a surface of degree 2 at each pixel, (6, height * width)."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].reshape(2, -1)
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y]).astype(np.float32)


def _missing(grey: Grey, light: Floats | Grey | np.float32) -> Floats:
    return (light - grey.astype(np.float32)) / np.maximum(light, np.float32(1))


def _otsu(share: Floats) -> tuple[float, float]:
    """Return the share that separates ink from paper, and the contrast of their means.

    Source: Otsu 1979, "A threshold selection method from gray-level histograms".
    """
    levels = np.clip(share * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
    counts = np.array(Image.fromarray(levels).histogram())
    below, total = counts.cumsum(dtype=np.float64), (counts * LEVELS).cumsum()
    both = below * (below[-1] - below)
    score = (total[-1] * below - total * below[-1]) ** 2 / np.maximum(both, 1)
    # A gap in the histogram is a plateau; its middle is as far from the paper as from the ink.
    best = (score >= score.max() * (1 - 1e-9)).nonzero()[0]
    level = best[len(best) // 2]
    contrast = math.sqrt(score[level] / max(both[level], 1)) / 255
    return (level + 0.5) / 255, contrast


def _border(grey: Grey) -> Grey:
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _grain(share: Floats) -> float:
    """Return the standard deviation on paper, from the differences of pixels near each other."""
    lag = max(share.shape) // SAMPLES | 1  # odd, so that few lines of squared paper coincide
    apart = np.abs(share[::lag, lag::lag] - share[::lag, :-lag:lag])
    # The lower quartile: squared paper raises the median.
    quarter = apart.size // 4
    grain = 2.219 * float(np.partition(apart, quarter, axis=None)[quarter]) if apart.size else 0.0
    # In a picture of few pixels most neighbours are on strokes, which differ more than paper.
    return min(grain, CONTRAST) if max(share.shape) < SAMPLES else grain


def _shrink(plane: Grey, side: int) -> Grey:
    """Return a longer side of at most `side`, by means over whole squares of pixels."""
    factor = -(-max(plane.shape) // side)
    return np.asarray(Image.fromarray(plane).reduce(factor)) if factor > 1 else plane


def _close(grey: Grey, reach: int) -> Grey:
    """Fill what is dark and narrower than the reach with its surroundings.

    Source: Serra 1982, "Image analysis and mathematical morphology".
    """
    for either, outside in ((np.maximum, 0), (np.minimum, 255)):
        for _ in ("down", "across"):
            lines, window = components.pad(grey, reach, 0, outside), 1
            while window <= 2 * reach:  # windows double
                step = min(window, 2 * reach + 1 - window)
                lines = either(lines[:-step], lines[step:])
                window += step
            grey = lines.T
    return grey


def _median(values: NDArray[Any]) -> Any:
    """Return the median, of an even number the upper of the two in the middle."""
    half = values.size // 2
    return np.partition(values, half, axis=None)[half]


def _resize(values: NDArray[Any], height: int, width: int) -> Floats:
    """Return (..., height, width): means where it shrinks, linear interpolation where not."""
    down, across = _resampling(values.shape[-2], height), _resampling(values.shape[-1], width)
    return down @ values.astype(np.float32) @ across.T


def _blur(values: NDArray[Any]) -> Floats:
    """Return (..., h, w) smoothed over a quarter of the longer side."""
    height, width = values.shape[-2:]
    cell = max(height, width) / CELLS
    coarse = _resize(values, max(1, round(height / cell)), max(1, round(width / cell)))
    return _resize(coarse, height, width)


@lru_cache(maxsize=128)
def _resampling(length: int, target: int) -> Floats:
    """Return the weights (target, length) of pixels along one axis for each new pixel."""
    scale = length / target
    off = np.arange(length) + 0.5 - scale * (np.arange(target)[:, None] + 0.5)
    near = (off > -scale / 2) & (off <= scale / 2) if scale > 1 else np.maximum(1 - np.abs(off), 0)
    weights: Floats = (near / near.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights
