"""How a training is watched in the terminal, and stopped."""

import signal
import time
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from siglum.cli import terminal
from siglum.lab import training


class Watcher:
    """Shows a training as it goes, and turns the first Ctrl-C into a clean stop.

    A bar on a terminal; elsewhere a line every ten seconds, and everywhere a line an epoch.
    """

    LINE_SECONDS = 10.0

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.stop = quiet, False
        self.examples, self.seconds = 0, 0.0  # at the end of the epoch before
        self.said = time.monotonic()
        self.console = Console(stderr=True, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(complete_style=terminal.ACCENT),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=None, visible=False)

    def __enter__(self) -> "Watcher":
        self.before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def restart(self) -> None:
        """Begin with another training."""
        self.examples, self.seconds = 0, 0.0
        self.bar.reset(self.task, visible=False)

    def close(self) -> None:
        """Take the bar away."""
        self.bar.stop()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.stop:  # asked twice: at once
            raise KeyboardInterrupt
        self.stop = True

    def __call__(self, record: training.StepProgress | training.Epoch) -> bool:
        """Show one record; True asks the training to stop."""
        if isinstance(record, training.StepProgress):
            self._show_progress(record)
        elif not self.quiet:
            self._show_epoch(record)
        return self.stop

    def _show_progress(self, at: training.StepProgress) -> None:
        text = (
            f"epoch {at.epoch}/{at.epochs}  loss {at.loss:.3f}  "
            f"accuracy {terminal.percent(at.accuracy)}  "
            f"{at.images_per_second:,.0f} images/s  {at.seconds_left:.0f} s left"
        )
        if not self.bar.disable:
            self.bar.start()
            self.bar.update(
                self.task,
                visible=True,
                completed=at.step,
                total=at.num_steps,
                description=text,
            )
        elif not self.quiet and time.monotonic() - self.said > self.LINE_SECONDS:
            self.console.print(text, soft_wrap=True)
            self.said = time.monotonic()

    def _show_epoch(self, epoch: training.Epoch) -> None:
        shown, seconds = epoch.examples - self.examples, epoch.seconds - self.seconds
        self.examples, self.seconds = epoch.examples, epoch.seconds
        accuracy = epoch.val_accuracy
        val = "" if accuracy is None else f"  validation {terminal.percent(accuracy)}"
        self.console.print(
            f"epoch {epoch.index:>3}  loss {epoch.train_loss:.3f}  "
            f"accuracy {terminal.percent(epoch.train_accuracy)}{val}  "
            f"{shown / seconds:,.0f} images/s  {epoch.seconds:.1f} s",
            soft_wrap=True,
        )
