"""The views Test, Review and Share, and photos."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Saved, User, Visit, studio_at
from hand_drawn import draw


def give(page: Any, kind: str, files: dict[str, Any]) -> None:
    """Drop or paste files: pictures, given as rows of drawings, or text."""
    page.evaluate("([kind, files]) => give(kind, files)", [kind, files])


def test_a_test_has_an_end_and_counts_apart_from_the_examples(teacher: User, saved: Saved) -> None:
    """Two drawings are missed: one is taught, one was a slip; a third is a stranger."""
    page = teacher.page
    teacher.view("test")
    page.click("#quiz-done")
    asked: list[str] = []
    while page.locator("#quiz-done").inner_text() != "Test again":
        target = page.locator("#task .sign").inner_text()
        other = {"zig": "ladder", "ladder": "zig"}[target]
        turn = len(asked)
        asked.append(target)
        name, seed = {2: (other, 7), 3: (other, 8), 4: ("∮", 1)}.get(turn, (target, 5 + turn))
        teacher.draw(draw(name, seed))
        page.press("#pad", "Enter")
        if name != target:
            page.locator("#quiz-outcome", has_text=f"✗ Missed {target}: it ").wait_for()
            page.click({2: "#quiz-teach", 3: "#quiz-slip", 4: "#quiz-done"}[turn])
        number = turn + 2 - (turn > 2)  # the slip does not count
        question = page.locator("#quiz-count", has_text=f"{number} of 10")
        page.locator("#quiz-sheet li").first.or_(question).wait_for()
        page.wait_for_selector("#quiz-done[aria-busy=false]:not([data-phase=miss])")
    assert page.locator("#task").inner_text() == "8 of 10 recognised"
    assert page.locator("#quiz-sheet .wrong").count() == 2
    page.click("#results > summary")
    accuracy = page.locator("#test-accuracy").inner_text().replace("\u00a0", " ")
    assert accuracy.startswith("8 of 10 recognised. Too few to be sure (")
    assert "recognised as" in page.locator("#test-mixups li").first.inner_text()
    teacher.view("teach")
    assert len(saved()) == 6 + 10 + 1


def test_a_suspicious_drawing_is_accepted_or_dragged(teacher: User) -> None:
    page = teacher.page
    teacher.teach("zig", draw("ladder", 4))  # which is wrong
    teacher.view("review")
    teacher.wait_for_rows("4,3")
    page.check("#filter-suspicious")
    teacher.wait_for_rows("1")
    page.click("#accept-all")
    teacher.wait_for_rows("3,4")
    page.click("#toast-undo")
    teacher.wait_for_rows("4,3")
    page.get_by_role("button", name="→ ladder").click()  # the suggestion itself accepts it
    teacher.wait_for_rows("3,4")
    page.click("#toast-undo")
    teacher.wait_for_rows("4,3")
    drawing = page.locator(".suspicious").bounding_box()
    row = page.locator("#sheet > li").nth(1).bounding_box()
    page.mouse.move(drawing["x"] + 30, drawing["y"] + 30)
    page.mouse.down()
    page.mouse.move(drawing["x"] + 60, drawing["y"] + 40)
    page.mouse.move(row["x"] + row["width"] / 2, row["y"] + row["height"] / 2, steps=4)
    assert page.locator(".over").count() == 1
    page.mouse.up()
    teacher.wait_for_rows("3,4")
    page.locator("#toast", has_text="Moved 1 drawing to ladder.").wait_for()
    page.keyboard.press("Control+z")
    teacher.wait_for_rows("4,3")


def test_suspicious_drawings_are_decided_one_after_another(teacher: User, saved: Saved) -> None:
    """By clicks and by keys; every decision can be undone, and keeping stays decided."""
    page = teacher.page
    teacher.teach("zig", draw("ladder", 4), draw("ladder", 5))  # which is wrong
    teacher.view("review")
    page.locator("#suspect-title", has_text="Is this zig?").wait_for()
    image = page.locator("#suspect-image img")
    first = image.get_attribute("src")
    page.click("#suspect-skip")
    page.wait_for_function(
        "(src) => !document.querySelector(`#suspect-image [src='${src}']`)", arg=first
    )
    page.keyboard.press("s")  # round to the first
    page.wait_for_selector(f"#suspect-image img[src='{first}']")
    page.click("#suspect-keep")
    page.locator("#toast", has_text="Kept in zig.").wait_for()
    teacher.wait_for_rows("5,3")
    assert page.locator(".suspicious").count() == 1
    page.click("#suspect-other")
    page.fill("#move-into", "ladder")
    page.press("#move-into", "Enter")
    page.wait_for_selector("#suspect", state="hidden")
    teacher.wait_for_rows("4,4")
    for _ in range(2):
        page.click("#undo")
        page.locator("#toast", has_text="Undone.").wait_for()
    page.locator(".suspicious").nth(1).wait_for()
    page.keyboard.press("a")
    teacher.wait_for_rows("4,4")
    page.keyboard.press("d")
    teacher.wait_for_rows("3,4")
    assert len(saved()) == 7


def test_a_photographed_page_follows_corrections(teacher: User) -> None:
    """Tags and text show what the user said, until that is undone."""
    page = teacher.page
    rows = [[draw("zig", 7), draw("wheel", 1)], [draw("ladder", 8)]]
    give(page, "drop", {"page.png": rows})
    page.wait_for_selector(".box")
    assert page.locator("#task").inner_text() == "3 signs in 2 rows"
    assert page.locator("#photo-text").inner_text().split()[::2] == ["zig", "ladder"]
    page.locator(".box").nth(1).click()
    page.fill("#save-name", "trout")
    page.press("#save-name", "Enter")
    page.wait_for_selector(".box.saved")
    assert page.locator("#photo-text").inner_text() == "zig trout\nladder"
    assert page.locator(".box.saved .tag").inner_text() == "✓ trout"
    assert page.locator(".box").nth(2).get_attribute("aria-pressed") == "true"
    page.keyboard.press("Escape")
    page.click("#undo")
    page.wait_for_selector(".box.saved", state="detached")
    assert page.locator("#photo-text").inner_text().split()[::2] == ["zig", "ladder"]
    page.click("#photo-back")
    assert page.locator("#pad").is_visible()


def test_a_page_is_turned_and_its_sure_signs_are_saved_at_once(teacher: User) -> None:
    page = teacher.page
    give(page, "drop", {"page.png": [[draw("zig", 7), draw("zig", 8), draw("ladder", 8)]]})
    page.locator("#photo-save", has_text="Save the 3 sure ones").click()
    teacher.wait_for("5 drawings,4 drawings")
    page.click("#toast-undo")
    teacher.wait_for("3 drawings,3 drawings")
    size = page.evaluate(
        "(({width, height}) => [width, height])(document.querySelector('#photo-image'))"
    )
    assert size[0] == 3 * size[1]
    page.click("#photo-rotate")
    page.wait_for_selector(f"#photo-image[height='{size[0]}']", state="attached")


def test_the_output_of_a_sign_is_copied_alone_and_in_a_page(visit: Visit, taught_url: str) -> None:
    user = visit(taught_url, permissions=["clipboard-read", "clipboard-write"])
    page, text = user.page, "\\zig{\n  1}"

    def copied(button: str) -> str:
        page.click(button)
        page.locator("#toast", has_text="Copied").wait_for()
        return page.evaluate("navigator.clipboard.readText()")

    user.draw(draw("zig", 7))
    assert user.answer().startswith("zig") and copied("#copy") == "zig"
    for typed in (text, "", text):
        page.get_by_role("button", name="Edit \u2068zig").click()
        page.fill("#output", typed)
        page.click("#output-form button")
        page.locator("#toast", has_text="Output saved.").wait_for()
        assert copied("#copy") == (typed or "zig")
    page.get_by_role("button", name="Edit \u2068zig").click()
    assert page.input_value("#output") == text
    page.click("#output-form button")  # nothing changed
    assert page.locator("#sign-panel").is_hidden()
    give(page, "drop", {"page.png": [[draw("ladder", 8), draw("zig", 7)], [draw("zig", 8)]]})
    page.wait_for_selector(".box")
    assert copied("#photo-copy") == f"ladder {text}\n{text}"
    page.click("#undo")
    page.locator("#photo-text", has_text="ladder zig").wait_for()
    assert copied("#photo-copy") == "ladder zig\nzig"


def test_all_dropped_pictures_are_opened_in_turn(teacher: User) -> None:
    page = teacher.page
    teacher.draw(draw("zig", 7))  # stays on the pad meanwhile
    one, three = [[draw("zig", 7)]], [[draw("ladder", 7)]]
    give(page, "drop", {"one.png": one, "two.heic": "not a picture", "three.png": three})
    page.locator("#task", has_text="1 sign in 1 row").wait_for()
    page.locator("#headline", has_text="zig").wait_for()
    names = page.locator("#queue-names").inner_text()
    assert "2 more pictures" in names and "two.heic" in names and "three.png" in names
    page.click("#why > summary")
    page.wait_for_selector("#heat-scale", state="visible")
    page.press("#save-name", "Enter")
    page.locator("#bench-error", has_text="two.heic").wait_for()
    page.click("#next-picture")
    page.locator("#headline", has_text="ladder").wait_for()
    assert page.locator("#queue").is_hidden()
    page.press("#save-name", "Enter")
    teacher.wait_for("4 drawings,4 drawings")
    page.click("#photo-back")
    assert page.locator("#save-form").is_visible()
    teacher.expect_refusals()


@pytest.mark.parametrize("button", ["Save recogniser", "Save drawings"])
def test_what_one_user_saves_another_opens_and_can_undo(
    button: str, teacher: User, visit: Visit, backbone: Any, tmp_path: Path
) -> None:
    assert "6 of 6" in teacher.download("Save report", tmp_path).read_text()
    file = teacher.download(button, tmp_path)
    with studio_at(tmp_path / "theirs", backbone) as url:
        other = visit(url)
        other.view("share")
        for count in (6, 0):  # nothing twice
            other.page.set_input_files("#open", file)
            other.page.locator("#toast", has_text=f"Imported {count} drawings.").wait_for()
        other.view("teach")
        other.wait_for("3 drawings,3 drawings")
        assert other.answers(("ladder", 9))[0].startswith("ladder")
        other.page.click("#undo")
        other.page.wait_for_function("() => statuses() === ''")
        other.page.goto("about:blank")
