"""Progress of loading and training, and a clean stop on Ctrl-C."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from siglum.formatting import percent, printable
from siglum.images.cache import Progress as LoadProgress

if TYPE_CHECKING:
    from siglum.lab.training import Epoch, StepProgress

LINE_SECONDS = 10.0  # between two lines of progress where there is no terminal


class ProgressLine:
    """A line of progress on standard error; outside a terminal, a new one every ten seconds."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet, self.stop, self.last_line = quiet, False, time.monotonic()
        self.console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self.status = self.console.status("", spinner_style="red")

    def load(self, activity: str, done: int, total: int) -> None:
        """Show the loading of images; a `total` of 0 is unknown."""
        self._show(f"{activity}: {done:,}{f' of {total:,}' if total else ''}")
        if self.stop:
            raise KeyboardInterrupt

    def watch(self, record: "StepProgress | Epoch") -> bool:
        """Show a step or an epoch of a training; return True to request a stop."""
        from siglum.lab.training import Epoch  # late: it imports torch

        if self.quiet:
            return self.stop
        if isinstance(record, Epoch):
            val = record.val_accuracy
            self.console.print(
                f"epoch {record.index:>3}  loss {record.train_loss:.3f}  "
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

    def _show(self, text: str) -> None:
        if self.console.is_terminal:
            self.status.update(Text(printable(text)))
        elif time.monotonic() - self.last_line > LINE_SECONDS:
            self.console.print(printable(text))
            self.last_line = time.monotonic()


@contextmanager
def loading_bar() -> Iterator[LoadProgress]:
    """Yield a callback that shows the loading of images."""
    line = ProgressLine()
    with line.status:
        yield line.load


@contextmanager
def training_bar(quiet: bool) -> Iterator[ProgressLine]:
    """Yield a line for loading and training; the first Ctrl-C requests a stop between two steps."""
    line = ProgressLine(quiet)
    handlers = {s: signal.signal(s, line.request_stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        with line.status:
            yield line
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
