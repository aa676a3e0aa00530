"""The half without torch: teaching, adding a drawing, predicting, and what it takes in memory.

    OMP_NUM_THREADS=1 python -m benchmarks.light [--backbone FILE]

Run it on a quiet machine. Pictures are drawn by code: strokes through random points, a shape of
points for each class, shaken for each sample. `siglum predict` is timed as a whole process, in turn
with a bare one that only loads onnxruntime, numpy and Pillow, opens the same picture, and runs the
same network once: machines differ, and this one does from hour to hour.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from siglum.images.normalise import NOTHING, normalise
from siglum.images.sources import load
from siglum.recogniser import backbone as backbones
from siglum.recogniser import bundle as bundles
from siglum.recogniser import lesson as lessons
from siglum.recogniser.findings import findings
from siglum.recogniser.teach import finished, learn

BARE = """
import sys, zipfile
import numpy, onnxruntime
from PIL import Image
raw = zipfile.ZipFile(sys.argv[1]).read("model.onnx")
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(raw, options)
(given,) = session.get_inputs()
Image.open(sys.argv[2]).load()
session.run(None, {given.name: numpy.zeros((1, *given.shape[1:]), numpy.float32)})
"""
SIDE = 64
CLASSES, SAMPLES = 100, 10


def drawing(label: int, sample: int) -> NDArray[np.uint8]:
    """Draw a class's shape with a shaking hand: uint8 (64, 64), dark on light."""
    points = np.random.RandomState(label).uniform(8, 56, (5, 2))
    points += np.random.RandomState(1000 + 10_000 * label + sample).normal(0, 2, points.shape)
    image = Image.new("L", (SIDE, SIDE), 255)
    ImageDraw.Draw(image).line([(x, y) for x, y in points.tolist()], fill=20, width=3)
    return np.asarray(image)


def write_samples(folder: Path) -> None:
    """Write `CLASSES` folders of `SAMPLES` pictures."""
    for label in range(CLASSES):
        place = folder / f"sign {label:03}"
        place.mkdir(parents=True)
        for sample in range(SAMPLES):
            Image.fromarray(drawing(label, sample)).save(place / f"{sample}.png")


def median(work: Callable[[], object], rounds: int) -> float:
    """Return the median seconds of one call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def processes(arguments: list[str], rounds: int) -> tuple[float, float]:
    """Return the median seconds of a whole process, and the most memory of any, MB."""
    took = median(lambda: subprocess.run(arguments, check=True, capture_output=True), rounds)
    return took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    backbone = backbones.given(given.backbone) if given.backbone else backbones.shipped()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_samples(folder / "signs")
        images = load(
            f"folder:{folder / 'signs'}",
            "train",
            backbone.bundle.preprocess.model_copy(update={"place": True}),
        )

        def teach() -> lessons.Lesson:
            lesson, _ = lessons.of_images(backbone, lessons.begin(backbone, images.classes), images)
            learn(backbone, lesson)
            return lesson

        lesson = teach()
        print(f"teach {CLASSES} classes of {SAMPLES}: {median(teach, 3):.2f} s")
        ink, _ = normalise(drawing(3, 99), backbone.bundle.preprocess.size)
        add = median(
            lambda: learn(backbone, lessons.added(backbone, lesson, ink, 3, NOTHING)), given.rounds
        )
        print(f"add one drawing to {len(lesson):,}: {1000 * add:.0f} ms")
        taught = learn(backbone, lesson)
        said = median(lambda: findings(backbone, lesson, taught), 3)
        print(f"what is said of it: {1000 * said:.0f} ms")
        bundle = folder / "signs.siglum"
        bundles.save(finished(taught, "signs", ""), bundle)
        files = sorted(map(str, (folder / "signs").glob("*/*.png")))
        one = [sys.executable, "-m", "siglum", "predict", str(bundle), files[0]]
        bare = [sys.executable, "-c", BARE, str(bundle), files[0]]
        pairs = [(processes(one, 1)[0], processes(bare, 1)[0]) for _ in range(given.rounds)]
        took, least = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(
            f"predict one picture, whole process: {took:.2f} s; a bare one {least:.2f} s, "
            f"{ratio:.2f} times"
        )
        many, memory = processes([*one[:-1], *files, "--csv"], 3)
        each = (many - took) / (len(files) - 1)
        print(
            f"predict {len(files):,} pictures of {SIDE} x {SIDE}: {1000 * each:.2f} ms each, "
            f"{memory:.0f} MB"
        )


if __name__ == "__main__":
    main()
