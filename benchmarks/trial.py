"""Train a backbone, export it and measure it on the tuning half: one row per trial.

    python -m benchmarks.trial free-fonts -o trials/small --characters latin,greek --epochs 2

Rows are added to `results.md` in the trial's folder: per cent correct, for Omniglot per cent
wrong. A stopped trial continues with the same command. To measure a finished backbone:

    python -m benchmarks.trial --backbone backbone.siglum -o trials/shipped
"""

import sys
import time
import warnings
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from benchmarks import fewshot
from siglum.errors import ConfigError, SiglumError
from siglum.lab.device import choose_device
from siglum.lab.run_folder import RESULT, Run
from siglum.recogniser import predict
from tools.backbone import pretrain

COLUMNS = {  # of a table: set and row of `benchmarks.fewshot`; the number counts drawings a class
    "Omniglot, 1": ("omniglot", "20-way 1-shot within an alphabet"),
    "Balinese": ("omniglot", "20-way 1-shot, Balinese"),
    "Tagalog": ("omniglot", "20-way 1-shot, Tagalog"),
    "Omniglot, 5": ("omniglot", "20-way 5-shot within an alphabet"),
    "MNIST, 0": ("mnist", "zero-shot"),
    "MNIST, 1": ("mnist", "1 samples alone"),
    "MNIST, 10": ("mnist", "10 samples alone"),
    "Greek": ("greek", "zero-shot, either shape"),
    "GCDB": ("GreekGCDB", "zero-shot"),
    "Chars74K": ("Chars74K", "zero-shot"),
    "HandWritten62": ("HandWritten62", "zero-shot, case merged too"),
    "CHoiCe": ("CHoiCe", "zero-shot, case merged too"),
    "KMNIST, 10": ("kmnist", "10 samples alone"),
}
app = cyclopts.App(name="python -m benchmarks.trial", help=__doc__)


def measure(backbone: predict.Recogniser) -> list[float]:
    """Return the figures of `COLUMNS` on the tuning half, in per cent."""
    get, accuracy = fewshot.reader(backbone, "tune"), {}
    for name in dict.fromkeys(name for name, _ in COLUMNS.values()):
        rows = {row for other, row in COLUMNS.values() if other == name}
        for setting in fewshot.settings(name, get):
            if any(row.startswith(setting.name) for row in rows):
                outcomes = [fewshot.outcome(backbone, task) for task in setting.tasks]
                for one in setting.measures:
                    row = fewshot.row(setting, one, outcomes)
                    accuracy[name, row["setting"]] = 100 * row["accuracy"]
    shares = {column: accuracy[place] for column, place in COLUMNS.items()}
    return [100 - s if COLUMNS[c][0] == "omniglot" else s for c, s in shares.items()]


@app.default
def trial(
    fonts: Path | None = None,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    backbone: Path | None = None,
    recipe: Annotated[pretrain.Recipe | None, Parameter(name="*")] = None,
    device: str = "auto",
    threads: int = 0,
) -> None:
    """Train, export and measure one recipe; or measure a backbone."""
    settings = recipe.model_dump(exclude_unset=True) if recipe else {}
    minutes = 0.0
    if backbone is None and fonts is None:
        raise ConfigError("Name a folder of fonts to train on, or a --backbone to measure.")
    if backbone is None:
        complete = pretrain.Recipe(**{**settings, "fonts": str(fonts)})
        target = choose_device(device, "auto", threads)
        backbone = out / "backbone.siglum"
        if not backbone.exists():
            if not (out / RESULT).exists():
                pretrain.pretrain(complete, out, target)
            pretrain.export(Run(out), backbone, target)
        minutes = (Run(out).result or {"seconds": 0.0})["seconds"] / 60
    started = time.perf_counter()
    figures = [f"{figure:.1f}" for figure in measure(predict.open_backbone(backbone))]
    print(f"measured in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    table = out.parent / "results.md"
    if not table.exists():
        heads = ["trial", "settings", *COLUMNS, "minutes"]
        table.write_text(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}\n")
    settings.pop("characters", None)  # long, and the same in all trials
    changed = ", ".join(f"{name} {value}" for name, value in settings.items())
    with table.open("a") as file:
        file.write(f"| {' | '.join([out.name, changed, *figures, f'{minutes:.1f}'])} |\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # unreadable files are listed in the sets' README
    try:
        app(result_action="return_value")
    except SiglumError as error:
        sys.exit(f"error: {error}")
