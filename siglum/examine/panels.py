"""The panels: what an examination shows of a network, each as a function.

Attributions are of the logit of the predicted class; the three methods often disagree.
Shapes: N images, P planes, C channels, S side, K classes, D features, F filters, M maps; of
attention L layers, A heads, T tokens, one per cell, row by row; h x w a kernel or a map.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import IntegratedGradients, Occlusion, Saliency
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrow, Rectangle
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
from siglum.examine.layers import layer_outputs
from siglum.formatting import count, probability, shorten
from siglum.images.imageset import ImageSet
from siglum.report import plots
from siglum.report.page import Table

MAX_FILTERS, MAX_CHANNELS, MAX_MAPS, MAX_VALUES = 64, 16, 17, 256  # drawn of one layer
STEPS = 64  # of the path from blank paper to the image
ATTRIBUTED = 32  # images in a batch of attributions
EVEN_LIMIT = 4.0  # end of the scale of attention, in units of even attention
MAX_CLASSES = 10  # log-probabilities in a row; of more classes the most probable
BATCH_VALUES = 2_000_000  # of the images in a batch of features
MAX_TRAIN, MAX_MAPPED = 5_000, 1_000  # images searched for neighbours, and mapped
MAX_PRODUCTS = 2_000_000_000_000  # multiply-adds for many images: minutes on a CPU
NEIGHBOURS = 8
THUMBNAIL, MAX_THUMBNAILS, SIDE = 22, 320, 504  # px and number on a map, and its side


def layer_table(examination: Examination) -> Result:
    """Return the table of layers, with their sum."""
    steps = examination.layers
    parameters = sum(layer.parameters for layer in steps)
    products = sum(layer.multiply_adds for layer in steps)
    rows: list[tuple[object, ...]] = []
    for layer in steps:
        output = " × ".join(map(str, layer.output)) or "–"
        numbers = layer.parameters or "", layer.multiply_adds or ""
        rows.append((layer.name, layer.kind, layer.detail, output, *numbers))
    rows.append(("total", "", "", "", parameters, products))
    columns = ("layer", "kind", "settings", "output", "parameters", "multiply-adds")
    finding = f"{len(steps) - 1} steps, {parameters:,} parameters, {products:,} multiply-adds"
    arrays = {
        name: np.array([getattr(layer, name) for layer in steps])
        for name in ("name", "kind", "parameters", "multiply_adds")
    }
    return Result(f"{finding} per image", arrays, table=Table(columns, rows, 4))


def printout(examination: Examination) -> Result:
    """Return PyTorch's own printout of the network."""
    name = type(examination.model).__name__
    return Result(f"{name}, as PyTorch prints it", text=str(examination.model))


def diagram(examination: Examination) -> Result:
    """Draw a box for every size that an image takes on its way, and the steps below it."""
    boxes: list[tuple[tuple[int, ...], list[str]]] = []
    modules = dict(examination.model.named_modules())
    for layer in examination.layers:
        if not layer.output:
            continue
        kernel = getattr(modules.get(layer.name), "kernel_size", None)
        height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        step = f"{layer.kind} {height} × {width}" if kernel else layer.kind
        if boxes and boxes[-1][0] == layer.output[1:] and not layer.multiply_adds:
            boxes[-1][1].append(step)
        else:
            boxes.append((layer.output[1:], [step]))
    rows = math.ceil(len(boxes) / 10)
    columns = math.ceil(len(boxes) / rows)
    texts = []
    for _, steps in boxes:
        groups = [(step, len(list(group))) for step, group in itertools.groupby(steps)]
        texts.append([step if times == 1 else f"{step}, {times} times" for step, times in groups])
    down = 150 + 15 * max(map(len, texts))
    largest = max((shape[-1] for shape, _ in boxes if len(shape) == 3), default=1)

    def draw() -> Figure:
        width = max(104, 1040 / columns)
        with pixel_axes(width * columns, down * rows) as (figure, axes):
            patches: list[Rectangle] = []
            for number, ((shape, _), lines) in enumerate(zip(boxes, texts, strict=True)):
                x, y = width * (number % columns + 0.5), number // columns * down + 75
                axes.text(x, y - 65, " × ".join(map(str, shape)), ha="center")
                solid = _solid(shape, x, y, largest)
                patches += solid
                for line, text in enumerate(lines):
                    below = y + 62 + 15 * line
                    axes.text(x, below, text, ha="center", size=11, color=plots.QUIET)
                if number + 1 < len(boxes):
                    start = max(box.get_x() + box.get_width() for box in solid) + 4
                    arrow = FancyArrow(start, y, 14, 0, head_width=7, length_includes_head=True)
                    axes.add_patch(arrow).set_color(plots.QUIET)
            colours: dict[str, Any] = {"facecolor": plots.PAPER, "edgecolor": plots.INK}
            axes.add_collection(PatchCollection(patches, linewidth=0.8, **colours))
            return figure

    return Result(layer_table(examination).finding, figure=draw())


