import re
from pathlib import Path

import numpy as np
import pytest
from making import SIGNS, png, write_folder, write_idx_pair, write_zip

from siglum.errors import ConfigError, DataError
from siglum.images import manifest, sources
from siglum.images.manifest import Line

HEAD = "# source: folder:signs\nfile,new\n"
LINES = "a/0.png,x\na/1.png,y\nb/0.png,x\nb/1.png,y\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIGLUM_DATA", raising=False)
    write_folder(tmp_path / "signs")


def write(text: str | bytes, path: Path = Path("labels.csv")) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return f"manifest:{path}"


def named(text: str | bytes) -> list[tuple[str, str]]:
    """Load and return what each picture is and is called."""
    found = sources.load(write(text))
    files = found.files or [str(image.max()) for image in found.images]
    return list(zip(files, (found.classes[label] for label in found.labels), strict=True))


def fails(text: str | bytes, message: str) -> None:
    spec = write(text)
    with pytest.raises(DataError, match=f"^{re.escape(f'{spec} {message}')}$"):
        sources.load(spec)


def test_pictures_are_those_of_the_source_under_the_labels_of_the_manifest() -> None:
    found = sources.load(write(HEAD + LINES))
    whole = sources.load("folder:signs")

    assert found.classes == ("x", "y")
    assert found.labels.tolist() == [0, 1, 0, 1]
    assert list(found.files or ()) == list(SIGNS)
    np.testing.assert_array_equal(found.images, whole.images)
    assert found.originals is not None


def test_a_line_that_was_deleted_leaves_its_picture_out() -> None:
    found = named(HEAD + LINES.replace("a/1.png,y\n", ""))

    assert found == [("a/0.png", "x"), ("b/0.png", "x"), ("b/1.png", "y")]


def test_the_order_is_the_sources_and_that_of_lines_and_columns_does_not_matter() -> None:
    lines = "run,new,margin,file\n-,y,,b/1.png\n-,x,,a/0.png\n"

    assert named(f"# source: folder:signs\n{lines}") == [("a/0.png", "x"), ("b/1.png", "y")]


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeff{HEAD}{LINES}",
        f"{HEAD}{LINES}".replace("\n", "\r\n"),
        "# made by hand\n\n# source: folder:signs,,,\n# a note: of mine\n\nfile,new\n" + LINES,
        '# source: folder:signs\n"file","new"\n' + LINES.replace("a/0.png", '"a/0.png"'),
        HEAD + LINES.rstrip("\n") + "\n\n",
    ],
    ids=["mark", "windows", "notes", "quotes", "blank lines"],
)
def test_spreadsheets_and_people_write_it_in_their_ways(text: str) -> None:
    assert len(named(text)) == 4


def test_names_with_commas_and_quotes_come_back(tmp_path: Path) -> None:
    names = ['a/one, "two".png', "a/#1.png", "b/ .png", "b/é\u2028.png"]
    write_folder(tmp_path / "odd", {name: png(9) for name in names})
    lines = [Line(name, "a", f"{name[-5:]},", "1", "1", "r") for name in names]
    manifest.write(Path("odd.csv"), "folder:odd", None, lines, ["two\nlines"])

    found = sources.load("manifest:odd.csv")

    assert list(found.files or ()) == sorted(names)
    assert {found.classes[k] for k in found.labels} == {line.new for line in lines}


def test_pictures_without_files_go_by_their_number_in_the_part(tmp_path: Path) -> None:
    write_idx_pair(tmp_path / "digits", count=6)
    shown, _ = write_idx_pair(tmp_path / "digits", "t10k", count=5)
    train = sources.load(write("# source: idx:digits\nfile,new\n4,x\n2,y\n"))
    test = sources.load(write("# source: idx:digits\n# part: test\nfile,new\n4,x\n2,y\n"))

    assert [train.classes[label] for label in train.labels] == ["y", "x"]
    np.testing.assert_array_equal(test.images[:, 0], shown[[2, 4]])


def test_the_place_is_looked_for_here_then_beside_the_manifest_then_under_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, value in (("data", 1), ("beside", 2), ("here", 3)):
        (tmp_path / folder).mkdir()
        write_zip(tmp_path / folder / "s.zip", {"a/0.png": png(value)})
    spec = write("# source: archive:s.zip\nfile,new\na/0.png,x\n", tmp_path / "beside/m.csv")
    monkeypatch.setenv("SIGLUM_DATA", str(tmp_path / "data"))

    monkeypatch.chdir(tmp_path / "here")
    assert sources.load(spec).images.max() == 3
    monkeypatch.chdir(tmp_path)
    assert sources.load(spec).images.max() == 2
    (tmp_path / "beside/s.zip").unlink()
    assert sources.load(spec).images.max() == 1


def test_classes_of_a_run_are_held_to_and_may_be_renamed() -> None:
    spec = write(HEAD + LINES)

    with pytest.raises(DataError, match=r"must hold only classes of the run \(x, z\), got 'y'"):
        sources.load(spec).with_classes(("x", "z"))
    assert sources.load(spec, rename={"y": "z"}).with_classes(("x", "z")).labels.tolist()
    with pytest.raises(ConfigError, match=r"classes must name classes of manifest:.*got 'a'"):
        sources.load(spec, rename={"a": "z"})


def test_writers_are_found_in_the_names() -> None:
    assert sources.load(write(HEAD + LINES), writers=r"/(\d)").writers == ("0", "1", "0", "1")


