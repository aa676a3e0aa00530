"""How many wrong labels `siglum label-issues` finds, and what correcting them is worth.

    python -m benchmarks.label_noise
    python -m benchmarks.label_noise --kind uniform --images 6000 --share 0.1 --seed 1

Plants wrong labels in a part of MNIST's training images, predicts each image by networks that were
trained on the other folds, and searches for label issues. A person is simulated who looks at every
issue, corrects the label if it is wrong, and leaves it otherwise. Networks trained before and after
are measured on the 10,000 test images, whose labels are not changed. The kinds of wrong labels:
"uniform", any other class; "class-dependent", the next class; "confusable", the class for which
networks that learned from the right labels take the image's class most often.
"""

import argparse
import struct
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siglum import stats
from siglum.cli.terminal import print_table
from siglum.config import Preprocess, TrainConfig
from siglum.errors import ConfigError
from siglum.formatting import interval, percent, rate
from siglum.images import sources, splits
from siglum.images.imageset import ImageSet
from siglum.lab import label_issues, study
from siglum.lab.compare import difference_interval
from siglum.lab.device import Device, choose_device
from siglum.lab.train_run import train
from tools import exit_on_error

MNIST, FOLDS, EPOCHS = "idx:MNIST/raw", 5, 8
KINDS = ("uniform", "class-dependent", "confusable")


def write_idx(folder: Path, images: ImageSet, labels: NDArray[np.int64], test: ImageSet) -> str:
    """Write a source of its own: training images under other labels, and the test images."""
    folder.mkdir()
    for stem, part, numbers in (("train", images, labels), ("t10k", test, test.labels)):
        header = struct.pack(">4B3i", 0, 0, 8, 3, len(part), *part.shape[1:])
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(header + part.images.tobytes())
        header = struct.pack(">4Bi", 0, 0, 8, 1, len(part))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(header + bytes(numbers.tolist()))
    return f"idx:{folder}"


def correct(source: str, seeds: int, device: Device) -> NDArray[np.float64]:
    """Return whether each test image is predicted correctly (seeds, N) after training."""
    rows = []
    for seed in range(seeds):
        path = Path(source[4:]) / f"run-{seed}"
        config = TrainConfig(data=source, val=0.0, epochs=EPOCHS, seed=seed)
        arrays = train(config, path, device).predictions()
        rows.append(arrays["test_log_probs"].argmax(axis=1) == arrays["test_labels"])
    return np.array(rows, float)


def find(
    folder: Path, images: ImageSet, labels: NDArray[np.int64], test: ImageSet, device: Device
) -> tuple[str, pd.DataFrame]:
    """Return a source with these labels, and its issues by cross-validation."""
    source = write_idx(folder, images, labels, test)
    config = TrainConfig(data=source, val=0.0, epochs=EPOCHS, folds=FOLDS)
    study.cross_validate(config, folder / "cv", device)
    return source, label_issues.read_out_of_fold(folder / "cv")[1]


def measure(
    kinds: list[str], num_images: int, share: float, seed: int, seeds: int, device: Device
) -> None:
    test = sources.load(MNIST, "test", Preprocess())
    images = sources.load(MNIST, "train", Preprocess())
    count = num_images // len(images.classes)
    images = images.subset(splits.per_class(images.labels, count, seed, images.classes))
    truth, random, rows = images.labels, np.random.RandomState(seed), []
    wrong = random.permutation(len(images))[: round(share * len(images))]
    others = {"uniform": (truth + random.randint(1, 10, len(truth))) % 10}
    others["class-dependent"] = (truth + 1) % 10
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "confusable" in kinds:
            _, table = find(folder / "right", images, truth, test, device)
            confusion = label_issues.contingency(table).counts.to_numpy()
            others["confusable"] = (confusion * (1 - np.eye(10))).argmax(axis=1)[truth]
            print(f"Without wrong labels: {table.issue.count()} issues of {len(images):,} images.")
        for kind in kinds:
            labels = truth.copy()
            labels[wrong] = others[kind][wrong]
            noisy, table = find(folder / kind, images, labels, test, device)
            suspects = np.flatnonzero(table.issue.notna())
            hits = len(np.intersect1d(suspects, wrong))
            rates = stats.wilson(hits, len(suspects)), stats.wilson(hits, len(wrong))
            labels[suspects] = truth[suspects]  # the person corrects what is wrong
            better = write_idx(folder / f"{kind}-corrected", images, labels, test)
            before, after = correct(noisy, seeds, device), correct(better, seeds, device)
            gain = after - before
            low, high, _ = difference_interval(gain.mean(axis=1), gain.mean(axis=0))
            points = f"{100 * gain.mean():+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
            cells = (f"{rate(r)} ({interval(r)})" for r in rates)
            accuracies = percent(before.mean(), 2), percent(after.mean(), 2), points
            rows.append((kind, len(wrong), len(suspects), hits, *cells, *accuracies))
    columns = ("wrong labels", "planted", "issues", "of them wrong", "precision", "recall")
    print_table((*columns, "before", "after", "gain, points"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", action="append", choices=KINDS, help="of wrong labels")
    parser.add_argument("--images", type=int, default=3_000, help="of MNIST's training part")
    parser.add_argument("--share", type=float, default=0.05, help="of wrong labels")
    parser.add_argument("--seed", type=int, default=0, help="of the images and their labels")
    parser.add_argument("--seeds", type=int, default=3, help="trainings before and after")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if not 0 < options.share < 0.5:
        raise ConfigError(f"share must be between 0 and 0.5, got {options.share}.")
    if not 200 <= options.images <= 54_000:  # the rarest digit has 5,421
        raise ConfigError(f"images must be in [200, 54000], got {options.images}.")
    if options.seeds < 1 or options.seed < 0:
        raise ConfigError("seeds must be at least 1, and seed at least 0.")
    device = choose_device("cpu", threads=options.threads)
    kinds = list(dict.fromkeys(options.kind or KINDS))
    measure(kinds, options.images, options.share, options.seed, options.seeds, device)


if __name__ == "__main__":
    with exit_on_error():
        main()
