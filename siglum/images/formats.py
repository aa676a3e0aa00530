"""The formats that data sets are published in; docs/formats.md tells what each must hold.

Nothing in a file is run, and no file that it names is opened.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from siglum.errors import DataError, MissingExtra
from siglum.files import parse_json
from siglum.formatting import printable
from siglum.images import decode, folder, strokes
from siglum.images.cache import Content, Listing, Pixels, Progress, Row

NUM_INSPECTED = 1_000  # files of a folder, to find its format
HEAD = 4_096  # bytes of a file, to find its format
MAX_UNPACKED = 4 * 2**30  # bytes of the arrays of a file
XML_ID = "{http://www.w3.org/XML/1998/namespace}id"
IMAGES = {"x", "image", "images", "imgs", "data"}  # words in the names of arrays
LABELS = {"y", "label", "labels", "target", "targets"}


class Sample(NamedTuple):
    """A labelled drawing or image in a file."""

    label: str  # "" if the file has none
    content: bytes | Pixels | list[strokes.Stroke]  # an image, or strokes of x, y and perhaps ms
    writer: str = ""
    part: str = ""  # "train", "val" or "test", where the file tells


class Format(NamedTuple):
    """A format: the names of its files, and their reader."""

    suffixes: tuple[str, ...]
    read: Callable[[Path], Iterable[Sample]]
    start: bytes = b""  # a pattern in the first bytes, where other formats have the same suffix


def kind_of(path: Path) -> str:
    """Return the format of a file, or of the files of a folder without images; "" if none."""
    files = [path] if path.is_file() else [*islice(_files(path), NUM_INSPECTED)]
    if any(file.suffix.lower() in folder.NAMES["image_suffixes"] for file in files):
        return ""
    kinds = (name for name, form in FORMATS.items() if any(_matches(one, form) for one in files))
    return next(kinds, "")


def _files(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if not folder.is_system(path.name) and path.is_file())


def _matches(path: Path, form: Format) -> bool:
    if path.suffix.lower() not in form.suffixes:
        return False
    with suppress(DataError):  # reading it will tell why
        return not form.start or bool(re.search(form.start, decode.read_bytes(path, HEAD)))
    return False


def read(kind: str, place: Path, spec: str, progress: Progress) -> Listing:
    """List the drawings or images of a file, or of the files of a format in a folder."""
    form, is_file = FORMATS[kind], place.is_file()
    files = [place] if is_file else sorted(one for one in _files(place) if _matches(one, form))
    if not files:
        raise DataError(f"{spec} has no files of this format ({' '.join(form.suffixes).strip()}).")
    rows, unreadable = list[Row](), list[decode.Unreadable]()
    samples = dict[str, tuple[Sample, object]]()  # with the versions of their files
    for done, file in enumerate(files):
        progress(f"reading {spec}", done, len(files))
        name = decode.as_text(file.name if is_file else file.relative_to(place).as_posix())
        part, before, problem = _part(re.split("[/._-]", name)), len(rows), ""
        try:
            facts = file.stat()
            for number, one in enumerate(form.read(file), start=1):
                if not one.label.strip():
                    problem = f"number {number} has no label"
                    continue
                label = folder.class_name(one.label.strip(), spec)
                rows.append(Row(f"{name}:{number}", label, one.part or part, one.writer))
                samples[rows[-1].name] = one, (facts.st_size, facts.st_mtime_ns)
        except Exception as error:  # the readers of hostile bytes raise nearly anything
            problem = _explain(error)
        if problem or len(rows) == before:
            unreadable.append((name, problem or "it has no drawings or images"))
    if not rows:
        name, problem = unreadable[0]
        where = spec if is_file else f"{name} of {spec}"
        raise DataError(printable(f"Cannot read {where}: {problem}."))
    parts = {row.part for row in rows}
    divided = "train" in parts and parts & {"val", "test"}
    rows = [row._replace(part=(row.part or "train") if divided else "all") for row in rows]

    def read_one(name: str) -> Content:
        content = samples[name][0].content
        return strokes.fit_to_pad(content) if isinstance(content, list) else content

    return Listing(rows, read_one, lambda name: samples[name][1], unreadable)


def _explain(error: Exception) -> str:
    """Return why a file cannot be read; raise MissingExtra if a package is absent."""
    if isinstance(error, ImportError):
        package = str(error.name).partition(".")[0]
        raise MissingExtra(f"This format needs {package}: pip install {package}") from None
    if isinstance(error, DataError):
        return str(error).rstrip(".")
    text = " ".join(re.split(r"\. |, e\.g", str(error))[0].split()) or type(error).__name__
    if isinstance(error, AttributeError | TypeError):
        text = "a value of another type"
    text = f"no {text}" if isinstance(error, KeyError) else text
    return f"it is damaged, or of another format ({text[:200]})"


def _part(words: Iterable[str]) -> str:
    """Return "train", "val" or "test" if a word means that part, else ""."""
    matches = filter(None, map(folder.PART.fullmatch, words))
    return next((match.lastgroup or "" for match in matches), "")


# Drawings


def _quickdraw(path: Path) -> Iterator[Sample]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            record = parse_json(line, f"line {number}")
            drawing = [np.array(stroke, float).T for stroke in record["drawing"]]
            writer, part = str(record.get("writer", "")), _part([str(record.get("split", ""))])
            yield Sample(record["word"], drawing, writer, part)


class _Tree(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise DataError("it has a document type, which may hide entities. Remove it")


def _inkml(path: Path) -> Iterator[Sample]:
    parser = ElementTree.XMLParser(target=_Tree())
    root = ElementTree.fromstring(decode.read_bytes(path), parser)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    columns = [channel.get("name") for channel in root.iter("channel")]
    width = 3 if columns[2:3] == ["T"] else 2
    traces = {
        one.get("id") or one.get(XML_ID) or str(number): (one.text or "").strip(", \n").split(",")
        for number, one in enumerate(root.iter("trace"))
    }

    def annotation(element: ElementTree.Element, *kinds: str) -> str:
        texts = [element.findtext(f"annotation[@type='{kind}']", "").strip() for kind in kinds]
        return re.sub(r"^\$(.+)\$$", r"\1", next(filter(None, texts), ""))

    groups = [one for one in root.iter("traceGroup") if one.find("traceView") is not None]
    symbols = [one for one in groups if annotation(one, "truth")]  # of an expression
    for one in symbols or [root]:
        label = annotation(one, "normalizedLabel", "label", "truth")
        label = label or _ground_truth(path.parent).get(annotation(root, "UI"), "")
        names = [view.get("traceDataRef", "").lstrip("#") for view in one.iter("traceView")]
        lines = [traces[name] for name in (names if symbols else traces)]
        drawing = [np.array([point.split()[:width] for point in each], float) for each in lines]
        yield Sample(label, drawing, annotation(root, "writer"))


@cache
def _ground_truth(home: Path) -> dict[str, str]:
    """Return the labels by UI of CROHME's isolated symbols, which are in a file next to them."""
    texts = [file.read_text("utf-8", "replace") for file in sorted(home.glob("*GT.txt"))]
    lines = [line for text in texts for line in text.splitlines() if "," in line]
    return dict(line.split(",", 1) for line in lines)


