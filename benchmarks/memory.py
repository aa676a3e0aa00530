"""Peak memory of packing a folder of PNG files and of training one epoch on it.

    python -m benchmarks.memory --images 100000 --images 200000

Generates the folder, then runs `siglum data` (packs and describes) and `siglum train --epochs 1`
(packs and trains) as processes of their own, each with an empty cache, and reads the most memory
that each had resident (the system's ru_maxrss, mapped pages included).
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
            told = []
            for command in (["data"], ["train", "-o", f"{folder}/run", "--epochs", "1"]):
                with tempfile.TemporaryDirectory() as cache:  # so that both of them pack
                    environment = {**os.environ, "SIGLUM_CACHE": cache}
                    words = [*siglum, command[0], f"folder:{source}", *command[1:]]
                    megabytes, seconds = peak(words, environment)
                told.append(f"siglum {command[0]} {megabytes:.0f} MB in {seconds:.0f} s")
            print(f"{count:,} images: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
