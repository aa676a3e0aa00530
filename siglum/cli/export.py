"""`siglum export`."""

import warnings
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from siglum.cli.info import show
from siglum.lab.device import choose_device
from siglum.lab.export import export as write
from siglum.lab.runs import Run


def export(
    run: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    checkpoint: str | None = None,
    licence: str = "",
    threads: int = 0,
) -> None:
    """Write a run as a bundle: one file that reads pictures without torch.

    What onnxruntime makes of it is compared with torch on eight pictures that the run held out;
    four of them go into the bundle. Probabilities are calibrated on the validation pictures.

    Example: siglum export runs/first -o digits.siglum

    Args:
        run: The run's folder.
        out: The bundle to write; its name ends in .siglum.
        checkpoint: best, last or lowest_loss; by default what the run stands for.
        licence: Under which the bundle may be used, such as CC-BY-4.0; kept in it.
        threads: Of the CPU; 0 for one a core.
    """
    made = write(Run(run), out, choose_device("cpu", "float32", threads), checkpoint, licence)
    if made.warning:
        warnings.warn(
            f"compared on {made.bundle.card.reference}, since the run's pictures are not there: "
            f"{made.warning}",
            stacklevel=2,
        )
    show(out, made.bundle)
