"""The ledger through kills, full disks and any order of changes."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from keeping import SHOWN, in_state, on_disk

from siglum.errors import DataError
from siglum.images import samples
from siglum.studio.changes import (
    AddClass,
    DeleteClass,
    MergeClass,
    MoveDrawings,
    RemoveDrawings,
    RenameClass,
)
from siglum.studio.ledger import Ledger

FULL = """
import pathlib, resource, signal, sys
from siglum.errors import DataError
from siglum.images.strokes import parse
from siglum.studio.changes import AddClass
from siglum.studio.ledger import Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
shown = parse({"version": 1, "aspect": 1, "strokes": [[[0.2, 0.2, 0, 0.5], [0.8, 0.7, 9, 0.5]]]})
with Ledger(pathlib.Path(sys.argv[1])) as ledger:
    ledger.record(AddClass("a"))
    kept = ledger.draw(shown, "a")
    size = (pathlib.Path(sys.argv[1]) / "ledger.jsonl").stat().st_size
    for limit in (size + 20, 100):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        for change in (lambda: ledger.record(AddClass("b" * 50)), lambda: ledger.draw(shown, "a")):
            try:
                change()
            except DataError as error:
                print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ledger.record(AddClass("c"))
    print(ledger.state.classes == ("a", "c"), list(ledger.state.drawings) == [kept])
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit of file sizes here")
def test_a_full_disk_is_told_and_leaves_the_ledger_whole(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    *told, good = done.stdout.splitlines()
    assert len(told) == 4 and good == "True True"
    assert all(str(tmp_path) in line and "Make room, or choose another." in line for line in told)
    with Ledger(tmp_path) as ledger:
        assert ledger.state.classes == ("a", "c") and len(ledger.state.drawings) == 1
        assert on_disk(tmp_path) == in_state(ledger.state)


WRITERS = """
import os, pathlib, random, sys
from siglum.images.strokes import parse
from siglum.studio.changes import AddClass, MoveDrawings, RemoveDrawings
from siglum.studio.ledger import Ledger
shown = parse({"version": 1, "aspect": 1, "strokes": [[[0.2, 0.2, 0, 0.5], [0.8, 0.7, 9, 0.5]]]})
def tell(*words):
    print(*words, flush=True)
def write():
    ledger = Ledger(pathlib.Path(sys.argv[1]))
    for name in ("O", "o"):
        if name not in ledger.state.classes:
            ledger.record(AddClass(name))
    tell("begun", os.getpid())
    while True:
        name = ledger.draw(shown, "O", "ada")
        tell("drawn", name)
        if random.random() < 0.4:
            ledger.record(MoveDrawings((name,), "o"))
            tell("moved", name)
        if random.random() < 0.2:
            ledger.record(RemoveDrawings((name,)))
            tell("removed", name)
for line in sys.stdin:
    child = os.fork()
    if not child:
        write()
    os.waitpid(child, 0)
    tell("killed", child)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes that fork here")
def test_nothing_that_was_told_is_lost_by_twenty_kills(tmp_path: Path) -> None:
    told: dict[str, str] = {}
    random = np.random.RandomState(0)
    with subprocess.Popen(
        [sys.executable, "-c", WRITERS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        for _ in range(20):
            process.stdin.write("\n")
            process.stdin.flush()
            word, child = process.stdout.readline().split()
            assert word == "begun"
            waiting = int(random.randint(1, 6))
            for line in process.stdout:
                word, name = line.split()
                if word == "killed":
                    break
                told[name] = word
                waiting -= 1
                if waiting == 0:
                    time.sleep(random.uniform(0, 0.02))
                    os.kill(int(child), signal.SIGKILL)
        process.stdin.close()

    with Ledger(tmp_path) as ledger:
        kept = in_state(ledger.state)
        assert on_disk(tmp_path) == kept
        for name in ledger.state.drawings:
            assert samples.read(ledger.path(name)).writer == "ada"
    assert len(told) > 20
    unsaid = 0  # one change at each kill may have been written and not told of
    for name, word in told.items():
        expected = {"drawn": ("O", "taught"), "moved": ("o", "taught"), "removed": None}[word]
        unsaid += kept.get(name) != expected
    assert unsaid + len(kept.keys() - told.keys()) <= 20
    missing = [name for name in told if name not in kept and told[name] != "removed"]
    removed = {path.stem for path in (tmp_path / "removed").glob("*.json")}
    assert set(missing) <= removed and len(missing) <= 20


NAMES = st.sampled_from(["o", "O", "α", "a/b"])
PLACES = st.integers(0, 5)
Model = tuple[tuple[str, ...], dict[str, tuple[str, str]]]


class Device(RuleBasedStateMachine):
    """A ledger beside a list of all states there were, in which undo and redo step."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(os.environ["SIGLUM_CACHE"]) / os.urandom(8).hex()
        self.ledger = Ledger(self.folder)
        self.past: list[Model] = [((), {})]
        self.future: list[Model] = []
        self.keys: list[str] = []

    @property
    def now(self) -> Model:
        return self.past[-1]

    def change(self, change: Any, fits: bool, model: Any) -> None:
        """Make a change where it fits, and see it refused where it does not."""
        if not fits:
            with pytest.raises(DataError):
                self.ledger.record(change)
            return
        self.ledger.record(change)
        self.past.append(model())
        self.future = []

    @rule(name=NAMES)
    def add_class(self, name: str) -> None:
        classes, drawings = self.now
        self.change(AddClass(name), name not in classes, lambda: ((*classes, name), drawings))

    @rule(name=NAMES, to=NAMES)
    def rename_class(self, name: str, to: str) -> None:
        classes, drawings = self.now
        self.change(
            RenameClass(name, to),
            name in classes and to not in classes,
            lambda: (
                tuple(to if one == name else one for one in classes),
                {d: (to if c == name else c, p) for d, (c, p) in drawings.items()},
            ),
        )

    @rule(name=NAMES, into=NAMES)
    def merge_class(self, name: str, into: str) -> None:
        classes, drawings = self.now
        self.change(
            MergeClass(name, into),
            name in classes and into in classes and name != into,
            lambda: (
                tuple(one for one in classes if one != name),
                {d: (into if c == name else c, p) for d, (c, p) in drawings.items()},
            ),
        )

    @rule(name=NAMES)
    def delete_class(self, name: str) -> None:
        classes, drawings = self.now
        self.change(
            DeleteClass(name),
            name in classes,
            lambda: (
                tuple(one for one in classes if one != name),
                {d: (c, p) for d, (c, p) in drawings.items() if c != name},
            ),
        )

    @rule(name=NAMES, part=st.sampled_from(["taught", "quiz"]))
    def draw(self, name: str, part: str) -> None:
        classes, drawings = self.now
        if name not in classes:
            with pytest.raises(DataError):
                self.ledger.draw(SHOWN, name, "ada", part)
            return
        key = f"{len(self.keys):016x}"
        self.keys.append(key)
        assert self.ledger.draw(SHOWN, name, "ada", part, name=key) == key
        self.past.append((classes, drawings | {key: (name, part)}))
        self.future = []

    @rule(name=NAMES, part=st.sampled_from(["taught", "quiz"]))
    def draw_after_half_was_written(self, name: str, part: str) -> None:
        """Killed between a picture and its JSON; who had no answer sends it again."""
        if name in self.now[0]:
            half = samples.stem(self.folder, part, name, f"{len(self.keys):016x}")
            half.parent.mkdir(parents=True, exist_ok=True)
            half.with_suffix(".png").write_bytes(b"half")
            self.reopen()
        self.draw(name, part)

    @rule(place=PLACES, name=NAMES)
    def send_again(self, place: int, name: str) -> None:
        """What was kept once, and may have been removed since, is not kept again."""
        if self.keys:
            key = self.keys[place % len(self.keys)]
            assert self.ledger.draw(SHOWN, name, "ada", name=key) == key

    @rule(place=PLACES, to=NAMES)
    def move_drawing(self, place: int, to: str) -> None:
        classes, drawings = self.now
        name = [*drawings, "0" * 16][min(place, len(drawings))]
        self.change(
            MoveDrawings((name,), to),
            name in drawings and to in classes,
            lambda: (classes, drawings | {name: (to, drawings[name][1])}),
        )

    @rule(place=PLACES)
    def remove_drawing(self, place: int) -> None:
        classes, drawings = self.now
        name = [*drawings, "0" * 16][min(place, len(drawings))]
        self.change(
            RemoveDrawings((name,)),
            name in drawings,
            lambda: (classes, {d: entry for d, entry in drawings.items() if d != name}),
        )

    @rule()
    def undo(self) -> None:
        if len(self.past) == 1:
            with pytest.raises(DataError, match="^undo must have a change to undo"):
                self.ledger.undo()
            return
        self.ledger.undo()
        self.future.append(self.past.pop())

    @rule()
    def redo(self) -> None:
        if not self.future:
            with pytest.raises(DataError, match="^redo must have a change to redo"):
                self.ledger.redo()
            return
        self.ledger.redo()
        self.past.append(self.future.pop())

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.folder)

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        state, (classes, drawings) = self.ledger.state, self.now
        assert state.classes == classes
        assert list(in_state(state).items()) == list(drawings.items())

    @invariant()
    def the_folders_say_what_the_ledger_says(self) -> None:
        pictures = [path.stem for path in self.folder.glob("[sq]*/*/*.png")]
        assert sorted(pictures) == sorted(self.now[1])
        assert on_disk(self.folder) == self.now[1]

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)


TestMachine = Device.TestCase
TestMachine.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
