"""`siglum runs`."""

import warnings
from pathlib import Path
from typing import Any

from siglum import formatting, stats
from siglum.cli.options import Json
from siglum.cli.output import print_json, print_table
from siglum.errors import SiglumError
from siglum.lab.runs import find_runs

COLUMNS = ("run", "data", "model", "parameters", "epochs", "seconds", "validation", "test")


def runs(folder: Path = Path("runs"), /, *, json: Json = False) -> None:
    """List the runs in a folder, newest first.

    Example: siglum runs
    Example: siglum runs my-runs --json

    Args:
        folder: The folder of the runs.
    """
    records, rows = [], []
    for run in find_runs(folder):
        try:
            config, result, epochs = run.config, run.result or {}, run.history
        except SiglumError as error:
            warnings.warn(f"{run.path} is left out: {error}", stacklevel=2)
            continue
        parts, seconds = ("val", "test"), epochs[-1].seconds if epochs else 0.0
        record: dict[str, Any] = {"run": run.path.name, "data": config.data, "model": config.model}
        names = list(record.values())
        record |= {"parameters": result.get("parameters"), "epochs": len(epochs)}
        record |= {"seconds": seconds, "finished": bool(result)}
        records.append(record | {part: result.get(part) for part in parts})
        measured = [result.get(part) for part in parts]
        rates = [
            formatting.rate(stats.wilson(m["hits"], m["total"])) if m else "" for m in measured
        ]
        parameters = f"{result['parameters']:,}" if result else ""
        number = f"{len(epochs)}{'' if result else ' so far'}"
        rows.append((*names, parameters, number, f"{seconds:.1f}", *rates))
    if json:
        print_json(records)
    elif not rows:
        print(f"No runs in {folder}. Train one with: siglum train")
    else:
        print_table(COLUMNS, rows)
