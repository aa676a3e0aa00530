"""For everybody: any name, screen, finger, keyboard or screen reader, and no network."""

from collections.abc import Callable
from typing import Any

import pytest
from conftest import PHONE, User
from hand_drawn import Strokes, draw

HOSTILE = "<img src=x onerror=alert(1)>"
RIGHT_TO_LEFT = "אבג (1)"
LONG = "a sign with a name of very many letters " * 2
VIEWS = {  # with what is there once a view is complete
    "teach": "#signs img",
    "test": "#quiz-title .sign",
    "review": "[data-drawing] img",
    "share": "#summary .sign",
}
STROKES = "JSON.parse(sessionStorage.getItem('siglum.pad')).strokes"
SCREENS = [  # width, height, device pixels per CSS pixel
    (390, 844, 3),
    (844, 390, 3),
    (820, 1180, 2),
    (1280, 720, 1.25),
    (2560, 1300, 1),
    (640, 400, 4),
]


def open_view(page: Any, view: str) -> None:
    page.click(f"nav a[href='#{view}']")
    page.locator(VIEWS[view]).first.wait_for()


def test_a_name_is_text_wherever_it_is_shown(user: User) -> None:
    page = user.page
    user.start(f"{HOSTILE}, {RIGHT_TO_LEFT}")
    user.teach(HOSTILE, draw("zig", 0), draw("zig", 1))
    user.teach(RIGHT_TO_LEFT, draw("wheel", 0), draw("zig", 2))
    page.locator("#signs button").first.click()
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


def test_no_view_is_wider_than_the_window(teacher: User) -> None:
    page = teacher.page
    teacher.submit("#add-name", LONG)
    teacher.draw(draw("zig", 4))
    teacher.answer()
    for view in VIEWS:
        open_view(page, view)
        for width in (390, 900, 1600):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (view, width)


@pytest.mark.parametrize(("width", "height", "density"), SCREENS)
def test_ink_lies_under_the_pen_on_every_screen(
    width: int, height: int, density: float, visit: Callable[..., User], taught_url: str
) -> None:
    """Scrolled, rotated and at any pixel density, in the pad's own pixels."""
    user = visit(
        taught_url, viewport={"width": width, "height": height}, device_scale_factor=density
    )
    page = user.page
    stroke: Strokes = [[(0.25, 0.25), (0.75, 0.25)], [(0.25, 0.75), (0.26, 0.75)]]
    user.draw(stroke[:1])
    page.mouse.wheel(0, 60)
    user.draw(stroke[1:], pointerType="mouse")
    page.set_viewport_size({"width": height, "height": width})  # rotated: what was drawn stays
    user.answer()
    points = [[point[:2] for point in one] for one in page.evaluate(STROKES)]
    assert points == [[pytest.approx(point, abs=0.01) for point in one] for one in stroke]

    ink = """([x, y]) => new Promise((resolve) => requestAnimationFrame(() => {
        const pad = document.querySelector("#pad");
        const at = [Math.round(x * pad.width), Math.round(y * pad.height)];
        resolve(pad.getContext("2d").getImageData(...at, 1, 1).data[3]);
    }))"""
    assert page.evaluate(ink, [0.5, 0.25]) == 255
    assert page.evaluate(ink, [0.25, 0.75]) == 255
    assert page.evaluate(ink, [0.5, 0.5]) == 0
    pixels = "(({width, clientWidth}) => width / clientWidth)(document.querySelector('#pad'))"
    assert page.evaluate(pixels) == pytest.approx(density, abs=0.01)


def test_a_phone_shows_the_answer_right_below_the_pad(
    visit: Callable[..., User], taught_url: str
) -> None:
    user = visit(taught_url, **PHONE)
    user.draw(draw("zig", 4))
    user.answer()
    boxes = [user.page.locator(name).bounding_box() for name in ("#pad", "#headline", "#save-form")]

    assert boxes == sorted(boxes, key=lambda box: box["y"])
    assert user.page.evaluate("document.querySelector('#pad').width") == round(
        3 * boxes[0]["width"]
    )


