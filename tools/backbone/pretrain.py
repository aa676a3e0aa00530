"""Train a network on the characters of fonts, and export it as a backbone.

Whole faces are held out, confusable characters are one class, and every epoch draws images by
class balance. Synthetic signs are trained on, too.
Shapes: N images, K characters, D features, S the side of the square.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from siglum.config import Preprocess, TrainConfig
from siglum.errors import DataError, RunError
from siglum.files import cache_dir, read_json, write_atomic
from siglum.images import cache, charsets, splits
from siglum.images.cache import Progress, no_progress
from siglum.images.imageset import ImageSet
from siglum.lab import models, trainer
from siglum.lab.device import Device
from siglum.lab.export import check_place, to_onnx, versions
from siglum.lab.runs import Run
from siglum.lab.trainer import Data
from siglum.lab.training import derive_seed, normalise_batch, to_unit
from siglum.recogniser import bundle as bundles
from siglum.recogniser.bundle import Bundle, Card, ReferenceOutputs
from siglum.recogniser.calibration import (
    COVERAGE,
    FALSE_REJECTION_RATE,
    Calibration,
    Threshold,
)
from siglum.recogniser.fit import SCALE
from siglum.recogniser.onnx import Network
from siglum.recogniser.predict import open_bundle
from siglum.recogniser.prototypes import Head, unit
from siglum.stats import Rate
from tools.backbone.confusables import confusable_groups, confusable_pairs
from tools.backbone.fonts import Face, Part, find_fonts, read_faces
from tools.backbone.glyphs import draw_face, only, trustworthy
from tools.backbone.provenance import Origin, origins
from tools.backbone.synthetic import load_synthetic

VERSION = 2  # of everything that decides which glyphs are drawn, and how
RECIPE = "backbone.json"  # in the run's folder
JUDGES = ("digits", "latin", "greek", "cyrillic", "punctuation")  # always compared with
BATCH = 512  # images
CENTRE_FACES = 4  # of each character, for the mean of the features
REFERENCES, COMPARED = 2, (1, 7)  # images in the bundle; images at once that are compared
MAX_DISTANCE = 1e-3  # of onnxruntime's features from torch's, 1 - cosine
HELD_OUT = "held-out faces"
# Fonts say nothing about handwriting, so these defaults were chosen on drawings of other people.
CALIBRATION = Calibration(
    temperature=1.1,
    sets=Threshold(coverage=COVERAGE, values=(COVERAGE,)),
    rejection=Threshold(coverage=FALSE_REJECTION_RATE, values=(SCALE * -0.06 / 1.1,)),
)

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome; the defaults made the shipped backbone."""

    fonts: str  # the folder, with a folder inside for each kind of faces
    characters: str = ""  # as `charsets.resolve` reads them; all groups by default
    epochs: int = 72
    epoch_size: int = 100_000  # images drawn
    balance: float = 0.5  # 0: classes come as often as they are; 1: all equally often
    kind_weights: Mapping[str, float] = field(default_factory=lambda: {"hand": 3.0})
    signs: int = 4000  # synthetic ones
    hands: int = 30  # that draw each
    val: float = 0.03  # share of the images, by whole faces
    val_max: int = 2000
    size: int = 40
    batch_size: int = 256
    lr: float = 0.2
    seed: int = 0
    model_options: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Fonts:
    """The glyphs of all faces: the class is the character, the writer the face."""

    images: ImageSet
    origins: Mapping[str, Origin]  # by face


