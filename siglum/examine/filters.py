"""Filters of a convolution, their responses to an image, and the maps of every layer.

Shapes: F filters, M maps, C channels, h x w the kernel or a map, S the side of the image.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.examine import (
    Examination,
    NotApplicableError,
    Result,
    Tile,
    draw_tiles,
    select,
    short_number,
    wrap,
)
from siglum.examine.layers import layer_outputs, layers
from siglum.formatting import count

MAX_FILTERS, MAX_CHANNELS, MAX_MAPS, MAX_VALUES = 64, 16, 17, 256  # drawn of one layer


def filters(examination: Examination) -> Result:
    """Return the filters of a layer, by default of the first convolution: weights (F, C, h, w)."""
    layer, weights = _filters(examination)
    num_filters, channels, height, width = weights.shape
    limit = float(np.abs(weights).max())
    heat = weights / (limit or 1)
    if channels == 1:
        numbered = enumerate(heat[:MAX_FILTERS, 0], 1)
        rows = wrap([Tile(heat=kernel, title=str(number)) for number, kernel in numbered], 10)
        draw = draw_tiles(rows, 88, scale=short_number(limit))
    else:
        rows = [[Tile(heat=kernel) for kernel in row] for row in heat[:16, :MAX_CHANNELS]]
        labels = [f"filter {number}" for number in range(1, len(rows) + 1)]
        draw = draw_tiles(rows, 48, labels=labels, scale=short_number(limit))
    over = count(channels, "channel")
    finding = f"{layer} has {num_filters} filters of {height} × {width}, each over {over}"
    return Result(finding, {"weights": weights}, draw)


def responses(examination: Examination) -> Result:
    """Return each first-layer filter's response to an image: the first training image or a file.

    The image is ink between 0 and 1. Neither bias nor ReLU is applied, so that the filter is seen
    alone.
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
    tiles = [Tile(ink=image, title=images.names[0])]
    for number in range(len(weights[:MAX_FILTERS])):
        kernel = weights[number].mean(axis=0) / (limits[0] or 1)
        tiles.append(Tile(heat=kernel, title=f"filter {number + 1}"))
        tiles.append(Tile(heat=response[number] / (limits[1] or 1), title="response"))
    rows = [tiles[:1], *wrap(tiles[1:], 8)]
    draw = draw_tiles(rows, 108, scale=short_number(limits[1]))
    finding = f"Responses of the filters of {layer} to {images.names[0]}"
    return Result(finding, {"weights": weights, "image": image, "responses": response}, draw)


def maps(examination: Examination) -> Result:
    """Return every layer's output for the first image, or that of the layer to show."""
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

    rows, labels = [[Tile(ink=image)]], ["input"]
    for name, values in by_layer.items():
        limit, (number, height, width) = float(np.abs(values).max()), values.shape
        heat = values[:MAX_MAPS, :, :MAX_VALUES] / (limit or 1)
        size = f"{number} maps of {height} × {width}" if height > 1 else f"{width} values"
        labels.append(f"{name}\n{kinds[name]}\n{size}")
        rows.append([Tile(heat=one) for one in heat])
    draw = draw_tiles(rows, 46, labels=labels, scale="maximum")
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
