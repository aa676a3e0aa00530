"""One training on several processes, and on shards of any number.

Usage: python -m benchmarks.distributed processes|memory
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from siglum.config import Preprocess
from siglum.images import shards
from siglum.images.imageset import ImageSet

ROUNDS = 3
COUNTS = (10_000, 100_000, 400_000)
PEAK = """
import sys
from siglum import cli
assert cli.run(sys.argv[1:]) == 0
print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
"""


def train(path: Path, starter: list[str], threads: int, options: list[str]) -> str:
    """Train with `siglum train`; return what it prints."""
    command = [sys.executable, *starter, "train", *options, "--precision", "float32"]
    command += ["--threads", str(threads), "-o", str(path)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def measure_processes(folder: Path) -> None:
    """Compare two processes of one thread with one of one thread and of two."""
    torchrun = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "siglum",
    ]
    ways = {
        "1 process, 1 thread": (["-m", "siglum"], 1),
        "1 process, 2 threads": (["-m", "siglum"], 2),
        "2 processes, 1 thread each": (torchrun, 1),
    }
    options = ["mnist5k", "--epochs", "4", *sys.argv[2:]]
    seconds, losses = {name: list[float]() for name in ways}, {}
    for number in range(ROUNDS):
        for name, (starter, threads) in ways.items():
            path = folder / f"{name}-{number}"
            train(path, starter, threads, options)
            epochs = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
            seconds[name].append((epochs[-1]["seconds"] - epochs[0]["seconds"]) / (len(epochs) - 1))
            losses[name] = np.array([point["loss"] for epoch in epochs for point in epoch["curve"]])
    first = next(iter(losses.values()))
    for name, values in seconds.items():
        rate, difference = 3_600 / median(values), np.abs(losses[name] - first).max()
        print(f"{name}: {rate:,.0f} images/s, training loss differs by at most {difference:.1e}")


def measure_memory(folder: Path) -> None:
    """Train on shards of 1 MB of ever more images, and print the peak of memory."""
    shards.SHARD_BYTES = 2**20
    for count in COUNTS:
        random, labels = np.random.RandomState(0), np.arange(count) % 10
        images = random.randint(256, size=(count, 28, 28), dtype=np.uint8)
        path, parts = (
            folder / f"{count}.parquet",
            ImageSet.from_arrays(images, labels, "0123456789"),
        )
        shards.write([("all", parts)], path, Preprocess())
        options = [str(path), "--epochs", "1", "--batch-size", "1000", *sys.argv[2:]]
        peak = int(train(folder / f"run-{count}", ["-c", PEAK], 1, options).split()[-1])
        print(f"{count:,} images, {images.nbytes / 2**20:,.0f} MB: peak {peak / 1024:,.0f} MB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        {"processes": measure_processes, "memory": measure_memory}[sys.argv[1]](Path(home))
