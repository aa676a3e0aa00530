"""Check yourself, correct, photos, and what is taken along."""

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Visitor, studio_at
from hand_drawn import Strokes, drawn
from PIL import Image
from test_reach import serious

from siglum.images import strokes as pens
from siglum.recogniser.predict import Recogniser

SIDE = 240  # px of a character on a page


def photo(*rows: list[Strokes]) -> bytes:
    """A page of characters, dark on pale paper, as a PNG."""
    lines = []
    for row in rows:
        cells = []
        for strokes in row:
            points = [[[x, y, 0, 0.5] for x, y in stroke] for stroke in strokes]
            value = {"version": 1, "aspect": 1.0, "strokes": points}
            cells.append(pens.rasterise(pens.parse(value), SIDE))
        lines.append(np.concatenate(cells, axis=1))
    widest = max(line.shape[1] for line in lines)
    lines = [np.pad(line, ((0, 0), (0, widest - line.shape[1]))) for line in lines]
    ink = np.concatenate(lines)[..., None] / 255
    paper, pen = np.array([228, 222, 208]), np.array([50, 50, 70])
    taken = io.BytesIO()
    Image.fromarray(np.uint8((1 - ink) * paper + ink * pen)).save(taken, "PNG")
    return taken.getvalue()


def give(
    page: Any, kind: str, raw: bytes, name: str = "photo.png", type_: str = "image/png"
) -> None:
    """Drop or paste a file."""
    page.evaluate(
        """([kind, text, name, type]) => {
          const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], name, { type }));
          const event = kind === "drop"
            ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
          document.body.dispatchEvent(event);
        }""",
        [kind, base64.b64encode(raw).decode(), name, type_],
    )


def test_the_quiz_counts_apart_from_what_is_taught(pupil: Visitor, folder: Path) -> None:
    """Three signs are asked for; one is drawn as the other, and the matrix shows that drawing."""
    page = pupil.page
    before = pupil.counts()
    page.click("nav a[href='#check']")
    for turn in range(3):
        page.wait_for_selector("#quiz-done[aria-disabled=false]")
        asked = page.locator("#check-title .sign").inner_text()
        other = {"zig": "ladder", "ladder": "zig"}[asked]
        pupil.draw(drawn(other if turn == 2 else asked, 5 + turn), "#quiz-pad")
        page.click("#quiz-done")
        page.wait_for_function(
            f"() => document.querySelector('#tally').innerText.includes('of {turn + 1} ')"
        )

    assert (
        "2 of 3 right; with so few, the true rate is between" in page.locator("#tally").inner_text()
    )

    page.locator("#matrices .wrong button").first.click()

    assert page.locator(".drawings img").count() == 1

    page.click("nav a[href='#draw']")

    assert pupil.counts() == before
    assert len(list(folder.glob("quiz/*/*.json"))) == 3


def test_a_sample_is_dragged_to_where_it_belongs(pupil: Visitor) -> None:
    page = pupil.page
    pupil.teach("zig", drawn("ladder", 4))  # which is wrong
    page.click("nav a[href='#correct']")
    page.wait_for_function("() => rows() === '4,3'")
    page.wait_for_selector(".looks-wrong")
    page.check("#wrong")
    page.wait_for_function("() => rows() === '1,0'")
    sample = page.locator("[role=option]").bounding_box()
    row = page.locator("#sheet > li").nth(1).bounding_box()
    page.mouse.move(sample["x"] + 30, sample["y"] + 30)
    page.mouse.down()
    page.mouse.move(sample["x"] + 60, sample["y"] + 40)
    page.mouse.move(row["x"] + row["width"] / 2, row["y"] + row["height"] / 2, steps=4)
    assert page.locator(".over").count() == 1
    page.mouse.up()
    page.uncheck("#wrong")
    page.wait_for_function("() => rows() === '3,4'")
    page.keyboard.press("Control+z")
    page.wait_for_function("() => rows() === '4,3'")


