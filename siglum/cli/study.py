"""`siglum study`.

What needs torch or matplotlib is imported where it is used: the process that starts the jobs needs
neither, and importing them would keep the jobs waiting.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from siglum.cli import terminal
from siglum.cli.loading import loading
from siglum.cli.terminal import Switch
from siglum.errors import ConfigError, RunError, nearest
from siglum.lab import studies
from siglum.lab.studies import Cell, Study

if TYPE_CHECKING:
    from siglum.lab.device import Device


def study(
    action: Literal["run", "status", "report"],
    file: Path,
    /,
    *,
    arm: tuple[str, ...] = (),
    seed: tuple[int, ...] = (),
    folder: Path = Path("runs/studies"),
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    jobs: int = 1,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    yes: Switch = False,
    json: Switch = False,
) -> None:
    """Run a study, say how far it is, or write its page.

    A study file holds a question, settings, arms and seeds; docs/studies.md explains it. Kill a
    study at any time and start it again: what is finished stays, what is not goes on. Several
    processes may work on one study, or on several that share runs.

    Example: siglum study run studies/encoder.toml --jobs 2

    Example: siglum study status studies/encoder.toml

    Example: siglum study report studies/encoder.toml -o encoder.html

    Args:
        action: run, status or report.
        file: The study, a TOML file.
        arm: Only this arm; may be given several times.
        seed: Only this seed; may be given several times.
        folder: Where the runs lie.
        out: The page, .html, .md or .json; STUDY.md beside the file by default.
        jobs: Runs trained side by side, with the cores divided between them.
        device: auto, cpu, cuda or mps.
        precision: auto (bfloat16 where the processor has it), float32 or bfloat16.
        threads: Of the CPU, for each job; 0 to divide the cores evenly.
        yes: Allow more than 1,000 runs.
        json: Print JSON.
    """
    if action == "report":
        _report(studies.read(file, folder, many=yes), file, folder, out)
        return
    if action == "run":
        train_all(
            file,
            arm,
            seed,
            folder,
            jobs=jobs,
            device=device,
            precision=precision,
            threads=threads,
            yes=yes,
        )
    if action == "status" or json:
        _status(studies.read(file, folder, many=yes), folder, json)


def train_all(
    file: Path,
    arms: tuple[str, ...],
    seeds: tuple[int, ...],
    folder: Path,
    *,
    jobs: int,
    device: str,
    precision: str,
    threads: int,
    yes: bool,
) -> None:
    """Train a study's runs, of some arms and seeds or all, in this process or in several.

    Raises:
        ConfigError: if the study, an arm, a seed or a number of jobs is wrong.
        RunError: if a job did not end well.
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, got {jobs}.")
    wanted = studies.read(file, folder, many=yes)
    cells = _chosen(wanted, arms, seeds)
    threads = threads or max(1, _cores() // jobs)
    if jobs > 1 and len(cells) > 1:
        flags = ["--folder", str(folder), "--device", device, "--precision", precision]
        flags += [f"--arm={name}" for name in arms] + [f"--seed={number}" for number in seeds]
        flags += ["--threads", str(threads)] + (["--yes"] if yes else [])
        _side_by_side(["study", "run", str(file), *flags], min(jobs, len(cells)))
        return
    from siglum.lab.device import choose_device

    _run(cells, wanted, folder, choose_device(device, precision, threads))


def _report(study: Study, file: Path, folder: Path, out: Path | None) -> None:
    from siglum.cli.compare import format_of
    from siglum.lab.compare import compare
    from siglum.lab.recipes.study import arms_of_study
    from siglum.report.comparison import About, write_comparison

    path = out or file.with_suffix(".md")
    format = format_of(path)
    about = About(
        title=study.name,
        question=study.question,
        hypotheses=study.hypotheses,
        answers=study.answers,
        note=study.note,
        command=f"siglum study run {file}",
    )
    write_comparison(compare(arms_of_study(study, folder), study.pairs), about, path, format)
    print(f"Page: {path}")


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _chosen(study: Study, arms: tuple[str, ...], seeds: tuple[int, ...]) -> list[Cell]:
    """Return the runs of the arms and seeds that were asked for, and their parents, first."""
    for name in arms:
        if name not in study.arms:
            raise ConfigError(
                f"arm must be one of {'; '.join(study.arms)}, got {name!r}."
                f"{nearest(name, study.arms)}"
            )
    for number in seeds:
        if number not in study.seeds:
            raise ConfigError(f"seed must be one of {list(study.seeds)}, got {number}.")
    return study.needed(arms, seeds)


def _run(cells: list[Cell], study: Study, folder: Path, machine: "Device") -> None:
    """Train in this process, a line for every run."""
    from siglum.cli.watching import Watcher
    from siglum.lab.recipes import study as recipe
    from siglum.lab.runs import Run
    from siglum.lab.trainer import Stopped

    with loading() as progress, Watcher(quiet=False) as watcher:

        def begin(cell: Cell, left: int) -> Watcher:
            watcher.restart()
            print(f"{cell.key}  {cell.name}  ({left} to go)", flush=True)
            return watcher

        try:
            recipe.run_study(cells, folder, machine, begin, progress)
        except Stopped:
            watcher.close()
            print(f"Stopped. Go on with the same command; the runs lie in {folder}.")
            raise KeyboardInterrupt from None
    failed = [cell for cell in cells if Run(folder / cell.key).failure is not None]
    print(f"{len(cells) - len(failed)} of {len(cells)} runs of {study.name} are finished.")
    for cell in failed:
        reason = terminal.printable(str(Run(folder / cell.key).failure))
        print(f"failed: {cell.key}  {cell.name}: {reason}")


def _side_by_side(arguments: list[str], jobs: int) -> None:
    """Let several processes of this command share the work.

    Raises:
        RunError: if one of them ends otherwise than well.
    """
    command = [sys.executable, "-m", "siglum", *arguments]
    workers = [subprocess.Popen(command) for _ in range(jobs)]

    def pass_on(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            worker.send_signal(number)

    before = {s: signal.signal(s, pass_on) for s in (signal.SIGINT, signal.SIGTERM)}
    codes = [worker.wait() for worker in workers]
    for number, handler in before.items():
        signal.signal(number, handler)
    if 130 in codes:
        raise KeyboardInterrupt
    if any(codes):
        raise RunError(
            f"every job must end well, got exit codes {codes}. What they said stands above; what "
            "is finished stays: give the same command again."
        )


def _status(study: Study, folder: Path, json: bool) -> None:
    from siglum.lab.recipes import study as recipe

    found = [(cell, recipe.state_of(cell, folder)) for cell in study.needed()]
    if json:
        rows = [
            {"arm": cell.arm, "seed": cell.seed, "run": str(folder / cell.key), "state": state}
            for cell, state in found
        ]
        terminal.write_json({"study": study.name, "runs": rows})
        return
    table = []
    for cell, state in found:
        run = None if state == "failed" else recipe.run_of(cell, folder)
        result = (run.result if run else None) or {}
        epochs = "" if run is None else f"{len(run.epochs)} of {run.config.epochs}"
        shares = [
            terminal.percent(result[part]["hits"] / result[part]["total"], 2)
            if part in result
            else ""
            for part in ("val", "test")
        ]
        table.append((cell.arm, cell.seed, cell.key, state, epochs, *shares))
    header = ("arm", "seed", "run", "state", "epochs", "validation", "test")
    terminal.show(terminal.table(header, table))
    counts = [f"{sum(s == state for _, s in found)} {state}" for state in ("finished", "failed")]
    print(f"{', '.join(counts)}, of {len(found)}")
