"""`siglum pretrain`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from siglum.cli import terminal, train
from siglum.cli.loading import loading
from siglum.cli.terminal import Switch
from siglum.cli.watching import Watcher
from siglum.config import RECIPES
from siglum.errors import ConfigError
from siglum.lab import runs
from siglum.lab.device import choose_machine
from siglum.lab.recipes import pretrain as recipe
from siglum.lab.recipes.train import Stopped
from siglum.stats import Rate

Hidden = Parameter(parse=False)


class Flags(train.Flags):
    """The settings that were typed, with the defaults of a pretraining in the help."""

    test: Annotated[str | None, Hidden] = None
    only: Annotated[tuple[str, ...], Hidden] = ()
    writers: Annotated[str | None, Hidden] = None
    split: Annotated[Literal["stratified", "writer"], Hidden] = "writer"
    folds: Annotated[int | None, Hidden] = None
    fold: Annotated[int, Hidden] = 0


for _name, _usual in {**RECIPES[recipe.DEFAULTS["model"]], **recipe.DEFAULTS}.items():
    Flags.model_fields[_name].default = _usual
Flags.model_rebuild(force=True)


def pretrain(
    source: str | None = None,
    /,
    *,
    settings: Annotated[Flags | None, Parameter(name="*")] = None,
    hours: float | None = None,
    config: Path | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    json: Switch = False,
) -> None:
    """Train a backbone on the characters of fonts, and keep everything about it in a folder.

    Whole faces are held out to validate. Characters that look alike in most faces are one class.

    Example: siglum pretrain fonts:my-fonts -o runs/backbone

    Example: siglum pretrain fonts:my-fonts#greek,digits --hours 0.2 --prefer.hand 3

    Ctrl-C stops between two steps and says how to go on. The bundle is then made by
    siglum export RUN -o NAME.siglum --features.

    Args:
        source: fonts:DIR, or fonts:DIR#CHARACTERS.
        settings: What decides the outcome. In --prefer.NAME a name is a folder of faces, or a face.
        hours: How long to train, by the speed at the beginning; 1 unless epochs are given.
        config: A TOML file of settings; flags go before it.
        out: The run's folder, which must not exist; runs/MODEL-SOURCE-NUMBER by default.
        device: auto, cpu, cuda or mps.
        precision: auto (bfloat16 where the processor has it), float32 or bfloat16.
        threads: Of the CPU; 0 for one a core.
        json: Print the result as JSON.
    """
    read = train.read_toml(config) if config else {}
    typed = settings.model_dump(include=settings.model_fields_set) if settings else {}
    if hours is not None:
        read.pop("epochs", None)
    elif "epochs" not in typed:
        hours = read.get("hours")
    if hours is not None and (isinstance(hours, bool) or not isinstance(hours, int | float)):
        raise ConfigError(f"hours must be a number, got {hours!r}.")
    wanted = {name: value for name, value in read.items() if name != "hours"} | typed
    if source is not None:
        wanted["data"] = source
    if "data" not in wanted:
        raise ConfigError("source must be named, as in: siglum pretrain fonts:my-fonts")
    chosen = recipe.settings(wanted)
    machine = choose_machine(device, precision, threads)
    path = out or runs.next_path(Path("runs"), chosen)
    with loading() as progress, Watcher(quiet=json) as watcher:
        try:
            run = recipe.pretrain(chosen, path, machine, hours, watcher, progress)
        except Stopped:
            watcher.close()
            print(f"Stopped. Go on with: siglum train --resume {path}", file=sys.stderr)
            raise KeyboardInterrupt from None
    if json:
        terminal.write_json({"run": str(run.path), **(run.result or {})})
    else:
        _summary(run)


def _summary(run: runs.Run) -> None:
    result, config = run.result, run.config
    assert result is not None, run.path
    merged = len(config.rename) - len(set(config.rename.values()))
    rows = [
        ("data", f"{config.data}: {run.env['counts']['train']:,} pictures to train on"),
        ("classes", f"{len(run.classes):,}, of {len(run.classes) + merged:,} characters"),
        ("model", f"{config.model}, {result['parameters']:,} parameters"),
        ("training", f"{run.epochs[-1].examples:,} pictures in {result['seconds']:,.0f} s"),
    ]
    if "val" in result:
        counted = {key: result["val"][key] for key in ("hits", "total", "low", "high")}
        rows.append(("validation", terminal.interval(Rate(**counted))))
    rows.append(("run", str(run.path)))
    for name, value in rows:
        print(f"{name:<11} {terminal.printable(value)}")
