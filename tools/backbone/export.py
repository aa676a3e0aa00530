"""Export pretrainings as a backbone: their networks, and a prototype of every character.

Shapes: N images, K characters, D features, S the side of the square.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from siglum.config import build
from siglum.errors import RunError
from siglum.files import read_json
from siglum.images.cache import Progress, no_progress
from siglum.images.imageset import ImageSet
from siglum.lab import models
from siglum.lab.compare import writer_interval
from siglum.lab.device import Device
from siglum.lab.export import BATCHES, EXPORTERS, compare_onnx, to_onnx
from siglum.lab.run_folder import Run
from siglum.lab.training_loop import normalise_batch, to_unit
from siglum.recogniser import bundle as bundles
from siglum.recogniser.bundle import Bundle, Card, ReferenceOutputs
from siglum.recogniser.calibration import COVERAGE, DEFAULT_REJECTION, Calibration, Threshold
from siglum.recogniser.fit import SCALE
from siglum.recogniser.head import Head, to_int8, unit
from siglum.recogniser.onnx import Network
from siglum.recogniser.predict import open_bundle
from siglum.stats import Rate, wilson
from tools.backbone import drawings
from tools.backbone.data import Floats, Fonts, Glyphs, Ints, Recipe, load_fonts, split_faces
from tools.backbone.pretrain import HELD_OUT, NETWORK, RECIPE
from tools.backbone.provenance import read_packages

BATCH = 64  # images, so that their maps stay in the cache
CENTRE_FACES = 4  # of each character, for the mean of the features
REFERENCES = 2  # images in the bundle
# Runs side by side must agree on the frame, the held-out faces and people's drawings.
SHARED = ("fonts", "characters", "size", "fill", "val", "seed", "omniglot", "mnist")
TOLERANCE = 0.03  # of the largest feature, by which 8-bit weights may change features
# Fonts say nothing about handwriting, so these defaults were chosen on drawings of other people.
CALIBRATION = Calibration(
    temperature=1.1,
    sets=Threshold(coverage=COVERAGE, values=(COVERAGE,)),
    rejection=DEFAULT_REJECTION,
)


class SideBySide(nn.Module):
    """The features of several networks, each scaled to length 1, one after another."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) to features (B, D)."""
        return torch.cat([F.normalize(one(images), dim=1) for one in self.networks], dim=1)


