"""Folders of images: what is an image, its class, its part, and what is reported."""

import os
from pathlib import Path

import pytest
from making import SIGNS, VALUES, encoded, png, write_folder, write_zip
from PIL import Image

from siglum.errors import ConfigError, DataError
from siglum.images import folder, sources
from siglum.images.folder import expand_files, parts_and_classes
from siglum.images.imageset import ImageSet


def load(root: Path, part: str = "train") -> ImageSet:
    return sources.load(f"folder:{root}", part)


def values(images: ImageSet) -> list[int]:
    return images.images.max(axis=(1, 2, 3)).tolist()


@pytest.mark.parametrize(
    ("files", "classes"),
    [
        (("x/y/a/0.png", "x/y/b/0.png"), ("a", "b")),
        (("set/Greek/alpha/0.png", "set/Latin/a/0.png"), ("Greek/alpha", "Latin/a")),
        (("top/a/0.png",), ("a",)),
        (("a/0.png", "ab/0.png"), ("a", "ab")),
    ],
)
def test_the_class_is_the_folder_below_what_all_share(
    tmp_path: Path, files: tuple[str, ...], classes: tuple[str, ...]
) -> None:
    assert load(write_folder(tmp_path, dict.fromkeys(files, png(9)))).classes == classes


def test_any_visible_name_may_be_a_class(tmp_path: Path) -> None:
    names = ["two words", "👩🏽‍🔬", "אבג", "<img onerror=alert(1)>", "-rf", "%s{0}", "a.png"]
    names += ["C:", "back\\slash", "'\"", "ﬁ", "é", "e\u0301", "\\alpha"]
    escaped = {"a\nb": "a\\nb", "\x1b[2J": "\\x1b[2J", "\u202eevil": "\\u202eevil"}
    files = {f"{name}/0.png": png(10 + i) for i, name in enumerate([*names, *escaped])}

    images = load(write_folder(tmp_path, files))

    assert {*images.classes} == {*names, *escaped.values()}
    for value, name in enumerate([*names, *escaped.values()], start=10):
        assert images.classes[images.labels[values(images).index(value)]] == name
    with pytest.raises(DataError, match=r"has a class with a blank name, ' '\. Rename it\.$"):
        load(write_folder(tmp_path, {" /0.png": png(10)}))


def test_names_that_are_not_utf8_stay_apart(tmp_path: Path) -> None:
    for byte, value in ((b"\xfe", 10), (b"\xff", 20)):
        name = os.fsdecode(byte)
        try:
            write_folder(tmp_path, {f"{name}/{name}.png": png(value)})
        except OSError:
            pytest.skip("this file system has no such names")

    images = load(tmp_path)

    assert images.classes == ("\\xfe", "\\xff")
    assert values(images) == [10, 20]
    assert list(images.files or ()) == ["\\xfe/\\xfe.png", "\\xff/\\xff.png"]


SYSTEM = [
    *(".git/0.png", "a/.0.png", "__MACOSX/a/._0.png", "@eaDir/a/SYNOPHOTO_THUMB_M.jpg"),
    *("#recycle/0.png", "$RECYCLE.BIN/S-1/0.png", "lost+found/0.png", ".Trashes/501/0.png"),
    *(".dropbox.cache/0.png", "System Volume Information/0.png", ".ipynb_checkpoints/0.png"),
    *("a/Thumbs.db", "a/desktop.ini", "a/.DS_Store", "a/@eaDir/0.png@SynoEAStream"),
]


def test_what_systems_and_clouds_leave_is_skipped(tmp_path: Path) -> None:
    root = write_folder(tmp_path, SIGNS | dict.fromkeys(SYSTEM, png(1)) | {"a/notes.txt": b"x"})
    (root / "a" / ".#lock").symlink_to("nowhere")  # as Emacs leaves them
    (root / "empty").mkdir()

    images = load(root)

    assert list(images.files or ()) == list(SIGNS)
    assert images.unreadable == ()


def test_images_are_recognised_by_content_whatever_their_suffix(tmp_path: Path) -> None:
    jpeg = encoded(Image.new("L", (28, 28)), "JPEG")
    names = {"a/0.jfif": jpeg, "a/1.JPG": jpeg, "a/1.jpe": jpeg, "a/1.png": jpeg, "a/3": jpeg}
    names["a/4.foto"] = png(9)

    assert list(load(write_folder(tmp_path, names)).files or ()) == list(names)


def test_every_image_that_is_not_read_is_named_with_its_remedy(tmp_path: Path) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    bad = {
        "a/2.png": b"plain text",
        "a/3.HEIC": heic,
        "a/4.jpg": heic,
        "a/5.avif": b"\0\0\0\x18ftypavif",
        "a/6.pdf": b"%PDF-1.4",
        "a/7.svg": b"<?xml version='1.0'?><svg/>",
        "b/2.png": b"",
        "b/3.png": png(50)[:-30],
        "b/4.raw": bytes(9),
        "c/0.png": b"text",
        "top.png": png(1),
    }
    tiff = encoded(
        Image.new("L", (28, 28)), "TIFF", save_all=True, append_images=[Image.new("L", (9, 9))]
    )
    root = write_folder(tmp_path, SIGNS | bad | {"b/5.tif": tiff})
    os.mkfifo(root / "a" / "9.png")

    with pytest.warns(UserWarning) as caught:
        images = load(root)

    assert [str(warning.message) for warning in caught] == [
        f"folder:{root}: 14 files cannot be read completely, such as a/2.png: not an image "
        f"(PNG, JPEG, BMP, GIF, TIFF, WEBP, PPM). All of them: siglum data folder:{root}"
    ]
    assert values(images) == [*VALUES, 0]
    assert images.classes == ("a", "b")
    reasons = dict(images.unreadable)
    assert [*reasons] == sorted([*bad, "a/9.png", "b/5.tif", "c"])
    assert reasons["a/4.jpg"] == "HEIC is not supported; convert it to PNG or JPEG"
    assert reasons["a/5.avif"] == "AVIF is not supported; convert it to PNG or JPEG"
    assert reasons["b/2.png"] == "empty file"
    assert reasons["b/3.png"].startswith("damaged image (")
    assert reasons["b/5.tif"] == "only the first of 2 pages is read; save each as a file"
    assert reasons["c"] == "no image of this class can be read"
    assert reasons["top.png"] == "not in a class folder"


