import os
import re
import shutil
import socket
import warnings
from pathlib import Path

import numpy as np
import pytest
from making import SIGNS, VALUES, png, write_folder

from siglum.config import Preprocess
from siglum.errors import DataError
from siglum.images import cache, folder, sources
from siglum.images.imageset import ImageSet
from siglum.images.listing import Listing


def scan(root: Path) -> Listing:
    return folder.scan(root, "folder:here")


def load(root: Path) -> ImageSet:
    return sources.load(f"folder:{root}")


def values(found: ImageSet) -> list[int]:
    return found.images.max(axis=(1, 2, 3)).tolist()


def test_a_folder_a_class(tmp_path: Path) -> None:
    found = load(write_folder(tmp_path / "signs"))

    assert found.classes == ("a", "b")
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert values(found) == VALUES
    assert list(found.files or ()) == list(SIGNS)


@pytest.mark.parametrize("kind", ["a file", "nothing"])
def test_the_place_must_be_a_folder(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "signs"
    if kind == "a file":
        place.write_text("")

    with pytest.raises(DataError, match=f"^folder:here must name a folder, got {kind} there.$"):
        scan(place)


def test_a_place_that_cannot_be_looked_at_is_told() -> None:
    """Python 3.14 takes too long a name for one that is not there."""
    name = "x" * 300

    message = "must name a (place that can be looked at: File name too long|folder, got nothing)"
    with pytest.raises(DataError, match=f"^folder:{name} {message}"):
        sources.load(f"folder:{name}")
    with pytest.raises(DataError, match=r"must name a place that can be looked at: Could not"):
        sources.load("folder:~no-such-user/signs")


@pytest.mark.parametrize(
    "name",
    [
        *("two words", " ", "👩🏽‍🔬", "אבג", "\u202eevil", "__pycache__", "<img onerror=alert(1)>"),
        *("a\nb", "-rf", "%s{0}", "a.png", "C:", "back\\slash", "'\"", "ﬁ", "é", "e\u0301"),
    ],
)
def test_any_name_may_be_a_class(tmp_path: Path, name: str) -> None:
    root = write_folder(tmp_path / "signs", {f"{name}/0.png": png(10), "zz/0.png": png(20)})

    found = load(root)

    assert found.classes == tuple(sorted((name, "zz")))
    assert found.classes[found.labels[values(found).index(10)]] == name


def test_names_that_are_not_utf8_stay_apart(tmp_path: Path) -> None:
    """Two class folders must not become one because neither can be written as text."""
    for byte, value in ((b"\xfe", 10), (b"\xff", 20)):
        name = os.fsdecode(byte)
        try:
            write_folder(tmp_path / "signs", {f"{name}/{name}.png": png(value)})
        except OSError:
            pytest.skip("this file system takes no such names")

    found = load(tmp_path / "signs")

    assert found.classes == ("\\xfe", "\\xff")
    assert values(found) == [10, 20]
    assert list(found.files or ()) == ["\\xfe/\\xfe.png", "\\xff/\\xff.png"]


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    other = {"a/.0.png": b"", ".git/0.png": b"", "__MACOSX/a/._0.png": b"", "a/notes.txt": b""}
    root = write_folder(tmp_path / "signs", SIGNS | other)
    (root / "a" / ".#lock").symlink_to("nowhere")  # as Emacs leaves them
    (root / "b" / "__pycache__").mkdir()

    found = load(root)

    assert list(found.files or ()) == list(SIGNS)
    assert found.unreadable == ()


def test_what_is_no_picture_file_is_listed_once_and_never_waited_for(tmp_path: Path) -> None:
    """Opening a FIFO would hang for ever."""
    root = write_folder(tmp_path / "signs")
    os.mkfifo(root / "a" / "fifo.png")
    (root / "a" / "dangling.png").symlink_to("nowhere")
    (root / "a" / "looping.png").symlink_to("looping.png")
    (root / "a" / "circle").symlink_to("..")
    (root / "a" / "folder.png").mkdir()
    (root / "a" / "folder.png" / "notes.txt").write_text("")
    listening = socket.socket(socket.AF_UNIX)
    before = Path.cwd()
    os.chdir(root)  # the path of a socket may not be long
    listening.bind("a/socket.png")
    os.chdir(before)

    found = scan(root)
    listening.close()

    assert list(found.names) == list(SIGNS)
    assert sorted(found.unreadable) == [
        ("a/circle", "is a link in a circle"),
        ("a/dangling.png", "leads nowhere (No such file or directory)"),
        ("a/fifo.png", "is no regular file"),
        ("a/looping.png", "leads nowhere (Too many levels of symbolic links)"),
        ("a/socket.png", "is no regular file"),
    ]
    assert found.empty == ["a/folder.png"]


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    stock = write_folder(tmp_path / "stock")
    root = write_folder(tmp_path / "signs", {"c/0.png": png(50)})
    (root / "a").symlink_to(stock / "a")
    (root / "c" / "1.png").symlink_to(stock / "b" / "0.png")

    assert list(scan(root).names) == ["a/0.png", "a/1.png", "c/0.png", "c/1.png"]
    assert values(load(root)) == [10, 20, 50, 30]


def test_unreadable_files_are_left_out_with_one_warning(tmp_path: Path) -> None:
    bad = {"a/2.png": b"plain text", "b/2.png": b"", "b/3.png": png(50)[:-30], "top.png": png(1)}
    root = write_folder(tmp_path / "signs", SIGNS | bad)
    os.mkfifo(root / "a" / "9.png")

    with pytest.warns(UserWarning) as caught:
        found = load(root)

    message = (
        f"folder:{root}: 5 of 9 files are left out, such as a/2.png, which is no picture "
        "(PNG, JPEG, BMP, GIF, TIFF, WEBP, PPM). "
        f"All of them: siglum data folder:{root}"
    )
    assert [str(warning.message) for warning in caught] == [message]
    assert values(found) == VALUES
    assert [name for name, _ in found.unreadable] == sorted([*bad, "a/9.png"])
    assert dict(found.unreadable)["b/2.png"] == "is empty"
    assert dict(found.unreadable)["b/3.png"].startswith("is damaged (")
    assert dict(found.unreadable)["top.png"] == "lies outside the class folders"


def test_a_file_that_goes_while_it_is_read_is_left_out(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "signs")
    found = scan(root)
    (root / "a" / "0.png").unlink()

    with warnings.catch_warnings(record=True):
        loaded = cache.load(found, Preprocess())

    assert loaded.unreadable == (("a/0.png", "cannot be read (No such file or directory)"),)
    assert values(loaded) == VALUES[1:]


def test_one_class_and_one_picture_are_enough(tmp_path: Path) -> None:
    found = load(write_folder(tmp_path / "signs", {"a/0.png": png(10)}))

    assert found.classes == ("a",)
    assert values(found) == [10]


def test_empty_folders_are_left_out_with_one_warning(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "signs", SIGNS | {"d/readme.txt": b""})
    for name in ("c", ".hidden", "__pycache__"):
        (root / name).mkdir()

    with pytest.warns(UserWarning) as caught:
        found = load(root)

    message = f"folder:{root}: folders without a picture are left out (2): c, d"
    assert [str(warning.message) for warning in caught] == [message]
    assert found.classes == ("a", "b")


def test_a_class_of_unreadable_files_is_left_out_and_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "signs", SIGNS | {"c/0.png": b"text"})

    with pytest.warns(UserWarning) as caught:
        found = load(root)

    assert [str(warning.message) for warning in caught] == [
        f"folder:{root}: classes without a readable picture are left out (1): c",
        f"folder:{root}: 1 of 5 files are left out, such as c/0.png, which is no picture "
        f"(PNG, JPEG, BMP, GIF, TIFF, WEBP, PPM). All of them: siglum data folder:{root}",
    ]
    assert found.classes == ("a", "b")


