"""Read and write files safely: atomic writes, strict JSON, and the folders that Siglum uses."""

import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from siglum.errors import DataError

MAX_JSON_BYTES = 64 * 2**20


def data_dir() -> Path | None:
    """Return the folder of data sets that the environment variable SIGLUM_DATA names, if any."""
    return Path(os.environ["SIGLUM_DATA"]) if os.environ.get("SIGLUM_DATA") else None


@cache
def _writable_cache(wanted: Path) -> Path:
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError as error:
        fallback = Path(tempfile.gettempdir()) / f"siglum-{os.getuid()}"
        fallback.mkdir(mode=0o700, exist_ok=True)
        warnings.warn(
            f"Cannot write to the cache folder {wanted}: {error.strerror}. Using {fallback}. "
            "Set SIGLUM_CACHE to a folder that you can write to.",
            stacklevel=3,
        )
        return fallback


def cache_dir() -> Path:
    """Return the cache folder: SIGLUM_CACHE, or the user's cache folder.

    Falls back to a temporary folder, with a warning, where that cannot be written.
    """
    import platformdirs

    return _writable_cache(
        Path(os.environ.get("SIGLUM_CACHE") or platformdirs.user_cache_dir("siglum"))
    )


def cannot_write(path: Path, error: OSError) -> DataError:
    """Return the error to raise when `path` cannot be written, in the user's words."""
    return DataError(f"Cannot write {path}: {(error.strerror or str(error)).lower()}.")


def cannot_read(name: object, error: Exception) -> DataError:
    """Return the error to raise when a file cannot be read, in the user's words."""
    reason = getattr(error, "strerror", None) or str(error)
    return DataError(f"Cannot read {name}: {reason.lower()}.")


@contextmanager
def atomic_path(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success, sync it and rename it to `path`.

    Readers see the old file or the new one, never a part of it, whenever the process dies.
    The temporary file is removed when the block raises.

    Raises:
        DataError: if the file cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod((0o666 & ~umask) if mode is None else mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        temporary = None
        sync_dir(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):  # the first error is the one to report
                temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file so that a reader sees the old contents or the new ones; text is UTF-8.

    Raises:
        DataError: if the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def sync_dir(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename survives a power cut."""
    with suppress(OSError):  # not every file system can
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def parse_json(text: str | bytes, name: str) -> Any:
    """Parse strict JSON: UTF-8, no NaN or infinity, no key twice, no huge or deep values.

    Raises:
        DataError: if it is not such JSON; the message begins with `name`.
    """

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not a JSON number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(table := dict(pairs)) < len(pairs):
            raise ValueError("a key occurs twice")
        return table

    try:
        if len(text) > MAX_JSON_BYTES:
            raise ValueError("it is larger than 64 MB")
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not valid JSON: {error}.") from None


def read_json(path: Path) -> Any:
    """Read a strict JSON file; see `parse_json`.

    Raises:
        DataError: if the file cannot be read or is not valid.
    """
    try:
        return parse_json(path.read_bytes(), str(path))
    except OSError as error:
        raise cannot_read(path, error) from None
