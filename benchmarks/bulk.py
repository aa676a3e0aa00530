"""Measure how fast `siglum predict ... -o NAME.parquet` is, and its peak memory.

    OMP_NUM_THREADS=1 python -m benchmarks.bulk --rows 20000 --jobs 1 2

Images of 64 x 64 px are drawn by code and stored in Parquet shards; the recogniser knows five Greek
letters, and extracts the ink. The loop reads the first shard with pyarrow in this process, and
calls `predict_images` for each 256 rows. Commands are whole processes, their start included. Peak
memory is that of the largest process.
"""

import argparse
import io
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
from pyarrow import dataset, parquet

import siglum
from benchmarks.speed import in_turn, scribble, spread, timed
from siglum.recogniser.predict import BATCH, Recogniser, open_bundle

SHARD = 10_000  # rows


def write_shards(folder: Path, rows: int) -> None:
    """Write images as PNG files in Parquet shards, each image another one."""
    folder.mkdir()

    def images(start: int) -> Iterator[bytes]:
        for number in range(start, min(start + SHARD, rows)):
            scribble(number % 50, number).save(file := io.BytesIO(), "PNG")
            yield file.getvalue()

    for start in range(0, rows, SHARD):
        table = pa.table({"image": pa.array(images(start), pa.binary())})
        parquet.write_table(table, folder / f"{start:09}.parquet", row_group_size=1_000)


def loop(recogniser: Recogniser, shard: Path) -> None:
    """Predict a shard, one batch after the other."""
    for batch in dataset.dataset(shard).to_batches(batch_size=BATCH):
        recogniser.predict_images(batch.column(0).to_pylist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    taught = siglum.teach("αβγδε")
    with tempfile.TemporaryDirectory() as home:
        bundle, shards = Path(home) / "greek.siglum", Path(home) / "shards"
        taught.save(bundle)
        write_shards(shards, options.rows)
        single = open_bundle(siglum.load(bundle).bundle, "greek", threads=1)

        def command(jobs: int) -> float:
            with tempfile.TemporaryDirectory() as out:
                predict = [sys.executable, "-m", "siglum", "predict", str(bundle), str(shards)]
                flags = ["-o", f"{out}/answers.parquet", "--jobs", str(jobs)]
                return timed(lambda: subprocess.run([*predict, *flags], check=True))

        ways = {f"{jobs} processes": partial(command, jobs) for jobs in options.jobs}
        first = min(shards.iterdir())
        seconds = in_turn(options.rounds, loop=lambda: timed(lambda: loop(single, first)), **ways)
    counts = dict.fromkeys(ways, options.rows) | {"loop": min(SHARD, options.rows)}
    rates = {name: [counts[name] / one for one in values] for name, values in seconds.items()}
    base = statistics.median(rates["loop"])
    for (name, values), jobs in zip(rates.items(), [1, *options.jobs], strict=True):
        share = statistics.median(values) / base / jobs
        hours = jobs * 1e6 / statistics.median(values) / 3600
        print(
            f"{name}: {spread(values, 0)} images per second, {share:.0%} of {jobs} x loop, ", end=""
        )
        print(f"{hours:.2f} core hours per million")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{options.rows:,} rows: peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
