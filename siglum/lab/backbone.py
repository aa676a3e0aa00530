"""From a pretraining to a backbone: a bundle that ends in features, and a vector a character.

The vector of a character is where its faces lie in the mean, or what the training itself found for
it. The network's weights are kept in two bytes each, the vectors in one.
Shapes: N pictures, K characters, D features.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from siglum.errors import RunError
from siglum.images.origins import Origin, origins
from siglum.lab.by_writer import over_writers
from siglum.lab.device import Machine
from siglum.lab.export import Exported, check_place, to_onnx, versions
from siglum.lab.models import count_parameters
from siglum.lab.prints import BATCH, Features, Floats, Vectors, centred, kinds_of, vectors_of
from siglum.lab.recipes.train import Data, load_data
from siglum.lab.runs import Run
from siglum.lab.training import normalised, to_unit
from siglum.recogniser import bundle as bundles
from siglum.recogniser.bundle import Bundle, Calibration, Card, Golden, Promise, Share
from siglum.recogniser.class_vectors import unit
from siglum.recogniser.decide import COVERAGE, REFUSED
from siglum.recogniser.head import Head, logits_of, small
from siglum.recogniser.network import Network
from siglum.recogniser.predict import opened
from siglum.recogniser.teach import SCALE

HELD = "held-out faces"
GOLDEN = 2  # pictures kept
COMPARED = (1, 7)  # pictures at once whose features onnxruntime and torch must agree on
NEAR = 1e-3  # by so much the cosine between both may be below 1
# How sure an answer by print alone may be. Print says nothing of people's drawings, so these come
# from drawings, of one half of the writers (benchmarks/fewshot_tune.py): a guess for all others.
TEMPERATURE = 1.1
STRANGE = -0.06  # in cosines
GUESS = Calibration(
    temperature=TEMPERATURE,
    sets=Promise(share=COVERAGE, thresholds=(COVERAGE,)),
    none=Promise(share=REFUSED, thresholds=(SCALE * STRANGE / TEMPERATURE,)),
)

Counts = NDArray[np.int64]


def export(
    run: Run,
    path: Path,
    machine: Machine,
    vectors: Vectors = "both",
    prefer: Mapping[str, float] | None = None,
    weights: str | None = None,
    licence: str = "",
) -> Exported:
    """Write a pretraining as a bundle of features, and open it again as anybody would.

    Args:
        path: where no file is yet.
        vectors: "means" of the faces, "weights" of the training's own classes, or "both"; see
            `prints.vectors_of`. A character without a vector is left out.
        prefer: how often a face counts in a mean, by its kind; 1 for those that are not named.
        weights: "best" or "last"; by default what the run stands for.
        licence: under which the bundle may be used.

    Raises:
        ConfigError: if the run is of no fonts, or `prefer` names a kind that is not there.
        DataError, RunError: if `path` exists, the fonts have changed, or onnxruntime gives other
            features than torch.
    """
    check_place(path)
    known = origins(run.config.data)
    data = load(run)
    model, preprocess = run.model(weights), run.preprocess
    features = centred(machine.place(model), data.train, preprocess, machine)
    rows = vectors_of(features, run, data, known, machine, vectors, prefer or {})
    features = features.cpu()
    raw = halved(to_onnx(features, preprocess, run.config.model, "features"))
    network = Network(raw, preprocess, machine.threads)
    images, golden_are = _golden(data)
    difference = compare(network, features, images, run)
    kept = np.flatnonzero(rows.any(axis=1))
    head = _head(rows[kept])
    measured = _measured(network, head, kept, data, known, run)
    bundle = Bundle(
        model=raw,
        preprocess=preprocess,
        classes=tuple(data.train.classes[label] for label in kept),
        calibration=GUESS,
        card=Card(
            title=f"features of {run.config.model}, and {len(kept):,} characters",
            command=str(run.env.get("command", "")),
            network=run.config.model,
            parameters=count_parameters(model) - sum(p.numel() for p in _last(model).parameters()),
            data=_described(run, data, known),
            settings=_settings(run, known, vectors, prefer or {}, weights),
            measured=measured,
            golden=golden_are,
            difference=difference,
            versions=versions(run),
            licence=licence,
        ),
        golden=Golden(images[:GOLDEN], logits_of(network.run(images[:GOLDEN]), head)),
        head=head,
    )
    opened(bundle, path.name)
    bundles.save(bundle, path)
    return Exported(path, bundle, None)


def load(run: Run) -> Data:
    """Return the pictures of a pretraining by their characters, with all that were held out.

    What it was trained on beside its fonts is left out.

    Raises:
        RunError: if they are not those that it was trained on.
    """
    config = run.config
    config = config.model_copy(update={"rename": {}, "val_most": None, "prefer": {}})
    trained = load_data(config).train.rename(run.config.rename).with_classes(run.classes)
    if trained.fingerprint != run.env["data"]["train"]:
        beside = f" or {config.beside}" if config.beside else ""
        raise RunError(
            f"{run.path} must be exported with the pictures it was trained on; those of "
            f"{config.data}{beside} have changed. Train a new run."
        )
    return load_data(config.model_copy(update={"beside": ""}))


def halved(raw: bytes) -> bytes:
    """Keep the weights of an ONNX network in 16 bits, and cast them to 32 where it begins."""
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
def compare(network: Network, features: Features, images: NDArray[np.uint8], run: Run) -> float:
    """Return the largest distance (1 - cosine) of features by onnxruntime from those by torch.

    Args:
        features: on the CPU, in float32.
        images: as many as `COMPARED` adds up to.

    Raises:
        RunError: if it is above `NEAR`.
    """
    batches = np.split(images, np.cumsum(COMPARED)[:-1])
    found = unit(np.concatenate([network.run(batch) for batch in batches]))
    whole = features(normalised(to_unit(images), run.preprocess)).numpy()
    share = float((1 - (found * unit(whole)).sum(axis=1)).max())
    if not share <= NEAR:
        raise RunError(
            f"{run.path} must give the same features in 16 bits as by torch, to a cosine of "
            f"{1 - NEAR}, got {1 - share:.4g}. There is no bundle."
        )
    return max(share, 0.0)


def _last(model: nn.Module) -> nn.Module:
    last: nn.Module = model.head  # type: ignore[assignment]
    return last


def _head(rows: Floats) -> Head:
    vectors, scale = small(rows, SCALE)
    zeros = np.zeros(len(rows), np.float32), np.zeros(rows.shape[1], np.float32)
    return Head(vectors, scale, *zeros, cosine=True)


def _golden(data: Data) -> tuple[NDArray[np.uint8], str]:
    """Return pictures to compare on, of held-out faces where there are, and what they are."""
    images, said = (data.train, "training faces") if data.val is None else (data.val, HELD)
    spread = np.linspace(0, len(images) - 1, sum(COMPARED)).astype(int)
    return images.take(spread), f"pictures of {said}"


def _measured(
    network: Network,
    head: Head,
    kept: Counts,
    data: Data,
    known: Mapping[str, Origin],
    run: Run,
) -> dict[str, Share]:
    """Measure on the held-out faces, but for characters that no other face draws.

    Args:
        kept: the labels that the rows of `head` stand for, ascending.
    """
    if data.val is None:
        return {}
    held = data.val.subset(np.flatnonzero(data.train.counts[data.val.labels] > 0))
    if not len(held):
        return {}
    predicted = []
    for start in range(0, len(held), BATCH):
        logits = logits_of(network.run(held.take(slice(start, start + BATCH))), head)
        predicted.append(kept[logits.argmax(axis=1)])
    answers = np.concatenate(predicted)
    names = [run.config.rename.get(name, name) for name in held.classes]
    merged = np.unique(np.array(names), return_inverse=True)[1]
    right, alike = answers == held.labels, merged[answers] == merged[held.labels]
    kinds = tuple(sorted({origin.kind for origin in known.values()}))
    kind = kinds_of(held, known, kinds)
    face = np.unique(np.array(held.writers), return_inverse=True)[1]
    measured = {HELD: _share(right, face), "look-alikes as one": _share(alike, face)}
    for number in np.unique(kind) if len(kinds) > 1 else ():
        mine = kind == number
        measured[f"{kinds[number]}, look-alikes as one"] = _share(alike[mine], face[mine])
    return measured


def _share(right: NDArray[np.bool_], face: Counts) -> Share:
    """Return a share, with its interval over other faces."""
    number = np.unique(face, return_inverse=True)[1]
    low, high = over_writers(right.astype(float), number)
    return Share(hits=int(right.sum()), total=len(right), low=low, high=high)


def _described(run: Run, data: Data, known: Mapping[str, Origin]) -> dict[str, Any]:
    """Return what it learned from: pictures, faces, and the fonts by licence."""
    faces: dict[str, Any] = {}
    for part, images in (("train", data.train), ("val", data.val)):
        names = dict.fromkeys(images.writers or ()) if images is not None else {}
        faces[part] = dict(sorted(Counter(known[name].kind or "faces" for name in names).items()))
    packages: dict[str, set[str]] = defaultdict(set)
    for name in dict.fromkeys(data.train.writers or ()):
        packages[known[name].licence or "not said"].add(known[name].package or name)
    counts = {"train": len(data.train), "val": 0 if data.val is None else len(data.val)}
    return {
        "source": run.config.data,
        "characters": len(data.train.classes),
        "counts": counts,
        "faces": faces,
        "fonts": {licence: ", ".join(sorted(packages[licence])) for licence in sorted(packages)},
    }


def _settings(
    run: Run,
    known: Mapping[str, Origin],
    vectors: str,
    prefer: Mapping[str, float],
    weights: str | None,
) -> dict[str, Any]:
    """Return what decided the outcome; characters that look alike stand together in `alike`."""
    config = run.config
    return {
        **config.model_dump(mode="json", exclude={"rename", "prefer"}),
        "weights": weights or config.weights,
        "vectors": vectors,
        "prefer": {known[f].kind or f: x for f, x in config.prefer.items() if f in known},
        "prefer_in_means": dict(prefer),
        "alike": " ".join(sorted(set(config.rename.values()))),
    }