def test_a_sample_is_chosen_by_a_click_that_no_pointer_made(pupil: Visitor) -> None:
    """As voice control and screen readers send it."""
    pupil.page.click("nav a[href='#correct']")
    sample = pupil.page.locator("[data-sample]").first
    sample.evaluate("element => element.click()")

    assert pupil.page.locator("[data-sample]").first.get_attribute("aria-selected") == "true"


def test_several_are_removed_at_once_and_brought_back_at_once(pupil: Visitor) -> None:
    page = pupil.page
    page.click("nav a[href='#correct']")
    for place in (0, 1, 3):
        page.locator("[role=option]").nth(place).click()
    page.locator("#chosen", has_text="3 drawings chosen").wait_for()
    page.select_option("#only", label="\u2068zig\u2069")  # what is not shown is not chosen
    page.locator("#chosen", has_text="2 drawings chosen").wait_for()
    page.click("#remove")
    page.wait_for_function("() => rows() === '1,0'")
    page.click("#take-back")
    page.wait_for_function("() => rows() === '3,0'")
    page.select_option("#only", "")
    page.wait_for_function("() => rows() === '3,3'")


def test_a_page_of_characters_is_boxed_and_read_and_taught_from(pupil: Visitor) -> None:
    page = pupil.page
    give(page, "drop", photo([drawn("zig", 7), drawn("ladder", 7)], [drawn("ladder", 8)]))
    page.wait_for_selector("#page", state="visible")

    assert page.locator("#page-title").inner_text() == "3 characters in 2 rows"
    assert page.locator("#page-text").inner_text() == "zig ladder\nladder"
    assert page.locator(".box").count() == 3

    page.locator(".box").nth(1).click()
    page.fill("#page-name", "ladder")
    page.press("#page-name", "Enter")
    page.wait_for_selector(".box.kept")

    assert pupil.counts()["ladder"] == "4 drawings"


def test_axe_finds_no_serious_violation_in_a_page_and_an_opened_cell(pupil: Visitor) -> None:
    page = pupil.page
    give(page, "drop", photo([drawn("zig", 0), drawn("ladder", 1)]))
    page.wait_for_selector("#page:not([hidden])")
    assert serious(page) == []

    page.get_by_role("button", name="Back to the pad").click()
    pupil.teach("zig", drawn("ladder", 5))
    page.click("nav a[href='#check']")
    page.locator("#matrices .wrong button").first.click()
    page.wait_for_selector(".drawings img")
    assert serious(page) == []


def test_a_picture_of_one_character_goes_to_the_pad(pupil: Visitor) -> None:
    page = pupil.page
    give(page, "paste", photo([drawn("zig", 7)]))
    page.wait_for_selector("#keep", state="visible")
    page.locator("#answer .large", has_text="zig").wait_for()
    pupil.keep()

    assert pupil.counts()["zig"] == "4 drawings"


def test_what_is_no_picture_is_refused_in_words(pupil: Visitor) -> None:
    give(pupil.page, "drop", b"no picture at all")
    pupil.page.wait_for_selector("#said:not(:empty)")
    pupil.mishaps.clear()  # the browser logs every 4xx as an error

    assert "must be" in pupil.page.locator("#said").inner_text()


@pytest.fixture
def elsewhere(tmp_path: Path, behind: Recogniser) -> Iterator[str]:
    """The address of somebody else's Studio."""
    with studio_at(tmp_path / "theirs", behind) as found:
        yield found


@pytest.mark.parametrize("what", ["Save the recogniser", "Save the drawings"])
def test_what_one_person_saves_another_opens(
    pupil: Visitor, visit: Callable[..., Visitor], elsewhere: str, tmp_path: Path, what: str
) -> None:
    page = pupil.page
    page.click("nav a[href='#take']")
    with page.expect_download() as waiting:
        page.get_by_text(what).click()
    file = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(file)
    other = visit(elsewhere)
    other.page.click("nav a[href='#take']")
    other.page.set_input_files("#open", file)
    other.page.wait_for_selector("#opened li")
    other.page.click("nav a[href='#draw']")

    assert other.counts() == {"zig": "3 drawings", "ladder": "3 drawings"}
    other.draw(drawn("ladder", 9))
    assert other.answer() == "ladder"


