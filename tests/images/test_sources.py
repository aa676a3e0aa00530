"""What every source promises, and `load`, which finds them."""

import re
from pathlib import Path

import numpy as np
import pytest
from making import (
    SIGNS,
    VALUES,
    png,
    run_unprivileged,
    write_folder,
    write_idx_pair,
    write_tar,
    write_zip,
)

from siglum.config import Preprocess
from siglum.errors import ConfigError, DataError
from siglum.images import describe, sources, torchvision
from siglum.images.imageset import ImageSet
from siglum.images.sources import SOURCES

KNOWN = ", ".join(sorted(SOURCES))


@pytest.fixture(params=SOURCES)
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
    elif name in torchvision.SETS:
        set_name, split, _ = torchvision.SETS[name]
        prefix = f"emnist-{split}-" if split else ""
        for stem in ("train", "t10k"):
            write_idx_pair(tmp_path / set_name / "raw", f"{prefix}{stem}", first_label=1)
    return f"{name}:{tmp_path / 'place'}" if SOURCES[name].place else name


@pytest.mark.parametrize("settings", [{}, {"size": 20, "channels": 3}], ids=["plain", "fitted"])
def test_every_part_is_a_sound_set(spec: str, settings: dict[str, int]) -> None:
    preprocess = Preprocess.model_validate(settings)
    for part in sources.parts(spec):
        found = sources.load(spec, part, preprocess)

        assert found.store.dtype == np.uint8
        assert found.images.shape == (len(found), *found.shape)
        assert found.shape == (preprocess.channels, preprocess.size, preprocess.size)
        assert found.labels.dtype == np.int64
        assert found.labels.min() >= 0
        assert found.labels.max() < len(found.classes)
        assert len(set(found.classes)) == len(found.classes)
        assert found.source == spec


def test_two_loads_are_equal(spec: str) -> None:
    for part in sources.parts(spec):
        first, second = sources.load(spec, part), sources.load(spec, part)

        assert first.fingerprint == second.fingerprint
        assert list(first.files or ()) == list(second.files or ())
        assert first.classes == second.classes


def test_parts_are_train_and_test_or_all(spec: str) -> None:
    assert sources.parts(spec) in (("train", "test"), ("all",))


def test_every_source_can_be_described(spec: str) -> None:
    found = describe.describe(sources.load(spec, sources.parts(spec)[0]))

    assert sum(found.counts) == sum(count for _, count in found.sizes)


def fails(spec: str, message: str, **options: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        sources.load(spec, **options)


def test_an_unknown_source_offers_the_nearest() -> None:
    fails("mnist5", f"source must be one of {KNOWN}, got 'mnist5'. Did you mean 'mnist5k'?")
    fails("", f"source must be one of {KNOWN}, got ''.")


def test_a_place_is_asked_for_where_one_is_needed_and_only_there() -> None:
    fails("folder", "folder must name its place, as in folder:DIR, got 'folder'.")
    fails("archive:", "archive must name its place, as in archive:FILE, got 'archive:'.")
    fails("mnist5k:here", "mnist5k must stand alone, got 'mnist5k:here'.")
    fails("mnist:", "mnist must stand alone, got 'mnist:'.")


def test_a_part_must_be_one_that_there_may_be() -> None:
    """Else 1,000 test digits would pass for what was asked for."""
    fails("mnist5k", "part must be one of test, train, got 'val'.", part="val")


def test_a_place_may_have_colons(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "a:b")

    assert len(sources.load(f"folder:{root}")) == 4


def test_a_place_is_looked_for_here_and_then_under_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "data" / "signs")
    monkeypatch.setenv("SIGLUM_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    assert len(sources.load("folder:signs")) == 4
    write_folder(tmp_path / "signs", {"c/0.png": png(1)})
    assert sources.load("folder:signs").classes == ("c",)


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "signs")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert len(sources.load("folder:~/signs")) == 4


def test_a_tar_lies_under_any_name(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "signs.backup", mode="w:gz")

    assert sources.load(f"archive:{path}").images.max(axis=(1, 2, 3)).tolist() == VALUES


def test_classes_may_be_renamed_on_the_way(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "signs")

    assert sources.load(f"folder:{root}", rename={"b": "a"}).classes == ("a",)
    with pytest.raises(ConfigError, match=r"^classes must name classes of folder:.+, got 'c'\."):
        sources.load(f"folder:{root}", rename={"c": "a"})


def named(tmp_path: Path) -> str:
    files = {"a/w1_0.png": png(10), "a/w2_0.png": png(20), "b/w1_0.png": png(30)}
    return f"folder:{write_folder(tmp_path / 'signs', files)}"


def test_writers_are_found_in_file_names(tmp_path: Path) -> None:
    assert sources.load(named(tmp_path), writers=r"/(\w+)_").writers == ("w1", "w2", "w1")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "w(",
            "writers must be a regular expression, got 'w(': missing ), unterminated "
            "subpattern at position 1.",
        ),
        ("w1", "writers must have a group in brackets, got 'w1'."),
    ],
)
def test_a_pattern_for_writers_must_have_a_group(
    tmp_path: Path, pattern: str, message: str
) -> None:
    fails(named(tmp_path), message, writers=pattern)


@pytest.mark.parametrize("pattern", ["(w1)", "(w1)?_"])
def test_a_pattern_for_writers_must_match_every_name(tmp_path: Path, pattern: str) -> None:
    """A group that takes no part in a match finds no writer either."""
    message = f"writers must match every file name, got 'a/w2_0.png' for {pattern!r}."

    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        sources.load(named(tmp_path), writers=pattern)


