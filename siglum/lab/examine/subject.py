"""What is looked into: a run's network, the pictures it is shown, and those it was trained on.

Everything is loaded when it is first asked for, so that a table of layers waits for no pictures.
Shapes: N pictures, P planes, S the side of the picture, K classes.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError, SiglumError, choose
from siglum.images.imageset import ImageSet
from siglum.images.ink import preprocess_files
from siglum.lab.device import Device
from siglum.lab.runs import Run
from siglum.lab.trainer import Data, load_data
from siglum.lab.training import evaluate, normalised, to_unit

PARTS = {"test": "test", "val": "validation", "train": "training"}
CHOSEN = {  # how pictures were taken from a part, in words behind "10 test pictures"
    "first": "",
    "spread": " spread over the set",
    "misread": " that are misread",
}


class DoesNotApplyError(ConfigError):
    """What is asked for is not to be had of this network or these pictures."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures as a network sees them, in bytes."""

    images: NDArray[np.uint8]  # (N, P, S, S)
    labels: NDArray[np.int64]  # (N,); -1 where the truth is not known
    names: tuple[str, ...]  # N, for people
    kind: str  # of one: "test picture", "file"
    chosen: str = ""  # how: a key of CHOSEN, or "" where somebody named them

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> "Pictures":
        """Return the first so many, or all if there are fewer."""
        return Pictures(
            self.images[:count], self.labels[:count], self.names[:count], self.kind, self.chosen
        )


@dataclass(frozen=True, eq=False)
class Subject:
    """A run, and what is to be shown of it."""

    run: Run
    machine: Device  # float32, channels not innermost
    files: tuple[Path, ...] = ()
    part: str | None = None  # a key of PARTS; by default test, or validation if there is none
    layer: str | None = None
    count: int | None = None  # pictures; each examination has its own default
    weights: str | None = None
    numbers: tuple[int, ...] = ()  # of pictures of the part, from 1: only these
    wrong: bool = False  # only pictures of the part that are misread

    @cached_property
    def model(self) -> nn.Module:
        """The network, on its device, in evaluation mode."""
        return self.machine.to(self.run.model(self.weights)).eval()

    @cached_property
    def preprocess(self) -> Preprocess:
        """How pictures reach the network."""
        return self.run.preprocess

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The K class names."""
        return self.run.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one picture: P, S, S."""
        return self.preprocess.planes, self.preprocess.size, self.preprocess.size

    @cached_property
    def data(self) -> Data:
        """The run's own pictures.

        Raises:
            DoesNotApplyError: if they are gone.
        """
        try:
            return load_data(self.run.config, self.classes)
        except SiglumError as error:
            raise DoesNotApplyError(f"The run's pictures cannot be loaded again: {error}") from None

    @cached_property
    def shown_part(self) -> str:
        """The key of PARTS that pictures are taken from.

        Raises:
            DoesNotApplyError: if the run has no such pictures.
        """
        there = [part for part in PARTS if getattr(self.data, part) is not None]
        if self.part is None:
            return there[0]
        choose(PARTS, self.part, "part")
        if self.part not in there:
            raise DoesNotApplyError(
                f"part must be one that the run has ({', '.join(there)}), got {self.part!r}."
            )
        return self.part

    @cached_property
    def held(self) -> ImageSet:
        """The pictures of the part, all of them."""
        images: ImageSet = getattr(self.data, self.shown_part)
        return images

    @cached_property
    def _read(self) -> Pictures:
        """The files.

        Raises:
            DataError: if one cannot be read.
        """
        seen = preprocess_files(self.files, self.preprocess)
        if seen.unreadable:
            name, reason = seen.unreadable[0]
            raise DataError(f"{name} must be a picture, but it {reason}.")
        names = tuple(Path(name).name for name in seen.files)
        return Pictures(seen.images, np.full(len(names), -1, np.int64), names, "file")

    def pictures(self, usual: int) -> Pictures:
        """Return the pictures to examine: every file, else the first `usual` of the part.

        Of a part that is sorted by class, where the first would be all alike, they are spread over
        it. `count` decides how many where it is given; `numbers` and `wrong` decide which.

        Raises:
            DoesNotApplyError: if all of the part is read right where `wrong` ones are wanted.
        """
        if self.files:
            return self._read.first(self.count or len(self._read))
        rows, chosen = self._rows(self.count or usual)
        found = taken(self.held, rows, f"{PARTS[self.shown_part]} picture")
        return replace(found, chosen=chosen)

    def _rows(self, count: int) -> tuple[NDArray[np.int64], str]:
        """Return which rows of the part to examine, and how they were chosen."""
        labels = self.held.labels
        if self.numbers:
            return np.array(self.numbers) - 1, ""
        if self.wrong:
            return self.misread[:count], "misread"
        if len(labels) > 1 and (np.diff(labels) >= 0).all():
            return spread(len(labels), count), "spread"
        return np.arange(min(count, len(labels))), "first"

    @cached_property
    def misread(self) -> NDArray[np.int64]:
        """The rows of the part that are misread.

        Raises:
            DoesNotApplyError: if there are none.
        """
        log_probs = evaluate(self.model, self.held, self.preprocess, self.machine)
        wrong: NDArray[np.int64] = np.flatnonzero(log_probs.argmax(axis=1) != self.held.labels)
        if not len(wrong):
            raise DoesNotApplyError(
                f"All {len(self.held):,} {PARTS[self.shown_part]} pictures are read right."
            )
        return wrong

    def seen(self, images: NDArray[np.uint8]) -> Tensor:
        """Return bytes (N, P, S, S) as the network sees them, on its device."""
        return self.machine.to_batch(normalised(to_unit(images), self.preprocess))


