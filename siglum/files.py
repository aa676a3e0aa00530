"""Read and write files safely: atomic writes, strict JSON, and the folders that Siglum uses."""

import atexit
import csv
import hashlib
import io
import json
import os
import secrets
import shutil
import tempfile
import tomllib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from siglum.errors import ConfigError, DataError, first_line


def data_dir() -> Path | None:
    """Return the folder of data sets that the environment variable SIGLUM_DATA names, if any."""
    return Path(os.environ["SIGLUM_DATA"]) if os.environ.get("SIGLUM_DATA") else None


def cache_dir() -> Path:
    """Return the cache folder: SIGLUM_CACHE, or the user's cache folder.

    Falls back to a temporary folder, with a warning, where that cannot be written.
    """
    import platformdirs

    return _writable(Path(os.environ.get("SIGLUM_CACHE") or platformdirs.user_cache_dir("siglum")))


@cache
def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        temporary = tempfile.mkdtemp(prefix="siglum-")
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        problem = f"Cannot write to the cache folder {folder}: {error.strerror}. Nothing is cached."
        remedy = "Set SIGLUM_CACHE to a folder that you can write to."
        warnings.warn(f"{problem} {remedy}", stacklevel=3)
        return Path(temporary)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's contents as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cannot_read(name: object, error: Exception) -> DataError:
    """Return the error to raise when a file cannot be read."""
    strerror = getattr(error, "strerror", None)
    reason = strerror[0].lower() + strerror[1:] if strerror else first_line(error)
    return DataError(f"Cannot read {name}: {reason.partition('. ')[0]}.")


@contextmanager
def reading(name: object, other: type[Exception] = OSError) -> Iterator[None]:
    """Raise `cannot_read` for an OSError in the block, and for errors of another kind."""
    try:
        yield
    except (OSError, other) as error:
        raise cannot_read(name, error) from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success, sync it and rename it to `path`.

    Readers see the old file or the new one, never a part of it, whenever the process dies.
    """
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        with suppress(OSError):  # not every file system can flush a folder to disk
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"Cannot write {path}: {reason}.") from error
    finally:
        with suppress(OSError):  # the first error is the one to report
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file, text as UTF-8, so that a reader sees the old contents or the new ones."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def parse_json(text: str | bytes, name: str) -> Any:
    """Parse strict JSON: UTF-8, no NaN or infinity; a DataError begins with `name`."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not a JSON number")

    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not valid JSON: {error}.") from None


def read_json(path: Path) -> Any:
    """Read a strict JSON file; see `parse_json`."""
    with reading(path):
        return parse_json(path.read_bytes(), str(path))


def read_toml(path: Path, setting: str) -> dict[str, Any]:
    """Read the TOML file that a setting names; raises ConfigError."""
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{setting} must be a TOML file, got {path}: {error}.") from None


def read_csv(path: Path, setting: str) -> list[list[str]]:
    """Return the lines of a CSV file in UTF-8 that are not empty; cells may have several lines."""
    try:
        with reading(path):
            text = io.StringIO(path.read_text("utf-8-sig"), newline="")
        return [row for row in csv.reader(text, strict=True) if row]
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{setting} must be a CSV file in UTF-8, got {path}: {error}.") from None


def to_csv(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
