"""Make siglum/images/characters.json: the LaTeX and Typst names of characters.

Usage: pip install unicodeit pylatexenc typst && python -m tools.characters

Sources: LaTeX from charsets.json, then unicodeit (MIT; it includes unimathsymbols.txt by Günter
Milde, LPPL), then pylatexenc (MIT; from the W3C's unicode.xml); Typst from its own module `sym`
(Apache 2.0). The file holds facts about these languages, no text of these packages.
"""

import json
import re
import tempfile
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import siglum.images

FOLDER = Path(siglum.images.__file__).parent
SYMBOLS = """
#let symbols = dictionary(sym).pairs().filter(((name, value)) => type(value) == symbol)
#metadata(symbols.map(((name, value)) => (name, repr(value)))) <symbols>
"""
COMMAND = re.compile(r"\\([A-Za-z]+|[^A-Za-z0-9\s])(\{\w\})?")
TEXT = r'"((?:[^"\\]|\\.)+)"'
VARIANT = re.compile(rf'\("([a-zA-Z.]+)", {TEXT}\)|{TEXT}')


def read_latex() -> dict[str, str]:
    """Return the most common command of each character."""
    from pylatexenc.latexencode._uni2latexmap_xml import uni2latex
    from unicodeit.data import REPLACEMENTS

    own = json.loads((FOLDER / "charsets.json").read_text("utf-8"))["tex"]
    pairs: Iterable[tuple[str, str]] = (
        *((character, f"\\{character}") for character in "{}$&#_%"),
        *(("^", r"\textasciicircum"), ("~", r"\textasciitilde")),
        *((character, f"\\{name}") for name, character in own.items()),
        *((character, command) for command, character in reversed(REPLACEMENTS)),
        *((chr(code), command.strip()) for code, command in uni2latex.items()),
    )
    commands: dict[str, str] = {}
    for character, command in pairs:
        single = len(character) == 1 and unicodedata.is_normalized("NFC", character)
        if single and COMMAND.fullmatch(command) and own.get(command[1:], character) == character:
            commands.setdefault(character, command)
    return commands


def read_typst() -> dict[str, str]:
    """Return the shortest name of each character in Typst's module `sym`."""
    import typst

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "symbols.typ"
        source.write_text(SYMBOLS)
        symbols = json.loads(typst.query(str(source), "<symbols>", field="value", one=True))
    names = [
        (_unescape(text or alone), f"{name}.{variant}" if variant else name)
        for name, value in symbols
        for variant, text, alone in VARIANT.findall(value)
    ]
    names.sort(key=lambda pair: (pair[1].count("."), len(pair[1])))
    return {text: name for text, name in reversed(names) if len(text) == 1}


def _unescape(text: str) -> str:
    plain = re.sub(r"\\u\{([0-9a-f]+)\}", lambda match: chr(int(match[1], 16)), text)
    return plain.replace("\\\\", "\\").replace('\\"', '"').rstrip("\ufe0e\ufe0f")


if __name__ == "__main__":
    tables = {"latex": read_latex(), "typst": read_typst()}
    tables = {name: dict(sorted(table.items())) for name, table in tables.items()}
    text = json.dumps(tables, ensure_ascii=False, indent=0, separators=(",", ":"))
    (FOLDER / "characters.json").write_text(text + "\n", "utf-8")
    print({name: len(table) for name, table in tables.items()})
