"""Nothing that was drawn is lost: by a reload, by kill -9, or by another tab."""

from collections.abc import Callable
from pathlib import Path

from conftest import Process, Visitor
from hand_drawn import SIGNS, drawn

from siglum.images import samples


def on_disk(folder: Path) -> list[str]:
    """The drawings that are there, by class, whatever the Studio says."""
    return sorted(one.class_name for one in samples.find(folder))


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
    page.wait_for_selector("#lost:not(:empty)")
    page.fill("#keep-name", "zig")
    page.press("#keep-name", "Enter")
    visitor.draw(drawn("ladder", 0))  # and this one is on the pad, not finished
    process.start()
    page.wait_for_selector("#lost:empty", state="attached")
    page.wait_for_function(
        "() => document.querySelector('#signs .known').innerText === '2 drawings'"
    )

    assert on_disk(folder) == ["zig", "zig"]

    visitor.keep("ladder")
    process.kill()
    process.start()
    again = visit(process.url)

    assert on_disk(folder) == ["ladder", "zig", "zig"]
    assert again.counts() == {"zig": "2 drawings", "ladder": "1 drawing"}


def test_what_a_closed_page_could_not_send_is_sent_by_the_next(
    visit: Callable[..., Visitor], process: Process, folder: Path
) -> None:
    visitor = visit(process.url)
    visitor.name("zig, ladder")
    visitor.draw(drawn("ladder"))
    visitor.page.wait_for_selector("#keep", state="visible")
    process.kill()
    visitor.page.fill("#keep-name", "ladder")
    visitor.page.press("#keep-name", "Enter")
    visitor.page.wait_for_selector("#lost:not(:empty)")
    visitor.page.close()
    process.start()
    visitor.page = visitor.open()
    visitor.page.get_by_text("1 drawing", exact=True).wait_for()

    assert on_disk(folder) == ["ladder"]


def test_two_tabs_keep_in_step(visitor: Visitor) -> None:
    first, second = visitor.page, visitor.open()
    visitor.name("zig, ladder")
    second.wait_for_selector("#signs li:nth-child(2)")
    visitor.teach("zig", drawn("zig"))
    second.wait_for_function(
        "() => document.querySelector('#signs .known').innerText === '1 drawing'"
    )
    visitor.page = second
    visitor.teach("ladder", drawn("ladder"))
    first.wait_for_function(
        "() => [...document.querySelectorAll('#signs .known')].every((one) => one.innerText === '1 drawing')"
    )
    second.click("#take-back")
    first.wait_for_function(
        "() => document.querySelectorAll('#signs .known')[1].innerText === 'to be drawn'"
    )
