"""Measure how often `siglum find` lists the right character, and compare other recognisers.

    npm pack hanzi-writer-data && tar xzf hanzi-writer-data-*.tgz --one-top-level=hanzi
    python -m benchmarks.find --fonts free-fonts --kanji hanzi/package
    python -m benchmarks.find --fonts free-fonts --kanji hanzi/package --choose
    npm pack detypify-service && tar xzf detypify-service-*.tgz
    pip download --no-deps handtex && unzip -d handtex handtex-*.whl
    python -m benchmarks.find --detypify package --handtex handtex

Images of people lie under SIGLUM_DATA. Of other characters, simulated hands draw the skeletons of
faces that the backbone was not trained on, in the folder that `python -m tools.backbone install`
fills, and the strokes of hanzi-writer-data. PRIOR of `siglum.recogniser.find` is chosen, with the
command that has --choose, on writers with odd numbers of Greek and digits, the tuning half of other
sets, and half of the characters drawn by hands; the other halves are reported. A row counts if it
holds the character or, for Greek, its other shape. Intervals are 95 % over writers, or characters.

The last command asks for the characters that both know, without a prior. Detypify (MIT) and HandTex
(GPL 3) read strokes, so they get the skeleton of the ink as they draw strokes: lines of 8 px, 204
of 224 px long; and of 1 px, 58 of 64 px long.
"""

import argparse
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchmarks.fewshot import SOURCES, VARIANT_SHAPES, Images, images, interval, show
from siglum.config import Preprocess
from siglum.files import read_json
from siglum.images import characters, charsets
from siglum.images.sources import load
from siglum.recogniser import find
from siglum.recogniser.head import Floats
from siglum.recogniser.predict import default_backbone, preprocess_images, stack
from tools import exit_on_error
from tools.backbone.fonts import read_faces
from tools.backbone.glyphs import only
from tools.backbone.hand import rasterise_by_hand
from tools.backbone.signs import Sign, build_sign
from tools.backbone.skeletons import trace

MAX = 400  # images of each half
SETS = {"Greek": "greek", "digits": "digits", "Latin": "Chars74K", "MNIST": "mnist samples"}
HANDS = (  # groups that hands draw from the skeletons of faces
    *("mathematics", "arrows", "cyrillic", "phonetic"),
    *("georgian", "armenian", "runes"),
)
PEN = (0.035, 0.13)  # widths, in longer sides of the character
STRENGTHS = (0.0, 0.01, 0.015, 0.02, 0.025, 0.03)


@cache
def drawn_by_hands(group: str, folder: Path) -> Images:
    """Draw each character of a group once; every other one is of the tuning half."""
    backbone = default_backbone()
    wanted = {*charsets.groups()[group]} & {*backbone.classes}
    if group == "kanji":
        signs = {sign.label: sign for sign in read_kanji(folder, wanted)}
    else:
        files = [folder / name for name in backbone.bundle.card.data["held out"]]
        faces = [only(face, wanted) for face in read_faces(files, wanted)[0]]
        signs = {sign.label: sign for sign in trace(faces)}
    names = np.random.RandomState(0).permutation(sorted(signs))[: 2 * MAX]
    hands = [np.random.RandomState([1, number]) for number in range(len(names))]
    drawings = [rasterise_by_hand(signs[n], r, PEN) for n, r in zip(names, hands, strict=True)]
    planes, positions = stack(preprocess_images(drawings, backbone.preprocess))
    numbers, features = np.arange(len(names)), backbone.features(planes[:, 0])
    columns = (planes[:, 0], positions, features, names, names, numbers % 2 == 0)
    return Images(tuple(names.tolist()), numbers, *columns)


def read_kanji(folder: Path, wanted: Collection[str]) -> Iterator[Sign]:
    """Yield characters of the package hanzi-writer-data, where y points up."""
    for path in sorted(folder.glob("?.json")):
        strokes = [np.multiply(one, (1.0, -1.0)) for one in read_json(path)["medians"]]
        if path.stem in wanted and (sign := build_sign(path.stem, strokes)):
            yield sign


def half(name: str, folder: Path, tune: bool) -> Images:
    """Return the half of a block on which PRIOR is chosen, or the other one.

    Args:
        folder: of the fonts, or of the strokes of kanji.
    """
    source = SETS.get(name)
    data = images(default_backbone(), source) if source else drawn_by_hands(name, folder)
    was_swapped = source in ("greek", "digits")  # there, PRIOR was chosen on the report half
    rows = np.flatnonzero(data.tune == (tune != was_swapped))
    return data.at(np.random.RandomState(0).permutation(rows)[:MAX])


