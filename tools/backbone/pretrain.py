"""Train a network on the characters of fonts, and export it as a backbone.

Whole faces are held out, confusable characters are one class, and every epoch draws images by
class balance. Synthetic signs are trained on, too.
Shapes: N images, K characters, D features, S the side of the square.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
from cyclopts import Parameter
from numpy.random import RandomState
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from pydantic import Field, TypeAdapter
from scipy.sparse import coo_array
from torch import Tensor, nn

from siglum.config import Preprocess, Settings, TrainConfig, build
from siglum.errors import DataError, RunError
from siglum.files import atomic_path, cache_dir, read_json, write_atomic
from siglum.images import charsets, ink, splits
from siglum.images.cache import Progress, no_progress
from siglum.images.imageset import ImageSet
from siglum.lab import models, train_run
from siglum.lab.device import Device
from siglum.lab.export import EXPORTERS, to_onnx
from siglum.lab.run_folder import CONFIG, Run
from siglum.lab.training_loop import Data, Epoch, derive_seed, normalise_batch, to_unit
from siglum.recogniser import bundle as bundles
from siglum.recogniser.bundle import Bundle, Card, ReferenceOutputs
from siglum.recogniser.calibration import COVERAGE, FALSE_REJECTION_RATE, Calibration, Threshold
from siglum.recogniser.fit import SCALE
from siglum.recogniser.onnx import Network
from siglum.recogniser.predict import open_bundle, relative_error
from siglum.recogniser.prototype_head import Head, unit
from siglum.stats import Rate
from tools.backbone import confusables, drawings, hand, skeletons, sources, synthetic
from tools.backbone.fonts import Face, find_fonts, read_faces
from tools.backbone.glyphs import draw_face, frame_glyph, only, trustworthy
from tools.backbone.handwriting import handwriting
from tools.backbone.provenance import NOTE, Package, origins, read_packages
from tools.backbone.sign_net import margin_loss
from tools.backbone.signs import Sign

VERSION = 4  # of everything that decides which glyphs are drawn, and how
RECIPE = "backbone.json"  # in the run's folder
JUDGES = ("digits", "latin", "greek", "cyrillic", "punctuation")  # always compared with
NETWORK = Path(__file__).with_name("sign_net.py")
BATCH = 512  # images
CENTRE_FACES = 4  # of each character, for the mean of the features
REFERENCES, COMPARED = 2, (1, 7)  # images in the bundle; images at once that are compared
TOLERANCE = 0.01  # of the largest feature, by which 16-bit weights may change features
HELD_OUT = "held-out faces"
# Fonts say nothing about handwriting, so these defaults were chosen on drawings of other people.
CALIBRATION = Calibration(
    temperature=1.1,
    sets=Threshold(coverage=COVERAGE, values=(COVERAGE,)),
    rejection=Threshold(coverage=1 - FALSE_REJECTION_RATE, values=(SCALE * -0.06 / 1.1,)),
)

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Glyphs = NDArray[np.uint8]  # (N, 1, S, S)


class Recipe(Settings):
    """Everything that decides the outcome; the defaults made the shipped backbone."""

    fonts: Annotated[str, Parameter(parse=False)] = ""  # folder, with a folder for each kind
    characters: str = Field("", description="Such as greek,0-9; all groups by default.")
    size: int = Field(40, ge=16, description="Side of the frame, px.")
    fill: float = Field(ink.FILL, gt=0, le=1, description="Share of the side that ink fills.")
    pen: tuple[float, float] = Field(
        (0.035, 0.13), description="Thinnest and broadest pen of hands, in sides of the sign."
    )
    signs: int = Field(4000, ge=0, description="Synthetic signs.")
    hands: int = Field(30, ge=1, description="Simulated hands that draw each.")
    strokes: dict[str, int] = Field({}, description="Hands for each other source of strokes.")
    omniglot: tuple[str, ...] = Field((), description="Alphabets of drawings to train on, too.")
    mnist: int = Field(0, ge=0, description="Drawings of each digit to train on, too.")
    drawing_weight: float = Field(3.0, gt=0, description="How often a person's drawing counts.")
    kind_weights: dict[str, float] = Field({"hand": 3.0}, description="How often a kind counts.")
    group_weights: dict[str, float] = Field(
        {}, description="How often classes of a group come; people's drawings: omniglot."
    )
    balance: float = Field(
        0.5, ge=0, le=1, description="0: classes come as often as they are; 1: all equally often."
    )
    val: float = Field(0.03, ge=0, lt=1, description="Share held out, by whole faces.")
    val_max: int = Field(2000, description="Held-out images that each epoch is validated on.")
    epochs: int = Field(72, ge=1, description="Epochs.")
    epoch_size: int = Field(100_000, ge=1, description="Images drawn per epoch.")
    batch_size: int = Field(256, ge=1, description="Images per step.")
    lr: float = Field(0.2, gt=0, description="Learning rate, at its maximum.")
    margin: float = Field(0.0, ge=0, le=1, description="Added to the cosine that is required.")
    plain: float = Field(0.0, ge=0, le=1, description="Share of images without handwriting steps.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    model_options: dict[str, int] = Field({}, description="Options of sign_net.")


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

    def prepare() -> tuple[Any, int, Iterable[Glyphs]]:
        listed = list(signs)
        labels = [sign.label for sign in listed for _ in range(hands)]
        return labels, len(labels), draw(listed)

    def draw(signs: Sequence[Sign]) -> Iterator[Glyphs]:
        for number, sign in enumerate(signs):
            for drawing in range(hands):
                random = RandomState([hand.VERSION, number, drawing])
                glyph = hand.rasterise_by_hand(sign, random, recipe.pen)
                yield frame_glyph(glyph, recipe.size, recipe.fill)

    identity = (name, choice, hand.VERSION, hands, recipe.size, recipe.fill, recipe.pen)
    labels, store = _cached(identity, recipe.size, progress, prepare)
    classes, numbers = np.unique(np.array(labels), return_inverse=True)
    return ImageSet.from_arrays(store, numbers, classes.tolist(), f"strokes of {name}")


def _signs(recipe: Recipe, name: str, faces: Sequence[Face]) -> tuple[object, Iterator[Sign]]:
    """Return what decides which signs a source has, and the signs."""
    if name == "synthetic":
        return recipe.signs, synthetic.invent(recipe.signs)
    if name == "skeletons":
        common = {name for name in _characters(recipe) if _group_weight(name, recipe) >= 1}
        return (faces, sorted(common)), skeletons.trace([only(face, common) for face in faces])
    if name == "omniglot":
        return recipe.omniglot, sources.read_omniglot(recipe.omniglot)
    wanted = _characters(recipe)
    folder = Path(recipe.fonts) / "stroke" / name
    note = folder / NOTE
    installed = note.read_text() if note.exists() else ""
    return (installed, wanted), sources.read_package(folder, wanted)


def load_drawings(recipe: Recipe) -> list[ImageSet]:
    """Load the people's drawings that the recipe names, as canonical ink (S, S)."""
    margins = None if recipe.fill == ink.FILL else recipe.fill
    preprocess = Preprocess(size=recipe.size, resize="glyph", margins=margins)
    sets = [*drawings.load_omniglot(recipe.omniglot, preprocess)] if recipe.omniglot else []
    if recipe.mnist:
        sets.append(drawings.load_mnist(recipe.mnist, recipe.seed, preprocess))
    return sets


