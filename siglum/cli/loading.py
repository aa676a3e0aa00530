"""How commands show in the terminal that pictures are read."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from siglum.cli.terminal import ACCENT
from siglum.images.cache import Progress as LoadProgress


@contextmanager
def loading() -> Iterator[LoadProgress]:
    """Show a bar on standard error while pictures are read; nothing where that is no terminal."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(complete_style=ACCENT),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("", total=None, visible=False)

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None, visible=True)

        yield progress