def subject(
    run: Run,
    machine: Device,
    files: tuple[Path, ...] = (),
    *,
    part: str | None = None,
    layer: str | None = None,
    count: int | None = None,
    weights: str | None = None,
    numbers: tuple[int, ...] = (),
    wrong: bool = False,
) -> Subject:
    """Say what to look into, and check what can be checked at once.

    Raises:
        ConfigError: if `part`, `layer`, `count` or one of the `numbers` is not to be had, or more
            than one of `files`, `numbers` and `wrong` is given.
        DataError: if a file is no picture.
    """
    from siglum.lab.examine.layers import find_layer

    if count is not None and count < 1:
        raise ConfigError(f"count must be at least 1, got {count}.")
    if part is not None:
        choose(PARTS, part, "part")
    machine = replace(machine, precision="float32", channels_last=False)
    if bool(files) + bool(numbers) + wrong > 1:
        raise ConfigError("Files, --picture and --wrong must not be given together; choose one.")
    made = Subject(run, machine, files, part, layer, count, weights, numbers, wrong)
    if layer is not None:
        find_layer(made.model, layer, made.shape)
    if files:
        made.pictures(1)
    if part is not None:
        _ = made.shown_part
    if numbers and not all(1 <= number <= len(made.held) for number in numbers):
        strange = next(number for number in numbers if not 1 <= number <= len(made.held))
        raise ConfigError(
            f"picture must be a number from 1 to {len(made.held):,}, that of the "
            f"{PARTS[made.shown_part]} pictures, got {strange}."
        )
    return made


def taken(images: ImageSet, rows: NDArray[np.integer], kind: str) -> Pictures:
    """Return some pictures of a set."""
    names = tuple(f"{kind} {row + 1}" for row in rows)
    return Pictures(images.take(rows), images.labels[rows], names, kind)


def spread(total: int, most: int) -> NDArray[np.int64]:
    """Return at most so many places, spread evenly over `total`."""
    return np.unique(np.linspace(0, total - 1, min(most, total)).round().astype(np.int64))


def ink(pictures: Pictures, preprocess: Preprocess) -> NDArray[np.float32]:
    """Return pictures in [0, 1] without the planes behind them: float32 (N, C, S, S)."""
    return to_unit(pictures.images[:, : preprocess.channels]).numpy()


def zeros_like_paper(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Return what the network sees of no ink at all; planes of place stay as they are.

    Where ink is kept as it was found, 0 is black.
    """
    paper = images.clone()
    paper[:, : preprocess.channels] = -preprocess.mean / preprocess.std
    return paper


@torch.no_grad()
def logits(subject: Subject, images: NDArray[np.uint8]) -> Tensor:
    """Return the scores of pictures (N, P, S, S): float32 (N, K), on the device."""
    scores: Tensor = subject.model(subject.seen(images)).float()
    return scores
