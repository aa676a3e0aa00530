"""`siglum crossval`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from siglum.cli import study as command
from siglum.cli import terminal
from siglum.cli.classes import read_names
from siglum.cli.terminal import Switch
from siglum.cli.train import Flags, read_toml
from siglum.config import TrainConfig, build
from siglum.errors import ConfigError
from siglum.lab import crossval as lab
from siglum.lab import studies
from siglum.lab.pooled import Pooled
from siglum.lab.recipes.study import arms_of_study
from siglum.lab.trainer import load_data


def crossval(
    source: str | None = None,
    /,
    *,
    settings: Annotated[Flags | None, Parameter(name="*")] = None,
    repeats: int = 10,
    config: Path | None = None,
    rename: Path | None = None,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    jobs: int = 1,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    yes: Switch = False,
    json: Switch = False,
) -> None:
    """Measure how well a small set is read: repeated cross-validation.

    The pictures are cut into folds; each fold is read by a network that was trained on the others,
    so that every picture is read once a repeat. With --split writer no writer is on both sides.
    Kill it at any time and give the same command again: it goes on. What each picture was read as
    is kept in OUT/out-of-fold.npz.

    Example: siglum crossval folder:my-signs --folds 5 --repeats 10 -o runs/cv

    Args:
        source: Where the pictures come from; mnist5k by default.
        settings: What decides the outcome; folds are 5 unless given.
        repeats: How often all folds are cut anew, each with a seed of its own.
        config: A TOML file of settings; flags go before it.
        rename: A CSV file of lines old,new that renames classes.
        out: A folder for the runs and what came out.
        jobs: Runs trained side by side, with the cores divided between them.
        device: auto, cpu, cuda or mps.
        precision: auto (bfloat16 where the processor has it), float32 or bfloat16.
        threads: Of the CPU, for each job; 0 to divide the cores evenly.
        yes: Allow more than 1,000 runs.
        json: Print everything as JSON.
    """
    typed = settings.model_dump(include=settings.model_fields_set) if settings else {}
    if source is not None:
        typed["data"] = source
    if rename is not None:
        typed["rename"] = read_names(rename)
    wanted = {"data": "mnist5k", **(read_toml(config) if config else {}), **typed}
    if "fold" in wanted:
        raise ConfigError("fold must be left out: all folds are trained.")
    folds = int(wanted.pop("folds", None) or 5)
    build(TrainConfig, {**wanted, "folds": folds})  # what is wrong is said before a file is written
    file = lab.place(out, lab.study_text(wanted, folds, repeats))
    command.train_all(
        file, (), (), out, jobs=jobs, device=device, precision=precision, threads=threads, yes=yes
    )
    (arm,) = arms_of_study(studies.read(file, out, many=yes), out)
    runs = [run for run in arm.runs if isinstance(run, Pooled)]
    if not runs:
        raise ConfigError(
            f"crossval must finish all folds of a repeat to tell anything, got {arm.failed} failed."
        )
    found = lab.measure(runs)
    images = load_data(runs[0].config, runs[0].classes).whole
    assert images is not None
    kept = lab.write_out_of_fold(runs, images.files, out / lab.OUT_OF_FOLD)
    if json:
        terminal.write_json({"finding": lab.in_words(found), "file": str(kept), **asdict(found)})
        return
    _show(found, kept)
    if arm.failed or arm.missing:
        print(f"Not complete: {len(arm.failed)} runs failed, {arm.missing} are missing.")
    print(f"Page: siglum study report {file} --folder {out} -o {out / 'page.html'}")


def _show(found: lab.CrossVal, kept: Path) -> None:
    rows = []
    for one in found.classes:
        between = f"{100 * one.right.low:.0f} to {100 * one.right.high:.0f}"
        mistaken = f"{one.mistaken} ({one.times:.1f})" if one.mistaken else ""
        rows.append((one.name, one.pictures, one.right.hits, between, mistaken))
    head = ("class", "pictures", "right", "95 %", "most often taken for")
    terminal.show(terminal.table(head, rows))
    print(f"\n{lab.in_words(found)}")
    print(
        f"{found.repeats} repeats of {found.folds} folds; {found.accuracy.interval}; "
        f"loss {found.loss:.3f} nats"
    )
    if found.over_writers is not None:
        low, high = found.over_writers
        print(
            f"Drawn writer by writer ({found.writers}): {100 * low:.0f} to {100 * high:.0f} %, "
            "as far as these writers stand for others"
        )
    print(f"What each picture was read as: {kept}")
