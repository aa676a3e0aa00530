"""The data of a pretraining: glyphs of fonts, drawn strokes and people's drawings.

Whole faces are held out, confusable characters are one class, and every epoch draws images by
class balance.
Shapes: N images, K classes, S the side of the square.
"""

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, starmap
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from numpy.random import RandomState
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from siglum.config import Preprocess, Settings
from siglum.errors import DataError
from siglum.files import atomic_path, cache_dir, read_json, write_atomic
from siglum.images import charsets, ink, splits
from siglum.images.cache import Progress, no_progress
from siglum.images.imageset import ImageSet
from siglum.lab.training_loop import Data, derive_seed
from tools.backbone import confusables, hand, sources, synthetic
from tools.backbone.drawings import load_drawings
from tools.backbone.fonts import Face, find_fonts, read_faces
from tools.backbone.glyphs import draw_face, frame_glyph, only, trustworthy
from tools.backbone.handwriting import handwriting
from tools.backbone.provenance import NOTE, Package, origins
from tools.backbone.sign_net import margin_loss
from tools.backbone.signs import Sign

VERSION = 4  # of everything that decides which glyphs are drawn, and how
GROUPS = {  # how often their classes come; 1 for others
    "omniglot": 8.0,
    "digits": 4.0,
    **dict.fromkeys(("latin", "greek"), 2.0),
    "mathematics": 1.5,
    **dict.fromkeys(("latin-accents", "ethiopic"), 0.5),
    "polytonic": 0.4,
    "aboriginal": 0.3,
    "kanji": 0.25,
    "braille": 0.2,
    "hangul": 0.12,
}
JUDGES = ("digits", "latin", "greek", "cyrillic", "punctuation")  # always compared with

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Glyphs = NDArray[np.uint8]  # (N, 1, S, S)


