"""`siglum train`."""

import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from siglum.cli import terminal
from siglum.cli.classes import read_names
from siglum.cli.loading import loading
from siglum.cli.terminal import Switch
from siglum.cli.watching import Watcher
from siglum.config import TrainConfig, TrainSettings, build
from siglum.errors import ConfigError, RunError
from siglum.lab import runs, transfer
from siglum.lab import trainer as recipe
from siglum.lab.device import choose_device
from siglum.stats import Rate


class Flags(TrainSettings):
    """The settings on the command line; `data` and `rename` are arguments of their own."""

    data: Annotated[str, Parameter(parse=False)] = "mnist5k"
    rename: Annotated[dict[str, str], Parameter(parse=False)] = {}  # noqa: RUF012 - pydantic copies


def train(
    source: str | None = None,
    /,
    *,
    settings: Annotated[Flags | None, Parameter(name="*")] = None,
    config: Path | None = None,
    rename: Path | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    resume: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    json: Switch = False,
) -> None:
    """Train a network and keep everything about it in a folder, the run.

    Example: siglum train mnist5k -o runs/first

    Example: siglum train folder:my-signs --epochs 40 --rename names.csv

    Example: siglum train --resume runs/first

    Ctrl-C stops between two steps and says how to go on.

    Args:
        source: Where the pictures come from: mnist5k, idx:DIR, folder:DIR, archive:FILE, mnist,
            fashion-mnist, ...; mnist5k by default.
        settings: What decides the outcome.
        config: A TOML file of settings; flags go before it.
        rename: A CSV file of lines old,new that renames classes.
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
    if rename is not None:
        typed["rename"] = read_names(rename)
    wanted = {**(read_toml(config) if config else {}), **typed}
    if resume is not None:
        run = runs.Run(resume)
        _same_settings(run, wanted)
        then = run.env["device"]
        machine = choose_device(
            then["device"] if device == "auto" else device,
            then["precision"] if precision == "auto" else precision,
            threads or then["threads"],
        )
        path = resume
    else:
        chosen = build(TrainConfig, wanted)
        machine = choose_device(device, precision, threads)
        path = out or runs.next_path(Path("runs"), chosen)
    with loading() as progress, Watcher(quiet=json) as watcher:
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
    config = run.config
    rows: list[tuple[str, str]] = [
        ("data", f"{config.data}: {run.env['counts']['train']:,} to train on"),
        ("model", f"{config.model}, {result['parameters']:,} parameters"),
    ]
    start = run.env.get("init")
    if start or config.freeze:
        said = transfer.in_words(start, config.freeze, result["trained"], result["parameters"])
        rows.append(("start", said))
    rows += [
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


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file of settings.

    Raises:
        ConfigError: if it is none.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"config must be a TOML file of settings, got {path}: {error}.") from None