def _solid(shape: tuple[int, ...], x: float, y: float, largest: int) -> list[Rectangle]:
    """Return maps as sheets, tokens as rows, a vector as a bar; sizes are not to scale."""
    if len(shape) == 3:
        side, sheets = 10 + 62 * math.sqrt(shape[-1] / largest), min(shape[0].bit_length(), 9)
        left, top = x - side / 2 - 1.5 * sheets, y - side / 2 - 1.5 * sheets
        return [
            Rectangle((left + 3 * sheet, top + 3 * (sheets - 1 - sheet)), side, side)
            for sheet in reversed(range(sheets))
        ]
    if len(shape) == 2:
        rows = min(shape[0], 12)
        return [Rectangle((x - 30, y + 8 * (row - rows / 2)), 60, 8) for row in range(rows)]
    high = min(14 * math.log2(1 + math.prod(shape)), 100)
    return [Rectangle((x - 6, y - high / 2), 12, high)]


def first_images(examination: Examination) -> Result:
    """Return the first six images with their labels, as report 2 shows them."""
    images = examination.images(6)
    pixels, labels = examination.pixels(images), images.labels
    names = [examination.classes[k] if k >= 0 else "unknown class" for k in labels]
    tiles = [Tile(image, title=shorten(n, 18)) for image, n in zip(pixels, names, strict=True)]
    finding = f"{images.description}, as the network sees them"
    return Result(finding, {"images": pixels, "labels": labels}, draw_tiles(wrap(tiles, 6), 148))


def filters(examination: Examination) -> Result:
    """Return the filters of a layer, by default of the first convolution: weights (F, C, h, w)."""
    layer, weights, _ = _filters(examination)
    num_filters, channels, height, width = weights.shape
    heat, limit = _scale(weights)
    if channels == 1:
        numbered = enumerate(heat[:MAX_FILTERS, 0], 1)
        rows = wrap([Tile(heat=kernel, title=str(number)) for number, kernel in numbered], 10)
        draw = draw_tiles(rows, 88, scale=_short(limit))
    else:
        rows = [[Tile(heat=kernel) for kernel in row] for row in heat[:16, :MAX_CHANNELS]]
        labels = [f"filter {number}" for number in range(1, len(rows) + 1)]
        draw = draw_tiles(rows, 48, labels=labels, scale=_short(limit))
    over = count(channels, "channel")
    finding = f"{layer} has {num_filters} filters of {height} × {width}, each over {over}"
    return Result(finding, {"weights": weights}, draw)


def responses(examination: Examination) -> Result:
    """Return each first-layer filter's response to an image: the first training image or a file.

    The image is ink between 0 and 1. Neither bias nor ReLU is applied, so that the filter is seen
    alone.
    """
    (layer, weights, first), channels = _filters(examination), examination.preprocess.channels
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
    weights_limit = float(np.abs(weights).max())
    heat, limit = _scale(response)
    tiles = []
    for number, kernel in enumerate(weights[:MAX_FILTERS]):
        kernel = kernel.mean(axis=0) / (weights_limit or 1)
        tiles.append(Tile(heat=kernel, title=f"filter {number + 1}"))
        tiles.append(Tile(heat=heat[number], title="response"))
    rows = [[Tile(ink=image, title=images.names[0])], *wrap(tiles, 8)]
    draw = draw_tiles(rows, 108, scale=_short(limit))
    finding = f"Responses of the filters of {layer} to {images.names[0]}"
    return Result(finding, {"weights": weights, "image": image, "responses": response}, draw)