def place(character: str, matches: list[find.Match]) -> int:
    """Return the place of the row that holds a character, or its other shape; 99 for none."""
    for number, match in enumerate(matches):
        members = {match.character, *match.lookalikes}
        if character in members | {VARIANT_SHAPES.get(member) for member in members}:
            return number
    return 99


def places(data: Images, **options: Any) -> NDArray[np.int64]:
    """Return the place of each image's character among the answers of `find.rank`."""
    answers = [find.rank(features, **options) for features in data.features]
    return np.array([place(data.classes[c], a) for c, a in zip(data.labels, answers, strict=True)])


def row(
    name: str, places: NDArray[np.int64], writers: NDArray[Any], tops: Sequence[int] = (1, 5, 10)
) -> dict[str, object]:
    """Return how often the character is among the first rows."""
    result: dict[str, object] = {"characters": name, "images": len(places)}
    groups = np.unique(writers, return_inverse=True)[1]
    for top in tops:
        hits = (places < top).astype(np.float64)
        low, high = interval(hits, groups, len(hits))
        result[f"top {top}, %"] = f"{100 * hits.mean():.1f} ({100 * low:.0f} to {100 * high:.0f})"
    return result


def report(blocks: Mapping[str, Path]) -> None:
    """Print how often answers are right, and how long they take."""
    rows, latex = [], []
    for name, folder in blocks.items():
        data = half(name, folder, tune=False)
        rows.append(row(f"{name}, no prior", places(data, prior=0.0), data.writers))
        rows.append(row(name, places(data), data.writers))
        if name in SETS:
            hits = places(data, recent=data.classes)
            rows.append(row(f"{name}, used before", hits, data.writers))
        if name in ("Greek", "mathematics", "arrows"):
            data = data.at(np.isin(data.classes, charsets.sets()["latex"])[data.labels])
            hits = places(data, within="latex")
            latex.append(row(f"{name}, --within latex", hits, data.writers, (1, 3, 5)))
    whole = images(default_backbone(), "greek")
    rows.append(row("Greek, all writers", places(whole), whole.writers))
    show(rows)
    show(latex)
    spiral = [[(50 + a * np.cos(a), 50 + a * np.sin(a)) for a in np.linspace(0, 20, 80).tolist()]]
    times = []
    for _ in range(100):
        find.find(spiral)
        times.append(time.perf_counter())
    steps = 1000 * np.diff(times)
    print("An answer: median {:.1f}, p95 {:.1f} ms".format(*np.percentile(steps, (50, 95))))


def choose(blocks: Mapping[str, Path]) -> None:
    """Print what each strength of the prior does to the half on which it is chosen.

    Choose the largest within half a point of the best mean of top 1.
    """
    data = {name: half(name, folder, tune=True) for name, folder in blocks.items()}
    rows = []
    for prior in STRENGTHS:
        hits = {name: places(one, prior=prior) for name, one in data.items()}
        first = {name: float((one < 1).mean()) for name, one in hits.items()}
        means = {
            f"mean of top {t}": np.mean([(h < t).mean() for h in hits.values()]).item()
            for t in (1, 5, 10)
        }
        rows.append({"prior": str(prior), **first, **means})
    show(rows)


def fit(points: NDArray[np.int64], side: int, longer: float) -> NDArray[np.int64]:
    """Return points (P, 2) in the middle of a square whose longer side of ink is `longer` px."""
    low, high = points.min(axis=0), points.max(axis=0)
    scaled = (points - (low + high) / 2) * longer / max(float((high - low).max()), 1.0)
    return np.asarray(np.rint(scaled + side / 2), np.int64)


def detypify(folder: Path, skeletons: Sequence[NDArray[np.int64]]) -> tuple[list[str], Floats]:
    """Return the characters (K,) that Detypify knows and its scores (N, K)."""
    session = onnxruntime.InferenceSession(folder / "train" / "model.onnx")
    (name,), scores = [one.name for one in session.get_inputs()], []
    for points in skeletons:
        canvas = Image.new("L", (4 * 224, 4 * 224))  # drawn larger, then averaged
        for x, y in (4 * fit(points, 224, 204)).tolist():
            ImageDraw.Draw(canvas).ellipse((x - 16, y - 16, x + 16, y + 16), 255)
        pixels = np.asarray(canvas.reduce(4)) / np.float32(255)
        scores.append(session.run(None, {name: pixels[None, None]})[0][0])
    return [one["char"] for one in read_json(folder / "train" / "infer.json")], np.array(scores)


