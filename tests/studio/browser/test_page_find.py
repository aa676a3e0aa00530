"""The tab Find: draw or name any character, and copy it."""

from typing import Any

import pytest
from conftest import PHONE, Saved, User, Visit
from hand_drawn import Strokes, draw

LATEX = {"α": r"\alpha", "∮": r"\oint", "≼": r"\preccurlyeq", "木": "木", "→": r"\rightarrow"}


@pytest.fixture
def finder(visit: Visit, url: str) -> User:
    user = visit(url, permissions=["clipboard-read", "clipboard-write"])
    user.view("find")
    return user


def find(user: User, strokes: Strokes) -> list[str]:
    """Draw, and return the characters of each row."""
    user.draw(strokes)
    user.page.evaluate("predicted()")
    rows = user.page.locator("#find-rows li").all()
    return ["".join(row.locator("bdi").all_inner_texts()) for row in rows]


def copied(page: Any, text: str) -> None:
    """Wait until screen readers were told what was copied, and compare the clipboard."""
    page.locator("#live", has_text=f"Copied {text}").wait_for(state="attached")
    assert page.evaluate("navigator.clipboard.readText()") == text


@pytest.mark.parametrize("character", LATEX)
def test_a_drawn_character_is_copied_as_latex(character: str, finder: User) -> None:
    page = finder.page
    page.select_option("#find-format", "latex")
    rows = find(finder, draw(character))
    place = next(place for place, row in enumerate(rows, 1) if character in row)
    assert place <= 3, rows
    page.keyboard.press(str(place))
    copied(page, LATEX[character])


def test_the_first_answer_is_copied_in_every_way(finder: User) -> None:
    page = finder.page
    find(finder, draw("∮"))
    page.press("#pad", "Enter")
    copied(page, "∮")
    for key, code in {"l": r"\oint", "t": "integral.cont", "h": "&oint;", "u": "U+222E"}.items():
        page.keyboard.press("c")
        page.keyboard.press(key)
        copied(page, code)
    page.locator("#find-rows .code", has_text=r"\oint").first.click()
    copied(page, r"\oint")


def test_after_a_copy_the_next_stroke_starts_anew(finder: User) -> None:
    page = finder.page
    strokes = "JSON.parse(sessionStorage.getItem('siglum.pad')).length"
    find(finder, draw("→"))
    page.keyboard.press("1")
    copied(page, "→")
    find(finder, draw("木"))
    assert page.evaluate(strokes) == 4
    page.keyboard.press("Escape")
    page.locator("#find-help").wait_for()
    assert page.evaluate(strokes) == 0


def test_used_and_pinned_characters_stay_at_hand(finder: User, saved: Saved) -> None:
    page = finder.page
    order = find(finder, draw("≼"))
    page.keyboard.press("5")
    copied(page, order[4][0])
    page.reload()
    page.locator("#find-recent .code").first.click()
    copied(page, order[4][0])
    page.keyboard.press("Escape")
    page.locator("#find-help").wait_for()
    again = find(finder, draw("≼"))
    assert [row[0] for row in again].index(order[4][0]) < 4
    page.locator(".pin").first.click()
    page.click("#find-teach-pinned")
    page.locator("#signs .name", has_text=again[0][0]).wait_for()


def test_chips_and_names_limit_the_search(finder: User) -> None:
    page = finder.page
    page.click("text=Greek")
    assert find(finder, draw("α"))[0] == "α"
    page.click("text=Arrows")
    page.evaluate("predicted()")
    page.fill("#find-name", "left")
    page.locator("#find-rows .name", has_text="Leftwards arrow").first.wait_for()
    page.press("#find-name", "Enter")
    copied(page, "←")
    page.fill("#find-name", "no such name")
    page.locator("#find-none").wait_for()


def test_a_photo_is_found_and_one_without_ink_explained(finder: User) -> None:
    page = finder.page
    for strokes in (draw("∮"), []):
        page.evaluate("(rows) => give('paste', {'photo.png': rows})", [[strokes]])
        if strokes:
            page.locator("#find-rows .name", has_text="Contour integral").first.wait_for()
    error = page.locator("#bench-error", has_text="No sign found in this picture. Try more light")
    error.wait_for()
    assert page.locator("#find-rows li").count() == 0
    page.click("#photo-back")
    finder.draw([[(0.5, 1.2), (0.6, 1.3)]])  # outside the pad
    error.wait_for()
    page.evaluate("predicted()")
    finder.expect_refusals()


def test_a_sign_that_is_not_there_is_taught(finder: User, saved: Saved) -> None:
    """The drawing goes along."""
    page = finder.page
    find(finder, [*draw("β"), *draw("γ"), *draw("ladder")])
    page.click("#find-teach-first")
    finder.save("house")
    assert saved() == ["house"]


def test_a_blocked_clipboard_leaves_the_text_selected(visit: Visit, url: str) -> None:
    """As on a page without https at another address."""
    user = visit(url)
    blocked = "delete Navigator.prototype.clipboard; document.execCommand = () => false"
    user.context.add_init_script(blocked)
    user.page.reload()
    user.view("find")
    find(user, draw("∮"))
    user.page.keyboard.press("1")
    user.page.locator("#toast", has_text="press Ctrl-C").wait_for()
    assert user.page.evaluate("getSelection().toString()") == "∮"


def test_a_phone_shows_the_answer_without_scrolling(visit: Visit, url: str) -> None:
    user = visit(url, **PHONE, permissions=["clipboard-read", "clipboard-write"])
    page = user.page
    user.view("find")
    user.draw(draw("→"), scroll=False)
    page.evaluate("predicted()")
    page.locator("#find-choices button").nth(1).click()
    second = page.locator("#find-choices button").nth(1).inner_text()
    row = page.locator("#find-rows li").filter(visible=True)
    assert (row.count(), page.evaluate("scrollY")) == (1, 0)
    box, tools = row.bounding_box(), page.locator(".toolbar").bounding_box()
    assert box["y"] + box["height"] <= tools["y"]
    row.locator(".glyph").click()
    copied(page, second)
