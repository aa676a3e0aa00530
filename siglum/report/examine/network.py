"""The network itself: its table of layers, and its diagram."""

import math
from dataclasses import dataclass

from siglum.lab.examine.layers import Layer
from siglum.report.examine.canvas import WIDTH, Canvas, Look, canvas, lines, write

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]  # column names, rows

TALLEST, SHORTEST = 84, 10  # sides of maps in the diagram, px
CLOSEST, WIDEST = 104, 136  # from box to box, px


@dataclass(frozen=True)
class Box:
    """What lies between two changes of size, and the steps that leave its size as it is."""

    shape: tuple[int, ...]  # of one picture
    steps: list[str]


def layer_table(layers: tuple[Layer, ...]) -> Table:
    """Return the rows of the table, the sums last."""
    columns = ("layer", "what", "", "output", "parameters", "multiply-adds")
    rows = [
        (
            layer.name,
            layer.kind,
            layer.detail,
            " × ".join(map(str, layer.output)) or "–",
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
        )
        for layer in layers
    ]
    sums = (f"{total_parameters(layers):,}", f"{total_multiply_adds(layers):,}")
    return columns, [*rows, ("all", "", "", "", *sums)]


def total_parameters(layers: tuple[Layer, ...]) -> int:
    """Return how many numbers the network holds."""
    return sum(layer.parameters for layer in layers)


def total_multiply_adds(layers: tuple[Layer, ...]) -> int:
    """Return how often two numbers are multiplied and added for one picture."""
    return sum(layer.multiply_adds for layer in layers)


def layers_finding(layers: tuple[Layer, ...]) -> str:
    """Say how large the network is."""
    return (
        f"{len(layers) - 1} steps, {total_parameters(layers):,} parameters, "
        f"{total_multiply_adds(layers):,} multiply-adds for one picture"
    )


def draw_layers(layers: tuple[Layer, ...], look: Look) -> Canvas:
    """Draw the table."""
    columns, rows = layer_table(layers)
    texts = [columns, *rows]
    widths = [max(len(row[i]) for row in texts) for i in range(len(columns))]
    places, x = [], 0.0
    for width in widths:
        places.append(x)
        x += 7.4 * width + 20
    on = canvas(x, 22 * len(texts) + 6, look, layers_finding(layers))
    for number, row in enumerate(texts):
        for index, text in enumerate(row):
            right = index >= len(columns) - 2
            at = places[index] + (7.4 * widths[index] if right else 0)
            colour = look.quiet if number == 0 or index == 2 else look.ink
            ha = "right" if right else "left"
            write(on, at, 22 * number + 11, text, size=12, colour=colour, ha=ha)
        lines(on, [[(0, 22 * number + 22), (x, 22 * number + 22)]])
    return on


def draw_diagram(layers: tuple[Layer, ...], look: Look) -> Canvas:
    """Draw a box for every size that a picture takes on its way, and the steps under it."""
    boxes = _boxes(layers)
    down = math.ceil(len(boxes) / (WIDTH // CLOSEST))
    across = math.ceil(len(boxes) / down)
    apart = min(WIDTH / across, WIDEST)
    deepest = [
        max(len(_wrapped(box)) for box in boxes[r * across : (r + 1) * across]) for r in range(down)
    ]
    tops = [sum(150 + 15 * depth for depth in deepest[:row]) for row in range(down + 1)]
    on = canvas(apart * across, tops[-1], look, layers_finding(layers))
    largest = max((box.shape[-1] for box in boxes if len(box.shape) == 3), default=1)
    for number, box in enumerate(boxes):
        x = apart * (number % across) + apart / 2
        top = tops[number // across]
        write(on, x, top + 10, " × ".join(map(str, box.shape)), size=12, ha="center")
        half = _solid(on, box.shape, x, top + 70, largest)
        if number + 1 < len(boxes):
            start = x + half + 5
            _arrow(on, start, max(start + 8, min(start + 24, x + apart - 52)), top + 70)
        for line, text in enumerate(_wrapped(box)):
            write(on, x, top + 132 + 15 * line, text, size=11, colour=look.quiet, ha="center")
    return on


def _boxes(layers: tuple[Layer, ...]) -> list[Box]:
    """Join the steps that change neither size nor hold the weights of a sum."""
    boxes: list[Box] = []
    for layer in layers:
        if not layer.output:
            continue
        shape = layer.output[1:]
        heavy = layer.multiply_adds > 0
        said = layer.kind
        if layer.kind in ("convolution", "max pool", "average pool"):
            said = f"{said} {layer.detail.split('filters ')[-1].split(',')[0]}".strip()
        if boxes and boxes[-1].shape == shape and not heavy:
            if layer.kind != "input":
                boxes[-1].steps.append(said)
        else:
            boxes.append(Box(shape, [said]))
    return boxes


def _wrapped(box: Box) -> list[str]:
    """Return the steps as lines; one that is repeated is counted."""
    found: list[tuple[str, int]] = []
    for step in box.steps:
        if found and found[-1][0] == step:
            found[-1] = (step, found[-1][1] + 1)
        else:
            found.append((step, 1))
    return [step if times == 1 else f"{step}, {times} times" for step, times in found]


def _solid(on: Canvas, shape: tuple[int, ...], x: float, y: float, largest: int) -> float:
    """Draw maps as sheets, tokens as rows, a vector as a bar; return half the width."""
    if len(shape) == 3:
        side = SHORTEST + (TALLEST - SHORTEST) * math.sqrt(shape[-1] / largest)
        sheets = min(1 + round(math.log2(shape[0])), 9)
        left, top = x - side / 2 - 1.5 * sheets, y - side / 2 - 1.5 * sheets
        for sheet in reversed(range(sheets)):
            _filled(on, left + 3 * sheet, top + 3 * (sheets - 1 - sheet), side, side)
        return side / 2 + 1.5 * sheets
    if len(shape) == 2:
        high = min(8.0 * shape[0], 100.0)
        _filled(on, x - 30, y - high / 2, 60, high)
        rows = [y - high / 2 + high * i / shape[0] for i in range(1, shape[0])]
        lines(on, [[(x - 30, at), (x + 30, at)] for at in rows], on.look.quiet, 0.7)
        return 30
    high = min(14 * math.log2(1 + math.prod(shape)), 100)
    _filled(on, x - 6, y - high / 2, 12, high)
    return 6


def _filled(on: Canvas, x: float, y: float, width: float, height: float) -> None:
    from matplotlib.patches import Rectangle

    on.axes.add_patch(
        Rectangle((x, y), width, height, facecolor=on.look.paper, edgecolor=on.look.ink, lw=1)
    )


def _arrow(on: Canvas, start: float, end: float, y: float) -> None:
    lines(on, [[(start, y), (end, y)]], on.look.quiet)
    lines(on, [[(end - 5, y - 4), (end, y), (end - 5, y + 4)]], on.look.quiet)
