"""What every source promises, and `load`, which finds them."""

import re
from pathlib import Path

import numpy as np
import pytest
from making import SIGNS, png, write_folder, write_format, write_idx_pair, write_tar, write_zip

from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError
from siglum.images import idx, sources
from siglum.images.formats import FORMATS
from siglum.images.sources import SOURCES


@pytest.fixture(params=[name for name in SOURCES if name not in ("shards", "studio")])
def spec(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each source in turn, with a place where six pictures lie."""
    monkeypatch.setenv("SIGLUM_DATA", str(tmp_path))
    name: str = request.param
    if name == "idx":
        write_idx_pair(tmp_path / "place", "train")
        write_idx_pair(tmp_path / "place", "t10k")
    elif name == "folder":
        write_folder(tmp_path / "place")
    elif name == "archive":
        write_zip(tmp_path / "place")
    elif name == "manifest":
        write_folder(tmp_path / "signs")
        lines = [f"{file},{label}" for file, label in zip(SIGNS, "zyzy", strict=True)]
        text = "\n".join(["# source: folder:signs", "file,new", *lines])
        (tmp_path / "place").write_text(text)
    elif name in FORMATS:
        return f"{name}:{write_format(name, tmp_path)}"
    elif name in idx.KNOWN:
        set_name, split, _ = idx.KNOWN[name]
        prefix = f"emnist-{split}-" if split else ""
        for stem in ("train", "t10k"):
            write_idx_pair(tmp_path / set_name / "raw", f"{prefix}{stem}", first_label=1)
    return f"{name}:{tmp_path / 'place'}" if SOURCES[name].place else name


@pytest.mark.parametrize("settings", [{}, {"size": 20, "channels": 3}], ids=["plain", "fitted"])
def test_every_part_is_a_sound_set(spec: str, settings: dict[str, int]) -> None:
    preprocess = Preprocess.model_validate(settings)
    assert sources.parts(spec) in (("train", "test"), ("all",))
    for part in sources.parts(spec):
        images = sources.load(spec, part, preprocess)

        assert images.store.dtype == np.uint8
        assert images.images.shape == (len(images), *images.shape)
        assert images.shape == (preprocess.channels, preprocess.size, preprocess.size)
        assert images.labels.dtype == np.int64
        assert images.labels.min() >= 0
        assert images.labels.max() < len(images.classes)
        assert len(set(images.classes)) == len(images.classes)
        assert images.source == spec
        again = sources.load(spec, part, preprocess)
        assert (again.fingerprint, again.files) == (images.fingerprint, images.files)


def fails(spec: str, message: str, **options: str) -> None:
    with pytest.raises((ConfigError, DataError), match=f"^{re.escape(message)}"):
        sources.load(spec, **options)


def test_an_unknown_source_offers_the_nearest() -> None:
    fails(
        "mnist5", "'mnist5' does not exist. Did you mean 'mnist5k'? Name a folder with one folder"
    )
    fails("folder:nowhere", "folder:nowhere does not exist.")
    fails("archive:nowhere", "archive:nowhere does not exist.")
    fails("folder:", "source must be folder:DIR, got 'folder:'.")
    fails("manifest", "source must be manifest:FILE, got 'manifest'.")
    fails("mnist5k:here", "source must be mnist5k, got 'mnist5k:here'.")
    fails("mnist5k", "part must be one of test, train, got 'val'.", part="val")
    fails("https://example.org/x.zip", "https://example.org/x.zip is not on this computer. Down")


def test_a_place_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for every command, relative, in the home folder and in the data folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SIGLUM_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(write_folder(tmp_path / "here", {"x/0.png": png(1)}))
    write_folder(tmp_path / "signs")
    write_folder(tmp_path / "here/a:b")
    write_tar(tmp_path / "here/signs.backup", mode="w:gz")
    write_idx_pair(tmp_path / "data/digits")
    write_zip(tmp_path / "data/signs.zip")
    (tmp_path / "here/labels.CSV").write_text("file,label\na:b/a/0.png,z\n")

    specs = {
        "a:b": "folder:a:b",
        "~/signs": "folder:~/signs",
        str(tmp_path / "signs"): f"folder:{tmp_path / 'signs'}",
        "signs.backup": "archive:signs.backup",
        "signs.zip": "archive:signs.zip",
        "digits": "idx:digits",
        "labels.CSV": "manifest:labels.CSV",
        "mnist5k": "mnist5k",
    }
    for text, spec in specs.items():
        assert sources.load(text).source == spec


def test_a_folder_comes_before_a_set_and_before_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGLUM_DATA", str(tmp_path / "data"))
    write_folder(tmp_path / "data/mnist")

    assert sources.load("mnist").classes == ("a", "b")
    write_folder(tmp_path / "mnist", {"c/0.png": png(1)})
    assert sources.load("mnist").classes == ("c",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist.h5", "it holds arrays. Save them with numpy.savez(FILE, images=..., labels=...)."),
        ("star.JSON", "it holds strokes or annotations. Save drawings as .ndjson or .inkml, or"),
        ("labels.xlsx", "it holds a spreadsheet. Save it as CSV."),
        ("signs.rar", "it holds an archive that Siglum cannot unpack. Unpack it, and name"),
        ("photo.jpg", "it holds one image. Name a folder of images."),
    ],
)
@pytest.mark.parametrize("kind", ["", "archive:"])
def test_other_data_files_are_named_with_the_remedy(
    tmp_path: Path, name: str, message: str, kind: str
) -> None:
    write_zip(tmp_path / name)

    fails(f"{kind}{tmp_path / name}", f"Cannot read {tmp_path / name}: {message}")


def test_classes_may_be_renamed_and_selected(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "signs")

    merged = sources.load(f"folder:{root}", rename={"b": "a"})
    assert (merged.classes, merged.counts.tolist()) == (("a",), [4])
    assert sources.load(f"folder:{root}", rename={"b": "z"}, classes=["z"]).classes == ("z",)
    with pytest.raises(ConfigError, match=r"^No such class in folder:.+: 'c'\."):
        sources.load(f"folder:{root}", rename={"c": "a"})


def write_writers(tmp_path: Path) -> str:
    files = {"a/w1_0.png": png(10), "a/w2_0.png": png(20), "b/w1_0.png": png(30)}
    return f"folder:{write_folder(tmp_path / 'signs', files)}"


def test_writers_are_read_from_file_names(tmp_path: Path) -> None:
    spec = write_writers(tmp_path)

    assert sources.load(spec, writers=r"/(\w+)_").writers == ("w1", "w2", "w1")
    fails(spec, "writers must be a regular expression with a group, got 'w('", writers="w(")
    fails(spec, "writers must be a regular expression with a group, got 'w1'", writers="w1")
    for pattern in ("(w1)", "(w1)?_"):
        message = f"writers must match every file name, got 'a/w2_0.png' for {pattern!r}."
        fails(spec, message, writers=pattern)
    fails("mnist5k", "writers are in file names, and mnist5k has none.", writers="(.)")


def test_mnist5k_is_split_once_and_for_all() -> None:
    train, test = sources.load("mnist5k"), sources.load("mnist5k", "test")

    assert train.counts.tolist() == [400] * 10 and test.counts.tolist() == [100] * 10
    assert test.fingerprint == "bc62ca2184a73245f1d91d13075ead7e"
