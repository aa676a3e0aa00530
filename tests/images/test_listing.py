import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siglum.errors import DataError
from siglum.images.decode import IMAGE_SUFFIXES
from siglum.images.listing import Listing, classes_of, empty_of, is_picture


def listing(*names: str, unreadable: tuple[tuple[str, str], ...] = ()) -> Listing:
    return Listing("folder:here", names, unreadable, "", lambda: "", lambda: iter(()))


@pytest.mark.parametrize("name", ["a/x.png", "a/x.JPG", "a b/x.y.Tiff", "a/__x.png", "x.webp"])
def test_pictures_are_known_by_their_endings(name: str) -> None:
    assert is_picture(name)


@pytest.mark.parametrize(
    "name",
    ["a/x.txt", "a/png", "a/.png", "a/.x.png", ".a/x.png", "__MACOSX/a/._x.png", "a/x.png.bak"],
)
def test_other_and_hidden_files_are_no_pictures(name: str) -> None:
    assert not is_picture(name)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("a/0.png", "b/0.png"), ["a", "b"]),
        (("top/a/0.png", "top/b/0.png"), ["a", "b"]),
        (("x/y/a/0.png", "x/y/b/0.png", "x/y/b/1.png"), ["a", "b", "b"]),
        (("set/Greek/alpha/0.png", "set/Latin/a/0.png"), ["Greek/alpha", "Latin/a"]),
        (("a/0.png", "a/1.png"), ["a", "a"]),
        (("top/a/0.png",), ["a"]),
        (("0.png", "a/0.png"), [None, "a"]),
        (("top/0.png", "top/a/0.png"), [None, "a"]),
        (("a/0.png", "ab/0.png"), ["a", "ab"]),
    ],
)
def test_a_class_is_the_folder_below_what_all_share(
    names: tuple[str, ...], labels: list[str | None]
) -> None:
    found, classes = classes_of(listing(*names))

    assert found == labels
    assert classes == tuple(sorted({label for label in labels if label}))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (listing(), "none"),
        (listing("0.png", "1.png"), "2 without a folder"),
        (listing(unreadable=(("a.png", "is a fifo"),)), "none (a.png is a fifo)"),
    ],
)
def test_without_classes_it_says_what_was_found(found: Listing, message: str) -> None:
    message = (
        f"folder:here must hold pictures in a folder for each class, got {message}. "
        f"Pictures end in {', '.join(IMAGE_SUFFIXES)}."
    )

    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        classes_of(found)


def test_a_folder_is_empty_when_nothing_lies_anywhere_below() -> None:
    folders = ["top", "top/a", "top/b", "top/c", "top/c/d", "top/.git", "top/__pycache__"]

    assert empty_of(folders, ["top/a/0.png"]) == ["top/b", "top/c/d"]


def test_an_archive_need_not_list_the_folders_between() -> None:
    assert empty_of(["top"], ["top/a/b/0.png"]) == []


names = st.text("ab", min_size=1, max_size=2)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@given(st.lists(paths, max_size=6), st.lists(paths, max_size=6))
def test_empty_folders_hold_no_picture(folders: list[str], homes: list[str]) -> None:
    pictures = [f"{home}/0.png" for home in homes]

    for folder in empty_of(folders, pictures):
        assert folder in folders
        assert not any(name.startswith(f"{folder}/") for name in [*pictures, *folders])
