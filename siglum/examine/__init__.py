"""Look inside a network: a run, the images that it is shown, and how panels draw them.

Everything is loaded when it is first used, so that a table of layers waits for no images.
Shapes: N images, P planes, C channels, S side, K classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError, SiglumError, choose, closest_match
from siglum.examine.layers import Layer, layers
from siglum.formatting import count
from siglum.images.decode import as_text
from siglum.images.imageset import ImageSet
from siglum.lab.device import Device
from siglum.lab.runs import Run
from siglum.lab.trainer import Data, load_data
from siglum.lab.training import evaluate, normalise_batch, to_unit
from siglum.recogniser.predict import preprocess_images, stack
from siglum.report import plots
from siglum.report.page import Table

PARTS = {"test": "test", "val": "validation", "train": "training"}
STRIP = 860  # width of a vector, px
FOR, AGAINST = (213, 94, 0), (30, 120, 190)  # hues of heat maps


class NotApplicableError(ConfigError):
    """A panel does not apply to this network or these images."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a panel shows: a sentence, its numbers, and a figure, a table or a text."""

    finding: str
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    figure: Figure | None = None
    table: Table | None = None
    text: str = ""


@dataclass(frozen=True, eq=False)
class Images:
    """Images as bytes, with their names and labels."""

    planes: NDArray[np.uint8]  # (N, P, S, S)
    labels: NDArray[np.int64]  # (N,); -1 where the true class is unknown
    names: tuple[str, ...]  # N
    kind: str  # of one image: "test image", "file"
    description: str  # which images they are: "10 test images spread over the set"


