"""`siglum report`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from siglum.lab.runs import Run
from siglum.report import write


def report(
    run: Path, /, *, out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None
) -> None:
    """Write a run's page: one HTML file that opens anywhere, without a network.

    Example: siglum report runs/first

    Args:
        run: The run's folder.
        out: Where to write the page; report.html in the run's folder by default.
    """
    print(f"Report: {write(Run(run), out or run / 'report.html')}")
