"""What a person does first: name signs, draw them, and see them read."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from conftest import Visitor
from hand_drawn import DIGITS, GREEK, SIGNS, Strokes, drawn, line

from siglum.images import decode

DOT: Strokes = [[(0.5, 0.5)]]
FLAT: Strokes = [line((0.1, 0.5), (0.9, 0.5))]
OMNIGLOT = "omniglot/strokes_background_small1.zip"


def kept_strokes(folder: Path) -> list[int]:
    """How many strokes each taught drawing has that is on disk."""
    files = sorted(folder.glob("samples/*/*.json"), key=lambda file: file.stat().st_mtime_ns)
    return [len(json.loads(file.read_text())["strokes"]) for file in files]


def test_an_empty_folder_asks_for_two_signs_and_nothing_else(visitor: Visitor) -> None:
    page = visitor.page

    assert page.locator("#first label").inner_text() == "Name your first two signs"
    assert not page.locator("#below").is_visible()
    assert not page.locator("#keep").is_visible()

    page.fill("#first-names", "ring, zig zag")
    page.click("#first button")
    page.wait_for_selector("#done", state="visible")

    assert visitor.counts() == {"ring": "to be drawn", "zig zag": "to be drawn"}
    assert page.locator("#task").inner_text().split() == ["Draw", "ring"]


def test_a_class_that_three_drawings_taught_is_read_at_the_fourth(visitor: Visitor) -> None:
    visitor.name("zig, ladder")
    for name in ("zig", "ladder"):
        visitor.teach(name, *(drawn(name, seed) for seed in range(3)))
    visitor.add("wheel")  # of which nothing is known, and which is in hand now
    visitor.page.uncheck("#auto")
    for seed in range(3):
        visitor.draw(drawn("wheel", seed))
        visitor.keep()
    visitor.page.click("#done")

    assert visitor.counts() == dict.fromkeys(("zig", "ladder", "wheel"), "3 drawings")
    for name in SIGNS:
        visitor.draw(drawn(name, 3))
        assert visitor.answer() == name
        visitor.page.click("#clear")


@pytest.mark.parametrize("signs", [DIGITS, GREEK], ids=["digits", "Greek"])
def test_characters_are_read_from_print_alone(visitor: Visitor, signs: dict[str, Strokes]) -> None:
    visitor.name(" ".join(signs))
    read = {}
    for name in signs:
        visitor.draw(drawn(name, 1))
        read[name] = visitor.answer()
        visitor.page.click("#clear")

    wrong = {name: found for name, found in read.items() if name != found}
    assert len(wrong) <= 1, wrong


def omniglot(folder: Path, characters: int, drawers: int) -> list[list[Strokes]]:
    """Strokes of characters of the first alphabet there, each by so many people."""
    found = []
    with zipfile.ZipFile(folder / OMNIGLOT) as archive:
        names = [name for name in archive.namelist() if name.endswith(".txt")]
        places = sorted({name.rsplit("/", 1)[0] for name in names})
        for place in places[:characters]:
            files = sorted(name for name in names if name.startswith(f"{place}/"))[:drawers]
            found.append([omniglot_strokes(archive.read(file).decode()) for file in files])
    return found


def omniglot_strokes(text: str) -> Strokes:
    """Read a drawing: x and y in pixels of 105, y negative downwards, BREAK between strokes."""
    strokes: Strokes = [[]]
    for row in text.split():
        if row == "BREAK":
            strokes.append([])
        elif row != "START":
            x, y, _ = map(float, row.split(","))
            strokes[-1].append((0.1 + 0.8 * x / 105, 0.1 - 0.8 * y / 105))
    return [stroke[::2] for stroke in strokes if stroke]


def test_strokes_of_real_pens_are_read_after_three_people_taught_them(
    visitor: Visitor, data_folder: Path
) -> None:
    """Four characters that no keyboard has, by four people each; the fourth is to be read."""
    if not (data_folder / OMNIGLOT).exists():
        pytest.skip(f"no {OMNIGLOT} here")
    drawings = omniglot(data_folder, characters=4, drawers=4)
    names = [f"sign {number}" for number in range(4)]
    visitor.name(", ".join(names))
    for name, (*taught, _) in zip(names, drawings, strict=True):
        visitor.teach(name, *taught)
    read = []
    for *_, new in drawings:
        visitor.draw(new)
        read.append(visitor.answer())
        visitor.page.click("#clear")

    assert sum(found == name for found, name in zip(read, names, strict=True)) >= 3, read


def test_no_drawing_one_dot_and_a_flat_line_are_no_trouble(visitor: Visitor, folder: Path) -> None:
    visitor.name("zig, ladder")
    visitor.page.press("#pad", "Enter")  # nothing to keep

    assert kept_strokes(folder) == []

    for strokes in (DOT, FLAT):
        visitor.draw(strokes)
        visitor.answer()
        assert visitor.page.locator("#said").inner_text() == ""
        visitor.keep("zig")

    assert visitor.counts()["zig"] == "2 drawings"


def test_a_pen_that_presses_draws_broader(visitor: Visitor, folder: Path) -> None:
    """What the browser told of it is in the strokes that are kept, and in their picture."""
    visitor.name("zig, ladder")
    for pressure in (0.1, 1.0):
        visitor.draw(drawn("zig", 0), pointerType="pen", pressure=pressure)
        visitor.keep("zig")
    found = {}
    for file in folder.glob("samples/zig/*.json"):
        (pressure,) = {p[3] for one in json.loads(file.read_text())["strokes"] for p in one}
        found[pressure] = int((255 - decode.read(file.with_suffix(".png"))).sum())

    assert found.keys() == {0.1, 1.0} and found[1.0] > 1.3 * found[0.1]


def test_strokes_are_taken_back_and_brought_back(visitor: Visitor, folder: Path) -> None:
    page = visitor.page
    visitor.name("zig, ladder")
    visitor.draw(SIGNS["ladder"])
    for key in ("Control+z", "Control+z", "Control+y"):
        page.press("#pad", key)
    visitor.keep("ladder")
    visitor.draw(SIGNS["ladder"])
    page.click("#undo")
    page.click("#redo")
    page.fill("#keep-name", "zig")
    page.press("#pad", "Escape")
    assert not page.locator("#keep").is_visible()
    page.click("#undo")  # the clearing
    assert page.input_value("#keep-name") == ""  # a name is of one drawing
    visitor.keep("ladder")

    assert kept_strokes(folder) == [3, 4]


def test_what_is_kept_can_be_undone_and_done_again(visitor: Visitor) -> None:
    page = visitor.page
    visitor.name("zig, ladder")
    visitor.teach("zig", drawn("zig"))
    page.press("#pad", "Control+z")
    page.get_by_text("Undone.").wait_for(state="attached")

    assert visitor.counts()["zig"] == "to be drawn"

    page.press("#pad", "Control+Shift+z")
    page.get_by_text("Redone.").wait_for(state="attached")

    assert visitor.counts()["zig"] == "1 drawing"


def test_choosing_another_answer_says_what_it_was_and_keeps_nothing_yet(pupil: Visitor) -> None:
    """A touch by mistake teaches nothing."""
    page = pupil.page
    pupil.draw(drawn("zig", 4))
    pupil.answer()
    page.locator(".bars button", has_text="ladder").click()

    assert page.input_value("#keep-name") == "ladder"
    assert pupil.counts() == {"zig": "3 drawings", "ladder": "3 drawings"}

    page.keyboard.press("Enter")
    page.locator("#answer", has_text="Kept as").wait_for()

    assert pupil.counts() == {"zig": "3 drawings", "ladder": "4 drawings"}


def test_a_sign_that_has_enough_leads_to_the_next(visitor: Visitor) -> None:
    page = visitor.page
    visitor.name("zig, ladder")
    visitor.draw(drawn("wheel", 0))
    page.locator("#signs button", has_text="zig").click()

    assert page.locator("#keep").is_hidden()  # what was drawn is of something else

    for seed in range(3):
        visitor.draw(drawn("zig", seed))
        visitor.keep()
    page.get_by_role("button", name="Now ladder").click()

    assert page.locator("#task").inner_text().split() == ["Draw", "ladder"]


def test_a_sign_in_hand_is_kept_when_the_pen_pauses(visitor: Visitor) -> None:
    visitor.name("zig, ladder")
    visitor.page.locator("#signs button", has_text="zig").click()
    visitor.draw(drawn("zig"))
    visitor.page.locator("#answer", has_text="Kept as").wait_for()

    assert visitor.counts()["zig"] == "1 drawing"


def test_signs_are_renamed_merged_deleted_and_brought_back(visitor: Visitor) -> None:
    page = visitor.page
    visitor.name("zig, ladder, wheel")
    visitor.teach("zig", drawn("zig"))
    page.locator("#signs button", has_text="zig").click()
    page.fill("#hand-name", "zag")
    page.get_by_role("button", name="Rename").click()
    page.get_by_text("Renamed.").wait_for(state="attached")
    assert list(visitor.counts()) == ["zag", "ladder", "wheel"]
    page.select_option("#hand-into", label="\u2068wheel\u2069")
    page.get_by_role("button", name="Merge").click()
    page.get_by_text("Merged.").wait_for(state="attached")
    assert visitor.counts() == {"ladder": "to be drawn", "wheel": "1 drawing"}
    page.locator("#signs button", has_text="wheel").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("Deleted.").wait_for(state="attached")
    assert visitor.counts() == {"ladder": "to be drawn"}
    for _ in range(3):
        was = page.locator("#take-back").inner_text()
        page.click("#take-back")
        page.wait_for_function("was => document.querySelector('#take-back').innerText !== was",
                               arg=was)  # fmt: skip

    assert visitor.counts() == {"zig": "1 drawing", "ladder": "to be drawn", "wheel": "to be drawn"}


def test_a_sign_that_nobody_taught_is_none_of_them(pupil: Visitor) -> None:
    pupil.draw(drawn("wheel", 1))
    card = pupil.page.locator("#answer")

    assert pupil.answer() == "?" or "None of your signs" in card.inner_text()
    assert "Nearest to it, if it were one of them:" in card.inner_text()


def test_what_print_cannot_tell_apart_may_be_both(visitor: Visitor) -> None:
    visitor.name("o 0")
    visitor.draw(drawn("0", 1))
    visitor.answer()
    said = visitor.page.locator("#answer").inner_text()

    assert "It may be o or 0." in said or "It may be 0 or o." in said


def test_what_to_draw_next_and_what_was_gained_follow(pupil: Visitor) -> None:
    """The advice has a button, which takes the sign in hand; the curve grows with the drawings."""
    page = pupil.page
    page.wait_for_selector(".plot .dot", state="attached")
    before = page.locator(".plot .dot").count()
    for seed in (3, 4):
        for name in ("zig", "ladder"):
            pupil.teach(name, drawn(name, seed))
    page.wait_for_function(f"() => document.querySelectorAll('.plot .dot').length > {before}")

    assert "of the others are read right" in page.locator("#growth").inner_text()

    pupil.add("wheel")
    page.locator("#growth", has_text="nothing is known of it yet").wait_for()
    page.click("#done")
    page.locator("#growth").get_by_role("button", name="Draw wheel").click()

    assert page.locator("#task").inner_text().split() == ["Draw", "wheel"]


def test_what_the_network_sees_is_shown_and_what_mattered(pupil: Visitor) -> None:
    page = pupil.page
    pupil.draw(drawn("zig", 4))
    pupil.answer()

    assert page.locator("#nearest img").count() == 5
    assert "pad" in page.locator("#evidence").inner_text()
    colours = "[...document.querySelector('#ink').getContext('2d').getImageData(0, 0, 32, 32).data]"
    plain = page.evaluate(f"{colours}.some((v, i) => i % 4 === 0 && v < 60)")
    page.click("#heat")
    pupil.answer()
    page.wait_for_selector("#scale", state="visible")
    reds = page.evaluate(
        f"{colours}.filter((v, i, all) => i % 4 === 0 && v - all[i + 2] > 60).length"
    )

    assert plain
    assert reds > 0


def test_answers_come_while_one_draws(pupil: Visitor, record_property: Any) -> None:
    """How long after the newest point the answer is shown is recorded, not judged: ms."""
    waits = []
    for seed in range(4, 10):
        pupil.draw(drawn("ladder", seed), open=True)  # the pen is still down
        assert pupil.answer() == "ladder"
        entries = "performance.getEntriesByName('answer').map((entry) => entry.duration)"
        waits += pupil.page.evaluate(entries)
        pupil.page.evaluate("dispatchEvent(new PointerEvent('pointerup', {pointerId: 7}))")
        pupil.page.press("#pad", "Escape")

    record_property("ms to an answer", [round(wait, 1) for wait in waits])
    assert len(waits) == 6
