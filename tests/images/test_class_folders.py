"""Folders for classes of any name."""

import re
import unicodedata
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from siglum.errors import DataError
from siglum.images.class_folders import checked, class_of, folder_of, read_name

TEXT = st.characters(exclude_categories=["Cs"])
NAMES = st.text(TEXT, min_size=1, max_size=12)
# Likelier to be taken for one another, or for what a system keeps for itself.
LETTERS = "oOİıiIſsSßẞKk\u212aeéÉΣσςǅǆﬁ❤가\u1100\u1161\u0301\u0345\u200d\ufe0f"
ODD = st.text(st.sampled_from(LETTERS + "+%.~ 1:/\\\0\n"), min_size=1, max_size=5)
DEVICES = st.sampled_from(["con", "CON", "Nul", "aux", "com1", "LPT9", "com¹"])
ANY = st.one_of(
    NAMES,
    ODD,
    st.builds(str.__add__, DEVICES, st.sampled_from(["", ".", ".a", " ", "2"])),
    st.builds(str.__mul__, NAMES, st.integers(1, 80)),
)


def folds(name: str) -> set[str]:
    """What file systems may take a name for: small, capital, taken apart, put together."""
    kinds = {name, unicodedata.normalize("NFD", name), unicodedata.normalize("NFC", name)}
    cases = {case(kind) for kind in kinds for case in (str.casefold, str.lower, str.upper)}
    return {unicodedata.normalize("NFC", case.casefold()) for case in cases}


@settings(max_examples=200, deadline=None)
@given(name=ANY)
@example("..")
@example(".")
@example("a/b")
@example("<img src=x>")
@example("אבג")
@example("\u202eevil")
@example("👩🏽‍🔬" * 60)
@example("con.")
@example("x" * 1000)
@example("Ω" * 67)
def test_a_folder_is_safe_everywhere_and_says_its_class(name: str) -> None:
    folder = folder_of(name)

    assert 0 < len(folder.encode()) <= 200
    assert folder not in (".", "..") and not folder.startswith((".", " "))
    assert not folder.endswith((".", " "))
    assert not re.search(r'[<>:"/\\|?*~\x00-\x1f\x7f]', folder)
    assert folder.isprintable()
    device = re.sub(r"[ .].*", "", folder, flags=re.DOTALL)
    assert not re.fullmatch("con|prn|aux|nul|(com|lpt)[0-9¹²³]|conin\\$|conout\\$", device)
    assert class_of(folder, name) == name
    assert folds(folder) == {folder}


@settings(max_examples=200, deadline=None)
@given(one=ANY, other=ANY)
@example("o", "O")
@example("k", "\u212a")
@example("é", "e\u0301")
@example("ß", "ss")
@example("+o", "O")
@example("%4f", "O")
@example("❤", "❤\ufe0f")
@example("x" * 300, "x" * 301)
@example("X" * 300, "x" * 300)
def test_two_classes_never_share_a_folder(one: str, other: str) -> None:
    if one != other:
        assert not folds(folder_of(one)) & folds(folder_of(other))


@settings(max_examples=100, deadline=None)
@given(name=ANY)
def test_what_is_documented_is_enough_to_read_a_folder(name: str) -> None:
    """By another reader, which knows docs/samples-format.md alone."""
    folder = folder_of(name)
    if "%%" in folder:
        return
    said, left = "", folder
    while left:
        if left[0] == "+":
            said, left = said + left[1].upper(), left[2:]
        elif left[0] == "%":
            code = re.match("(%[0-9a-f]{2})+", left)
            assert code is not None
            said += bytes.fromhex(code[0].replace("%", "")).decode()
            left = left[code.end() :]
        else:
            said, left = said + left[0], left[1:]

    assert said == name


@pytest.mark.parametrize(
    "name, folder",
    [
        ("alpha", "alpha"),
        ("α", "α"),
        ("two words", "two words"),
        ("אבג", "אבג"),
        ("O", "+o"),
        ("Alpha", "+alpha"),
        ("a/b", "a%2fb"),
        ("..", "%2e%2e"),
        ("con", "%63on"),
        ("100%", "100%25"),
        ("<img src=x>", "%3cimg src=x%3e"),
        ("x" * 201, "x" * 100 + "%%" + blake2b(b"x" * 201, digest_size=16).hexdigest()),
    ],
)
def test_folders_are_readable(name: str, folder: str) -> None:
    assert folder_of(name) == folder


@pytest.mark.parametrize("folder", ["+a", "x^2", "100%25", "%zz", "%ff", "a%%b", "O"])
def test_a_folder_that_a_person_made_is_called_what_it_is_called(folder: str) -> None:
    assert class_of(folder, None) == folder
    assert class_of(folder, "something else") == folder
    assert class_of(folder, "") == folder


def test_what_is_no_name_is_refused() -> None:
    for name, message in (
        ("", "class must have 1 to 1,000 characters, got 0."),
        ("x" * 1001, "class must have 1 to 1,000 characters, got 1,001."),
        ("a\ud800", "class must be text, got half a character in 'a\\ud800'."),
        (7, "class must be text, got int."),
    ):
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            checked(name)


def test_a_name_is_read_from_the_folder(tmp_path: Path) -> None:
    assert read_name(tmp_path) is None
    (tmp_path / "name.txt").write_bytes("Ω\n".encode())
    assert read_name(tmp_path) == "Ω\n"
    (tmp_path / "name.txt").write_bytes(b"\xff")
    assert read_name(tmp_path) is None
