"""The panels: what an examination shows of a network, each as a function; a page, and files.

Shapes: N images, P planes, C channels, S side, K classes, F filters, M maps; of attention
L layers, A heads, T tokens: cells row by row, after a class token if the network has one; h x w a
kernel, a map or the cells.
"""

import io
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import IntegratedGradients, Occlusion, Saliency
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.examine import Examination, Layer, NotApplicableError, observe, spread
from siglum.files import to_csv, write_atomic
from siglum.formatting import count, shorten
from siglum.report import page, plots

MAX_MAPS, MAX_VALUES = 17, 256  # drawn of one layer
STEPS = 64  # of the path from blank paper to the image
ATTRIBUTED = 32  # images in a batch of attributions
EVEN_LIMIT = 4.0  # end of the scale of attention, in units of even attention
MAX_CLASSES = 10  # log-probabilities in a row; of more classes the most probable
MAX_TRAIN, MAX_MAPPED = 5_000, 1_000  # images searched for neighbours, and mapped
NEIGHBOURS = 8
THUMBNAIL, MAX_THUMBNAILS, SIDE = 22, 320, 504  # px and number on a map, and its side
STRIP = 860  # width of a vector, px
# Blue below the middle, orange above; the middle and blank paper are transparent.
HEAT = LinearSegmentedColormap.from_list(
    "heat", [(0, "#1e78beff"), (0.5, "#1e78be00"), (0.5, "#d55e0000"), (1, "#d55e00ff")]
)
BLACK = LinearSegmentedColormap.from_list("black", ["#00000000", "#000000ff"])
NOTE: dict[str, Any] = {"color": plots.QUIET, "fontsize": 11}

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Result:
    """The content of a panel: a sentence, its numbers, and a figure, a table or a text."""

    finding: str
    arrays: Arrays = field(default_factory=dict)
    figure: Figure | None = None
    table: page.Table | None = None
    text: str = ""
    missing: bool = False  # the finding says why the panel does not apply

    def plot(self, name: str = "") -> plots.Plot | None:
        """Return the figure with its title; `name` is unique on its page."""
        return plots.Plot(name, self.finding, self.figure) if self.figure else None

    def files(self) -> dict[str, bytes | str]:
        """Return the contents of the files that the panel can be saved as, by suffix."""
        files: dict[str, bytes | str] = {}
        if plot := self.plot():
            files |= {suffix: plot.image(suffix) for suffix in (".png", ".svg")}
        if self.table:
            files[".csv"] = to_csv([self.table.columns, *self.table.rows])
        if self.text:
            files[".txt"] = self.text + "\n"
        if self.arrays:
            file = io.BytesIO()
            np.savez_compressed(file, **self.arrays)  # type: ignore[arg-type]
            files[".npz"] = file.getvalue()
        return files


def run_panel(examination: Examination, name: str) -> Result:
    """Return the result of a panel."""
    try:
        return PANELS[name](examination)
    except NotApplicableError as error:
        return Result(str(error), missing=True)


def write_page(examination: Examination, results: dict[str, Result], path: Path) -> None:
    """Write panels as one HTML page."""
    grey = examination.preprocess.channels == 1
    parts = {n: page.load("panel.html", anchor=n, result=r, grey=grey) for n, r in results.items()}
    part = ""
    with suppress(NotApplicableError):
        part = "" if examination.files else examination.own_images[0]
    headline = page.load("examination.html", examination=examination, part=part).headline
    title, kind = examination.run.path.name, "examination of a network"
    write_atomic(path, page.render_page(title, kind, parts, headline=headline))


def layer_table(examination: Examination) -> Result:
    """Return the table of layers, with their sum."""
    steps = examination.layers
    parameters = sum(layer.parameters for layer in steps)
    products = sum(layer.multiply_adds for layer in steps)
    rows: list[tuple[object, ...]] = []
    for layer in (*steps, Layer("total", "", "", (), parameters, products)):
        output = " × ".join(map(str, layer.output))
        numbers = layer.parameters or "", layer.multiply_adds or ""
        rows.append((layer.name, layer.kind, layer.detail, output, *numbers))
    columns = ("layer", "kind", "settings", "output", "parameters", "multiply-adds")
    finding = f"{len(steps) - 1} steps, {parameters:,} parameters, {products:,} multiply-adds"
    names = ("name", "kind", "parameters", "multiply_adds")
    arrays = {name: np.array([getattr(layer, name) for layer in steps]) for name in names}
    return Result(f"{finding} per image", arrays, table=page.Table(columns, rows, 4))


