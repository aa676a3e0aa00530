"""Print tables, facts, JSON and CSV: the one way in which commands show results."""

import csv
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from siglum.errors import DataError
from siglum.formatting import count, printable, rate_and_interval, shorten
from siglum.stats import Rate

MAX_WIDTH = 200  # of a list in a fact
MAX_LISTED = 20  # unreadable files named in an error


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_csv(records: Sequence[Mapping[str, Any]]) -> None:
    """Print records as CSV; the items of a list are joined with spaces in one cell."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(records[0] if records else ())
    for record in records:
        cells = [" ".join(v) if isinstance(v, list) else v for v in record.values()]
        writer.writerow([printable(v) if isinstance(v, str) else v for v in cells])


def print_line(text: str) -> None:
    """Print a line that may contain names from files."""
    print(printable(text))


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values in two columns, without those that are None or empty."""
    width = max(map(cell_len, facts), default=0)
    for name, value in facts.items():
        if value not in (None, ""):
            print_line(f"{set_cell_size(name.replace('_', ' '), width)}  {_format(value)}")


def _format(value: Any) -> str:
    if isinstance(value, Mapping) and {"hits", "total", "low", "high"} <= {*value}:
        return rate_and_interval(Rate(*(value[key] for key in ("hits", "total", "low", "high"))))
    if isinstance(value, Mapping):
        items = ", ".join(f"{name}: {_format(item)}" for name, item in value.items())
        return shorten(items, MAX_WIDTH)
    if isinstance(value, list | tuple):
        return f"{len(value):,}: {shorten(' '.join(map(str, value)), MAX_WIDTH)}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if type(value) is int else str(value)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns: the first to the left, the others to the right.

    Numbers and names are never cut, except that on a terminal a first column that is too wide
    loses its front, since file names differ at their end.
    """
    cells = [[printable(str(cell)) for cell in row] for row in (columns, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - sum(widths[1:]) - 2 * (len(widths) - 1)
        widths[0] = min(widths[0], max(room, 12))
    for row in cells:
        first = row[0]
        if cell_len(first) > widths[0]:
            first = f"…{set_cell_size(first[::-1], widths[0] - 1)[::-1]}"
        others = (
            " " * (width - cell_len(cell)) + cell
            for cell, width in zip(row[1:], widths[1:], strict=True)
        )
        line = "  ".join([set_cell_size(first, widths[0]), *others]).rstrip()
        print(f"\x1b[2m{line}\x1b[0m" if row is cells[0] and sys.stdout.isatty() else line)


def raise_for_unreadable(unreadable: Sequence[tuple[str, str]], total: int) -> None:
    """Raise DataError for files that could not be read, after the others have been processed."""
    if unreadable:
        names = "; ".join(f"{name}: {reason}" for name, reason in unreadable[:MAX_LISTED])
        more = len(unreadable) - MAX_LISTED
        raise DataError(
            f"Cannot read {len(unreadable)} of {count(total, 'file')}. {names}"
            + (f"; and {more} more." if more > 0 else "")
        )