def load_fonts(recipe: Recipe, progress: Progress = no_progress) -> Fonts:
    """Draw the recipe's characters with every font below its folder.

    Raises:
        DataError: if no font has one of them.
    """
    folder = Path(recipe.fonts)
    wanted = charsets.resolve(recipe.characters or ",".join(charsets.groups()))
    paths = find_fonts([folder])
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]

    def scan() -> list[dict[str, Any]]:
        judges = [character for name in JUDGES for character in charsets.groups()[name]]
        faces, unreadable = read_faces(paths, {*wanted, *judges}, progress)
        for path, reason in unreadable:
            progress(f"left out {path}: {reason}", 0, 0)
        trusted = [only(face, {*wanted}) for face in trustworthy(faces, progress)]
        return [asdict(face) for face in trusted if face.parts]

    signature = f"fonts {VERSION} {stats} {sorted(wanted)}"
    faces = [_face(values) for values in _load_cached(signature, scan)]
    classes = tuple(sorted({character for face in faces for character in face.characters}))
    if not classes:
        raise DataError(f"{folder} has no font with one of {len(wanted)} characters.")
    count = sum(len(face.characters) for face in faces)

    glyphs = (glyph for face in faces for glyph in draw_face(face, recipe.size))

    def draw(row: int) -> NDArray[np.uint8]:
        if isinstance(glyph := next(glyphs), DataError):
            raise glyph
        return glyph[None]

    pack = cache.memmap(
        signature, count, draw, Preprocess(size=recipe.size, polarity="keep"), "fonts", progress
    )
    label = {character: number for number, character in enumerate(classes)}
    labels = np.array([label[c] for face in faces for c in face.characters], dtype=np.int64)
    writers = [face.name for face in faces for _ in face.characters]
    rows = pack.readable
    images = ImageSet(
        store=pack.store,
        rows=rows,
        labels=labels[rows],
        classes=classes,
        source=f"fonts in {folder}",
        writers=tuple(writers[row] for row in rows.tolist()),
        originals=pack.originals,
    )
    return Fonts(images, origins(folder, faces))


def _load_cached(signature: str, compute: Callable[[], Any]) -> Any:
    """Return what `compute` returned when it was first called for `signature`; JSON only."""
    name = hashlib.blake2b(signature.encode(), digest_size=16).hexdigest()
    path = cache_dir() / "notes" / f"{name}.json"
    with suppress(DataError):  # not computed yet, or damaged
        return read_json(path)
    value = compute()
    write_atomic(path, json.dumps(value))
    return value


def _face(values: dict[str, Any]) -> Face:
    parts = [Part(**{**part, "axes": tuple(part["axes"])}) for part in values["parts"]]
    return Face(**{**values, "parts": tuple(parts)})


def split_faces(fonts: Fonts, recipe: Recipe) -> tuple[ImageSet, ImageSet]:
    """Return the training images and those of held-out faces."""
    assert fonts.images.writers is not None
    train, val = splits.by_writer(fonts.images.writers, recipe.val, recipe.seed)
    return fonts.images.subset(train), fonts.images.subset(val)


def load_data(
    recipe: Recipe, progress: Progress = no_progress
) -> tuple[Data, Callable[[int], Ints], dict[str, str]]:
    """Return the data of a pretraining, its sampler, and the class of each merged character."""
    fonts = load_fonts(recipe, progress)
    progress("finding confusables", 0, 0)
    groups = confusable_groups(confusable_pairs(fonts.images))
    merged = {character: "".join(group) for group in groups for character in group}
    train, val = (part.rename(merged) for part in split_faces(fonts, recipe))
    some = np.random.RandomState(recipe.seed).permutation(len(val))[: recipe.val_max]
    val = val.subset(np.sort(some))
    factors = [recipe.kind_weights.get(fonts.origins[w].kind, 1.0) for w in train.writers or ()]
    if recipe.signs:
        signs = load_synthetic(recipe.signs, recipe.hands, recipe.size, progress)
        factors += [1.0] * len(signs)
        train = join(train, signs)
    weights = sample_weights(train.labels, np.array(factors), recipe.balance)
    sampler = partial(draw_epoch, train.labels, weights, recipe.epoch_size, recipe.seed)
    return Data(train, val.with_classes(train.classes), None), sampler, merged


def join(first: ImageSet, second: ImageSet) -> ImageSet:
    """Join two sets of different classes in memory: 1.5 GB for the shipped backbone."""
    return ImageSet(
        store=np.concatenate([first.store, second.store]),
        rows=np.concatenate([first.rows, len(first.store) + second.rows]),
        labels=np.concatenate([first.labels, len(first.classes) + second.labels]),
        classes=(*first.classes, *second.classes),
        source=f"{first.source} and {second.source}",
    )


