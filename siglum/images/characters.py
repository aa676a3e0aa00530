"""Names of characters, and what to type for them: LaTeX, Typst, HTML and escapes.

`tools/characters.py` makes characters.json.
"""

import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from html.entities import codepoint2name, html5
from pathlib import Path

from siglum.files import read_json


@cache
def _names(language: str) -> Mapping[str, str]:
    return dict(read_json(Path(__file__).with_name("characters.json"))[language])


@cache
def _entities() -> Mapping[str, str]:
    """Return the HTML 4 entity of each character, else the shortest of HTML 5."""
    names = [name for name in html5 if name.endswith(";") and len(html5[name]) == 1]
    names.sort(key=lambda name: (-len(name), name.lower() == name))
    common = {chr(code): f"{name};" for code, name in codepoint2name.items()}
    return {html5[name]: name for name in names} | common


def name(character: str) -> str:
    """Return the Unicode name in lower case: `greek small letter alpha`."""
    return unicodedata.name(character, "").lower()


def code_point(character: str) -> str:
    """Return the code point: `U+03B1`."""
    return f"U+{ord(character):04X}"


def latex(character: str) -> str:
    r"""Return the LaTeX command, such as `\alpha`; plain ASCII is its own; "" if none."""
    plain = character.isascii() and character not in r"\{}$&#^_%~"
    return character if plain else _names("latex").get(character, "")


def typst(character: str) -> str:
    r"""Return the name in Typst's module `sym`, such as `arrow.r`, or an escape: `\u{6728}`."""
    return _names("typst").get(character) or rf"\u{{{ord(character):x}}}"


def html(character: str) -> str:
    """Return the HTML entity, such as `&alpha;` or `&#x6728;`."""
    return f"&{_entities().get(character, f'#x{ord(character):X};')}"


def python(character: str) -> str:
    r"""Return Python's escape, such as `\u03b1` or `\U0001d54f`."""
    code = ord(character)
    return rf"\u{code:04x}" if code < 0x10000 else rf"\U{code:08x}"


FORMATS: Mapping[str, Callable[[str], str]] = {  # what an answer can be copied as
    "text": str,
    "latex": latex,
    "typst": typst,
    "html": html,
    "python": python,
}


def describe(character: str) -> dict[str, str]:
    """Return the name, the code point and every format of a character."""
    formats = {kind: write(character) for kind, write in FORMATS.items()}
    return {"name": name(character), "code_point": code_point(character), **formats}


def has_typst_name(character: str) -> bool:
    """Return whether Typst's module `sym` has the character: it is in common use."""
    return character in _names("typst")


def with_names() -> tuple[str, ...]:
    """Return the characters that LaTeX or Typst have names for."""
    return tuple({**_names("latex"), **_names("typst")})
