"""Look inside a network: a run, the images that it is shown, and how panels draw them.

Everything is loaded when it is first used, so that a table of layers waits for no images.
Shapes: N images, P planes, C channels, S side, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError, SiglumError, choose
from siglum.formatting import count
from siglum.images.imageset import ImageSet
from siglum.images.ink import preprocess_files
from siglum.lab.device import Device
from siglum.lab.runs import Run
from siglum.lab.trainer import Data, load_data
from siglum.lab.training import evaluate, normalise_batch, to_unit
from siglum.report.page import Table
from siglum.report.plots import Palette

PARTS = {"test": "test", "val": "validation", "train": "training"}
FOR, AGAINST = (213, 94, 0), (30, 120, 190)  # hues of heat maps


class NotApplicableError(ConfigError):
    """A panel does not apply to this network or these images."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a panel shows: a sentence, its numbers, and a figure, a table or a text."""

    finding: str
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    draw: Callable[[Palette], Figure] | None = None
    table: Table | None = None
    text: str = ""


@dataclass(frozen=True, eq=False)
class Images:
    """Images as bytes, with their names and labels."""

    planes: NDArray[np.uint8]  # (N, P, S, S)
    labels: NDArray[np.int64]  # (N,); -1 where the true class is unknown
    names: tuple[str, ...]  # N
    kind: str  # of one image: "test image", "file"
    choice: str = "{}"  # how they were chosen, such as "The first {}"

    @property
    def description(self) -> str:
        """Which images they are: "10 test images spread over the set"."""
        return self.choice.format(count(len(self.names), self.kind))


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
        from siglum.examine.layers import find_layer

        plain = replace(self.device, precision="float32", channels_last=False)
        object.__setattr__(self, "device", plain)
        if self.count is not None and self.count < 1:
            raise ConfigError(f"count must be at least 1, got {self.count}.")
        if bool(self.files) + bool(self.numbers) + self.wrong > 1:
            raise ConfigError("Files, --image and --wrong exclude each other; choose one.")
        if self.layer is not None:
            find_layer(self.model, self.layer, self.shape)
        if self.files or self.part or self.numbers:
            self.images(1)

    @cached_property
    def model(self) -> nn.Module:
        """The network, on its device, in evaluation mode."""
        return self.device.to(self.run.model(self.checkpoint)).eval()

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
        count = self.count or default
        if self.files:
            read = preprocess_files(self.files[: self.count], self.preprocess)
            if read.unreadable:
                raise DataError("Cannot read {}: {}".format(*read.unreadable[0]))
            names = tuple(Path(name).name for name in read.files)
            return Images(read.images, np.full(len(names), -1), names, "file")
        total, labels, choice = len(self.image_set), self.image_set.labels, "{}"
        if self.numbers:
            rows = np.array(self.numbers) - 1
            if rows.min() < 0 or rows.max() >= total:
                raise ConfigError(f"image must be a number from 1 to {total:,}.")
        elif self.wrong:
            rows, choice = self._misclassified[:count], "{} that are misclassified"
        elif total > 1 and (np.diff(labels) >= 0).all():
            rows, choice = spread(total, count), "{} spread over the set"
        else:
            rows, choice = np.arange(min(count, total)), "The first {}"
        images = select(self.image_set, rows, f"{PARTS[self.chosen_part]} image")
        return replace(images, choice=choice)

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


def select(images: ImageSet, rows: NDArray[np.integer], kind: str) -> Images:
    """Return some images of a set."""
    names = tuple(f"{kind} {row + 1}" for row in rows)
    return Images(images.take(rows), images.labels[rows], names, kind)


def spread(total: int, count: int) -> NDArray[np.int64]:
    """Return at most `count` rows, spread evenly over `total`."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64))


def cell(
    figure: Figure,
    palette: Palette,
    x: float,
    y: float,
    width: float,
    height: float | None = None,
    *,
    colour: str = "",
) -> Axes:
    """Add framed axes without ticks; lengths in px from the figure's top left corner."""
    whole_width, whole_height = figure.get_size_inches() * 72
    height = width if height is None else height
    bottom = (whole_height - y - height) / whole_height
    axes = figure.add_axes((x / whole_width, bottom, width / whole_width, height / whole_height))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.patch.set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(colour or palette.line)
        spine.set_linewidth(2 if colour else 1)
    return axes


def label(
    figure: Figure, x: float, y: float, text: str, colour: str, size: float = 12, **options: Any
) -> None:
    """Write a line of text; (x, y) is the middle of its left side, in px from the top left."""
    width, height = figure.get_size_inches() * 72
    options = {"va": "center", "parse_math": False, **options}
    figure.text(x / width, 1 - y / height, text, color=colour, fontsize=size, **options)


def draw_image(axes: Axes, pixels: NDArray[np.floating], *, strength: float = 1) -> None:
    """Draw an image (C, S, S) in [0, 1]: one channel as ink on paper, three in their colours."""
    if len(pixels) == 3:
        axes.imshow(pixels.transpose(1, 2, 0).clip(0, 1), alpha=strength, interpolation="none")
    else:
        axes.imshow(_hued(strength * pixels[0], (0, 0, 0)), interpolation="none")


def draw_heat(axes: Axes, values: NDArray[np.floating], limit: float, **options: Any) -> None:
    """Draw values (h, w) from -limit to limit: orange above 0, blue below, paper at 0."""
    scaled = np.abs(values) / (limit or 1)
    hues = np.where((values >= 0)[..., None], _hued(scaled, FOR), _hued(scaled, AGAINST))
    axes.imshow(hues, **{"interpolation": "none", "aspect": "auto", **options})


def draw_heat_row(axes: Axes, maps: NDArray[np.floating], limit: float, step: float) -> None:
    """Draw maps (M, h, w) side by side, `step` px apart; axes of their own would take seconds."""
    axes.spines[:].set_visible(False)
    width, height = axes.bbox.size
    for number, values in enumerate(maps):
        left = number * step
        draw_heat(axes, values, limit, extent=(left, left + height, height, 0))
    colour = axes.spines["top"].get_edgecolor()
    frames = [Rectangle((number * step, 0), height, height) for number in range(len(maps))]
    axes.add_collection(PatchCollection(frames, facecolor="none", edgecolor=colour, clip_on=False))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


def draw_scale(
    figure: Figure, palette: Palette, x: float, y: float, limit: str, *, signed: bool = True
) -> None:
    """Draw the scale of heat maps, 160 px wide and 30 px high."""
    draw_heat(
        cell(figure, palette, x, y, 160, 10), np.linspace(-1 if signed else 0, 1, 65)[None], 1
    )
    label(figure, x, y + 20, f"−{limit}" if signed else "0", palette.quiet, 11)
    label(figure, x + 160, y + 20, limit, palette.quiet, 11, ha="right")


def short_number(value: float) -> str:
    """Format the limit of a scale with two digits."""
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def _hued(strength: NDArray[np.floating], hue: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return one hue, opaque by the strength in [0, 1]: uint8 (h, w, 4)."""
    pixels = np.empty((*strength.shape, 4), np.uint8)
    pixels[..., :3] = hue
    pixels[..., 3] = np.rint(255 * np.clip(strength, 0, 1))
    return pixels
