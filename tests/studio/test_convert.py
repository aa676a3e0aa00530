"""A set in the format before SQLite (`old_set.zip`, made by that version) is converted once."""

import shutil
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from siglum.errors import DataError
from siglum.images.sources import load
from siglum.images.studio_set import FILE
from siglum.studio.convert import COPY
from siglum.studio.store import Store

OLD_SET = Path(__file__).with_name("old_set.zip")
CLASSES = ["o", "O", "a/b", "empty", "last"]
DRAWINGS = {0: ("o", "Ann"), 1: ("O", "Ann"), 5: ("O", "Bob"), 6: ("a/b", "")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with zipfile.ZipFile(OLD_SET) as archive:
        archive.extractall(tmp_path / "my-signs")
    return tmp_path / "my-signs"


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def classes(store: Store) -> list[str]:
    return list(store.state.classes.values())


def drawings(store: Store) -> dict[int, tuple[str, str]]:
    state = store.state
    return {int(id, 16): (state.classes[e.label], e.author) for id, e in state.drawings.items()}


def test_an_old_set_is_converted_with_everything_and_a_copy(folder: Path) -> None:
    before = files(folder)
    for _ in range(2):
        with closing(Store(folder)) as store:
            assert store.set_id == "d71d401a62d4e3e4"
            assert classes(store) == CLASSES and drawings(store) == DRAWINGS
            entry = store.state.drawings[f"{5:016x}"]
            assert (entry.split, entry.time) == ("test", "2025-02-01T12:00:00Z")
            assert [bool(e.photo) for e in store.state.drawings.values()] == [False] * 3 + [True]
            for id in (0, 2, 7):  # also those that were deleted
                strokes, image = store.content(f"{id:016x}")
                assert strokes is not None
                assert image in before.values()
    assert files(folder / COPY) == before
    assert sorted(path.name for path in folder.iterdir()) == [".lock", COPY, FILE]
    assert load(f"folder:{folder}").classes == ("O", "a/b", "o")


def test_an_old_set_must_be_converted_before_other_commands_read_it(folder: Path) -> None:
    with pytest.raises(DataError, match=r"in an older format\. Open it once to convert it"):
        load(f"folder:{folder}")


def test_a_conversion_that_was_killed_is_done_again(folder: Path) -> None:
    before = files(folder)
    (folder / f".{FILE}.new").write_bytes(b"half")
    Store(folder).close()
    shutil.move(folder / COPY / "samples", folder / "samples")  # killed while files were moved
    shutil.move(folder / COPY / "ledger.jsonl", folder / "ledger.jsonl")
    with closing(Store(folder)) as store:
        assert classes(store) == CLASSES and drawings(store) == DRAWINGS
    assert files(folder / COPY) == before


def test_a_ledger_that_ends_within_a_line_counts(folder: Path) -> None:
    path = folder / "ledger.jsonl"
    path.write_bytes(path.read_bytes() + b'{"when": "20')
    with closing(Store(folder)) as store:
        assert classes(store) == CLASSES


@pytest.mark.parametrize(
    "damage", [b"{", b"[]", b'{"do": "fly"}', b'{"do": "undo"}', b"\xff", None]
)
def test_with_a_damaged_or_missing_ledger_the_folders_count(
    folder: Path, damage: bytes | None
) -> None:
    path = folder / "ledger.jsonl"
    if damage is None:
        path.unlink()
        store = Store(folder)
    else:
        path.write_bytes(path.read_bytes() + damage + b"\n")
        with pytest.warns(UserWarning, match="ledger.jsonl is damaged .* read from the folders"):
            store = Store(folder)
    with closing(store):
        assert sorted(classes(store)) == ["O", "a/b", "o"] and drawings(store) == DRAWINGS


def test_damaged_files_are_named_and_the_rest_is_converted(folder: Path) -> None:
    (folder / "samples/o/0000000000000000.png").write_bytes(b"\x89PNG damaged")
    (folder / "samples/+o/0000000000000001.json").write_bytes(b"{")
    for path in (folder / "samples/a%2fb").glob("*6.*"):
        path.write_bytes(b"")
    (folder / "quiz/+o/0000000000000005.png").unlink()
    with (
        pytest.warns(UserWarning, match="1 damaged or missing drawings.*0000000000000006.*old-f"),
        closing(Store(folder)) as store,
    ):
        assert classes(store) == CLASSES
        assert drawings(store) == {0: ("o", "Ann"), 1: ("O", ""), 5: ("O", "Bob")}
        assert store.content(f"{0:016x}")[1].startswith(b"\x89PNG")  # drawn again from its strokes
        assert store.content(f"{1:016x}")[0] is None  # its image is all there is


def test_a_drawing_that_the_ledger_does_not_know_is_adopted(folder: Path) -> None:
    for suffix in (".png", ".json"):
        source = folder / f"samples/o/0000000000000000{suffix}"
        shutil.copy(source, source.with_name(f"00000000000000ff{suffix}"))
    with closing(Store(folder)) as store:
        assert drawings(store) == {**DRAWINGS, 255: ("o", "Ann")}