def test_links_are_followed_and_special_files_never_opened(tmp_path: Path) -> None:
    """Opening a FIFO would wait for ever."""
    root = write_folder(tmp_path / "signs")
    os.mkfifo(root / "a" / "fifo.png")
    (root / "a" / "dangling.png").symlink_to("nowhere")
    (root / "a" / "looping.png").symlink_to("looping.png")
    (root / "a" / "circle").symlink_to("..")
    (root / "a" / "folder.png").mkdir()
    (root / "linked").symlink_to(write_folder(tmp_path / "stock", {"0.png": png(50)}))

    with pytest.warns(UserWarning):
        images = load(root)

    assert list(images.files or ()) == [*SIGNS, "linked/0.png"]
    names = ["a/dangling.png", "a/fifo.png", "a/looping.png"]
    assert [name for name, _ in images.unreadable] == names


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "valid", "test"),
        ("Train", "VAL", "Testing"),
        ("training_set", "validation_set", "test_set"),
        ("train_images", "dev", "eval"),
        ("data/train", "data/val", "data/holdout"),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_split_folders_at_the_top_are_parts(
    tmp_path: Path, train: str, val: str, test: str, kind: str
) -> None:
    tops = {train: 10, val: 20, test: 30}
    files = {f"{top}/{name}/0.png": png(v) for top, v in tops.items() for name in "ab"}
    files["readme.txt"] = b"x"
    spec = f"folder:{write_folder(tmp_path / 'set', files)}"
    if kind == "archive":
        spec = f"archive:{write_zip(tmp_path / 'set.zip', files)}"

    assert sources.parts(spec) == ("train", "val", "test")
    for part, value in (("train", 10), ("val", 20), ("test", 30)):
        images = sources.load(spec, part)
        assert images.classes == ("a", "b")
        assert values(images) == [value, value]
    with pytest.raises(ConfigError, match="^part must be one of test, train, val, got 'dev'"):
        sources.load(spec, "dev")


@pytest.mark.parametrize(
    "names",
    [
        ("train/0.png", "test/0.png"),  # classes of these names
        ("train/a/0.png", "a/0.png"),
        ("val/a/0.png", "other/a/0.png"),
        ("training day/a/0.png", "test pilot/a/0.png"),
        ("train/a/0.png", "train/b/0.png"),
    ],
)
def test_other_folders_are_classes(names: tuple[str, ...]) -> None:
    assert {part for part, _ in parts_and_classes(names).values()} == {"all"}


def test_class_folders_that_repeat_are_warned_of_and_can_be_writers(tmp_path: Path) -> None:
    files = {f"{writer}/{name}/0.png": png(9) for writer in ("ada", "bob") for name in "xy"}
    root = write_folder(tmp_path, files)

    with pytest.warns(UserWarning, match=r"'x' is in several folders.*add --writers"):
        assert load(root).classes == ("ada/x", "ada/y", "bob/x", "bob/y")
    images = sources.load(f"folder:{root}", writers="([^/]+)/[^/]+/[^/]+$")
    assert images.classes == ("x", "y")
    assert images.writers == ("ada", "ada", "bob", "bob")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no images in class folders. Put the images of each class in a folder of its own"),
        ({"a/0.png": b"text"}, "has no image that can be read. a/0.png: not an image (PNG,"),
    ],
)
def test_without_images_the_error_says_what_to_do(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        load(write_folder(tmp_path, files))

    assert str(caught.value).startswith(f"folder:{tmp_path} {message}")


def test_a_search_without_images_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MAX_ENTRIES", 20)
    root = write_folder(tmp_path, {f"{i // 5}/{i}.txt": b"" for i in range(30)})

    with pytest.raises(DataError, match="has no image among its first 2. files. Name the folder"):
        load(root)


def test_a_change_that_keeps_size_and_time_is_noticed(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    path = root / "a" / "0.png"
    facts = path.stat()
    first = load(root)

    assert len(png(11)) == facts.st_size
    path.write_bytes(png(11))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    assert values(load(root)) == [11, *VALUES[1:]]
    assert values(first) == VALUES  # the older pack is unchanged


def test_patterns_and_folders_are_expanded_to_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shells on Windows pass `*.png` as it is."""
    write_folder(tmp_path, {"a/1.png": b"", "a/2.png": b"", "a/x.txt": b"", "[b].png": b""})
    monkeypatch.chdir(tmp_path)

    assert expand_files(["a/*.png"]) == [Path("a/1.png"), Path("a/2.png")]
    assert expand_files(["a", "[b].png"]) == [*expand_files(["a/*.png"]), Path("[b].png")]
    assert expand_files([Path("missing.png")]) == [Path("missing.png")]
    for place in ("*.gif", Path("https://example.org/3.png")):
        with pytest.raises(DataError, match="^No image files in .*Name files or folders on this"):
            expand_files([place])
