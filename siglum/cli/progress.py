"""Progress bars for loading and training, and a clean stop on Ctrl-C."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from siglum.cli.output import ACCENT
from siglum.formatting import percent
from siglum.images.cache import Progress as LoadProgress

if TYPE_CHECKING:
    from siglum.lab.training import Epoch, StepProgress

LINE_SECONDS = 10.0  # between two lines of progress where there is no terminal


@contextmanager
def loading_bar() -> Iterator[LoadProgress]:
    """Yield a callback that shows loading on standard error: a bar, or lines outside a terminal."""
    console = Console(stderr=True, highlight=False)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(complete_style=ACCENT),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=None, visible=False)
        last = time.monotonic()

        def progress(activity: str, done: int, total: int) -> None:
            nonlocal last
            bar.update(
                task, description=activity, completed=done, total=total or None, visible=True
            )
            if bar.disable and time.monotonic() - last > LINE_SECONDS:
                print(f"{activity}: {done:,}{f' of {total:,}' if total else ''}", file=sys.stderr)
                last = time.monotonic()

        yield progress


class TrainingProgress:
    """Shows a training and turns the first Ctrl-C into a stop between two steps.

    Pass the object as the training's callback; it returns True to request a stop.
    """

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.stop = quiet, False
        self.console = Console(stderr=True, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(complete_style=ACCENT),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=None, visible=False)
        self.restart()

    def restart(self) -> None:
        """Start over for another training."""
        self.examples, self.seconds, self.last_line = 0, 0.0, time.monotonic()
        self.bar.reset(self.task, visible=False)

    def __enter__(self) -> "TrainingProgress":
        self.handlers = {s: signal.signal(s, self._stop) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.stop:  # a second Ctrl-C stops at once
            raise KeyboardInterrupt
        self.stop = True

    def __call__(self, record: "StepProgress | Epoch") -> bool:
        """Show one record; return True to request a stop."""
        from siglum.lab.training import Epoch

        if isinstance(record, Epoch):
            self._show_epoch(record)
        else:
            self._show_step(record)
        return self.stop

    def _show_step(self, step: "StepProgress") -> None:
        text = (
            f"epoch {step.epoch}/{step.epochs}  loss {step.loss:.3f}  "
            f"accuracy {percent(step.accuracy)}  "
            f"{step.images_per_second:,.0f} images/s  {step.seconds_left:.0f} s left"
        )
        if not self.bar.disable:
            self.bar.start()
            self.bar.update(
                self.task,
                visible=True,
                completed=step.step,
                total=step.num_steps,
                description=text,
            )
        elif not self.quiet and time.monotonic() - self.last_line > LINE_SECONDS:
            self.console.print(text, soft_wrap=True)
            self.last_line = time.monotonic()

    def _show_epoch(self, epoch: "Epoch") -> None:
        examples, seconds = epoch.examples - self.examples, epoch.seconds - self.seconds
        self.examples, self.seconds = epoch.examples, epoch.seconds
        if self.quiet:
            return
        val = epoch.val_accuracy
        validation = "" if val is None else f"  validation {percent(val)}"
        self.console.print(
            f"epoch {epoch.index:>3}  loss {epoch.train_loss:.3f}  "
            f"accuracy {percent(epoch.train_accuracy)}{validation}  "
            f"{examples / seconds:,.0f} images/s  {epoch.seconds:.1f} s",
            soft_wrap=True,
        )
