"""Exports of a bundle on the command line, and the mistakes that people make."""

from contextlib import closing
from pathlib import Path

import pytest

from siglum.studio.store import Store
from tests.cli.conftest import Call


@pytest.fixture(scope="module")
def bundle(siglum: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "greek.siglum"
    assert siglum("teach", "--chars", "αβγ", "-o", path).returncode == 0
    return path


def test_a_bundle_is_exported_in_each_format(siglum: Call, bundle: Path, tmp_path: Path) -> None:
    for name in ("greek.html", "site", "plain/greek.onnx"):
        done = siglum("export", bundle, "-o", tmp_path / name)
        assert (done.returncode, done.stderr) == (0, "")

    assert (tmp_path / "greek.html").read_text("utf-8").startswith("<!doctype html>")
    files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*")]
    assert sorted(files) == [
        *("plain/example.mjs", "plain/example.py", "plain/greek.onnx", "plain/labels.json"),
        *("site/icon.png", "site/icon.svg", "site/index.html", "site/manifest.webmanifest"),
        "site/sw.js",
    ]


@pytest.mark.parametrize(
    ("source", "out", "options", "message"),
    [
        ("greek.siglum", "there.html", (), "there.html already exists. Choose another name"),
        ("greek.siglum", "folder", (), "folder already exists. Choose another name"),
        ("greek.siglum", "folder/x.onnx", (), "labels.json already exists. Export into a new"),
        ("greek.siglum", "x.tflite", (), "out must end in .html or .onnx, or be a new folder"),
        ("greek.siglum", "x.html", ("--licence", "MIT"), "checkpoint and licence are for runs."),
        ("broken.siglum", "x.html", (), "broken.siglum is not a bundle, but another file."),
        ("none.siglum", "x.html", (), "Cannot read none.siglum: no such file."),
        ("folder", "x.html", (), ".html needs a bundle. Save one first"),
        ("set", "x.siglum", (), "out must be a folder, .zip or .ndjson. For .siglum: siglum teach"),
        ("mnist5k", "x.npz", ("--channels", 3), "NAME.npz has grey images. Leave out channels"),
        ("digits.siglum", "x.html", (), "A page needs a recogniser that extracts ink."),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    siglum: Call, run: Path, bundle: Path, tmp_path: Path, source: str, out: str,
    options: tuple[object, ...], message: str,
) -> None:  # fmt: skip
    (tmp_path / "greek.siglum").write_bytes(bundle.read_bytes())
    (tmp_path / "broken.siglum").write_text("no bundle")
    (tmp_path / "folder").mkdir()
    for name in ("there.html", "folder/labels.json"):
        (tmp_path / name).write_text("mine")
    if source == "digits.siglum":
        siglum("export", run, "-o", tmp_path / source)
    with closing(Store(tmp_path / "set")):
        pass
    before = sorted(tmp_path.rglob("*"))
    done = siglum("export", source, "-o", out, *options, cwd=tmp_path)

    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert message in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
