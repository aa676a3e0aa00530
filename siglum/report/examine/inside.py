"""Filters, their effect, and what every layer makes of a picture.

Shapes: F filters, C channels, h x w values.
"""

import math

import numpy as np

from siglum.lab.examine.filters import Effect, Filters
from siglum.lab.examine.maps import Maps
from siglum.report.examine.canvas import (
    WIDTH,
    Box,
    Canvas,
    Look,
    canvas,
    frames,
    heat,
    ink,
    scale,
    write,
)

FILTERS, CHANNELS = 64, 16  # at most, of a layer
MAPS = 20  # at most, of a layer
STRIP = 256  # values of a vector, at most


def filters_finding(found: Filters) -> str:
    """Say how many there are, of what size."""
    count, channels, height, width = found.weights.shape
    seen = f"{channels} channel{'' if channels == 1 else 's'}"
    return f"{found.layer} has {count} filters of {height} × {width}, each over {seen}"


def draw_filters(found: Filters, look: Look) -> Canvas:
    """Draw the weights: a square a filter, or a row a filter where it sees several channels."""
    weights = found.weights[:FILTERS, :CHANNELS]
    count, channels = weights.shape[:2]
    most = float(np.abs(found.weights).max())
    gap = 16
    side = 88 if channels == 1 else max(24, min(64, (WIDTH - 40) // channels - 8))
    if channels == 1:
        across = min(count, (WIDTH + gap) // (side + gap))
        down = math.ceil(count / across)
        on = canvas(
            across * (side + gap) - gap, down * (side + 36) + 44, look, filters_finding(found)
        )
        corners = [divmod(number, across) for number in range(count)]
        boxes: list[Box] = [
            (c * (side + gap), r * (side + 36) + 20, side, side) for r, c in corners
        ]
        for number, (x, y, _, _) in enumerate(boxes):
            write(on, x, y - 10, str(number + 1), size=12, colour=look.quiet)
            heat(on, weights[number, 0], x, y, side, most)
        frames(on, boxes)
        scale(on, 0, down * (side + 36) + 12, _number(most), signed=True)
        return on
    shown = weights[: max(1, 900 // (side + 8))]
    on = canvas(
        40 + channels * (side + 8), 24 + len(shown) * (side + 8) + 44, look, filters_finding(found)
    )
    for channel in range(channels):
        x = 40 + channel * (side + 8)
        write(on, x + side / 2, 10, str(channel + 1), size=12, colour=look.quiet, ha="center")
    places: list[Box] = []
    for number, kernels in enumerate(shown):
        y = 24 + number * (side + 8)
        write(on, 30, y + side / 2, str(number + 1), size=12, colour=look.quiet, ha="right")
        for channel, kernel in enumerate(kernels):
            places.append((40 + channel * (side + 8), y, side, side))
            heat(on, kernel, places[-1][0], y, side, most)
    frames(on, places)
    scale(on, 40, 24 + len(shown) * (side + 8) + 12, _number(most), signed=True)
    return on


def effect_finding(found: Effect) -> str:
    """Say of which picture."""
    return f"What each filter of {found.layer} makes of {found.name}, by itself"


def draw_effect(found: Effect, look: Look) -> Canvas:
    """Draw the picture, then every filter beside what it makes of it."""
    weights, effects = found.weights[:FILTERS], found.effects[:FILTERS]
    most_weight, most = float(np.abs(found.weights).max()), float(np.abs(found.effects).max())
    side, kernel, cell = 108, 44, 172
    across, left = 5, 160
    down = math.ceil(len(weights) / across)
    on = canvas(left + across * cell, down * 132 + 40, look, effect_finding(found))
    ink(on, found.picture, 0, 20, 128)
    write(on, 0, 10, found.name, size=12, colour=look.quiet)
    places = [(0.0, 20.0, 128.0, 128.0)]
    for number, (weight, answer) in enumerate(zip(weights, effects, strict=True)):
        x, y = left + number % across * cell, number // across * 132 + 20
        write(on, x, y - 10, str(number + 1), size=12, colour=look.quiet)
        heat(on, weight.mean(axis=0), x, y, kernel, most_weight)
        heat(on, answer, x + kernel + 8, y, side, most)
        places += [(x, y, kernel, kernel), (x + kernel + 8, y, side, side)]
    frames(on, places)
    scale(on, left, down * 132 + 12, _number(most), signed=True)
    return on


def maps_finding(found: Maps) -> str:
    """Say of which picture, through how many layers."""
    return f"What {len(found.maps)} layers make of {found.name}"


def draw_maps(found: Maps, look: Look) -> Canvas:
    """Draw a row a layer: its maps, or a vector as a strip."""
    left, side, row = 168, 45, 72
    across = (WIDTH - left) // (side + 6)
    heights = [40 if len(m) == 1 and m.shape[1] == 1 else row for m in found.maps.values()]
    on = canvas(WIDTH, 128 + sum(heights) + 40, look, maps_finding(found))
    write(on, 0, 12, "the picture", size=13)
    ink(on, found.picture, left, 4, 104)
    places: list[Box] = [(left, 4, 104, 104)]
    y = 124.0
    for (name, values), kind, height in zip(found.maps.items(), found.kinds, heights, strict=True):
        most = float(np.abs(values).max())
        write(on, 0, y + 10, name if len(name) < 24 else f"…{name[-22:]}", size=13)
        if height == 40:
            strip = values[0, :, :STRIP]
            width = min(WIDTH - left, 18 * strip.shape[1])
            heat(on, strip, left, y + 2, width, most, height=18)
            places.append((left, y + 2, width, 18))
            said = f"{kind}, {_first(strip.shape[1], values.shape[2])}"
        else:
            shown = values[: min(across, MAPS)]
            for number, one in enumerate(shown):
                heat(on, one, left + number * (side + 6), y, side, most)
                places.append((left + number * (side + 6), y, side, side))
            said = f"{kind}, {_first(len(shown), len(values))}"
        write(on, 0, y + 27, said, size=11, colour=look.quiet)
        if height == row:
            size = f"{values.shape[1]} × {values.shape[2]}, up to {_number(most)}"
            write(on, 0, y + 42, size, size=11, colour=look.quiet)
        y += height
    frames(on, places)
    scale(on, left, y + 6, "the layer's most", signed=True, width=220)
    return on


def _first(shown: int, total: int) -> str:
    return f"{total}" if shown == total else f"{shown} of {total}"


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"
