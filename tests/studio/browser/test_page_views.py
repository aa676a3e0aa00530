"""The views Test, Review and Share, and photos."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Saved, User, Visit, studio_at
from hand_drawn import draw


def give(page: Any, kind: str, files: dict[str, Any]) -> None:
    """Drop or paste files: pictures, given as rows of drawings, or text."""
    page.evaluate("([kind, files]) => give(kind, files)", [kind, files])


def test_a_test_counts_apart_from_the_examples(teacher: User, saved: Saved) -> None:
    """One sign is drawn as another, one drawing is a stranger; the matrix shows them."""
    page = teacher.page
    teacher.view("test")
    asked = []
    for turn in range(4):
        page.wait_for_selector("#quiz-done[aria-disabled=false]")
        target = page.locator("#quiz-title .sign").inner_text()
        asked.append(target)
        other = {"zig": "ladder", "ladder": "zig"}[target]
        name, seed = {2: (other, 7), 3: ("wheel", 1)}.get(turn, (target, 5 + turn))
        teacher.draw(draw(name, seed), "#quiz-pad")
        page.press("#quiz-pad", "Enter")
        page.locator("#quiz-accuracy", has_text=f"of {turn + 1} recognised").wait_for()
        outcome = page.locator("#quiz-outcome").inner_text()
        expected = f"✓ Right: {target}" if name == target else f"✗ Missed {target}: it "
        assert outcome.startswith(expected)
    assert sorted(asked) == ["ladder", "ladder", "zig", "zig"]  # each as often
    text = page.locator("#quiz-accuracy").inner_text().replace("\u00a0", " ")
    assert text == "2 of 4 recognised. Too few to be sure (15 to 85 %)."
    page.locator("#confusions .miss button").first.click()
    assert page.locator(".drawings img").count() == 1
    assert "recognised as" in page.locator(".drawings p").inner_text()
    teacher.view("teach")
    teacher.wait_for("3 drawings,3 drawings")
    assert len(saved()) == 10


def test_a_suspicious_drawing_is_dragged_to_its_sign(teacher: User) -> None:
    page = teacher.page
    teacher.teach("zig", draw("ladder", 4))  # which is wrong
    teacher.view("review")
    teacher.wait_for_rows("4,3")
    page.check("#filter-suspicious")
    teacher.wait_for_rows("1")
    assert page.locator(".suspicious").inner_text() == "→ ladder"
    page.uncheck("#filter-suspicious")
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


def test_all_dropped_pictures_are_opened_in_turn(teacher: User) -> None:
    page = teacher.page
    teacher.draw(draw("zig", 7))  # stays on the pad meanwhile
    one, three = [[draw("zig", 7)]], [[draw("ladder", 7)]]
    give(page, "drop", {"one.png": one, "two.heic": "not a picture", "three.png": three})
    page.locator("#task", has_text="1 sign in 1 row").wait_for()
    page.locator("#headline", has_text="zig").wait_for()
    names = page.locator("#queue-names").inner_text()
    assert "2 more pictures" in names and "two.heic" in names and "three.png" in names
    page.click("#explain")
    page.wait_for_selector("#heat-scale", state="visible")
    page.press("#save-name", "Enter")
    page.locator("#teach-error", has_text="two.heic").wait_for()
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
