"""`folder:DIR`: a folder of folders, one a class."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from siglum.errors import DataError
from siglum.images.decode import MAX_BYTES, Unreadable, as_text
from siglum.images.listing import Listing, empty_of, is_picture


def scan(root: Path, source: str) -> Listing:
    """List the pictures below `root`. Links are followed, but not in circles.

    Raises:
        DataError: if `root` is no folder that can be read.
    """
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise DataError(f"{source} must name a folder, got {found} there.")
    digest = hashlib.blake2b(os.fsencode(root.resolve()), digest_size=16)
    paths: list[str] = []
    folders: list[str] = []
    unreadable: list[Unreadable] = []
    for name, facts in _walk(root):
        if facts is None:
            folders.append(as_text(name))
        elif isinstance(facts, str):
            unreadable.append((as_text(name), facts))
        else:
            paths.append(name)
            key = (name, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
            digest.update(repr(key).encode("utf-8", "surrogateescape"))
    paths.sort()

    def read() -> Iterator[tuple[int, bytes | DataError]]:
        for index, name in enumerate(paths):
            try:
                path = root / name
                with path.open("rb") as file:
                    yield index, file.read(MAX_BYTES + 1)
            except OSError as error:
                yield index, DataError(f"cannot be read ({error.strerror})")

    def contents() -> str:
        whole = hashlib.blake2b(digest_size=16)
        for index, raw in read():
            found = raw if isinstance(raw, bytes) else b"unreadable"
            whole.update(repr((paths[index], len(found))).encode("utf-8", "surrogateescape"))
            whole.update(found)
        return whole.hexdigest()

    names = paths if all(name.isascii() for name in paths) else [as_text(name) for name in paths]
    empty = empty_of(folders, [*names, *(name for name, _ in unreadable)])
    return Listing(source, names, tuple(unreadable), digest.hexdigest(), contents, read, empty)


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result | str | None]]:
    """Yield each picture's name with its facts, or why it cannot be read; a folder with None."""
    waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", (_identity(root),))]
    while waiting:
        folder, above = waiting.pop()
        try:
            # Names alone: entries that keep what they know of each file would fill memory.
            entries = sorted(entry.name for entry in (root / folder).iterdir())
        except OSError as error:
            yield folder or ".", f"cannot be listed ({error.strerror})"
            continue
        for entry in entries:
            if entry.startswith("."):
                continue
            name = f"{folder}/{entry}" if folder else entry
            try:
                facts = (root / name).stat()
            except OSError as error:
                if is_picture(name) or (root / name).is_symlink():
                    yield name, f"leads nowhere ({error.strerror})"
                continue
            if stat.S_ISDIR(facts.st_mode):
                identity = (facts.st_dev, facts.st_ino)
                if identity in above:
                    yield name, "is a link in a circle"
                else:
                    waiting.append((name, (*above, identity)))
                    yield name, None
            elif is_picture(name):
                regular = stat.S_ISREG(facts.st_mode)
                yield name, facts if regular else "is no regular file"


def _identity(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino
