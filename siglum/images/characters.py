"""Names of characters, what to type for them (LaTeX, Typst, HTML and escapes), and the outputs of
classes: the texts that stand for them elsewhere, by default their names.

`tools/characters.py` makes characters.json.
"""

import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from html.entities import codepoint2name, html5
from pathlib import Path

from siglum.errors import ConfigError, choose
from siglum.files import read_csv, read_json
from siglum.formatting import printable

OUTPUTS_FILE = "outputs.csv"  # in the export of a set
OUTPUTS_COLUMNS = ["label", "output"]
MAX_LENGTH = 1_000  # characters of an output


@cache
def names_in(language: str) -> Mapping[str, str]:
    """Return the names of characters in "latex", or in "typst", which has those in common use."""
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
    return character if plain else names_in("latex").get(character, "")


def typst(character: str) -> str:
    r"""Return the name in Typst's module `sym`, such as `arrow.r`, or an escape: `\u{6728}`."""
    return names_in("typst").get(character) or rf"\u{{{ord(character):x}}}"


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


def output_as(label: str, output: str, kind: str) -> str:
    r"""Return an output as "text", "latex", "typst", "html" or "python": `\alpha` for α."""
    code = choose(FORMATS, kind, "output")
    is_plain = len(label) > 1 or (label.isascii() and label.isalnum())
    return output if kind == "text" or is_plain else code(label) or output


def check_output(text: str) -> str:
    """Return an output, which may have several lines; ConfigError if it breaks the rule."""
    if not isinstance(text, str) or len(text) > MAX_LENGTH or printable(text, lines=True) != text:
        rule = f"be text of at most {MAX_LENGTH:,} characters, without control characters"
        raise ConfigError(f"an output must {rule}, got {text!a:.40}.")
    return text


def read_outputs(path: Path) -> dict[str, str]:
    """Read the outputs of classes from a CSV file with the columns label and output."""
    header, *rows = read_csv(path, "outputs") or [[]]
    outputs: dict[str, str] = {}
    for row in [header, *rows]:
        label = unicodedata.normalize("NFC", row[0].strip()[:MAX_LENGTH]) if len(row) == 2 else ""
        if header != OUTPUTS_COLUMNS or not label or label in outputs:
            rule = "have a first line label,output and lines of two cells, each label once"
            raise ConfigError(f"outputs must {rule}, got {','.join(row)[:200]!r} in {path}.")
        if row is not header:
            outputs[label] = check_output(row[1])
    return outputs
