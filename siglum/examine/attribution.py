"""How much each pixel contributes to a prediction, by three methods that often disagree.

The score is the logit of the predicted class. Captum computes the values.
Shapes: N images, C channels, S the side of the image.
"""

from collections.abc import Callable

import numpy as np
import torch
from captum.attr import IntegratedGradients, Occlusion, Saliency
from torch import Tensor, nn

from siglum.examine import Examination, Result, Tile, draw_tiles, short_number
from siglum.formatting import shorten

STEPS = 64  # of the path from blank paper to the image
BATCH = 32


def saliency(examination: Examination) -> Result:
    """Return the absolute gradient of the score with respect to each pixel's ink.

    Source: Simonyan, Vedaldi, Zisserman 2013, "Deep inside convolutional networks",
    arXiv:1312.6034, section 3.
    """
    preprocess = examination.preprocess

    def compute(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        values: Tensor = Saliency(model).attribute(images.requires_grad_(), target, abs=True)
        return values[:, : preprocess.channels].amax(dim=1) / preprocess.std

    return _attribute(examination, "Saliency", compute, signed=False)


def integrated_gradients(examination: Examination) -> Result:
    """Return what each pixel adds to the score on the path from blank paper to the image.

    The values add up to the score minus that of blank paper.

    Source: Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep networks",
    arXiv:1703.01365.
    """

    def compute(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        values: Tensor = IntegratedGradients(model).attribute(
            images, _blank(examination, images), target, n_steps=STEPS, internal_batch_size=BATCH
        )
        return values.sum(dim=1)

    return _attribute(examination, "Integrated gradients", compute)


def occlusion(examination: Examination) -> Result:
    """Return how much the score falls when a square of paper covers a place.

    The square is a seventh of the side wide and moves by half its width; each pixel gets the mean
    over the squares that cover it.

    Source: Zeiler, Fergus 2013, "Visualizing and understanding convolutional networks",
    arXiv:1311.2901, section 4.2.
    """
    channels = examination.preprocess.channels
    side = max(2, examination.preprocess.size // 7)

    def compute(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        planes = images[:, channels:]  # of the position; never covered

        def score(covered: Tensor) -> Tensor:
            repeated = planes.repeat(len(covered) // len(images), 1, 1, 1)
            logits: Tensor = model(torch.cat([covered, repeated], dim=1))
            return logits

        values: Tensor = Occlusion(score).attribute(
            images[:, :channels],
            sliding_window_shapes=(channels, side, side),
            strides=(channels, side // 2, side // 2),
            baselines=_blank(examination, images)[:, :channels],
            target=target,
            perturbations_per_eval=max(1, BATCH // len(images)),
        )
        return values.mean(dim=1)

    return _attribute(examination, "Occlusion", compute)


def _blank(examination: Examination, images: Tensor) -> Tensor:
    """Return the network's input without ink; planes of the position stay."""
    paper, preprocess = images.clone(), examination.preprocess
    paper[:, : preprocess.channels] = -preprocess.mean / preprocess.std
    return paper


def _attribute(
    examination: Examination,
    method: str,
    compute: Callable[[nn.Module, Tensor, Tensor], Tensor],
    *,
    signed: bool = True,
) -> Result:
    """Return values (N, S, S) of the predicted classes, each image with a scale of its own."""
    images = examination.images(4)
    target = examination.logits(images.planes).argmax(dim=1)
    inputs = examination.to_input(images.planes)
    values = compute(examination.model, inputs, target.clone()).detach().cpu().numpy()
    pixels, labels = examination.pixels(images), target.cpu().numpy()
    predictions = [examination.classes[number] for number in labels]

    rows: list[list[Tile]] = []
    for start in range(0, len(values), 5):
        part = range(start, min(start + 5, len(values)))
        rows.append(
            [
                Tile(pixels[i], title=f"as {shorten(predictions[i], 22)}", note=images.names[i])
                for i in part
            ]
        )
        limits = {i: float(np.abs(values[i]).max()) for i in part}
        rows.append(
            [
                Tile(pixels[i], values[i] / (limit or 1), note=f"maximum {short_number(limit)}")
                for i, limit in limits.items()
            ]
        )
    draw = draw_tiles(rows, 184, scale="maximum", signed=signed)
    names = ", ".join(predictions[:8]) + (", …" if len(predictions) > 8 else "")
    arrays = {"images": pixels, "target": labels, "values": values}
    return Result(f"{method}, for images recognised as {names}", arrays, draw)
