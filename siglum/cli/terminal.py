"""How commands show tables and shares in the terminal."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from siglum.errors import DataError
from siglum.stats import Rate

ACCENT = "rgb(179,64,42)"
NAMED = 20  # unreadable files

Switch = Annotated[bool, Parameter(negative=())]  # a flag that is off unless given


def show(table: Table) -> None:
    """Print a table on standard output."""
    Console(highlight=False).print(table)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Make a plain table: the first column to the left, the others to the right."""
    made = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if index else "left", header_style="dim")
    for row in rows:
        made.add_row(*(escape(printable(str(cell))) for cell in row))
    return made


def printable(text: str) -> str:
    """Replace what would move the cursor or turn the direction of writing."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def write_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def percent(share: float, digits: int = 1) -> str:
    """Write a share as per cent: 0.985 as "98.5 %"."""
    return f"{100 * share:.{digits}f} %"


def interval(rate: Rate) -> str:
    """Write a rate with its interval and its counts."""
    low, high = percent(rate.low), percent(rate.high)
    return f"{percent(rate.value, 2)}  ({rate.hits:,} of {rate.total:,}; 95 %: {low} to {high})"


def save_picture(picture: Image.Image, path: Path, flag: str) -> None:
    """Write a picture as PNG.

    Raises:
        DataError: if `path`, which was given by `flag`, cannot be written.
    """
    try:
        picture.save(path, "PNG")
    except OSError as error:
        raise DataError(
            f"{flag} must be a place that can be written, got {path}: {error}."
        ) from None


def refuse(unreadable: Sequence[tuple[str, str]], total: int) -> None:
    """Name the files that could not be read, once the others are done with.

    Raises:
        DataError: if there is one.
    """
    if unreadable:
        listed = "; ".join(f"{name} {reason}" for name, reason in unreadable[:NAMED])
        more = f"; and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else ""
        raise DataError(
            f"{len(unreadable)} of {total} files must be pictures to be read: "
            f"{printable(listed)}{more}."
        )
