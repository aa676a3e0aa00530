r"""Sets of characters, and the ways in which people name characters.

charsets.json holds the code points of each group, how common characters are, TeX's names, and
characters that look alike in most fonts (measured on the fonts in tools/backbone/packages.csv).
Kanji are the 2,965 of JIS X 0208 level 1 and Hangul the 2,350 syllables of KS X 1001.
"""

import re
import sys
import unicodedata
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path

from siglum.errors import ConfigError, closest_match
from siglum.files import read_json
from siglum.images.characters import latex, names_in

DATA = read_json(Path(__file__).with_name("charsets.json"))
SHAPES_RULE = r"shapes must be different characters, such as 'σ|ς', got {!r}. A bar itself is \|."
SIMILAR = 0.7  # of difflib's ratio: greak is close to greek, and abc is not to arabic
SEPARATOR = re.compile(r"(?<!\\)[,;]")
NAMED, SIGN = 6, 3  # how common signs with and without a name are
MATHEMATICS = ("greek", "letterlike", "arrows", "mathematics")  # groups
BAR = re.compile(r"(?<!\\)\|")
TOKEN = re.compile(
    r"\\(?P<tex>math(?:bb|cal|frak)\{\w\}|[A-Za-z]+|\W)"
    r"|U\+(?P<code>[0-9A-Fa-f]{4,6})|(?P<char>\S)[\ufe0e\ufe0f]?"
)


@cache
def groups() -> Mapping[str, tuple[str, ...]]:
    """Return the characters of every group, by code point; no character is in two groups."""
    return {name: tuple(_in_spans(text)) for name, text in DATA["groups"].items()}


def _in_spans(text: str) -> Iterator[str]:
    """Yield the characters of code points and spans such as "41-5A 61"."""
    for span in text.split():
        first, *last = (int(code, 16) for code in span.split("-"))
        yield from map(chr, range(first, (last or [first])[0] + 1))


@cache
def commonness() -> Mapping[str, int]:
    """Return how common characters are, from 1 to 10; others count 0.

    Signs that are ASCII, or that plain TeX or Typst has a name for, count more than other signs.
    """
    plain = {*DATA["tex"].values()}
    signs = {c for name in DATA["signs"].split() for c in groups()[name]}
    named = {c for c in signs if c.isascii() or c in plain or c in names_in("typst")}
    weights = {c: NAMED if c in named else SIGN for c in signs}
    for weight, text in DATA["common"].items():
        for word in text.split():
            weights |= dict.fromkeys(groups().get(word) or _in_spans(word), int(weight))
    return weights


@cache
def sets() -> Mapping[str, tuple[str, ...]]:
    """Return the characters of every group, and of `latex`, which takes its own from groups.

    `latex` are the characters of mathematics and other signs that have a LaTeX command.
    """
    names = {c: name for name, members in groups().items() for c in members}
    plain = {c for c in DATA["tex"].values() if not names.get(c, "latin").startswith("latin")}
    signs = [c for c in names if names[c] in MATHEMATICS or c in plain]
    return {**groups(), "latex": tuple(sorted(c for c in signs if latex(c)[1:2].isalpha()))}


def latex_outputs(names: Collection[str]) -> dict[str, str]:
    """Return the commands of those characters that are in the set `latex`."""
    return {character: latex(character) for character in sets()["latex"] if character in names}


def items(text: str) -> list[str]:
    """Return the items that commas or semicolons separate in the text of `resolve`."""
    parts = [text] if text.strip() in (",", ";") else SEPARATOR.split(text)
    return [part.strip() for part in parts]


def resolve(text: str, supported: Collection[str] | None = None) -> tuple[str, ...]:
    r"""Return the characters that a text such as "greek,0-9,\alpha,U+2200" names, in its order.

    An item such as "σ|ς" is one name of a class with several `shapes`, which groups then leave out.
    Groups and ranges leave out what is not `supported`, with a warning. Raises ConfigError.
    """
    if not text.strip():
        raise ConfigError("chars is empty. Write characters or groups: 'αβγ' or '0-9, greek'.")
    named: dict[str, bool] = {}  # character -> whether only groups or ranges have it
    for item in items(text):
        if not item:
            remedy = "The comma itself is \\, and the semicolon \\;."
            raise ConfigError(f"characters must be named between commas, got {text!r}. {remedy}")
        group = sets().get(item.lower())
        if item.strip("|") and len(parts := BAR.split(item)) > 1:
            name = "|".join("".join(chain(*_parse(part))) for part in parts)
            if len(shapes(name)) < len(parts):
                raise ConfigError(SHAPES_RULE.format(item))
            named[name] = False
            continue
        for characters in _parse(item) if group is None else [group]:
            is_member = len(characters) > 1
            for character in characters:
                if not (is_member or named.get(character, True)):
                    raise ConfigError(f"{describe(character)} is named twice. Name it once.")
                named[character] = is_member and named.get(character, True)
    check_shapes(name for name, is_member in named.items() if not is_member)
    listed = {character for name in named if len(name) > 1 for character in shapes(name)}
    named = {name: is_member for name, is_member in named.items() if name not in listed}
    supported = named if supported is None else supported
    if missing := [c for c, is_member in named.items() if is_member and c not in supported]:
        reason = "of the groups or ranges are left out, since the backbone does not have them:"
        names = f"{', '.join(map(describe, missing[:5]))}. Give samples of them."
        warnings.warn(f"{len(missing)} characters {reason} {names}", stacklevel=2)
    return tuple(c for c in named if c not in missing)


