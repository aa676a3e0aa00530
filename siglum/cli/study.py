"""`siglum study`."""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Literal

from siglum.cli.options import Device, Json, Out, Precision, Threads
from siglum.cli.output import print_json, print_table
from siglum.cli.progress import training_bar
from siglum.errors import ConfigError
from siglum.formatting import printable
from siglum.lab.compare import compare_runs
from siglum.lab.device import CORES, choose_device
from siglum.lab.study import Cell, collect, read_study, run_cells
from siglum.lab.trainer import Stopped, Watch


def study(
    action: Literal["run", "list", "report"],
    file: Path,
    /,
    *,
    variant: tuple[str, ...] = (),
    seed: tuple[int, ...] = (),
    folder: Path = Path("runs/studies"),
    out: Out = None,
    jobs: int = 1,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Run a study, list its runs, or write its report.

    A study that was stopped or killed resumes with the same command. Several processes may work
    on one study, or on several that share runs. docs/studies.md explains study files.

    Example: siglum study run studies/encoder.toml --jobs 2
    Example: siglum study list studies/encoder.toml
    Example: siglum study report studies/encoder.toml -o encoder.html

    Args:
        action: run, list or report.
        file: The study, a TOML file.
        variant: Only this variant; may be repeated.
        seed: Only this seed; may be repeated.
        folder: The folder of the runs.
        out: The report, .html, .json or .csv; FOLDER/STUDY.html by default.
        jobs: Processes that train side by side and share the cores.
        threads: CPU threads of each job; 0 to share the cores evenly.
    """
    wanted = read_study(file, folder)
    cells = wanted.select(variant, seed)
    if action == "report":
        from siglum.report.compare import write_comparison

        path = out or folder / f"{wanted.name}.html"
        comparison = compare_runs(collect(wanted), wanted.file.pairs)
        write_comparison(comparison, path, wanted.name, wanted.file, f"siglum study run {file}")
        print(f"Report: {path}")
        return
    if action == "run":
        if jobs < 1:
            raise ConfigError(f"jobs must be at least 1, got {jobs}.")
        jobs = min(jobs, len(cells))
        work = (cells, device, precision, threads or max(1, CORES // jobs))
        if jobs == 1:
            finished = _train(*work)
        else:  # every worker walks through all runs; their locks share them out
            with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
                futures = [pool.submit(_train, *work, os.getpid()) for _ in range(jobs)]
            finished = all(future.result() for future in futures)
        if not finished:
            print(f"Stopped. Resume with the same command; the runs are in {folder}.")
            raise KeyboardInterrupt
    rows = []
    for cell in cells:
        run, state = cell.run, cell.state
        progress = (run.failure or f"{len(run.history)} of {run.config.epochs}") if run else ""
        rows.append((cell.name, str(cell.path), state, progress))
    columns = ("variant", "run", "state", "epochs")
    if json:
        runs = [dict(zip(columns, row, strict=True)) for row in rows]
        print_json({"study": wanted.name, "runs": runs})
        return
    print_table(columns, rows)
    states = [state for _, _, state, _ in rows]
    print(f"{states.count('finished')} finished, {states.count('failed')} failed, of {len(states)}")


def _train(
    cells: Sequence[Cell], device: str, precision: str, threads: int, parent: int | None = None
) -> bool:
    """Train the runs in this process; return False if stopped."""
    with training_bar(quiet=False) as bar:

        def start(cell: Cell, remaining: int) -> Watch:
            print(printable(f"{cell.path.name}  {cell.name}  ({remaining} to go)"), flush=True)
            # A worker whose parent was killed saves its state and stops.
            return lambda record: bar.watch(record) or parent not in (None, os.getppid())

        try:
            run_cells(cells, choose_device(device, precision, threads), start, bar.load)
        except Stopped:
            return False
    return True
