"""Predict millions of images in constant memory: Parquet or image files in, Parquet parts out.

The input is divided into units of a few thousand rows. Other processes predict them, and this one
writes a part for each, whole or not at all: a job that was killed continues where it was.
"""

import hashlib
import json
import multiprocessing
import os
import platform
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from glob import has_magic
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from siglum import __version__
from siglum.errors import ConfigError, DataError, require_extra
from siglum.files import cannot_read, read_json, reading, write_atomic
from siglum.images import decode, folder
from siglum.images.cache import Progress
from siglum.recogniser import bundle as bundles
from siglum.recogniser.predict import (
    BATCH,
    Input,
    Recogniser,
    load,
    open_bundle,
    preprocess_images,
    stack,
)

SUFFIX = ".parquet"
SUFFIXES = (SUFFIX, *folder.NAMES["image_suffixes"])
JOB, LOCK = ".siglum.json", ".siglum.lock"  # hidden, so that readers of the table skip them
ROWS = 4_096  # of a unit
READ_ROWS, READ_BYTES = 64, 2**20  # of a Parquet file at once

Version = tuple[int, int]  # size of a file, and time of its last change
Record = dict[str, Any]  # a row of the predictions
Unit = dict[str, Any]  # number, files and, of a Parquet file, start and stop of its rows
Part = dict[str, Any]  # number of the unit, and data, a Parquet file, or error


@dataclass(frozen=True)
class Predictor:
    """Predicts units. It travels to other processes and machines, and opens its bundle there."""

    raw: bytes  # of a bundle
    name: str
    column: str | None
    version: str  # of Siglum, where the job was started

    def __call__(self, unit: Unit) -> Part:
        """Predict a unit: columns file, row, label, probability, set, rejected and error."""
        try:
            return {"number": unit["number"], "data": self._predict(unit), "error": ""}
        except DataError as error:  # as a value, since Ray wraps exceptions
            reason = f"{str(error).rstrip('.')}, on {platform.node()}."
            return {"number": unit["number"], "data": b"", "error": reason}

    def _predict(self, unit: Unit) -> bytes:
        import pyarrow as pa
        from pyarrow import parquet

        if self.version != __version__:
            rule = f"Install {self.version}, as on the machine of the job"
            raise DataError(f"Siglum has the version {__version__}. {rule}")
        recogniser = _open(self.raw, self.name)
        types = {"file": pa.string(), "row": pa.int64(), "label": pa.string()}
        types |= {"probability": pa.float64(), "set": pa.list_(pa.string())}
        types |= {"rejected": pa.bool_(), "error": pa.string()}
        rows, records = _read(unit, self.column), list[Record]()
        while batch := list(islice(rows, BATCH)):
            _predict_batch(recogniser, batch)
            records += [record for record, _ in batch]
        file = pa.BufferOutputStream()
        parquet.write_table(pa.Table.from_pylist(records, pa.schema(types)), file)
        return bytes(file.getvalue())


@cache
def _open(raw: bytes, name: str) -> Recogniser:
    return open_bundle(bundles.decode(raw, name), name, threads=1)


def _predict_batch(recogniser: Recogniser, batch: Sequence[tuple[Record, bytes]]) -> None:
    inputs: list[Input] = []
    for record, image in batch:
        problems: list[decode.Unreadable] = []
        if "error" not in record:
            inputs += preprocess_images([image], recogniser.preprocess, problems)
        for _, reason in problems:
            record["error"] = reason
    readable = [record for record, _ in batch if "error" not in record]
    arrays = recogniser.predict_arrays(*stack(inputs)) if inputs else ((), (), ())
    for record, probs, in_set, rejected in zip(readable, *arrays, strict=True):
        order = np.argsort(-probs, kind="stable")
        names = [recogniser.classes[label] for label in order[in_set[order]]]
        record |= {"label": names[0], "probability": float(probs.max()), "set": names}
        record["rejected"] = bool(rejected)


Run = Callable[[Predictor, Sequence[Unit]], Iterable[Part]]  # yields parts in any order