def test_a_picture_that_is_not_named_may_be_unreadable(tmp_path: Path) -> None:
    """Only what the manifest leaves out; no warning, since nothing that was asked for is gone."""
    (tmp_path / "signs/a/2.png").write_text("no picture")

    assert len(sources.load(write(HEAD + LINES))) == 4
    fails(
        HEAD + LINES + "a/2.png,x\n",
        "must name pictures of folder:signs, got 'a/2.png' in line 7, which is no picture "
        "(PNG, JPEG, BMP, GIF, TIFF, WEBP, PPM) (1 of 5 lines name none). Delete such lines, or "
        "put the source's name right.",
    )


def test_a_picture_that_is_not_there_is_told() -> None:
    fails(
        HEAD + "c/0.png,x\n" + LINES + "c/1.png,x\n",
        "must name pictures of folder:signs, got 'c/0.png' in line 3 (2 of 6 lines name none). "
        "Delete such lines, or put the source's name right.",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have a line for at least one picture, got an empty file."),
        (HEAD, "must have a line for at least one picture, got none."),
        (
            "# source: folder:signs\n",
            "must have a header such as file,new and lines below, got none.",
        ),
        (
            "file,new\n" + LINES,
            "must say where its pictures lie in a first line such as "
            "'# source: archive:signs.zip', got none.",
        ),
        (
            "# source:\nfile,new\n" + LINES,
            "must say where its pictures lie in a first line such as "
            "'# source: archive:signs.zip', got none.",
        ),
        (
            "# source: manifest:labels.csv\nfile,new\n" + LINES,
            "must have the pictures themselves as its source, got the manifest "
            "'manifest:labels.csv'. Name what that one names.",
        ),
        ("# source: a\n# source: b\n" + LINES, "must have one line '# source:', got two."),
        (
            "# part: val\n" + HEAD + LINES,
            "must have '# part: train' or '# part: test', got 'val'.",
        ),
        (
            "# source: folder:signs\nfile,label\n" + LINES,
            "must have the columns file and new once each, got 'file,label'.",
        ),
        (
            "# source: folder:signs\nfile,new,new\n",
            "must have the columns file and new once each, got 'file,new,new'.",
        ),
        (
            HEAD + LINES + "a/0.png,y\n",
            "must name a picture once, got 'a/0.png' in line 3 and in line 7. Delete one of them.",
        ),
        (
            HEAD + "a/0.png,\n",
            "must give every picture a label, got none in line 3 for 'a/0.png'. "
            "Delete the line to leave the picture out.",
        ),
        (
            HEAD + "a/0.png, \n",
            "must give every picture a label, got none in line 3 for 'a/0.png'. "
            "Delete the line to leave the picture out.",
        ),
        (
            HEAD + "a/0.png,x\na/1.png,x,1\n",
            "must have 2 fields in every line, as in its header, got 3 in line 4.",
        ),
        (
            HEAD + "a/0.png\n",
            "must have 2 fields in every line, as in its header, got 1 in line 3.",
        ),
        (
            (HEAD + "a/0.png,\xe9\n").encode("latin-1"),
            "must be UTF-8, got byte 0xe9 in line 3. Save it again as CSV UTF-8.",
        ),
        (HEAD + 'a/0.png,"x\n', "must be CSV, got unexpected end of data in line 3."),
    ],
)
def test_what_is_wrong_with_a_manifest_is_told(text: str | bytes, message: str) -> None:
    fails(text, message)


def test_a_manifest_must_be_a_file() -> None:
    for place, found in (("signs", "a folder"), ("nowhere", "nothing")):
        with pytest.raises(DataError, match=f"must name a CSV file, got {found} there.$"):
            sources.load(f"manifest:{place}")


def test_an_unknown_source_is_told() -> None:
    with pytest.raises(ConfigError, match=r"source must be one of .*got 'foldr'\. Did you mean"):
        sources.load(write("# source: foldr:signs\nfile,new\n" + LINES))


def test_what_is_written_is_read_again() -> None:
    lines = [
        Line(file, "-", label, "0.9", "0.8", "runs/r")
        for file, label in zip(SIGNS, "xyxy", strict=True)
    ]
    manifest.write(Path("m.csv"), "folder:signs", "test", lines)

    read = manifest.read(Path("m.csv"), "manifest:m.csv")

    assert (read.source, read.part) == ("folder:signs", "test")
    assert read.labels == dict(zip(SIGNS, "xyxy", strict=True))
    assert [path.name for path in Path().glob("*m.csv*")] == ["m.csv"]


def test_nothing_is_overwritten_and_nothing_half_written_stays(tmp_path: Path) -> None:
    line = Line("a", "b", "c", "1", "1", "r")
    write(HEAD)
    with pytest.raises(DataError, match=r"^out must not exist yet, got labels\.csv;"):
        manifest.write(Path("labels.csv"), "s", None, [line])
    with pytest.raises(DataError, match=r"^out must lie in a folder that exists, got no/m\.csv\."):
        manifest.write(Path("no/m.csv"), "s", None, [line])

    def breaking():
        yield line
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        manifest.write(Path("m.csv"), "s", None, breaking())
    with pytest.raises(DataError, match=r"^out must be a place that can be "):
        manifest.write(tmp_path / ("m" * 255), "s", None, [line])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "signs"]