def export(
    runs: Sequence[Run],
    path: Path,
    device: Device,
    licence: str = "",
    length: int = 0,
    progress: Progress = no_progress,
) -> Bundle:
    """Write pretrainings as a backbone; the features of several stand side by side.

    Args:
        length: of the features; 0 for those of the networks, without a projection.

    Raises:
        ConfigError: if `path` exists.
        RunError: if the runs have other fonts, held-out faces or frames, or onnxruntime's features
            differ from torch's.
    """
    bundles.check_new(path)
    recipes = [build(Recipe, read_json(run.path / RECIPE)) for run in runs]
    run, recipe = runs[-1], recipes[-1]
    if any(getattr(one, name) != getattr(recipe, name) for one in recipes for name in SHARED):
        raise RunError(f"Cannot export {run.path} with other runs: {', '.join(SHARED)} differ.")
    preprocess = run.preprocess.model_copy(update={"margins": recipe.preprocess.margins})
    fonts = load_fonts(recipe, progress)
    train, val = split_faces(fonts, recipe)
    networks = [one.model().eval() for one in runs]
    directions = unit(
        np.hstack([_directions(*pair, train) for pair in zip(runs, networks, strict=True)])
    )
    for network in networks:
        network.head = nn.Identity()  # so that it returns features
    model = SideBySide(networks) if len(runs) > 1 else networks[0]
    raw = quantise(to_onnx(model, preprocess, NETWORK.stem, "features"))
    onnx_network = Network(raw, preprocess)
    references = val.take(np.linspace(0, len(val) - 1, sum(BATCHES)).astype(int))
    _, error = compare_onnx(model, raw, preprocess, references)
    if not error <= TOLERANCE:
        raise RunError(
            f"Cannot export: onnxruntime's features differ from torch's by {error:.2g}, more than "
            f"{TOLERANCE} of the largest."
        )
    model = device.to(model)

    @torch.inference_mode()
    def compute(images: ImageSet) -> Iterator[tuple[slice, Floats]]:
        for start in range(0, len(images), BATCH):
            rows = slice(start, start + BATCH)
            batch = device.to_batch(normalise_batch(to_unit(images.take(rows)), preprocess))
            with device.autocast():
                outputs = model(batch)
            yield rows, outputs.float().cpu().numpy()

    rows, head = _build_head(fonts, train, val, recipe, directions, compute)
    if length:
        raw, head = project(raw, head, length)
        onnx_network = Network(raw, preprocess)

    def logits(images: Glyphs) -> Floats:
        return head.logits(head.features(onnx_network(images)))

    tested = val.subset(np.flatnonzero(train.counts[val.labels] > 0))
    bundle = Bundle(
        model=raw,
        preprocess=preprocess,
        classes=tuple(train.classes[label] for label in rows),
        calibration=CALIBRATION,
        card=Card(
            kind="backbone",
            title=f"features of {NETWORK.stem}, and {len(rows):,} characters",
            command="\n".join(dict.fromkeys(line for one in runs for line in _commands(one))),
            network=NETWORK.stem,
            parameters=models.count_parameters(model),
            data=_describe(train, val, fonts, recipe),
            settings={
                **recipe.model_dump(),
                "fonts": Path(recipe.fonts).name,
                "init": Path(recipe.init).name,
                "alike": " ".join(sorted(set(run.config.rename.values()))),
            },
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


def _commands(run: Run) -> list[str]:
    """Return the commands that trained a run and the runs it began with, without folders."""
    init = Path(run.config.init)
    before = _commands(Run(init)) if (init / RECIPE).exists() else []
    command = str(run.env["command"])
    words = command.replace("siglum", "python -m tools.backbone", 1).split()
    return [*before, " ".join(Path(word).name if "/" in word else word for word in words)]


def _directions(run: Run, network: nn.Module, images: ImageSet) -> Floats:
    """Return the direction that a training's head has for the class of each character (K, D)."""
    weight: Tensor = network.get_submodule("head").get_parameter("weight")
    number = {name: label for label, name in enumerate(run.classes)}
    own = [number[run.config.rename.get(name, name)] for name in images.classes]
    return unit(weight.detach().float().numpy())[own]


def _build_head(
    fonts: Fonts,
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    directions: Floats,
    compute: Callable[[ImageSet], Iterator[tuple[slice, Floats]]],
) -> tuple[Ints, Head]:
    """Return the characters that have a prototype, and the prototypes.

    A prototype is half-way between the mean of the character's faces, each weighted by its kind,
    and the vector that the training's own head has for its class. All are counted from the mean
    over characters: from zero, all features lie on one side, and drawn signs differ from printed
    ones more than from each other.

    Args:
        directions: of the training's head for each character (K, D).
        compute: yields the rows of a batch and its features.
    """
    order = np.argsort(train.labels, kind="stable")
    rank = np.arange(len(order)) - np.searchsorted(train.labels[order], train.labels[order])
    some = train.subset(np.sort(order[rank < CENTRE_FACES]))
    outputs = np.concatenate([batch for _, batch in compute(some)])
    sums = np.zeros(directions.shape)
    np.add.at(sums, some.labels, outputs)
    has = train.counts > 0
    centre = (sums[has] / some.counts[has, None]).mean(axis=0).astype(np.float32)
    length = float(np.linalg.norm(outputs, axis=1).mean())

    def means(images: ImageSet) -> Floats:
        """Return the direction of each character's weighted mean (K, D); zeros without a face."""
        weights, sums = fonts.weights(images, recipe), np.zeros(directions.shape)
        for rows, batch in compute(images):
            np.add.at(sums, images.labels[rows], unit(batch - centre) * weights[rows, None])
        return unit(sums)

    # A character that only held-out faces have gets their mean.
    prototypes = unit(means(train) + unit(length * directions - centre))
    rare = val.subset(np.flatnonzero(~has[val.labels]))
    prototypes[~has] = means(rare)[~has]
    rows = np.flatnonzero(prototypes.any(axis=1))
    vectors, scale = to_int8(prototypes[rows])
    return rows, Head(vectors, SCALE * scale, np.zeros(len(rows), np.float32), centre)


def quantise(raw: bytes) -> bytes:
    """Store the weights of an ONNX network in 8 bits with a scale for each output channel.

    The network multiplies them where it begins; onnxruntime does so once, when it opens it.
    """
    proto = onnx.load_from_string(raw)
    before = []
    for tensor in list(proto.graph.initializer):
        name, weights = tensor.name, numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or weights.ndim < 2:
            continue
        numbers, scale = to_int8(weights.reshape(len(weights), -1))
        scale = scale.reshape(-1, *[1] * (weights.ndim - 1))
        make, kind = helper.make_node, TensorProto.FLOAT
        before.append(make("Cast", [f"{name}.int8"], [f"{name}.float"], to=kind))
        before.append(make("Mul", [f"{name}.float", f"{name}.scale"], [name]))
        parts: dict[str, NDArray[Any]] = {"int8": numbers.reshape(weights.shape), "scale": scale}
        proto.graph.initializer.remove(tensor)
        proto.graph.initializer.extend(
            numpy_helper.from_array(array, f"{name}.{part}") for part, array in parts.items()
        )
    for place, node in enumerate(before):
        proto.graph.node.insert(place, node)
    return bytes(proto.SerializeToString(deterministic=True))


def project(raw: bytes, head: Head, length: int) -> tuple[bytes, Head]:
    """Project the features on the directions in which the prototypes differ most.

    Source: Jolliffe 2002, "Principal component analysis", second edition, chapter 2; here without
    subtracting the mean, since the head compares directions.
    """
    vectors = head.unit_vectors
    directions = np.linalg.svd(vectors, full_matrices=False)[2][:length].T  # (D, length)
    proto = onnx.load_from_string(raw)
    (output,) = proto.graph.output
    (last,) = (node for node in proto.graph.node if output.name in node.output)
    last.output[0] = "unprojected"
    parts = {"directions": directions, "centre": -(head.centre @ directions)}
    for name, array in parts.items():
        proto.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    proto.graph.node.append(helper.make_node("Gemm", ["unprojected", *parts], [output.name]))
    output.type.tensor_type.shape.dim[1].dim_value = length
    rows, scale = to_int8(unit(vectors @ directions))
    projected = Head(rows, SCALE * scale, head.bias, np.zeros(length, np.float32))
    return bytes(proto.SerializeToString(deterministic=True)), projected


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
    faces = np.array(val.writers)
    kinds = np.array([fonts.origins[face].kind for face in faces])
    alike = names[predicted] == names[val.labels]

    def rate(hits: NDArray[np.bool_], faces: NDArray[np.str_]) -> Rate:
        simple = wilson(int(hits.sum()), len(hits))
        if len({*faces}) < 2:
            return simple
        low, high = writer_interval(hits, faces)
        return replace(simple, low=low, high=high)

    measured = {HELD_OUT: rate(predicted == val.labels, faces)}
    measured["confusables as one"] = rate(alike, faces)
    for kind in sorted({*kinds}):
        part = kinds == kind
        measured[f"{kind}, confusables as one"] = rate(alike[part], faces[part])
    return measured


def _describe(train: ImageSet, val: ImageSet, fonts: Fonts, recipe: Recipe) -> dict[str, Any]:
    """Return the images, faces, fonts and strokes by licence, and drawings that it learned from."""
    faces = {"train": {*(train.writers or ())}, "val": {*(val.writers or ())}}
    files = {face.name: Path(face.parts[0].path).relative_to(recipe.fonts) for face in fonts.faces}
    trained = {files[name].parts[:3] for name in faces["train"]}  # kind, package, family or file
    packages: defaultdict[str, set[str]] = defaultdict(set)
    for face in faces["train"]:
        one = fonts.origins[face]
        packages[one.licence or "unknown"].add(f"{one.package or face} {one.version}".strip())
    for one in read_packages():
        if one.kind == "stroke" and one.package in recipe.strokes:
            packages[one.licence].add(f"{one.package} {one.version}")
    return {
        "source": train.source.replace(recipe.fonts, Path(recipe.fonts).name),
        "characters": len(train.classes),
        "counts": {"train": len(train), "val": len(val)},
        "faces": {
            part: Counter(fonts.origins[f].kind for f in names) for part, names in faces.items()
        },
        "fonts": {name: ", ".join(sorted(packages[name])) for name in sorted(packages)},
        "held out": sorted(
            str(files[name]) for name in faces["val"] if files[name].parts[:3] not in trained
        ),
        "drawings": drawings.describe(recipe.omniglot, recipe.mnist),
    }
