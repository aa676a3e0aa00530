"""Each format is read from files made here; damaged and foreign files are one line."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from making import (
    CROSS,
    DASH,
    VALUES,
    annotation,
    inkml,
    quickdraw,
    sign,
    uji,
    write_folder,
    write_format,
    write_zip,
)

from siglum.config import Preprocess
from siglum.errors import SiglumError
from siglum.images import sources
from siglum.images.formats import FORMATS
from siglum.images.imageset import ImageSet


def load(path: Path, part: str = "train") -> ImageSet:
    return sources.load(str(path), part)


def labels(images: ImageSet) -> list[str]:
    return [images.classes[label] for label in images.labels]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_a_folder_and_an_archive_hold_the_same(kind: str, tmp_path: Path) -> None:
    file = write_format(kind, tmp_path / "place")
    files = {one.name: one.read_bytes() for one in file.parent.iterdir()}
    folder = load(file.parent)
    archive = load(write_zip(tmp_path / "place.zip", files))

    assert sources.locate(str(file))[:2] == (kind, f"{kind}:{file}")
    assert folder.source == f"{kind}:{file.parent}"
    assert folder.fingerprint == archive.fingerprint
    assert set(labels(load(file))) == set(labels(folder))
    assert folder.files == archive.files


@pytest.mark.parametrize("kind", ["quickdraw", "inkml", "unipen"])
def test_strokes_of_all_formats_are_drawn_alike(kind: str, tmp_path: Path) -> None:
    """UNIPEN's y points up; all else is the same drawing."""
    images = load(write_format(kind, tmp_path)).select_classes(["x"])
    (tmp_path / "as").mkdir()
    (tmp_path / "as/simplified.ndjson").write_text(quickdraw(times=False))
    expected = load(tmp_path / "as").select_classes(["x"])

    np.testing.assert_array_equal(images.images[0], expected.images[0])
    assert images.images[0].max() > 100 and images.writers in (("w1",), ("me", "me"), None)


def test_uji_has_parts_and_writers(tmp_path: Path) -> None:
    (tmp_path / "ujipenchars2.txt").write_text(uji())
    train = load(tmp_path / "ujipenchars2.txt")

    assert sources.parts(str(tmp_path / "ujipenchars2.txt")) == ("train", "test")
    assert (labels(train), train.writers) == (["x", "dash"], ("UJI_W01", "UJI_W01"))


def test_inkml_of_mathwriting_has_parts_by_folder(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        head = annotation("label", "\\rm x") + annotation("normalizedLabel", "x")
        write_folder(tmp_path / part, {"a.inkml": inkml(head, CROSS).encode()})

    assert sources.parts(str(tmp_path)) == ("train", "val", "test")
    assert labels(load(tmp_path, "val")) == ["x"]


def test_isolated_symbols_of_crohme_are_labelled_by_the_file_next_to_them(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"iso{number}.inkml").write_text(inkml(annotation("UI", f"u_{number}"), DASH))
    (tmp_path / "iso_GT.txt").write_text("u_0,\\frac\nu_1,COMMA\n")

    assert labels(load(tmp_path)) == ["\\frac", "COMMA"]


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("x_train", "y_train", "x_test", "y_test"), "test"),
        (("train_images", "train_labels", "val_images", "val_labels"), "val"),
        (("data", "target"), "train"),
    ],
)
@pytest.mark.parametrize("shape", [(28, 28), (784,), (28, 28, 1)])
@pytest.mark.parametrize("scale", [1, 1.0, 1 / 255])
def test_arrays_of_all_usual_names_shapes_and_scales_are_read(
    names: tuple[str, ...], part: str, shape: tuple[int, ...], scale: float, tmp_path: Path
) -> None:
    images = np.stack([sign(value) for value in VALUES]).reshape(-1, *shape) * scale
    arrays = [images, np.array([[0], [1], [2], [9]])] * 2
    np.savez(tmp_path / "s.npz", **dict(zip(names, arrays, strict=False)))

    read = load(tmp_path / "s.npz", part)

    assert labels(read) == ["0", "1", "2", "9"]
    np.testing.assert_array_equal(read.images[:, 0, 14, 14], VALUES)


def test_bitmaps_of_quickdraw_are_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        np.save(tmp_path / f"{name}.npy", np.stack([sign(9).ravel()]))

    assert labels(load(tmp_path)) == ["cat", "dog"]


def test_emnist_for_matlab_is_turned_upright(tmp_path: Path) -> None:
    file = write_format("matlab", tmp_path)

    assert sources.parts(str(file)) == ("train", "test")
    assert labels(load(file)) == ["A", "A", "B", "B"]


