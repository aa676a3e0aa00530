"""Make a backbone from fonts: install fonts, train on them, export the result."""

import sys
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from siglum.errors import SiglumError
from siglum.lab import distributed
from siglum.lab.device import choose_device
from siglum.lab.run_folder import Run
from tools.backbone import export as exporting, provenance
from tools.backbone.data import Recipe
from tools.backbone.pretrain import pretrain

NewPath = Annotated[Path, Parameter(name=["--out", "-o"])]
app = cyclopts.App(name="python -m tools.backbone", help=__doc__)


@app.command
def install(folder: Path, /) -> int:
    """Fetch the fonts that packages.csv lists."""
    missing = provenance.install(folder)
    print(*missing, sep="\n", file=sys.stderr)
    return 1 if missing else 0


@app.command
def train(
    fonts: Path,
    /,
    *,
    out: NewPath,
    recipe: Annotated[Recipe | None, Parameter(name="*")] = None,
    device: str = "auto",
    threads: int = 0,
) -> None:
    """Train on a folder of fonts with a folder for each kind, or continue a stopped training."""
    settings = recipe.model_dump(exclude_unset=True) if recipe else {}
    complete = Recipe(**{**settings, "fonts": str(fonts)})
    pretrain(complete, out, choose_device(device, "auto", threads), _progress)


@app.command
def export(
    run: Path,
    /,
    *others: Path,
    out: NewPath,
    licence: str = "",
    length: int = 0,
    device: str = "auto",
    threads: int = 0,
) -> None:
    """Write one or more runs, side by side, as a backbone: a new .siglum file.

    Args:
        length: Length of the features, by a projection; by default those of all runs.
    """
    target = choose_device(device, "auto", threads)
    bundle = exporting.export(
        [Run(path) for path in (run, *others)], out, target, licence, length, _progress
    )
    for name, rate in bundle.card.measured.items():
        print(f"{name}: {rate.hits:,} of {rate.total:,}")


def _progress(step: str, done: int, total: int) -> None:
    if distributed.rank() == 0 and (done == total or done % 4096 == 0):
        print(f"{step} {done:,} of {total:,}" if total else step, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        app(result_action="return_value")
    except SiglumError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
