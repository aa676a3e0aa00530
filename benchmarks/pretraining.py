"""What a backbone owes to what it was trained with: short trainings, one thing changed in each.

python -m benchmarks.pretraining fonts:free-fonts -o arms.json
python -m benchmarks.pretraining fonts:free-fonts -o arms.json --arm "print faces only" --seed 1

Each arm is shown so many pictures (--pictures), with docs/recipes/backbone.toml and fewer
characters, and measured on the tuning half of benchmarks.fewshot. What print looks like is told by
the same pictures of all faces in every arm. Its figures are added to the file; what is there
already is not trained again, so that it can be stopped at any time. In the end all are printed.
"""

import argparse
import json
import time
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.fewshot import measured, table
from benchmarks.fewshot_sets import seen
from benchmarks.fewshot_tasks import SETS
from siglum.config import Preprocess, TrainConfig
from siglum.images import alphabets, lookalike, sources, splits
from siglum.images.imageset import ImageSet, concat
from siglum.images.origins import Origin, origins
from siglum.images.splits import writers_of
from siglum.lab import models, prints
from siglum.lab import written as ways
from siglum.lab.augment import AUGMENTATIONS
from siglum.lab.backbone import GOLDEN, halved
from siglum.lab.device import Machine, choose_machine
from siglum.lab.export import to_onnx
from siglum.lab.models import count_parameters
from siglum.lab.optimizer import make_optimizer
from siglum.lab.recipes.pretrain import alike, merged, preferred, settings
from siglum.lab.training import Progress, TrainState, fit
from siglum.lab.written import CHANGES, Change, written
from siglum.recogniser.bundle import Bundle, Calibration, Card, Golden
from siglum.recogniser.head import Head, logits_of, small
from siglum.recogniser.network import Network
from siglum.recogniser.predict import Recogniser, opened
from siglum.recogniser.teach import SCALE

RECIPE = Path(__file__).resolve().parents[1] / "docs" / "recipes" / "backbone.toml"
NAMED = "latin,digits,greek"  # what the settings name; only these need a vector
MEASURED = tuple(name for name in SETS if name != "mixed")
COMMON = (  # the characters of all arms but those about characters
    "latin,digits,latin-accents,greek,cyrillic,armenian,georgian,hebrew,arabic,devanagari,kana,"
    "runes,arrows,mathematics,music,chess,boxes,shapes,punctuation"
)
KINDS = ("hand", "script", "text")
FACES = 150  # of each of these at most, from which its vector is made
SHOWN = {  # heading -> set and setting of benchmarks.fewshot
    "omniglot 20-way 1-shot": ("omniglot", "20-way 1-shot within an alphabet"),
    "20-way 5-shot": ("omniglot", "20-way 5-shot within an alphabet"),
    "MNIST zero-shot": ("mnist", "zero-shot"),
    "1": ("mnist", "1 sample alone"),
    "10": ("mnist", "10 samples alone"),
    "drawn digits": ("handdrawn digits", "zero-shot"),
    "Greek": ("handdrawn greek", "zero-shot"),
    "GCDB": ("GreekGCDB", "zero-shot"),
    "Chars74K": ("Chars74K", "zero-shot, 0Oo 1Il merged"),
    "5 and print": ("Chars74K", "5 samples and print, 0Oo 1Il merged"),
    "HandWritten62": ("HandWritten62", "zero-shot, 0Oo 1Il merged"),
    "CHoiCe": ("CHoiCe", "zero-shot, 0Oo 1Il merged"),
    "KMNIST 10": ("kmnist", "10 samples alone"),
}


@dataclass(frozen=True)
class Arm:
    """One thing that is different."""

    changes: Mapping[str, Any] = field(default_factory=dict)  # of the settings
    kinds: tuple[str, ...] = KINDS  # of faces that are trained on
    named: str = COMMON  # characters that are trained on
    left_out: tuple[Change, ...] = ()  # of what makes print look written