def sample_weights(labels: Ints, factors: NDArray[np.float64], balance: float) -> Floats:
    """Return the probability (N,) of each image to be drawn next.

    A class comes in proportion to its number of images to the power of `1 - balance`; within it,
    an image in proportion to its factor (N,).
    """
    share = np.bincount(labels).astype(float)[labels] ** (1 - balance)
    weights = share * factors / np.bincount(labels, weights=factors)[labels]
    normalised: Floats = weights / weights.sum()
    return normalised


def draw_epoch(labels: Ints, weights: Floats, size: int, seed: int, epoch: int) -> Ints:
    """Draw the rows (size,) of an epoch; what is expected n times comes n times, rounded.

    Source: Madow 1949, "On the theory of systematic sampling, II", Annals of Mathematical
    Statistics 20; here class by class, in a random order within each.
    """
    random = np.random.RandomState(derive_seed(seed, "order", epoch))
    mixed = random.permutation(len(labels))
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    ends = np.cumsum(weights[by_class], dtype=np.float64) * size
    rows = np.searchsorted(ends, np.arange(size) + random.random_sample(), side="right")
    order: Ints = random.permutation(by_class[np.minimum(rows, len(labels) - 1)])
    return order


def pretrain(recipe: Recipe, path: Path, device: Device, progress: Progress = no_progress) -> Run:
    """Train at `path`, a new folder, or continue an unfinished pretraining there."""
    if (path / RECIPE).exists() and Recipe(**read_json(path / RECIPE)) != recipe:
        raise RunError(f"{path} has another recipe. Choose another name with -o.")
    data, sampler, merged = load_data(recipe, progress)
    if (path / RECIPE).exists():
        return trainer.resume(Run(path), device, _report, progress, data, sampler)
    config = TrainConfig(
        data=data.train.source,
        model="sign_net",
        model_options=dict(recipe.model_options),
        rename=merged,
        size=recipe.size,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        lr=recipe.lr,
        seed=recipe.seed,
    )

    def watch(record: object) -> None:
        if not (path / RECIPE).exists():
            write_atomic(path / RECIPE, json.dumps(asdict(recipe), ensure_ascii=False, indent=1))
        _report(record)

    return trainer.train(config, path, device, watch, progress, data, sampler)


def _report(record: object) -> None:
    if isinstance(record, trainer.Epoch):
        held_out = "" if record.val_accuracy is None else f", {HELD_OUT} {record.val_accuracy:.3f}"
        print(f"epoch {record.index}: loss {record.train_loss:.3f}{held_out}", flush=True)