def _unipen(path: Path) -> Iterator[Sample]:
    """Read UNIPEN, and the second version of UJI's pen characters, whose segments are words."""
    text = path.read_bytes().decode("utf-8-sig", "backslashreplace")
    header, *segments = re.split(r"(?m)^[ \t]*(?=\.SEGMENT |WORD )", text)
    facts = dict(re.findall(r"(?m)^\.(COORD|WRITER_ID) (.+)", header))
    columns = facts.get("COORD", "X Y").split()
    width, writer = 3 if columns[2:3] == ["T"] else 2, facts.get("WRITER_ID", "").strip()
    upright = (1, 1 if "UJI" in text[:HEAD] else -1, 1)[:width]  # UNIPEN's y points up, UJI's down
    for segment in segments:
        title, _, body = segment.partition("\n")
        if title.startswith("WORD"):  # WORD a trn_UJI_W01-01
            _, label, session, *_ = f"{title} - -".split()
            part, _, writer = session.rpartition("-")[0].partition("_")
            texts = re.findall(r"POINTS \d+ #(.*)", body)
            part = {"trn": "train", "tst": "test"}.get(part, "")
        else:
            label, part = re.sub(r"\\(.)", r"\1", title.partition('"')[2].rpartition('"')[0]), ""
            texts = re.findall(r"(?ms)^\.PEN_DOWN(.*?)(?=^\.|\Z)", body)
        if texts:
            points = [np.array(one.split(), float).reshape(-1, len(columns)) for one in texts]
            yield Sample(label, [one[:, :width] * upright for one in points], writer, part)


# Images


def _parquet(path: Path) -> Iterator[Sample]:
    parquet = import_module("pyarrow.parquet")
    schema = parquet.read_schema(path)
    images = [one.name for one in schema if "binary" in str(one.type)]  # or a struct with bytes
    labels = [name for name in folder.NAMES["label_columns"] if name in schema.names]
    if not images or not labels:
        columns = ", ".join(schema.names)[:200]
        raise DataError(f"it has no columns of images, as bytes, and of labels, but {columns!r}")
    about = json.loads((schema.metadata or {}).get(b"huggingface", "{}"))
    feature = about.get("info", {}).get("features", {}).get(labels[0], {})
    names = dict(enumerate(feature.get("names", ())))
    for batch in parquet.ParquetFile(path).iter_batches(columns=[images[0], labels[0]]):
        for image, label in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            content = image["bytes"] if isinstance(image, dict) else image
            yield Sample(str(names.get(label, "") if names else label), content or b"")