def correlate(image: Tensor, weights: Tensor) -> Tensor:
    """Correlate an image (C, S, S) with filters (F, C, h, w), zero beyond the edge: (F, S, S)."""
    height, width = weights.shape[2:]
    left, top = (width - 1) // 2, (height - 1) // 2
    padded = F.pad(image, (left, width - 1 - left, top, height - 1 - top))
    return F.conv2d(padded[None], weights)[0]


def _filters(examination: Examination) -> tuple[str, NDArray[np.float32], str]:
    """Return the layer to show, its weights, and the convolution that is called first."""
    modules = dict(examination.model.named_modules())
    called = {layer.name: modules.get(layer.name) for layer in examination.layers}
    convolutions = {n: module for n, module in called.items() if isinstance(module, nn.Conv2d)}
    if not convolutions:
        raise NotApplicableError("The network has no convolution, so it has no filters.")
    first = next(iter(convolutions))
    layer = examination.layer or first
    if layer not in convolutions:
        names = ", ".join(convolutions)
        raise NotApplicableError(f"layer must be a convolution ({names}), got {layer!r}.")
    return layer, convolutions[layer].weight.detach().cpu().numpy(), first


def maps(examination: Examination) -> Result:
    """Return every layer's output for the first image, or that of the layer to show."""
    images, only = examination.images(1), examination.layer
    kinds = {layer.name: layer.kind for layer in examination.layers}
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
        number, height, width = values.shape
        size = f"{number} maps of {height} × {width}" if height > 1 else f"{width} values"
        labels.append(f"{name}\n{kinds[name]}\n{size}")
        rows.append([Tile(heat=one) for one in _scale(values)[0][:MAX_MAPS, :, :MAX_VALUES]])
    draw = draw_tiles(rows, 46, labels=labels, scale="maximum")
    arrays = {"image": image} | {f"maps.{name}": values for name, values in by_layer.items()}
    return Result(f"Outputs of {len(by_layer)} layers for {images.names[0]}", arrays, draw)


def to_maps(value: Tensor) -> NDArray[np.float32]:
    """Return one image's output as maps (M, h, w): tokens as a square, vectors as a strip."""
    if value.ndim == 2 and (side := math.isqrt(len(value))) ** 2 == len(value):
        value = value.T.reshape(-1, side, side)
    while value.ndim < 3:
        value = value[None]
    return value.float().cpu().numpy()


def saliency(examination: Examination) -> Result:
    """Return the absolute gradient of the score with respect to each pixel's ink.

    Source: Simonyan, Vedaldi, Zisserman 2013, "Deep inside convolutional networks",
    arXiv:1312.6034, section 3.
    """
    preprocess = examination.preprocess

    def compute(images: Tensor, target: Tensor) -> Tensor:
        gradients = Saliency(examination.model).attribute(images.requires_grad_(), target, abs=True)
        values: Tensor = gradients[:, : preprocess.channels].amax(dim=1) / preprocess.std
        return values

    return _attribute(examination, "Saliency", compute, signed=False)