class Features(nn.Module):
    """A network without its head; its features are counted from a centre (D,)."""

    centre: Tensor

    def __init__(self, model: nn.Module, centre: Floats) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("centre", torch.from_numpy(centre))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, S, S) to features (B, D)."""
        features: Tensor = self.model.forward_features(images)  # type: ignore[operator]
        return features - self.centre.to(features.device)

    @torch.inference_mode()
    def run(self, images: ImageSet, preprocess: Preprocess, device: Device) -> Iterator[Floats]:
        """Yield features of `BATCH` images at a time."""
        for start in range(0, len(images), BATCH):
            batch = to_unit(images.take(slice(start, start + BATCH)))
            with device.autocast():
                features = self(device.to_batch(normalise_batch(batch, preprocess)))
            yield features.float().cpu().numpy()


def export(
    run: Run, path: Path, device: Device, licence: str = "", progress: Progress = no_progress
) -> Bundle:
    """Write a pretraining as a backbone: the network, and a prototype of every character.

    A prototype is half-way between the mean of the character's faces, each weighted by its kind,
    and the vector that the training's own head has for its class.

    Raises:
        RunError: if `path` exists, or onnxruntime's features differ from torch's.
    """
    check_place(path)
    recipe, preprocess = Recipe(**read_json(run.path / RECIPE)), run.preprocess
    fonts = load_fonts(recipe, progress)
    train, val = split_faces(fonts, recipe)
    model = device.to(run.model()).eval()
    length, features = _centre(model, train, preprocess, device)
    prototypes = unit(
        _means(features, train, fonts, recipe, preprocess, device)
        + _head_vectors(features, length, run, train)
    )
    rare = np.flatnonzero(train.counts == 0)  # only held-out faces draw them
    if len(rare) and len(val):
        some = val.subset(np.flatnonzero(np.isin(val.labels, rare)))
        prototypes[rare] = _means(features, some, fonts, recipe, preprocess, device)[rare]
    rows = np.flatnonzero(prototypes.any(axis=1))
    raw = halve(to_onnx(features.cpu(), preprocess, run.config.model, "features"))
    network = Network(raw, preprocess)
    spread = np.linspace(0, len(val) - 1, sum(COMPARED)).astype(int)
    references = val.take(spread)
    distance = _distance(network, features.cpu(), references, preprocess)
    vectors, scale = quantize(prototypes[rows], SCALE)
    zeros = np.zeros(len(rows), np.float32), np.zeros(prototypes.shape[1], np.float32)
    head = Head(vectors, scale, *zeros)

    def logits(images: NDArray[np.uint8]) -> Floats:
        return head.logits(head.features(network(images)))

    known = val.subset(np.flatnonzero(train.counts[val.labels] > 0))
    bundle = Bundle(
        model=raw,
        preprocess=preprocess,
        classes=tuple(train.classes[label] for label in rows),
        calibration=CALIBRATION,
        card=Card(
            kind="backbone",
            title=f"features of {run.config.model}, and {len(rows):,} characters",
            command=str(run.env.get("command", "")).replace(
                "siglum", "python -m tools.backbone", 1
            ),
            network=run.config.model,
            parameters=models.count_parameters(model) - models.count_parameters(model.head),
            data=_describe(train, val, fonts),
            settings={
                **asdict(recipe),
                "alike": " ".join(sorted(set(run.config.rename.values()))),
            },
            measured=_measure(logits, rows, known, fonts, run.config.rename),
            reference=HELD_OUT,
            difference=distance,
            versions=versions(run),
            licence=licence,
        ),
        reference=ReferenceOutputs(references[:REFERENCES], logits(references[:REFERENCES])),
        head=head,
    )
    open_bundle(bundle, path.name)
    bundles.save(bundle, path)
    return bundle


def _centre(
    model: nn.Module, images: ImageSet, preprocess: Preprocess, device: Device
) -> tuple[float, Features]:
    """Count features from the mean over characters; return their mean length, too.

    Else all lie on one side, and drawn signs differ from printed ones more than from each other.
    """
    plain = Features(model, np.zeros(int(model.num_features), np.float32))  # type: ignore[arg-type]
    by_label = np.argsort(images.labels, kind="stable")
    position = np.arange(len(by_label)) - np.repeat(
        np.cumsum(images.counts) - images.counts, images.counts
    )
    some = images.subset(np.sort(by_label[position < CENTRE_FACES]))
    sums, length = np.zeros((len(images.classes), len(plain.centre))), 0.0
    for start, features in enumerate(plain.run(some, preprocess, device)):
        labels = some.labels[start * BATCH : (start + 1) * BATCH]
        np.add.at(sums, labels, features)
        length += float(np.linalg.norm(features, axis=1).sum())
    counts = some.counts[some.counts > 0]
    centre = (sums[some.counts > 0] / counts[:, None]).mean(axis=0)
    return length / len(some), Features(model, centre.astype(np.float32))


def _means(
    features: Features,
    images: ImageSet,
    fonts: Fonts,
    recipe: Recipe,
    preprocess: Preprocess,
    device: Device,
) -> Floats:
    """Return the direction of each character's weighted mean (K, D); zeros without any face."""
    kinds = [fonts.origins[writer].kind for writer in images.writers or ()]
    weights = np.array([recipe.kind_weights.get(kind, 1.0) for kind in kinds])
    sums = np.zeros((len(images.classes), len(features.centre)))
    for number, batch in enumerate(features.run(images, preprocess, device)):
        part = slice(number * BATCH, number * BATCH + len(batch))
        np.add.at(sums, images.labels[part], unit(batch) * weights[part, None])
    return unit(sums)


def _head_vectors(features: Features, length: float, run: Run, train: ImageSet) -> Floats:
    """Return the training's own vector for the class of each character (K, D)."""
    number = {name: label for label, name in enumerate(run.classes)}
    labels = [number[run.config.rename.get(name, name)] for name in train.classes]
    weight: Tensor = features.model.head.weight  # type: ignore[union-attr,assignment]
    directions = unit(weight.detach().float().cpu().numpy()[labels])
    vectors = unit(length * directions - features.centre.cpu().numpy())
    vectors[train.counts == 0] = 0
    return vectors