def join(sets: Sequence[ImageSet]) -> ImageSet:
    """Return the images of several sets, in memory; classes of one name are one class."""
    classes = tuple(dict.fromkeys(name for one in sets for name in one.classes))
    starts = np.cumsum([0, *(len(one.store) for one in sets)])
    return ImageSet(
        store=np.concatenate([one.store for one in sets]),
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
    people = load_drawings(recipe)
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


def pretrain(recipe: Recipe, path: Path, device: Device, progress: Progress = no_progress) -> Run:
    """Train at `path`, a new folder, or continue an unfinished pretraining there."""
    if (path / RECIPE).exists() and build(Recipe, read_json(path / RECIPE)) != recipe:
        raise RunError(f"{path} has another recipe. Choose another name with -o.")
    data, merged = load_data(recipe, progress)
    if (path / CONFIG).exists():
        write_atomic(path / RECIPE, recipe.model_dump_json(indent=1))  # killed before it was there
        return train_run.resume(Run(path), device, _report, progress, data)
    config = TrainConfig(
        data=data.train.source,
        model=f"{NETWORK}:SignNet",
        model_options=recipe.model_options,
        rename=merged,
        size=recipe.size,
        resize="glyph",
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        lr=recipe.lr,
        weight_decay=1e-4,
        augment=(),
        seed=recipe.seed,
    )

    def watch(record: object) -> None:
        if not (path / RECIPE).exists():
            write_atomic(path / RECIPE, recipe.model_dump_json(indent=1))
        _report(record)

    return train_run.train(config, path, device, watch, progress, data)


def _report(record: object) -> None:
    if isinstance(record, Epoch):
        held_out = "" if record.val_accuracy is None else f", {HELD_OUT} {record.val_accuracy:.3f}"
        print(f"epoch {record.index}: loss {record.train_loss:.3f}{held_out}", flush=True)


class Backbone(nn.Module):
    """A network without its head."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, S, S) to features (B, D)."""
        features: Tensor = self.model.forward_features(images)  # type: ignore[operator]
        return features


def export(
    run: Run, path: Path, device: Device, licence: str = "", progress: Progress = no_progress
) -> Bundle:
    """Write a pretraining as a backbone: the network, and a prototype of every character.

    A prototype is half-way between the mean of the character's faces, each weighted by its kind,
    and the vector that the training's own head has for its class. All are counted from the mean
    over characters: from zero, all features lie on one side, and drawn signs differ from printed
    ones more than from each other.

    Raises:
        RunError: if `path` exists, or onnxruntime's features differ from torch's.
    """
    bundles.check_new(path)
    recipe, preprocess = build(Recipe, read_json(run.path / RECIPE)), run.preprocess
    if recipe.fill != ink.FILL:
        preprocess = preprocess.model_copy(update={"margins": recipe.fill})
    fonts = load_fonts(recipe, progress)
    train, val = split_faces(fonts, recipe)
    model = device.to(run.model()).eval()
    backbone = Backbone(model)

    @torch.inference_mode()
    def compute(images: ImageSet) -> Iterator[tuple[slice, Floats]]:
        for start in range(0, len(images), BATCH):
            rows = slice(start, start + BATCH)
            batch = device.to_batch(normalise_batch(to_unit(images.take(rows)), preprocess))
            with device.autocast():
                outputs = backbone(batch)
            yield rows, outputs.float().cpu().numpy()

    def means(images: ImageSet) -> Floats:
        """Return the direction of each character's weighted mean (K, D); zeros without a face."""
        weights = fonts.weights(images, recipe)
        sums = np.zeros((len(images.classes), len(centre)))
        for rows, batch in compute(images):
            np.add.at(sums, images.labels[rows], unit(batch - centre) * weights[rows, None])
        return unit(sums)

    order = np.argsort(train.labels, kind="stable")
    rank = np.arange(len(order)) - np.searchsorted(train.labels[order], train.labels[order])
    some = train.subset(np.sort(order[rank < CENTRE_FACES]))
    outputs = np.concatenate([batch for _, batch in compute(some)])
    by_class = coo_array((1 / some.counts[some.labels], (some.labels, np.arange(len(some)))))
    has = np.flatnonzero(train.counts)
    centre = (by_class @ outputs)[has].mean(axis=0).astype(np.float32)
    length = float(np.linalg.norm(outputs, axis=1).mean())
    number = {name: label for label, name in enumerate(run.classes)}
    own = [
        number[run.config.rename.get(train.classes[label], train.classes[label])] for label in has
    ]
    weight: Tensor = model.get_submodule("head").get_parameter("weight")
    directions = unit(weight.detach().float().cpu().numpy()[own])
    prototypes = means(train)
    prototypes[has] = unit(prototypes[has] + unit(length * directions - centre))
    rare = np.flatnonzero(train.counts == 0)  # only held-out faces draw them
    if len(rare):
        prototypes[rare] = means(val.subset(np.flatnonzero(np.isin(val.labels, rare))))[rare]
    raw = halve(to_onnx(backbone.cpu(), preprocess, NETWORK.stem, "features"))
    network = Network(raw, preprocess)
    references = val.take(np.linspace(0, len(val) - 1, sum(COMPARED)).astype(int))
    with torch.inference_mode():
        expected = backbone(normalise_batch(to_unit(references), preprocess)).numpy()
    batches = np.split(references, np.cumsum(COMPARED)[:-1])
    error = relative_error(np.concatenate([network(batch) for batch in batches]), expected)
    if not error <= TOLERANCE:
        raise RunError(
            f"Cannot export: onnxruntime's features differ from torch's by {error:.2g}, more than "
            f"{TOLERANCE} of the largest."
        )
    rows = np.flatnonzero(prototypes.any(axis=1))
    # To int8; the error is at most 1 / 254 of the largest number of a row.
    largest = np.abs(prototypes[rows]).max(axis=1)
    vectors = np.rint(prototypes[rows] * (127 / largest)[:, None]).astype(np.int8)
    scale = (SCALE * largest / 127).astype(np.float32)
    head = Head(vectors, scale, np.zeros(len(rows), np.float32), centre)

    def logits(images: Glyphs) -> Floats:
        return head.logits(head.features(network(images)))

    tested = val.subset(np.flatnonzero(train.counts[val.labels] > 0))
    command = str(run.env.get("command", "")).replace("siglum", "python -m tools.backbone", 1)
    alike = " ".join(sorted(set(run.config.rename.values())))
    bundle = Bundle(
        model=raw,
        preprocess=preprocess,
        classes=tuple(train.classes[label] for label in rows),
        calibration=CALIBRATION,
        card=Card(
            kind="backbone",
            title=f"features of {NETWORK.stem}, and {len(rows):,} characters",
            command=command,
            network=NETWORK.stem,
            parameters=models.count_parameters(model)
            - models.count_parameters(model.get_submodule("head")),
            data=_describe(train, val, fonts, recipe.strokes),
            settings={**recipe.model_dump(), "alike": alike},
            measured=_measure(logits, rows, tested, fonts, run.config.rename),
            reference=HELD_OUT,
            difference=error,
            versions={**run.env["versions"], **{name: version(name) for name in EXPORTERS}},
            licence=licence,
        ),
        reference=ReferenceOutputs(references[:REFERENCES], logits(references[:REFERENCES])),
        head=head,
    )
    open_bundle(bundle, path.name)
    bundles.save(bundle, path)
    return bundle


def halve(raw: bytes) -> bytes:
    """Store the weights of an ONNX network in 16 bits, and cast them to 32 where it begins."""
    proto = onnx.load_from_string(raw)
    casts = []
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
            name = f"{tensor.name}.half"
            casts.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, name))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return bytes(proto.SerializeToString(deterministic=True))


