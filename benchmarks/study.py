"""Seconds for a small study by one job and by two: whole processes, in turn.

    python -m benchmarks.study --rounds 3

Every job has one thread, so that both ways do the same work to the same bits. The study is a grid
of twelve trainings of a few seconds on the bundled digits, in a new folder each time. One job with
a thread a core is measured beside them, since that is what `siglum study run` does by itself.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.rows import about, spread
from siglum.lab.device import choose_machine

STUDY = """
question = "How long does it take?"
seeds = [0, 1]
[base]
data = "mnist5k"
epochs = 4
[grid]
lr = [0.05, 0.1]
model_options.width = [1, 2, 3]
"""
WAYS = {"one job": (1, 1), "two jobs": (2, 1), "one job, a thread a core": (1, 0)}


def seconds(file: Path, jobs: int, threads: int) -> float:
    """Return the wall time of the whole study as one command, its runs in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "siglum", "study", "run", str(file), "--folder", folder]
        command += ["--jobs", str(jobs), "--threads", str(threads)]
        environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(about(choose_machine()))
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "small.toml"
        file.write_text(STUDY)
        for number in range(options.rounds):
            for name, (jobs, threads) in WAYS.items():
                found[name].append(seconds(file, jobs, threads))
                print(f"round {number}, {name}: {found[name][-1]:.1f} s", flush=True)
    for name, times in found.items():
        print(f"{name:<26} {spread(times)} s")
    ratios = [a / b for a, b in zip(found["one job"], found["two jobs"], strict=True)]
    print(f"two jobs are {spread(ratios, 2)} times as fast as one, n = {len(ratios)}")
    whole = statistics.median(found["one job, a thread a core"])
    print(f"and {whole / statistics.median(found['two jobs']):.2f} times as one with all cores")


if __name__ == "__main__":
    main()