def test_a_second_finger_draws_nothing_and_a_pen_overrules_the_palm(
    visit: Callable[..., User], url: str
) -> None:
    user = visit(url, **PHONE)
    zig, ladder = draw("zig"), draw("ladder")
    user.draw(zig, pointerType="touch", pointerId=1, open=True)
    user.draw(ladder, pointerType="touch", pointerId=2)
    user.draw([zig[0][:2]], pointerType="touch", pointerId=1)  # the first one is lifted
    assert len(user.page.evaluate(STROKES)) == 1

    user.page.press("#pad", "Escape")
    user.draw(zig, pointerType="touch", pointerId=3, open=True)  # a palm
    user.draw(ladder, pointerType="pen", pointerId=4)
    user.draw(zig, pointerType="touch", pointerId=5)  # the palm moves while the pen rests
    assert len(user.page.evaluate(STROKES)) == len(ladder)


def test_touching_a_pad_never_scrolls_the_page(user: User) -> None:
    """On iPads touch-action alone does not prevent it."""
    prevented = """(selector) => {
        const event = new Event("touchmove", { bubbles: true, cancelable: true });
        return !document.querySelector(selector).dispatchEvent(event);
    }"""
    assert user.page.evaluate(prevented, "#pad")
    assert user.page.evaluate(prevented, "#quiz-pad")


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(80):
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {selector}")


def draw_by_keys(page: Any, *directions: str) -> None:
    page.keyboard.press("Space")
    for direction in directions:
        for _ in range(8):
            page.keyboard.press(f"Arrow{direction}")
    page.keyboard.press("Space")


def test_the_keyboard_alone_names_draws_saves_corrects_and_undoes(user: User) -> None:
    page = user.page
    tab_to(page, "#start-names")
    page.keyboard.type("corner, post")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stop", state="visible")
    tab_to(page, "#pad")
    draw_by_keys(page, "Right", "Down")
    page.get_by_text("Pen up, bottom right.").wait_for(state="attached")
    page.keyboard.press("Enter")
    user.wait_for("1 drawing,draw it 3 times")
    page.keyboard.press("Escape")  # stops teaching corner
    draw_by_keys(page, "Down")
    page.wait_for_selector("#save-form", state="visible")
    tab_to(page, "#save-name")
    page.keyboard.type("corner")  # which is wrong
    page.keyboard.press("Enter")
    user.wait_for("2 drawings,draw it 3 times")

    tab_to(page, "nav a[href='#review']")
    page.keyboard.press("Enter")
    tab_to(page, "[data-drawing]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.type("post")
    page.keyboard.press("Enter")
    page.locator("#live", has_text="Moved 1 drawing to post.").wait_for(state="attached")
    user.wait_for_rows("1,1")
    tab_to(page, "[data-drawing]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Delete")
    user.wait_for_rows("1,0")
    page.keyboard.press("Control+z")
    user.wait_for_rows("1,1")


def test_answers_are_announced_to_screen_readers(teacher: User) -> None:
    teacher.draw(draw("zig", 4))
    teacher.page.locator("#live", has_text="zig, ").wait_for(state="attached")

    assert teacher.page.locator("#live").get_attribute("role") == "status"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_no_violation(
    width: int, theme: str, visit: Callable[..., User], taught_url: str
) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is missing"
    ).Axe()
    user = visit(taught_url, viewport={"width": width, "height": 844}, color_scheme=theme)
    page = user.page
    user.teach("zig", draw("ladder", 5))
    page.locator("#signs button").first.click()
    user.draw(draw("zig", 4))
    user.answer()
    violations = []
    for view in VIEWS:
        open_view(page, view)
        if view == "test":
            page.locator("#confusions .miss button").first.click()
        results = axe.run(page).response["violations"]
        violations += [
            (view, one["id"], [node["html"] for node in one["nodes"]]) for one in results
        ]

    assert violations == []


def test_nothing_is_needed_from_the_network(teacher: User) -> None:
    teacher.context.route(
        lambda address: not address.startswith(teacher.url), lambda route: route.abort()
    )
    teacher.page.reload()
    teacher.page.wait_for_selector("#title:not(:empty)")
    teacher.draw(draw("zig", 4))

    assert teacher.answer().startswith("zig")
