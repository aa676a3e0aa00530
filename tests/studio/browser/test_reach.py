"""For everybody: any name, a phone, a finger, keys alone, a screen reader, no network."""

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Visitor
from hand_drawn import drawn

HOSTILE = "<img src=x onerror=alert(1)>"
RIGHT_TO_LEFT = "אבג (1)"
LONG = "a sign with a name of very many letters " * 2
VIEWS = {  # by what is there once a view has what it shows
    "draw": "#signs img",
    "check": "#check-title .sign",
    "correct": "[role=option] img",
    "take": "#have .sign",
}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "device_scale_factor": 3}


def see(page: Any, view: str) -> None:
    page.click(f"nav a[href='#{view}']")
    page.locator(VIEWS[view]).first.wait_for()


def test_a_name_is_text_wherever_it_is_shown(visitor: Visitor) -> None:
    page = visitor.page
    visitor.name(f"{HOSTILE}, {RIGHT_TO_LEFT}")
    for name in (HOSTILE, RIGHT_TO_LEFT):
        visitor.teach(name, drawn("zig" if name == HOSTILE else "wheel", 0), drawn("zig", 1))
    page.locator("#signs button").first.click()
    visitor.draw(drawn("zig", 2))
    visitor.answer()
    page.click("#done")
    for view in VIEWS:
        see(page, view)
        assert page.locator("img[src=x]").count() == 0
    names = page.evaluate(
        "[...document.querySelectorAll('bdi.sign')].map((one) => one.textContent)"
    )

    assert {HOSTILE, RIGHT_TO_LEFT} <= set(names)
    assert all(
        page.evaluate("[...document.querySelectorAll('bdi')].map((b) => !b.children.length)")
    )
    directions = (
        "[...document.querySelectorAll('bdi.sign')].map((b) => getComputedStyle(b).unicodeBidi)"
    )
    assert set(page.evaluate(directions)) == {"isolate"}


def test_a_refusal_is_said_where_it_happened(visitor: Visitor) -> None:
    page = visitor.page
    visitor.name("zig, ladder")
    page.locator("#signs button").first.click()
    page.fill("#hand-name", "ladder")
    page.press("#hand-name", "Enter")
    page.wait_for_selector("#signs-said:not(:empty)")
    visitor.mishaps.clear()  # the browser logs every 4xx as an error

    assert "ladder" in page.locator("#signs-said").inner_text()
    assert list(visitor.counts()) == ["zig", "ladder"]


def test_no_view_is_wider_than_the_window(pupil: Visitor) -> None:
    page = pupil.page
    pupil.add(LONG)
    pupil.draw(drawn("zig", 4))
    pupil.answer()
    for view in VIEWS:
        see(page, view)
        for width in (390, 900, 1600):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (view, width)


def test_a_phone_shows_the_answer_right_under_the_pad_in_its_own_pixels(
    visit: Callable[..., Visitor], taught_url: str
) -> None:
    visitor = visit(taught_url, **PHONE)
    page = visitor.page
    visitor.draw(drawn("zig", 4))
    visitor.answer()
    parts = ("#pad", "#answer", "#keep", "#sees")
    pad, *below = [page.locator(name).bounding_box() for name in parts]

    assert sorted([pad, *below], key=lambda box: box["y"]) == [pad, *below]
    assert page.evaluate("document.querySelector('#pad').width") == round(3 * pad["width"])


