"""The picture files of a folder or an archive, before any is decoded.

A picture's class is the folder it lies in, below what all the folders have in common: `a/x.png`
in `folder:signs` and `train/a/x.png` in `archive:signs.zip` are both of class `a`.
"""

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from siglum.errors import DataError
from siglum.images.decode import IMAGE_SUFFIXES, Unreadable


@dataclass(frozen=True)
class Listing:
    """What there is to read, in the order of the names."""

    source: str
    names: Sequence[str]  # relative, with "/", ascending
    unreadable: tuple[Unreadable, ...]  # found on the way, and not among `names`
    signature: str  # changes when a file does; cheap
    contents: Callable[[], str]  # hex digest of the bytes themselves; reads everything
    read: Callable[[], Iterator[tuple[int, bytes | DataError]]]  # (index into names, bytes)
    empty: Sequence[str] = ()  # folders without a picture, ascending


def is_picture(name: str) -> bool:
    """Say whether a relative name is one of a picture, and not of a hidden or system file."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and path.suffix.lower() in IMAGE_SUFFIXES


def empty_of(folders: Collection[str], names: Collection[str]) -> list[str]:
    """Return those of `folders` that hold none of `names` and no other folder, ascending."""
    used = {name.rpartition("/")[0] for name in names}
    used |= {str(above) for name in (*folders, *used) for above in PurePosixPath(name).parents}
    return [
        folder
        for folder in sorted({*folders} - used - {*names})
        if not any(part.startswith((".", "__")) for part in folder.split("/"))
    ]


def classes_of(listing: Listing) -> tuple[list[str | None], tuple[str, ...]]:
    """Return each picture's class (None for one outside any class folder), and all, ascending.

    Raises:
        DataError: if no picture lies in a class folder.
    """
    folders = [sys.intern(name.rpartition("/")[0]) for name in listing.names]  # few, held once
    distinct = sorted(set(folders))
    parts = [folder.split("/") if folder else [] for folder in distinct]
    shared = 0
    if len(distinct) > 1:
        while all(len(p) > shared and p[shared] == parts[0][shared] for p in parts):
            shared += 1
    elif parts:
        shared = max(len(parts[0]) - 1, 0)
    named = {
        folder: "/".join(path[shared:]) or None
        for folder, path in zip(distinct, parts, strict=True)
    }
    classes = tuple(sorted(name for name in named.values() if name is not None))
    if not classes:
        found = f"{len(folders)} without a folder" if folders else "none"
        if listing.unreadable:
            name, reason = listing.unreadable[0]
            found += f" ({name} {reason})"
        raise DataError(
            f"{listing.source} must hold pictures in a folder for each class, got {found}. "
            f"Pictures end in {', '.join(IMAGE_SUFFIXES)}."
        )
    return [named[folder] for folder in folders], classes
