"""Predictions for single images, the nearest training images, and maps of the features.

Shapes: N images, D features, M neighbours, K classes, C channels, S the side of the image.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.examine import (
    PARTS,
    Examination,
    NotApplicableError,
    Result,
    Tile,
    draw_tiles,
    pixel_axes,
    select,
    spread,
    to_pixels,
    wrap,
)
from siglum.examine.layers import layers
from siglum.formatting import shorten
from siglum.images.imageset import ImageSet
from siglum.report.page import Table
from siglum.report.plots import Palette

BATCH_VALUES = 2_000_000  # of the images in a batch
MAX_TRAIN, MAX_MAPPED = 5_000, 1_000  # images searched for neighbours, and mapped
MAX_PRODUCTS = 2_000_000_000_000  # multiply-adds for many images: minutes on a CPU
NEIGHBOURS = 8
MAX_CLASSES = 10  # log-probabilities in a row; of more classes the most probable
THUMBNAIL, MAX_THUMBNAILS, SIDE = 22, 320, 504  # px and number on a map, and its side


def first_images(examination: Examination) -> Result:
    """Return the first six images with their labels, as report 2 shows them."""
    images = examination.images(6)
    pixels, labels = examination.pixels(images), images.labels
    names = [examination.classes[k] if k >= 0 else "unknown class" for k in labels]
    tiles = [Tile(image, title=shorten(n, 18)) for image, n in zip(pixels, names, strict=True)]
    draw = draw_tiles(wrap(tiles, 6), 148)
    finding = f"{images.description}, as the network sees them"
    return Result(finding, {"images": pixels, "labels": labels}, draw)


def log_probabilities(examination: Examination) -> Result:
    """Return the log-probabilities of ten images: names, log_probs (N, K), predicted, labels."""
    finding, arrays, names = _predict(examination, 10)
    classes, log_probs = examination.classes, arrays["log_probs"]
    columns, rows = [*classes], []
    if len(classes) > MAX_CLASSES:
        columns = [f"{rank + 1}." for rank in range(MAX_CLASSES)]
    for name, row, truth in zip(names, log_probs, arrays["labels"], strict=True):
        cells = [_format_log(value) for value in row]
        if len(classes) > MAX_CLASSES:
            order = np.argsort(-row, kind="stable")[:MAX_CLASSES]
            cells = [f"{classes[k]} {_format_log(row[k])}" for k in order]
        best, known = int(row.argmax()), classes[truth] if truth >= 0 else "–"
        rows.append((name, *cells, classes[best], known, "wrong" if 0 <= truth != best else ""))
    columns = ["image", *columns, "prediction", "true class", ""]
    return Result(finding, arrays, table=Table(columns, rows))


def predictions(examination: Examination) -> Result:
    """Return the predictions for thirty images, the wrong ones marked."""
    finding, arrays, names = _predict(examination, 30)
    classes, labels, predicted = examination.classes, arrays["labels"], arrays["predicted"]
    tiles = []
    for row, name in enumerate(names):
        wrong, note = 0 <= labels[row] != predicted[row], name.rpartition(" ")[2]
        note += f": wrong, is {classes[labels[row]]}" if wrong else ""
        title = shorten(classes[predicted[row]], 12)
        tiles.append(Tile(arrays["images"][row], title=title, note=shorten(note, 18), wrong=wrong))
    draw = draw_tiles(wrap(tiles, 10), 84)
    return Result(finding, arrays, draw)


def nearest(examination: Examination) -> Result:
    """Return the nearest training images of each image, by the cosine of their features.

    At most `MAX_TRAIN` training images are searched, spread evenly, and fewer where the network is
    so large that it would take minutes.
    """
    images, train = examination.images(6), examination.data.train
    features = F.normalize(_features(examination, examination.to_input(images.planes)), dim=1)
    rows = spread(len(train), min(MAX_TRAIN, _affordable(examination)))
    cosines = torch.cat(
        [features @ F.normalize(batch, dim=1).T for batch in _batches(examination, train, rows)],
        dim=1,
    )
    best, order = cosines.cpu().topk(min(NEIGHBOURS, len(rows)), dim=1)
    neighbours = select(train, rows[order.flatten().numpy()], "training image")
    classes = np.array(train.classes)[neighbours.labels].reshape(order.shape)
    pixels = examination.pixels(images)
    near = examination.pixels(neighbours).reshape(*order.shape, *pixels.shape[1:])
    predicted = examination.logits(images.planes).argmax(dim=1).tolist()
    names = [examination.classes[k] for k in predicted]

    labels = [
        f"{image}\nrecognised as {shorten(n, 12)}"
        for image, n in zip(images.names, names, strict=True)
    ]
    rows_of_tiles = [
        [
            Tile(image),
            *(
                Tile(one, title=shorten(str(text), 10), note=f"{value:.2f}", wrong=text != name)
                for one, text, value in zip(row, row_classes, values, strict=True)
            ),
        ]
        for image, name, row, row_classes, values in zip(
            pixels, names, near, classes, best.tolist(), strict=True
        )
    ]
    draw = draw_tiles(rows_of_tiles, 84, labels=labels)
    same = sum(name == row[0] for name, row in zip(names, classes, strict=True))
    finding = (
        f"For {same} of {len(names)} images, the nearest of {len(rows):,} training images has the "
        "predicted class"
    )
    arrays = {
        "images": pixels,
        "neighbours": near,
        "neighbour_classes": classes,
        "cosines": best.numpy(),
    }
    return Result(finding, arrays, draw)


def embedding(examination: Examination) -> Result:
    """Return two maps of the features of the run's images: principal components and t-SNE.

    Source: Pearson 1901, "On lines and planes of closest fit to systems of points in space" (PCA);
    van der Maaten, Hinton 2008, "Visualizing data using t-SNE", Journal of Machine Learning
    Research 9; of more than 50 features the first 50 principal components are mapped, as there.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    image_set = examination.image_set
    rows = spread(len(image_set), min(MAX_MAPPED, _affordable(examination)))
    if len(rows) < 4:
        raise NotApplicableError(f"A map needs at least 4 images, got {len(rows)}.")
    features = torch.cat(list(_batches(examination, image_set, rows))).cpu().numpy()
    images = select(image_set, rows, f"{PARTS[examination.chosen_part]} image")
    pca = PCA(max(2, min(50, *features.shape)), random_state=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # if all features are equal
        flat = pca.fit_transform(features).astype(np.float32)
    explained = np.nan_to_num(pca.explained_variance_ratio_[:2])
    perplexity = min(30.0, (len(rows) - 1) / 3)
    # Half of the default iterations: the other half hardly moves a thousand images.
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=0, max_iter=500)
    maps = {"pca": flat[:, :2], "tsne": tsne.fit_transform(flat).astype(np.float32)}
    pixels = examination.pixels(images)

    def draw(palette: Palette) -> Figure:
        with pixel_axes(palette, 2 * SIDE + 32, SIDE + 24) as (figure, axes):
            titles = ("principal components", f"t-SNE, perplexity {perplexity:.0f}")
            for column, (title, points) in enumerate(zip(titles, maps.values(), strict=True)):
                left = column * (SIDE + 32)
                axes.text(left, 10, title, color=palette.quiet)
                span = np.ptp(points, axis=0)
                span = np.where(span > 0, span, 1) if column else np.full(2, span.max() or 1)
                places = (
                    (points - (points.max(0) + points.min(0)) / 2) / span * (SIDE - 32) * [1, -1]
                )
                places += [left + SIDE / 2, SIDE / 2 + 24]
                thumbnails = _spaced(places)
                dots = np.delete(places, thumbnails, axis=0)
                axes.scatter(dots[:, 0], dots[:, 1], s=2, color=palette.quiet, linewidth=0)
                for (x, y), image in zip(
                    places[thumbnails] - THUMBNAIL / 2, pixels[thumbnails], strict=True
                ):
                    extent = (x, x + THUMBNAIL, y + THUMBNAIL, y)
                    axes.imshow(to_pixels(image, 0.75), extent=extent, aspect="auto")
                for number, name in enumerate(examination.classes):
                    if (mine := places[images.labels == number]).size:
                        x, y = np.median(mine, axis=0)
                        text = axes.text(x, y, shorten(name, 14), size=20, ha="center")
                        text.set_color(palette.accent)
                        text.set_path_effects([withStroke(linewidth=4, foreground=palette.paper)])
            return figure

    finding = (
        f"{len(rows):,} {images.kind}s by their features: the two main directions hold "
        f"{100 * explained.sum():.0f} % of the variance"
    )
    return Result(finding, {"images": pixels, "labels": images.labels, **maps}, draw)


