"""`siglum export`."""

import warnings
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from siglum.cli.info import show
from siglum.cli.terminal import Switch
from siglum.errors import ConfigError
from siglum.lab import backbone
from siglum.lab.device import choose_machine
from siglum.lab.export import export as write
from siglum.lab.runs import Run


def export(
    run: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    weights: str | None = None,
    licence: str = "",
    features: Switch = False,
    vectors: Literal["both", "means", "weights"] | None = None,
    prefer: dict[str, float] | None = None,
    threads: int = 0,
) -> None:
    """Write a run as a bundle: one file that reads pictures without torch.

    What onnxruntime makes of it is compared with torch on eight pictures that the run held out;
    four of them go into the bundle. Probabilities are calibrated on the validation pictures.

    Example: siglum export runs/first -o digits.siglum

    Example: siglum export runs/backbone -o backbone.siglum --features --prefer.hand 3

    Args:
        run: The run's folder.
        out: The bundle to write; its name ends in .siglum.
        weights: best, last or lowest_loss; by default what the run stands for.
        licence: Under which the bundle may be used, such as CC-BY-4.0; kept in it.
        features: Of a pretraining: the network without its last layer, and behind it a vector for
            each character.
        vectors: With features: means of the faces, weights that the training found, or both
            (the default), half-way between them.
        prefer: With features: how often the faces of a folder count in the means, as in
            --prefer.hand 3.
        threads: Of the CPU; 0 for one a core.
    """
    if features:
        machine = choose_machine("cpu", "auto", threads)
        made = backbone.export(Run(run), out, machine, vectors or "both", prefer, weights, licence)
    elif vectors or prefer:
        raise ConfigError("vectors and prefer must go with features. Give --features, too.")
    else:
        made = write(Run(run), out, choose_machine("cpu", "float32", threads), weights, licence)
    if made.warning:
        warnings.warn(
            f"compared on {made.bundle.card.golden}, since the run's pictures are not there: "
            f"{made.warning}",
            stacklevel=2,
        )
    show(out, made.bundle)
