"""Small files for the tests of this folder: pictures, folders, archives and files of formats."""

import gzip
import io
import json
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Files = Mapping[str, bytes] | Iterable[tuple[str, bytes]]


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return the bytes of a picture file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def sign(value: int) -> NDArray[np.uint8]:
    """Return a light block of `value` on black: uint8 (28, 28), which no fitting changes."""
    pixels = np.zeros((28, 28), dtype=np.uint8)
    pixels[8:20, 8:20] = value
    return pixels


def png(value: int) -> bytes:
    return encoded(Image.fromarray(sign(value)))


SIGNS = {"a/0.png": png(10), "a/1.png": png(20), "b/0.png": png(30), "b/1.png": png(40)}
VALUES = [10, 20, 30, 40]


def write_folder(folder: Path, files: Files = SIGNS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in dict(files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    return folder


def write_zip(path: Path, files: Files = SIGNS, **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, raw in files.items() if isinstance(files, Mapping) else files:
            archive.writestr(name, raw)
    return path


def write_tar(path: Path, files: Files = SIGNS, mode: str = "w", **options: Any) -> Path:
    with tarfile.open(path, mode, **options) as archive:  # type: ignore[call-overload]
        for name, raw in files.items() if isinstance(files, Mapping) else files:
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def write_idx(path: Path, values: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())
    return path


def write_idx_pair(
    folder: Path, stem: str = "train", *, count: int = 6, classes: int = 3, first_label: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Write images and labels; return them: uint8 (N, 28, 28) and uint8 (N,)."""
    random = np.random.RandomState(count)
    images = random.randint(0, 256, (count, 28, 28)).astype(np.uint8)
    images[:, [0, -1]] = images[:, :, [0, -1]] = 0  # a dark border, so that nothing is inverted
    labels = (np.arange(count) % classes + first_label).astype(np.uint8)
    write_idx(folder / f"{stem}-images-idx3-ubyte", images)
    write_idx(folder / f"{stem}-labels-idx1-ubyte", labels)
    return images, labels


CROSS, DASH = [[(0, 0), (90, 100)], [(90, 0), (0, 100)]], [[(0, 40), (50, 42), (100, 40)]]
DRAWINGS = [("x", CROSS), ("dash", DASH), ("x", CROSS[::-1]), ("dash", [DASH[0][::-1]])]


def quickdraw(times: bool = True) -> str:
    lines = []
    for word, drawing in DRAWINGS:
        lists = [[*map(list, zip(*stroke, strict=True))] for stroke in drawing]
        lists = [[*xy, [*range(0, 8 * len(xy[0]), 8)]] if times else xy for xy in lists]
        lines.append(json.dumps({"word": word, "recognized": True, "drawing": lists}))
    return "\n".join(lines) + "\n"


def inkml(head: str, drawing: Iterable[Iterable[tuple[int, int]]], tail: str = "") -> str:
    traces = [", ".join(f"{x} {y} 9" for x, y in stroke) for stroke in drawing]
    text = "".join(f'<trace id="{number}">{one}</trace>' for number, one in enumerate(traces))
    channels = "".join(f'<channel name="{name}" type="decimal"/>' for name in "XYT")
    head = f"<traceFormat>{channels}</traceFormat>{head}"
    return f'<ink xmlns="http://www.w3.org/2003/InkML">{head}{text}{tail}</ink>'


def annotation(kind: str, text: str) -> str:
    return f'<annotation type="{kind}">{text}</annotation>'


def expression() -> str:
    """Return an expression of two symbols, as CROHME's: a cross of two traces, and a dash."""
    groups = [("x", "01"), ("dash", "2")]
    views = {name: [f'<traceView traceDataRef="{i}"/>' for i in ids] for name, ids in groups}
    symbols = [
        f"<traceGroup>{annotation('truth', name)}{''.join(refs)}</traceGroup>"
        for name, refs in views.items()
    ]
    tail = f"<traceGroup>{annotation('truth', 'Segmentation')}{''.join(symbols)}</traceGroup>"
    head = annotation("writer", "w1") + annotation("truth", "$x -$")
    return inkml(head, [*CROSS, *DASH], tail)


def unipen() -> str:
    lines = [".VERSION 1.0", ".COMMENT 12 13", ".WRITER_ID me", ".COORD X Y T"]
    for word, drawing in DRAWINGS:
        lines.append(f'.SEGMENT CHARACTER 0 OK "{word}"')
        for stroke in drawing:
            lines += [".PEN_DOWN", *(f"{x} {-y} 8" for x, y in stroke), ".PEN_UP", "7 7 7"]
    return "\n".join(lines)


def uji() -> str:
    lines = []
    for number, (word, drawing) in enumerate(DRAWINGS):
        session = ("trn_UJI_W01-01", "tst_UPV_W02-02")[number > 1]
        points = [" ".join(f"{x} {y}" for x, y in stroke) for stroke in drawing]
        lines += [f"WORD {word} {session}", f"  NUMSTROKES {len(points)}"]
        lines += [f"  POINTS {len(one.split()) // 2} # {one}" for one in points]
    return "// ASCII char: x\n" + "\n".join(lines)


def write_format(kind: str, folder: Path) -> Path:
    """Write a file with two samples of each of two classes, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = np.stack([sign(value) for value in VALUES]), ["a", "a", "b", "b"]
    texts = {"quickdraw": ("d.ndjson", quickdraw()), "unipen": ("d.dat", unipen())}
    if kind == "inkml":
        (folder / "two.inkml").write_text(expression())
        texts["inkml"] = ("one.inkml", expression())
    if kind == "pixels":
        header = ",".join(["label", *(f"pixel{number}" for number in range(784))])
        rows = [",".join(map(str, [7 + i, *one.ravel()])) for i, one in enumerate(images)]
        texts["pixels"] = ("train.csv", "\n".join([header, *rows]))
    if kind in texts:
        name, text = texts[kind]
        (folder / name).write_text(text, "utf-8")
        return folder / name
    if kind == "numpy":
        np.savez(folder / "signs.npz", images=images, labels=labels)
        return folder / "signs.npz"
    if kind == "matlab":
        savemat = pytest.importorskip("scipy.io").savemat
        part = {"images": images.transpose(0, 2, 1).reshape(4, 784), "labels": [[1], [1], [2], [2]]}
        data = {"mapping": [[1, 65, 97], [2, 66, 98]], "train": part, "test": part}
        savemat(folder / "emnist.mat", {"dataset": data})
        return folder / "emnist.mat"
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    features = {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    files = [{"bytes": png(value), "path": None} for value in VALUES]
    table = arrow.table({"image": files, "label": [0, 0, 1, 1]})
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    parquet.write_table(table.replace_schema_metadata(about), folder / "train-00000.parquet")
    return folder / "train-00000.parquet"


def write_zeros(path: Path, head: bytes) -> Path:
    """Write a gzip file of `head` and 256 MB of zeros."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(head)
        for _ in range(256):
            file.write(bytes(2**20))
    return path


@contextmanager
def little_memory() -> Iterator[None]:
    """Assert that less than 128 MB are allocated at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()
