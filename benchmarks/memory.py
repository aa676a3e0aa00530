"""Peak memory of packing a folder of PNG files and of training one epoch on it.

    python -m benchmarks.memory --images 100000 --images 200000

Generates the folder, then runs `siglum data` (which packs) and `siglum train --epochs 1` as
processes of their own and reads the most memory that each had resident (the system's ru_maxrss).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def generate(folder: Path, count: int) -> None:
    """Write `count` pictures of 28x28 in ten classes: a bar whose slope is the class, and noise."""
    random = np.random.RandomState(0)
    rows, columns = np.mgrid[:28, :28]
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
        angle = np.pi * label / 10
        bar = np.abs((rows - 14) * np.cos(angle) + (columns - 14) * np.sin(angle)) < 2
        for number in range(count // 10):
            noise = random.randint(0, 64, size=(28, 28))
            picture = np.where(bar, 255 - noise, noise).astype(np.uint8)
            Image.fromarray(picture).save(folder / str(label) / f"{number:06}.png")


def peak(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a process; return the most it had resident, in MB (10**6 bytes), and its seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with status {status}")
    return usage.ru_maxrss * 1024 / 1e6, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, action="append", required=True)
    options = parser.parse_args()
    siglum = [sys.executable, "-m", "siglum"]
    for count in options.images:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "set"
            generate(source, count)
            environment = {**os.environ, "SIGLUM_CACHE": str(Path(folder) / "cache")}
            packing, packed = peak([*siglum, "data", f"folder:{source}"], environment)
            out = str(Path(folder) / "run")
            train = [*siglum, "train", f"folder:{source}", "-o", out, "--epochs", "1"]
            training, trained = peak(train, environment)
            print(
                f"{count:,} images: packing {packing:.0f} MB in {packed:.0f} s, "
                f"training {training:.0f} MB in {trained:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
