"""`siglum study` as a user calls it: run by several jobs, killed, listed, reported."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

TEXT = """
question = "Does beginning with another run help?"
seeds = [0, 1]
[base]
data = "folder:{signs}"
test = "folder:{later}"
batch_size = 8
epochs = {epochs}
[parents.first]
data = "folder:{signs}"
batch_size = 8
epochs = {epochs}
lr = 0.05
[variants.scratch]
[variants."after <b>first</b>"]
init = "parents.first"
[variants.mild]
lr = 0.02
[published.scratch]
test = 0.9
"""

SPEED = {"seconds_per_epoch": None, "straggler": None}  # differs from run to run
FLAGS = ("--threads", "1", "--precision", "float32")


def write(folder: Path, signs: Path, later: Path, epochs: int = 6) -> Path:
    file = folder / "beginning.toml"
    file.write_text(TEXT.format(signs=signs, later=later, epochs=epochs))
    return file


@pytest.fixture(scope="module")
def done(siglum, signs: Path, later_signs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that was run by two jobs."""
    folder = tmp_path_factory.mktemp("study")
    file = write(folder, signs, later_signs)
    ran = siglum("study", "run", file, "--folder", folder / "runs", "--jobs", 2, *FLAGS)
    assert ran.returncode == 0, ran.stderr
    return folder