def test_a_file_that_is_neither_is_refused_in_words(pupil: Visitor) -> None:
    give(pupil.page, "drop", b"no zip at all", "theirs.siglum", "")
    pupil.page.wait_for_selector("#opened.said")
    pupil.mishaps.clear()  # the browser logs every 4xx as an error

    assert "must be" in pupil.page.locator("#opened").inner_text()


def test_a_quiz_drawing_that_is_none_of_the_signs_is_read_wrong(pupil: Visitor) -> None:
    page = pupil.page
    page.click("nav a[href='#check']")
    page.wait_for_selector("#quiz-done[aria-disabled=false]")
    asked = page.locator("#check-title .sign").inner_text()
    pupil.draw(drawn("wheel", 1), "#quiz-pad")
    page.press("#quiz-pad", "Enter")
    page.locator("#outcome", has_text=f"{asked} was read as none of your signs.").wait_for()

    assert "0 of 1 right" in page.locator("#tally").inner_text()

    page.get_by_label("read as none of these: 1").click()

    assert page.locator(".drawings").first.inner_text() == f"{asked} read as none of these:"
    assert page.locator(".drawings img").count() == 1


def test_what_matters_in_a_picture_is_shown_too(pupil: Visitor) -> None:
    page = pupil.page
    give(page, "paste", photo([drawn("zig", 7)]))
    page.locator("#answer .large", has_text="zig").wait_for()
    page.click("#heat")
    page.wait_for_selector("#scale", state="visible")

    assert "With the reddest piece covered, zig has" in page.locator("#left").inner_text()


def test_undo_beside_a_page_of_characters_leaves_the_hidden_pad_alone(pupil: Visitor) -> None:
    page = pupil.page
    pupil.draw(drawn("zig", 7))
    give(page, "drop", photo([drawn("zig", 0), drawn("ladder", 1)]))
    page.wait_for_selector("#page:not([hidden])")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    pupil.wait_for("3 drawings,2 drawings")
    page.get_by_role("button", name="Back to the pad").click()

    assert page.locator("#keep").is_visible()


def test_what_was_opened_is_taken_back_at_once(
    pupil: Visitor, visit: Callable[..., Visitor], elsewhere: str, tmp_path: Path
) -> None:
    page = pupil.page
    page.click("nav a[href='#take']")
    with page.expect_download() as waiting:
        page.get_by_text("Save the drawings").click()
    waiting.value.save_as(tmp_path / "theirs.zip")
    other = visit(elsewhere)
    other.page.click("nav a[href='#take']")
    other.page.set_input_files("#open", tmp_path / "theirs.zip")
    other.page.get_by_role("button", name="Take them back").click()
    other.page.locator("#opened", has_text="Its drawings are removed.").wait_for()
    other.wait_for("to be drawn,to be drawn")


def test_a_report_is_saved_that_says_how_well_it_reads(pupil: Visitor, tmp_path: Path) -> None:
    page = pupil.page
    page.click("nav a[href='#take']")
    with page.expect_download() as waiting:
        page.get_by_text("Save the report").click()
    waiting.value.save_as(tmp_path / "report.html")

    assert waiting.value.suggested_filename == "my-signs.html"
    assert "6 of 6 drawings are read right" in (tmp_path / "report.html").read_text()


def test_who_drew_what_is_told_by_name_and_sign(pupil: Visitor) -> None:
    """Each writer is read by what the others taught."""
    page = pupil.page
    for writer, seed in (("Ann", 3), ("Bob", 4)):
        page.fill("#writer", writer)
        page.press("#writer", "Tab")
        for name in ("zig", "ladder"):
            pupil.teach(name, drawn(name, seed))
    page.click("nav a[href='#check']")
    page.locator(".writers", has_text="2 of 2 right").wait_for()
    rows = [row.inner_text().split("\t") for row in page.locator(".writers tbody tr").all()]

    assert [row[:3] + row[4:] for row in rows] == [
        ["nobody named", "6", "0", "3", "3"],
        ["Ann", "2", "0", "1", "1"],
        ["Bob", "2", "0", "1", "1"],
    ]
    assert rows[0][3] == "–" and all(row[3].startswith("2 of 2 right") for row in rows[1:])
