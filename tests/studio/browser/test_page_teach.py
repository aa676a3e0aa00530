"""The Teach view: name signs, draw them, see them recognised, and save them as examples."""

import json

import pytest
from conftest import Saved, Shared, User, Visit
from hand_drawn import SIGNS, Strokes, draw

from siglum.studio.snapshot import Studio

SURE = "> 99 %"


def saved_points(studio: Studio) -> list[Strokes]:
    """The strokes of each saved drawing, the oldest first."""
    contents = [studio.store.content(id)[0] for id in studio.store.state.drawings]
    return [json.loads(content or "{}")["strokes"] for content in contents]


def task(user: User) -> str:
    return " ".join(user.page.locator("#task").inner_text().split())


def test_a_session_stays_as_it_was_recorded(user: User, saved: Saved, tmp_path) -> None:
    """Name signs, read them from fonts, teach, correct, undo, read, export."""
    assert user.page.locator("#add-label").inner_text() == "What should it recognise?"
    assert not user.page.locator("#results, #save-form").filter(visible=True).count()
    user.start("α, β, zig, ladder")
    user.wait_for("ready,ready,draw it 3 times,draw it 3 times")
    assert user.answers(("α", 1), ("β", 1)) == [f"α {SURE}", f"β {SURE}"]
    for name in ("zig", "ladder"):
        user.teach(name, *(draw(name, seed) for seed in range(3)))
    user.teach("α", draw("β", 2))  # which is wrong
    user.view("review")
    user.wait_for_rows("1,0,3,3")
    user.page.locator("[data-drawing]").first.click()
    user.submit("#move-into", "β")
    user.wait_for_rows("0,1,3,3")
    user.page.click("#undo")
    user.wait_for_rows("1,0,3,3")
    user.page.click("#redo")
    user.wait_for_rows("0,1,3,3")
    user.view("teach")
    answers = user.answers(("α", 3), ("β", 3), ("zig", 4), ("ladder", 4))
    assert answers == [f"{name} {SURE}" for name in ("α", "β", "zig", "ladder")]
    wheel, gamma = user.answers(("wheel", 1), ("γ", 1))
    assert wheel == "? Not one of your signs. Closest: ladder or β"
    assert gamma == "? Not one of your signs. Closest: α or zig"
    assert saved() == sorted(["β"] + ["zig", "ladder"] * 3)
    assert user.download("Save recogniser", tmp_path).name == "my-signs.siglum"


@pytest.mark.parametrize("group", ["digits", "Greek"])
def test_characters_are_recognised_from_fonts_alone(group: str, user: User) -> None:
    names = list(SIGNS[group])
    user.start(" ".join(names))
    answers = [answer.split(" ")[0] for answer in user.answers(*((name, 1) for name in names))]
    assert sum(answer != name for answer, name in zip(answers, names, strict=True)) <= 1, answers


def test_strokes_are_saved_as_drawn_undone_and_redone(user: User, shared: Shared) -> None:
    """Nothing for an empty pad; a dot, the pressure of a pen, four strokes without the last."""
    page = user.page
    user.start("zig, ladder")
    page.press("#pad", "Enter")
    user.teach("zig", [[(0.5, 0.5)]])
    user.draw(draw("zig", 0), pressure=1.0)
    user.save("zig")
    user.draw(SIGNS["own"]["ladder"])
    for key in ("Control+z", "Control+z", "Control+y"):
        page.press("#pad", key)
    page.reload()  # keeps the drawing
    user.wait_for("2 drawings,draw it 3 times")
    page.fill("#save-name", "zig")
    page.press("#pad", "Escape")
    assert not page.locator("#save-form").is_visible()
    page.click("#undo-stroke")  # the clearing
    assert page.input_value("#save-name") == ""  # a name belongs to one drawing
    user.save("ladder")
    dot, pressed, ladder = saved_points(shared[0])
    assert [point[:2] for point in dot[0]] == [[0.5, 0.5]]
    assert {point[3] for point in pressed[0]} == {1.0}
    assert len(ladder) == 3


def test_saving_can_be_undone_and_leads_to_the_next_sign(user: User) -> None:
    page = user.page
    user.start("zig, ladder")
    user.teach("zig", draw("zig"))
    page.press("#pad", "Control+z")
    page.locator("#toast", has_text="Undone.").wait_for()
    user.wait_for("draw it 3 times,draw it 3 times")
    page.press("#pad", "Control+Shift+z")
    user.wait_for("1 drawing,draw it 3 times")
    user.teach("zig", draw("zig", 1))
    page.click("#toast-undo")
    user.wait_for("1 drawing,draw it 3 times")
    user.draw(draw("wheel", 0))
    user.select("zig")
    assert user.page.locator("#save-form").is_hidden()  # the drawing was of something else
    user.teach("", draw("zig", 2), draw("zig", 3))
    user.page.locator("#suggestions").get_by_role("button", name="Draw ladder").click()
    assert task(user) == "Draw ladder 0 of 3"


