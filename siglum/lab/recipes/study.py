"""Train what a study asks for: each run once, whoever else is at work on it.

A run's lock is taken before it is looked at, so that what is found unfinished then is nobody's: a
process that was killed left it, and it is gone on with from where it was.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from siglum.errors import RunError
from siglum.images.cache import Progress as LoadProgress
from siglum.images.cache import no_progress
from siglum.lab.arms import Arm
from siglum.lab.device import Device
from siglum.lab.pooled import Finished, Pooled
from siglum.lab.runs import Run
from siglum.lab.studies import Cell, Study
from siglum.lab.trainer import Watch, resume, train
from siglum.lab.training import DivergedError

LOCKS = "locks"
POLL_SECONDS = 1.0  # between two looks at runs that others train

State = Literal["waiting", "training", "stopped", "finished", "failed"]


def state_of(cell: Cell, folder: Path) -> State:
    """Say how far a run is."""
    run = run_of(cell, folder)
    if run is not None and run.result is not None:
        return "finished"
    if run is not None and run.failure is not None:
        return "failed"
    lock = _lock(cell, folder)
    if not Path(lock.lock_file).exists():
        return "waiting" if run is None else "stopped"
    try:
        with lock.acquire(timeout=0):
            return "waiting" if run_of(cell, folder) is None else "stopped"
    except Timeout:
        return "training"


def run_study(
    cells: Sequence[Cell],
    folder: Path,
    machine: Device,
    begin: Callable[[Cell, int], Watch],
    progress: LoadProgress = no_progress,
) -> None:
    """Train every one of `cells` that is not finished, parents first; wait for those of others.

    Args:
        begin: called with a run that is about to be trained and the number of those that are
            left; returns what watches it.

    Raises:
        RunError: if a parent has failed.
        Stopped: if a watcher asked for it.
    """
    (folder / LOCKS).mkdir(parents=True, exist_ok=True)
    left = list(cells)
    while left:
        before = len(left)
        for cell in tuple(left):
            if not _done(cell, folder):
                if not _ready(cell, folder):
                    continue
                if not _train(cell, folder, machine, partial(begin, cell, len(left)), progress):
                    continue
            left.remove(cell)
        if len(left) == before:
            time.sleep(POLL_SECONDS)


def _train(
    cell: Cell,
    folder: Path,
    machine: Device,
    begin: Callable[[], Watch],
    progress: LoadProgress,
) -> bool:
    """Train one run to its end; False if another process holds it."""
    path = folder / cell.key
    try:
        with _lock(cell, folder).acquire(timeout=0):
            if _done(cell, folder):
                return True
            run = run_of(cell, folder)
            try:
                if run is not None:
                    resume(run, machine, begin(), progress)
                else:
                    if path.exists():  # killed before it was a run
                        shutil.rmtree(path)
                    train(cell.config, path, machine, begin(), progress)
            except DivergedError as error:
                Run(path).fail(str(error))
            return True
    except Timeout:
        return False


def arms_of_study(study: Study, folder: Path) -> list[Arm]:
    """Return what there is to compare: finished runs by arm, and what failed or is missing.

    The runs of a seed's folds count as one run, once all of them are finished.
    """
    arms = []
    for name in study.arms:
        done: list[Finished] = []
        failed, missing = [], 0
        for seed in study.seeds:
            cells = [cell for cell in study.cells if (cell.arm, cell.seed) == (name, seed)]
            states = [(cell, state_of(cell, folder)) for cell in cells]
            runs = tuple(Run(folder / cell.key) for cell, state in states if state == "finished")
            reasons = [Run(folder / cell.key).failure or "" for cell, s in states if s == "failed"]
            failed += [(seed, reason) for reason in reasons]
            missing += len(cells) - len(runs) - len(reasons)
            if len(runs) == len(cells):
                done.append(Pooled(runs) if len(runs) > 1 else runs[0])
        arms.append(
            Arm(
                name=name,
                runs=tuple(done),
                failed=tuple(failed),
                missing=missing,
                published=study.published.get(name, {}),
                levels=study.levels[name],
            )
        )
    return arms


def _done(cell: Cell, folder: Path) -> bool:
    run = run_of(cell, folder)
    return run is not None and (run.result is not None or run.failure is not None)


def _ready(cell: Cell, folder: Path) -> bool:
    """Say whether the run that this one begins with is finished."""
    if cell.parent is None:
        return True
    parent = run_of(cell.parent, folder)
    if parent is not None and parent.failure is not None:
        raise RunError(
            f"{cell.arm} must begin with {parent.path}, which failed: {parent.failure} "
            "Change the parent's settings."
        )
    return parent is not None and parent.result is not None


def run_of(cell: Cell, folder: Path) -> Run | None:
    """Return what there is of a run; None before its first setting is on disk."""
    try:
        return Run(folder / cell.key)
    except RunError:
        return None


def _lock(cell: Cell, folder: Path) -> FileLock:
    return FileLock(folder / LOCKS / f"{cell.key}.lock")
