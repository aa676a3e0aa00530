"""The Teach view: name signs, draw them, see them recognised, and save them as examples."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import User
from hand_drawn import DIGITS, GREEK, SIGNS, Strokes, draw, line, to_json
from studio_client import Client, save

from siglum.studio.state import Studio

DOT: Strokes = [[(0.5, 0.5)]]
FLAT: Strokes = [line((0.1, 0.5), (0.9, 0.5))]
TEACHING = "document.querySelector('#task').innerText.replace(/\\s+/g, ' ')"
STORED = "JSON.parse(sessionStorage.getItem('siglum.pad')).strokes"


def saved_strokes(client: Client, studio: Studio) -> list[int]:
    """How many strokes each saved drawing has, the oldest first."""
    contents = [studio.store.content(id)[0] for id in studio.store.state.drawings]
    return [len(json.loads(content or "{}")["strokes"]) for content in contents]


def test_an_empty_set_asks_for_signs_and_nothing_else(user: User) -> None:
    page = user.page
    assert page.locator("#start-label").inner_text() == "What should it recognise?"
    assert not page.locator("#overview").is_visible()
    assert not page.locator("#save-form").is_visible()

    page.fill("#start-names", "ring, zig zag, α")
    page.click("#start")
    page.wait_for_selector("#stop", state="visible")

    assert user.statuses() == {
        "ring": "draw it 3 times",
        "zig zag": "draw it 3 times",
        "α": "ready",
    }
    assert page.evaluate(TEACHING) == "Draw ring"
    assert page.locator("#headline").inner_text().split("\n")[-1] == "3 times"


def test_a_session_stays_as_it_was_recorded(user: User, saved: Callable[[], list[str]]) -> None:
    """Name signs, read them from fonts, teach, read, correct, undo, export; recorded in 2026."""
    user.start("α, β, zig, ladder")
    answers = {}
    for name in ("α", "β"):
        user.draw(draw(name, 1))
        answers[f"{name} from fonts"] = user.answer()
        user.page.click("#clear")
    for name in ("zig", "ladder"):
        user.teach(name, *(draw(name, seed) for seed in range(3)))
    user.teach("α", draw("β", 2))  # which is wrong
    user.view("review")
    user.page.locator("[data-class] [data-drawing]").first.click()
    user.submit("#move-into", "β")
    user.wait_for_rows("0,1,3,3")
    user.page.click("#undo")
    user.wait_for_rows("1,0,3,3")
    user.page.click("#redo")
    user.wait_for_rows("0,1,3,3")
    user.view("teach")
    for name, seed in (("α", 3), ("β", 3), ("zig", 4), ("ladder", 4), ("wheel", 1), ("γ", 1)):
        user.draw(draw(name, seed))
        answers[name] = user.answer()
        user.page.click("#clear")

    sure = "> 99\u00a0%".replace("\u00a0", " ")
    assert answers | {"wheel": ""} == {
        "α from fonts": f"α {sure}",
        "β from fonts": f"β {sure}",
        "α": f"α {sure}",
        "β": f"β {sure}",
        "zig": f"zig {sure}",
        "ladder": f"ladder {sure}",
        "wheel": "",
        "γ": "? Not one of your signs. Closest: α or zig",
    }
    assert answers["wheel"].startswith("ladder 9")  # a stranger, 98 % when it was recorded
    assert saved() == sorted(["β"] + ["zig", "ladder"] * 3)

    user.view("share")
    with user.page.expect_download() as waiting:
        user.page.get_by_text("Save recogniser").click()

    assert waiting.value.suggested_filename == "my-signs.siglum"


def test_a_sign_taught_three_times_is_recognised(user: User) -> None:
    user.start("zig, ladder")
    for name in ("zig", "ladder"):
        user.teach(name, *(draw(name, seed) for seed in range(3)))
    user.submit("#add-name", "wheel")  # which is the active sign now
    user.page.uncheck("#autosave")
    user.teach("", *(draw("wheel", seed) for seed in range(3)))
    user.page.click("#stop")

    assert user.statuses() == dict.fromkeys(("zig", "ladder", "wheel"), "3 drawings")
    for name in SIGNS:
        user.draw(draw(name, 3))
        assert user.answer().startswith(name)
        user.page.click("#clear")


@pytest.mark.parametrize("signs", [DIGITS, GREEK], ids=["digits", "Greek"])
def test_characters_are_recognised_from_fonts_alone(user: User, signs: dict[str, Strokes]) -> None:
    user.start(" ".join(signs))
    answers = {}
    for name in signs:
        user.draw(draw(name, 1))
        answers[name] = user.answer().split(" ")[0]
        user.page.click("#clear")

    wrong = {name: answer for name, answer in answers.items() if name != answer}
    assert len(wrong) <= 1, wrong


def test_a_dot_and_a_flat_line_are_saved_and_an_empty_pad_is_not(
    user: User, saved: Callable[[], list[str]]
) -> None:
    user.start("zig, ladder")
    user.page.press("#pad", "Enter")
    assert saved() == []

    user.teach("zig", DOT, FLAT)
    assert saved() == ["zig", "zig"]
    assert user.page.locator("#teach-error").inner_text() == ""


def test_a_pen_pressed_harder_draws_wider(user: User, shared: tuple[Studio, Client]) -> None:
    studio = shared[0]
    user.start("zig, ladder")
    for pressure in (0.1, 1.0):
        user.draw(draw("zig", 0), pressure=pressure)
        user.save("zig")
    strokes, images = zip(*map(studio.store.content, studio.store.state.drawings), strict=True)
    pressures = [
        {point[3] for one in json.loads(text)["strokes"] for point in one} for text in strokes
    ]

    assert pressures == [{0.1}, {1.0}]
    assert len(images[0]) != len(images[1])


def test_strokes_are_undone_and_redone(user: User, shared: tuple[Studio, Client]) -> None:
    page = user.page
    user.start("zig, ladder")
    user.draw(SIGNS["ladder"])
    for key in ("Control+z", "Control+z", "Control+y"):
        page.press("#pad", key)
    user.save("ladder")
    user.draw(SIGNS["ladder"])
    page.click("#undo-stroke")
    page.click("#redo-stroke")
    page.fill("#save-name", "zig")
    page.press("#pad", "Escape")
    assert not page.locator("#save-form").is_visible()
    page.click("#undo-stroke")  # the clearing
    assert page.input_value("#save-name") == ""  # a name belongs to one drawing
    user.save("ladder")

    assert saved_strokes(shared[1], shared[0]) == [3, 4]


def test_saving_is_undone_and_redone_and_the_card_follows(user: User) -> None:
    page = user.page
    user.start("zig, ladder")
    user.teach("zig", draw("zig"))
    assert "Saved to" in page.locator("#headline").inner_text()
    page.press("#pad", "Control+z")
    user.wait_for("draw it 3 times,draw it 3 times")
    page.locator("#headline", has_text="Draw any of your signs").wait_for()
    page.press("#pad", "Control+Shift+z")
    user.wait_for("1 drawing,draw it 3 times")
    user.teach("zig", draw("zig", 1))
    page.locator("#headline").get_by_role("button", name="Undo").click()
    user.wait_for("1 drawing,draw it 3 times")

    assert "Saved" not in page.locator("#headline").inner_text()


def test_a_picked_answer_is_saved_by_a_second_step(teacher: User) -> None:
    """A touch by mistake teaches nothing."""
    page = teacher.page
    teacher.draw(draw("zig", 4))
    teacher.answer()
    page.locator("#bars button", has_text="ladder").click()
    assert page.input_value("#save-name") == "ladder"
    assert teacher.statuses() == {"zig": "3 drawings", "ladder": "3 drawings"}

    page.keyboard.press("Enter")
    teacher.wait_for("3 drawings,4 drawings")


def test_a_sign_with_enough_examples_leads_to_the_next(user: User) -> None:
    page = user.page
    user.start("zig, ladder")
    user.draw(draw("wheel", 0))
    user.select("zig")
    assert page.locator("#save-form").is_hidden()  # the drawing was of something else

    user.teach("", *(draw("zig", seed) for seed in range(3)))
    page.get_by_role("button", name="Next: ladder").click()
    assert page.evaluate(TEACHING) == "Draw ladder"


def test_a_pause_does_not_cut_a_drawing_in_two(user: User, shared: tuple[Studio, Client]) -> None:
    """A ring shows the 3 s until it is saved; a stroke soon after that still belongs to it."""
    page = user.page
    user.start("house, spiral")
    user.select("house")
    box, roof, door = draw("ladder")[:3]
    user.draw([box])
    assert page.locator("#ring[data-kind=waiting]").is_visible()
    page.wait_for_timeout(2000)
    user.draw([roof])
    page.wait_for_timeout(2000)
    assert saved_strokes(shared[1], shared[0]) == []

    page.wait_for_selector("#ring[data-kind=saved]")
    user.wait_for("1 drawing,draw it 3 times")
    assert saved_strokes(shared[1], shared[0]) == [2]

    user.draw([door])
    start = time.monotonic()
    page.wait_for_selector("#ring[data-kind=waiting]")
    page.wait_for_selector("#ring[data-kind=saved]")
    assert time.monotonic() - start > 2.5
    page.locator("#headline", has_text="Saved to").wait_for()
    assert saved_strokes(shared[1], shared[0]) == [3]
    assert user.statuses()["house"] == "1 drawing"

    page.wait_for_selector("#ring", state="hidden")  # now a stroke is a new drawing
    user.draw([box])
    user.save()
    assert saved_strokes(shared[1], shared[0]) == [3, 1]
    page.click("#undo")
    user.wait_for("1 drawing,draw it 3 times")
    page.click("#undo")  # both halves at once
    user.wait_for("draw it 3 times,draw it 3 times")


@pytest.mark.parametrize("width", [390, 1280])
def test_choosing_a_sign_brings_the_pad_into_view(
    width: int, visit: Callable[..., User], taught_url: str
) -> None:
    user = visit(taught_url, viewport={"width": width, "height": 800})
    visible = "({top, bottom}) => top >= 0 && top < innerHeight / 2"
    for name in "abcdefghijkl":
        user.submit("#add-name", f"sign {name}")
    box = "document.querySelector('#pad').getBoundingClientRect()"
    assert user.page.evaluate(f"({visible})({box})")
    user.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    user.select("zig")
    assert user.page.evaluate(f"({visible})({box})")


def test_signs_are_renamed_merged_deleted_and_restored(user: User) -> None:
    page = user.page
    user.start("zig, ladder, wheel")
    user.teach("zig", draw("zig"))
    user.select("zig")
    page.fill("#rename-name", "ladder")
    page.press("#rename-name", "Enter")
    page.wait_for_selector("#signs-error:not(:empty)")
    user.expect_refusals()
    assert "ladder" in page.locator("#signs-error").inner_text()
    page.fill("#rename-name", "zag")
    page.get_by_role("button", name="Rename").click()
    page.locator("#toast", has_text="Renamed.").wait_for()
    assert list(user.statuses()) == ["zag", "ladder", "wheel"]
    page.select_option("#merge-into", label="\u2068wheel\u2069")
    page.get_by_role("button", name="Merge").click()
    page.locator("#toast", has_text="Merged into wheel.").wait_for()
    assert user.statuses() == {"ladder": "draw it 3 times", "wheel": "1 drawing"}
    user.select("wheel")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.locator("#toast", has_text="Deleted wheel.").wait_for()
    assert user.statuses() == {"ladder": "draw it 3 times"}
    page.click("#toast-undo")
    user.wait_for("draw it 3 times,1 drawing")
    page.click("#undo")
    user.wait_for("1 drawing,draw it 3 times,draw it 3 times")
    page.click("#undo")
    page.locator("#signs .name", has_text="zig").wait_for()


def test_strangers_and_lookalikes_are_not_claimed(user: User) -> None:
    user.start("α, β")
    user.draw(draw("zig", 1))
    assert "Not one of your signs. Closest: " in user.answer()
    user.page.click("#clear")
    user.submit("#add-name", "o, 0")
    user.draw(draw("0", 1))
    answer = user.answer()
    assert "Not sure: o or 0?" in answer or "Not sure: 0 or o?" in answer


def test_suggestions_and_the_curve_follow_within_seconds(teacher: User) -> None:
    page = teacher.page
    page.wait_for_selector(".plot .dot", state="attached")
    dots = page.locator(".plot .dot").count()
    for seed in (3, 4):
        for name in ("zig", "ladder"):
            teacher.teach(name, draw(name, seed))
    page.wait_for_function(f"() => document.querySelectorAll('.plot .dot').length > {dots}")
    assert "drawings per sign it recognises" in page.locator("#curve-text").inner_text()
    assert "10 of 10 recognised." in page.locator("#accuracy").inner_text()

    teacher.submit("#add-name", "wheel")
    page.click("#stop")
    page.locator("#suggestions").get_by_role("button", name="Draw wheel").click()
    assert page.evaluate(TEACHING) == "Draw wheel"


def test_the_network_input_and_its_heat_map_are_shown(teacher: User) -> None:
    page = teacher.page
    teacher.draw(draw("zig", 4))
    teacher.answer()
    assert page.locator("#similar img").count() == 5
    assert page.locator("#notes li").count() > 0
    pixels = "[...document.querySelector('#ink').getContext('2d').getImageData(0, 0, 32, 32).data]"
    assert page.evaluate(f"{pixels}.some((value, index) => index % 4 === 0 && value < 60)")
    page.click("#explain")
    page.wait_for_selector("#heat-scale", state="visible")
    is_red = "(value, index, all) => index % 4 === 0 && value - all[index + 2] > 60"
    assert page.evaluate(f"{pixels}.filter({is_red}).length") > 0
    assert page.locator("#explain").inner_text() == "Hide"
    assert "Without the reddest part" in page.locator("#heat-text").inner_text()


def test_predictions_follow_the_moving_pen(teacher: User, record_property: Any) -> None:
    """How long after the newest point the prediction is shown is recorded, not judged: ms."""
    waits = []
    for seed in range(4, 8):
        teacher.draw(draw("ladder", seed), open=True)  # the pen is still down
        assert teacher.answer().startswith("ladder")
        waits += teacher.page.evaluate(
            "performance.getEntriesByName('answer').map((one) => one.duration)"
        )
        teacher.page.evaluate("dispatchEvent(new PointerEvent('pointerup', {pointerId: 7}))")
        teacher.page.press("#pad", "Escape")

    record_property("ms to a prediction", [round(wait, 1) for wait in waits])
    assert len(waits) == 4


def test_changes_of_others_appear(user: User, shared: tuple[Studio, Client]) -> None:
    studio, client = shared
    user.start("zig, ladder")
    state = client.get("/api/state")
    client.draw(state["classes"][1]["id"], to_json(draw("ladder")))
    user.wait_for("draw it 3 times,1 drawing")
    second = user.open()
    save(studio, "wheel", to_json(draw("wheel")))
    client.post("/api/classes", {"names": ["β"]})
    user.wait_for("draw it 3 times,1 drawing,1 drawing,ready", second)
    user.wait_for("draw it 3 times,1 drawing,1 drawing,ready")
