"""Shared by the commands: options, the files that they name, output, and progress."""

import json
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators
from PIL import Image
from rich.cells import cell_len, set_cell_size

from siglum import files
from siglum.errors import ConfigError, DataError
from siglum.files import atomic_path, read_csv
from siglum.formatting import CONTROL, count, percent, printable, rate_and_interval, shorten
from siglum.stats import Rate

if TYPE_CHECKING:
    from siglum.lab.training_loop import Epoch, StepProgress

MAX_WIDTH = 200  # of a list in a fact
MAX_LISTED = 20  # unreadable files named in an error
LINE_SECONDS = 30.0  # between two lines of progress where there is no terminal

Json = Annotated[bool, Parameter(help="Print JSON.")]
Out = Annotated[Path | None, Parameter(alias="-o")]
NewFile = Annotated[Path, Parameter(alias="-o")]
Png = Annotated[Path | None, Parameter(alias="-o", validator=validators.Path(ext=("png",)))]
PngOrParquet = Annotated[
    Path | None, Parameter(alias="-o", validator=validators.Path(ext=("png", "parquet")))
]
Renames = Annotated[Path | None, Parameter(help="CSV file of old,new: renames or merges classes.")]
Checkpoint = Annotated[str | None, Parameter(help="best, last or lowest_loss; else the run's own.")]
Device = Annotated[str, Parameter(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, Parameter(help="float32, bfloat16, or auto, by the processor.")]
Threads = Annotated[int, Parameter(help="CPU threads; 0 for one per core.")]


def read_renames(path: Path | None, option: str = "rename") -> dict[str, str]:
    """Read a CSV file of lines `old,new`; return {} for None."""
    names: dict[str, str] = {}
    for row in read_csv(path, option) if path else ():
        if len(row) != 2 or not all(row) or row[0] in names:
            rule = "have lines old,new, each name once"
            raise ConfigError(f"{option} must {rule}, got {','.join(row)!r} in {path}.")
        names[row[0]] = row[1]
    return names


def save_png(image: Image.Image, path: Path) -> None:
    """Write an image as a PNG file."""
    with atomic_path(path) as temporary:
        image.save(temporary, "PNG")


def print_json(value: Any) -> None:
    """Print a value as indented JSON; control characters are escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    print(CONTROL.sub(lambda match: json.dumps(match[0])[1:-1], text))


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as CSV; the items of a list are joined with spaces in one cell."""
    rows = [[*records[0]] if records else []]
    for record in records:
        cells = [" ".join(v) if isinstance(v, list) else v for v in record.values()]
        rows.append([printable(v, lines=True) if isinstance(v, str) else v for v in cells])
    return files.to_csv(rows)


def print_line(text: str, lines: bool = False) -> None:
    """Print a line, or several `lines`, that may contain names from files."""
    print(printable(text, lines))


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values in two columns, without those that are None or empty."""
    width = max(map(cell_len, facts), default=0)
    for name, value in facts.items():
        if value not in (None, "", {}):
            print_line(f"{set_cell_size(name.replace('_', ' '), width)}  {format_value(value)}")


def format_value(value: Any) -> str:
    """Format a value of a record for people."""
    if isinstance(value, Mapping) and {"hits", "total", "low", "high"} <= {*value}:
        return rate_and_interval(Rate(*(value[key] for key in ("hits", "total", "low", "high"))))
    if isinstance(value, Mapping):
        items = ", ".join(f"{name}: {format_value(item)}" for name, item in value.items())
        return shorten(items, MAX_WIDTH)
    if isinstance(value, list | tuple):
        return f"{len(value):,}: {shorten(' '.join(map(str, value)), MAX_WIDTH)}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "" if value is None else f"{value:,}" if type(value) is int else str(value)
    return text.replace("\n", "⏎")


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print aligned columns: the first to the left, the others to the right.

    Numbers and names are never cut, except that on a terminal a first column that is too wide
    loses its front, since file names differ at their end.
    """
    cells = [[printable(str(cell)) for cell in row] for row in (columns, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - sum(widths[1:]) - 2 * (len(widths) - 1)
        if room >= 12:  # else the lines are too long anyway
            widths[0] = min(widths[0], room)
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
        names += f"; and {more} more." if more > 0 else ""
        raise DataError(f"Cannot read {len(unreadable)} of {count(total, 'file')}. {names}")


class ProgressLine:
    """A line of progress on standard error; outside a terminal, after 30 silent seconds."""

    def __init__(self, quiet: bool = False) -> None:
        from rich.console import Console  # late: `predict` shows no progress

        self.stop, self.last_line = False, time.monotonic()
        self.console = Console(
            stderr=True, quiet=quiet, highlight=False, markup=False, soft_wrap=True
        )
        self.status = self.console.status("", spinner_style="red")

    def load(self, activity: str, done: int, total: int) -> None:
        """Show the loading of images; a `total` of 0 is unknown."""
        self._show(f"{activity}: {done:,}{f' of {total:,}' if total else ''}")
        if self.stop:
            raise KeyboardInterrupt

    def watch(self, record: "StepProgress | Epoch") -> bool:
        """Show a step or an epoch of a training; return True to request a stop."""
        from siglum.lab.training_loop import Epoch  # late: it imports torch

        if isinstance(record, Epoch):
            val = record.val_accuracy
            self.log(
                f"epoch {record.index:>3}  training loss {record.train_loss:.3f}  "
                f"accuracy {percent(record.train_accuracy)}  "
                f"{'' if val is None else f'validation {percent(val)}  '}{record.seconds:.1f} s"
            )
        else:
            self._show(
                f"epoch {record.epoch}/{record.epochs}  loss {record.loss:.3f}  "
                f"accuracy {percent(record.accuracy)}  "
                f"{record.images_per_second:,.0f} images/s  {record.seconds_left:.0f} s left"
            )
        return self.stop

    def request_stop(self, number: int, frame: FrameType | None) -> None:
        """Stop after the next step; the second time, at once."""
        if self.stop:
            raise KeyboardInterrupt
        self.stop = True

    def log(self, text: str) -> None:
        """Print a line of its own."""
        self.last_line = time.monotonic()
        self.console.print(printable(text))

    def _show(self, text: str) -> None:
        from rich.text import Text

        if self.console.is_terminal:
            self.status.update(Text(printable(text)))
        elif time.monotonic() - self.last_line > LINE_SECONDS:
            self.log(text)


@contextmanager
def progress_line(training: bool = False, quiet: bool = False) -> Iterator[ProgressLine]:
    """Yield a line of progress; the first Ctrl-C of a training requests a stop between steps."""
    line, signals = ProgressLine(quiet), (signal.SIGINT, signal.SIGTERM) if training else ()
    with line.status, ExitStack() as handlers:
        for number in signals:
            before = signal.signal(number, line.request_stop)
            handlers.callback(signal.signal, number, before)
        yield line
