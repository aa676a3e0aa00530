"""Which characters there are to choose from, by script, and how a person names them.

`GROUPS` says of each group which code points it spans; what Unicode does not define there, and
what is no character by itself (marks that combine, controls, blanks), is left out.
Kanji are the 2,965 of JIS X 0208 level 1 and hangul the 2,350 syllables of KS X 1001: the ones that
the two national standards took for common.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby

from siglum.errors import ConfigError, nearest

# Spans of code points, both ends included, or single ones.
GROUPS: dict[str, str] = {
    "digits": "30-39",
    "latin": "41-5A 61-7A",
    "latin-accents": "AA B5 BA C0-D6 D8-F6 F8-17F 18F 192 1A0-1A1 1AF-1B0 1CD-1DC 1E6-1E7 1EA-1EB "
    "1FA-1FF 218-21B 237 259 1E02-1E03 1E0A-1E0B 1E1E-1E1F 1E40-1E41 1E56-1E57 1E60-1E61 1E6A-1E6B "
    "1E80-1E85 1E9E 1EA0-1EF9",
    "phonetic": "250-2AF",
    "greek": "37B-37D 386 388-38A 38C 38E-3A1 3A3-3E1 3F0-3F5 3F7-3FB",
    "polytonic": "1F00-1FBC 1FC2-1FCC 1FD0-1FDB 1FE0-1FEC 1FF2-1FFC",
    "cyrillic": "400-45F 462-463 472-475 490-493 496-497 49A-49B 4A2-4A3 4AE-4B3 4B6-4B7 4BA-4BB "
    "4D8-4D9 4E8-4E9",
    "armenian": "531-556 561-587",
    "georgian": "10A0-10C5 10D0-10FA",
    "hebrew": "5D0-5EA",
    "arabic": "621-63A 641-64A 679 67E 686 688 691 698 6A9 6AF 6BA 6BE 6C1 6CC 6D2 660-669 6F4-6F7",
    "devanagari": "904-939 950 958-961 966-96F",
    "bengali": "985-9B9 9DC-9E1 9E6-9F1",
    "gurmukhi": "A05-A39 A59-A5E A66-A6F",
    "gujarati": "A85-AB9 AD0 AE6-AEF",
    "tamil": "B85-BB9 BE6-BF2",
    "telugu": "C05-C39 C66-C6F",
    "kannada": "C85-CB9 CE6-CEF",
    "malayalam": "D05-D39 D66-D6F D7A-D7F",
    "sinhala": "D85-DC6",
    "thai": "E01-E30 E3F-E46 E50-E59",
    "lao": "E81-EB0 ED0-ED9",
    "tibetan": "F00 F20-F29 F40-F6C",
    "myanmar": "1000-102A 1040-1049",
    "khmer": "1780-17B3 17E0-17E9",
    "ethiopic": "1200-135A 1369-137C",
    "cherokee": "13A0-13F4",
    "aboriginal": "1401-1676",
    "mongolian": "1820-1842",
    "tifinagh": "2D30-2D67",
    "coptic": "2C80-2CB1",
    "glagolitic": "2C00-2C2F",
    "gothic": "10330-1034A",
    "ogham": "1681-169A",
    "runes": "16A0-16EA 16EE-16F0",
    "phoenician": "10900-10915",
    "kana": "3041-3096 309D-309E 30A1-30FA 30FC-30FE",
    "kanji": "",  # see `groups`
    "hangul": "3131-3163",  # the letters; for the syllables see `groups`
    "bopomofo": "3105-312D",
    "braille": "2801-283F",
    "punctuation": "21-2F 3A-40 5B-60 7B-7E A1 A6-A9 AB-B1 B4 B6-B7 BB BF D7 F7 2013-2014 "
    "2016-201A 201C-201E 2020-2022 2026 2030-2034 2039-203D 2042 2047 204A 2116-2117 2122 "
    "3001-3003 3005-3011 3014-3015 301C",
    "currency": "24 A2-A5 58F E3F 20A0-20BF",
    "numbers": "B2-B3 B9 BC-BE 2070 2074-207E 2080-208E 2150-218B 2460-2473 2776-277F 3007",
    "letterlike": "2102 2107 210A-2115 2118-211E 2124-2129 212B-2138 2145-2149",
    "arrows": "2190-21FF 2794 2798-27BE 27F0-27FF 2B05-2B0D",
    "mathematics": "AC 2200-22FF 2308-230B 2320-2321 27C2 27E6-27EB 2A00-2A02 2A3F 2A7D-2A7E "
    "2AAF-2AB0",
    "technical": "2300-2307 230C-231B 2324-2328 232B 2336-237A 2387 238B 23CE-23CF 23E9-23F3",
    "shapes": "2580-2595 25A0-25CB 25CD-25FF 2B12-2B1C 2B50-2B55",
    "boxes": "2610-2612 2705 2713-2718 274C-274F 2753-2757 2795-2797",
    "music": "2669-266F 1D100-1D107 1D10B-1D126 1D13B-1D14F 1D15D-1D164 1D16A-1D16C",
    "chess": "2654-265F",
    "cards": "2660-2667 2680-2685 26C0-26C3",
    "planets": "2609 263C-2653 26B3-26BC 26CE",
    "signs": "2600-2604 2606-2608 260E-260F 2614-2638 2639-263B 2668 2670-267F 2690-26B2 26C4-26C8 "
    "2701-2704 2706-2709 270C-2712 2719-2749 2750-2752 2756 2758-2775",
}
NO_CHARACTER = ("C", "M", "Z")  # first letters of categories: controls, marks, blanks


@cache
def groups() -> Mapping[str, tuple[str, ...]]:
    """Return every group's characters, by ascending code point; a character is in one group."""
    found: dict[str, tuple[str, ...]] = {}
    taken: set[str] = set()
    for name, spans in GROUPS.items():
        characters = {*_span(spans)}
        if name == "kanji":
            characters = {*_coded("euc_jp", range(16, 48))}
        if name == "hangul":
            characters |= {*_coded("euc_kr", range(16, 41))}
        found[name] = tuple(sorted(char for char in characters - taken if drawable(char)))
        taken |= characters
    return found


