"""The views Test, Review and Share, and photos."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import User, studio_at
from hand_drawn import Strokes, draw, to_json
from PIL import Image

from siglum.images import strokes as pens

SIDE = 240  # px of a sign on a page


def photo(*rows: list[Strokes]) -> bytes:
    """A page of signs, dark on pale paper, as a PNG."""
    cells = [[pens.rasterise(pens.parse(to_json(one)), SIDE) for one in row] for row in rows]
    lines = [np.concatenate(row, axis=1) for row in cells]
    width = max(line.shape[1] for line in lines)
    ink = np.concatenate([np.pad(line, ((0, 0), (0, width - line.shape[1]))) for line in lines])
    share = ink[..., None] / 255
    paper, pen = np.array([228, 222, 208]), np.array([50, 50, 70])
    png = io.BytesIO()
    Image.fromarray(np.uint8((1 - share) * paper + share * pen)).save(png, "PNG")
    return png.getvalue()


def give(page: Any, kind: str, **files: bytes) -> None:
    """Drop or paste files, named by their keyword; an underscore stands for the dot."""
    names = {name.replace("_", "."): raw for name, raw in files.items()}
    types = {"png": "image/png", "heic": "image/heic"}
    values = [
        [name, types.get(name.rsplit(".", 1)[1], ""), base64.b64encode(raw).decode()]
        for name, raw in names.items()
    ]
    page.evaluate("([kind, files]) => give(kind, files)", [kind, values])


def test_a_test_counts_apart_from_the_examples(
    teacher: User, saved: Callable[[], list[str]]
) -> None:
    """Of three signs one is drawn as the other, and one is a stranger; the matrix shows them."""
    page = teacher.page
    teacher.view("test")
    for turn in range(4):
        page.wait_for_selector("#quiz-done[aria-disabled=false]")
        target = page.locator("#quiz-title .sign").inner_text()
        other = {"zig": "ladder", "ladder": "zig"}[target]
        name = {2: other, 3: "wheel"}.get(turn, target)
        teacher.draw(draw(name, {3: 1}.get(turn, 5 + turn)), "#quiz-pad")
        page.press("#quiz-pad", "Enter")
        page.locator("#quiz-accuracy", has_text=f"of {turn + 1} recognised").wait_for()
        outcome = page.locator("#quiz-outcome").inner_text()
        assert outcome.startswith(
            f"✓ Right: {target}" if name == target else f"✗ Missed {target}: it "
        )

    text = page.locator("#quiz-accuracy").inner_text()
    assert text.startswith("2 of 4 recognised. Too few to be sure (15 to 85\u00a0%).")
    page.locator("#confusions .miss button").first.click()
    assert page.locator(".drawings img").count() == 1
    assert "recognised as" in page.locator(".drawings p").inner_text()

    teacher.view("teach")
    assert teacher.statuses() == {"zig": "3 drawings", "ladder": "3 drawings"}
    assert len(saved()) == 10


def test_people_are_counted_without_their_own_examples(teacher: User) -> None:
    page = teacher.page
    for author, seed in (("Ann", 3), ("Bob", 4)):
        page.fill("#author", author)
        page.press("#author", "Tab")
        for name in ("zig", "ladder"):
            teacher.teach(name, draw(name, seed))
    teacher.view("test")
    page.locator(".people", has_text="2 of 2").wait_for()
    rows = [row.inner_text().split("\t") for row in page.locator(".people tbody tr").all()]

    assert rows == [
        ["no name", "6", "0", "–", "3", "3"],
        ["Ann", "2", "0", "2 of 2", "1", "1"],
        ["Bob", "2", "0", "2 of 2", "1", "1"],
    ]


def test_a_suspicious_drawing_is_dragged_to_its_sign(teacher: User) -> None:
    page = teacher.page
    teacher.teach("zig", draw("ladder", 4))  # which is wrong
    teacher.view("review")
    teacher.wait_for_rows("4,3")
    page.wait_for_selector(".suspicious")
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


def test_several_drawings_are_deleted_and_restored_at_once(teacher: User) -> None:
    page = teacher.page
    teacher.view("review")
    for place in (0, 1, 3):
        page.locator("[data-drawing]").nth(place).click()
    page.locator("#selection", has_text="3 drawings selected").wait_for()
    page.select_option("#filter-class", label="\u2068zig\u2069")  # hidden ones are not selected
    page.locator("#selection", has_text="2 drawings selected").wait_for()
    page.click("#remove")
    teacher.wait_for_rows("1")
    page.click("#toast-undo")
    teacher.wait_for_rows("3")
    page.select_option("#filter-class", "")
    teacher.wait_for_rows("3,3")
    first = page.locator("[data-drawing]").first
    first.evaluate("element => element.click()")  # as voice control and screen readers send it
    assert page.locator("[data-drawing]").first.get_attribute("aria-checked") == "true"


def test_a_photographed_page_follows_corrections(teacher: User) -> None:
    """Tags and text show what was said a sign is, and what was predicted again after undo."""
    page = teacher.page
    give(page, "drop", page_png=photo([draw("zig", 7), draw("wheel", 1)], [draw("ladder", 8)]))
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
    pictures = {
        "one_png": photo([draw("zig", 7)]),
        "two_heic": b"not a picture",
        "three_png": photo([draw("ladder", 7)]),
    }
    give(page, "drop", **pictures)
    page.locator("#headline", has_text="zig").wait_for()
    assert page.locator("#queue-names").inner_text() == "2 more pictures: two.heic, three.png"
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


def test_a_picture_without_signs_is_explained(teacher: User) -> None:
    page = teacher.page
    give(page, "paste", blank_png=photo([[[(2.0, 2.0)]]]))
    page.locator("#headline", has_text="No sign found in this picture.").wait_for()
    assert page.locator("#save-form").is_hidden()


def test_a_file_of_another_kind_is_refused_with_its_name(teacher: User) -> None:
    give(teacher.page, "drop", theirs_siglum=b"no zip at all")
    teacher.page.wait_for_selector("#opened .error")
    assert "theirs.siglum" in teacher.page.locator("#opened").inner_text()
    teacher.expect_refusals()


@pytest.mark.parametrize("button", ["Save recogniser", "Save drawings"])
def test_what_one_user_saves_another_opens_and_can_undo(
    button: str, teacher: User, visit: Callable[..., User], backbone: Any, tmp_path: Path
) -> None:
    teacher.view("share")
    with teacher.page.expect_download() as waiting:
        teacher.page.get_by_text(button).click()
    file = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(file)
    with studio_at(tmp_path / "theirs", backbone) as url:
        other = visit(url)
        other.view("share")
        other.page.set_input_files("#open", file)
        other.page.locator("#toast", has_text="Imported 6 drawings.").wait_for()
        other.view("teach")
        assert other.statuses() == {"zig": "3 drawings", "ladder": "3 drawings"}
        other.draw(draw("ladder", 9))
        assert other.answer().startswith("ladder")
        other.page.click("#clear")
        other.view("share")
        other.page.set_input_files("#open", file)  # nothing twice
        other.page.locator("#toast", has_text="Imported 0 drawings.").wait_for()
        other.page.click("#undo")
        other.page.wait_for_function("() => statuses() === ''")
        other.page.goto("about:blank")


def test_the_report_is_saved(teacher: User, tmp_path: Path) -> None:
    teacher.view("share")
    with teacher.page.expect_download() as waiting:
        teacher.page.get_by_text("Save report").click()
    waiting.value.save_as(tmp_path / "report.html")
    report = (tmp_path / "report.html").read_text()

    assert waiting.value.suggested_filename == "my-signs.html"
    assert "zig" in report and "6 of 6" in report