class Recipe(Settings):
    """Everything that decides the outcome.

    The defaults are those of the included backbone, except for sources and `model_options`.
    """

    fonts: Annotated[str, Parameter(parse=False)] = ""  # folder, with a folder for each kind
    characters: str = Field("", description="Such as greek,0-9; all groups by default.")
    size: int = Field(56, ge=16, description="Side of the frame, px.")
    fill: float = Field(ink.FILL, gt=0, le=1, description="Share of the side that ink fills.")
    pen: tuple[float, float] = Field(
        (0.035, 0.13), description="Thinnest and broadest pen of hands, in sides of the sign."
    )
    signs: int = Field(6000, ge=0, description="Synthetic signs.")
    hands: int = Field(20, ge=1, description="Simulated hands that draw each.")
    strokes: dict[str, int] = Field({}, description="Hands for each other source of strokes.")
    omniglot: tuple[str, ...] = Field((), description="Alphabets of drawings to train on, too.")
    mnist: int = Field(0, ge=0, description="Drawings of each digit to train on, too.")
    drawing_weight: float = Field(3.0, gt=0, description="How often a person's drawing counts.")
    kind_weights: dict[str, float] = Field(
        {"hand": 3.0, "stroke": 3.0}, description="How often a kind counts."
    )
    group_weights: dict[str, float] = Field(
        GROUPS, description="How often classes of a group come; people's drawings: omniglot."
    )
    balance: float = Field(
        0.5, ge=0, le=1, description="0: classes come as often as they are; 1: all equally often."
    )
    val: float = Field(0.03, ge=0, lt=1, description="Share held out, by whole faces.")
    val_max: int = Field(2000, description="Held-out images that each epoch is validated on.")
    epochs: int = Field(36, ge=1, description="Epochs.")
    epoch_size: int = Field(100_000, ge=1, description="Images drawn per epoch.")
    batch_size: int = Field(256, ge=1, description="Images per step.")
    lr: float = Field(0.2, gt=0, description="Learning rate, at its maximum.")
    margin: float = Field(0.15, ge=0, le=1, description="Added to the cosine that is required.")
    plain: float = Field(0.0, ge=0, le=1, description="Share of images without handwriting steps.")
    init: str = Field("scratch", description="Or a run, or file:WEIGHTS, to begin with.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    model_options: dict[str, int] = Field({}, description="Options of sign_net.")

    @property
    def preprocess(self) -> Preprocess:
        """Return the settings that turn a person's drawing into canonical ink."""
        margins = None if self.fill == ink.FILL else self.fill
        return Preprocess(size=self.size, resize="glyph", margins=margins)


@dataclass(frozen=True)
class Fonts:
    """The glyphs of all faces: the class is the character, the writer the face."""

    images: ImageSet
    faces: Sequence[Face]
    origins: Mapping[str, Package]  # by face

    def traceable(self, names: Container[str]) -> list[Face]:
        """Return those of the named faces whose skeletons may be handwriting, hands first."""
        kinds = {"hand": 0, "text": 1}
        mixed = [self.faces[place] for place in RandomState(0).permutation(len(self.faces))]
        chosen = [f for f in mixed if f.name in names and self.origins[f.name].kind in kinds]
        return sorted(chosen, key=lambda face: kinds[self.origins[face.name].kind])

    def weights(self, images: ImageSet, recipe: Recipe) -> Floats:
        """Return how often each image counts, by the kind of its face: (N,)."""
        kinds = [self.origins[face].kind for face in images.writers or ()]
        return np.array([recipe.kind_weights.get(kind, 1.0) for kind in kinds], np.float32)


def _cached(
    identity: object,
    size: int,
    progress: Progress,
    prepare: Callable[[], tuple[Any, int, Iterable[Glyphs]]],
) -> tuple[Any, Glyphs]:
    """Return notes (JSON) and memory-mapped glyphs from the cache, drawn if they are not there.

    Args:
        prepare: returns the notes, the number of glyphs, and the glyphs (S, S).
    """
    digest = hashlib.blake2b(repr((VERSION, identity)).encode(), digest_size=16).hexdigest()
    path = cache_dir() / "backbone" / f"{digest}.npy"
    if not path.with_suffix(".json").exists():  # written last
        notes, count, glyphs = prepare()
        with atomic_path(path) as temporary:
            shape = (count, 1, size, size)
            store = np.lib.format.open_memmap(temporary, "w+", np.dtype(np.uint8), shape)
            for row, glyph in enumerate(glyphs):
                store[row, 0] = glyph
                progress("drawing", row + 1, count)
            store.flush()
        write_atomic(path.with_suffix(".json"), json.dumps(notes))
    return read_json(path.with_suffix(".json")), np.load(path, mmap_mode="r")


def load_fonts(recipe: Recipe, progress: Progress = no_progress) -> Fonts:
    """Draw the recipe's characters with every font below its folder.

    Raises:
        DataError: if no font has one of them.
    """
    folder = Path(recipe.fonts)
    wanted = set(_characters(recipe))
    paths = find_fonts(folder)

    def prepare() -> tuple[Any, int, Iterable[Glyphs]]:
        judges = {character for name in JUDGES for character in charsets.groups()[name]}
        faces, unreadable = read_faces(paths, wanted | judges, progress)
        for path, reason in unreadable:
            progress(f"left out {path}: {reason}", 0, 0)
        trusted = [only(face, wanted) for face in trustworthy(faces, progress)]
        trusted = [face for face in trusted if face.parts]
        if not trusted:
            raise DataError(f"{folder} has no font with one of {len(wanted)} characters.")
        glyphs = chain.from_iterable(draw_face(face, recipe.size, recipe.fill) for face in trusted)
        return [asdict(face) for face in trusted], sum(len(f.characters) for f in trusted), glyphs

    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    identity = ("fonts", files, sorted(wanted), recipe.size, recipe.fill)
    notes, store = _cached(identity, recipe.size, progress, prepare)
    faces = TypeAdapter(list[Face]).validate_python(notes)
    characters = [character for face in faces for character in face.characters]
    writers = [face.name for face in faces for _ in face.characters]
    classes, labels = np.unique(np.array(characters), return_inverse=True)
    rows = np.flatnonzero([glyph.any() for glyph in store])  # others could not be drawn
    images = ImageSet(
        store=store,
        rows=rows,
        labels=labels[rows].astype(np.int64),
        classes=tuple(classes.tolist()),
        source=f"fonts in {folder}",
        writers=tuple(writers[row] for row in rows.tolist()),
    )
    return Fonts(images, faces, origins(folder, faces))


def _characters(recipe: Recipe) -> Sequence[str]:
    return charsets.resolve(recipe.characters or ",".join(charsets.groups()))


def _group_weight(name: str, recipe: Recipe) -> float:
    """Return how often a class comes by its group; confusables are in that of the first."""
    groups = charsets.groups()
    named = (group for group in recipe.group_weights if name[0] in groups.get(group, ()))
    group = "omniglot" if "/" in name[1:] else next(named, "")
    return recipe.group_weights.get(group, 1.0)


def load_strokes(
    recipe: Recipe,
    name: str,
    hands: int,
    faces: Sequence[Face] = (),
    progress: Progress = no_progress,
) -> ImageSet:
    """Draw the signs of a source of strokes by simulated hands, as canonical ink (S, S).

    Args:
        name: "synthetic", "skeletons" (of the faces), "omniglot", or a package of strokes.
    """
    choice, signs = _signs(recipe, name, faces)

    def draw(sign: Sign, number: int, drawing: int) -> Glyphs:
        random = RandomState([hand.VERSION, number, drawing])
        glyph = hand.rasterise_by_hand(sign, random, recipe.pen)
        return frame_glyph(glyph, recipe.size, recipe.fill)

    def prepare() -> tuple[Any, int, Iterable[Glyphs]]:
        rows = [(sign, n, drawing) for n, sign in enumerate(signs) for drawing in range(hands)]
        return [sign.label for sign, *_ in rows], len(rows), starmap(draw, rows)

    identity = (name, choice, hand.VERSION, hands, recipe.size, recipe.fill, recipe.pen)
    labels, store = _cached(identity, recipe.size, progress, prepare)
    classes, numbers = np.unique(np.array(labels), return_inverse=True)
    return ImageSet.from_arrays(store, numbers, classes.tolist(), f"strokes of {name}")


def _signs(recipe: Recipe, name: str, faces: Sequence[Face]) -> tuple[object, Iterator[Sign]]:
    """Return what decides which signs a source has, and the signs."""
    if name == "synthetic":
        return recipe.signs, synthetic.invent(recipe.signs)
    if name == "skeletons":
        from tools.backbone import skeletons  # late: half a second

        common = {name for name in _characters(recipe) if _group_weight(name, recipe) >= 1}
        choice = (skeletons.VERSION, faces, sorted(common))
        return choice, skeletons.trace([only(face, common) for face in faces])
    if name == "omniglot":
        return (*recipe.omniglot, "upright"), sources.read_omniglot(recipe.omniglot)
    wanted = _characters(recipe)
    folder = Path(recipe.fonts) / "stroke" / name
    note = folder / NOTE
    installed = note.read_text() if note.exists() else ""
    return (installed, wanted), sources.read_package(folder, wanted)


def join(sets: Sequence[ImageSet]) -> ImageSet:
    """Return the images of several sets, in memory; classes of one name are one class."""
    classes = tuple(dict.fromkeys(name for one in sets for name in one.classes))
    starts = np.cumsum([0, *(one.store.shape[0] for one in sets)])
    return ImageSet(
        store=np.concatenate([np.asarray(one.store) for one in sets]),
        rows=np.concatenate([one.rows + start for one, start in zip(sets, starts, strict=False)]),
        labels=np.concatenate([one.with_classes(classes).labels for one in sets]),
        classes=classes,
        source=" and ".join(dict.fromkeys(one.source for one in sets)),
    )


def split_faces(fonts: Fonts, recipe: Recipe) -> tuple[ImageSet, ImageSet]:
    """Return the training images and those of held-out faces."""
    assert fonts.images.writers is not None
    train, val = splits.by_writer(fonts.images.writers, recipe.val, recipe.seed)
    return fonts.images.subset(train), fonts.images.subset(val)


def load_data(recipe: Recipe, progress: Progress = no_progress) -> tuple[Data, dict[str, str]]:
    """Return the data of a pretraining, and the class of each merged character."""
    fonts = load_fonts(recipe, progress)
    progress("finding confusables", 0, 0)
    groups = confusables.confusable_groups(confusables.confusable_pairs(fonts.images))
    merged = {character: "".join(group) for group in groups for character in group}
    train, val = (part.rename(merged) for part in split_faces(fonts, recipe))
    some = RandomState(recipe.seed).permutation(len(val))[: recipe.val_max]
    val = val.subset(np.sort(some))
    hands = {"synthetic": recipe.hands if recipe.signs else 0} | recipe.strokes
    faces = fonts.traceable({*(train.writers or ())})
    strokes = [
        load_strokes(recipe, name, count, faces, progress) for name, count in hands.items() if count
    ]
    people = load_drawings(recipe.omniglot, recipe.mnist, recipe.seed, recipe.preprocess)
    more = [
        one.rename({name: merged[name] for name in one.classes if name in merged})
        for one in (*strokes, *people)
    ]
    counts = [sum(map(len, sets)) for sets in (strokes, people)]
    each = [recipe.kind_weights.get("stroke", 1.0), recipe.drawing_weight]
    factors = [fonts.weights(train, recipe), np.repeat(each, counts)]
    train = join([train, *more])
    often = np.array([_group_weight(name, recipe) for name in train.classes], np.float32)
    weights = sample_weights(train.labels, np.concatenate(factors), recipe.balance, often)
    sampler = partial(draw_epoch, train.labels, weights, recipe.epoch_size, recipe.seed)
    val = val.with_classes(train.classes)
    data = Data(
        train,
        val,
        sampler=sampler,
        augmentations=(partial(handwriting, plain=recipe.plain),),
        loss=partial(margin_loss, margin=recipe.margin),
    )
    return data, merged


def sample_weights(
    labels: Ints, factors: NDArray[np.floating], balance: float, often: Floats
) -> Floats:
    """Return the probability (N,) of each image to be drawn next.

    A class comes in proportion to its weight in `often` (K,) and its number of images to the power
    of `1 - balance`; within it, an image in proportion to its factor (N,).
    """
    counts = np.bincount(labels, minlength=len(often)).astype(float)
    share = (often * counts ** (1 - balance))[labels]
    weights = share * factors / np.bincount(labels, weights=factors)[labels]
    return np.asarray(weights / weights.sum())


def draw_epoch(labels: Ints, weights: Floats, size: int, seed: int, epoch: int) -> Ints:
    """Draw the rows (size,) of an epoch; what is expected n times comes n times, rounded.

    Source: Madow 1949, "On the theory of systematic sampling, II", Annals of Mathematical
    Statistics 20; here class by class, in a random order within each.
    """
    random = RandomState(derive_seed(seed, "order", epoch))
    mixed = random.permutation(len(labels))
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    ends = np.cumsum(weights[by_class], dtype=np.float64) * size
    rows = np.searchsorted(ends, np.arange(size) + random.random_sample(), side="right")
    return np.asarray(random.permutation(by_class[np.minimum(rows, len(labels) - 1)]))
