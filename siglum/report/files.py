"""Pages reach the disk whole or not at all."""

from pathlib import Path

from siglum.errors import RunError


def replace(path: Path, raw: bytes) -> Path:
    """Write a file in one step, in the place of another of its name, and return `path`.

    Raises:
        RunError: if `path` cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        try:
            unfinished.write_bytes(raw)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            f"{path} must be a place that can be written, got {error.strerror!r}. "
            "Choose another with -o."
        ) from error
    return path