def integrated_gradients(examination: Examination) -> Result:
    """Return what each pixel adds to the score on the path from blank paper to the image.

    The values add up to the score minus that of blank paper.

    Source: Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep networks",
    arXiv:1703.01365.
    """

    def compute(images: Tensor, target: Tensor) -> Tensor:
        paper = _blank(examination, images)
        values: Tensor = IntegratedGradients(examination.model).attribute(
            images, paper, target, n_steps=STEPS, internal_batch_size=ATTRIBUTED
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

    def compute(images: Tensor, target: Tensor) -> Tensor:
        planes = images[:, channels:]  # of the position; never covered

        def score(covered: Tensor) -> Tensor:
            repeated = planes.repeat(len(covered) // len(images), 1, 1, 1)
            logits: Tensor = examination.model(torch.cat([covered, repeated], dim=1))
            return logits

        values: Tensor = Occlusion(score).attribute(
            images[:, :channels],
            sliding_window_shapes=(channels, side, side),
            strides=(channels, side // 2, side // 2),
            baselines=_blank(examination, images)[:, :channels],
            target=target,
            perturbations_per_eval=max(1, ATTRIBUTED // len(images)),
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
    compute: Callable[[Tensor, Tensor], Tensor],
    *,
    signed: bool = True,
) -> Result:
    """Return values (N, S, S) of the predicted classes, each image with a scale of its own."""
    images = examination.images(4)
    target = examination.logits(images.planes).argmax(dim=1)
    inputs = examination.to_input(images.planes)
    values = compute(inputs, target.clone()).detach().cpu().numpy()
    pixels, labels = examination.pixels(images), target.cpu().numpy()
    names = [examination.classes[label] for label in labels]

    inks, heats = [], []
    for image, value, name, note in zip(pixels, values, names, images.names, strict=True):
        heat, limit = _scale(value)
        inks.append(Tile(image, title=f"as {shorten(name, 22)}", note=note))
        heats.append(Tile(image, heat, note=f"maximum {_short(limit)}"))
    pairs = zip(wrap(inks, 5), wrap(heats, 5), strict=True)
    draw = draw_tiles([row for pair in pairs for row in pair], 184, scale="maximum", signed=signed)
    finding = f"{method}, for images recognised as {', '.join(names[:8])}"
    finding += ", …" if len(names) > 8 else ""
    return Result(finding, {"images": pixels, "target": labels, "values": values}, draw)


def attention_panel(examination: Examination) -> Result:
    """Return the attention over the first image: weights (L, A, T, T) and shares (L, A, h, w).

    It shows which cells a cell takes from, not what it makes of them.
    """
    _attention_layers(examination.model)  # before images are loaded
    images = examination.images(1)
    planes, image = images.planes[:1], examination.pixels(images)[0]
    weights = attention(examination.model, examination.to_input(planes))
    flat = received(weights)[:, 0].cpu().numpy()
    side = math.isqrt(flat.shape[-1])
    if side * side != flat.shape[-1]:
        raise NotApplicableError(
            f"Attention is drawn over a square of cells; the network has {flat.shape[-1]} tokens."
        )
    shares = flat.reshape(*flat.shape[:2], side, side)
    probs = examination.logits(planes).softmax(dim=1)[0]
    titles = [*(f"head {head}" for head in range(1, shares.shape[1] + 1)), "mean"]
    rows = []
    for heads in shares:
        with_mean = zip([*heads, heads.mean(axis=0)], titles, strict=True)
        rows.append([Tile(image, share / EVEN_LIMIT, title) for share, title in with_mean])
    labels = [f"layer {number}" for number in range(1, len(rows) + 1)]
    scale = f"{EVEN_LIMIT:.0f} times even attention"
    draw = draw_tiles(rows, 84, labels=labels, scale=scale, signed=False)

    layer, head, row, column = (i + 1 for i in np.unravel_index(shares.argmax(), shares.shape))
    prediction = examination.classes[int(probs.argmax())]
    finding = (
        f"{images.names[0]}, recognised as {prediction} ({probability(float(probs.max()))}): "
        f"highest attention on row {row}, column {column} of {side} × {side} cells, in layer "
        f"{layer}, head {head}: {shares.max():.1f} times even attention"
    )
    arrays = {"image": image, "weights": weights[:, 0].cpu().numpy(), "shares": shares}
    return Result(finding, arrays, draw)


@torch.no_grad()
def attention(model: nn.Module, images: Tensor) -> Tensor:
    """Return how much every cell takes from every other, in every layer and head.

    Args:
        model: With at least one `nn.MultiheadAttention`; it is switched to evaluation.
        images: float32 (N, C, S, S), normalised as in training.

    Returns:
        float32 (L, N, A, T, T): from the cell of the last axis to that of the one before; rows sum
        to 1.

    Raises:
        NotApplicableError: if the network has no attention, or the layers' tokens differ.

    Source: Vaswani and others 2017, "Attention is all you need", arXiv:1706.03762, equation 1.
    """
    layers = _attention_layers(model)
    model.eval()
    weights: list[Tensor] = []
    handles: list[Any] = []
    request = {"need_weights": True, "average_attn_weights": False}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fast path never calls the modules
    try:
        for layer in layers:
            handles += [
                layer.register_forward_pre_hook(
                    lambda _, args, kwargs: (args, kwargs | request), with_kwargs=True
                ),
                layer.register_forward_hook(lambda *a: weights.append(a[2][1])),
            ]
        model(images)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()
    if len({weight.shape for weight in weights}) != 1:
        raise NotApplicableError("The layers with attention have different numbers of tokens.")
    return torch.stack(weights)


def received(weights: Tensor) -> Tensor:
    """Return the mean attention (L, N, A, T) to each cell, in units of even attention."""
    return weights.mean(dim=-2) * weights.shape[-1]


def _attention_layers(model: nn.Module) -> list[nn.MultiheadAttention]:
    layers = [module for module in model.modules() if isinstance(module, nn.MultiheadAttention)]
    if not layers:
        raise NotApplicableError(
            f"{type(model).__name__} has no attention. conv_transformer is a network that has it."
        )
    return layers


def log_probabilities(examination: Examination) -> Result:
    """Return the log-probabilities of ten images: names, log_probs (N, K), predicted, labels."""
    finding, arrays = _predict(examination, 10)
    classes, rows = examination.classes, []
    ranked = len(classes) > MAX_CLASSES
    for name, row, truth in zip(
        arrays["names"].tolist(), arrays["log_probs"], arrays["labels"], strict=True
    ):
        cells = [_format_log(value) for value in row]
        if ranked:
            order = np.argsort(-row, kind="stable")[:MAX_CLASSES]
            cells = [f"{classes[k]} {cells[k]}" for k in order]
        best, label = int(row.argmax()), classes[truth] if truth >= 0 else "–"
        rows.append((name, *cells, classes[best], label, "wrong" if 0 <= truth != best else ""))
    ranks = [f"{rank + 1}." for rank in range(MAX_CLASSES)]
    columns = ["image", *(ranks if ranked else classes), "prediction", "true class", ""]
    return Result(finding, arrays, table=Table(columns, rows))


def predictions(examination: Examination) -> Result:
    """Return the predictions for thirty images, the wrong ones marked."""
    finding, arrays = _predict(examination, 30)
    classes, tiles = examination.classes, []
    for image, name, predicted, label in zip(
        *(arrays[key] for key in ("images", "names", "predicted", "labels")), strict=True
    ):
        wrong, note = 0 <= label != predicted, str(name).rpartition(" ")[2]
        note += f": wrong, is {classes[label]}" if wrong else ""
        title = shorten(classes[predicted], 12)
        tiles.append(Tile(image, title=title, note=shorten(note, 18), wrong=wrong))
    return Result(finding, arrays, draw_tiles(wrap(tiles, 10), 84))


def _predict(examination: Examination, default: int) -> tuple[str, dict[str, NDArray[Any]]]:
    images = examination.images(default)
    log_probs = F.log_softmax(examination.logits(images.planes), dim=1).cpu().numpy()
    predicted, labels = log_probs.argmax(axis=1), images.labels
    finding = f"{images.description}: {int((predicted == labels).sum())} correct"
    if (labels < 0).any():
        finding = f"{images.description}; the true classes are unknown"
    return finding, {
        "names": np.array(images.names),
        "images": examination.pixels(images),
        "log_probs": log_probs,
        "predicted": predicted,
        "labels": labels,
    }


def _format_log(value: float) -> str:
    """Format a log-probability with two decimals, never as "-0.00"."""
    return f"{value:.2f}".replace("-", "−") if value <= -0.005 else "0.00"


def nearest(examination: Examination) -> Result:
    """Return the nearest training images of each image, by the cosine of their features.

    At most `MAX_TRAIN` training images are searched, spread evenly, and fewer where the network is
    so large that it would take minutes.
    """
    images, train = examination.images(6), examination.data.train
    features = F.normalize(_features(examination, images.planes), dim=1)
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

    labels, tiles = [], []
    for number, name in enumerate(names):
        labels.append(f"{images.names[number]}\nrecognised as {shorten(name, 12)}")
        tiles.append([Tile(pixels[number])])
        for image, text, value in zip(near[number], classes[number], best[number], strict=True):
            title, note = shorten(str(text), 10), f"{value:.2f}"
            tiles[-1].append(Tile(image, title=title, note=note, wrong=text != name))
    draw = draw_tiles(tiles, 84, labels=labels)
    same = sum(name == row[0] for name, row in zip(names, classes, strict=True))
    finding = (
        f"For {same} of {len(names)} images, the nearest of {len(rows):,} training images has the "
        "predicted class"
    )
    arrays = {"images": pixels, "neighbours": near, "neighbour_classes": classes}
    return Result(finding, {**arrays, "cosines": best.numpy()}, draw)


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

    def draw() -> Figure:
        with pixel_axes(2 * SIDE + 32, SIDE + 24) as (figure, axes):
            titles = ("principal components", f"t-SNE, perplexity {perplexity:.0f}")
            for column, (title, points) in enumerate(zip(titles, maps.values(), strict=True)):
                left = column * (SIDE + 32)
                axes.text(left, 10, title, color=plots.QUIET)
                span = np.ptp(points, axis=0)
                span = np.where(span > 0, span, 1) if column else np.full(2, span.max() or 1)
                middle = (points.max(0) + points.min(0)) / 2
                places = (points - middle) / span * (SIDE - 32) * [1, -1]
                places += [left + SIDE / 2, SIDE / 2 + 24]
                thumbnails = _spaced(places)
                dots = np.delete(places, thumbnails, axis=0)
                axes.scatter(dots[:, 0], dots[:, 1], s=2, color=plots.QUIET, linewidth=0)
                for index in thumbnails:
                    x, y = places[index] - THUMBNAIL / 2
                    extent = (x, x + THUMBNAIL, y + THUMBNAIL, y)
                    axes.imshow(to_pixels(pixels[index], 0.75), extent=extent, aspect="auto")
                for number, name in enumerate(examination.classes):
                    if (mine := places[images.labels == number]).size:
                        x, y = np.median(mine, axis=0)
                        text = axes.text(x, y, shorten(name, 14), size=20, ha="center")
                        text.set_color(plots.ACCENT)
                        text.set_path_effects([withStroke(linewidth=4, foreground=plots.PAPER)])
            return figure

    finding = (
        f"{len(rows):,} {images.kind}s by their features: the two main directions hold "
        f"{100 * explained.sum():.0f} % of the variance"
    )
    return Result(finding, {"images": pixels, "labels": images.labels, **maps}, draw())


def _affordable(examination: Examination) -> int:
    """Return how many images a network of this size can process in minutes; at least 200."""
    products = sum(layer.multiply_adds for layer in examination.layers)
    return max(200, MAX_PRODUCTS // max(products, 1))


def _batches(
    examination: Examination, images: ImageSet, rows: NDArray[np.int64]
) -> Iterator[Tensor]:
    size = max(1, BATCH_VALUES // math.prod(examination.shape))
    for start in range(0, len(rows), size):
        yield _features(examination, images.take(rows[start : start + size]))


@torch.no_grad()
def _features(examination: Examination, planes: NDArray[np.uint8]) -> Tensor:
    """Return features (N, D): `forward_features`, or the input of the last linear layer."""
    model, images = examination.model, examination.to_input(planes)
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


def _spaced(places: NDArray[np.floating]) -> list[int]:
    """Return random points that are at least a thumbnail apart."""
    chosen: list[int] = []
    for index in np.random.RandomState(0).permutation(len(places)).tolist():
        apart = np.abs(places[chosen] - places[index]).max(axis=1) >= THUMBNAIL
        if apart.all() and len(chosen) < MAX_THUMBNAILS:
            chosen.append(index)
    return chosen


def _scale(values: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Return values divided by their largest absolute value, and that value."""
    limit = float(np.abs(values).max())
    return values / (limit or 1), limit


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


PANELS: dict[str, tuple[str, Callable[[Examination], Result]]] = {
    "layers": ("Layers", layer_table),
    "diagram": ("Diagram", diagram),
    "printout": ("Printout", printout),
    "first": ("First images", first_images),
    "filters": ("Filters", filters),
    "responses": ("Filter responses", responses),
    "maps": ("Feature maps", maps),
    "saliency": ("Saliency", saliency),
    "integrated_gradients": ("Integrated gradients", integrated_gradients),
    "occlusion": ("Occlusion", occlusion),
    "attention": ("Attention", attention_panel),
    "answers": ("Log-probabilities", log_probabilities),
    "predictions": ("Predictions", predictions),
    "nearest": ("Nearest training images", nearest),
    "embedding": ("Map of the features", embedding),
}
