"""How dark every pixel is beside the paper around it, whatever the light, the paper and the ink.

The steps are small functions in the order in which `darkness` takes them: a grey that keeps the
ink's colour apart from the paper's, the polarity, the paper's light, what the ink takes of it.
Shapes: C channels, H x W pixels, h x w pixels of a copy made smaller by areas.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siglum.images.connected import stroke_width
from siglum.images.grids import (
    DEGREES,
    Grey,
    Shares,
    Surface,
    blurred,
    closed,
    middle,
    middle_of,
    resized,
    shrunk,
    surface,
    terms_of,
)

GLANCE = 64  # px, the longer side of the copy on which colour, polarity and light are judged
REACH = 1 / 4  # of the longer side: paper is looked for so far away, either way
FALL = 0.04  # of the light: so near to a smooth surface paper lies
EXPLAINED = 0.75  # of all pixels: so many must; the edge of a shadow is no smooth surface
LEVELS = np.arange(256.0)
STROKES = 2  # widths of a stroke: paper need not be looked for further away than that
FLOOR = 0.04  # of the paper's light, the least that ink takes; a blank page's grain stays below
EDGE = 2  # levels of 255 by which the edge of a shadow lies below the mean around it, at least
ENOUGH = 256  # px of the longer side: so many show how often each shade occurs
EVEN = 4  # levels of 255: paper that keeps within that of one level is taken to have it
MOST = 0.6  # of all pixels: so many must, or it is no paper
THICK = 1 / 6  # of the longer side: what is broader than that may be paper of another level
SURE = 5.0  # standard deviations of the paper's grain, the least between paper and ink

RIDGE = 1e-3 * np.eye(6)  # keeps what cannot be told from the pixels at 0


@dataclass(frozen=True)
class Darkness:
    """What the ink takes of the light."""

    share: Shares  # (H, W), of the paper's light; about 0 on paper, at most 1
    above: float  # the share above which a pixel is ink for certain; 1 where there is no ink
    contrast: float  # between the means of ink and paper, in [0, 1]; 0 where there is no ink
    grain: float  # standard deviation of the share on paper
    inverted: bool  # whether dark ink on light paper was made light ink on dark
    uneven: float  # how much of the light is missing where the paper is darkest, in [0, 1]


def darkness(picture: NDArray[np.uint8]) -> Darkness:
    """Tell ink from paper.

    Args:
        picture: (C, H, W), grey or red, green, blue.
    """
    grey = projected(picture)
    even = on_even_paper(grey)
    return on_any_paper(grey) if even is None else even


def on_even_paper(grey: Grey) -> Darkness | None:
    """Tell thin ink from paper of one level, as data sets and drawings have it; None for all else.

    The paper is known from the border, so that no light has to be looked for. Thin ink is what is
    off that level to one side, and nowhere near as broad as a piece of other paper.
    """
    border = border_of(grey)
    level = int(middle(border))
    low, high = max(level - EVEN, 0), min(level + EVEN, 255)
    if np.count_nonzero((border < low) | (border > high)) > 0.1 * len(border):
        return None
    counts = np.bincount(grey.ravel(), minlength=256)
    darker, lighter = int(counts[:low].sum()), int(counts[high + 1 :].sum())
    ink, other = max(darker, lighter), min(darker, lighter)
    if not ink or ink > (1 - MOST) * grey.size or other > 0.02 * ink:
        return None
    inverted = darker > lighter
    if stroke_width(grey < low if inverted else grey > high) > THICK * max(grey.shape):
        return None
    light = level if inverted else 255 - level
    shares = (level - LEVELS if inverted else LEVELS - level) / light
    above, contrast = otsu(np.bincount(in_levels(shares), counts, 256))
    share = shares.astype(np.float32).take(grey)
    grain = grain_of(share)
    if contrast < max(2 * SURE * EVEN / 255, SURE * grain):
        return None
    return Darkness(share, above, contrast, grain, inverted, 0.0)


def on_any_paper(grey: Grey) -> Darkness:
    """Tell ink from paper in light that may fall off, with shadows and other papers on it."""
    small = shrunk(grey, GLANCE)
    inverted = dark_on_light(small)
    if not inverted:
        grey, small = 255 - grey, 255 - small
    light = light_of_paper(grey, small)
    share = share_of(grey, light)
    grain = grain_of(share)
    step = max(1, max(grey.shape) // ENOUGH)
    above, contrast = threshold(share[::step, ::step])
    if contrast < max(FLOOR, SURE * grain):
        above, contrast = 1.0, 0.0
    return Darkness(share, above, contrast, grain, inverted, unevenness(light))


def projected(picture: NDArray[np.uint8]) -> Grey:
    """Return the mix of the channels in which what is drawn differs most from what is around it.

    The first principal component of the differences, without its negative parts, so that a mix
    is light where all channels are: grey stays grey, and yellow on white becomes the blue channel.
    """
    if len(picture) == 1 or (picture[1:] == picture[0]).all():
        return np.asarray(picture[0])
    small = np.stack([shrunk(plane, GLANCE) for plane in picture]).astype(np.float32)
    fine = (small - blurred(small, max(small.shape) // 6)).reshape(3, -1)
    direction = np.linalg.eigh(fine @ fine.T)[1][:, -1]
    direction *= np.sign(direction[np.abs(direction).argmax()])
    shares = np.maximum(direction, 0) / np.maximum(direction, 0).sum()
    red, green = (int(share) for share in np.rint(256 * shares[:2]))
    weights = np.array([red, green, 256 - red - green], dtype=np.uint16)
    mixed = picture[0] * weights[0] + picture[1] * weights[1] + picture[2] * weights[2]
    return np.asarray(mixed >> 8, dtype=np.uint8)


def dark_on_light(small: Grey) -> bool:
    """Say whether the ink of (h, w) is darker than the paper, from two witnesses.

    Ink is the lesser part of what is near it, so that the differences from the surroundings are
    skewed towards it, also where light falls off and where ink touches the border. Where ink is as
    much as paper that says little (a skewness near 0), and what most of the border is decides.
    """
    fine = small - blurred(small, max(small.shape) // 6)
    squares = middle_of(*small.shape) * fine * fine
    skewness = float((squares * fine).sum()) / max(float(squares.sum()) ** 1.5, 1e-6)
    middle_grey = 255 * otsu(np.bincount(small.ravel(), minlength=256))[0]
    light = float((border_of(small) > middle_grey).mean())
    return bool(2 * light - 1 > skewness)


def falling_light(small: Grey) -> Surface | None:
    """Return light that rises or falls smoothly over (h, w), 1 at its brightest; None where even.

    A surface of the second degree through what most pixels have, fitted again and again without
    those that lie off it. It is believed where most pixels lie on it in the end, and only looked
    for where they do not lie on one level.
    """
    level = float(middle(border_of(small)))
    if min(small.shape) < 8 or np.count_nonzero(np.abs(small - level) <= FALL * level) > (
        EXPLAINED * small.size
    ):
        return None
    rough = shrunk(small, GLANCE // 2)
    terms, values = terms_of(*rough.shape), rough.ravel().astype(np.float32)
    near = np.ones(len(values), dtype=np.float32)
    for _ in range(4):
        some = terms * near
        made_of = np.linalg.solve(some @ terms.T + RIDGE, some @ values).astype(np.float32)
        fitted = made_of @ terms
        off = np.abs(values - fitted) / np.maximum(fitted, 1)
        before, near = near, (off <= max(FALL, 1.5 * float(middle(off)))).astype(np.float32)
        if (near == before).all():
            break
    if np.count_nonzero(off <= FALL) < EXPLAINED * len(off):
        return None
    fall = np.zeros((3, 3), dtype=np.float32)
    fall[DEGREES] = made_of
    light = surface(fall, *small.shape)
    return None if light.min() < 0.1 * light.max() else fall / light.max()


def evened(grey: Grey, fall: Surface) -> Grey:
    """Return (H, W) as it would be if the light did not fall."""
    return np.minimum(grey / surface(fall, *grey.shape), 255).astype(np.uint8)


def light_of_paper(grey: Grey, small: Grey) -> Shares:
    """Return the paper's light everywhere, also under the ink, which is darker: (H, W).

    Where it falls smoothly, that is taken from it first. Of what is left there are two guesses, of
    which the lower holds. A closing keeps the hard edge of a shadow but is too light where the
    light falls off towards a border. A mean over what is not ink by the first guess follows such
    a fall, and blurs edges.

    Args:
        small: a copy (h, w) of the grey, on which the guesses are made; where it shows no edge, the
            mean is all that is needed.
    """
    fall = falling_light(small)
    if fall is not None:
        small = evened(small, fall)
    reach = reach_of(small)
    near = closed(small, reach)
    mean = mean_light(small, near)
    if grey.shape == small.shape:
        light = np.minimum(near, mean)
    elif np.count_nonzero(near < mean - np.float32(EDGE)) <= 0.001 * small.size:
        light = resized(mean, *grey.shape)
    else:
        grey = grey if fall is None else evened(grey, fall)
        reach = max(1, round(reach * max(grey.shape) / max(small.shape)))
        light = np.minimum(closed(grey, reach), resized(mean, *grey.shape))
    return light if fall is None else light * surface(fall, *grey.shape)


def mean_light(small: Grey, near: Grey) -> Grey:
    """Return the mean light of what is not ink (h, w) in wide surroundings.

    Args:
        near: the paper's light by a first guess.
    """
    first = share_of(small, near)
    above, contrast = threshold(first)
    border = border_of(small)
    if contrast < FLOOR and np.ptp(border) <= 2 * FLOOR * border.max():
        # Nothing is narrower than the reach: on even paper, what differs from it is a blot.
        return np.full_like(small, middle(border))
    free = (first <= above / 2).astype(np.float32)
    share, light = blurred(np.stack([free, free * small]), max(small.shape) // 8, times=2)
    return np.where(share > 0.02, light / np.maximum(share, 1e-6), 255).astype(np.uint8)


def reach_of(small: Grey) -> int:
    """Return how far away, either way, paper is to be looked for: two strokes' widths.

    So near by a shadow or a piece of other paper, which are wider than strokes, are paper. Strokes
    are what is darkest beside the paper that is far away.
    """
    far: int = max(1, round(REACH * max(small.shape)))
    share = share_of(small, closed(small, far))
    dark = share > threshold(share)[0]
    if not dark.any():
        return far
    darker, contrast = threshold(share[dark][None])
    stroke = stroke_width(share > darker if contrast else dark)
    near: int = math.ceil(STROKES * stroke)
    return min(far, near)


def share_of(grey: Grey, paper: Shares | Grey) -> Shares:
    """Return which share of the paper's light is missing."""
    return 1 - grey / np.maximum(paper, 1, dtype=np.float32)