def _numpy(path: Path) -> Iterator[Sample]:
    with path.open("rb") as file:  # np.load leaves a file open that it cannot read
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):  # QuickDraw's bitmaps: a file for each class
            return _pair({"images": loaded, "labels": np.full(len(loaded), path.stem)})
        if sum(one.file_size for one in loaded.zip.infolist()) > MAX_UNPACKED:
            raise DataError(f"it unpacks to more than {MAX_UNPACKED >> 30} GB. Divide it")
        return _pair({**loaded})


def _matlab(path: Path) -> Iterator[Sample]:
    arrays = import_module("scipy.io").loadmat(path, simplify_cells=True)
    if isinstance(emnist := arrays.get("dataset"), dict):
        characters = {number: chr(code) for number, code, *_ in emnist["mapping"].tolist()}
        arrays = {}
        for part in ("train", "test"):  # its images are transposed
            labels = [characters[number] for number in emnist[part]["labels"].ravel().tolist()]
            images = emnist[part]["images"].reshape(-1, 28, 28).transpose(0, 2, 1)
            arrays |= {f"{part}_labels": labels, f"{part}_images": images}
    return _pair(arrays)


def _pixels(path: Path) -> Iterator[Sample]:
    with path.open(encoding="utf-8-sig") as file:
        cells = [cell.strip("\"' \r\n").casefold() for cell in file.readline().split(",")]
        has_header = any(re.search("[a-df-z]", cell) for cell in cells[1:])  # but 1e+00 is none
        if has_header and not file.readline().strip():
            raise DataError("it has only a header")
    if math.isqrt(len(cells)) ** 2 == len(cells):
        raise DataError("it has pixels, but no column label. Name the file that has labels")
    label = next((cells.index(one) for one in folder.NAMES["label_columns"] if one in cells), 0)
    columns = [column for column in range(len(cells)) if column != label]
    options: Any = {"delimiter": ",", "skiprows": int(has_header), "quotechar": '"'}
    labels = np.loadtxt(path, str, usecols=label, ndmin=1, **options)
    images = np.loadtxt(path, np.float32, usecols=columns, ndmin=2, **options)
    return _pair({"labels": labels, "images": images})


def _pair(arrays: Mapping[str, Any]) -> Iterator[Sample]:
    """Yield the images of arrays with labels from the arrays of the same name: x_test, y_test."""
    words = {name: frozenset(re.findall(r"[^\W_]+", name.lower())) for name in arrays}
    images = {words[name] - IMAGES: arrays[name] for name in arrays if words[name] & IMAGES}
    labels = {words[name] - LABELS: arrays[name] for name in arrays if words[name] & LABELS}
    if not images.keys() & labels.keys():
        names = ", ".join(name for name in arrays if name[:2] != "__")[:200]
        raise DataError(f"it has no arrays images and labels, or x and y, but {names!r}")
    for key in [key for key in images if key in labels]:
        pixels, values = _as_images(np.asarray(images[key])), np.asarray(labels[key])
        if len(pixels) != values.size:
            raise DataError(f"it has {len(pixels):,} images, but {values.size:,} labels")
        values = values.astype(np.int64) if values.dtype.kind == "f" else values
        for label, image in zip(values.ravel().astype(str).tolist(), pixels, strict=True):
            yield Sample(label, image, part=_part(key))


def _as_images(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return (N, C, H, W) from rows of pixels or from images, in [0, 1] or in [0, 255]."""
    if array.ndim == 2 and math.isqrt(array.shape[1]) ** 2 == array.shape[1]:
        array = array.reshape(len(array), math.isqrt(array.shape[1]), -1)
    array = array[..., None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[3] not in (1, 3) or array.dtype.kind not in "biuf":
        rule = "images must be numbers of shape (N, H, W), (N, H, W, 3) or (N, H * H)"
        raise DataError(f"{rule}, got {array.dtype} {array.shape}")
    low, high = float(array.min(initial=0)), float(array.max(initial=0))
    if not 0 <= low <= high <= 255:  # or not a number
        raise DataError(f"pixels must be 0 to 1 or 0 to 255, got {low:.4g} to {high:.4g}")
    pixels = np.round(array * 255.0 if high <= 1 else array).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(pixels, 3, 1))


UNIPEN = rb"(?m)^[ \t]*(\.(VERSION|HIERARCHY|COORD|SEGMENT|PEN_DOWN)\b|WORD \S+ \S+-\d+\s*$)"
FORMATS = {
    "quickdraw": Format((".ndjson",), _quickdraw),
    "inkml": Format((".inkml",), _inkml),
    "unipen": Format(("", ".txt", ".dat", ".unp", ".tra", ".tes"), _unipen, UNIPEN),
    "parquet": Format((".parquet",), _parquet),
    "numpy": Format((".npz", ".npy"), _numpy),
    "matlab": Format((".mat",), _matlab),
    "pixels": Format((".csv",), _pixels, rb"\A([^,\n]*,){63}"),
}
