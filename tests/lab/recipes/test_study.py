"""A study trains each of its runs once, and keeps what fails."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from siglum.errors import RunError
from siglum.lab import studies
from siglum.lab.device import Device
from siglum.lab.recipes import study as recipe
from siglum.lab.runs import Run
from siglum.lab.studies import Cell, Study
from siglum.lab.trainer import Stopped, Watch
from siglum.lab.training import Epoch, StepProgress

TEXT = """
seeds = [0, 1]
[base]
data = "folder:{signs}"
batch_size = 16
epochs = 2
[parents.first]
data = "folder:{signs}"
batch_size = 16
epochs = 2
[arms.scratch]
[arms.after]
init = "parents.first"
"""


@pytest.fixture
def study(tmp_path: Path, signs: Path) -> Study:
    """Two arms and a parent, of two seeds each; the parent is trained as scratch is."""
    file = tmp_path / "small.toml"
    file.write_text(TEXT.format(signs=signs))
    return studies.read(file, tmp_path / "runs")


def begun(names: list[str]) -> Callable[[Cell, int], Watch]:
    """Note what is trained."""

    def begin(cell: Cell, left: int) -> Watch:
        names.append(f"{cell.arm} {cell.seed}")
        return lambda _: None

    return begin


def test_each_run_is_trained_once(study: Study, tmp_path: Path, machine: Device) -> None:
    """The parent and the arm that trains alike are one run."""
    names: list[str] = []
    recipe.run_study(study.needed(), tmp_path / "runs", machine, begun(names))
    recipe.run_study(study.needed(), tmp_path / "runs", machine, begun(names))

    assert names == ["scratch 0", "scratch 1", "after 0", "after 1"]
    states = {recipe.state_of(cell, tmp_path / "runs") for cell in study.cells}
    assert states == {"finished"}
    arms = recipe.arms_of_study(study, tmp_path / "runs")
    assert [(arm.name, len(arm.runs), arm.missing) for arm in arms] == [
        ("scratch", 2, 0),
        ("after", 2, 0),
    ]


def test_a_stopped_run_goes_on(study: Study, tmp_path: Path, machine: Device) -> None:
    cell = study.needed(["scratch"], [0])[0]

    def stop(record: StepProgress | Epoch) -> bool:
        return isinstance(record, Epoch)

    with pytest.raises(Stopped):
        recipe.run_study([cell], tmp_path / "runs", machine, lambda *_: stop)
    assert recipe.state_of(cell, tmp_path / "runs") == "stopped"
    recipe.run_study([cell], tmp_path / "runs", machine, begun([]))

    assert len(Run(tmp_path / "runs" / cell.key).epochs) == 2


def test_a_run_that_another_process_trains_is_left_to_it(
    study: Study, tmp_path: Path, machine: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are trained meanwhile; when the lock is gone, so is the wait."""
    first, second = study.needed(["scratch"])
    folder, names = tmp_path / "runs", list[str]()
    (folder / "locks").mkdir(parents=True)
    other = FileLock(folder / "locks" / f"{first.key}.lock")
    other.acquire()
    assert recipe.state_of(first, folder) == "training"
    monkeypatch.setattr("time.sleep", lambda _: other.release())
    recipe.run_study([first, second], folder, machine, begun(names))

    assert names == ["scratch 1", "scratch 0"]


def test_a_lock_of_a_killed_process_is_no_lock(
    study: Study, tmp_path: Path, machine: Device
) -> None:
    cell = study.needed(["scratch"], [0])[0]
    folder = tmp_path / "runs"
    (folder / "locks").mkdir(parents=True)
    if (child := os.fork()) == 0:
        FileLock(folder / "locks" / f"{cell.key}.lock").acquire()
        os._exit(1)
    os.waitpid(child, 0)

    assert (folder / "locks" / f"{cell.key}.lock").exists()
    assert recipe.state_of(cell, folder) == "waiting"
    recipe.run_study([cell], folder, machine, begun([]))
    assert recipe.state_of(cell, folder) == "finished"


def test_a_folder_that_was_killed_before_it_was_a_run_is_begun_anew(
    study: Study, tmp_path: Path, machine: Device
) -> None:
    cell = study.needed(["scratch"], [0])[0]
    (tmp_path / "runs" / cell.key).mkdir(parents=True)
    (tmp_path / "runs" / cell.key / "env.json").write_text("{}")
    recipe.run_study([cell], tmp_path / "runs", machine, begun([]))

    assert recipe.state_of(cell, tmp_path / "runs") == "finished"


@pytest.fixture
def diverging(tmp_path: Path, signs: Path) -> Study:
    """An arm whose rate makes the loss no number, beside one that learns."""
    file = tmp_path / "small.toml"
    text = TEXT.format(signs=signs).replace("seeds = [0, 1]", "seeds = [0]")
    text += '[arms.wild]\nlr = 1e30\nmodel = "mnist_net"\n[parents.wild]\nlr = 1e30\n'
    text += f'data = "folder:{signs}"\nbatch_size = 16\nepochs = 2\n'
    text += 'model = "mnist_net"\n[arms.child]\ninit = "parents.wild"\nmodel = "mnist_net"'
    file.write_text(text)
    return studies.read(file, tmp_path / "runs")


def test_a_diverged_run_stays_as_failed(diverging: Study, tmp_path: Path, machine: Device) -> None:
    folder, names = tmp_path / "runs", list[str]()
    cells = diverging.needed(["wild", "scratch"])
    recipe.run_study(cells, folder, machine, begun(names))
    recipe.run_study(cells, folder, machine, begun(names))

    assert names == ["scratch 0", "wild 0"]
    scratch, _, wild, _ = recipe.arms_of_study(diverging, folder)
    assert len(scratch.runs) == 1 and not scratch.failed
    ((seed, reason),) = wild.failed
    assert seed == 0 and reason.startswith("the loss must stay a finite number, got ")
    assert (len(wild.runs), wild.missing) == (0, 0)


def test_a_failed_parent_is_said(diverging: Study, tmp_path: Path, machine: Device) -> None:
    with pytest.raises(RunError, match="child must begin with .*, which failed: the loss"):
        recipe.run_study(diverging.needed(["child"]), tmp_path / "runs", machine, begun([]))
