"""What print of each character looks like to a network: a vector a character.

Where its faces lie in the mean, what the training itself found for its class, or between both.
Shapes: N pictures, K characters, D features, G kinds of faces.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from siglum.config import Preprocess
from siglum.errors import ConfigError
from siglum.images.imageset import ImageSet
from siglum.images.origins import Origin
from siglum.lab.device import Machine
from siglum.lab.recipes.train import Data
from siglum.lab.runs import Run
from siglum.lab.training import normalised, to_unit
from siglum.recogniser.class_vectors import unit

Vectors = Literal["both", "means", "weights"]

BATCH = 512  # pictures
SOME = 4  # faces of each character by which the centre is found

Floats = NDArray[np.float32]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Gathered:
    """What the faces of each kind make of the characters."""

    kinds: tuple[str, ...]  # G, such as "hand"; "" for faces that lie in no folder of their own
    sums: NDArray[np.float64]  # (G, K, D), of features of length 1


class Features(nn.Module):
    """A network without its head, its features counted from a centre."""

    centre: Tensor

    def __init__(self, model: nn.Module, centre: Tensor | None = None, length: float = 1.0) -> None:
        """Take a network apart.

        Args:
            model: in evaluation mode, placed on the machine.
            centre: (D,); by default nothing.
            length: of features as the network gives them, in the mean.
        """
        super().__init__()
        self.model, self.length = model, length
        nothing = torch.zeros(int(model.num_features))  # type: ignore[arg-type]
        self.register_buffer("centre", nothing if centre is None else centre)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, P, S, S) to features (B, D)."""
        features: Tensor = self.model.forward_features(images)  # type: ignore[operator]
        return features - self.centre.to(features.device)

    def run(
        self, images: NDArray[np.uint8], preprocess: Preprocess, machine: Machine
    ) -> NDArray[np.float32]:
        """Return features (N, D) of pictures in bytes."""
        seen = machine.lay(normalised(to_unit(images), preprocess))
        with machine.autocast():
            found: NDArray[np.float32] = self(seen).float().cpu().numpy()
        return found


@torch.inference_mode()
def centred(
    model: nn.Module, images: ImageSet, preprocess: Preprocess, machine: Machine
) -> Features:
    """Count a network's features from where its characters lie in the mean.

    Else all lie on one side, and signs that are drawn are told from signs that are known by print
    before they are told from each other.

    Args:
        model: in evaluation mode, placed on the machine.
        images: of characters; some faces of each are looked at.
    """
    by_label = np.argsort(images.labels, kind="stable")
    ends = np.cumsum(images.counts)
    rows = [
        by_label[np.unique(np.linspace(end - count, end - 1, SOME).astype(int))]
        for end, count in zip(ends.tolist(), images.counts.tolist(), strict=True)
        if count
    ]
    sums, lengths, plain = [], [], Features(model)
    for start in range(0, len(rows), BATCH // SOME):
        few = rows[start : start + BATCH // SOME]
        found = plain.run(images.take(np.concatenate(few)), preprocess, machine)
        parts = np.split(found, np.cumsum([len(one) for one in few])[:-1])
        sums += [part.mean(axis=0) for part in parts]
        lengths += [float(np.linalg.norm(part, axis=1).mean()) for part in parts]
    centre = torch.from_numpy(np.mean(sums, axis=0).astype(np.float32))
    return Features(model, centre, float(np.mean(lengths)))


def vectors_of(
    features: Features,
    run: Run,
    data: Data,
    known: Mapping[str, Origin],
    machine: Machine,
    vectors: Vectors,
    prefer: Mapping[str, float],
) -> Floats:
    """Return a vector of length 1 for each character (K, D), zeros for one that has none.

    Args:
        data: the run's pictures by character.
        known: the origin of each face.
        vectors: "means" of the training faces; of the held-out ones where no other draws it. Or the
            "weights" of the training's own classes, the same for characters that look alike; what
            was not trained has none. Or "both": half-way between them.
        prefer: how often a face counts in a mean, by its kind.
    """
    rare = np.flatnonzero(data.train.counts == 0)
    trained = own_weights(features, run, data.train.classes)
    trained[rare] = 0
    if vectors == "weights":
        return trained
    rows = means(gather(features, data.train, known, run.preprocess, machine), prefer)
    if len(rare) and data.val is not None:
        only = data.val.subset(np.flatnonzero(np.isin(data.val.labels, rare)))
        rows[rare] = means(gather(features, only, known, run.preprocess, machine), prefer)[rare]
    return unit(rows + trained) if vectors == "both" else rows


@torch.inference_mode()
def gather(
    features: Features,
    images: ImageSet,
    known: Mapping[str, Origin],
    preprocess: Preprocess,
    machine: Machine,
) -> Gathered:
    """Add up the features of a set of characters, by character and kind of face.

    Args:
        known: the origin of each face.
    """
    kinds = tuple(sorted({origin.kind for origin in known.values()}))
    kind = kinds_of(images, known, kinds)
    sums = None
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        found = unit(features.run(images.take(part), preprocess, machine))
        if sums is None:
            sums = np.zeros((len(kinds), len(images.classes), found.shape[1]))
        np.add.at(sums, (kind[part], images.labels[part]), found)
    assert sums is not None, images.source
    return Gathered(kinds, sums)


def means(gathered: Gathered, prefer: Mapping[str, float]) -> Floats:
    """Return the direction of each character's mean (K, D); zeros where no face draws it.

    Raises:
        ConfigError: if `prefer` names a kind that is not there, or counts it less than nothing.
    """
    for kind, factor in prefer.items():
        if kind not in gathered.kinds or not 0 <= factor < math.inf:
            there = ", ".join(filter(None, gathered.kinds)) or "none here"
            raise ConfigError(
                f"prefer must name folders of faces ({there}) with numbers of at least 0, got "
                f"{kind!r} with {factor}."
            )
    factors = np.array([prefer.get(kind, 1.0) for kind in gathered.kinds])
    weighed = np.tensordot(factors, gathered.sums, axes=1)
    # What only faces draw that count nothing is better told by these than by nothing.
    lost = ~weighed.any(axis=1)
    weighed[lost] = gathered.sums.sum(axis=0)[lost]
    return unit(weighed)


def own_weights(features: Features, run: Run, characters: Sequence[str]) -> Floats:
    """Return the vector that the training's own head has for each character's class: (K, D)."""
    place = {name: label for label, name in enumerate(run.classes)}
    labels = [place[run.config.rename.get(name, name)] for name in characters]
    head: Tensor = features.model.head.weight  # type: ignore[union-attr,assignment]
    directions = unit(head.detach().float().cpu().numpy()[labels])
    return unit(features.length * directions - features.centre.numpy())


def kinds_of(images: ImageSet, known: Mapping[str, Origin], kinds: Sequence[str]) -> Counts:
    """Return the number of each picture's kind of face: (N,), in [0, G)."""
    place = {face: kinds.index(origin.kind) for face, origin in known.items()}
    return np.array([place[face] for face in images.writers or ()], dtype=np.int64)