def _measure(
    logits: Callable[[Glyphs], Floats],
    rows: Ints,
    val: ImageSet,
    fonts: Fonts,
    merged: Mapping[str, str],
) -> dict[str, Rate]:
    """Return the accuracy on held-out faces, with bootstrap intervals over faces."""
    batches = [val.take(slice(i, i + BATCH)) for i in range(0, len(val), BATCH)]
    predicted = np.concatenate([rows[logits(batch).argmax(axis=1)] for batch in batches])
    names = np.array([merged.get(name, name) for name in val.classes])
    kinds = np.array([fonts.origins[face].kind for face in val.writers or ()])
    face = np.unique(np.array(val.writers), return_inverse=True)[1]
    alike, everything = names[predicted] == names[val.labels], np.ones(len(val), dtype=bool)
    parts = {HELD_OUT: (predicted == val.labels, everything)}
    parts["confusables as one"] = alike, everything
    parts |= {f"{kind}, confusables as one": (alike, kinds == kind) for kind in sorted({*kinds})}
    measured = {}
    for name, (hits, part) in parts.items():
        total = np.bincount(face[part])
        right, total = np.bincount(face[part], hits[part])[total > 0], total[total > 0]
        resampled = RandomState(0).randint(0, len(total), (2000, len(total)))
        rates = right[resampled].sum(axis=1) / total[resampled].sum(axis=1)
        low, high = np.quantile(rates, [0.025, 0.975]).tolist()
        measured[name] = Rate(int(right.sum()), int(total.sum()), low, high)
    return measured


def _describe(
    train: ImageSet, val: ImageSet, fonts: Fonts, strokes: Container[str]
) -> dict[str, Any]:
    """Return the images, the faces of each kind, and the fonts and strokes by licence."""
    faces = {"train": {*(train.writers or ())}, "val": {*(val.writers or ())}}
    packages: defaultdict[str, set[str]] = defaultdict(set)
    for face in faces["train"]:
        one = fonts.origins[face]
        packages[one.licence or "unknown"].add(f"{one.package or face} {one.version}".strip())
    for one in read_packages():
        if one.kind == "stroke" and one.package in strokes:
            packages[one.licence].add(f"{one.package} {one.version}")
    return {
        "source": train.source,
        "characters": len(train.classes),
        "counts": {"train": len(train), "val": len(val)},
        "faces": {
            part: Counter(fonts.origins[f].kind for f in names) for part, names in faces.items()
        },
        "fonts": {name: ", ".join(sorted(packages[name])) for name in sorted(packages)},
    }
