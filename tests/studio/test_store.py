"""A set on disk survives kills, full disks, damage, races and any order of changes."""

import os
import resource
import secrets
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from siglum.errors import DataError
from siglum.images import studio_set
from siglum.images.sources import load, parts
from siglum.images.studio_set import Entry
from siglum.studio.state import to_png
from siglum.studio.store import NewDrawing, Store, StudioError, timestamp

PNG = to_png(np.pad(np.zeros((20, 20), np.uint8), 10, constant_values=255)[None])


def new(label: str, split: str = "train", id: str | None = None, author: str = "") -> NewDrawing:
    facts = Entry(label, author, split, timestamp(), False)
    return NewDrawing(facts, '{"strokes": []}', PNG, id or secrets.token_hex(8))


def contents(store: Store) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Names of the classes; id, class and split of the drawings."""
    state = store.state
    drawings = [(id, state.classes[e.label], e.split) for id, e in state.drawings.items()]
    return list(state.classes.values()), drawings


def refused(status: int, function, *arguments) -> str:
    with pytest.raises(StudioError) as error:
        function(*arguments)
    assert error.value.status == status
    return str(error.value)


def test_undo_refuses_what_later_changes_depend_on(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        (a,) = store.add_classes(["a"], "ann")
        store.add_drawing(new(a), "bob")
        event = store.last_event("undo", "ann")
        assert event is not None
        refused(409, store.revert, "undo", event.number, "ann")
        refused(409, store.revert, "undo", event.number)  # of all, bob's drawing is the last
        assert contents(store)[0] == ["a"] and len(store.state.drawings) == 1


def test_a_name_is_used_once(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        a, b = store.add_classes(["a", "b"])
        assert store.add_classes(["b", "a"]) == [b, a]
        assert "Merge the two?" in refused(409, store.rename_class, a, "b")
        refused(409, store.remove_class, a, a)


def test_a_replaced_drawing_comes_back_if_something_else_came_between(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        (a,) = store.add_classes(["a"])
        half, whole = new(a), new(a)
        store.add_drawing(half)
        store.add_classes(["b"])
        store.add_drawing(whole, replaces=half.id)
        event = store.last_event("undo")
        assert event is not None
        store.revert("undo", event.number)
        assert list(store.state.drawings) == [half.id]


def test_a_set_has_room_for_so_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siglum.studio.store.MAX_CLASSES", 2)
    monkeypatch.setattr("siglum.studio.store.MAX_DRAWINGS", 1)
    with closing(Store(tmp_path)) as store:
        refused(422, store.add_classes, list("abc"))
        a, _ = store.add_classes(list("ab"))
        store.add_drawing(new(a))
        refused(422, store.add_drawing, new(a))


def test_two_studios_on_one_set_refuse(tmp_path: Path) -> None:
    with closing(Store(tmp_path)), pytest.raises(DataError, match="is open in another Studio"):
        Store(tmp_path)
    Store(tmp_path).close()


def test_other_commands_read_a_set_while_it_is_open(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        ids = store.add_classes(["a/b", "..", "A", "a"])
        for id in ids:
            store.add_drawing(new(id, author="Ann"))
        images = load(f"folder:{tmp_path}")
        assert images.classes == ("..", "A", "a", "a/b") and images.writers == ("Ann",) * 4
        assert parts(f"folder:{tmp_path}") == ("all",)
        store.add_drawing(new(ids[0], "test"))
        assert parts(f"folder:{tmp_path}") == ("train", "test")
        assert len(load(f"folder:{tmp_path}", "test")) == 1


def test_a_set_without_drawings_is_no_source(tmp_path: Path) -> None:
    Store(tmp_path).close()
    with pytest.raises(DataError, match="has no drawings yet"):
        load(f"folder:{tmp_path}")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_read_and_not_opened(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        (a,) = store.add_classes(["a"])
        store.add_drawing(new(a))
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DataError, match="Make sure that .* you may write to the folder"):
            Store(tmp_path)
        assert len(load(f"folder:{tmp_path}")) == 1
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("where", [0, 30, 100, 8_100, 20_000])
def test_damage_is_named_and_nothing_is_overwritten(tmp_path: Path, where: int) -> None:
    with closing(Store(tmp_path)) as store:
        ids = store.add_classes([f"class {i}" for i in range(50)])
        for id in ids:
            store.add_drawing(new(id))
    path = tmp_path / studio_set.FILE
    raw = bytearray(path.read_bytes())
    raw[where : where + 3000] = os.urandom(3000)
    path.write_bytes(raw)
    with pytest.raises(DataError, match="signs.db(:.* If it is damaged| is not a set of signs)"):
        Store(tmp_path)
    assert path.read_bytes() == raw


@pytest.mark.parametrize(
    "more",
    ["CREATE TABLE t (x)", "CREATE VIEW v AS SELECT 1", "DROP TABLE event"],
)
def test_a_database_with_other_tables_is_refused(tmp_path: Path, more: str) -> None:
    """Views and triggers of a file from somebody else would run when it is read."""
    Store(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / studio_set.FILE)) as database:
        database.execute(more)
    for read in (Store, lambda folder: load(f"folder:{folder}")):
        with pytest.raises(DataError, match="is not a set of signs of this version"):
            read(tmp_path)


FULL = """
import pathlib, resource, signal, sys
sys.path.append(sys.argv[2])
from test_store import new
from siglum.studio.store import Store, StudioError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(pathlib.Path(sys.argv[1]))
(a,) = store.add_classes(["a"])
store.add_drawing(new(a))
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
limit((pathlib.Path(sys.argv[1]) / "signs.db-wal").stat().st_size + 5000)
for change in (lambda: store.add_classes(["b" * 9000]), lambda: store.add_drawing(new(a))) * 2:
    try:
        change()
    except StudioError as error:
        print(error.status, error)
