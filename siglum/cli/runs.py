"""`siglum runs`."""

import warnings
from pathlib import Path
from typing import Any

from siglum.cli import terminal
from siglum.cli.terminal import Switch
from siglum.errors import SiglumError
from siglum.lab import runs as on_disk


def runs(folder: Path = Path("runs"), /, *, json: Switch = False) -> None:
    """List the runs in a folder, newest first.

    Example: siglum runs runs --json

    Args:
        folder: Where the runs lie.
        json: Print JSON.
    """
    found = []
    for run in on_disk.find_runs(folder):
        try:
            found.append(_facts(run))
        except SiglumError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    if json:
        terminal.write_json(found)
        return
    if not found:
        print(f"No runs in {folder}. Make one with: siglum train")
        return
    rows = [
        (
            facts["run"],
            facts["data"],
            facts["model"],
            "" if facts["parameters"] is None else f"{facts['parameters']:,}",
            f"{facts['epochs']}" if facts["finished"] else f"{facts['epochs']} so far",
            f"{facts['seconds']:.1f}",
            _share(facts["val"]),
            _share(facts["test"]),
        )
        for facts in found
    ]
    header = ("run", "data", "model", "parameters", "epochs", "seconds", "validation", "test")
    terminal.show(terminal.table(header, rows))


def _facts(run: on_disk.Run) -> dict[str, Any]:
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


def _share(measured: dict[str, Any] | None) -> str:
    return "" if measured is None else terminal.percent(measured["hits"] / measured["total"], 2)