def test_the_images_of_a_source_become_arrays(tmp_path: Path) -> None:
    write_format("quickdraw", tmp_path / "drawings")
    assert sources.export(str(tmp_path / "drawings"), tmp_path / "new.npz", Preprocess()) == 4

    read = load(tmp_path / "new.npz")
    assert read.fingerprint == load(tmp_path / "drawings").fingerprint


# Errors and warnings


def fails(path: Path, message: str) -> None:
    with pytest.raises(SiglumError, match=f"^{re.escape(message)}") as caught:
        load(path)
    assert "\n" not in str(caught.value)


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
SECRET = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ndjson", "", "it has no drawings or images."),
        ("a.ndjson", '{"word": "x"', "line 1 is not valid JSON: Expecting ',' delimiter"),
        ("a.ndjson", '{"drawing": []}', "it is damaged, or of another format (no 'word')."),
        ("a.ndjson", '{"word": " ", "drawing": []}', "number 1 has no label."),
        ("a.inkml", "<html>", "it is damaged, or of another format (no element found"),
        ("a.inkml", inkml("", DASH), "number 1 has no label."),
        ("a.inkml", LAUGHS + "<ink>&b;</ink>", "it has a document type, which may hide entities."),
        ("a.inkml", SECRET + "<ink>&a;</ink>", "it has a document type, which may hide entities."),
        ("a.dat", ".SEGMENT CHARACTER 0 OK\n.PEN_DOWN\n1 2", "number 1 has no label."),
        ("a.npz", "PK", "it is damaged, or of another format ("),
        ("a.mat", "MATLAB", "it is damaged, or of another format ("),
        ("a.csv", "pixel," * 783 + "pixel\n0\n", "it has pixels, but no column label. Name"),
        ("a.csv", "0," * 784 + "-1\n", "pixels must be 0 to 1 or 0 to 255, got -1 to 0."),
        ("a.csv", "a," * 784 + "a\n", "it has only a header."),
        ("a.csv", "0," * 784 + "0\n" + "0," * 784 + "x", "it is damaged, or of another"),
        ("a.csv", "0," * 700 + "0\n", "images must be numbers of shape (N, H, W), (N, H, W, 3) or"),
    ],
)  # fmt: skip
def test_a_file_that_lacks_something_is_refused(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    kind = sources.locate(str(tmp_path / name))[0]

    fails(tmp_path / name, f"Cannot read {kind}:{tmp_path / name}: {message}")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 28, 28))}, "it has no arrays images and labels, or x and y, but 'x'."),
        ({"x": np.zeros((2, 4, 4)), "y": np.zeros(3)}, "it has 2 images, but 3 labels."),
        ({"x": np.full((1, 4, 4), np.nan), "y": [1]}, "pixels must be 0 to 1 or 0 to 255, got nan"),
        ({"x": np.array([[None]]), "y": [1]}, "it is damaged, or of another format (Object array"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    arrays: dict[str, object], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]

    fails(tmp_path / "a.npz", f"Cannot read numpy:{tmp_path / 'a.npz'}: {message}")


def test_columns_of_a_parquet_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        fails(tmp_path / "a.parquet", "This format needs pyarrow: pip install pyarrow")
        return
    fails(tmp_path / "a.parquet", f"Cannot read parquet:{tmp_path / 'a.parquet'}: it is damaged")
    parquet.write_table(arrow.table({"text": ["a"], "label": [1]}), tmp_path / "a.parquet")
    fails(tmp_path / "a.parquet", f"Cannot read parquet:{tmp_path / 'a.parquet'}: it has no column")


def test_damaged_files_and_drawings_of_a_set_are_skipped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(quickdraw() + '{"word": "x", "drawing": []}\n{')
    (tmp_path / "b.ndjson").write_text('{"word": "x", "drawing": [[[0, 9], [0]]]}')

    with pytest.warns(UserWarning, match=r"3 files cannot be read .* such as a\.ndjson: line 6 is"):
        images = load(tmp_path)
    assert len(images) == 4 and [name for name, _ in images.unreadable] == [
        "a.ndjson",
        "a.ndjson:5",
        "b.ndjson",
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_changed_bytes_are_read_or_refused(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    file = write_format(kind, tmp_path)
    content = bytearray(file.read_bytes())
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(start + 30, len(content))))
    content[start:end] = data.draw(st.binary(max_size=20))
    file.write_bytes(content)
    try:
        assert len(sources.load(f"{kind}:{file}")) > 0
    except SiglumError as error:
        assert "\n" not in str(error)