def test_a_second_finger_draws_nothing_and_a_pen_overrules_the_palm(
    visit: Callable[..., Visitor], url: str
) -> None:
    visitor = visit(url, **PHONE)
    strokes = "JSON.parse(sessionStorage.getItem('siglum.pad')).strokes.length"
    zig, ladder = drawn("zig"), drawn("ladder")
    visitor.draw(zig, pointerType="touch", pointerId=1, open=True)
    visitor.draw(ladder, pointerType="touch", pointerId=2)
    visitor.draw([zig[0][:2]], pointerType="touch", pointerId=1)  # the first one is lifted

    assert visitor.page.evaluate(strokes) == 1

    visitor.page.press("#pad", "Escape")
    visitor.draw(zig, pointerType="touch", pointerId=3, open=True)  # a palm
    visitor.draw(ladder, pointerType="pen", pointerId=4)
    visitor.draw(zig, pointerType="touch", pointerId=5)  # it moves while the pen rests

    assert visitor.page.evaluate(strokes) == len(ladder)


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until an element has the focus; a person with keys alone could, too."""
    for _ in range(80):
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {selector}")


def walk(page: Any, *ways: str, steps: int = 8) -> None:
    """Draw a stroke by arrow keys."""
    page.keyboard.press("Space")
    for way in ways:
        for _ in range(steps):
            page.keyboard.press(f"Arrow{way}")
    page.keyboard.press("Space")


def test_keys_alone_name_draw_keep_correct_and_undo(visitor: Visitor) -> None:
    page = visitor.page
    tab_to(page, "#first-names")
    page.keyboard.type("corner, post")
    page.keyboard.press("Enter")
    page.wait_for_selector("#done", state="visible")
    tab_to(page, "#pad")
    walk(page, "Right", "Down")
    page.get_by_text("Pen up, bottom right.").wait_for(state="attached")
    page.keyboard.press("Enter")
    page.locator("#answer", has_text="Kept as").wait_for()
    assert visitor.counts() == {"corner": "1 drawing", "post": "to be drawn"}
    page.keyboard.press("Escape")  # no longer in hand
    walk(page, "Down")
    page.wait_for_selector("#keep", state="visible")
    tab_to(page, "#keep-name")
    page.keyboard.type("corner")  # which is wrong
    page.keyboard.press("Enter")
    visitor.wait_for("2 drawings,to be drawn")

    tab_to(page, "nav a[href='#correct']")
    page.keyboard.press("Enter")
    tab_to(page, "[role=option]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.type("post")
    page.keyboard.press("Enter")
    page.locator("#live", has_text="moved to post").wait_for(state="attached")
    page.wait_for_function("() => rows() === '1,1'")
    tab_to(page, "[role=option]")
    page.keyboard.press("Delete")
    page.wait_for_function("() => rows() !== '1,1'")
    page.keyboard.press("Control+z")
    page.wait_for_function("() => rows() === '1,1'")


def test_answers_are_told_to_who_listens(pupil: Visitor) -> None:
    pupil.draw(drawn("zig", 4))
    pupil.page.locator("#live", has_text="zig, ").wait_for(state="attached")

    assert pupil.page.locator("#live").get_attribute("role") == "status"


def serious(page: Any, rules: tuple[str, ...] = ()) -> list[Any]:
    """What axe calls serious or critical: the rule, and the elements that break it."""
    options = {"runOnly": list(rules)} if rules else {}
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe here")
    return [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in axe.Axe().run(page, options=options).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


def test_axe_finds_no_serious_violation_at_the_first_sight(visitor: Visitor) -> None:
    assert serious(visitor.page) == []


def test_axe_finds_no_serious_violation(pupil: Visitor) -> None:
    page = pupil.page
    page.locator("#signs button").first.click()
    pupil.draw(drawn("zig", 4))
    pupil.answer()
    found = []
    for view in VIEWS:
        see(page, view)
        page.emulate_media(color_scheme="light")
        found += [(view, "light", each) for each in serious(page)]
        page.emulate_media(color_scheme="dark")
        found += [(view, "dark", each) for each in serious(page, ("color-contrast",))]

    assert found == []


def test_nothing_is_needed_from_the_network(pupil: Visitor) -> None:
    pupil.context.route(
        lambda address: not address.startswith(pupil.url), lambda route: route.abort()
    )
    pupil.page.reload()
    pupil.page.wait_for_selector("#title:not(:empty)")
    pupil.draw(drawn("zig", 4))

    assert pupil.answer() == "zig"
