"""A folder for a class of any name, on any file system.

`o` and `O` are two classes, and one folder where capitals do not count; `a/b`, `..`, `CON` and
`<img src=x>` are classes, and no folders at all. So a folder's name is the class's where that is
safe everywhere, and otherwise says it in a readable way: a capital is its small letter behind a
`+`, and what may not stand in a name is its bytes in UTF-8, each `%` and two digits. Where the two
differ, the file `name.txt` in the folder holds the name as it is: folders that a person made have
no such file, and are read as they are called.
"""

import hashlib
import re
import unicodedata
from pathlib import Path
from typing import Any

from siglum.errors import DataError

NAME = "name.txt"
MAX_NAME = 1_000  # characters
MAX_BYTES = 200  # of a folder's name; most file systems take 255
KEPT_BYTES = 100  # of the beginning of a longer one, before its digest
LONG = "%%"  # before the digest; no shorter name has it

SPECIAL = frozenset(
    '+%<>:"/\\|?*~'
)  # ours, those that Windows refuses, and that of its short names
INVISIBLE = re.compile(  # printable by category, yet some file systems leave them out
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
CODED = re.compile(r"\+(.)|((?:%[0-9a-f]{2})+)", re.DOTALL)
DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"} | {
    f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"
}


def checked(text: Any, what: str = "class", most: int = MAX_NAME) -> str:
    """Return a name if it may be one.

    Raises:
        DataError: if it is empty, too long, or no text.
    """
    if not isinstance(text, str):
        raise DataError(f"{what} must be text, got {type(text).__name__}.")
    if not 0 < len(text) <= most:
        raise DataError(f"{what} must have 1 to {most:,} characters, got {len(text):,}.")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise DataError(f"{what} must be text, got half a character in {ascii(text)[:40]}.")
    return text


def folder_of(name: str) -> str:
    """Return the folder's name for a class; no two classes have one that any system takes for one.

    Raises:
        DataError: as `checked` does.
    """
    pieces = [_piece(char) for char in checked(name)]
    if _folded("".join(pieces)) != "".join(pieces):  # marks that join what they follow
        pieces = [
            piece if piece.isascii() else _escaped(char)
            for char, piece in zip(name, pieces, strict=True)
        ]
    for end in (0, -1):
        if pieces[end] in (".", " "):
            pieces[end] = _escaped(pieces[end])
    if "".join(pieces).partition(".")[0].rstrip() in DEVICES:
        pieces[0] = _escaped(name[0])
    folder = "".join(pieces)
    if len(folder.encode()) <= MAX_BYTES:
        return folder
    while len("".join(pieces).encode()) > KEPT_BYTES:
        pieces = pieces[:-1]
    return "".join(pieces) + LONG + _digest(name)


def class_of(folder: str, told: str | None) -> str:
    """Return the class of a folder's pictures.

    Args:
        folder: its name.
        told: what `name.txt` in it says; not believed where the folder's name says otherwise.
    """
    if told is None:
        return folder
    if LONG in folder:
        return told if folder.rpartition(LONG)[2] == _digest(told) else folder
    return told if _decoded(folder) == told else folder


def read_name(folder: Path) -> str | None:
    """Return what `name.txt` in a folder says; None where there is none, or no text."""
    try:
        with (folder / NAME).open("rb") as file:
            return file.read(4 * MAX_NAME + 1).decode()
    except (OSError, ValueError):
        return None


def _piece(char: str) -> str:
    """Return what stands for a character."""
    if _plain(char):
        return char
    small = char.lower()
    if len(small) == 1 and small != char and small.upper() == char and _plain(small):
        return f"+{small}"
    return _escaped(char)


def _plain(char: str) -> bool:
    named = char.isprintable() and char not in SPECIAL and not INVISIBLE.match(char)
    return named and _folded(char) == char


def _folded(text: str) -> str:
    """Return what is the same for all names that a file system might take for one."""
    capitals = unicodedata.normalize("NFD", text).upper()
    return unicodedata.normalize("NFC", capitals.casefold())


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02x}" for byte in char.encode())


def _decoded(folder: str) -> str | None:
    """Return the name that a folder's name says; None where it says none."""
    try:
        return CODED.sub(_said, folder)
    except ValueError:
        return None


def _said(coded: re.Match[str]) -> str:
    capital, escaped = coded.groups()
    return capital.upper() if capital else bytes.fromhex(escaped.replace("%", "")).decode()


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