def printout(examination: Examination) -> Result:
    """Return PyTorch's own printout of the network."""
    name = type(examination.model).__name__
    return Result(f"{name}, as PyTorch prints it", text=str(examination.model))


@plots.styled
def diagram(examination: Examination) -> Result:
    """Draw a box for every size that an image takes on its way, and the steps below it."""
    boxes: list[tuple[tuple[int, ...], list[str]]] = []
    modules = dict(examination.model.named_modules())
    for layer in examination.layers:
        kernel = getattr(modules.get(layer.name), "kernel_size", None)
        height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        step = f"{layer.kind} {height} × {width}" if kernel else layer.kind
        if boxes and boxes[-1][0] == layer.output[1:] and not layer.multiply_adds:
            boxes[-1][1].append(step)
        elif layer.output:
            boxes.append((layer.output[1:], [step]))
    columns = math.ceil(len(boxes) / math.ceil(len(boxes) / 8))
    across, down = 104, 150 + 15 * max(len({*steps}) for _, steps in boxes)
    largest = max((shape[-1] for shape, _ in boxes if len(shape) == 3), default=1)

    figure, axes = pixel_axes()
    for number, (shape, steps) in enumerate(boxes):
        x, y = across * (number % columns + 0.5), number // columns * down + 75
        # A vector is a bar, tokens are rows, maps are stacked sheets.
        wide, high, sheets, dx, dy = 12.0, min(14 * math.log2(1 + math.prod(shape)), 100), 1, 0, 0
        if len(shape) == 2:
            wide, high, sheets, dy = 60, 8, min(shape[0], 12), 8
        elif len(shape) == 3:
            wide = high = 10 + 62 * math.sqrt(shape[-1] / largest)
            sheets, dx, dy = min(shape[0].bit_length(), 9), 3, -3
        start = x - (wide + dx * (sheets - 1)) / 2
        top = y - (high + dy * (sheets - 1)) / 2
        for sheet in reversed(range(sheets)):
            box = Rectangle((start + dx * sheet, top + dy * sheet), wide, high, linewidth=0.8)
            axes.add_patch(box).set(facecolor=plots.PAPER, edgecolor=plots.INK)
        axes.text(x, y - 65, " × ".join(map(str, shape)), ha="center")
        axes.text(x, y + 52, "\n".join(dict.fromkeys(steps)), ha="center", va="top", **NOTE)
        if number + 1 < len(boxes):
            end = start + wide + dx * (sheets - 1) + 4
            arrow = {"head_width": 7, "length_includes_head": True, "color": plots.QUIET}
            axes.arrow(end, y, 14, 0, **arrow)
    resize(axes, across * columns, down * math.ceil(len(boxes) / columns))
    return Result(layer_table(examination).finding, figure=figure)


def first_images(examination: Examination) -> Result:
    """Return the first six images with their labels, as report 2 shows them."""
    sample = examination.sample(6)
    pixels, labels = examination.pixels(sample.images), sample.labels
    names = [examination.classes[k] if k >= 0 else "unknown class" for k in labels]
    tiles = [Tile(image, title=shorten(n, 18)) for image, n in zip(pixels, names, strict=True)]
    finding = f"{sample.description}, as the network sees them"
    return Result(finding, {"images": pixels, "labels": labels}, draw_tiles(wrap(tiles, 6), 148))


def filters(examination: Examination) -> Result:
    """Return the filters of a layer, by default of the first convolution: weights (F, C, h, w)."""
    layer, weights, first = _filters(examination)
    num_filters, channels, height, width = weights.shape
    (heat, limit), labels, side = _scale(weights), [], 88
    colour = channels == 3 and layer == first  # 0 is grey
    if channels == 1 or colour:
        pictures = [(0.5 + k / 2, None) if colour else (None, k[0]) for k in heat[:64]]
        tiles = [Tile(ink, values, f"{n}") for n, (ink, values) in enumerate(pictures, 1)]
        rows = wrap(tiles, 10)
    else:
        rows = [[Tile(heat=kernel) for kernel in row] for row in heat[:16, :16]]
        labels, side = [f"filter {n}" for n in range(1, len(rows) + 1)], 48
    figure = draw_tiles(rows, side, labels=labels, scale="" if colour else _short(limit))
    finding = f"{layer} has {num_filters} filters of {height} × {width}, each over "
    return Result(finding + count(channels, "channel"), {"weights": weights}, figure)