def predict(
    recogniser: Path,
    places: Sequence[str],
    out: Path,
    column: str | None,
    run: Run,
    progress: Progress,
) -> tuple[int, int]:
    """Predict all images of `places` with a bundle; continue where an earlier call ended.

    Args:
        places: Parquet files with a column of images, image files, folders of both, patterns, or
            URIs of them that pyarrow opens.
        out: The folder of the parts, which readers of Parquet open as one table: files by name,
            rows in order.
        column: of the images in Parquet files; by default the first column of bytes.
        run: predicts units, here or elsewhere.

    Returns:
        The number of rows, and of those that could not be read.
    """
    with require_extra("Prediction in bulk", "parquet"):
        from pyarrow import dataset
    load(recogniser)
    raw, files = recogniser.read_bytes(), dict[str, Version]()
    for place in places:
        files |= _find_files(place, out)
    units = _divide(sorted(files), column)
    inputs = json.dumps([sorted(files.items()), column, ROWS])
    with _open_folder(out, {"recogniser": raw, "input": inputs.encode()}):
        parts = [out / f"part-{unit['number']:07}{SUFFIX}" for unit in units]
        missing = [unit for unit in units if not parts[unit["number"]].exists()]
        done = len(units) - len(missing)
        for part in run(Predictor(raw, recogniser.name, column, __version__), missing):
            if part["error"]:
                raise DataError(part["error"])
            write_atomic(parts[part["number"]], part["data"])
            done += 1
            progress(f"predicting {out.name}, parts", done, len(units))
        with reading(out, ValueError):  # another program may have damaged a part
            table = dataset.dataset(list(map(str, parts)))
            errors = table.count_rows(filter=dataset.field("error").is_valid())
            return table.count_rows(), errors


def _find_files(place: str, out: Path) -> dict[str, Version]:
    """Return the Parquet and image files of a place, with their versions."""
    from pyarrow import fs

    place = place if "://" in place else str(Path(place).expanduser().absolute())
    with reading(place, Exception):  # Arrow raises nearly anything
        system, path = fs.FileSystem.from_uri(place)
        entries = [system.get_file_info(path)]
        if not entries[0].is_file:
            pattern = path if has_magic(path) else f"{path.rstrip('/')}/*"
            home = re.split(r"[*?[]", pattern)[0].rpartition("/")[0]
            deep = pattern != path or "/" in pattern[len(home) + 1 :]
            selector = fs.FileSelector(home or "/", allow_not_found=True, recursive=deep)
            entries = [
                one
                for one in system.get_file_info(selector)
                if one.is_file
                and fnmatchcase(one.path, pattern)
                and one.path.lower().endswith(SUFFIXES)
                and not folder.is_system(one.base_name)
                and out.absolute() not in Path(one.path).parents
            ]
    if not entries:
        raise DataError(f"No Parquet or image files in {place}.")
    return {place.replace(path, one.path): (one.size, one.mtime_ns) for one in entries}


def _divide(files: Sequence[str], column: str | None) -> list[Unit]:
    ranges: list[tuple[list[str], int, int]] = []
    for is_table, names in groupby(files, lambda name: name.endswith(SUFFIX)):
        if not is_table:
            images = list(names)
            ranges += [(images[n : n + ROWS], 0, 0) for n in range(0, len(images), ROWS)]
            continue
        for name in names:
            with _open_table(name, column) as (table, _):
                rows = table.metadata.num_rows
            ranges += [([name], n, min(n + ROWS, rows)) for n in range(0, rows, ROWS)]
    if not ranges:
        raise DataError("No images to predict: the Parquet files have no rows.")
    fields = ("number", "files", "start", "stop")
    return [dict(zip(fields, (n, *one), strict=True)) for n, one in enumerate(ranges)]


@contextmanager
def _open_table(name: str, column: str | None) -> Iterator[tuple[Any, str]]:
    """Open a Parquet file, and choose the column of its images."""
    from pyarrow import parquet

    with reading(name, Exception):  # Arrow raises nearly anything for hostile bytes
        # Without a buffer it would read all of a row group at once.
        table = parquet.ParquetFile(name, buffer_size=READ_BYTES)
    with table:
        # Bytes, or a struct with them; those of one size are pixels, not files.
        types = {one.name: str(one.type) for one in table.schema_arrow}
        images = [n for n, kind in types.items() if "binary" in kind and "fixed" not in kind]
        if column not in (None, *images) or not images:
            wanted = "encoded images" if column is None else f"encoded images called {column!r}"
            raise DataError(f"{name} has no column of {wanted}, but {', '.join(types)[:200]!r}.")
        yield table, column or images[0]