def drawable(character: str) -> bool:
    """Whether a code point is a character that can stand by itself, and Unicode's first choice."""
    known = unicodedata.category(character)[0] not in NO_CHARACTER
    return known and unicodedata.is_normalized("NFC", character)


def resolve(text: str) -> tuple[str, ...]:
    """Return the characters that a person names, in that order, NFC-normalised.

    Args:
        text: pieces with "," between them. A piece is a group (greek), a Unicode name of more than
            one word in any case (greek small letter alpha), or the characters themselves (αβγ),
            with blanks between them or not. A comma alone is the comma.

    Raises:
        ConfigError: if there is none, one is named twice, or a piece is neither a group nor a
            name nor characters that can stand alone.
    """
    pieces = [piece.strip() for piece in text.split(",")] if text.strip() != "," else [","]
    named: dict[str, str] = {}  # character -> how it was written
    grouped: dict[str, None] = {}
    for piece in pieces:
        if not piece:
            raise ConfigError(f"characters must be named between commas, got {text!r}.")
        if piece in groups():
            grouped |= dict.fromkeys(groups()[piece])
            continue
        for written, character in _characters(piece):
            if character in named:
                raise ConfigError(
                    f"characters must differ, got {named[character]!a} and {written!a}, which are "
                    f"both {describe(character)}. Name it once.{nearest(piece, list(groups()))}"
                )
            named[character] = written
    return tuple(dict.fromkeys([*named, *grouped]))


def describe(character: str) -> str:
    """Return a character with its code point and name: `α (U+03B1 GREEK SMALL LETTER ALPHA)`."""
    name = unicodedata.name(character, "without a name")
    return f"{character} (U+{ord(character):04X} {name})"


def _characters(piece: str) -> Iterator[tuple[str, str]]:
    """Yield how each character of a piece was written, and the character."""
    words = piece.split()
    if max(map(len, words)) > 1 < len(words) and piece.isascii():
        # Names of one word (sun, earth) are not taken for names: they may be letters too.
        try:
            character = unicodedata.lookup(" ".join(words).upper())
        except KeyError:
            raise ConfigError(
                f"characters must be a group, a Unicode name or characters, got {piece!r}."
                f"{_hint(piece)}"
            ) from None
        yield piece, _checked(piece, unicodedata.normalize("NFC", character))
        return
    for cluster in _clusters(piece):
        yield cluster, _checked(cluster, unicodedata.normalize("NFC", cluster))


def _clusters(text: str) -> Iterator[str]:
    """Split text into characters with the marks that combine with them; blanks part them."""
    shown = text.replace("\N{VARIATION SELECTOR-15}", "").replace("\N{VARIATION SELECTOR-16}", "")
    starts = 0

    def cluster(char: str) -> int:
        nonlocal starts
        starts += not unicodedata.category(char).startswith("M")
        return starts

    for _, chars in groupby(shown, key=cluster):
        if written := "".join(chars).strip():
            yield written


def _checked(written: str, character: str) -> str:
    if len(character) > 1:
        parts = " and ".join(f"U+{ord(part):04X}" for part in character)
        raise ConfigError(
            f"characters must be single code points, got {written!r} ({parts}), which Unicode "
            "does not compose. Teach it by samples."
        )
    if not drawable(character):
        raise ConfigError(
            f"characters must be ones that can stand alone, got U+{ord(character):04X} "
            f"({unicodedata.name(character, 'without a name')})."
        )
    return character


def _hint(name: str) -> str:
    """Return the nearest group or, among the names that share its first word, Unicode name."""
    if hint := nearest(name, list(groups())):
        return hint
    first = name.upper().split()[0]
    known = [unicodedata.name(char, "") for chars in groups().values() for char in chars]
    same = [known_name for known_name in known if known_name.split(" ")[0][:3] == first[:3]]
    return nearest(name.upper(), same or known)


def _span(spans: str) -> Iterable[str]:
    for span in spans.split():
        first, _, last = span.partition("-")
        for code in range(int(first, 16), int(last or first, 16) + 1):
            yield chr(code)


def _coded(codec: str, rows: range) -> Iterator[str]:
    """Yield what an EUC codec has in some rows of its 94 x 94 table."""
    for row in rows:
        for cell in range(1, 95):
            try:
                yield bytes((0xA0 + row, 0xA0 + cell)).decode(codec)
            except UnicodeDecodeError:
                continue