def responses(examination: Examination) -> Result:
    """Return each first-layer filter's response to an image, without bias and ReLU."""
    (layer, weights, first), channels = _filters(examination), examination.preprocess.channels
    if layer != first or weights.shape[1] < channels:
        reason = f"Only {first} sees the image itself, got {layer!r}."
        raise NotApplicableError(f"{reason} The panel 'maps' shows the outputs of the others.")
    sample = examination.sample(1)
    image = examination.pixels(sample.images)[0]
    if weights.shape[1] > examination.preprocess.planes:  # a grey image fills all channels
        weights = weights.sum(axis=1, keepdims=True)
    weights = weights[:, :channels]
    ink, kernels = torch.from_numpy(image)[None], torch.from_numpy(weights)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # on even sides
        response = F.conv2d(ink, kernels, padding="same")[0].numpy()
    heat, limit = _scale(response)
    tiles = []
    for number, kernel in enumerate(_scale(weights)[0].mean(axis=1)[:64]):
        tiles.append(Tile(heat=kernel, title=f"filter {number + 1}"))
        tiles.append(Tile(heat=heat[number], title="response"))
    rows = [[Tile(image, title=sample.names[0])], *wrap(tiles, 8)]
    figure = draw_tiles(rows, 108, scale=_short(limit))
    finding = f"Responses of the filters of {layer} to {sample.names[0]}"
    return Result(finding, {"weights": weights, "image": image, "responses": response}, figure)


def _filters(examination: Examination) -> tuple[str, NDArray[np.float32], str]:
    """Return the layer to show, its weights, and the convolution that is called first."""
    convolutions = _convolutions(examination)
    if not convolutions:
        raise NotApplicableError("The network has no convolution, so it has no filters.")
    first = next(iter(convolutions))
    layer = examination.layer or first
    if layer not in convolutions:
        rule = f"layer must be a convolution ({', '.join(convolutions)})"
        raise NotApplicableError(f"{rule}, got {layer!r}.")
    return layer, convolutions[layer].weight.detach().cpu().numpy(), first


def _convolutions(examination: Examination) -> dict[str, nn.Conv2d]:
    modules = dict(examination.model.named_modules())
    called = {layer.name: modules.get(layer.name) for layer in examination.layers}
    return {name: module for name, module in called.items() if isinstance(module, nn.Conv2d)}


def maps(examination: Examination) -> Result:
    """Return every layer's output for the first image, or that of the layer to show."""
    sample, only = examination.sample(1), examination.layer
    image = examination.pixels(sample.images)[0]
    rows, labels = [[Tile(ink=image)]], ["input"]
    arrays: Arrays = {"image": image}
    for layer, value in observe(examination.model, examination.to_input(sample.images)[:1]):
        if layer.kind in ("flatten", "dropout") or only not in (None, layer.name):
            continue  # flatten and dropout repeat their inputs
        values = arrays[f"maps.{layer.name}"] = to_maps(value[0])
        number, height, width = values.shape
        size = f"{number} maps of {height} × {width}" if height > 1 else f"{width} values"
        labels.append(f"{layer.name}\n{layer.kind}\n{size}")
        rows.append([Tile(heat=one) for one in _scale(values)[0][:MAX_MAPS, :, :MAX_VALUES]])
    if len(rows) == 1:
        raise NotApplicableError(f"layer must have an output of its own, got {only!r}.")
    figure = draw_tiles(rows, 46, labels=labels, scale="maximum")
    return Result(f"Outputs of {len(rows) - 1} layers for {sample.names[0]}", arrays, figure)


def to_maps(value: Tensor) -> NDArray[np.float32]:
    """Return one image's output as maps (M, h, w): tokens as a square, vectors as a strip."""
    side = math.isqrt(len(value))
    if value.ndim == 2 and (extra := len(value) - side**2) <= 1:  # a class token
        value = value[extra:].T.reshape(-1, side, side)
    return np.array(value.float().cpu().numpy(), ndmin=3)


