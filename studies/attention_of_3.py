"""Does the Transformer encoder relate the upper and the lower curve of a 3?

    python -m studies.attention_of_3 RUN --sign 3
    python -m studies.attention_of_3 RUN --data idx:MNIST/raw

Of every image, the cells with ink are found. The rows of their bounding box are halved; the curves
are the ink of the upper and the lower half in the right half of the box, where the two bellies of a
3 lie. Measured is the mean attention from a cell of one curve to a cell of the other, both ways, as
a multiple of an even share, and against other pairs of cells with ink at the same distance: cells
may attend to each other because both have ink, or because of where they lie. Networks with random
weights are measured on the same images.
Shapes: N images, L layers, A heads, T tokens (one per cell, row by row), S the side of an image.
"""

import argparse
from math import isqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.examine.panels import attention
from siglum.images.sources import load, parts
from siglum.lab import models
from siglum.lab.models.transformers import HALVINGS
from siglum.lab.run_folder import Run
from siglum.lab.train_run import load_data
from siglum.lab.training_loop import normalise_batch, to_unit

INK = 0.5  # a pixel is ink above this share of the strongest ink
MIN_INK = 0.05  # share of a cell's pixels that are ink, for the cell to have ink
BATCH, DRAWS = 8, 10_000

Floats = NDArray[np.float64]


class Curves(NamedTuple):
    """The cells of one image: (T,) each."""

    ink: NDArray[np.bool_]
    upper: NDArray[np.bool_]
    lower: NDArray[np.bool_]


def find_curves(image: NDArray[np.floating], side: int, cell: int) -> Curves | None:
    """Return the curves of an image (S, S), or None if one of them has no cell."""
    dark = image[: side * cell, : side * cell] > INK * image.max()
    ink = dark.reshape(side, cell, side, cell).mean(axis=(1, 3)) >= MIN_INK
    if not ink.any():
        return None
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    row, column = np.indices((side, side))
    right = ink & (column >= (columns[0] + columns[-1]) / 2)
    middle = (rows[0] + rows[-1]) / 2
    upper, lower = right & (row < middle), right & (row > middle)
    if not (upper.any() and lower.any()):
        return None
    return Curves(ink.ravel(), upper.ravel(), lower.ravel())


def flow(weights: NDArray[np.floating], curves: Curves) -> tuple[Floats, Floats, Floats]:
    """Measure attention (L, A, T, T) of one image, each result (L, A).

    Returns:
        From curve to curve; the same where other pairs have that distance; between those others.
    """
    tokens = weights.shape[-1]
    row, column = np.divmod(np.arange(tokens), isqrt(tokens))
    distance = (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2
    pairs = np.outer(curves.upper, curves.lower)
    pairs |= pairs.T
    others = np.outer(curves.ink, curves.ink) & ~pairs & (distance > 0)
    shares = weights.astype(np.float64) * tokens
    matched, control, total = np.zeros(weights.shape[:2]), np.zeros(weights.shape[:2]), 0
    for d in np.unique(distance[pairs]):
        at, other = pairs & (distance == d), others & (distance == d)
        if other.any():
            matched += shares[..., at].sum(axis=-1)
            control += at.sum() * shares[..., other].mean(axis=-1)
            total += int(at.sum())
    scale = 1 / total if total else np.nan
    return shares[..., pairs].mean(axis=-1), matched * scale, control * scale


def flows(model: nn.Module, images: Tensor, curves: list[Curves]) -> list[Floats]:
    """Measure every image: three arrays (N, L, A)."""
    rows = []
    for start in range(0, len(images), BATCH):
        weights = attention(model, images[start : start + BATCH]).cpu().numpy()
        rows += [flow(weights[:, i], curves[start + i]) for i in range(weights.shape[1])]
    return [np.stack(column) for column in zip(*rows, strict=True)]


def ratio(above: Floats, below: Floats | None = None) -> tuple[Floats, Floats, Floats]:
    """Return mean(above) / mean(below) over images (L, A), and its simultaneous 95 % interval.

    Source: Efron, Tibshirani 1993, "An introduction to the bootstrap", section 13.3; Bonferroni
    over all heads.
    """
    below = np.ones_like(above) if below is None else below
    whole = ~np.isnan(above + below).any(axis=(1, 2))
    above, below = above[whole], below[whole]
    count, shape = len(above), above.shape[1:]
    draws = np.random.RandomState(0).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    ratios = (draws @ above.reshape(count, -1)) / (draws @ below.reshape(count, -1))
    tail = 0.025 / above[0].size
    low, high = np.quantile(ratios, (tail, 1 - tail), axis=0)
    return above.mean(axis=0) / below.mean(axis=0), low.reshape(shape), high.reshape(shape)


def show(title: str, trained: tuple[Floats, Floats, Floats], random: list[Floats]) -> None:
    """Print each head's ratio; + or - where its interval lies outside all untrained heads."""
    print(f"\n{title}: ratio (95 % interval for all heads together)")
    outside = 0
    for layer, values in enumerate(zip(*trained, strict=True)):
        untrained = np.concatenate([one[layer] for one in random])
        cells = []
        for value, low, high in zip(*values, strict=True):
            mark = "+" if low > untrained.max() else "-" if high < untrained.min() else " "
            outside += mark == "+"
            cells.append(f"{value:.2f} ({low:.2f} to {high:.2f}){mark}")
        print(f"layer {layer + 1}  " + "  ".join(cells))
        print(f"         untrained: {untrained.min():.2f} to {untrained.max():.2f}")
    _, low, high = trained
    print(f"of {low.size} heads {(low > 1).sum()} lie above 1, {(high < 1).sum()} below; ", end="")
    print(f"{outside} above every untrained head of their layer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", help="another source; by default the run's held-out images")
    parser.add_argument("--sign", default="3", help="the class")
    parser.add_argument("--max", type=int, default=500, help="images at most")
    parser.add_argument("--untrained", type=int, default=5, help="networks with random weights")
    options = parser.parse_args()
    run = Run(options.run)
    if options.data:
        part = "test" if "test" in parts(options.data) else parts(options.data)[0]
        images = load(options.data, part, run.preprocess)
    else:
        data = load_data(run.config, run.classes)
        images = data.test or data.val or data.train
    images = images.select_classes([options.sign])
    rows = np.linspace(0, len(images) - 1, min(options.max, len(images))).astype(int)
    unit = to_unit(images.subset(rows).images)
    model = run.model().eval()
    batch = normalise_batch(unit, run.preprocess)
    side = isqrt(attention(model, batch[:1]).shape[-1])
    all_curves = [find_curves(image, side, 2**HALVINGS) for image in unit[:, 0].numpy()]
    usable = [index for index, one in enumerate(all_curves) if one is not None]
    curves = [one for one in all_curves if one is not None]
    print(f"{len(usable)} of {len(unit)} images of {options.sign!r} have both curves")
    trained, random = flows(model, batch[usable], curves), []
    for seed in range(options.untrained):
        torch.manual_seed(seed)
        pre, chosen = run.preprocess, run.config.model_options
        fresh = models.build(run.config.model, len(run.classes), pre.planes, pre.size, chosen)
        random.append(flows(fresh.eval(), batch[usable], curves))
    show(
        "curve to curve, against an even share", ratio(trained[0]), [ratio(r[0])[0] for r in random]
    )
    show(
        "curve to curve, against other ink at the same distance",
        ratio(*trained[1:]),
        [ratio(*r[1:])[0] for r in random],
    )


if __name__ == "__main__":
    main()