def shapes(name: str) -> tuple[str, ...]:
    """Return the characters that a name such as "σ|ς" lists; of any other name, the name alone.

    The first is what the class is called.
    """
    parts = tuple(part.strip() for part in BAR.split(name))
    is_list = max(map(len, parts)) == min(map(len, parts)) == 1 and len({*parts}) == len(parts)
    return parts if is_list else (name,)


def check_shapes(names: Iterable[str]) -> None:
    """Raise ConfigError if a character is a shape of two classes."""
    for character, times in Counter(chain.from_iterable(map(shapes, names))).items():
        if times > 1:
            raise ConfigError(f"{character!r} must be a shape of one class, got {times}.")


def describe(character: str) -> str:
    """Return a character with its code point and name: `α (U+03B1 GREEK SMALL LETTER ALPHA)`."""
    name = unicodedata.name(character, "without a name")
    return f"{character} (U+{ord(character):04X} {name})"


def confusables(character: str) -> set[str]:
    """Return the characters that look like this one in most fonts, itself included."""
    return {other for alike in DATA["confusables"] if character in alike for other in alike}


def confusables_among(characters: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the sets of characters among these that look alike in most fonts, such as O and 0."""
    characters = dict.fromkeys(characters)
    sets = [tuple(c for c in characters if c in alike) for alike in DATA["confusables"]]
    return [alike for alike in sets if len(alike) > 1]


def _parse(item: str) -> Iterator[tuple[str, ...]]:
    """Yield each character of an item, and the characters of each range."""
    words = item.split()
    is_name = all(re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", word) for word in words)
    if is_name and (name := _lookup(" ".join(words))) is not None:
        yield (name,)
        return
    several = is_name and len(words) > 1 and max(map(len, words)) > 1
    # A word may be letters, as in abc, but not if it is close to a group or repeats a letter.
    spelt = [] if several else [w for w in words if re.fullmatch("[A-Za-z]{3,}", w)]
    hint = "".join(closest_match(word.lower(), sets(), SIMILAR) for word in spelt)
    if several or hint or any(len({*word}) < len(word) for word in spelt):
        rule = "groups, Unicode names or characters, separated by commas"
        raise ConfigError(f"characters must be {rule}, got {item!r}.{hint}")
    tokens = [_character(m) for m in TOKEN.finditer(unicodedata.normalize("NFC", item))]
    while tokens:
        first = tokens.pop(0)
        if len(tokens) > 1 and tokens[0] in "-–" and (first + tokens[1]).isalnum():
            last, tokens = tokens[1], tokens[2:]
            kind = unicodedata.category(first)
            if kind != unicodedata.category(last) or first > last:
                problem = f"range must ascend within one kind of characters, got {first}-{last}."
                remedy = "Write each range by itself, such as A-Z,a-z."
                raise ConfigError(f"{problem} {remedy}")
            span = map(chr, range(ord(first), ord(last) + 1))
            yield tuple(c for c in span if unicodedata.category(c) == kind)
        else:
            yield (first,)


def _lookup(name: str) -> str | None:
    """Return the character of a name: all of Unicode's of two words, few of one word."""
    case = "SMALL" if name.islower() else "CAPITAL" if name.istitle() else ""
    spellings = [f"GREEK {case} LETTER {name.upper()}"]
    # A single short word may as well be letters: sun is s, u and n.
    spellings += [name.upper()] if " " in name or len(name) > 3 else []
    for spelling in spellings:
        with suppress(KeyError):
            return unicodedata.normalize("NFC", unicodedata.lookup(spelling))
    return None


def _character(match: re.Match[str]) -> str:
    names = DATA["tex"]
    character = match["char"] or names.get(match["tex"], match["tex"])
    if match["code"]:
        character = chr(min(int(match["code"], 16), sys.maxunicode))
    if len(character) > 1 and character == match["tex"]:
        raise ConfigError(f"No such TeX name: {match[0]}.{closest_match(match['tex'], names)}")
    if unicodedata.category(character)[0] in "CMZ":
        problem = f"characters must be single code points that stand alone, got {match[0]!a}."
        remedy = "Give samples of it."
        raise ConfigError(f"{problem} {remedy}")
    return unicodedata.normalize("NFC", character)