def attribution(examination: Examination, method: str) -> Result:
    """Return what each pixel has to do with the score of the prediction: values (N, S, S)."""
    sample, preprocess = examination.sample(4), examination.preprocess
    labels, model = examination.predict(sample.images).argmax(axis=1), examination.model
    images = examination.to_input(sample.images)
    if method != "Occlusion" and not model(images[:1].clone().requires_grad_()).requires_grad:
        name = type(model).__name__
        raise NotApplicableError(f"{name} has no gradient. The panel 'occlusion' needs none.")
    target = torch.from_numpy(labels).to(images.device)
    paper, channels = images.clone(), preprocess.channels  # planes of the position stay
    paper[:, :channels] = -preprocess.mean / preprocess.std
    if method == "Saliency":
        values = Saliency(model).attribute(images.requires_grad_(), target, abs=True)
        values = values[:, :channels].amax(dim=1) / preprocess.std
    elif method == "Integrated gradients":
        options = {"n_steps": STEPS, "internal_batch_size": ATTRIBUTED}
        values = IntegratedGradients(model).attribute(images, paper, target, **options).sum(dim=1)
    else:
        planes, side = images.shape[1], max(2, preprocess.size // 7)
        strides, batch = (planes, side // 2, side // 2), max(1, ATTRIBUTED // len(images))
        values = Occlusion(model).attribute(
            *(images, (planes, side, side), strides, paper, target), perturbations_per_eval=batch
        )
        values = values.mean(dim=1)

    values, pixels = values.detach().cpu().numpy(), examination.pixels(sample.images)
    names = [examination.classes[label] for label in labels]
    inks, heats = [], []
    for image, value, name, note in zip(pixels, values, names, sample.names, strict=True):
        heat, limit = _scale(value)
        inks.append(Tile(image, title=f"as {shorten(name, 22)}", note=note))
        heats.append(Tile(image, heat, note=f"maximum {_short(limit)}"))
    rows = [row for pair in zip(wrap(inks, 5), wrap(heats, 5), strict=True) for row in pair]
    figure = draw_tiles(rows, 184, scale="maximum")
    finding = f"{method}, for images recognised as {shorten(', '.join(names), 80)}"
    return Result(finding, {"images": pixels, "target": labels, "values": values}, figure)


def attention_panel(examination: Examination) -> Result:
    """Return the attention over the first image: weights (L, A, T, T) and shares (L, A, h, w)."""
    if not any(layer.kind == "attention" for layer in examination.layers):
        reason = "has no attention. patch_transformer is a network that has it."
        raise NotApplicableError(f"{type(examination.model).__name__} {reason}")
    sample = examination.sample(1)
    image = examination.pixels(sample.images)[0]
    weights = attention(examination.model, examination.to_input(sample.images)[:1])[:, 0].cpu()
    tokens = weights.shape[-1]
    side = math.isqrt(tokens)
    if (extra := tokens - side**2) > 1:  # 1 is a class token
        raise NotApplicableError(f"Attention is drawn over squares of cells, got {tokens} tokens.")
    # The attention to each cell, in units of even attention: of the class token, or the mean.
    to_cells = weights[..., 0, extra:] if extra else weights.mean(dim=-2)
    shares = tokens * to_cells.reshape(*to_cells.shape[:2], side, side).numpy()
    cells = _cells_of_pixels(examination, side)
    rows = []
    for heads in shares:
        titles = [*(f"head {head}" for head in range(1, len(heads) + 1)), "mean"]
        heats = np.stack([*heads, heads.mean(axis=0)])[:, cells[:, None], cells] / EVEN_LIMIT
        rows.append([Tile(image, heat, title) for heat, title in zip(heats, titles, strict=True)])
    labels = [f"layer {number}" for number in range(1, len(rows) + 1)]
    figure = draw_tiles(rows, 84, labels=labels, scale=f"{EVEN_LIMIT:.0f} times even attention")

    layer, head, *_ = (i + 1 for i in np.unravel_index(shares.argmax(), shares.shape))
    origin = "of the class token " if extra else ""
    finding = f"{sample.names[0]}: highest attention {origin}to a cell {shares.max():.1f} times"
    finding += f" even attention, in layer {layer}, head {head}"
    return Result(finding, {"image": image, "weights": weights.numpy(), "shares": shares}, figure)


def _cells_of_pixels(examination: Examination, side: int) -> NDArray[np.int64]:
    """Return the row (or column) of cells with the nearest centre, for each pixel of a side."""
    size = examination.preprocess.size
    kernel, stride, padding = size / side, size / side, 0.0
    patches = next(iter(_convolutions(examination).values()), None)
    if patches is not None and isinstance(patches.padding, tuple):  # which may overlap
        k, step, pad = patches.kernel_size[0], patches.stride[0], patches.padding[0]
        if (size + 2 * pad - k) // step + 1 == side:
            kernel, stride, padding = k, step, float(pad)
    centres = (np.arange(size) + 0.5 + padding - kernel / 2) / stride
    return np.clip(np.round(centres).astype(np.int64), 0, side - 1)


@torch.no_grad()
def attention(model: nn.Module, images: Tensor) -> Tensor:
    """Return how much every cell takes from every other: (L, N, A, T, T), rows sum to 1."""
    weights: list[Tensor] = []
    request = {"need_weights": True, "average_attn_weights": False}
    with ExitStack() as handles:
        for layer in model.eval().modules():
            if isinstance(layer, nn.MultiheadAttention):
                before = layer.register_forward_pre_hook(
                    lambda _, args, kwargs: (args, kwargs | request), with_kwargs=True
                )
                handles.enter_context(before)
                after = layer.register_forward_hook(lambda *call: weights.append(call[2][1]))
                handles.enter_context(after)
        model(images)
    if len({weight.shape for weight in weights}) > 1:
        raise NotApplicableError("The layers with attention have different numbers of tokens.")
    return torch.stack(weights)


def log_probabilities(examination: Examination) -> Result:
    """Return the log-probabilities of ten images: names, log_probs (N, K), predicted, labels."""
    finding, arrays = _predict(examination, 10)
    classes, rows = np.array(examination.classes), []
    ranks = [f"{rank}." for rank in range(1, MAX_CLASSES + 1)] if len(classes) > MAX_CLASSES else []
    for name, _, row, predicted, label in zip(*arrays.values(), strict=True):
        cells = [f"{v:z.2f}".replace("-", "−") for v in row.tolist()]  # z: never "-0.00"
        if ranks:
            order = np.argsort(-row, kind="stable")[: len(ranks)]
            cells = [f"{classes[k]} {cells[k]}" for k in order]
        truth, wrong = classes[label] if label >= 0 else "–", 0 <= label != predicted
        rows.append((name, *cells, classes[predicted], truth, "wrong" if wrong else ""))
    header = ["image", *(ranks or classes), "prediction", "true class", ""]
    return Result(finding, arrays, table=page.Table(header, rows))


def predictions(examination: Examination) -> Result:
    """Return the predictions for thirty images, the wrong ones marked."""
    finding, arrays = _predict(examination, 30)
    classes, tiles = examination.classes, []
    for name, image, _, predicted, label in zip(*arrays.values(), strict=True):
        wrong, note = 0 <= label != predicted, str(name).rpartition(" ")[2]
        note = shorten(f"{note}: wrong, is {classes[label]}" if wrong else note, 18)
        tiles.append(Tile(image, title=shorten(classes[predicted], 12), note=note, wrong=wrong))
    return Result(finding, arrays, draw_tiles(wrap(tiles, 10), 84))


def _predict(examination: Examination, default: int) -> tuple[str, Arrays]:
    sample = examination.sample(default)
    log_probs, labels = examination.predict(sample.images), sample.labels
    predicted, names = log_probs.argmax(axis=1), np.array(sample.names)
    correct = f": {int((predicted == labels).sum())} correct"
    finding = sample.description + ("; true classes unknown" if examination.files else correct)
    arrays = {"names": names, "images": examination.pixels(sample.images), "log_probs": log_probs}
    return finding, {**arrays, "predicted": predicted, "labels": labels}


def nearest(examination: Examination) -> Result:
    """Return the nearest training images of each image, by the cosine of their features."""
    sample, train = examination.sample(6), examination.data.train
    train = train.subset(spread(len(train), MAX_TRAIN))
    features, others = (F.normalize(examination.features(s)) for s in (sample.images, train))
    top, order = (features @ others.T).topk(min(NEIGHBOURS, len(train)))
    cosines, rows = top.numpy(), order.numpy()
    classes = np.array(train.classes)[train.labels[rows]]
    pixels = examination.pixels(sample.images)
    near = examination.pixels(train.subset(rows.flatten())).reshape(*rows.shape, *pixels.shape[1:])
    predicted = examination.predict(sample.images).argmax(axis=1)
    names = [examination.classes[k] for k in predicted]

    labels, tiles = [], []
    for number, name in enumerate(names):
        labels.append(f"{sample.names[number]}\nrecognised as {shorten(name, 12)}")
        tiles.append([Tile(pixels[number])])
        for image, text, value in zip(near[number], classes[number], cosines[number], strict=True):
            title, note = shorten(str(text), 10), f"{value:.2f}"
            tiles[-1].append(Tile(image, title=title, note=note, wrong=text != name))
    same = sum(name == row[0] for name, row in zip(names, classes, strict=True))
    finding = f"For {same} of {len(names)} images, the nearest of {len(train):,} training images"
    arrays = {"images": pixels, "neighbours": near, "neighbour_classes": classes}
    arrays["cosines"] = cosines
    figure = draw_tiles(tiles, 84, labels=labels)
    return Result(f"{finding} has the predicted class", arrays, figure)


@plots.styled
def embedding(examination: Examination) -> Result:
    """Return two maps of the features of the run's images: principal components and t-SNE."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    part, images = examination.own_images
    images = images.subset(spread(len(images), MAX_MAPPED))
    if len(images) < 4:
        raise NotApplicableError(f"A map needs at least 4 images, got {len(images)}.")
    features, pixels = examination.features(images).numpy(), examination.pixels(images)
    if features.shape[1] < 2:
        raise NotApplicableError("A map needs at least 2 features, got 1.")
    pca = PCA(max(2, min(50, *features.shape)), random_state=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # if all features are equal
        flat = pca.fit_transform(features).astype(np.float32)
    explained = np.nan_to_num(pca.explained_variance_ratio_[:2]).sum()
    perplexity = min(30.0, (len(images) - 1) / 3)
    # Half of the default iterations: the other half hardly moves a thousand images.
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=0, max_iter=500)
    maps = {"pca": flat[:, :2], "tsne": tsne.fit_transform(flat).astype(np.float32)}

    figure, axes = pixel_axes()
    titles = ("principal components", f"t-SNE, perplexity {perplexity:.0f}")
    for column, (title, points) in enumerate(zip(titles, maps.values(), strict=True)):
        start, span = column * (SIDE + 32), np.ptp(points, axis=0)
        axes.text(start, 10, title, color=plots.QUIET)
        span = np.where(span > 0, span, 1) if column else np.full(2, span.max() or 1)
        places = (points - (points.max(0) + points.min(0)) / 2) / span * (SIDE - 32) * [1, -1]
        places += [start + SIDE / 2, SIDE / 2 + 24]
        axes.scatter(places[:, 0], places[:, 1], s=2, color=plots.QUIET, linewidth=0)
        drawings: list[int] = []  # of random images that are at least a thumbnail apart
        for index in np.random.RandomState(0).permutation(len(places)).tolist():
            apart = np.abs(places[drawings] - places[index]).max(axis=1) >= THUMBNAIL
            if apart.all() and len(drawings) < MAX_THUMBNAILS:
                drawings.append(index)
                x, y = places[index] - THUMBNAIL / 2
                extent = (x, x + THUMBNAIL, y + THUMBNAIL, y)
                axes.imshow(to_pixels(pixels[index], 0.75), extent=extent, aspect="auto")
        for number, name in enumerate(examination.classes):
            if (mine := places[images.labels == number]).size:
                x, y = np.median(mine, axis=0)
                text = axes.text(x, y, shorten(name, 14), size=20, ha="center", color=plots.ACCENT)
                text.set_path_effects([withStroke(linewidth=4, foreground=plots.PAPER)])
    resize(axes, 2 * SIDE + 32, SIDE + 24)
    finding = f"{len(images):,} {part} images by their features: the two main directions hold"
    finding += f" {100 * explained:.0f} % of the variance"
    return Result(finding, {"images": pixels, "labels": images.labels, **maps}, figure)


def _scale(values: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Return values divided by their largest absolute value, and that value."""
    limit = float(np.abs(values).max())
    return values / (limit or 1), limit


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


@dataclass(frozen=True, eq=False)
class Tile:
    """An image, a heat map, or one over the other, with a line above and a line below."""

    ink: NDArray[np.floating] | None = None  # (C, S, S), in [0, 1]
    heat: NDArray[np.floating] | None = None  # (h, w), in [-1, 1]: blue below 0, orange above
    title: str = ""
    note: str = ""
    wrong: bool = False


@plots.styled
def draw_tiles(
    rows: Sequence[Sequence[Tile]], side: float, *, labels: Sequence[str] = (), scale: str = ""
) -> Figure:
    """Draw rows of tiles, `side` px wide; `scale` is what the strongest hue stands for."""
    figure, axes = pixel_axes()
    start, gap = 170.0 if labels else 1.0, 6 if side < 60 else 16
    end, y = start + STRIP, 0.0
    for row, label in zip(rows, labels or [""] * len(rows), strict=True):
        top, high, x = y + (20 if any(tile.title for tile in row) else 2), side, start
        for tile in row:
            wide = side
            if tile.heat is not None and len(tile.heat) == 1 < tile.heat.size:
                wide, high = min(18 * tile.heat.size, STRIP), 18
            _draw_tile(axes, tile, x, top, wide, high)
            x += wide + gap
        lines = label.split("\n")
        for number, text in enumerate(lines):
            axes.text(0, top + 12 + 15 * number, text, **(NOTE if number else {}))
        below = 20 if any(tile.note for tile in row) else 0
        end, y = max(end, x), max(top + high + gap + below, y + 10 + 16 * len(lines))
    if scale:
        signed = any(t.heat is not None and t.heat.min() < 0 for row in rows for t in row)
        ramp = np.linspace(-1 if signed else 0, 1, 65)[None]
        _draw_tile(axes, Tile(heat=ramp), start, y + 4, 160, 10)
        axes.text(start, y + 29, f"−{scale}" if signed else "0", **NOTE)
        axes.text(start + 160, y + 29, scale, ha="right", **NOTE)
        y += 40
    resize(axes, end, y)
    return figure


def _draw_tile(axes: Axes, tile: Tile, x: float, y: float, wide: float, high: float) -> None:
    place: dict[str, Any] = {"extent": (x, x + wide, y + high, y), "aspect": "auto"}
    if tile.ink is not None:
        axes.imshow(to_pixels(tile.ink, 1 if tile.heat is None else 0.3), **place)
    if tile.heat is not None:
        axes.imshow(HEAT((tile.heat + 1) / 2), **place)
    colour = plots.ACCENT if tile.wrong else plots.LINE
    axes.add_patch(Rectangle((x, y), wide, high, fill=False, edgecolor=colour, linewidth=1))
    axes.text(x, y - 5, tile.title, color=plots.ACCENT if tile.wrong else plots.INK)
    axes.text(x, y + high + 14, tile.note, **NOTE)


def wrap(tiles: Sequence[Tile], columns: int) -> list[Sequence[Tile]]:
    """Break tiles into rows."""
    return [tiles[start : start + columns] for start in range(0, len(tiles), columns)]


def pixel_axes() -> tuple[Figure, Axes]:
    """Return a figure and axes over all of it, without ticks; `resize` sets their size."""
    figure = Figure()
    axes = figure.add_axes((0, 0, 1, 1), autoscale_on=False)
    axes.set_axis_off()
    return figure, axes


def resize(axes: Axes, width: float, height: float) -> None:
    """Set the size of `pixel_axes`: data are px from the top left."""
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.figure.set_size_inches(width / 72, height / 72)  # type: ignore[union-attr]


def to_pixels(image: NDArray[np.floating], strength: float = 1) -> NDArray[Any]:
    """Return an image (C, S, S) as RGBA: one channel as black ink, three in their colours."""
    if len(image) == 1:
        return np.asarray(BLACK(strength * image[0]))
    return np.concatenate([image, np.full_like(image[:1], strength)]).transpose(1, 2, 0)


PANELS: dict[str, Callable[[Examination], Result]] = {
    "layers": layer_table,
    "diagram": diagram,
    "printout": printout,
    "first": first_images,
    "filters": filters,
    "responses": responses,
    "maps": maps,
    "saliency": partial(attribution, method="Saliency"),
    "integrated_gradients": partial(attribution, method="Integrated gradients"),
    "occlusion": partial(attribution, method="Occlusion"),
    "attention": attention_panel,
    "answers": log_probabilities,
    "predictions": predictions,
    "nearest": nearest,
    "embedding": embedding,
}
