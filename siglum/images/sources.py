"""The kinds of places that pictures come from, and how each is loaded."""

import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError, choose
from siglum.images import (
    archive,
    cache,
    digits,
    folder,
    idx,
    ink,
    manifest,
    studio_set,
    torchvision,
)
from siglum.images.cache import Progress, no_progress
from siglum.images.imageset import ImageSet

__all__ = ["SOURCES", "ImageSet", "Source", "load", "parts"]


@dataclass(frozen=True)
class Source:
    """One kind of place where pictures lie."""

    help: str
    place: str  # what stands behind the colon, or "" for a set that needs no place
    parts: Callable[[Path], tuple[str, ...]]  # of "train", "test", or ("all",)
    load: Callable[[Path, str, str, Preprocess, Progress], ImageSet]


def _folder(place: Path, part: str, spec: str, preprocess: Preprocess, see: Progress) -> ImageSet:
    if studio_set.is_set(place):
        return studio_set.load(place, part, spec, preprocess, see)
    return cache.load(folder.scan(place, spec), preprocess, see)


def _archive(place: Path, part: str, spec: str, preprocess: Preprocess, see: Progress) -> ImageSet:
    return cache.load(archive.scan(place, spec), preprocess, see)


def _idx(place: Path, part: str, spec: str, preprocess: Preprocess, see: Progress) -> ImageSet:
    return cache.rebuild(idx.load(place, part, spec), preprocess, see)


def _digits(place: Path, part: str, spec: str, preprocess: Preprocess, see: Progress) -> ImageSet:
    return cache.rebuild(digits.load(part, spec), preprocess, see)


def _known(place: Path, part: str, spec: str, preprocess: Preprocess, see: Progress) -> ImageSet:
    return cache.rebuild(torchvision.load(spec, part), preprocess, see)


def _manifest(place: Path, part: str, spec: str, preprocess: Preprocess, see: Progress) -> ImageSet:
    listed = manifest.read(place, spec)
    source, inner = find(listed.source, beside=place.parent)
    images = source.load(inner, listed.part, listed.source, preprocess, see)
    return manifest.select(images, listed, spec)


def _known_parts(name: str, place: Path) -> tuple[str, ...]:
    return torchvision.parts(name)


def _both(place: Path) -> tuple[str, ...]:
    return "train", "test"


def _folder_parts(place: Path) -> tuple[str, ...]:
    return studio_set.parts(place) if studio_set.is_set(place) else ("all",)


def _whole(place: Path) -> tuple[str, ...]:
    return ("all",)


SOURCES: dict[str, Source] = {
    "mnist5k": Source("5,000 digits that come along", "", _both, _digits),
    "idx": Source("MNIST-style files, plain or .gz", "DIR", idx.parts, _idx),
    "folder": Source("a folder a class, or a set of signs", "DIR", _folder_parts, _folder),
    "archive": Source("zip or tar of such folders", "FILE", _whole, _archive),
    "manifest": Source("a CSV of another source's files and labels", "FILE", _whole, _manifest),
} | {
    name: Source(f"{name}, by torchvision", "", partial(_known_parts, name), _known)
    for name in torchvision.SETS
}


def parts(spec: str) -> tuple[str, ...]:
    """Return the parts that a source has: ("train", "test"), one of them, or ("all",)."""
    source, place = find(spec)
    return source.parts(place)


def load(
    spec: str,
    part: str = "train",
    preprocess: Preprocess | None = None,
    *,
    rename: Mapping[str, str] | None = None,
    classes: Sequence[str] = (),
    writers: str | None = None,
    progress: Progress = no_progress,
) -> ImageSet:
    """Load the pictures of a source, fitted as `preprocess` says.

    Where it has a `frame`, pictures that do not come cut out in that frame are brought into it.

    Args:
        spec: "mnist5k", "idx:DIR", "folder:DIR", "archive:FILE", ...: the keys of `SOURCES`.
            A place that is not there is looked for under SIGLUM_DATA.
        part: "train" or "test"; without meaning for an archive, a manifest or a plain folder, which
            are whole.
        rename: new names of classes; see `ImageSet.rename`.
        classes: those to keep, by their new names; all when empty.
        writers: a regular expression whose first group finds the writer in a file name.

    Raises:
        ConfigError: if the source is unknown, or `rename`, `classes` or `writers` do not fit it.
        DataError: if there is nothing there that can be read.
    """
    source, place = find(spec)
    if "all" not in source.parts(place):
        choose(idx.STEMS, part, "part")
    preprocess = preprocess or Preprocess()
    plain = preprocess.model_copy(update={"margins": None})
    images = source.load(place, part, spec, plain, progress)
    frame = preprocess.margins
    if frame is not None and not ink.same_margins(ink.margins(images), frame):
        images = source.load(place, part, spec, preprocess, progress)
    if images.unreadable:
        name, reason = images.unreadable[0]
        count, total = len(images.unreadable), len(images.unreadable) + len(images)
        warnings.warn(
            f"{spec}: {count} of {total} files are left out, such as {name}, which {reason}. "
            f"All of them: siglum data {spec}",
            stacklevel=2,
        )
    if rename:
        images = images.rename(rename)
    if classes:
        images = images.select_classes(classes)
    return _with_writers(images, writers) if writers else images


def find(spec: str, beside: Path | None = None) -> tuple[Source, Path]:
    """Return a source and its place: here, else in the folder `beside`, else under SIGLUM_DATA."""
    kind, colon, place = spec.partition(":")
    source = choose(SOURCES, kind, "source")
    if source.place and not place:
        raise ConfigError(f"{kind} must name its place, as in {kind}:{source.place}, got {spec!r}.")
    if colon and not source.place:
        raise ConfigError(f"{kind} must stand alone, got {spec!r}.")
    try:
        path = Path(place).expanduser()
        under = [
            folder / path for folder in (beside, Path(os.environ.get("SIGLUM_DATA", ""))) if folder
        ]
        if source.place and not path.exists():
            path = next((other for other in under if other.exists()), path)
        if source.place and path.is_dir():
            (path / "..").stat()  # fails where a folder may not be entered
    except (OSError, RuntimeError) as error:  # no permission, too long a name, no such user
        found = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{spec} must name a place that can be looked at: {found}") from None
    return source, path


def _with_writers(images: ImageSet, pattern: str) -> ImageSet:
    if images.files is None:
        raise ConfigError(f"writers must be found in file names, and {images.source} has none.")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"writers must be a regular expression, got {pattern!r}: {error}."
        ) from None
    if compiled.groups < 1:
        raise ConfigError(f"writers must have a group in brackets, got {pattern!r}.")
    found = [compiled.search(name) for name in images.files]
    for name, match in zip(images.files, found, strict=True):
        if match is None or match[1] is None:
            raise DataError(f"writers must match every file name, got {name!r} for {pattern!r}.")
    return replace(images, writers=tuple(match[1] for match in found if match))
