"""Nothing that was drawn is lost: by a reload, by kill -9, or by another tab."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from conftest import Process, Visitor, studio_at
from hand_drawn import SIGNS, drawn

from siglum.images import studio_set
from siglum.recogniser.predict import Recogniser
from siglum.studio.state import Studio


def on_disk(folder: Path) -> list[str]:
    """The drawings that count, by class, whatever the Studio says."""
    with closing(studio_set.connect(folder / studio_set.FILE)) as database:
        query = "SELECT name FROM drawing JOIN class ON class.id = class ORDER BY name"
        return [name for (name,) in database.execute(query)]


def about_to_keep(visitor: Visitor, sign: str) -> Visitor:
    """Name two signs and draw one of them, which is not kept yet."""
    visitor.name("zig, ladder")
    visitor.draw(drawn(sign))
    visitor.page.wait_for_selector("#keep", state="visible")
    return visitor


def keep_unheard(visitor: Visitor, name: str) -> None:
    """Keep what is on the pad, while nobody answers."""
    visitor.page.fill("#keep-name", name)
    visitor.page.press("#keep-name", "Enter")
    visitor.page.wait_for_selector("#lost:not(:empty)")


def try_now(page: Any) -> None:
    """Look for the server at once, unless the page has found it already."""
    page.evaluate("document.querySelector('#lost button')?.click()")


def test_a_reload_finds_everything_and_what_is_on_the_pad(visitor: Visitor, folder: Path) -> None:
    page = visitor.page
    visitor.name("zig, ladder")
    visitor.teach("zig", drawn("zig", 0), drawn("zig", 1))
    visitor.draw(SIGNS["ladder"])
    page.reload()
    page.wait_for_selector("#keep", state="visible")

    assert visitor.counts() == {"zig": "2 drawings", "ladder": "to be drawn"}

    visitor.keep("ladder")

    assert on_disk(folder) == ["ladder", "zig", "zig"]


def test_kill_between_drawings_loses_no_finished_one(
    visit: Callable[..., Visitor], process: Process, folder: Path
) -> None:
    """What was kept is on disk; what is kept while nobody answers is sent when somebody does."""
    visitor = visit(process.url)
    page = visitor.page
    visitor.name("zig, ladder")
    visitor.teach("zig", drawn("zig", 0))
    process.kill()

    assert on_disk(folder) == ["zig"]

    visitor.draw(drawn("zig", 1))
    keep_unheard(visitor, "zig")
    visitor.draw(drawn("ladder", 0))  # and this one is on the pad, not finished
    process.start()
    try_now(page)
    page.wait_for_selector("#lost:empty", state="attached")
    visitor.wait_for("2 drawings,to be drawn")

    assert on_disk(folder) == ["zig", "zig"]

    visitor.keep("ladder")
    process.kill()

    assert on_disk(folder) == ["ladder", "zig", "zig"]


def test_what_a_closed_page_could_not_send_is_sent_by_the_next(
    visit: Callable[..., Visitor], folder: Path, behind: Recogniser
) -> None:
    with studio_at(folder, behind) as url:
        visitor = about_to_keep(visit(url), "ladder")
    keep_unheard(visitor, "ladder")
    visitor.page.close()
    with studio_at(folder, behind, urlsplit(url).port):
        visitor.page = visitor.open()
        visitor.wait_for("to be drawn,1 drawing")

    assert on_disk(folder) == ["ladder"]


def test_what_is_refused_stays_until_somebody_says_what_it_is(
    visit: Callable[..., Visitor], folder: Path, behind: Recogniser
) -> None:
    with studio_at(folder, behind) as url:
        visitor = about_to_keep(visit(url), "zig")
        page = visitor.page
    keep_unheard(visitor, "zig")
    with closing(Studio(folder, behind)) as opened:
        (label,) = opened.store.add_classes(["zig"])
        opened.store.remove_class(label, None)
    with studio_at(folder, behind, urlsplit(url).port):
        try_now(page)
        page.locator("#stuck", has_text="1 drawing is not kept. class must be").wait_for()
        page.reload()
        page.locator("#stuck", has_text="1 drawing is not kept. class must be").wait_for()

        assert on_disk(folder) == []

        page.select_option("#stuck-as", label="\u2068ladder\u2069")
        page.locator("#stuck").get_by_role("button", name="Keep").click()
        page.wait_for_selector("#stuck:empty", state="attached")
        visitor.wait_for("1 drawing")

        assert on_disk(folder) == ["ladder"]

        page.reload()
        visitor.wait_for("1 drawing")

        assert on_disk(folder) == ["ladder"]
    visitor.mishaps.clear()  # the browser logs every 4xx as an error


def test_what_waits_is_sent_to_the_folder_that_it_was_drawn_for_and_to_no_other(
    visit: Callable[..., Visitor], folder: Path, lesson: Path, tmp_path: Path, behind: Recogniser
) -> None:
    """Another folder at the same port, which has a sign of the same name."""
    theirs = tmp_path / "theirs"
    shutil.copytree(lesson, theirs)
    before = on_disk(theirs)
    with studio_at(folder, behind) as url:
        visitor = about_to_keep(visit(url), "zig")
    keep_unheard(visitor, "zig")
    with studio_at(theirs, behind, urlsplit(url).port):
        try_now(visitor.page)
        visitor.page.locator("#stuck", has_text="It was drawn for").wait_for()
        visitor.page.reload()
        visitor.page.locator("#stuck", has_text="It was drawn for").wait_for()
    with studio_at(folder, behind, urlsplit(url).port):
        try_now(visitor.page)
        visitor.wait_for("1 drawing,to be drawn")
        visitor.page.wait_for_selector("#stuck:empty", state="attached")
    visitor.mishaps.clear()  # the browser logs every 4xx as an error

    assert on_disk(theirs) == before
    assert on_disk(folder) == ["zig"]


def test_a_page_that_a_new_token_locks_out_says_so_and_sends_what_waits_when_it_may(
    visit: Callable[..., Visitor], folder: Path, behind: Recogniser
) -> None:
    with studio_at(folder, behind, token="of-the-first-hour") as url:
        visitor = about_to_keep(visit(url), "zig")
    keep_unheard(visitor, "zig")
    with studio_at(folder, behind, urlsplit(url).port, token="of-the-second-hour") as again:
        try_now(visitor.page)
        lost = visitor.page.locator("#lost", has_text="does not let this page in any more")
        lost.get_by_text("1 drawing waits here").wait_for()

        assert on_disk(folder) == []

        visitor.context.new_page().goto(again)
        visitor.wait_for("1 drawing,to be drawn")
        visitor.page.wait_for_selector("#lost:empty", state="attached")
    visitor.mishaps.clear()  # the browser logs every 4xx as an error

    assert on_disk(folder) == ["zig"]


def test_a_studio_that_is_started_again_is_found_where_it_was(
    visit: Callable[..., Visitor], folder: Path, tmp_path: Path, behind: Recogniser
) -> None:
    """Without --port: what waits in the browser waits for one address."""
    process = Process(folder, port=None)
    try:
        visitor = about_to_keep(visit(process.url), "zig")
        process.kill()
        keep_unheard(visitor, "zig")
        process.start()
        try_now(visitor.page)
        visitor.wait_for("1 drawing,to be drawn")
        other = Process(tmp_path / "other", port=None)
        other.kill()
    finally:
        process.kill()

    assert other.port != process.port


def test_two_tabs_keep_in_step(visitor: Visitor) -> None:
    first, second = visitor.page, visitor.open()
    visitor.name("zig, ladder")
    visitor.wait_for("to be drawn,to be drawn", second)
    visitor.teach("zig", drawn("zig"))
    visitor.wait_for("1 drawing,to be drawn", second)
    visitor.page = second
    visitor.teach("ladder", drawn("ladder"))
    visitor.wait_for("1 drawing,1 drawing", first)
    second.click("#take-back")
    visitor.wait_for("1 drawing,to be drawn", first)


def test_a_tab_takes_back_what_it_shows_and_nothing_else(visitor: Visitor, folder: Path) -> None:
    first, second = visitor.page, visitor.open()
    visitor.name("zig, ladder")
    visitor.teach("zig", drawn("zig"))
    visitor.wait_for("1 drawing,to be drawn", second)
    visitor.page = second
    visitor.teach("ladder", drawn("ladder"))
    first.locator("#answer").get_by_role("button", name="Undo").click()  # of the drawing of zig
    first.get_by_text("Undone.").wait_for(state="attached")

    assert on_disk(folder) == ["ladder"]

    visitor.wait_for("to be drawn,1 drawing", second)
    second.evaluate("setTimeout = () => 0")  # so that it asks for no news
    visitor.page = first
    visitor.teach("zig", drawn("zig", 1))
    second.click("#take-back")
    second.wait_for_selector("#history-said:not(:empty)")
    visitor.mishaps.clear()  # the browser logs every 4xx as an error

    assert on_disk(folder) == ["ladder", "zig"]

    visitor.wait_for("1 drawing,1 drawing", second)
    second.click("#take-back")
    visitor.wait_for("to be drawn,1 drawing", second)

    assert on_disk(folder) == ["ladder"]
