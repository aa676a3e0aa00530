"""Characters are named by groups, ranges, names, TeX and code points."""

import re
from unicodedata import category, is_normalized

import pytest

from siglum.errors import ConfigError
from siglum.images.characters import latex
from siglum.images.charsets import confusables_among, groups, resolve


def test_groups_are_disjoint_ordered_and_visible() -> None:
    every = [character for characters in groups().values() for character in characters]

    assert len(every) == len(set(every)) == 10_407
    assert not any(category(character)[0] in "CMZ" for character in every)
    assert all(is_normalized("NFC", character) for character in every)
    assert all(list(characters) == sorted(characters) != [] for characters in groups().values())
    # JIS X 0208's first level, and KS X 1001's 2,350 syllables and 51 letters.
    assert len(groups()["kanji"]) == 2965 and len(groups()["hangul"]) == 2350 + 51


@pytest.mark.parametrize(
    ("text", "characters"),
    [
        ("αβγ", "αβγ"),
        ("β α", "βα"),
        (",", ","),
        (";", ";"),
        ("α;β", "αβ"),
        (r"a,\,;\;", "a,;"),
        ("chess,♔", "♔♕♖♗♘♙♚♛♜♝♞♟"),
        ("0-9 abc", "0123456789abc"),
        ("sun", "sun"),
        ("0-9", "0123456789"),
        ("x,a-c", "xabc"),
        ("A-CX-Z", "ABCXYZ"),
        ("a|b,|", ["a|b", "|"]),
        (r"τ-ω, \sigma|\varsigma,Ω", ["σ|ς", *"τυφχψωΩ"]),
        ("chess, ♔|♚", ["♔|♚", *"♕♖♗♘♙♛♜♝♞♟"]),
        ("Α-Ω", "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ"),
        ("+-*", "+-*"),
        ("<->", "<->"),
        ("pi,mu", "πμ"),
        ("infinity", "∞"),
        (r"\alpha,\beta", "αβ"),
        (r"\alpha\Omega \le", "αΩ≤"),
        (r"\mathbb{R},\infty", "ℝ∞"),
        ("U+03B1,U+0391-U+0393", "αΑΒΓ"),
        ("greek small letter alpha", "α"),
        ("GREEK SMALL LETTER ALPHA,1, BALLOT BOX WITH CHECK", "α1☑"),
        ("OHM SIGN", "Ω"),
        ("☑\ufe0e", "☑"),
    ],
)
def test_characters_can_be_named_in_these_ways(text: str, characters: str) -> None:
    assert sorted(resolve(text)) == sorted(characters)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("greek small leter alpha", "characters must be groups, Unicode names or characters"),
        ("é,e\u0301", "é (U+00E9 LATIN SMALL LETTER E WITH ACUTE) is named twice"),
        ("αβγ α", "α (U+03B1 GREEK SMALL LETTER ALPHA) is named twice. Name it once."),
        ("greec", "got 'greec'. Did you mean 'greek'?"),
        ("0-9, greak", "got 'greak'. Did you mean 'greek'?"),
        ("0-9 greek", "separated by commas, got '0-9 greek'. Did you mean 'greek'?"),
        ("klingon", "separated by commas, got 'klingon'."),
        (r"\alhpa", r"No such TeX name: \alhpa. Did you mean 'alpha'?"),
        ("A-z", "Write each range by itself, such as A-Z,a-z."),
        ("9-0", "range must ascend within one kind of characters, got 9-0."),
        ("x\u0302", "characters must be single code points that stand alone, got '\\u0302'."),
        ("\u200d", "stand alone, got '\\u200d'. Give samples of it."),
        ("U+FFFFFF", "stand alone, got 'U+FFFFFF'."),
        ("a||b", "shapes must be different characters, such as 'σ|ς', got 'a||b'."),
        ("a|", "got 'a|'. A bar itself is \\|."),
        ("ab|c", "shapes must be different characters, such as 'σ|ς', got 'ab|c'."),
        ("a|a", "shapes must be different characters, such as 'σ|ς', got 'a|a'."),
        ("a|b,b", "'b' must be a shape of one class, got 2."),
        ("a,,b", "characters must be named between commas, got 'a,,b'."),
        ("", "chars is empty. Write characters or groups"),
    ],
)
def test_anything_else_is_refused_with_a_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolve(text)


def test_latex_has_the_mathematical_characters_with_a_command() -> None:
    characters = resolve("latex,é")

    assert {*"αΩ∀∮≤→⟹ℝ†♯△"} < {*characters} and not {*"aäאЖ"} & {*characters}
    assert all(latex(character)[1:2].isalpha() for character in characters if character != "é")
    assert (latex("⋂"), latex("⋃")) == (r"\bigcap", r"\bigcup")


def test_groups_leave_out_unsupported_characters_and_names_do_not() -> None:
    supported = {*groups()["runes"]} - {"ᛂ"}
    with pytest.warns(UserWarning, match=r"^1 characters .* left out, .*U\+16C2"):
        assert "ᛂ" not in resolve("runes", supported)

    assert resolve("ᛂ", supported) == ("ᛂ",)


def test_characters_that_look_alike_are_named() -> None:
    assert confusables_among("AА") == [("A", "А")]
    assert confusables_among("1oxl|O0") == [("o", "O", "0"), ("1", "l", "|")]
    assert confusables_among("abc") == []
