"""The ledger on disk: one process at a time, and the files follow it."""

import re
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from keeping import SHOWN, begun, in_state, on_disk

from siglum.errors import DataError
from siglum.images import samples, sources
from siglum.images.samples import Sample
from siglum.images.strokes import Drawing
from siglum.studio.changes import (
    AddClass,
    DeleteClass,
    MergeClass,
    MoveDrawings,
    RemoveDrawings,
    RenameClass,
)
from siglum.studio.ledger import Ledger


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
        ledger.record(MoveDrawings((moved,), "<img src=x>"))
        ledger.record(RemoveDrawings((gone,)))
        ledger.draw(SHOWN, "o", "w5", "quiz")

    found = sources.load(f"folder:{tmp_path}")

    assert found.classes == ("<img src=x>", "Omega / Ω")
    assert sorted(found.writers or ()) == ["w0", "w1", "w2", "w3"]
    assert sources.load(f"folder:{tmp_path}", "test").classes == ("o",)
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
        ledger.record(RemoveDrawings((key,)))
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
        ledger.record(MoveDrawings((names[0],), "b"))
        ledger.record(RemoveDrawings((names[1],)))
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
