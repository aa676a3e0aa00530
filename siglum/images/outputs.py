"""The output of a class: the text that stands for it elsewhere, by default its name."""

import unicodedata
from pathlib import Path

from siglum.errors import ConfigError, choose
from siglum.files import read_csv
from siglum.formatting import printable
from siglum.images import characters

FILE = "outputs.csv"  # in the export of a set
COLUMNS = ["label", "output"]
MAX_LENGTH = 1_000  # characters


def check(text: str) -> str:
    """Return an output, which may have several lines; ConfigError if it breaks the rule."""
    if not isinstance(text, str) or len(text) > MAX_LENGTH or printable(text, lines=True) != text:
        rule = f"be text of at most {MAX_LENGTH:,} characters, without control characters"
        raise ConfigError(f"an output must {rule}, got {text!a:.40}.")
    return text


def write(label: str, output: str, kind: str) -> str:
    r"""Return an output as "text", "latex", "typst", "html" or "python": `\alpha` for α."""
    code = choose(characters.FORMATS, kind, "output")
    is_plain = len(label) > 1 or (label.isascii() and label.isalnum())
    return output if kind == "text" or is_plain else code(label) or output


def read(path: Path) -> dict[str, str]:
    """Read the outputs of classes from a CSV file with the columns label and output."""
    header, *rows = read_csv(path, "outputs") or [[]]
    outputs: dict[str, str] = {}
    for row in [header, *rows]:
        label = unicodedata.normalize("NFC", row[0].strip()[:MAX_LENGTH]) if len(row) == 2 else ""
        if header != COLUMNS or not label or label in outputs:
            rule = "have a first line label,output and lines of two cells, each label once"
            raise ConfigError(f"outputs must {rule}, got {','.join(row)[:200]!r} in {path}.")
        if row is not header:
            outputs[label] = check(row[1])
    return outputs