@dataclass(frozen=True, eq=False)
class Examination:
    """A run and what to show of it; checks what can be checked at once.

    Raises:
        ConfigError: if the part, the layer or a number does not exist, or more than one of
            `files`, `numbers` and `wrong` is given.
        DataError: if a file cannot be read.
    """

    run: Run
    device: Device
    files: tuple[Path, ...] = ()
    part: str | None = None  # a key of PARTS; by default test, or validation without test images
    layer: str | None = None
    count: int | None = None  # images; each panel has its own default
    checkpoint: str | None = None
    numbers: tuple[int, ...] = ()  # of images of the part, from 1
    wrong: bool = False  # only misclassified images of the part

    def __post_init__(self) -> None:
        plain = replace(self.device, precision="float32", channels_last=False)
        object.__setattr__(self, "device", plain)
        if self.count is not None and self.count < 1:
            raise ConfigError(f"count must be at least 1, got {self.count}.")
        if bool(self.files) + bool(self.numbers) + self.wrong > 1:
            raise ConfigError("Files, --image and --wrong exclude each other; choose one.")
        names = [layer.name for layer in self.layers] if self.layer is not None else []
        if self.layer is not None and self.layer not in names:
            hint = " List them with: siglum examine RUN --only layers"
            raise ConfigError(
                f"No such layer: {self.layer!r}.{closest_match(self.layer, names) or hint}"
            )
        if self.files or self.part or self.numbers:
            self.images(1)

    @cached_property
    def model(self) -> nn.Module:
        """The network, on its device, in evaluation mode."""
        return self.device.to(self.run.model(self.checkpoint)).eval()

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The network's layers in the order of a forward pass, the input first."""
        return layers(self.model, self.shape)

    @cached_property
    def preprocess(self) -> Preprocess:
        """How an image becomes the network's input."""
        return self.run.preprocess

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The K class names."""
        return self.run.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one input: P, S, S."""
        return self.preprocess.planes, self.preprocess.size, self.preprocess.size

    @cached_property
    def data(self) -> Data:
        """The run's own images.

        Raises:
            NotApplicableError: if they cannot be loaded again.
        """
        try:
            return load_data(self.run.config, self.classes)
        except SiglumError as error:
            raise NotApplicableError(f"Cannot load the run's images again: {error}") from None

    @cached_property
    def chosen_part(self) -> str:
        """The key of PARTS that images come from.

        Raises:
            NotApplicableError: if the run has no such images.
        """
        present = [part for part in PARTS if getattr(self.data, part) is not None]
        choose(PARTS, self.part or "test", "part")
        if self.part is not None and self.part not in present:
            raise NotApplicableError(
                f"part must be one that the run has ({', '.join(present)}), got {self.part!r}."
            )
        return self.part or present[0]

    @cached_property
    def image_set(self) -> ImageSet:
        """All images of the part."""
        images: ImageSet = getattr(self.data, self.chosen_part)
        return images

    def images(self, default: int) -> Images:
        """Return the images to examine: the files, or `default` images of the part.

        A part that is sorted by class is sampled evenly, since its first images are all alike.

        Raises:
            NotApplicableError: if there are no such images.
            DataError: if a file cannot be read.
        """
        wanted = self.count or default
        if self.files:
            files = self.files[: self.count]
            inputs, unreadable = preprocess_images(files, self.preprocess)
            if unreadable:
                raise DataError("Cannot read {}: {}".format(*unreadable[0]))
            names = tuple(as_text(file.name) for file in files)
            description = count(len(names), "file")
            return Images(stack(inputs)[0], np.full(len(names), -1), names, "file", description)
        total, labels, choice = len(self.image_set), self.image_set.labels, "{}"
        if self.numbers:
            rows = np.array(self.numbers) - 1
            if rows.min() < 0 or rows.max() >= total:
                raise ConfigError(f"image must be a number from 1 to {total:,}.")
        elif self.wrong:
            rows, choice = self._misclassified[:wanted], "{} that are misclassified"
        elif total > 1 and (np.diff(labels) >= 0).all():
            rows, choice = spread(total, wanted), "{} spread over the set"
        else:
            rows, choice = np.arange(min(wanted, total)), "The first {}"
        return select(self.image_set, rows, f"{PARTS[self.chosen_part]} image", choice)

    @cached_property
    def _misclassified(self) -> NDArray[np.int64]:
        log_probs = evaluate(self.model, self.image_set, self.preprocess, self.device)
        wrong: NDArray[np.int64] = np.flatnonzero(log_probs.argmax(axis=1) != self.image_set.labels)
        if not len(wrong):
            part = PARTS[self.chosen_part]
            raise NotApplicableError(f"All {len(self.image_set):,} {part} images are correct.")
        return wrong

    def to_input(self, planes: NDArray[np.uint8]) -> Tensor:
        """Return bytes (N, P, S, S) as the network's input, on its device."""
        return self.device.to_batch(normalise_batch(to_unit(planes), self.preprocess))

    def pixels(self, images: Images) -> NDArray[np.float32]:
        """Return images in [0, 1] without position planes: float32 (N, C, S, S)."""
        return to_unit(images.planes[:, : self.preprocess.channels]).numpy()

    @torch.no_grad()
    def logits(self, planes: NDArray[np.uint8]) -> Tensor:
        """Return scores of images (N, P, S, S): float32 (N, K), on the device."""
        logits: Tensor = self.model(self.to_input(planes))
        return logits.float()


def select(images: ImageSet, rows: NDArray[np.integer], kind: str, choice: str = "{}") -> Images:
    """Return some images of a set; `choice` is how they were chosen, such as "The first {}"."""
    names = tuple(f"{kind} {row + 1}" for row in rows)
    description = choice.format(count(len(rows), kind))
    return Images(images.take(rows), images.labels[rows], names, kind, description)


