"""`siglum grade`: hand-ins of every kind become one table, whatever their code does."""

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

NETWORK = """
import os, sys, time
from torch import nn

class Part(nn.Linear):
    pass

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = Part(784, 3)

    def forward(self, x):
        {forward}
        return self.fc(x.flatten(1))
"""
HOG = "import numpy as np\nkeep = [np.empty(2**27) for _ in range(20)]"
LEFT = "if os.fork() == 0:\n    open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
SECRET = "assert 'SECRET' not in os.environ and os.path.samefile('.', os.path.dirname(__file__))"
CODES = {  # code at the file's end, code of forward, a part of the failure
    "alice": ("", "", ""),
    "child": (f"{SECRET}\nprint('x' * 5_000_000)\n{LEFT}", "print('y' * 1_000_000)", ""),
    "exits_at_once": ("os._exit(0)", "", "It ended without a result: exit code 0."),
    "fakes": ("os.write(1, b'5'); os._exit(0)", "", "not that of siglum evaluate."),
    "hog": (HOG, "", "MemoryError"),
    "raises": ("", "1 / 0", "ZeroDivisionError: division by zero"),
    "two": ("class Other(nn.Module):\n    pass", "", "networks: net.py:Net, net.py:Other. Name"),
}


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {f"fc.{name}": value for name, value in torch.nn.Linear(784, 3).state_dict().items()}


def hand_in(
    folder: Path, weights: dict[str, torch.Tensor], code: str = "", forward: str = ""
) -> None:
    folder.mkdir(parents=True)
    (folder / "net.py").write_text(NETWORK.format(forward=forward) + code + "\n")
    torch.save(weights, folder / "model.pth")


def is_alive(pid: str) -> bool:
    """A killed process may remain as a zombie."""
    state = Path("/proc") / pid / "stat"
    return state.exists() and ") Z " not in state.read_text()


def read(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_every_hand_in_has_a_row(
    siglum, later_signs: Path, run: Path, weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    folder = tmp_path / "hand-ins"
    for name, (code, forward, _) in CODES.items():
        hand_in(folder / name, weights, code, forward)
    shutil.copytree(run, folder / "run" / "digits")
    shutil.copy(folder / "alice" / "net.py", folder / "bob.py")
    copy = NETWORK.format(forward="").replace("Part(784", "parts.Part(784")
    (folder / "alice" / "net.py").write_text(f"import parts\n{copy}")
    (folder / "alice" / "parts.py").write_text("from torch import nn\nclass Part(nn.Linear): ...")
    (folder / "alice" / "train.py").write_text(f"{copy}\n1 / 0")
    torch.save(weights, folder / "bob.pt")
    for name in ("alice", "carol"):
        (folder / f"{name}.zip").touch()
    (folder / "dan").mkdir()
    hand_in(folder / "alice" / ".old", weights)
    flags = ("--test", later_signs, "--memory", 3)
    done = siglum("grade", folder, *flags, "-o", tmp_path / "marks.csv")
    hand_in(tmp_path / "endless" / "loop", weights, forward="while True: pass")
    siglum("grade", tmp_path / "endless", *flags, "-o", tmp_path / "loop.csv", "--timeout", 5)
    marks = read(tmp_path / "marks.csv")
    command = ("evaluate", folder / "bob.py", later_signs, "--weights", folder / "bob.pt")
    expected = siglum(*command)

    assert done.returncode == 0, done.stderr
    assert marks.keys() == {*CODES, "run", "bob", "carol", "dan"}
    for name, (_, _, failure) in CODES.items():
        assert failure in marks[name]["failure"], marks[name]
        assert bool(marks[name]["accuracy"]) == (not failure) == (not marks[name]["failure"])
    assert marks["alice"]["total"] == "30" and marks["alice"]["parameters"] == "2355"
    assert f"{marks['bob']['hits']} of 30" in expected.stdout
    assert float(marks["run"]["accuracy"]) > 0.9 and marks["run"]["parameters"] == "25395"
    for name in ("carol", "dan"):
        assert "must have one file of weights" in marks[name]["failure"]
    assert read(tmp_path / "loop.csv")["loop"]["failure"] == "It took longer than 5 s."
    assert "xxxx" not in done.stdout + done.stderr
    assert not is_alive((folder / "child" / "pid").read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_ctrl_c_ends_a_hand_in_and_leaves_marks(later_signs: Path, weights, tmp_path: Path) -> None:
    hand_in(tmp_path / "in" / "a", weights)
    code = "open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    hand_in(tmp_path / "in" / "b", weights, code)
    command = ["grade", tmp_path / "in", "--test", later_signs, "-o", tmp_path / "marks.csv"]
    with subprocess.Popen([sys.executable, "-m", "siglum", *map(str, command)]) as process:
        pid = tmp_path / "in" / "b" / "pid"
        while not pid.exists() or not pid.read_text():
            time.sleep(0.1)
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert [*read(tmp_path / "marks.csv")] == ["a"]
    assert not is_alive(pid.read_text())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("nowhere --test signs -o marks.csv", "nowhere must be a folder with a hand-in for each"),
        ("empty --test signs -o marks.csv", "empty must be a folder with a hand-in for each"),
        ("signs --test nowhere -o marks.csv", "'nowhere' does not exist."),
        ("signs --test signs -o marks.txt", "out must end in .csv, got marks.txt."),
        ("signs --test signs -o marks.csv --timeout 0", "timeout and memory must be above 0"),
        ("signs --test signs -o marks.csv --memory inf", "timeout and memory must be above 0"),
    ],
)
def test_a_mistake_is_one_line(
    siglum, signs: Path, tmp_path: Path, command: str, message: str
) -> None:
    (tmp_path / "signs").symlink_to(signs)
    (tmp_path / "empty").mkdir()
    done = siglum("grade", *command.split(), cwd=tmp_path)

    assert done.returncode == 2 and message in done.stderr
    assert not (tmp_path / "marks.csv").exists()
