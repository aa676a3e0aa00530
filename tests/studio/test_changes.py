"""What is so after some lines: pure, so each promise is a few lines."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siglum.errors import DataError
from siglum.studio.changes import (
    CHANGES,
    AddClass,
    AddDrawing,
    Change,
    DeleteClass,
    Entry,
    Line,
    MergeClass,
    MoveDrawings,
    Redo,
    RemoveDrawings,
    RenameClass,
    State,
    Undo,
    after,
    last,
    parse,
    replay,
    written,
)

WHEN = "2025-01-31T12:00:00Z"


def drawing(number: int) -> str:
    return f"{number:016x}"


def draw(number: int, name: str, writer: str = "ada", part: str = "taught") -> AddDrawing:
    return AddDrawing(drawing(number), name, writer, part)


def lines(*made: Change | Undo | Redo, session: str = "") -> list[Line]:
    return [Line(WHEN, session, change) for change in made]


def classes_of(state: State) -> dict[str, str]:
    return {name[-1]: entry.class_name for name, entry in state.drawings.items()}


BEGUN = (AddClass("a"), AddClass("b"), draw(1, "a"), draw(2, "b", "bob"), draw(3, "a", "", "quiz"))


def test_classes_and_drawings_keep_the_order_they_came_in() -> None:
    state = replay(lines(*BEGUN))

    assert state.classes == ("a", "b")
    assert list(state.drawings) == [drawing(1), drawing(2), drawing(3)]
    assert state.drawings[drawing(3)] == Entry("a", "", "quiz")
    assert state.of("a") == [drawing(1), drawing(3)]
    assert state.of(writer="bob") == [drawing(2)]
    assert state.of("a", part="taught") == state.of("a", "ada") == [drawing(1)]
    assert state.of("c") == []
    assert replay([]) == State()


@pytest.mark.parametrize(
    "change, classes, drawings",
    [
        (RenameClass("a", "A"), ("A", "b"), {"1": "A", "2": "b", "3": "A"}),
        (MergeClass("a", "b"), ("b",), {"1": "b", "2": "b", "3": "b"}),
        (DeleteClass("a"), ("b",), {"2": "b"}),
        (MoveDrawings((drawing(1),), "b"), ("a", "b"), {"1": "b", "2": "b", "3": "a"}),
        (MoveDrawings((drawing(3), drawing(1)), "b"), ("a", "b"), dict.fromkeys("123", "b")),
        (RemoveDrawings((drawing(2),)), ("a", "b"), {"1": "a", "3": "a"}),
        (RemoveDrawings((drawing(3), drawing(1))), ("a", "b"), {"2": "b"}),
        (AddClass("<img src=x>"), ("a", "b", "<img src=x>"), {"1": "a", "2": "b", "3": "a"}),
    ],
)
def test_what_a_change_does_and_its_undo_takes_back(
    change: Change, classes: tuple[str, ...], drawings: dict[str, str]
) -> None:
    before = replay(lines(*BEGUN))

    state = replay(lines(*BEGUN, change))

    assert (state.classes, classes_of(state)) == (classes, drawings)
    assert after(before, change) == state
    assert replay(lines(*BEGUN, change, Undo(6))) == before
    assert list(replay(lines(*BEGUN, change, Undo(6))).drawings) == list(before.drawings)
    assert replay(lines(*BEGUN, change, Undo(6), Redo(6))) == state


def test_a_state_that_was_given_out_never_changes() -> None:
    before = replay(lines(*BEGUN))
    seen = (before.classes, dict(before.drawings))

    after(before, DeleteClass("a"))

    assert (before.classes, before.drawings) == seen


@pytest.mark.parametrize(
    "change, message",
    [
        (AddClass("a"), "class must have a name that is free, got 'a'."),
        (AddClass(""), "class must have 1 to 1,000 characters, got 0."),
        (RenameClass("a", "b"), "class must have a name that is free, got 'b'."),
        (RenameClass("c", "d"), "class must be one that there is, got 'c'."),
        (MergeClass("a", "a"), "into must be another class than 'a'."),
        (MergeClass("a", "c"), "class must be one that there is, got 'c'."),
        (DeleteClass("c"), "class must be one that there is, got 'c'."),
        (draw(1, "a"), f"drawing must be new, got '{drawing(1)}' again."),
        (draw(9, "c"), "class must be one that there is, got 'c'."),
        (draw(9, "a", "x" * 101), "writer must have 1 to 100 characters, got 101."),
        (draw(9, "a", part="all"), "part must be taught or quiz, got 'all'."),
        (
            AddDrawing("../x", "a", "ada", "taught"),
            "sample must be named by 16 hexadecimal digits, got '../x'.",
        ),
        (MoveDrawings((drawing(9),), "a"), f"drawing must be one that counts, got '{drawing(9)}'."),
        (MoveDrawings((drawing(1),), "c"), "class must be one that there is, got 'c'."),
        (
            MoveDrawings((drawing(1), drawing(9)), "b"),
            f"drawing must be one that counts, got '{drawing(9)}'.",
        ),
        (
            RemoveDrawings((drawing(1), drawing(9))),
            f"drawing must be one that counts, got '{drawing(9)}'.",
        ),
    ],
)
def test_a_change_that_does_not_fit_is_refused(change: Change, message: str) -> None:
    state = replay(lines(*BEGUN))
    seen = (state.classes, dict(state.drawings))

    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        after(state, change)

    assert (state.classes, state.drawings) == seen
    with pytest.raises(DataError, match=rf"^line 6 \([a-z ]+\): {re.escape(message)}$"):
        replay(lines(*BEGUN, change))


def test_what_others_did_later_stays_when_a_change_is_undone() -> None:
    made = [
        *lines(*BEGUN),
        *lines(AddClass("c"), session="one"),
        *lines(draw(4, "a"), session="two"),
        *lines(MoveDrawings((drawing(1),), "b"), session="one"),
        *lines(draw(5, "b"), session="two"),
    ]

    assert last(made, "one") == (8, None)
    assert last(made, "two") == (9, None)
    state = replay([*made, *lines(Undo(8), session="one")])
    assert classes_of(state) == {"1": "a", "2": "b", "3": "a", "4": "a", "5": "b"}


def test_what_others_rest_on_cannot_be_undone() -> None:
    made = [*lines(AddClass("a"), session="one"), *lines(draw(1, "a"), session="two")]

    message = "line 2 (add drawing): class must be one that there is, got 'a'."
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        replay([*made, *lines(Undo(1), session="one")])


def test_undo_and_redo_go_back_and_forth() -> None:
    made = lines(*BEGUN)
    assert last(made) == (5, None)
    made += lines(Undo(5))
    assert last(made) == (4, 5)
    made += lines(Undo(4))
    assert last(made) == (3, 4)
    made += lines(Redo(4))
    assert last(made) == (4, 5)
    made += lines(AddClass("c"))
    assert last(made) == (7 + 2, None)
    made += lines(Undo(9), Undo(4), Undo(3), Undo(2), Undo(1))
    assert last(made) == (None, 1)
    assert replay(made) == State()
    assert last([]) == (None, None)


def test_another_sessions_change_leaves_what_can_be_redone() -> None:
    made = [*lines(AddClass("a"), session="one"), *lines(Undo(1), session="one")]
    made += lines(AddClass("b"), session="two")

    assert last(made, "one") == (None, 1)
    assert last(made) == (3, None)
    assert replay([*made, *lines(Redo(1), session="one")]).classes == ("a", "b")


@pytest.mark.parametrize(
    "change, message",
    [
        (Undo(0), "line 6 undoes line 0, which is no change that counts"),
        (Undo(6), "line 6 undoes line 6, which is no change that counts"),
        (Undo(-1), "line 6 undoes line -1, which is no change that counts"),
        (Undo(99), "line 6 undoes line 99, which is no change that counts"),
        (Redo(5), "line 6 redoes line 5, which is not undone"),
    ],
)
def test_an_undo_of_nothing_is_refused(change: Undo | Redo, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        replay(lines(*BEGUN, change))


def test_nothing_is_undone_twice_and_no_undo_is_undone() -> None:
    for made in ((Undo(5), Undo(5)), (Undo(5), Undo(6)), (Undo(5), Redo(5), Redo(5))):
        with pytest.raises(DataError, match="^line [78] (un|re)do"):
            replay(lines(*BEGUN, *made))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(TEXT, min_size=6, max_size=6), number=st.integers())
@pytest.mark.parametrize("kind", CHANGES.values())
def test_a_line_says_what_was_written(kind: Any, texts: list[str], number: int) -> None:
    """In one line, whatever the names are."""
    fields: dict[str, Any] = dict(zip(kind.__dataclass_fields__, texts, strict=False))
    fields |= {"of": number, "drawings": tuple(texts)}
    change = kind(**{name: fields[name] for name in kind.__dataclass_fields__})
    line = Line(texts[4], texts[5], change)

    text = written(line).encode()

    assert b"\n" not in text and parse(text) == line


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is no JSON (Expecting value: line 1 column 1 (char 0))"),
        ("[]", "is a list, not a table"),
        ("[" * 100_000, "is no JSON (maximum recursion depth exceeded"),
        ('{"do": 1}', "does 1, which this Siglum does not know"),
        (
            '{"do": "add clas", "when": "", "session": "", "name": "a"}',
            "does 'add clas', which this Siglum does not know",
        ),
        (
            '{"do": "add class", "when": "", "session": ""}',
            "must have do, name, when, session, got do, when, session",
        ),
        (
            '{"do": "add class", "when": "", "session": "", "name": "a", "path": "/"}',
            "must have do, name, when, session, got do, when, session, name, path",
        ),
        (
            '{"do": "add class", "when": "", "session": "", "name": 7}',
            "has name 7, not str",
        ),
        (
            '{"do": "remove drawings", "when": "", "session": "", "drawings": "a"}',
            "has drawings 'a', not list",
        ),
        (
            '{"do": "remove drawings", "when": "", "session": "", "drawings": [["a"]]}',
            "has drawings [['a']], not names",
        ),
        ('{"do": "undo", "when": "", "session": "", "of": true}', "has of True, not int"),
        ('{"do": "undo", "when": "", "session": "", "of": 1.0}', "has of 1.0, not int"),
    ],
)
def test_what_is_no_line_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        parse(text)
