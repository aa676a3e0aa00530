"""The sets of `benchmarks.fewshot` as a backbone sees them, and how each is halved.

Folder names become characters here, in one table, so that print can be asked for them. Halves are
fixed by names and places: what is chosen on `tune` was never seen on `report`.
Shapes: N pictures, S the side of the frame, D features, K classes.
"""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from siglum.config import Preprocess
from siglum.images import sources
from siglum.images.cache import rebuild
from siglum.images.imageset import ImageSet
from siglum.recogniser import backbone as backbones
from siglum.recogniser.predict import Recogniser

Half = Literal["tune", "report", "all"]

GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma "
    "tau upsilon phi chi psi omega"
)
GREEK = dict(zip(GREEK_NAMES.split(), "αβγδεζηθικλμνξοπρστυφχψω", strict=True))
SIGNS_62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
CHARACTERS = (  # of the folders of all sets
    GREEK
    | {f"Sample{number:03}": sign for number, sign in enumerate(SIGNS_62, start=1)}
    | {f"digit_{sign}": sign for sign in string.digits}
    | {f"upper_{sign}": sign for sign in string.ascii_uppercase}
    | {f"lower_{sign}": sign for sign in string.ascii_lowercase}
)
OTHER_SHAPES = {"ς": "σ", "ϑ": "θ", "ϕ": "φ", "ϵ": "ε"}  # people write either, filed as one letter


@dataclass(frozen=True)
class Source:
    """Where a set lies, and who made each picture."""

    specs: tuple[str, ...]
    part: str = "test"
    writer: str = ""  # finds the number of a writer or a form in a file name
    prefix: str = ""  # of class names that print is not to be asked for
    most: int = 0  # pictures of each class in each half; 0 for all


SOURCES = {
    "omniglot": Source(
        (
            "archive:omniglot/images_background_small1.zip",
            "archive:omniglot/images_background_small2.zip",
        ),
        writer=r"_(\d+)\.png$",
    ),
    "mnist": Source(("idx:MNIST/raw",)),
    "mnist samples": Source(("idx:MNIST/raw",), part="train", most=100),
    "kmnist": Source(("idx:KMNIST/raw",), prefix="KMNIST "),
    "handdrawn digits": Source(("archive:handdrawn/digits_writers.zip",), writer=r"/w(\d+)_"),
    "handdrawn greek": Source(("archive:handdrawn/greek_writers.zip",), writer=r"/w(\d+)_"),
    "greek_train": Source(("archive:greek_train.zip",)),
    "GreekGCDB": Source(("archive:GreekGCDB.zip",), writer=r"form_(\d+)"),
    "Chars74K": Source(("archive:Chars74K/trainPart1_256x192.zip",), writer=r"-(\d+)\.png$"),
    "HandWritten62": Source(("archive:HandWritten62.zip",)),
    "CHoiCe": Source(("archive:CHoiCe.zip",)),
}


@dataclass(frozen=True, eq=False)
class Pictures:
    """Labelled pictures, and what a backbone makes of them."""

    classes: tuple[str, ...]  # K
    labels: NDArray[np.int64]  # (N,), in [0, K)
    ink: NDArray[np.uint8]  # (N, S, S)
    places: NDArray[np.float32]  # (N, 3): height, width and middle of the ink
    features: NDArray[np.float32]  # (N, D), each of length 1
    writers: NDArray[Any]  # (N,): names; of the pictures themselves where nobody knows
    ids: NDArray[Any]  # (N,): names of the pictures, unlike in all sets
    tune: NDArray[np.bool_]  # (N,): whether it belongs to that half

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, rows: NDArray[Any]) -> "Pictures":
        """Return the pictures at some rows, or where a mask is true."""
        return replace(
            self,
            labels=self.labels[rows],
            ink=self.ink[rows],
            places=self.places[rows],
            features=self.features[rows],
            writers=self.writers[rows],
            ids=self.ids[rows],
            tune=self.tune[rows],
        )

    def half(self, half: Half) -> "Pictures":
        """Return the pictures of a half."""
        return self if half == "all" else self.at(self.tune == (half == "tune"))

    def among(self, classes: Sequence[str]) -> "Pictures":
        """Return the pictures of some classes, numbered by these."""
        position = {name: label for label, name in enumerate(classes)}
        labels = np.array([position.get(name, -1) for name in self.classes])[self.labels]
        kept = self.at(labels >= 0)
        return replace(kept, classes=tuple(classes), labels=labels[labels >= 0])

    def renamed(self, prefix: str) -> "Pictures":
        """Return them under names that no print belongs to."""
        return replace(self, classes=tuple(prefix + name for name in self.classes))


def joined(first: Pictures, second: Pictures) -> Pictures:
    """Return the pictures of two sets of one backbone, with the classes of both."""
    classes = tuple(dict.fromkeys([*first.classes, *second.classes]))
    both = [first.among(classes), second.among(classes)]
    names = ("labels", "ink", "places", "features", "writers", "ids", "tune")
    columns = {name: np.concatenate([getattr(one, name) for one in both]) for name in names}
    return Pictures(classes, **columns)


