"""Which pixels an answer hangs on, and where the attention lies: heat over ink."""

import numpy as np

from siglum.lab.examine.attention import Attention
from siglum.lab.examine.attribution import Attribution
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
    short,
    write,
)

EVEN = 4.0  # the end of attention's scale: four times an even share
METHODS = {
    "saliency": "Saliency",
    "integrated_gradients": "Integrated gradients",
    "occlusion": "Occlusion",
}


def attribution_finding(found: Attribution) -> str:
    """Say what is explained."""
    answers = ", ".join(short(answer, 24) for answer in found.answers[:8])
    count = len(found.answers)
    these = "the picture read as" if count == 1 else f"{count} pictures, read as"
    return f"{METHODS[found.method]}: {these} {answers}{', …' if count > 8 else ''}"


def draw_attribution(found: Attribution, look: Look) -> Canvas:
    """Draw every picture, and under it the values over its ink; each with its own scale."""
    across = min(len(found.pictures), 5)
    side, gap = 184.0, 24.0
    down = -(-len(found.pictures) // across)
    row = 2 * side + 100
    on = canvas(across * (side + gap) - gap, down * row, look, attribution_finding(found))
    places: list[Box] = []
    for number, (picture, values) in enumerate(zip(found.pictures, found.values, strict=True)):
        x, y = number % across * (side + gap), number // across * row
        most = float(np.abs(values).max())
        write(on, x, y + 10, f"read as {short(found.answers[number], 16)}", size=14)
        write(on, x, y + 28, short(found.names[number], 28), size=11, colour=look.quiet)
        ink(on, picture, x, y + 40, side)
        ink(on, picture, x, y + 48 + side, side, strength=0.25)
        heat(on, values, x, y + 48 + side, side, most)
        places += [(x, y + 40, side, side), (x, y + 48 + side, side, side)]
        scale(on, x + 8, y + 56 + 2 * side, f"{most:.2g}", found.signed, width=side - 16)
    frames(on, places)
    return on


def attention_finding(found: Attention) -> str:
    """Say what the picture was read as, and where the most attention lies."""
    place = np.unravel_index(found.shares.argmax(), found.shares.shape)
    layer, head, row, column = (int(i) + 1 for i in place)
    high, wide = found.shares.shape[2:]
    return (
        f"{found.name}, read as {found.answer}, {100 * found.probability:.0f} %: most attention "
        f"on row {row}, column {column} of {high} × {wide} cells, "
        f"in layer {layer}, head {head}: {found.shares.max():.1f} times an even share"
    )


def draw_attention(found: Attention, look: Look) -> Canvas:
    """Draw a row a layer, a column a head and one for their mean: what each cell gives."""
    layers, heads = found.shares.shape[:2]
    left, gap = 130, 8
    side = min(96, (WIDTH - left) / (heads + 1) - gap)
    on = canvas(
        left + (heads + 1) * (side + gap),
        24 + layers * (side + gap) + 44,
        look,
        attention_finding(found),
    )
    places: list[Box] = []
    for row in range(layers):
        y = 24 + row * (side + gap)
        write(on, 0, y + 12, f"layer {row + 1}", size=13)
        for column, share in enumerate((*found.shares[row], found.shares[row].mean(axis=0))):
            x = left + column * (side + gap)
            heat(on, share, x, y, side, EVEN)
            ink(on, found.picture, x, y, side, strength=0.7)
            places.append((x, y, side, side))
            if row == 0:
                name = f"head {column + 1}" if column < heads else "mean"
                write(on, x, 10, name, size=12, colour=look.quiet)
    frames(on, places)
    y = 24 + layers * (side + gap) + 10
    scale(on, left, y, f"{EVEN:.0f}", signed=False)
    write(on, left + 180, y + 5, "times an even share", size=11, colour=look.quiet)
    return on
