"""Sets of characters, and the ways in which people name characters.

charsets.json holds the code points of each group, TeX's names, and characters that look alike in
most fonts (measured on the fonts in tools/backbone/packages.csv).
Kanji are the 2,965 of JIS X 0208 level 1 and Hangul the 2,350 syllables of KS X 1001.
"""

import itertools
import json
import re
import unicodedata
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from siglum.errors import ConfigError, closest_match

EXCLUDED = ("C", "M", "Z")  # categories of characters that do not stand alone
GREEK = "GREEK {} LETTER {}"
TOKEN = re.compile(
    r"\\(?P<tex>mathbb\{\w\}|mathcal\{\w\}|mathfrak\{\w\}|[A-Za-z]+|\W)"
    r"|U\+(?P<code>[0-9A-Fa-f]{4,6})|(?P<char>.[\ufe0e\ufe0f]?)",
    re.DOTALL,
)


@cache
def _data() -> dict[str, Any]:
    text = files("siglum.images").joinpath("charsets.json").read_text("utf-8")
    return dict(json.loads(text))


@cache
def groups() -> Mapping[str, tuple[str, ...]]:
    """Return the characters of every group, by code point; no character is in two groups."""
    result: dict[str, tuple[str, ...]] = {}
    assigned: set[str] = set()
    for name, spans in _data()["groups"].items():
        characters = {chr(code) for span in spans.split() for code in _span(span)}
        if name == "kanji":
            characters = {*_decode_rows("euc_jp", range(16, 48))}
        if name == "hangul":
            characters |= {*_decode_rows("euc_kr", range(16, 41))}
        result[name] = tuple(sorted(filter(stands_alone, characters - assigned)))
        assigned |= characters
    return result


def stands_alone(character: str) -> bool:
    """Whether a code point is a visible character by itself, and in NFC."""
    visible = unicodedata.category(character)[0] not in EXCLUDED
    return visible and unicodedata.is_normalized("NFC", character)


def resolve(text: str, supported: Collection[str] | None = None) -> tuple[str, ...]:
    r"""Return the characters that a text names, in its order, NFC-normalised.

    Args:
        text: items separated by commas: a group (greek), a range (a-z), a Unicode name (greek
            small letter alpha), a Greek letter's name (alpha, Alpha), TeX (\alpha), a code point
            (U+03B1), or characters, separated by blanks or not. "," alone is the comma.
        supported: groups and ranges leave out all other characters, with a warning.

    Raises:
        ConfigError: if nothing or an unknown name is given, or one character twice.
    """
    items = [item.strip() for item in text.split(",")] if text.strip() != "," else [","]
    named: dict[str, str] = {}  # character -> how it was written
    members: dict[str, None] = {}
    for item in items:
        if not item:
            raise ConfigError(f"characters must be named between commas, got {text!r}.")
        group = groups().get(item.lower())
        if group is not None:
            members |= dict.fromkeys(group)
            continue
        for written, characters in _parse(item):
            if len(characters) > 1:
                members |= dict.fromkeys(characters)
            elif characters[0] in named:
                raise ConfigError(
                    f"characters must differ, got {describe(characters[0])} twice: as "
                    f"{named[characters[0]]!a} and as {written!a}. Name it once."
                    f"{closest_match(item.lower(), groups())}"
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


def confusables_among(characters: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the sets of characters among these that look alike in most fonts, such as O and 0."""
    characters = dict.fromkeys(characters)
    sets = [tuple(c for c in characters if c in alike) for alike in _data()["confusables"]]
    return [alike for alike in sets if len(alike) > 1]


def _parse(item: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each part of an item as written, with its character, or the characters of a range."""
    words = item.split()
    if item.isascii() and all(re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", word) for word in words):
        name = _lookup(item)
        if name is not None:
            yield item, (_check(name),)
            return
        if len(words) > 1 and max(map(len, words)) > 1:
            raise ConfigError(
                f"characters must be a group, a Unicode name or characters, got {item!r}."
                f"{_suggestion(item)}"
            )
    tokens = [(match[0], _character(match)) for match in TOKEN.finditer(_compose(item))]
    position = 0
    while position < len(tokens):
        written, character = tokens[position]
        position += 1
        if character.isspace():
            continue
        if position + 1 < len(tokens) and tokens[position][1] in "-–":
            last = tokens[position + 1][1]
            if (span := _range(character, last)) is not None:
                yield f"{character}-{last}", span
                position += 2
                continue
        yield written, (_check(character),)


def _lookup(name: str) -> str | None:
    """Return the character of a name: all of Unicode's of two words, few of one word."""
    case = "SMALL" if name.islower() else "CAPITAL" if name.istitle() else ""
    # A single short word may as well be letters: sun is s, u and n.
    spellings = [GREEK.format(case, name.upper())] if case else []
    spellings += [name.upper()] if " " in name or len(name) > 3 else []
    for spelling in spellings:
        try:
            return unicodedata.normalize("NFC", unicodedata.lookup(" ".join(spelling.split())))
        except KeyError:
            continue
    return None


def _compose(text: str) -> str:
    composed = unicodedata.normalize("NFC", text)
    for previous, mark in itertools.pairwise(composed):
        if unicodedata.category(mark)[0] == "M" and mark not in "\ufe0e\ufe0f":
            raise ConfigError(
                f"characters must be single code points, got {previous + mark!r} "
                f"(U+{ord(previous):04X} and U+{ord(mark):04X}), which Unicode does not compose. "
                "Teach it with --samples."
            )
    return composed


def _character(match: re.Match[str]) -> str:
    if match["tex"]:
        names = _data()["tex"]
        if match["tex"] not in names and match["tex"].isalpha():
            hint = closest_match(match["tex"], names).replace("'", "'\\", 1)
            raise ConfigError(f"No such TeX name: {match[0]}.{hint}")
        return str(names.get(match["tex"], match["tex"]))
    return chr(int(match["code"], 16)) if match["code"] else match["char"][0]


def _range(first: str, last: str) -> tuple[str, ...] | None:
    """Return the characters from first to last; None where these are no letters or digits."""
    kinds = unicodedata.category(first), unicodedata.category(last)
    if not all(kind[0] in "LN" for kind in kinds):
        return None
    if kinds[0] != kinds[1] or first > last:
        raise ConfigError(
            f"range must ascend within one kind of characters, got {first}-{last}. "
            "Write each range by itself, such as A-Z,a-z."
        )
    codes = range(ord(first), ord(last) + 1)
    return tuple(c for c in map(chr, codes) if unicodedata.category(c) == kinds[0])


def _check(character: str) -> str:
    if not stands_alone(character):
        name = unicodedata.name(character, "without a name")
        raise ConfigError(f"characters must stand alone, got U+{ord(character):04X} ({name}).")
    return character


def _suggestion(name: str) -> str:
    """Return the nearest group or, among the names with the same beginning, Unicode name."""
    if hint := closest_match(name, groups()):
        return hint
    names = [unicodedata.name(char, "") for chars in groups().values() for char in chars]
    return closest_match(name.upper(), [n for n in names if n[:3] == name.upper()[:3]] or names)


def _span(span: str) -> range:
    first, _, last = span.partition("-")
    return range(int(first, 16), int(last or first, 16) + 1)


def _decode_rows(codec: str, rows: range) -> Iterator[str]:
    """Yield what an EUC codec has in some rows of its 94 x 94 table."""
    for row in rows:
        for cell in range(1, 95):
            try:
                yield bytes((0xA0 + row, 0xA0 + cell)).decode(codec)
            except UnicodeDecodeError:
                continue
