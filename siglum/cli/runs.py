"""`siglum runs`."""

import warnings
from pathlib import Path
from typing import Any

from siglum import formatting, stats
from siglum.cli.options import Json
from siglum.cli.output import print_json, print_table
from siglum.errors import SiglumError
from siglum.lab.runs import Run, find_runs

COLUMNS = ("run", "data", "model", "parameters", "epochs", "seconds", "validation", "test")


def runs(folder: Path = Path("runs"), /, *, json: Json = False) -> None:
    """List the runs in a folder, newest first.

    Example: siglum runs

    Example: siglum runs my-runs --json

    Args:
        folder: The folder of the runs.
    """
    facts = []
    for run in find_runs(folder):
        try:
            facts.append(_facts(run))
        except SiglumError as error:
            warnings.warn(f"{run.path} is left out: {error}", stacklevel=2)
    if json:
        print_json(facts)
    elif not facts:
        print(f"No runs in {folder}. Train one with: siglum train")
    else:
        print_table(COLUMNS, map(_row, facts))


def _facts(run: Run) -> dict[str, Any]:
    config, result, epochs = run.config, run.result or {}, run.epochs
    return {
        "run": run.name,
        "data": config.data,
        "model": config.model,
        "parameters": result.get("parameters"),
        "epochs": len(epochs),
        "seconds": epochs[-1].seconds if epochs else 0.0,
        "finished": bool(result),
        "val": result.get("val"),
        "test": result.get("test"),
    }


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    rates = [
        ""
        if measured is None
        else formatting.rate(stats.wilson(measured["hits"], measured["total"]))
        for measured in (facts["val"], facts["test"])
    ]
    return (
        facts["run"],
        facts["data"],
        facts["model"],
        "" if facts["parameters"] is None else f"{facts['parameters']:,}",
        f"{facts['epochs']}" if facts["finished"] else f"{facts['epochs']} so far",
        f"{facts['seconds']:.1f}",
        *rates,
    )
