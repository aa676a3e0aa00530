"""`siglum runs`."""

import warnings
from pathlib import Path

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
        names = {"run": run.name, "data": config.data, "model": config.model}
        sizes = {"parameters": result.get("parameters"), "epochs": len(epochs)}
        seconds, parts = epochs[-1].seconds if epochs else 0.0, ("val", "test")
        progress = {"seconds": seconds, "finished": bool(result)}
        records.append({**names, **sizes, **progress, **{part: result.get(part) for part in parts}})
        rates = [
            formatting.rate(stats.wilson(result[part]["hits"], result[part]["total"]))
            if part in result
            else ""
            for part in parts
        ]
        parameters = f"{result['parameters']:,}" if result else ""
        number = f"{len(epochs)}{'' if result else ' so far'}"
        rows.append((*names.values(), parameters, number, f"{seconds:.1f}", *rates))
    if json:
        print_json(records)
    elif not rows:
        print(f"No runs in {folder}. Train one with: siglum train")
    else:
        print_table(COLUMNS, rows)
