"""What to type for a character."""

import html

import pytest

from siglum.images import characters, charsets


@pytest.mark.parametrize(
    ("character", "latex", "typst", "entity", "escape"),
    [
        ("α", r"\alpha", "alpha", "&alpha;", r"\u03b1"),
        ("∮", r"\oint", "integral.cont", "&oint;", r"\u222e"),
        ("≼", r"\preccurlyeq", "prec.curly.eq", "&prcue;", r"\u227c"),
        ("→", r"\rightarrow", "arrow.r", "&rarr;", r"\u2192"),
        ("木", "", r"\u{6728}", "&#x6728;", r"\u6728"),
        ("𝔸", r"\mathbb{A}", "AA", "&Aopf;", r"\U0001d538"),
        ("√", r"\surd", r"\u{221a}", "&radic;", r"\u221a"),
        ("$", r"\$", "peso", "&dollar;", r"\u0024"),
        ("<", "<", "lt", "&lt;", r"\u003c"),
        ("\\", r"\backslash", "backslash", "&bsol;", r"\u005c"),
        ("x", "x", r"\u{78}", "&#x78;", r"\u0078"),
    ],
)
def test_formats(character: str, latex: str, typst: str, entity: str, escape: str) -> None:
    written = characters.describe(character)

    assert (written["latex"], written["typst"]) == (latex, typst)
    assert (written["html"], written["python"]) == (entity, escape)


def test_html_and_python_restore_every_character() -> None:
    for group in charsets.groups().values():
        for character in group:
            assert html.unescape(characters.html(character)) == character
            assert characters.python(character).encode().decode("unicode_escape") == character


def test_many_characters_have_names_in_latex_and_typst() -> None:
    assert len(characters.names_in("latex")) >= 2000
    assert len(characters.names_in("typst")) >= 1000
