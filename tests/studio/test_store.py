"""A set on disk survives kills, full disks, damage, races and any order of changes."""

import os
import resource
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import numpy as np
import pytest

from siglum.errors import DataError
from siglum.images import studio_set
from siglum.images.decode import to_png
from siglum.images.sources import load, parts
from siglum.images.studio_set import Entry
from siglum.studio.store import NewDrawing, Store, StudioError, timestamp

PNG = to_png(np.pad(np.zeros((20, 20), np.uint8), 10, constant_values=255)[None])


def new(label: str, split: str = "train", author: str = "") -> NewDrawing:
    return NewDrawing(Entry(label, author, split, timestamp(), False), '{"strokes": []}', PNG)


def contents(store: Store) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Names and outputs of the classes; id, class and split of the drawings."""
    state = store.state
    drawings = [(id, state.classes[e.label], e.split) for id, e in state.drawings.items()]
    return [*state.classes.values(), *map(str, state.outputs.items())], drawings


def test_a_set_has_room_for_so_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siglum.studio.store.MAX_CLASSES", 2)
    monkeypatch.setattr("siglum.studio.store.MAX_DRAWINGS", 1)
    with closing(Store(tmp_path)) as store:
        with pytest.raises(StudioError, match="at most 2 classes"):
            store.add_classes(list("abc"))
        a, _ = store.add_classes(list("ab"))
        store.add_drawing(new(a))
        with pytest.raises(StudioError, match="at most 1 drawings"):
            store.add_drawing(new(a))


def test_other_commands_read_a_set_while_it_is_open(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        with pytest.raises(DataError, match="has no drawings yet"):
            load(f"folder:{tmp_path}")
        ids = store.add_classes(["a/b", "..", "A", "a"])
        for id in ids:
            store.add_drawing(new(id, author="Ann"))
        images = load(f"folder:{tmp_path}")
        assert images.classes == ("..", "A", "a", "a/b") and images.writers == ("Ann",) * 4
        assert parts(f"folder:{tmp_path}") == ("all",)
        store.add_drawing(new(ids[0], "test"))
        assert parts(f"folder:{tmp_path}") == ("train", "test")
        assert len(load(f"folder:{tmp_path}", "test")) == 1


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


@pytest.mark.parametrize("more", ["CREATE VIEW v AS SELECT 1", "DROP TABLE event"])
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
size = (store.folder / "signs.db-wal").stat().st_size + 5000
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
for change in (lambda: store.add_classes(["b" * 9000]), lambda: store.add_drawing(new(a))) * 2:
    try:
        change()
    except StudioError as error:
        print(error.status, error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
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


def change_at_random(store: Store, random: Random, session: str | None = None) -> None:
    """Make one change, which may be refused."""
    classes, drawings = list(store.state.classes) or ["?"], list(store.state.drawings) or ["?"]
    label, other = random.choice(classes), random.choice([None, *classes])
    with suppress(StudioError):
        match random.randrange(9):
            case 0:
                store.add_classes(random.sample("abcde", 2), session)
            case 1:
                store.rename_class(label, random.choice("abcde"), session)
            case 2 if random.random() < 0.3:
                store.remove_class(label, other, session)
            case 3 | 4:
                store.move_drawings([random.choice(drawings)], other, session)
            case 5:
                store.set_output(label, random.choice(["", "a", "two\nlines"]), session)
            case _:
                drawing = new(label, random.choice(["train", "test"]))
                store.add_drawing(drawing, session)
                store.add_drawing(drawing, session)  # sent again, it is saved once


@pytest.mark.parametrize("seed", range(8))
def test_undo_and_redo_step_through_all_states(tmp_path: Path, seed: int) -> None:
    """A store beside a list of all its states, the last of them the current one."""
    random, store = Random(seed), Store(tmp_path)
    past, future, number = [contents(store)], [], 0
    for _ in range(80):
        action = random.choice(["change", "change", "change", "undo", "redo", "reopen"])
        if action == "change":
            change_at_random(store, random)
            event = store.last_event("undo")
            if event and event.number > number:
                number = event.number
                past.append(contents(store))
                future = []
        elif action == "reopen":
            store.close()
            store = Store(tmp_path)
        else:
            source, target = (past, future) if action == "undo" else (future, past)
            event = store.last_event(action)
            assert (event is None) == (len(source) == (action == "undo"))
            if event:
                store.revert(action, event.number)
                target.append(source.pop())
        assert contents(store) == past[-1]
    store.close()


def test_twenty_threads_leave_the_state_that_is_on_disk(tmp_path: Path) -> None:
    def work(number: int) -> None:
        random, session = Random(number), str(number)
        for step in range(15):
            change_at_random(store, random, session)
            if step % 4 == 3 and (event := store.last_event("undo", session)):
                with suppress(StudioError):
                    store.revert("undo", event.number, session)

    with closing(Store(tmp_path)) as store, ThreadPoolExecutor(20) as pool:
        store.add_classes(list("abc"))
        list(pool.map(work, range(20)))
        before = store.state
    with closing(Store(tmp_path)) as store:
        assert store.state == before
        assert {one.label for one in before.drawings.values()} <= set(before.classes)
