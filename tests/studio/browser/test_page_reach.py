"""For everybody: any name, screen, finger, keyboard or screen reader, and no network."""

from typing import Any

import pytest
from conftest import PHONE, User, Visit
from hand_drawn import Strokes, draw

HOSTILE = "<img src=x onerror=alert(1)>"
RIGHT_TO_LEFT = "אבג (1)"
LONG = "a sign with a name of very many letters " * 2
VIEWS = {  # with what is there once a view is complete
    "find": "#find-rows .glyph",
    "teach": "#signs img",
    "test": "#task .sign",
    "review": "[data-drawing] img",
    "share": ".offer",
}
STROKES = "JSON.parse(sessionStorage.getItem('siglum.pad'))"
SCREENS = [(390, 844, 3), (844, 390, 3), (820, 1180, 2), (1280, 720, 1.25), (640, 400, 4)]


def open_view(page: Any, view: str) -> None:
    page.click(f"nav a[href='#{view}']")
    page.wait_for_selector(f"nav a[href='#{view}'][aria-current]")
    if view == "test" and page.locator("#quiz-start").is_visible():
        page.click("#quiz-done")
    page.locator(VIEWS[view]).first.wait_for()


def test_a_name_is_text_wherever_it_is_shown(user: User) -> None:
    page = user.page
    user.start(f"{HOSTILE}, {RIGHT_TO_LEFT}")
    user.teach(HOSTILE, draw("zig", 0), draw("zig", 1))
    user.teach(RIGHT_TO_LEFT, draw("wheel", 0), draw("zig", 2))
    page.locator("#signs .card").first.click()
    user.draw(draw("zig", 3))
    user.answer()
    for view in VIEWS:
        open_view(page, view)
        assert page.locator("img[src=x]").count() == 0
    elements = "[...document.querySelectorAll('bdi.sign')]"
    names = page.evaluate(f"{elements}.map((one) => one.textContent)")
    assert {HOSTILE, RIGHT_TO_LEFT} <= set(names)
    isolation = page.evaluate(f"{elements}.map((one) => getComputedStyle(one).unicodeBidi)")
    assert set(isolation) == {"isolate"}


@pytest.mark.parametrize(("width", "height", "density"), SCREENS)
def test_ink_lies_under_the_pen_on_every_screen(
    width: int, height: int, density: float, visit: Visit, taught_url: str
) -> None:
    """Scrolled, rotated and at any pixel density, in the pad's own pixels."""
    screen = {"width": width, "height": height}
    user = visit(taught_url, viewport=screen, device_scale_factor=density)
    page = user.page
    strokes: Strokes = [[(0.25, 0.25), (0.75, 0.25)], [(0.25, 0.75), (0.26, 0.75)]]
    user.draw(strokes[:1])
    page.mouse.wheel(0, 60)
    user.draw(strokes[1:], pointerType="mouse")
    page.set_viewport_size({"width": height, "height": width})  # rotated: what was drawn stays
    user.answer()
    points = [[point[:2] for point in one] for one in page.evaluate(STROKES)]
    assert points == [[pytest.approx(point, abs=0.01) for point in one] for one in strokes]
    ink = [
        page.evaluate("(at) => hasInk(at)", at) for at in ([0.5, 0.25], [0.25, 0.75], [0.5, 0.5])
    ]
    assert ink == [True, True, False]
    pixels = "(({width, clientWidth}) => width / clientWidth)(document.querySelector('#pad'))"
    assert page.evaluate(pixels) == pytest.approx(density, abs=0.02)


def test_a_phone_follows_one_pen_and_never_scrolls(visit: Visit, taught_url: str) -> None:
    user = visit(taught_url, **PHONE)
    page = user.page
    zig, ladder = draw("zig", 4), draw("ladder")
    user.draw(zig, pointerType="touch", pointerId=1, open=True)
    user.draw(ladder, pointerType="touch", pointerId=2)  # a second finger draws nothing
    user.draw([zig[0][-2:]], pointerType="touch", pointerId=1)  # the first one is lifted
    assert user.answer().startswith("zig")
    page.locator("#live[role=status]", has_text="zig").wait_for(state="attached")
    boxes = [page.locator(name).bounding_box()["y"] for name in ("#pad", "#headline", "#save-form")]
    assert boxes == sorted(boxes)
    page.press("#pad", "Escape")
    user.draw(zig, pointerType="touch", pointerId=3, open=True)  # a palm
    user.draw(ladder, pointerType="pen", pointerId=4)
    user.draw(zig, pointerType="touch", pointerId=5)  # the palm moves while the pen rests
    assert len(page.evaluate(STROKES)) == len(ladder)
    assert page.evaluate("preventsScrolling('#pad')")  # touch-action alone does not, on iPads


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(80):
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {selector}")


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_the_keyboard_alone_names_draws_saves_corrects_and_undoes(user: User) -> None:
    page = user.page
    right, down = ["ArrowRight"] * 8, ["ArrowDown"] * 8
    tab_to(page, "#add-name")
    page.keyboard.type("corner, post")
    press(page, "Enter")
    page.wait_for_selector("#stop", state="visible")
    tab_to(page, "#pad")
    press(page, "Space", *right, *down, "Space")
    page.get_by_text("Pen up, bottom right.").wait_for(state="attached")
    press(page, "Enter")
    user.wait_for("1 drawing,draw it 3 times")
    press(page, "Escape", "Space", *down, "Space")  # Escape stops teaching corner
    page.wait_for_selector("#save-form", state="visible")
    tab_to(page, "#save-name")
    page.keyboard.type("corner")  # which is wrong
    press(page, "Enter")
    user.wait_for("2 drawings,draw it 3 times")
    tab_to(page, "nav a[href='#review']")
    press(page, "Enter")
    tab_to(page, "[data-drawing]")
    press(page, "ArrowRight", "Enter")
    page.keyboard.type("post")
    press(page, "Enter")
    page.locator("#live", has_text="Moved 1 drawing to post.").wait_for(state="attached")
    user.wait_for_rows("1,1")
    tab_to(page, "[data-drawing]")
    press(page, "ArrowDown", "Delete")
    user.wait_for_rows("1,0")
    press(page, "Control+z")
    user.wait_for_rows("1,1")


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1280, "light")])
def test_every_view_is_accessible(width: int, theme: str, visit: Visit, taught_url: str) -> None:
    """Axe finds no violation at all, with a long name, an open cell and a sign's panel."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    user = visit(taught_url, viewport={"width": width, "height": 844}, color_scheme=theme)
    page = user.page
    user.submit("#add-name", LONG + ",")
    user.select("zig")
    user.teach("zig", draw("ladder", 5))
    user.draw(draw("zig", 4))
    user.answer()
    violations = []
    for view in VIEWS:
        open_view(page, view)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        for one in axe.Axe().run(page).response["violations"]:
            violations.append((view, one["id"], [node["html"] for node in one["nodes"]]))
    assert violations == []
