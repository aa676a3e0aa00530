"""Print tables, facts, JSON and CSV: the one way in which commands show results."""

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from siglum.errors import DataError
from siglum.formatting import count, printable

ACCENT = "rgb(179,64,42)"
MAX_LISTED = 20  # unreadable files named in an error


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as CSV; the items of a list are joined with spaces in one cell."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = [" ".join(map(str, v)) if isinstance(v, (list, tuple)) else v for v in row]
        writer.writerow([printable(v) if isinstance(v, str) else v for v in cells])


def print_line(text: str) -> None:
    """Print a line that may contain names from files."""
    print(printable(text))


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values in two columns."""
    width = max((cell_len(name) for name in facts), default=0)
    for name, value in facts.items():
        print_line(f"{_pad(name, width)}  {value}".rstrip())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns: the first to the left, the others to the right.

    Numbers and names are never cut, except that on a terminal a first column that is too wide
    loses its front, since file names differ at their end.
    """
    cells = [list(columns), *([printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    if sys.stdout.isatty():
        from shutil import get_terminal_size

        room = get_terminal_size().columns - sum(widths[1:]) - 2 * (len(widths) - 1)
        widths[0] = min(widths[0], max(room, 12))
    for row in cells:
        first, *others = row
        while cell_len(first) > widths[0]:
            first = "…" + first.removeprefix("…")[1:]
        padded = [_pad(first, widths[0])]
        padded += [
            " " * (width - cell_len(cell)) + cell
            for cell, width in zip(others, widths[1:], strict=True)
        ]
        line = "  ".join(padded).rstrip()
        print(f"\x1b[2m{line}\x1b[0m" if row is cells[0] and sys.stdout.isatty() else line)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def save_image(image: Any, path: Path) -> None:
    """Save a Pillow image as PNG, whole or not at all.

    Raises:
        DataError: if the file cannot be written.
    """
    from siglum.files import atomic_path

    with atomic_path(path) as temporary:
        image.save(temporary, "PNG")


def raise_for_unreadable(unreadable: Sequence[tuple[str, str]], total: int) -> None:
    """Name the files that could not be read, after the others have been processed.

    Raises:
        DataError: if there is one.
    """
    if unreadable:
        names = "; ".join(f"{name}: {reason}" for name, reason in unreadable[:MAX_LISTED])
        more = len(unreadable) - MAX_LISTED
        raise DataError(
            f"Cannot read {len(unreadable)} of {count(total, 'file')}. {printable(names)}"
            + (f"; and {more} more." if more > 0 else "")
        )