def handtex(folder: Path, skeletons: Sequence[NDArray[np.int64]]) -> tuple[list[str], Floats]:
    """Return the characters (K,) that HandTex knows and its scores (N, K)."""
    sys.path.append(str(folder))
    torch, inference = import_module("torch"), import_module("handtex.detector.inference")
    thin: Any = import_module("skimage.morphology").skeletonize
    files = folder / "handtex" / "data" / "model"
    model, symbols = inference.load_model_and_decoder(
        files / "handtex.safetensors", files / "encodings.txt"
    )
    images = np.ones((len(skeletons), 1, 64, 64), np.float32)
    for image, points in zip(images, skeletons, strict=True):
        mask = np.zeros((64, 64), bool)
        mask[tuple(fit(points, 64, 57.6).T[::-1])] = True
        image[0, thin(mask)] = -1
    commands = {characters.latex(c): c for c in characters.names_in("latex")}
    commands |= {f"\\{name}": c for name, c in charsets.DATA["tex"].items()}
    keys = [key.partition("-")[2].replace("_", "\\", 1) for key in symbols.values()]
    names = np.array([commands.get(key, key) for key in keys])
    known = np.unique(names)
    with torch.no_grad():
        scores = model(torch.from_numpy(images)).numpy()
    return known.tolist(), np.stack([scores[:, names == c].max(axis=1) for c in known], axis=1)


def compare(detypify_folder: Path | None, handtex_folder: Path | None) -> None:
    """Print how often others and Siglum are right on hand-drawn Greek."""
    thin: Any = import_module("skimage.morphology").skeletonize
    backbone, rows = default_backbone(), []
    data = images(backbone, "greek")
    inks = load(SOURCES["greek"].specs[0], "test", Preprocess(size=128, resize="glyph")).images
    skeletons = [np.argwhere(thin(ink > 127))[:, ::-1] for ink in inks[:, 0]]
    truth = np.array(data.classes)[data.labels]
    rivals = {"detypify": (detypify, detypify_folder), "handtex": (handtex, handtex_folder)}
    for rival, (read, folder) in rivals.items():
        if folder is None:
            print(f"{rival} is left out. Name the folder of its package with --{rival}.")
            continue
        known, scores = read(folder, skeletons)
        both = [c for c in known if c in backbone.classes]
        prototypes = backbone.head.unit_vectors[[backbone.classes.index(c) for c in both]]
        theirs = scores[:, [known.index(c) for c in both]]
        for name, values in ((rival, theirs), ("siglum", data.features @ prototypes.T)):
            order = [
                [find.Match(both[i], (), 0.0) for i in one] for one in np.argsort(-values)[:, :9]
            ]
            hits = np.array(list(map(place, truth.tolist(), order)))
            for writers, some in (("all", data.tune | True), ("even", data.tune)):
                some = some & np.isin(truth, both)
                label = f"{name}, {len(both)} characters, {writers} writers"
                rows.append(row(label, hits[some], data.writers[some], (1, 3, 5)))
    show(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("detypify", "handtex"):
        parser.add_argument(f"--{name}", type=Path, help="folder of its package")
    parser.add_argument("--fonts", type=Path, help="folder that tools.backbone fills")
    parser.add_argument("--kanji", type=Path, help="folder of the package hanzi-writer-data")
    parser.add_argument("--choose", action="store_true", help="compare strengths of the prior")
    options = parser.parse_args()
    blocks = dict.fromkeys(SETS, Path())
    for groups, name in ((HANDS, "fonts"), (("kanji",), "kanji")):
        if folder := getattr(options, name):
            blocks |= dict.fromkeys(groups, folder)
        else:
            print(f"Left out without --{name}: {', '.join(groups)}.")
    if options.detypify or options.handtex:
        compare(options.detypify, options.handtex)
    else:
        (choose if options.choose else report)(blocks)


if __name__ == "__main__":
    with exit_on_error():
        main()