def test_writers_need_file_names() -> None:
    fails("mnist5k", "writers must be found in file names, and mnist5k has none.", writers="(.)")


READ_ALL = """
import sys, warnings
from siglum.images import sources
from siglum.errors import DataError
warnings.showwarning = lambda message, *_: print(message)
for spec in sys.argv[1:]:
    try:
        print(len(sources.load(spec)))
    except DataError as error:
        print(error)
"""


def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    spec = {kind: f"{kind}:{tmp_path / kind}" for kind in ("folder", "archive", "idx")}
    root = write_folder(tmp_path / "folder", {**SIGNS, "c/0.png": png(50)})
    write_idx_pair(tmp_path / "idx")
    locked = [root / "a/0.png", root / "c", write_zip(tmp_path / "archive")]
    locked += [tmp_path / "idx/train-images-idx3-ubyte", tmp_path / "no" / "way"]
    write_folder(tmp_path / "no" / "way")
    locked[-1].parent.chmod(0)
    for path in locked[:-1]:
        path.chmod(0)

    done = run_unprivileged(READ_ALL, *spec.values(), f"folder:{locked[-1]}")
    for path in (locked[-1].parent, *locked[:-1]):
        path.chmod(0o700)

    *lines, last = done.stdout.splitlines()
    assert lines == [
        f"{spec['folder']}: 2 of 5 files are left out, such as a/0.png, which cannot be read "
        f"(Permission denied). All of them: siglum data {spec['folder']}",
        "3",
        f"{spec['archive']} must be readable, got 'Permission denied'.",
        "train-images-idx3-ubyte must be readable whole, got [Errno 13] Permission denied: "
        f"'{tmp_path}/idx/train-images-idx3-ubyte'. Copy it again.",
    ]
    assert last.startswith(f"folder:{locked[-1]} must name a ")  # Python 3.14: got nothing there
    assert done.stderr == ""


def test_a_folder_whose_files_may_not_be_looked_at_is_told(tmp_path: Path) -> None:
    """It may be listed, and nothing in it can be known."""
    specs = []
    for kind in ("folder", "idx"):
        specs.append(f"{kind}:{tmp_path / kind}")
        write_folder(tmp_path / kind)
        write_idx_pair(tmp_path / kind)
        (tmp_path / kind).chmod(0o600)

    done = run_unprivileged(READ_ALL, *specs)
    for kind in ("folder", "idx"):
        (tmp_path / kind).chmod(0o700)

    assert done.stdout.splitlines() == [
        f"{spec} must name a place that can be looked at: Permission denied" for spec in specs
    ]
    assert done.stderr == ""


# What follows reads the real data sets.


def real(data_folder: Path, name: str, **options: str) -> ImageSet:
    return sources.load(f"archive:{data_folder / name}", **options)


def test_pencil_on_grey_paper_is_inverted_throughout(data_folder: Path) -> None:
    found = real(data_folder, "greek_train.zip")

    assert found.classes == ("alpha", "beta", "gamma")
    assert found.counts.tolist() == [9, 9, 9]
    assert found.originals is not None
    assert found.originals.light.all()
    border = np.concatenate(
        [found.images[:, 0, [0, -1]], found.images[:, 0, :, [0, -1]].transpose(1, 0, 2)], axis=1
    )
    assert (np.median(border, axis=(1, 2)) < 128).all()


@pytest.mark.slow
def test_chars74k_has_62_classes_of_40_writers(data_folder: Path) -> None:
    found = real(data_folder, "Chars74K/trainPart1_256x192.zip", writers=r"-(\d+)\.")

    assert len(found.classes) == 62
    assert found.counts.tolist() == [40] * 62
    assert found.writers is not None
    writers = np.array(found.writers)
    assert {len(set(writers[found.labels == label])) for label in range(62)} == {40}
    assert found.originals is not None
    assert found.originals.light.all()


def test_omniglot_classes_are_alphabet_and_character(data_folder: Path) -> None:
    found = real(data_folder, "omniglot/images_background_small1.zip", writers=r"_(\d+)\.")

    assert len(found.classes) == 136
    assert all(re.fullmatch(r"[^/]+/character\d\d", name) for name in found.classes)
    assert found.counts.tolist() == [20] * 136
    assert len(set(found.writers or ())) == 20


def test_hand_drawn_digits_of_all_kinds_have_light_ink(data_folder: Path) -> None:
    """Photos, tablets, white on black and black on white: the notes tell how many of each."""
    found = real(data_folder, "handdrawn/digits_writers.zip", writers=r"/(w\d+)_")

    assert found.counts.tolist() == [30, 31, 30, 31, 29, 30, 31, 31, 30, 32]
    assert len(set(found.writers or ())) == 24
    assert found.unreadable == ()


@pytest.mark.slow
def test_a_tar_of_sixty_thousand_pictures_is_read_in_order(data_folder: Path) -> None:
    found = real(data_folder, "mnistTask3/mnistTask3.tar.xz")

    assert found.classes == tuple("0123456789")
    assert found.counts.tolist() == [5980, 5807, 6009, 6037, 5914, 6139, 6037, 5954, 6129, 5994]
    assert found.unreadable == ()
    assert list(found.files or ()) == sorted(found.files or ())