def _read(unit: Unit, column: str | None) -> Iterator[tuple[Record, bytes]]:
    """Yield a record of file, row and perhaps error for each image, and the image."""
    if not unit["stop"]:
        yield from map(_read_image, map(str, unit["files"]))
        return
    name, start, stop = str(unit["files"][0]), unit["start"], unit["stop"]
    row, reason = start, ""
    try:
        with _open_table(name, column) as (table, chosen):
            sizes = [table.metadata.row_group(n).num_rows for n in range(table.num_row_groups)]
            ends = np.cumsum(sizes)
            first, last = np.searchsorted(ends, (start, stop - 1), side="right").tolist()
            position = int(ends[first]) - sizes[first]
            groups = range(first, last + 1)
            for batch in table.iter_batches(READ_ROWS, groups, [chosen], use_threads=False):
                images = batch.column(0)[max(start - position, 0) : max(stop - position, 0)]
                for image in images.to_pylist():
                    image = image.get("bytes") if isinstance(image, dict) else image
                    yield {"file": name, "row": row}, image or b""
                    row += 1
                position += len(batch)
                if row == stop:
                    return
    except DataError:
        raise
    except Exception as error:
        if "://" in name:  # maybe the network, which the next call may reach
            raise cannot_read(name, error) from None
        reason = f"the Parquet file is damaged: {error}"
    for damaged in range(row, stop):
        yield {"file": name, "row": damaged, "error": reason}, b""


def _read_image(name: str) -> tuple[Record, bytes]:
    from pyarrow import fs

    record: Record = {"file": name, "row": 0}
    try:
        system, path = fs.FileSystem.from_uri(name)
        with system.open_input_stream(path) as file:
            return record, file.read(decode.MAX_BYTES + 1)
    except OSError as error:
        if "://" in name or isinstance(error, FileNotFoundError):  # which was there before
            raise cannot_read(name, error) from None
        return record | {"error": str(error)}, b""


@contextmanager
def _open_folder(out: Path, job: Mapping[str, bytes]) -> Iterator[None]:
    """Lock the folder of the parts, and check that they are of this job."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in job.items()}
    if not out.exists():
        write_atomic(out / JOB, json.dumps(digests))
    if not (out / JOB).is_file():
        raise ConfigError(f"{out} exists already. Choose another name with -o.")
    try:
        lock = FileLock(out / LOCK).acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"Another process writes {out}. Wait until it ends.") from None
    except OSError as error:
        raise DataError(f"Cannot write {out}: {str(error.strerror).lower()}.") from None
    with lock:
        if not any(out.glob(f"*{SUFFIX}")):  # the job before has predicted nothing
            write_atomic(out / JOB, json.dumps(digests))
        before = read_json(out / JOB)
        for name, digest in digests.items():
            if before.get(name) != digest:
                rule = "Choose another name with -o"
                raise ConfigError(f"{out} has the predictions of another {name}. {rule}.")
        for rest in out.glob(".*.tmp"):  # of a process that was killed
            rest.unlink()
        yield


def run_locally(predictor: Predictor, units: Sequence[Unit], jobs: int) -> Iterator[Part]:
    """Predict units in processes of one thread each."""
    # Forking a process that has threads can block the child for ever.
    context = multiprocessing.get_context("spawn")
    waiting, running = iter(units), set[Future[Part]]()
    with ProcessPoolExecutor(jobs, context, _initialise) as pool:
        try:
            while True:
                more = islice(waiting, 2 * jobs - len(running))  # not all: each holds its part
                running |= {pool.submit(predictor, unit) for unit in more}
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in done)
        except BrokenProcessPool:
            reason = "perhaps for lack of memory. Run the command again, with fewer --jobs"
            raise DataError(f"A process that predicts has ended, {reason}.") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _initialise() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once, without a traceback
    end_with_parent()


def end_with_parent() -> None:
    """End this process when its parent ends, which may be killed."""

    def wait_for_parent() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_parent, daemon=True).start()
