r"""Sets of characters, and the ways in which people name characters.

charsets.json holds the code points of each group, TeX's names, and characters that look alike in
most fonts (measured on the fonts in tools/backbone/packages.csv).
Kanji are the 2,965 of JIS X 0208 level 1 and Hangul the 2,350 syllables of KS X 1001.
"""

import re
import sys
import unicodedata
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from siglum.errors import ConfigError, closest_match
from siglum.files import read_json

DATA = read_json(Path(__file__).with_name("charsets.json"))
SEPARATOR = re.compile(r"(?<!\\)[,;]")
TOKEN = re.compile(
    r"\\(?P<tex>math(?:bb|cal|frak)\{\w\}|[A-Za-z]+|\W)"
    r"|U\+(?P<code>[0-9A-Fa-f]{4,6})|(?P<char>\S)[\ufe0e\ufe0f]?"
)


@cache
def groups() -> Mapping[str, tuple[str, ...]]:
    """Return the characters of every group, by code point; no character is in two groups."""
    result = {}
    for name, text in DATA["groups"].items():
        spans = [[int(code, 16) for code in span.split("-")] for span in text.split()]
        result[name] = tuple(chr(code) for span in spans for code in range(span[0], span[-1] + 1))
    return result


def resolve(text: str, supported: Collection[str] | None = None) -> tuple[str, ...]:
    r"""Return the characters that a text such as "greek,0-9,\alpha,U+2200" names, in its order.

    Groups and ranges leave out what is not `supported`, with a warning. Raises ConfigError.
    """
    items = [text] if text.strip() in (",", ";") else SEPARATOR.split(text)
    named: dict[str, str] = {}  # character -> how it was written
    members: dict[str, None] = {}
    for item in map(str.strip, items):
        if not item:
            raise ConfigError(
                f"characters must be named between commas, got {text!r}. "
                "The comma itself is \\, and the semicolon \\;."
            )
        group = groups().get(item.lower())
        for written, characters in _parse(item) if group is None else [(item, group)]:
            if len(characters) > 1:
                members |= dict.fromkeys(characters)
            elif characters[0] in named:
                raise ConfigError(
                    f"{describe(characters[0])} is named twice, as {named[characters[0]]!a} and "
                    f"{written!a}. Name it once.{closest_match(item.lower(), groups())}"
                )
            else:
                named[characters[0]] = written
    if supported is not None and (missing := [c for c in members if c not in supported]):
        members = {c: None for c in members if c in supported}
        warnings.warn(
            f"{len(missing)} characters of the groups or ranges are left out, since the backbone "
            f"does not have them: {', '.join(map(describe, missing[:5]))}. "
            "Teach them with --samples.",
            stacklevel=2,
        )
    return tuple(dict.fromkeys([*named, *members]))


def describe(character: str) -> str:
    """Return a character with its code point and name: `α (U+03B1 GREEK SMALL LETTER ALPHA)`."""
    name = unicodedata.name(character, "without a name")
    return f"{character} (U+{ord(character):04X} {name})"


@cache
def confusables() -> Mapping[str, frozenset[str]]:
    """Return the characters that look like each one in most fonts, itself included."""
    result: dict[str, frozenset[str]] = {}
    for alike in DATA["confusables"]:
        for character in alike:
            result[character] = result.get(character, frozenset()) | {*alike}
    return result


def confusables_among(characters: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the sets of characters among these that look alike in most fonts, such as O and 0."""
    characters = dict.fromkeys(characters)
    sets = [tuple(c for c in characters if c in alike) for alike in DATA["confusables"]]
    return [alike for alike in sets if len(alike) > 1]


def _parse(item: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each part of an item as written, with its character, or the characters of a range."""
    words = item.split()
    if all(re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", word, re.ASCII) for word in words):
        name = _lookup(" ".join(words))
        if name is not None:
            yield item, (name,)
            return
        if len(words) > 1 and max(map(len, words)) > 1:
            raise ConfigError(
                f"characters must be a group, a Unicode name or characters, got {item!r}."
                f"{closest_match(item.lower(), groups())}"
            )
    matches = TOKEN.finditer(unicodedata.normalize("NFC", item))
    tokens = [(match[0], _character(match)) for match in matches]
    while tokens:
        written, first = tokens.pop(0)
        if len(tokens) > 1 and tokens[0][1] in "-–" and (first + tokens[1][1]).isalnum():
            (_, last), tokens = tokens[1], tokens[2:]
            kind = unicodedata.category(first)
            if kind != unicodedata.category(last) or first > last:
                raise ConfigError(
                    f"range must ascend within one kind of characters, got {first}-{last}. "
                    "Write each range by itself, such as A-Z,a-z."
                )
            span = map(chr, range(ord(first), ord(last) + 1))
            yield f"{first}-{last}", tuple(c for c in span if unicodedata.category(c) == kind)
        else:
            yield written, (first,)


def _lookup(name: str) -> str | None:
    """Return the character of a name: all of Unicode's of two words, few of one word."""
    case = "SMALL" if name.islower() else "CAPITAL" if name.istitle() else ""
    spellings = [f"GREEK {case} LETTER {name.upper()}"]
    # A single short word may as well be letters: sun is s, u and n.
    spellings += [name.upper()] if " " in name or len(name) > 3 else []
    for spelling in spellings:
        try:
            return unicodedata.normalize("NFC", unicodedata.lookup(spelling))
        except KeyError:
            continue
    return None


def _character(match: re.Match[str]) -> str:
    names = DATA["tex"]
    character = match["char"] or names.get(match["tex"], match["tex"])
    if match["code"]:
        character = chr(min(int(match["code"], 16), sys.maxunicode))
    if len(character) > 1 and character == match["tex"]:
        raise ConfigError(f"No such TeX name: {match[0]}.{closest_match(match['tex'], names)}")
    if unicodedata.category(character)[0] in "CMZ":
        raise ConfigError(
            f"characters must be single code points that stand alone, got {match[0]!a}. "
            "Teach it with --samples."
        )
    return unicodedata.normalize("NFC", character)