@cache
def seen(backbone: Recogniser, name: str) -> Pictures:
    """Return a whole set as a backbone sees it; features are computed once."""
    source = SOURCES[name]
    preprocess = backbone.bundle.preprocess.model_copy(update={"place": True})
    found: list[Pictures] = []
    for spec in source.specs:
        loaded = _loaded(source, spec, preprocess)
        pictures = _as_seen(backbone, name, source, loaded)
        if found:  # the second set of omniglot has two alphabets of the first, to the pixel
            new = [sign for sign in pictures.classes if sign not in found[0].classes]
            pictures = pictures.among(new)
        found.append(pictures)
    return found[0] if len(found) == 1 else joined(found[0], found[1])


def alphabet(name: str) -> str:
    """Return the alphabet of an omniglot class."""
    return name.partition("/")[0]


def _loaded(source: Source, spec: str, preprocess: Preprocess) -> ImageSet:
    if not source.most:
        return sources.load(spec, source.part, preprocess)
    plain = sources.load(spec, source.part)
    random = np.random.RandomState(0)
    tune, rows = _first_half(len(plain)), []
    for label in range(len(plain.classes)):
        for half in (tune, ~tune):
            members = np.flatnonzero((plain.labels == label) & half)
            rows.append(random.permutation(members)[: source.most])
    return rebuild(plain.subset(np.sort(np.concatenate(rows))), preprocess)


def _as_seen(backbone: Recogniser, name: str, source: Source, loaded: ImageSet) -> Pictures:
    count = len(loaded)
    ids = np.array([f"{name} {spot}" for spot in (loaded.files or range(count))])
    classes = [CHARACTERS.get(sign, source.prefix + sign) for sign in loaded.classes]
    planes = loaded.images
    whole = Pictures(
        classes=tuple(classes),
        labels=loaded.labels,
        ink=planes[:, 0],
        places=planes[:, 1:, 0, 0].astype(np.float32) / np.float32(255),
        features=backbones.features(backbone, planes[:, 0]),
        writers=_writers(name, source, loaded) if source.writer else ids,
        ids=ids,
        tune=_tune(name, source, loaded),
    )
    return whole.at(_distinct(loaded)) if name == "HandWritten62" else whole


def _writers(name: str, source: Source, loaded: ImageSet) -> NDArray[Any]:
    numbers = _numbers(source, loaded)
    if name != "omniglot":
        return np.array([str(number) for number in numbers])
    # Drawers are numbered by alphabet.
    alphabets = [alphabet(loaded.classes[label]) for label in loaded.labels]
    return np.array([f"{one} {number:02}" for one, number in zip(alphabets, numbers, strict=True)])


def _numbers(source: Source, loaded: ImageSet) -> list[int]:
    found = [re.search(source.writer, file) for file in loaded.files or ()]
    return [int(match[1]) for match in found if match]


def _tune(name: str, source: Source, loaded: ImageSet) -> NDArray[np.bool_]:
    """Say which pictures (N,) are for tuning.

    Every other alphabet by name; writers and forms with even numbers; else the first half: of each
    class, since neighbours in number look like one hand, or of all.
    """
    if name == "omniglot":
        alphabets = sorted({alphabet(sign) for sign in loaded.classes})
        of_class = [alphabets.index(alphabet(sign)) % 2 == 0 for sign in loaded.classes]
        return np.array(of_class, dtype=bool)[loaded.labels]
    if source.writer:
        return np.array([number % 2 == 0 for number in _numbers(source, loaded)])
    if loaded.files is None:
        return _first_half(len(loaded)) if not source.most else _first_of_kept(source, loaded)
    tune = np.zeros(len(loaded), dtype=bool)
    for label in range(len(loaded.classes)):
        members = np.flatnonzero(loaded.labels == label)  # by name
        tune[members[: len(members) // 2]] = True
    return tune


def _first_of_kept(source: Source, loaded: ImageSet) -> NDArray[np.bool_]:
    """Say which of the kept pictures were in the first half: as many of each class as were kept."""
    tune = np.zeros(len(loaded), dtype=bool)
    for label in range(len(loaded.classes)):
        tune[np.flatnonzero(loaded.labels == label)[: source.most]] = True
    return tune


def _first_half(count: int) -> NDArray[np.bool_]:
    return np.arange(count) < count // 2


def _distinct(loaded: ImageSet) -> NDArray[np.bool_]:
    """Say which pictures (N,) repeat no earlier one of their class to the pixel."""
    assert loaded.originals is not None
    digests = loaded.originals.digests[loaded.rows].tolist()
    before: set[tuple[int, int]] = set()
    first = []
    for key in zip(digests, loaded.labels.tolist(), strict=True):
        first.append(key not in before)
        before.add(key)
    return np.array(first)