def threshold(share: Shares) -> tuple[float, float]:
    """Return the share above which a pixel is ink, and the contrast of the means either side."""
    return otsu(np.bincount(in_levels(share).ravel(), minlength=256))


def in_levels(share: Shares) -> Grey:
    """Return shares as levels of 255."""
    levels: Grey = np.clip(share * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
    return levels


def otsu(counts: NDArray[np.number]) -> tuple[float, float]:
    """Return the share of 255 that parts levels, and the contrast of the means either side.

    Source: Otsu 1979, "A threshold selection method from gray-level histograms", IEEE
    Transactions on Systems, Man, and Cybernetics 9(1): the variance between the two is greatest.

    Args:
        counts: (256,), how many pixels have each level.
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


def border_of(grey: Grey) -> NDArray[np.uint8]:
    """Return the outermost pixels, those of the corners twice."""
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def grain_of(share: Shares) -> float:
    """Return the standard deviation on paper, from the differences of pixels near each other."""
    lag = max(1, max(share.shape) // GLANCE)
    apart = np.abs(share[::lag, lag::lag] - share[::lag, :-lag:lag])
    return 1.4826 / 2**0.5 * float(middle(apart)) if apart.size else 0.0


def unevenness(paper: NDArray[np.generic]) -> float:
    """Return how much of the light is missing where the paper is darkest, but for a fiftieth."""
    step = max(1, max(paper.shape) // GLANCE)
    lights = np.sort(paper[::step, ::step], axis=None)
    few = len(lights) // 50
    return 1 - float(lights[few]) / max(float(lights[-1 - few]), 1.0)