def test_nothing_readable_at_all_is_an_error(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "signs", {"a/0.png": b"text", "b/0.png": b""})

    message = (
        f"folder:{root} must hold a picture that can be read, got none of 2: "
        "a/0.png is no picture (PNG, JPEG, BMP, GIF, TIFF, WEBP, PPM)."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        load(root)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    message = f"folder:{tmp_path} must hold pictures in a folder for each class, got none. "

    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        load(tmp_path)


def test_contents_follow_names_and_bytes_and_nothing_else(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "signs")
    before = scan(root)
    shutil.copytree(root, tmp_path / "copy")
    renamed = write_folder(tmp_path / "renamed", {**SIGNS, "c/0.png": png(1)})
    (renamed / "c" / "0.png").rename(renamed / "b" / "2.png")
    changed = write_folder(tmp_path / "changed", {**SIGNS, "b/1.png": png(41)})

    assert scan(tmp_path / "copy").contents() == before.contents()
    assert scan(tmp_path / "copy").signature != before.signature
    assert scan(renamed).contents() != before.contents()
    assert scan(changed).contents() != before.contents()


def test_contents_know_where_one_file_ends(tmp_path: Path) -> None:
    """The same bytes in a row, cut in another place, are other pictures."""
    one = write_folder(tmp_path / "one", {"a/0.png": b"xy", "a/1.png": b""})
    two = write_folder(tmp_path / "two", {"a/0.png": b"x", "a/1.png": b"y"})
    three = write_folder(tmp_path / "three", {"a/0.png": b"xya/1.png\0"})

    assert len({scan(root).contents() for root in (one, two, three)}) == 3


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "signs")
    path = root / "a" / "0.png"
    facts = path.stat()
    first = load(root)

    assert len(png(11)) == facts.st_size
    path.write_bytes(png(11))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    assert (path.stat().st_size, path.stat().st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)
    assert values(load(root)) == [11, *VALUES[1:]]
    assert values(first) == VALUES  # the older pack is still what it was


def test_pictures_lie_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Whatever order the file system gives, so that seeds choose the same pictures anywhere."""
    order = np.random.RandomState(0).permutation(40)
    root = write_folder(tmp_path / "signs", {f"a/{i:02}.png": png(int(i) + 1) for i in order})

    assert values(load(root)) == list(range(1, 41))
