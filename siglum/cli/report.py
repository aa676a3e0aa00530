"""`siglum report`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from siglum.cli.output import print_line
from siglum.errors import ConfigError
from siglum.lab.runs import Run
from siglum.report.sections import Facts, draw_plots, write_report


def report(
    run: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    plots: Path | None = None,
) -> None:
    """Write the report of a run: one HTML page that opens anywhere, without a network.

    Example: siglum report runs/first --plots figures

    Args:
        run: The run's folder.
        out: The page, a .html file; report.html in the run's folder by default.
        plots: Write every plot to this folder instead, as PNG, SVG and CSV.
    """
    if plots is not None:
        for plot in draw_plots(Facts(Run(run))).values():
            plot.save(plots)
            print_line(f"Plot: {plots / plot.name}.png, .svg, .csv")
        if out is None:
            return
    path = out or run / "report.html"
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(
            f"out must end in .html, got {str(path)!r}. For images: siglum report {run} --plots DIR"
        )
    write_report(Run(run), path)
    print_line(f"Report: {path}")