def _predict(
    examination: Examination, default: int
) -> tuple[str, dict[str, NDArray[Any]], tuple[str, ...]]:
    images = examination.images(default)
    log_probs = F.log_softmax(examination.logits(images.planes), dim=1).cpu().numpy()
    predicted, labels = log_probs.argmax(axis=1), images.labels
    finding = f"{images.description}: {int((predicted == labels).sum())} correct"
    if (labels < 0).any():
        finding = f"{images.description}; the true classes are unknown"
    arrays = {
        "names": np.array(images.names),
        "images": examination.pixels(images),
        "log_probs": log_probs,
        "predicted": predicted,
        "labels": labels,
    }
    return finding, arrays, images.names


def _format_log(value: float) -> str:
    """Format a log-probability with two decimals, never as "-0.00"."""
    return f"{value:.2f}".replace("-", "−") if value <= -0.005 else "0.00"


def _affordable(examination: Examination) -> int:
    """Return how many images a network of this size can process in minutes; at least 200."""
    steps = layers(examination.model, examination.shape)
    return max(200, MAX_PRODUCTS // max(sum(layer.multiply_adds for layer in steps), 1))


def _batches(
    examination: Examination, images: ImageSet, rows: NDArray[np.int64]
) -> Iterator[Tensor]:
    size = max(1, BATCH_VALUES // math.prod(examination.shape))
    for start in range(0, len(rows), size):
        planes = images.take(rows[start : start + size])
        yield _features(examination, examination.to_input(planes))


@torch.no_grad()
def _features(examination: Examination, images: Tensor) -> Tensor:
    """Return features (N, D): `forward_features`, or the input of the last linear layer."""
    model = examination.model
    if hasattr(model, "forward_features"):
        features: Tensor = model.forward_features(images)  # type: ignore[operator]
        return features.float()
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise NotApplicableError(
            "The network has neither forward_features nor a linear layer, so it has no features."
        )
    inputs: list[Tensor] = []
    handle = linear[-1].register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    try:
        model(images)
    finally:
        handle.remove()
    return inputs[-1].flatten(1).float()


def _spaced(places: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return random points that are at least a thumbnail apart."""
    chosen: list[int] = []
    for index in np.random.RandomState(0).permutation(len(places)).tolist():
        apart = np.abs(places[chosen] - places[index]).max(axis=1) >= THUMBNAIL
        if apart.all() and len(chosen) < MAX_THUMBNAILS:
            chosen.append(index)
    return np.array(chosen, np.int64)