def spread(total: int, count: int) -> NDArray[np.int64]:
    """Return at most `count` rows, spread evenly over `total`."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64))


@dataclass(frozen=True, eq=False)
class Tile:
    """An image, a heat map, or one over the other, with a line above and a line below."""

    ink: NDArray[np.floating] | None = None  # (C, S, S), in [0, 1]
    heat: NDArray[np.floating] | None = None  # (h, w), in [-1, 1]: blue below 0, orange above
    title: str = ""
    note: str = ""
    wrong: bool = False

    @property
    def is_strip(self) -> bool:
        """Whether it is a vector, drawn as a low strip."""
        return self.heat is not None and len(self.heat) == 1 < self.heat.shape[1]


def draw_tiles(
    rows: Sequence[Sequence[Tile]],
    side: float,
    *,
    labels: Sequence[str] = (),
    scale: str = "",
    signed: bool = True,
) -> Figure:
    """Draw rows of tiles.

    Args:
        side: Of a tile, px.
        labels: Texts to the left of the rows.
        scale: What the strongest hue stands for; draws the scale of the heat maps below.
        signed: Whether heat maps have values below 0.
    """
    left, gap = 170 if labels else 1, 6 if side < 60 else 16
    heights = [18 if all(tile.is_strip for tile in row) else side for row in rows]
    above = [20 if any(tile.title for tile in row) else 2 for row in rows]
    room = [
        above[i] + heights[i] + gap + (20 if any(tile.note for tile in row) else 0)
        for i, row in enumerate(rows)
    ]
    if labels:
        room = [max(room[i], 16 * text.count("\n") + 26) for i, text in enumerate(labels)]
    tops = list(accumulate(room, initial=0))
    width = left + max([len(row) * (side + gap) for row in rows] + [STRIP])

    def draw() -> Figure:
        frames: dict[str, list[Rectangle]] = {plots.LINE: [], plots.ACCENT: []}
        quiet: dict[str, Any] = {"color": plots.QUIET, "fontsize": 11}
        with pixel_axes(width, tops[-1] + (40 if scale else 0)) as (figure, axes):

            def add(tile: Tile, x: float, y: float, wide: float, high: float) -> None:
                colour = plots.ACCENT if tile.wrong else plots.INK
                place: dict[str, Any] = {"extent": (x, x + wide, y + high, y), "aspect": "auto"}
                if tile.ink is not None:
                    axes.imshow(to_pixels(tile.ink, 1 if tile.heat is None else 0.3), **place)
                if tile.heat is not None:
                    axes.imshow(to_hues(tile.heat), **place)
                box = Rectangle((x, y), wide, high)
                frames[plots.ACCENT if tile.wrong else plots.LINE].append(box)
                axes.text(x, y - 5, tile.title, color=colour)
                axes.text(x, y + high + 14, tile.note, **quiet)

            for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
                y = tops[number] + above[number]
                for line, text in enumerate(labels[number].split("\n") if labels else ()):
                    axes.text(0, y + 12 + 15 * line, text, **(quiet if line else {}))
                for column, tile in enumerate(row):
                    values = tile.heat.shape[1] if tile.is_strip and tile.heat is not None else 0
                    wide = min(18 * values, STRIP) or side
                    add(tile, left + column * (side + gap), y, wide, height)
            if scale:
                ramp = np.linspace(-1 if signed else 0, 1, 65)[None]
                add(Tile(heat=ramp), left, tops[-1] + 4, 160, 10)
                axes.text(left, tops[-1] + 29, f"−{scale}" if signed else "0", **quiet)
                axes.text(left + 160, tops[-1] + 29, scale, ha="right", **quiet)
            for colour, boxes in frames.items():
                axes.add_collection(
                    PatchCollection(boxes, facecolor="none", edgecolor=colour, linewidth=1)
                )
            return figure

    return draw()


@contextmanager
def pixel_axes(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure and axes over all of it, in px from the top left, without ticks."""
    with matplotlib.rc_context(plots.STYLE):
        figure = Figure(figsize=(width / 72, height / 72))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        axes.set_axis_off()
        yield figure, axes


def wrap(tiles: Sequence[Tile], columns: int) -> list[Sequence[Tile]]:
    """Break tiles into rows."""
    return [tiles[start : start + columns] for start in range(0, len(tiles), columns)]


def to_pixels(image: NDArray[np.floating], strength: float = 1) -> NDArray[np.uint8]:
    """Return an image (C, S, S) as RGBA: one channel as black ink, three in their colours."""
    if len(image) == 3:
        alpha = np.full((1, *image.shape[1:]), strength)
        colours = np.concatenate([image, alpha]).transpose(1, 2, 0)
        return np.asarray(255 * colours.clip(0, 1), np.uint8)
    return _hued(strength * image[0], (0, 0, 0))


def to_hues(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return values in [-1, 1] as RGBA: orange above 0, blue below, transparent at 0."""
    hue = np.where((values >= 0)[..., None], FOR, AGAINST)
    return _hued(np.abs(values), hue)


def _hued(strength: NDArray[np.floating], hue: Any) -> NDArray[np.uint8]:
    """Return a hue, opaque by the strength in [0, 1]: uint8 (h, w, 4)."""
    pixels = np.empty((*strength.shape, 4), np.uint8)
    pixels[..., :3] = hue
    pixels[..., 3] = np.rint(255 * np.clip(strength, 0, 1))
    return pixels