def without(*left_out: Change) -> Arm:
    """Return the arm in which print is made to look written without some of the changes."""
    name = "written without " + ", ".join(change.__name__ for change in left_out)
    return Arm({"augment": [name]}, left_out=left_out)


def register(arm: Arm) -> None:
    """Let the training find what the arm changes pictures by."""
    if arm.left_out:
        rest = [pair for pair in CHANGES if pair[0] not in arm.left_out]
        AUGMENTATIONS[arm.changes["augment"][0]] = partial(written, changes=rest)


ARMS: dict[str, Arm] = {
    "all of it": Arm(),
    "no invented signs": Arm({"beside": ""}),
    "invented signs only": Arm({"prefer": {}}, kinds=()),
    "affine for written": Arm({"augment": ["strong_affine"]}),
    "without bending": without(ways.bent),
    "without parting": without(ways.parted),
    "without stroke widths": without(ways.restroked),
    "without faults": without(ways.doubled, ways.broken, ways.coarse, ways.covered, ways.soiled),
    "hand faces only": Arm({"prefer": {}}, kinds=("hand",)),
    "print faces only": Arm({"prefer": {}}, kinds=("text", "script")),
    "hand not preferred": Arm({"prefer": {}}),
    "all characters": Arm(named=""),
    "Latin, digits, Greek": Arm(named=NAMED),
    "half as wide": Arm({"model_options": {"width": 16}}),
    "half the features": Arm({"model_options": {"features": 64}}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", help="fonts:DIR")
    parser.add_argument("-o", dest="out", type=Path, required=True, help="JSON of all that is done")
    parser.add_argument("--arm", action="append", choices=[*ARMS], help="default: all")
    parser.add_argument("--pictures", type=int, default=300_000, help="that each arm is shown")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # pictures that are left out are known: README of the sets
    done = json.loads(options.out.read_text()) if options.out.exists() else {}
    ground = None
    for name in options.arm or ARMS:
        key = f"{name} | {options.pictures} | {options.seed}"
        if key in done:
            continue
        ground = ground or lay(options)
        done[key] = tried(ARMS[name], ground, options)
        print(key, {h: f"{100 * v:.1f}" for h, v in done[key]["shares"].items()}, flush=True)
        options.out.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n")
    show(done)


@dataclass(frozen=True, eq=False)
class Ground:
    """What all arms have in common."""

    images: ImageSet  # of faces that may be trained on
    named: ImageSet  # some of them, of the characters that the settings name
    renamed: Mapping[str, str]  # look-alikes
    known: Mapping[str, Origin]  # the origin of each face


def base(options: argparse.Namespace, arm: Arm) -> TrainConfig:
    """Return the settings of an arm."""
    recipe = tomllib.loads(RECIPE.read_text(encoding="utf-8"))
    epochs = max(1, round(options.pictures / recipe["epoch_size"]))
    size = options.pictures // epochs
    common = {"data": options.source, "seed": options.seed, "epochs": epochs, "epoch_size": size}
    return settings({**recipe, **common, **arm.changes})


def lay(options: argparse.Namespace) -> Ground:
    """Load the pictures, and hold out the faces that the shipped backbone holds out."""
    config = base(options, Arm()).model_copy(update={"seed": 0})
    images = sources.load(config.data, "all", config.preprocess())
    renamed = merged(lookalike.groups(alike(images)))
    writers = writers_of(images)
    assert writers is not None
    kept, _ = splits.by_writer(writers, config.val, config.seed)
    images = images.subset(kept)
    random, wanted = np.random.RandomState(0), alphabets.resolve(NAMED)
    labels = [label for label, name in enumerate(images.classes) if name in wanted]
    rows = [random.permutation(np.flatnonzero(images.labels == label))[:FACES] for label in labels]
    named = images.subset(np.concatenate(rows))
    named = named.with_classes(tuple(images.classes[label] for label in labels))
    return Ground(images, named, renamed, origins(config.data))


def tried(arm: Arm, ground: Ground, options: argparse.Namespace) -> dict[str, Any]:
    """Train an arm and measure it."""
    register(arm)
    config = base(options, arm)
    images, machine = chosen(arm, ground), choose_machine("cpu", threads=options.threads)
    if config.prefer:
        factors = preferred(images, config.prefer, ground.known)
        config = config.model_copy(update={"prefer": factors})
    trained = images.rename({c: ground.renamed.get(c, c) for c in images.classes})
    if config.beside:
        trained = concat(trained, sources.load(config.beside, "all", config.preprocess()))
    preprocess = config.preprocess(*trained.moments())
    torch.manual_seed(config.seed)
    model = models.build(
        config.model,
        len(trained.classes),
        preprocess.planes,
        preprocess.size,
        config.model_options,
    )
    state = TrainState(machine.place(model), make_optimizer(model, config))
    begun = time.perf_counter()
    for record in fit(state, trained, None, config, preprocess, machine):
        if not isinstance(record, Progress):
            print(f"  {record.examples:,}: {record.train_loss:.3f}", flush=True)
    seconds = time.perf_counter() - begun
    model.eval()
    backbone = made(model, config, preprocess, ground, machine)
    seen.cache_clear()
    found = {(row.set, row.setting): row.share for row in measured(backbone, MEASURED, "tune")[0]}
    return {
        "seconds": seconds,
        "characters": len(images.classes),
        "drawings": len(trained),
        "parameters": count_parameters(model) - count_parameters(model.head),
        "shares": {heading: found[what] for heading, what in SHOWN.items()},
    }


def chosen(arm: Arm, ground: Ground) -> ImageSet:
    """Return the pictures that an arm is trained on."""
    images = ground.images
    wanted = frozenset(alphabets.resolve(arm.named or ",".join(alphabets.GROUPS)))
    characters = np.array([name in wanted for name in images.classes])
    faces = {face for face, origin in ground.known.items() if origin.kind in arm.kinds}
    mine = np.array([writer in faces for writer in images.writers or ()])
    part = images.subset(np.flatnonzero(mine & characters[images.labels]))
    counts = part.counts
    return part.with_classes(tuple(c for c, n in zip(part.classes, counts, strict=True) if n))


def made(
    model: torch.nn.Module,
    config: TrainConfig,
    preprocess: Preprocess,
    ground: Ground,
    machine: Machine,
) -> Recogniser:
    """Return a backbone that knows the characters which the settings name."""
    few = ground.named
    features = prints.centred(machine.place(model), few, preprocess, machine)
    sums = prints.gather(features, few, ground.known, preprocess, machine)
    vectors, scale = small(prints.means(sums, {"hand": 3.0}), SCALE)
    zeros = np.zeros(len(vectors), np.float32), np.zeros(vectors.shape[1], np.float32)
    head = Head(vectors, scale, *zeros, cosine=True)
    raw = halved(to_onnx(features.cpu(), preprocess, config.model, "features"))
    golden = few.take(slice(GOLDEN))
    logits = logits_of(Network(raw, preprocess, 1).run(golden), head)
    bundle = Bundle(
        model=raw,
        preprocess=preprocess,
        classes=few.classes,
        calibration=Calibration(),
        card=Card(),
        golden=Golden(golden, logits),
        head=head,
    )
    return opened(bundle, "arm")


def show(done: Mapping[str, Any]) -> None:
    """Print what is right, in per cent; of omniglot what is wrong."""
    head = ["arm", "pictures", "seed", "seconds", *SHOWN]
    lines = []
    for key, found in done.items():
        numbers = [
            f"{100 * (1 - share if place < 2 else share):.1f}"
            for place, share in enumerate(found["shares"].values())
        ]
        lines.append([*key.split(" | "), f"{found['seconds']:.0f}", *numbers])
    table(head, lines)


if __name__ == "__main__":
    main()
