"""`siglum train`."""

import signal
import sys
import time
import tomllib
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import model_validator
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from siglum.cli import terminal
from siglum.cli.classes import read_names
from siglum.cli.terminal import Switch
from siglum.config import TrainConfig, build
from siglum.errors import ConfigError, RunError
from siglum.lab import runs, training
from siglum.lab.device import choose_machine
from siglum.lab.recipes import train as recipe
from siglum.stats import Rate


class Flags(TrainConfig):
    """The settings that were typed, and no others: a model's recipe is filled in later."""

    data: Annotated[str, Parameter(parse=False)] = "mnist5k"
    rename: Annotated[dict[str, str], Parameter(parse=False)] = {}  # noqa: RUF012 - pydantic copies

    @model_validator(mode="before")
    @classmethod
    def _recipe_first(cls, data: Any) -> Any:
        return data


def train(
    source: str | None = None,
    /,
    *,
    settings: Annotated[Flags | None, Parameter(name="*")] = None,
    config: Path | None = None,
    classes: Path | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    resume: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    json: Switch = False,
) -> None:
    """Train a network and keep everything about it in a folder, the run.

    Example: siglum train mnist5k -o runs/first

    Example: siglum train folder:my-signs --epochs 40 --classes names.csv

    Example: siglum train --resume runs/first

    Ctrl-C stops between two steps and says how to go on.

    Args:
        source: Where the pictures come from: mnist5k, idx:DIR, folder:DIR, archive:FILE, mnist,
            fashion-mnist, ...; mnist5k by default.
        settings: What decides the outcome.
        config: A TOML file of settings; flags go before it.
        classes: A CSV file of lines old,new that renames classes.
        out: The run's folder, which must not exist; runs/MODEL-SOURCE-NUMBER by default.
        resume: Go on with this unfinished run, to the same bits.
        device: auto, cpu, cuda or mps.
        precision: auto (bfloat16 where the processor has it), float32 or bfloat16.
        threads: Of the CPU; 0 for one a core.
        json: Print the result as JSON.
    """
    typed = settings.model_dump(include=settings.model_fields_set) if settings else {}
    if source is not None:
        typed["data"] = source
    if classes is not None:
        typed["rename"] = read_names(classes)
    wanted = {**(_read_toml(config) if config else {}), **typed}
    if resume is not None:
        run = runs.Run(resume)
        _same_settings(run, wanted)
        then = run.env["machine"]
        machine = choose_machine(
            then["device"] if device == "auto" else device,
            then["precision"] if precision == "auto" else precision,
            threads or then["threads"],
        )
        path = resume
    else:
        chosen = build(TrainConfig, wanted)
        machine = choose_machine(device, precision, threads)
        path = out or runs.next_path(Path("runs"), chosen)
    with terminal.loading() as progress, _Watcher(quiet=json) as watcher:
        try:
            if resume is not None:
                run = recipe.resume(run, machine, watcher, progress)
            else:
                run = recipe.train(chosen, path, machine, watcher, progress)
        except recipe.Stopped:
            watcher.close()
            print(f"Stopped. Go on with: siglum train --resume {path}", file=sys.stderr)
            raise KeyboardInterrupt from None
    if json:
        terminal.write_json({"run": str(run.path), **(run.result or {})})
    else:
        _summary(run)


def _summary(run: runs.Run) -> None:
    result = run.result
    assert result is not None, run.path
    rows: list[tuple[str, str]] = [
        ("data", f"{run.config.data}: {run.env['counts']['train']:,} to train on"),
        ("model", f"{run.config.model}, {result['parameters']:,} parameters"),
        ("training", f"{result['epochs']} epochs in {result['seconds']:.1f} s"),
    ]
    for part, name in (("val", "validation"), ("test", "test")):
        if part in result:
            counted = {key: result[part][key] for key in ("hits", "total", "low", "high")}
            rows.append((name, terminal.interval(Rate(**counted))))
    rows.append(("run", str(run.path)))
    for name, value in rows:
        print(f"{name:<11} {terminal.printable(value)}")


def _same_settings(run: runs.Run, wanted: dict[str, Any]) -> None:
    """Raise RunError where what was typed differs from what the run was begun with."""
    have = run.config.model_dump()
    asked = build(TrainConfig, {**have, **wanted}).model_dump()
    differences = [f"{k} {have[k]!r}, not {asked[k]!r}" for k in have if have[k] != asked[k]]
    if differences:
        raise RunError(
            f"{run.path} must go on with the settings it began with: {'; '.join(differences)}. "
            "Leave those flags out, or train a new run."
        )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"config must be a TOML file of settings, got {path}: {error}.") from None


class _Watcher:
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

    def __enter__(self) -> "_Watcher":
        self.before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def close(self) -> None:
        """Take the bar away."""
        self.bar.stop()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.stop:  # asked twice: at once
            raise KeyboardInterrupt
        self.stop = True

    def __call__(self, record: training.Progress | training.Epoch) -> bool:
        """Show one record; True asks the training to stop."""
        if isinstance(record, training.Progress):
            self._show_progress(record)
        elif not self.quiet:
            self._show_epoch(record)
        return self.stop

    def _show_progress(self, at: training.Progress) -> None:
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
