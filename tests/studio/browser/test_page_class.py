"""A lesson: a teacher and two pupils, each in a browser of their own."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PHONE, User, Visit, studio_at
from hand_drawn import draw

BANNER = "#lesson p"


@pytest.fixture
def teacher(tmp_path: Path, backbone: Any, visit: Visit) -> Iterator[User]:
    """A teacher with two signs, at a Studio that others can reach."""
    with studio_at(tmp_path / "our-signs", backbone, token="the-token") as url:
        user = visit(url)
        user.start("zig, ladder")
        user.view("class")
        yield user


def join(pupil: User, name: str) -> None:
    pupil.page.fill("#join-name", name)
    pupil.page.press("#join-name", "Enter")


def wait_for_text(user: User, selector: str, *texts: str) -> None:
    for text in texts:
        user.page.locator(selector, has_text=text).first.wait_for()


def invite(teacher: User) -> str:
    """Open the invitation; return the address that it shows."""
    teacher.page.click("#invite")
    teacher.page.wait_for_selector("#invite-link[href]", state="attached")
    assert teacher.page.locator("#qr-code").evaluate("(image) => image.decode()") is None
    return str(teacher.page.get_attribute("#invite-link", "href"))


def assert_accessible(user: User) -> None:
    """Axe finds nothing, and nothing is wider than the screen."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    violations = axe.Axe().run(user.page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in violations] == []
    assert user.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_pupils_join_draw_the_task_and_change_nothing_of_others(
    teacher: User, visit: Visit, tmp_path: Path
) -> None:
    link = invite(teacher)
    teacher.page.click("#copy-link")
    wait_for_text(teacher, "#copy-link", "Copied")
    mia, ben = visit(link, **PHONE, color_scheme="dark"), visit(link)
    assert_accessible(teacher)
    assert_accessible(mia)
    join(mia, "Mia")
    wait_for_text(mia, "#task", "Draw any character")
    join(ben, "mia")
    wait_for_text(ben, "#join-error", "There is a mia already.")
    join(ben, "<b>Ben</b>")
    wait_for_text(teacher, "#invite-names", "Mia", "<b>Ben</b>")
    teacher.page.keyboard.press("Escape")

    mia.draw(draw("zig"))
    teacher.page.select_option("#task-class", label="\u2068ladder\u2069")
    for pupil in (mia, ben):
        wait_for_text(pupil, BANNER, "Draw ladder now")
        wait_for_text(pupil, "#task", "Draw ladder")
        for refused in ("#add-form", ".edit", "#author", "nav a[href='#share']", "[href='#class']"):
            assert not pupil.page.locator(refused).first.is_visible()
    mia.page.wait_for_selector("#clear[aria-disabled='true']")  # it was another sign's drawing
    mia.draw(draw("ladder"))
    mia.page.press("#pad", "Enter")
    wait_for_text(mia, BANNER, "1 drawing by you")
    wait_for_text(teacher, "#pupils li", "Mia")
    assert_accessible(mia)
    wait_for_text(teacher, "#class-summary", "2 of 2 pupils here now. ladder: drawn by 1 of 2.")
    for width in (390, 820, 1280):
        teacher.page.set_viewport_size({"width": width, "height": 844})
        assert_accessible(teacher)
    for pupil, rows in ((mia, "0,1"), (ben, "0,0")):
        pupil.view("review")
        pupil.wait_for_rows(rows)
    with teacher.page.expect_download() as waiting:
        teacher.page.get_by_text("Save as CSV").click()
    waiting.value.save_as(tmp_path / "pupils.csv")
    with (tmp_path / "pupils.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["name"]: row["ladder"] for row in csv.DictReader(file)}
    assert rows == {"Mia": "1", "<b>Ben</b>": "0"}
    ben.expect_refusals()  # of the name


def test_the_teacher_allows_pauses_removes_and_ends(teacher: User, visit: Visit) -> None:
    ben = visit(invite(teacher))
    teacher.page.click("#invite-dialog .close button")
    join(ben, "Ben")
    ben.page.wait_for_selector("body[data-role='pupil']")
    ben.view("teach")
    teacher.page.check("#may-add")
    ben.submit("#add-name", "wheel")
    teacher.page.locator("#task-class option", has_text="wheel").wait_for(state="attached")
    teacher.page.click("#pause")
    wait_for_text(ben, BANNER, "Paused. Look at your teacher.")
    assert ben.page.locator("main[inert]").count() == 1
    teacher.page.click("#pause")
    ben.page.wait_for_selector("main:not([inert])")
    teacher.page.get_by_role("button", name="Remove").click()
    ben.page.wait_for_selector("#join-name")
    join(ben, "Benjamin")
    wait_for_text(teacher, "#pupils li", "Benjamin")
    teacher.page.click("#end-lesson")
    teacher.page.click("#end-now")
    wait_for_text(ben, "#disconnected", "This link no longer works.")
    ben.expect_refusals()


def test_a_link_on_another_site_changes_no_role(teacher: User, visit: Visit) -> None:
    pupil = visit(link := invite(teacher))
    join(pupil, "Mia")
    pupil.page.wait_for_selector("body[data-role='pupil']")
    for user, role in ((teacher, "teacher"), (pupil, "pupil")):
        user.page.goto("about:blank")
        user.page.set_content(f"<a href='{link}'>Join</a>")
        user.page.click("a")
        user.page.wait_for_selector(f"body[data-role='{role}']")