def test_answers_follow_the_pen_and_one_click_saves(teacher: User) -> None:
    page = teacher.page
    teacher.draw(draw("zig", 4), open=True)  # the pen is still down
    assert teacher.answer().startswith("zig")
    page.evaluate("dispatchEvent(new PointerEvent('pointerup', {pointerId: 7}))")
    page.locator("#choices button", has_text="ladder").click()
    teacher.wait_for("3 drawings,4 drawings")
    page.click("#toast-undo")
    teacher.wait_for("3 drawings,3 drawings")


def test_a_drawing_of_find_is_there_in_teach(teacher: User) -> None:
    page = teacher.page
    teacher.view("find")
    teacher.draw(draw("zig", 4))
    page.click("#find-teach")
    page.locator("#headline", has_text="zig").wait_for()
    teacher.view("test")  # a test has a pad of its own
    assert page.evaluate("hasInk([0.5, 0.5])") is False
    teacher.view("teach")
    page.locator("#headline", has_text="zig").wait_for()


@pytest.mark.parametrize("width", [390, 1280])
def test_choosing_a_sign_shows_the_pad(width: int, visit: Visit, taught_url: str) -> None:
    user = visit(taught_url, viewport={"width": width, "height": 800})
    user.submit("#add-name", ", ".join(f"sign {name}" for name in "abcdefghijkl"))
    top = "document.querySelector('#pad').getBoundingClientRect().top"
    assert 0 <= user.page.evaluate(top) < 400
    user.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    user.select("zig")
    assert 0 <= user.page.evaluate(top) < 400


def test_signs_are_renamed_merged_deleted_and_restored(user: User) -> None:
    page = user.page
    user.start("zig, ladder, wheel")
    user.teach("zig", draw("zig"))
    page.get_by_role("button", name="Edit \u2068zig").click()
    page.fill("#rename-name", "zag")
    page.get_by_role("button", name="Rename").click()
    page.locator("#toast", has_text="Renamed.").wait_for()
    assert page.locator("#signs .name").all_inner_texts() == ["zag", "ladder", "wheel"]
    page.get_by_role("button", name="Edit \u2068zag").click()
    page.select_option("#merge-into", label="\u2068wheel\u2069")
    page.get_by_role("button", name="Merge").click()
    page.locator("#toast", has_text="Merged into wheel.").wait_for()
    user.wait_for("draw it 3 times,1 drawing")
    page.get_by_role("button", name="Edit \u2068wheel").click()
    page.locator("#delete-form button").click()
    page.locator("#toast", has_text="Deleted wheel.").wait_for()
    user.wait_for("draw it 3 times")
    page.click("#toast-undo")
    user.wait_for("draw it 3 times,1 drawing")


def test_confusable_characters_are_named_both(user: User) -> None:
    user.start("o, 0")
    notice = user.page.locator("#lookalikes").inner_text()
    assert notice == "o 0 look the same. Keep only those that you use."
    answer = user.answers(("0", 1))[0]
    assert "Not sure: o or 0?" in answer or "Not sure: 0 or o?" in answer


def test_suggestions_and_figures_follow_within_seconds(teacher: User) -> None:
    page = teacher.page
    for name in ("zig", "ladder"):
        teacher.teach(name, draw(name, 3), draw(name, 4))
    page.click("#results > summary")
    page.locator("#train-accuracy", has_text="10 of 10 recognised.").wait_for()
    page.locator("#curve", has_text="drawings per sign it recognises").wait_for()
    teacher.submit("#add-name", "wheel")
    page.click("#stop")
    page.locator("#suggestions").get_by_role("button", name="Draw wheel").click()
    assert task(teacher) == "Draw wheel 0 of 3"


def test_what_is_typed_may_mean_several_signs(user: User) -> None:
    """A run of characters, words, the Unicode name of a character, and groups."""
    page = user.page
    offers = page.locator("#add-offers button")
    page.fill("#add-name", "house spiral fish")
    assert offers.all_inner_texts() == ["Add 3 signs", "Add “house spiral fish” as one sign"]
    user.submit("#add-name", "αβγ")
    user.wait_for("ready,ready,ready")
    page.fill("#add-name", "integral")
    offers.filter(has_text="∫ integral").click()
    user.wait_for("ready,ready,ready,ready")
    page.fill("#add-name", "digits")
    offers.filter(has_text="All 10 characters of digits").click()
    user.wait_for(",".join(["ready"] * 14))
    page.fill("#add-name", "latex")
    offers.filter(has_text="characters of latex").click()
    for sign, output in (("∮", r"\oint"), ("∫", "")):  # ∫ was there before
        page.get_by_role("button", name=f"Edit \u2068{sign}").click()
        assert page.input_value("#output") == output
        page.keyboard.press("Escape")
    page.click("#undo")  # a group is one step; the next test need not delete its signs one by one
    user.wait_for(",".join(["ready"] * 14))


def test_the_network_input_and_its_heat_map_are_shown(teacher: User) -> None:
    page = teacher.page
    teacher.draw(draw("zig", 4))
    teacher.answer()
    assert page.evaluate("networkInput().dark") > 20
    page.click("#why > summary")
    page.wait_for_selector("#heat-scale", state="visible")
    assert page.locator("#similar img").count() == 5
    assert page.locator("#notes li").count() > 0
    assert page.evaluate("networkInput().red") > 0
    assert "ithout the reddest" in page.locator("#heat-text").inner_text()
