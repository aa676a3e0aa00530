"""The ledger on disk: kept through kills, one process at a time, and the files follow it."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from siglum import images
from siglum.errors import DataError
from siglum.images import samples
from siglum.images.samples import Sample
from siglum.images.strokes import Drawing, parse
from siglum.studio.changes import (
    AddClass,
    DeleteClass,
    MergeClass,
    MoveDrawing,
    RemoveDrawing,
    RenameClass,
    State,
)
from siglum.studio.ledger import Ledger

SHOWN = parse({"version": 1, "aspect": 1, "strokes": [[[0.2, 0.2, 0, 0.5], [0.8, 0.7, 9, 0.5]]]})


def begun(folder: Path, *names: str) -> Ledger:
    ledger = Ledger(folder)
    for name in names:
        ledger.record(AddClass(name))
    return ledger


def on_disk(folder: Path) -> dict[str, tuple[str, str]]:
    """Class and part of every drawing that a reader of the folders would find."""
    return {
        found.path.name: (found.class_name, found.part)
        for found in samples.find(folder)
        if found.class_name is not None and found.part is not None
    }


def in_state(state: State) -> dict[str, tuple[str, str]]:
    return {name: (entry.class_name, entry.part) for name, entry in state.drawings.items()}


def refuses(message: str) -> Any:
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


def test_what_was_recorded_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    with begun(tmp_path / "my-signs", "O", "o") as ledger:
        first = ledger.draw(SHOWN, "O", "ada")
        second = ledger.draw(SHOWN, "o", "bob", "quiz")
        before = ledger.state
        assert before.classes == ("O", "o") and list(before.drawings) == [first, second]

    with Ledger(tmp_path / "my-signs") as ledger:
        assert ledger.state == before
        assert list(ledger.state.drawings) == [first, second]
        assert samples.read(ledger.path(first)).writer == "ada"
        with refuses("drawing must be one that counts, got '../../x'."):
            ledger.path("../../x")


def test_every_command_reads_what_the_ledger_says(tmp_path: Path) -> None:
    with begun(tmp_path, "O", "o", "<img src=x>") as ledger:
        for number in range(3):
            ledger.draw(SHOWN, "O", f"w{number}")
        moved, gone = ledger.draw(SHOWN, "o", "w3"), ledger.draw(SHOWN, "o", "w4")
        ledger.record(RenameClass("O", "Omega / Ω"))
        ledger.record(MoveDrawing(moved, "<img src=x>"))
        ledger.record(RemoveDrawing(gone))
        ledger.draw(SHOWN, "o", "w5", "quiz")

    found = images.load(f"folder:{tmp_path}")

    assert found.classes == ("<img src=x>", "Omega / Ω")
    assert sorted(found.writers or ()) == ["w0", "w1", "w2", "w3"]
    assert images.load(f"folder:{tmp_path}", "test").classes == ("o",)
    assert sorted(path.name for path in (tmp_path / "removed").iterdir()) == [
        f"{gone}.json",
        f"{gone}.png",
    ]


def test_a_deleted_class_comes_back_with_its_drawings(tmp_path: Path) -> None:
    with begun(tmp_path, "a", "b") as ledger:
        names = [ledger.draw(SHOWN, name) for name in "aba"]
        before = ledger.state
        ledger.record(DeleteClass("a"))
        assert on_disk(tmp_path) == {names[1]: ("b", "taught")}

        assert ledger.undo() == DeleteClass("a")

        assert ledger.state == before and on_disk(tmp_path) == in_state(before)
        assert ledger.redo() == DeleteClass("a")
        assert on_disk(tmp_path) == {names[1]: ("b", "taught")}
        with refuses("redo must have a change to redo, got none."):
            ledger.redo()


def test_each_session_undoes_its_own(tmp_path: Path) -> None:
    with begun(tmp_path) as ledger:
        ledger.record(AddClass("a"), session="one")
        ledger.record(AddClass("b"), session="two")
        drawn = ledger.draw(SHOWN, "a", session="two")

        with refuses(
            "undo must leave later changes as they are, got line 3 (add drawing): "
            "class must be one that there is, got 'a'."
        ):
            ledger.undo("one")
        assert list(ledger.state.drawings) == [drawn]
        ledger.undo("two")
        assert ledger.undo("one") == AddClass("a")
        assert ledger.state.classes == ("b",)
        with refuses("undo must have a change to undo, got none."):
            ledger.undo("one")
        with refuses("undo must have a change to undo, got none."):
            ledger.undo("three")


def test_the_same_name_a_second_time_adds_nothing(tmp_path: Path) -> None:
    """Who had no answer may ask again, also after a restart and after it was removed."""
    key = "0123456789abcdef"
    with begun(tmp_path, "a") as ledger:
        assert ledger.draw(SHOWN, "a", name=key) == key
        assert ledger.draw(SHOWN, "a", name=key) == key
        ledger.record(RemoveDrawing(key))
    with Ledger(tmp_path) as ledger:
        assert ledger.draw(SHOWN, "a", name=key) == key
        assert ledger.state.drawings == {} and len(ledger.lines) == 3


def test_a_change_that_does_not_fit_leaves_no_trace(tmp_path: Path) -> None:
    with begun(tmp_path, "a") as ledger:
        before = (tmp_path / "ledger.jsonl").read_bytes()
        for change in (AddClass("a"), RenameClass("b", "c"), MergeClass("a", "a")):
            with pytest.raises(DataError):
                ledger.record(change)
        for wrong in ({"class_name": "b"}, {"part": "all"}, {"writer": "\udc80"}, {"name": "../x"}):
            with pytest.raises(DataError):
                ledger.draw(SHOWN, **({"class_name": "a"} | wrong))  # type: ignore[arg-type]
        with refuses("drawing must have ink on the pad, got none. Draw inside it."):
            ledger.draw(Drawing(()), "a")
        with refuses("session must be text, got half a character in '\\ud800'."):
            ledger.draw(SHOWN, "a", session="\ud800")

        assert (tmp_path / "ledger.jsonl").read_bytes() == before
    assert not list(tmp_path.rglob("*.png"))


def test_half_a_line_at_the_end_is_cut_off(tmp_path: Path) -> None:
    with begun(tmp_path, "a", "b"):
        pass
    whole = (tmp_path / "ledger.jsonl").read_bytes()
    for end in (1, 10, len(whole.splitlines()[1])):
        (tmp_path / "ledger.jsonl").write_bytes(whole[:-end])

        with Ledger(tmp_path) as ledger:
            assert ledger.state.classes == ("a",)
            ledger.record(AddClass("c"))
        with Ledger(tmp_path) as ledger:
            assert ledger.state.classes == ("a", "c")
    (tmp_path / "ledger.jsonl").write_bytes(whole + b"\0" * 100)
    with Ledger(tmp_path) as ledger:
        assert ledger.state.classes == ("a", "b")


@pytest.mark.parametrize(
    "line, reason",
    [
        (b"{", "line 2 is no JSON (Expecting property name enclosed in double quotes: "),
        (b"", "line 2 is no JSON (Expecting value: line 1 column 1 (char 0)). "),
        (b"\xff", "line 2 is no JSON ("),
        (
            b'{"do": "fly", "when": "", "session": ""}',
            "line 2 does 'fly', which this Siglum does not know. ",
        ),
        (
            b'{"do": "delete class", "when": "", "session": "", "name": "c"}',
            "line 2 (delete class): class must be one that there is, got 'c'. ",
        ),
        (
            b'{"do": "undo", "when": "", "session": "", "of": 2}',
            "line 2 undoes line 2, which is no change that counts. ",
        ),
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_touched(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    with begun(tmp_path, "a", "b"):
        pass
    first, second = (tmp_path / "ledger.jsonl").read_bytes().splitlines()
    damaged = b"\n".join([first, line, second, b""])
    (tmp_path / "ledger.jsonl").write_bytes(damaged)

    for _ in range(2):  # and the folder is let go of
        message = f"ledger.jsonl must hold the changes as they were written, but {reason}"
        with pytest.raises(DataError, match=f"^{re.escape(message)}.*Take it from a copy, or move"):
            Ledger(tmp_path)
    assert (tmp_path / "ledger.jsonl").read_bytes() == damaged


def test_without_its_ledger_a_folder_counts_as_it_is(tmp_path: Path) -> None:
    """What somebody sent, or what is left after the ledger was moved away."""
    samples.write(tmp_path, Sample(SHOWN, "bob", "taught", "2025-02"), "O")
    first = samples.write(tmp_path, Sample(SHOWN, "ada", "taught", "2025-01"), "a/b")
    quiz = samples.write(tmp_path, Sample(SHOWN, "ada", "quiz", "2025-03"), "O")
    (tmp_path / "samples" / "plain").mkdir()
    shutil.copy(tmp_path / "samples" / "a%2fb" / f"{first}.json", tmp_path / "samples" / "x.json")

    for _ in range(2):
        with Ledger(tmp_path) as ledger:
            assert ledger.state.classes == ("a/b", "O")
            assert next(iter(ledger.state.drawings)) == first
            assert ledger.state.of(part="quiz") == [quiz]
            assert len(ledger.lines) == 5
            assert on_disk(tmp_path) == in_state(ledger.state)


def test_a_drawing_whose_line_was_not_written_is_taken_in(tmp_path: Path) -> None:
    with begun(tmp_path, "a") as ledger:
        kept = ledger.draw(SHOWN, "a")
    late = samples.write(tmp_path, Sample(SHOWN, "ada", "taught", "now"), "a")

    with Ledger(tmp_path) as ledger:
        assert list(ledger.state.drawings) == [kept, late]
        assert ledger.undo().__class__.__name__ == "AddDrawing"
        assert list(ledger.state.drawings) == [kept]


def test_files_that_were_not_yet_moved_follow_the_ledger(tmp_path: Path) -> None:
    with begun(tmp_path, "a", "b") as ledger:
        names = [ledger.draw(SHOWN, "a") for _ in range(3)]
        shutil.copytree(tmp_path / "samples", tmp_path / "before")
        ledger.record(MoveDrawing(names[0], "b"))
        ledger.record(RemoveDrawing(names[1]))
        state = ledger.state
    shutil.rmtree(tmp_path / "samples")
    shutil.rmtree(tmp_path / "removed")
    (tmp_path / "before").rename(tmp_path / "samples")

    with Ledger(tmp_path) as ledger:
        assert ledger.state == state and on_disk(tmp_path) == in_state(state)
        assert (tmp_path / "removed" / f"{names[1]}.png").exists()


def test_files_that_are_gone_are_told_and_no_longer_count(tmp_path: Path) -> None:
    with begun(tmp_path, "a") as ledger:
        kept, gone = ledger.draw(SHOWN, "a"), ledger.draw(SHOWN, "a")
        for ending in (".json", ".png"):
            ledger.path(gone).with_suffix(ending).unlink()

    message = f"{tmp_path}: files of 1 drawings are gone, such as those of {gone}; they no longer"
    with pytest.warns(UserWarning, match=f"^{re.escape(message)} count.$"):
        opened = Ledger(tmp_path)
    assert list(opened.state.drawings) == [kept]
    opened.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Ledger(tmp_path).close()


def test_a_sample_that_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    name = samples.write(tmp_path, Sample(SHOWN, "ada", "taught", "now"), "a")
    (tmp_path / "samples" / "a" / f"{name}.json").write_text("{}")

    with pytest.warns(UserWarning, match=f"1 files are left out: {name}.json must hold a sample: "):
        Ledger(tmp_path).close()


def test_a_drawing_that_is_there_twice_is_told(tmp_path: Path) -> None:
    with begun(tmp_path, "a") as ledger:
        name = ledger.draw(SHOWN, "a")
    shutil.copytree(tmp_path / "samples" / "a", tmp_path / "samples" / "b")

    with refuses(
        f"{tmp_path} must hold a drawing once, got {tmp_path}/samples/a/{name} and "
        f"{tmp_path}/samples/b/{name}. Take one out."
    ):
        Ledger(tmp_path)


def test_a_second_opening_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    message = (
        f"{tmp_path} must be open in one Studio at a time, got a second one. Use the page of the "
        "first, or end it."
    )
    first = begun(tmp_path, "a")
    with refuses(message):
        Ledger(tmp_path)
    program = "import sys, pathlib; from siglum.studio.ledger import Ledger\n"
    program += "Ledger(pathlib.Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True
    )
    assert message in done.stderr

    threading.Thread(target=first.close).run()

    with Ledger(tmp_path) as ledger:
        assert ledger.state.classes == ("a",)
    assert first.state.classes == ("a",)


def test_a_thread_may_let_go_of_what_another_opened(tmp_path: Path) -> None:
    opened = Ledger(tmp_path)
    thread = threading.Thread(target=opened.close)
    thread.start()
    thread.join()

    Ledger(tmp_path).close()


def test_threads_draw_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    with begun(tmp_path, "a") as ledger:
        drawn: list[str] = []

        def draw(writer: str) -> None:
            for _ in range(5):
                drawn.append(ledger.draw(SHOWN, "a", writer, session=writer))

        threads = [threading.Thread(target=draw, args=(f"w{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(drawn) == 30 and set(drawn) == set(ledger.state.drawings)
    with Ledger(tmp_path) as ledger:
        assert set(drawn) == set(ledger.state.drawings)


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
from siglum.studio.changes import AddClass, MoveDrawing, RemoveDrawing
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
            ledger.record(MoveDrawing(name, "o"))
            tell("moved", name)
        if random.random() < 0.2:
            ledger.record(RemoveDrawing(name))
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


class Machine(RuleBasedStateMachine):
    """A ledger beside a list of all states there were, in which undo and redo step."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(os.environ["SIGLUM_CACHE"]) / os.urandom(8).hex()
        self.ledger = Ledger(self.folder)
        self.past: list[Model] = [((), {})]
        self.future: list[Model] = []

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
        drawn = self.ledger.draw(SHOWN, name, "ada", part)
        self.past.append((classes, drawings | {drawn: (name, part)}))
        self.future = []

    @rule(place=PLACES, to=NAMES)
    def move_drawing(self, place: int, to: str) -> None:
        classes, drawings = self.now
        name = [*drawings, "0" * 16][min(place, len(drawings))]
        self.change(
            MoveDrawing(name, to),
            name in drawings and to in classes,
            lambda: (classes, drawings | {name: (to, drawings[name][1])}),
        )

    @rule(place=PLACES)
    def remove_drawing(self, place: int) -> None:
        classes, drawings = self.now
        name = [*drawings, "0" * 16][min(place, len(drawings))]
        self.change(
            RemoveDrawing(name),
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
        assert on_disk(self.folder) == self.now[1]

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