def table(siglum, folder: Path) -> list[dict[str, str]]:
    done = siglum("study", "list", folder / "beginning.toml", "--folder", folder / "runs", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["runs"]
    return [{**row, **SPEED, "run": Path(row["run"]).name} for row in rows]


def test_list_tells_what_is_finished_and_what_another_process_trains(
    siglum, done: Path, signs: Path, later_signs: Path, tmp_path: Path
) -> None:
    rows, folders = table(siglum, done), {path.name for path in (done / "runs").iterdir()}
    assert len(rows) == 8 and folders == {"locks", *(row["run"] for row in rows)}
    listed = siglum("study", "list", done / "beginning.toml", "--folder", done / "runs")
    assert "8 finished, 0 failed, of 8" in listed.stdout and "6 of 6" in listed.stdout

    file = write(tmp_path, signs, later_signs, epochs=1)
    key = table(siglum, tmp_path)[0]["run"]
    (tmp_path / "runs" / "locks").mkdir(parents=True)
    with FileLock(tmp_path / "runs" / "locks" / f"{key}.lock"):
        listed = siglum("study", "list", file, "--folder", tmp_path / "runs")
    assert "training" in next(line for line in listed.stdout.splitlines() if key in line)


def test_report_goes_into_the_runs_folder_and_tells_what_is_missing(
    siglum, done: Path, signs: Path, later_signs: Path, tmp_path: Path
) -> None:
    """A committed page beside the study is never overwritten by a report of fewer runs."""
    file = write(tmp_path, signs, later_signs)
    file.write_text(file.read_text().replace("seeds = [0, 1]", "seeds = [0, 1, 2]"))
    before = sorted(tmp_path.iterdir())
    written = siglum("study", "report", file, "--folder", done / "runs")
    page = done / "runs" / "beginning.html"

    assert written.returncode == 0, written.stderr
    assert written.stdout == f"Report: {page}\n" and sorted(tmp_path.iterdir()) == before
    html = page.read_text().replace("\N{NO-BREAK SPACE}", " ")
    page.unlink()
    assert "not finished; the results rest on the others" in html
    assert "Does beginning with another run help?" in html and "<b>first</b>" not in html
    refused = siglum("study", "report", file, "--folder", done / "runs", "-o", "page.md")
    assert "--out must end in .html, .json, .csv, got 'page.md'." in refused.stderr


def kill_study(file: Path, folder: Path, text: str) -> None:
    """Run a study, and kill it when it prints a line with `text`."""
    command = [sys.executable, "-m", "siglum", "study", "run", str(file), *FLAGS]
    command += ["--folder", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if text in line)
        process.kill()


def test_a_killed_search_resumes_with_the_same_trials(siglum, signs: Path, tmp_path: Path) -> None:
    file, folders = tmp_path / "search.toml", (tmp_path / "killed", tmp_path / "whole")
    file.write_text(
        f'[base]\ndata = "folder:{signs}"\nmodel = "mnist_net"\nbatch_size = 8\nval = 0.3\n'
        '[search]\nstrategy = "round-robin"\ntrials = 6\n[search.dimensions]\n'
        "epochs = [1, 2]\nlr = [0.01, 0.1]\nmodel_options.filters = [2, 5]"
    )
    kill_study(file, folders[0], "  3: ")
    listed = siglum("study", "list", file, "--folder", folders[0])
    assert "best by validation" in listed.stdout and "3: " in listed.stdout.split("next")[1]
    tables = []
    for folder, jobs in zip(folders, (2, 1), strict=True):
        ran = siglum("study", "run", file, "--folder", folder, "--jobs", jobs, *FLAGS)
        assert ran.returncode == 0, ran.stderr
        done = siglum("study", "list", file, "--folder", folder, "--json")
        tables.append(json.loads(done.stdout.replace(str(folder), "")))
        tables[-1]["runs"] = [{**row, **SPEED} for row in tables[-1]["runs"]]

    assert tables[0] == tables[1] and tables[0]["next"] == []
    accuracies = {row["variant"]: row["validation"] for row in tables[0]["runs"]}
    assert len(accuracies) == 5  # the second pass improves nothing
    assert f"{tables[0]['best']}, seed 0" == max(accuracies, key=accuracies.__getitem__)


def test_a_killed_search_by_optuna_resumes_with_the_same_trials_and_two_jobs_share_it(
    siglum, signs: Path, tmp_path: Path
) -> None:
    optuna = pytest.importorskip("optuna", reason="Optuna is missing: pip install '.[search]'")
    file, folders = tmp_path / "search.toml", (tmp_path / "killed", tmp_path / "whole")
    file.write_text(
        f'[base]\ndata = "folder:{signs}"\nmodel = "mnist_net"\nbatch_size = 8\nval = 0.3\n'
        'epochs = 3\n[search]\nstrategy = "tpe"\ntrials = 8\nprune = true\n'
        "[search.dimensions]\nlr = {low = 1e-4, high = 1.0, log = true}\n"
        'model_options.filters = {low = 2, high = 6, step = 2}\naugment = [[], ["affine"]]'
    )

    def listed(folder: Path) -> list[dict[str, str]]:
        done = siglum("study", "list", file, "--folder", folder, "--json")
        rows = json.loads(done.stdout.replace(str(folder), ""))["runs"]
        return [{**row, **SPEED} for row in rows]

    assert listed(folders[0]) == []
    early = siglum("study", "run", file, "--folder", folders[0], "--seed", 0)
    assert early.returncode == 2 and "seed chooses runs of trials" in early.stderr
    kill_study(file, folders[0], "  7: ")
    before = listed(folders[0])
    assert [row["state"] for row in before] == [row["state"] for row in listed(folders[0])]
    assert len(before) == 7 and before[6]["state"] in ("waiting", "stopped")
    for folder in folders:
        ran = siglum("study", "run", file, "--folder", folder, *FLAGS)
        assert ran.returncode == 0, ran.stderr
    assert listed(folders[0]) == listed(folders[1])
    file.write_text(file.read_text().replace("trials = 8", "trials = 10"))
    ran = siglum("study", "run", file, "--folder", folders[0], "--jobs", 2, *FLAGS)
    assert ran.returncode == 0, ran.stderr

    rows = listed(folders[0])
    pruned = [row for row in rows if row["state"] == "pruned"]
    assert len(rows) == 10 and rows[:8] == listed(folders[1])
    assert pruned and all(row["epochs"] in ("1 of 3", "2 of 3") for row in pruned)
    search = optuna.load_study(study_name=None, storage=f"sqlite:///{folders[0]}/optuna.db")
    assert [trial.state.name for trial in search.trials] == [
        "PRUNED" if row["state"] == "pruned" else "COMPLETE" for row in rows
    ]
    assert siglum("study", "report", file, "--folder", folders[0]).returncode == 0
    file.write_text(file.read_text().replace("low = 1e-4", "low = 2"))
    refused = siglum("study", "list", file, "--folder", folders[0])
    assert refused.returncode == 2 and "lr must be a valid range: `low <= high`" in refused.stderr


@pytest.mark.slow
def test_killed_at_random_moments_it_comes_to_the_same_table(
    siglum, done: Path, signs: Path, later_signs: Path, tmp_path: Path
) -> None:
    """Killed -9 three times, often within a training; every run equal byte for byte at the end."""
    file = write(tmp_path, signs, later_signs)
    command = [sys.executable, "-m", "siglum", "study", "run", str(file)]
    command += ["--folder", str(tmp_path / "runs"), *FLAGS]
    chance = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        if chance.random() < 0.8:
            process.stdout.readline()  # says which run begins
        time.sleep(chance.uniform(0, 0.5))
        process.kill()
        process.communicate()
    last = siglum("study", "run", file, "--folder", tmp_path / "runs", *FLAGS)
    assert last.returncode == 0, last.stderr

    assert table(siglum, tmp_path) == table(siglum, done)
    for row in table(siglum, done):
        for name in ("last.safetensors", "predictions.npz"):
            ours, theirs = (folder / "runs" / row["run"] / name for folder in (tmp_path, done))
            assert ours.read_bytes() == theirs.read_bytes(), (row, name)
