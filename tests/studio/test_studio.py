"""An open folder: what it does with damage, with too much, and with many at once."""

import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from visiting import drawing_of

from siglum.errors import ConfigError, DataError
from siglum.images import strokes
from siglum.recogniser import teach as teaching
from siglum.studio import studio as module
from siglum.studio.changes import AddClass, RemoveDrawings, RenameClass
from siglum.studio.snapshot import Analysis
from siglum.studio.studio import Conflict, Missing, Studio


def a_drawing(kind: str = "ring", seed: int = 0) -> strokes.Drawing:
    return strokes.parse(drawing_of(kind, seed))


def test_a_damaged_picture_of_a_drawing_is_drawn_again(tmp_path: Path, backbone) -> None:
    with closing(Studio(tmp_path / "a", backbone)) as studio:
        studio.record(AddClass("a"))
        name, before = studio.draw(a_drawing(), "a", "", "taught")
        path = studio.ledger.path(name).with_suffix(".png")
    path.write_bytes(path.read_bytes()[:100])
    with closing(Studio(tmp_path / "a", backbone)) as studio:
        after = studio.current

    assert np.array_equal(after.seen[name].ink, before.seen[name].ink)


def test_a_damaged_photo_is_named_and_the_folder_is_let_go(tmp_path: Path, backbone) -> None:
    photo = np.full((1, 60, 60), 255, np.uint8)
    photo[:, 20:40, 28:32] = 0
    with closing(Studio(tmp_path / "a", backbone)) as studio:
        studio.record(AddClass("a"))
        name, _ = studio.draw(photo, "a", "", "taught")
        path = studio.ledger.path(name).with_suffix(".png")
        whole = path.read_bytes()
    path.write_bytes(whole[:60])
    with pytest.raises(DataError, match=f"{name}"):
        Studio(tmp_path / "a", backbone)
    path.write_bytes(whole)
    with closing(Studio(tmp_path / "a", backbone)) as studio:
        assert list(studio.current.state.drawings) == [name]


def test_there_is_room_for_so_much(
    tmp_path: Path, backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_CLASSES", 1)
    monkeypatch.setattr(module, "MOST_DRAWINGS", 1)
    with closing(Studio(tmp_path / "a", backbone)) as studio:
        studio.record(AddClass("a"))
        studio.draw(a_drawing(), "a", "", "taught")
        with pytest.raises(ConfigError, match="classes must be at most 1, got 1 and 1 more"):
            studio.record(AddClass("b"))
        with pytest.raises(ConfigError, match="drawings must be at most 1, got 1 and 1 more"):
            studio.draw(a_drawing(), "a", "", "taught")


def test_what_does_not_fit_is_a_conflict(studio: Studio) -> None:
    studio.record(AddClass("a"))
    with pytest.raises(Conflict, match="class must have a name that is free, got 'a'"):
        studio.record(AddClass("a"))
    with pytest.raises(Conflict, match="class must be one that there is, got 'b' any more"):
        studio.draw(a_drawing(), "b", "", "taught")
    with pytest.raises(Conflict, match="drawing must be one that counts"):
        studio.record(RemoveDrawings(("0" * 16,)))
    with pytest.raises(Missing, match="sample must be one that there is"):
        studio.picture("0" * 16)
    assert studio.current.state.classes == ("a",)


def test_one_learning_serves_all_that_waited(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        studio.record(AddClass(name))
    learned, learn = [], teaching.learn

    def counting(backbone, lesson):
        learned.append(len(lesson))
        return learn(backbone, lesson)

    monkeypatch.setattr(teaching, "learn", counting)
    with studio._learning:  # somebody is learning while six draw
        people = [
            threading.Thread(
                target=lambda seed=seed: studio.draw(a_drawing(seed=seed), "a", "", "taught")
            )
            for seed in range(6)
        ]
        for person in people:
            person.start()
        while len(studio.ledger.state.drawings) < 6:
            pass
        assert not studio.current.state.drawings
    for person in people:
        person.join()

    assert learned == [6]
    assert studio.current.lesson is not None and len(studio.current.lesson) == 6


def test_an_analysis_that_comes_late_hides_no_change(studio: Studio) -> None:
    for name in "ab":
        studio.record(AddClass(name))
    old = studio.current
    waiting = studio.note(RenameClass("a", "c"))
    studio.analysed(Analysis(old.at, (("b", "why"),)))
    assert studio.current.version == old.version + 1 and studio.current.at == old.at
    now = studio.learned(waiting)

    assert now.state.classes == ("c", "b") and now.version == old.version + 2
    assert now.analysis.advice == (("b", "why"),)


def test_a_drawing_whose_files_are_gone_comes_back_uncounted(tmp_path: Path, backbone) -> None:
    """The line of an undo is written before its files are sought; all goes on after it."""
    with closing(Studio(tmp_path / "a", backbone)) as studio:
        for name in "ab":
            studio.record(AddClass(name))
        names = [studio.draw(a_drawing(seed=seed), "a", "", "taught")[0] for seed in range(2)]
        studio.record(RemoveDrawings(tuple(names)))
        for ending in (".json", ".png"):
            (studio.folder / "removed" / f"{names[0]}{ending}").unlink()
    with closing(Studio(tmp_path / "a", backbone)) as studio:
        with pytest.warns(UserWarning, match=f"{names[0]}.* It does not count"):
            back = studio.undo(None, 5)

        assert list(back.state.drawings) == [names[1]] and back.rows == (names[1],)
        name, now = studio.draw(a_drawing(seed=7), "b", "", "taught")
        assert list(now.state.drawings) == [names[1], name]
        assert studio.record(RenameClass("a", "c")).state.classes == ("c", "b")


def test_a_change_counts_whose_files_cannot_follow_yet(tmp_path: Path, backbone) -> None:
    with closing(Studio(tmp_path / "a", backbone)) as studio:
        for name in "ab":
            studio.record(AddClass(name))
        gone, _ = studio.draw(a_drawing(), "a", "", "taught")
        kept, _ = studio.draw(a_drawing(seed=1), "a", "", "taught")
        (studio.folder / "removed").write_text("in the way")
        with pytest.warns(UserWarning, match="Drawings are moved when it is opened again"):
            now = studio.record(RemoveDrawings((gone,)))
        assert list(now.state.drawings) == [kept]
        assert studio.record(AddClass("c")).state.classes == ("a", "b", "c")
        (studio.folder / "removed").unlink()
    with closing(Studio(tmp_path / "a", backbone)) as studio:
        assert list(studio.current.state.drawings) == [kept]
        assert (studio.folder / "removed" / f"{gone}.png").is_file()
