"""Filters of a convolution, their responses to an image, and the maps of every layer.

Shapes: F filters, M maps, C channels, h x w the kernel or a map, S the side of the image.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.examine import (
    Examination,
    NotApplicableError,
    Result,
    cell,
    draw_heat,
    draw_heat_row,
    draw_image,
    draw_scale,
    label,
    select,
    short_number,
)
from siglum.examine.layers import layer_outputs, layers
from siglum.formatting import count, shorten
from siglum.report.plots import Palette, new_figure

MAX_FILTERS, MAX_CHANNELS, MAX_MAPS, MAX_VALUES = 64, 16, 17, 256  # drawn of one layer


def filters(examination: Examination) -> Result:
    """Return the filters of a layer, by default of the first convolution: weights (F, C, h, w).

    Raises:
        NotApplicableError: if the layer, or the network, has none.
    """
    layer, weights = _filters(examination)
    num_filters, channels, height, width = weights.shape
    limit = float(np.abs(weights).max())

    def draw(palette: Palette) -> Figure:
        if channels == 1:
            squares, columns = list(weights[:MAX_FILTERS, 0]), min(num_filters, 10)
            side, across, down = 88, 104, 124
        else:
            squares = [kernel for row in weights[:16, :MAX_CHANNELS] for kernel in row]
            columns, side, across, down = min(channels, MAX_CHANNELS), 48, 56, 56
        bottom = 20 + down * math.ceil(len(squares) / columns)
        figure = new_figure(palette, 28 + across * columns, bottom + 44)
        for number, square in enumerate(squares):
            row, column = divmod(number, columns)
            x, y = 28 + column * across, 20 + row * down
            draw_heat(cell(figure, palette, x, y, side), square, limit)
            if channels == 1:
                label(figure, x, y - 9, str(number + 1), palette.quiet)
            elif column == 0:
                label(figure, 20, y + side / 2, str(row + 1), palette.quiet, ha="right")
        draw_scale(figure, palette, 28, bottom + 8, short_number(limit))
        return figure

    over = count(channels, "channel")
    finding = f"{layer} has {num_filters} filters of {height} × {width}, each over {over}"
    return Result(finding, {"weights": weights}, draw)


def responses(examination: Examination) -> Result:
    """Return each first-layer filter's response to an image: the first training image or a file.

    The image is ink between 0 and 1. Neither bias nor ReLU is applied, so that the filter is seen
    alone.

    Raises:
        NotApplicableError: if the layer's filters do not see the image itself.
    """
    (layer, weights), channels = _filters(examination), examination.preprocess.channels
    first = next(iter(_convolutions(examination)))
    if layer != first or weights.shape[1] < channels:
        raise NotApplicableError(
            f"layer must be the first convolution ({first}), which sees the image itself, "
            f"got {layer!r}. The panel 'maps' shows the outputs of the others."
        )
    if examination.files:
        images = examination.images(1)
    else:
        images = select(examination.data.train, np.array([0]), "training image")
    image, weights = examination.pixels(images)[0], weights[:, :channels]
    response = correlate(torch.from_numpy(image), torch.from_numpy(weights)).numpy()
    limits = float(np.abs(weights).max()), float(np.abs(response).max())

    def draw(palette: Palette) -> Figure:
        bottom = math.ceil(len(weights[:MAX_FILTERS]) / 5) * 136
        figure = new_figure(palette, 1020, bottom + 44)
        label(figure, 0, 10, images.names[0], palette.quiet)
        draw_image(cell(figure, palette, 1, 20, 128), image)
        for number in range(len(weights[:MAX_FILTERS])):
            x, y = 160 + number % 5 * 172, number // 5 * 136 + 20
            label(figure, x, y - 10, str(number + 1), palette.quiet)
            draw_heat(cell(figure, palette, x, y, 44), weights[number].mean(axis=0), limits[0])
            draw_heat(cell(figure, palette, x + 52, y, 108), response[number], limits[1])
        draw_scale(figure, palette, 160, bottom + 8, short_number(limits[1]))
        return figure

    finding = f"Responses of the filters of {layer} to {images.names[0]}"
    return Result(finding, {"weights": weights, "image": image, "responses": response}, draw)


def maps(examination: Examination) -> Result:
    """Return every layer's output for the first image, or that of the layer to show.

    Raises:
        NotApplicableError: if the layer has no output of its own.
    """
    images, only = examination.images(1), examination.layer
    kinds = {layer.name: layer.kind for layer in layers(examination.model, examination.shape)}
    outputs = layer_outputs(examination.model, examination.to_input(images.planes[:1]))
    by_layer = {
        name: to_maps(value[0])
        for name, value in outputs.items()
        if kinds.get(name) not in ("flatten", "dropout", None) and only in (None, name)
    }  # flatten and dropout repeat their inputs
    if not by_layer:
        raise NotApplicableError(f"layer must have an output of its own, got {only!r}.")
    image = examination.pixels(images)[0]

    def draw(palette: Palette) -> Figure:
        left, step = 176, 51
        heights = [40 if values.shape[:2] == (1, 1) else 68 for values in by_layer.values()]
        figure = new_figure(palette, left + MAX_MAPS * step, 124 + sum(heights) + 44)
        label(figure, 0, 16, "input", palette.ink)
        draw_image(cell(figure, palette, left, 4, 104), image)
        y = 124
        for (name, values), height in zip(by_layer.items(), heights, strict=True):
            limit = float(np.abs(values).max())
            label(figure, 0, y + 9, shorten(name, 26), palette.ink)
            if height == 40:
                strip = values[0, :, :MAX_VALUES]
                width = min(MAX_MAPS * step - 6, 18 * strip.shape[1])
                draw_heat(cell(figure, palette, left, y + 2, width, 18), strip, limit)
                detail = f"{kinds[name]}, {_first(strip.shape[1], values.shape[2])}"
            else:
                draw_heat_row(
                    cell(figure, palette, left, y, MAX_MAPS * step, 45),
                    values[:MAX_MAPS],
                    limit,
                    step,
                )
                detail = f"{kinds[name]}, {_first(MAX_MAPS, len(values))}"
                size = f"{values.shape[1]} × {values.shape[2]}, up to {short_number(limit)}"
                label(figure, 0, y + 39, size, palette.quiet, 11)
            label(figure, 0, y + 24, detail, palette.quiet, 11)
            y += height
        draw_scale(figure, palette, left, y + 8, "maximum")
        return figure

    arrays = {"image": image} | {f"maps.{name}": values for name, values in by_layer.items()}
    return Result(f"Outputs of {len(by_layer)} layers for {images.names[0]}", arrays, draw)


def correlate(image: Tensor, weights: Tensor) -> Tensor:
    """Correlate an image (C, S, S) with filters (F, C, h, w), zero beyond the edge: (F, S, S)."""
    height, width = weights.shape[2:]
    left, top = (width - 1) // 2, (height - 1) // 2
    padded = F.pad(image, (left, width - 1 - left, top, height - 1 - top))
    return F.conv2d(padded[None], weights)[0]


def to_maps(value: Tensor) -> NDArray[np.float32]:
    """Return one image's output as maps (M, h, w): tokens as a square, vectors as a strip."""
    if value.ndim == 2 and (side := math.isqrt(len(value))) ** 2 == len(value):
        value = value.T.reshape(-1, side, side)
    while value.ndim < 3:
        value = value[None]
    return value.float().cpu().numpy()


def _filters(examination: Examination) -> tuple[str, NDArray[np.float32]]:
    convolutions = _convolutions(examination)
    if not convolutions:
        raise NotApplicableError("The network has no convolution, so it has no filters.")
    layer = examination.layer or next(iter(convolutions))
    if layer not in convolutions:
        names = ", ".join(convolutions)
        raise NotApplicableError(f"layer must be a convolution ({names}), got {layer!r}.")
    return layer, convolutions[layer].weight.detach().cpu().numpy()


def _convolutions(examination: Examination) -> dict[str, nn.Conv2d]:
    """Return the convolutions in the order in which they are called."""
    modules = dict(examination.model.named_modules())
    names = [layer.name for layer in layers(examination.model, examination.shape)]
    called = {name: modules[name] for name in names if name in modules}
    return {name: module for name, module in called.items() if isinstance(module, nn.Conv2d)}


def _first(limit: int, total: int) -> str:
    return f"{total}" if total <= limit else f"{limit} of {total}"
