"""Nothing that was drawn is lost: not by a reload, kill -9, another tab or another set."""

from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import Saved, User, Visit, studio_at
from hand_drawn import draw, to_json
from studio_client import Process, save

from siglum.images import studio_set
from siglum.studio.snapshot import Studio

Waiting = tuple[User, int]


def on_disk(folder: Path) -> list[str]:
    """The class of every drawing in the file of a set."""
    with closing(studio_set.connect(folder)) as database:
        query = "SELECT name FROM drawing JOIN class ON class.id = class ORDER BY name"
        return [name for (name,) in database.execute(query)]


def save_unheard(user: User, name: str) -> None:
    """Save what is on the pad while no server answers."""
    user.page.fill("#save-name", name)
    user.page.press("#save-name", "Enter")
    user.page.wait_for_selector("#disconnected", state="visible")


def reconnect(page: Any) -> None:
    """Look for the server at once, unless the page has found it already."""
    page.evaluate("document.querySelector('#reconnect').click()")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "my-signs"


@pytest.fixture
def waiting(visit: Visit, folder: Path, backbone: Any) -> Waiting:
    """A user with a drawing of zig that waits for its server, and the port of that."""
    with studio_at(folder, backbone, token="the-first") as url:
        user = visit(url)
        user.start("zig, ladder")
        user.draw(draw("zig"))
        user.page.wait_for_selector("#save-form", state="visible")
    save_unheard(user, "zig")
    return user, urlsplit(url).port or 0


def test_kill_loses_no_drawing(visit: Visit, folder: Path) -> None:
    """Saved drawings are on disk; one that is saved without a server is sent once it is back."""
    with closing(Process(folder)) as process:
        process.start()
        user = visit(f"http://127.0.0.1:{process.port}/")
        user.start("zig, ladder")
        user.teach("zig", draw("zig", 0))
        process.close()
        assert on_disk(folder) == ["zig"]
        user.draw(draw("zig", 1))
        save_unheard(user, "zig")
        notice = user.page.locator("#connection").inner_text()
        assert notice.startswith("Connection lost. 1 drawing is safe here and will be sent")
        start = user.page.evaluate("performance.now()")
        user.draw(draw("ladder", 0))  # many points, which ask for no prediction now
        user.page.wait_for_timeout(3000)
        times = user.page.evaluate("requests.map(([time]) => time)")
        assert sum(time > start for time in times) <= 3  # at most one request a second
        process.start()
        reconnect(user.page)
        user.page.wait_for_selector("#disconnected", state="hidden")
        user.wait_for("2 drawings,draw it 3 times")
        user.save("ladder")
    assert on_disk(folder) == ["ladder", "zig", "zig"]


def test_a_refused_drawing_waits_for_you(waiting: Waiting, folder: Path, backbone: Any) -> None:
    user, port = waiting
    with closing(Studio(folder, backbone)) as studio:
        (label,) = studio.store.add_classes(["zig"])
        studio.store.remove_class(label, None)
    with studio_at(folder, backbone, port, token="the-first"):
        reconnect(user.page)
        for _ in range(2):
            user.page.locator("#unsaved", has_text="1 drawing not saved. ").wait_for()
            user.page.reload()
        assert on_disk(folder) == []
        user.page.select_option("#unsaved-class", label="\u2068ladder\u2069")
        user.page.locator("#unsaved").get_by_role("button", name="Save").click()
        user.page.wait_for_selector("#unsaved", state="hidden")
        user.page.reload()
        user.wait_for("1 drawing")
    user.expect_refusals()
    assert on_disk(folder) == ["ladder"]


def test_a_waiting_drawing_goes_to_its_own_set_only(
    waiting: Waiting, folder: Path, tmp_path: Path, backbone: Any
) -> None:
    """Another set at the same port has a sign of the same name; the page is closed meanwhile."""
    user, port = waiting
    theirs = tmp_path / "theirs"
    with closing(Studio(theirs, backbone)) as studio:
        save(studio, "zig", to_json(draw("zig")))
    with studio_at(theirs, backbone, port, token="the-first"):
        reconnect(user.page)
        user.page.locator("#unsaved", has_text="It was drawn for").wait_for()
        user.page.close()
    with studio_at(folder, backbone, port, token="the-first"):
        user.page = user.open()
        user.wait_for("1 drawing,draw it 3 times")
    user.expect_refusals()
    assert on_disk(theirs) == ["zig"]
    assert on_disk(folder) == ["zig"]


def test_a_page_with_an_old_token_waits(waiting: Waiting, folder: Path, backbone: Any) -> None:
    user, port = waiting
    with studio_at(folder, backbone, port, token="the-second") as new_url:
        reconnect(user.page)
        notice = user.page.locator("#disconnected", has_text="This link no longer works")
        notice.get_by_text("1 drawing is safe here").wait_for()
        assert on_disk(folder) == []
        user.context.new_page().goto(new_url)
        user.wait_for("1 drawing,draw it 3 times")
    user.expect_refusals()
    assert on_disk(folder) == ["zig"]


def test_tabs_keep_in_step_and_undo_only_what_they_show(user: User, saved: Saved) -> None:
    first, second = user.page, user.open()
    user.start("zig, ladder")
    user.teach("zig", draw("zig"))
    user.wait_for("1 drawing,draw it 3 times", second)
    user.page = second
    user.teach("ladder", draw("ladder"))
    user.wait_for("1 drawing,1 drawing", first)
    first.wait_for_selector("#toast", state="hidden")  # "Saved to zig" is no longer the last change
    second.wait_for_selector("#updating[hidden]", state="attached")
    second.evaluate("setTimeout = () => 0")  # so that it fetches no changes
    user.page = first
    user.teach("zig", draw("zig", 1))
    second.click("#undo")
    second.wait_for_selector("#toast", state="visible")
    user.expect_refusals()
    assert saved() == ["ladder", "zig", "zig"]
    user.wait_for("2 drawings,1 drawing", second)
    second.click("#undo")
    user.wait_for("1 drawing,1 drawing", second)