def quantize(vectors: Floats, scale: float = 1.0) -> tuple[NDArray[np.int8], Floats]:
    """Quantize rows (K, D) to int8, and return the scale (K,) that restores `scale * vectors`.

    The error is at most 1 / 254 of the largest number of the row.
    """
    largest = np.maximum(np.abs(vectors).max(axis=1), np.finfo(np.float32).tiny)
    rows = np.rint(vectors * (127 / largest)[:, None]).astype(np.int8)
    return rows, (scale * largest / 127).astype(np.float32)


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


@torch.inference_mode()
def _distance(
    network: Network, features: Features, images: NDArray[np.uint8], preprocess: Preprocess
) -> float:
    """Return the largest distance of onnxruntime's features from torch's."""
    batches = np.split(images, np.cumsum(COMPARED)[:-1])
    ours = unit(np.concatenate([network(batch) for batch in batches]))
    theirs = unit(features(normalise_batch(to_unit(images), preprocess)).numpy())
    distance = float((1 - (ours * theirs).sum(axis=1)).max())
    if not distance <= MAX_DISTANCE:
        raise RunError(
            f"Cannot export: onnxruntime's features differ from torch's by {distance:.2g}, more "
            f"than {MAX_DISTANCE}."
        )
    return max(distance, 0.0)


def _measure(
    logits: Callable[[NDArray[np.uint8]], Floats],
    rows: Ints,
    val: ImageSet,
    fonts: Fonts,
    merged: Mapping[str, str],
) -> dict[str, Rate]:
    """Return the accuracy on held-out faces, with intervals over faces."""
    if not len(val):
        return {}
    batches = [val.take(slice(i, i + BATCH)) for i in range(0, len(val), BATCH)]
    predicted = np.concatenate([rows[logits(batch).argmax(axis=1)] for batch in batches])
    names = np.array([merged.get(name, name) for name in val.classes])
    faces = np.array(val.writers)
    kinds = np.array([fonts.origins[face].kind for face in faces])
    alike = names[predicted] == names[val.labels]
    measured = {
        HELD_OUT: _rate(predicted == val.labels, faces),
        "confusables as one": _rate(alike, faces),
    }
    for kind in sorted(set(kinds)) if len(set(kinds)) > 1 else ():
        measured[f"{kind}, confusables as one"] = _rate(alike[kinds == kind], faces[kinds == kind])
    return measured


def _rate(hits: NDArray[np.bool_], faces: NDArray[np.str_]) -> Rate:
    """Return a rate with its bootstrap interval over faces."""
    number = np.unique(faces, return_inverse=True)[1]
    right, total = np.bincount(number, hits), np.bincount(number)
    drawn = np.random.RandomState(0).randint(0, len(total), (2000, len(total)))
    rates = right[drawn].sum(axis=1) / total[drawn].sum(axis=1)
    low, high = np.quantile(rates, [0.025, 0.975]).tolist()
    return Rate(int(hits.sum()), len(hits), low, high)


def _describe(train: ImageSet, val: ImageSet, fonts: Fonts) -> dict[str, Any]:
    """Return the images, the faces of each kind, and the fonts by licence."""
    faces = {
        name: dict(Counter(fonts.origins[face].kind or "faces" for face in set(part.writers or ())))
        for name, part in (("train", train), ("val", val))
    }
    packages: defaultdict[str, set[str]] = defaultdict(set)
    for face in set(train.writers or ()):
        origin = fonts.origins[face]
        packages[origin.licence or "unknown"].add(origin.package or face)
    return {
        "source": train.source,
        "characters": len(train.classes),
        "counts": {"train": len(train), "val": len(val)},
        "faces": faces,
        "fonts": {name: ", ".join(sorted(packages[name])) for name in sorted(packages)},
    }


def parse_weights(pairs: Sequence[str]) -> dict[str, float]:
    """Return the weights of pairs such as "hand=3"."""
    try:
        return {name: float(value) for name, value in (pair.split("=") for pair in pairs)}
    except ValueError:
        raise DataError(f"kind must be NAME=NUMBER, got {' '.join(pairs)!r}.") from None
