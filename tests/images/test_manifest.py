import re
from pathlib import Path

import numpy as np
import pytest
from making import SIGNS, VALUES, png, write_folder, write_zip

from siglum.errors import DataError
from siglum.images import sources

HEAD = "# source: folder:signs\nfile,new\n"
ROWS = [("a/0.png", "x"), ("a/1.png", "y"), ("b/0.png", "x"), ("b/1.png", "y")]
LINES = "".join(f"{file},{label}\n" for file, label in ROWS)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIGLUM_DATA", raising=False)
    write_folder(tmp_path / "signs")


def write(text: str | bytes, path: Path = Path("labels.csv")) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return f"manifest:{path}"


def read(text: str | bytes) -> list[tuple[str, str]]:
    """Load a manifest and return each file with its label."""
    images = sources.load(write(text))
    labels = [images.classes[label] for label in images.labels]
    return list(zip(images.files or (), labels, strict=True))


def test_images_are_those_of_the_source_under_the_labels_of_the_manifest() -> None:
    images = sources.load(write(HEAD + LINES))

    assert images.classes == ("x", "y")
    assert images.labels.tolist() == [0, 1, 0, 1]
    assert list(images.files or ()) == list(SIGNS)
    np.testing.assert_array_equal(images.images, sources.load("folder:signs").images)


def table(header: str = "file,new", delimiter: str = ",", prefix: str = "", quote: str = "") -> str:
    rows = [(f"{quote}{prefix}{file}{quote}", f"{quote}{label}{quote}") for file, label in ROWS]
    lines = map(delimiter.join, rows)
    return "\n".join([*([header] if header else []), *lines, ""])


SOURCE = "# source: folder:signs\n"
DIALECTS = {
    "byte order mark": "\ufeff" + SOURCE + table(),
    "Windows": (SOURCE + table()).replace("\n", "\r\n"),
    "spreadsheet": f"# by hand\n\n# source: folder:signs,,,\n# a note: of mine\n\n{table()}\n\n",
    "quotes": SOURCE + table('"file","new"', quote='"'),
    "semicolon": SOURCE + table("file;new", ";"),
    "tab": SOURCE + table("file\tnew", "\t"),
    "bar": SOURCE + table("file|new", "|"),
    "capitals": SOURCE + table("File,Label"),
    "blank after comma": SOURCE + table("file, new", ", "),
    "other names": SOURCE + table("Image Path,Class Name"),
    "unknown label name": SOURCE + table("image,meaning"),
    "bare source": "# source: signs\n" + table(),
    "no source": table("filename,label", prefix="signs/"),
    "no source, short names": table("filename,label"),
    "no header": table("", prefix="signs/"),
    "backslashes": (SOURCE + table()).replace("/", "\\"),
    "elsewhere": table("path,label", prefix="C:\\Users\\me\\signs\\"),
    "above": table("path,label", prefix="../data/signs/"),
    "UTF-16": (SOURCE + table()).encode("utf-16"),
    "more columns": "id,note,file,new,run\n" + "".join(f"1,é,{f},{n},-\n" for f, n in ROWS),
    "HASY": "path,symbol_id,latex,user_id\n" + "".join(f"../d/{f},7,{n},1\n" for f, n in ROWS),
    "label first": "label,image\n" + "".join(f"{n},{f}\n" for f, n in ROWS),
    "without suffix": "id,label\n" + "".join(f"{f[:-4]},{n}\n" for f, n in ROWS),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_usual_dialect_is_read(dialect: str) -> None:
    labels = [label for _, label in read(DIALECTS[dialect])]

    assert labels == [label for _, label in ROWS]


def test_absolute_names_and_other_suffixes_are_read(tmp_path: Path) -> None:
    for name in ("LABELS.CSV", "labels.tsv", "labels.txt"):
        write(table(prefix=f"{tmp_path}/signs/"), Path(name))
        images = sources.load(name)
        assert images.source == f"manifest:{name}" and len(images) == 4


def test_other_encodings_are_read_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="is read as Windows-1252"):
        assert read((HEAD + "a/0.png,ä\n").encode("cp1252")) == [("a/0.png", "ä")]


@pytest.mark.parametrize("kind", ["folder", "archive", "none"])
def test_loose_images_need_no_class_folders(tmp_path: Path, kind: str) -> None:
    """A label file alone decides."""
    files = {f"img_{i}.png": png(value) for i, value in enumerate(VALUES)}
    write_zip(tmp_path / "loose.zip", files)
    write_folder(tmp_path / "loose", files)
    lines = "".join(f"img_{i}.png,{'xy'[i % 2]}\n" for i in range(4))
    source = {"folder": "# source: loose\n", "archive": "# source: archive:loose.zip\n"}

    assert read(f"{source.get(kind, '')}file,new\n{lines}") == [
        (f"{'loose/' if kind == 'none' else ''}img_{i}.png", "xy"[i % 2]) for i in range(4)
    ]


def test_labels_are_stripped_and_similar_ones_warned_of() -> None:
    text = HEAD + "a/0.png, star \na/1.png,Star\nb/0.png,o\nb/1.png,O\n"

    with pytest.warns(UserWarning, match=r"'Star' and 'star' are two classes\. If they are one"):
        assert {label for _, label in read(text)} == {"star", "Star", "o", "O"}
    with pytest.warns(UserWarning, match=r"'e\\u0301' and '\\xe9' are two classes"):
        read(HEAD + "a/0.png,é\na/1.png,e\u0301\n")


def test_the_source_is_searched_here_then_in_the_folder_of_the_csv_file(tmp_path: Path) -> None:
    write_zip(tmp_path / "s.zip", {"a/0.png": png(3)})
    write_zip(write_folder(tmp_path / "other", {}) / "s.zip", {"a/0.png": png(2)})
    spec = write("# source: archive:s.zip\nfile,new\na/0.png,x\n", tmp_path / "other/m.csv")

    assert sources.load(spec).images.max() == 3
    (tmp_path / "s.zip").unlink()
    assert sources.load(spec).images.max() == 2


LINE = (
    "must have 2 columns in each line, a label, and a file that no other line has, got {!r}. "
    "Correct or delete the line."
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty. Each line must name an image file and its label."),
        (HEAD, "has only a header. Add lines of image files and their labels."),
        (SOURCE + "what,ever\n1,2\n", "has no columns of image files and labels, but 'what,"),
        (SOURCE + "a/0.png\n", "has no columns of image files and labels, but 'a/0.png'."),
        (HEAD + LINES + "a/0.png,y\n", LINE.format("a/0.png,y")),
        (HEAD + "a/0.png, \n", LINE.format("a/0.png,")),
        (HEAD + LINES + "a/0.png,x,1\n", LINE.format("a/0.png,x,1")),
        (HEAD + "a/0.png," + "x" * 200_000, "is not CSV: field larger than field limit (131072)."),
        (HEAD + "c/0.png,x\n", "names 'c/0.png', which matches several files in signs. "),
        (HEAD + "c/9.png,x\n", "names 'c/9.png', which does not exist in signs. Correct"),
        (HEAD + "a/0.png,x\na\\0.png,y\n", "names a file twice, in two ways."),
        ("# source: mnist5k\nfile,new\n" + LINES, "must name a folder or an archive of images"),
        (
            "label," + ",".join(f"pixel{i}" for i in range(784)) + "\n" + "0," * 784 + "0\n",
            "holds pixels, not names of image files. Read it as pixels:FILE.",
        ),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy(text: str, message: str) -> None:
    spec = write(text)
    with pytest.raises(DataError, match=f"^{re.escape(f'{spec} {message}')}"):
        sources.load(spec)