limit(resource.RLIM_INFINITY)
store.add_classes(["c"])
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit of file sizes here")
def test_a_full_disk_is_reported_and_nothing_is_lost(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines and all(line.startswith("507 Cannot save to ") for line in lines)
    assert all("Make sure that the disk has free space" in line for line in lines)
    with closing(Store(tmp_path)) as store:
        names, drawings = contents(store)
        assert {"a", "c"} <= set(names) and len(drawings) in (1, 2, 3)


def test_twenty_threads_leave_the_state_that_is_on_disk(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        random = np.random.RandomState(number)
        try:
            for step in range(15):
                ids = list(store.state.classes) or ["?"]
                drawings = list(store.state.drawings) or ["?"]
                id, other = (ids[random.randint(len(ids))] for _ in range(2))
                with suppress(StudioError):
                    match random.randint(6):
                        case 0:
                            store.add_classes([f"{number} {step}"], str(number))
                        case 1 | 2:
                            store.add_drawing(new(id), str(number))
                        case 3:
                            one = drawings[random.randint(len(drawings))]
                            store.move_drawings([one], None if step % 2 else id, str(number))
                        case 4 if step % 5 == 0:
                            store.remove_class(id, other, str(number))
                        case _:
                            if (event := store.last_event("undo", str(number))) is not None:
                                store.revert("undo", event.number, str(number))
        except BaseException as error:
            errors.append(error)

    with closing(Store(tmp_path)) as store:
        store.add_classes(list("abc"))
        threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        before = store.state
    assert not errors
    with closing(Store(tmp_path)) as store:
        assert store.state == before and set(before.classes) >= {
            entry.label for entry in before.drawings.values()
        }


NAMES = st.sampled_from(["o", "O", "α", "a/b"])
NUMBERS = st.integers(0, 5)
Model = tuple[tuple[str, ...], dict[str, tuple[str, str]]]


class Machine(RuleBasedStateMachine):
    """A store beside a list of all its states, through which undo and redo step."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(os.environ["SIGLUM_CACHE"]) / os.urandom(8).hex()
        self.store = Store(self.folder)
        self.past: list[Model] = [((), {})]
        self.future: list[Model] = []

    def id_of(self, name: str) -> str:
        return next((id for id, n in self.store.state.classes.items() if n == name), "0" * 16)

    def change(self, model: Model, function, *arguments) -> None:
        function(*arguments)
        if model != self.past[-1]:
            self.past.append(model)
            self.future = []

    @rule(name=NAMES)
    def add_class(self, name: str) -> None:
        classes, drawings = self.past[-1]
        model = (classes if name in classes else (*classes, name), drawings)
        self.change(model, self.store.add_classes, [name])

    @rule(name=NAMES, to=NAMES)
    def rename(self, name: str, to: str) -> None:
        classes, drawings = self.past[-1]
        if name not in classes or to in classes:
            return
        model = (
            tuple(to if one == name else one for one in classes),
            {id: (to if label == name else label, s) for id, (label, s) in drawings.items()},
        )
        self.change(model, self.store.rename_class, self.id_of(name), to)

    @rule(name=NAMES, into=NAMES | st.none())
    def remove_class(self, name: str, into: str | None) -> None:
        classes, drawings = self.past[-1]
        if name not in classes or into == name or into not in (None, *classes):
            return
        model = (
            tuple(one for one in classes if one != name),
            {
                id: (into if label == name else label, split)
                for id, (label, split) in drawings.items()
                if label != name or into is not None
            },
        )
        target = None if into is None else self.id_of(into)
        self.change(model, self.store.remove_class, self.id_of(name), target)

    @rule(name=NAMES, split=st.sampled_from(["train", "test"]))
    def draw(self, name: str, split: str) -> None:
        classes, drawings = self.past[-1]
        drawing = new(self.id_of(name), split)
        if name not in classes:
            refused(404, self.store.add_drawing, drawing)
            return
        model = (classes, {**drawings, drawing.id: (name, split)})
        self.change(model, self.store.add_drawing, drawing)
        self.store.add_drawing(drawing)  # sent again, it is saved once

    @rule(number=NUMBERS, to=NAMES | st.none())
    def move(self, number: int, to: str | None) -> None:
        classes, drawings = self.past[-1]
        if number >= len(drawings) or to not in (None, *classes):
            return
        id = list(drawings)[number]
        label, split = drawings[id]
        moved = {one: facts for one, facts in drawings.items() if one != id or to is not None}
        if to is not None:
            moved[id] = (to, split)
        target = None if to is None else self.id_of(to)
        if to != label:
            self.change((classes, moved), self.store.move_drawings, [id], target)

    @rule(word=st.sampled_from(["undo", "redo"]))
    def revert(self, word: str) -> None:
        event = self.store.last_event(word)
        source, target = (self.past, self.future) if word == "undo" else (self.future, self.past)
        if event is None:
            assert len(source) == (word == "undo")
            return
        self.store.revert(word, event.number)
        target.append(source.pop())

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store(self.folder)

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        names, drawings = contents(self.store)
        model = self.past[-1]
        assert names == list(model[0])
        assert {id: facts for id, *facts in drawings} == {i: list(f) for i, f in model[1].items()}

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
