"""The camera of the bench: Chromium's fake one, which films a drawing of zig.

    pytest -s -k live tests/studio/browser/test_page_camera.py

prints how many pictures a second are read.
"""

from collections.abc import Callable

import pytest
from conftest import Saved, User, Visit

FRAMES = "requests.filter(([, path]) => path === '/api/predict/image').map(([time]) => time)"
READY_STATE = "document.querySelector('#camera-image').srcObject.getTracks()[0].readyState"
BOXES = (
    "['.box', 'video'].map((one) => document.querySelector(one).getBoundingClientRect().toJSON())"
)
HIDE = """Object.defineProperty(document, 'hidden', { get: () => true });
document.dispatchEvent(new Event('visibilitychange'))"""
Start = Callable[..., User]


@pytest.fixture
def start(visit: Visit, taught_url: str) -> Start:
    """A function that opens the page with a camera, and presses its button."""

    def open_page(view: str = "teach") -> User:
        user = visit(taught_url, permissions=["camera"])
        user.view(view)
        user.page.click("#camera")
        user.page.locator(".box").wait_for()
        return user

    return open_page


def test_a_live_answer_is_kept_as_a_photo_and_saved(start: Start, saved: Saved) -> None:
    user = start()
    page = user.page
    page.locator("#headline", has_text="zig").wait_for()
    assert page.locator(".box .tag").inner_text() == "zig"
    page.locator("#live", has_text="zig").wait_for(state="attached")
    box, video = page.evaluate(BOXES)
    left, top = ((box[axis] - video[axis]) / video["width"] for axis in "xy")
    assert (left, top) == (pytest.approx(0.41, abs=0.08), pytest.approx(0.41, abs=0.08))
    times = page.evaluate(FRAMES)
    print(f"{1000 * (len(times) - 1) / (times[-1] - times[0]):.1f} pictures a second")
    page.click("#camera-image")
    page.locator("#task", has_text="1 sign in 1 row").wait_for()
    assert page.evaluate(READY_STATE) == "ended"
    page.click("#choices .primary")
    page.wait_for_selector(".box.saved")
    assert saved() == ["ladder"] * 3 + ["zig"] * 4
    user.view("test")
    page.wait_for_selector("#pad", state="visible")  # a photo is no answer to a test


def test_find_reads_the_camera_and_enter_keeps_a_picture(start: Start) -> None:
    page = start("find").page
    page.locator("#find-rows li").first.wait_for()
    page.keyboard.press("Enter")  # the focus is on Keep
    page.locator("#task", has_text="1 sign in 1 row").wait_for()
    assert page.evaluate(READY_STATE) == "ended"
    page.click("#photo-back")
    page.click("#camera")
    page.locator(".box").wait_for()
    page.click("#find-teach")  # keeps the picture, as it keeps a drawing
    page.locator("#choices .primary", has_text="zig").wait_for()
    assert page.evaluate(READY_STATE) == "ended"


def test_the_camera_is_off_once_the_user_goes(start: Start) -> None:
    user = start()
    page = user.page
    leave = {
        "Escape": lambda: page.keyboard.press("Escape"),
        "its button": lambda: page.click("#camera"),
        "the pad": lambda: page.click("#photo-back"),
        "another view": lambda: user.view("test"),
        "another browser tab": lambda: page.evaluate(HIDE),
    }
    for name, action in leave.items():
        if not page.locator("#keep").is_visible():
            page.click("#camera")
            page.wait_for_selector("#keep", state="visible")
        assert page.evaluate(READY_STATE) == "live"
        action()
        assert page.evaluate(READY_STATE) == "ended", name
        page.wait_for_selector("#pad", state="visible")
        user.view("teach")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("NotAllowedError", "Allow it"),
        ("NotFoundError", "Connect one"),
        ("NotReadableError", "Another program uses the camera."),
    ],
)
def test_a_camera_that_does_not_start_says_what_to_do(error: str, remedy: str, user: User) -> None:
    page = user.page
    if error != "NotAllowedError":  # which is what this browser answers
        reject = f"() => Promise.reject(new DOMException('', '{error}'))"
        page.evaluate(f"void (navigator.mediaDevices.getUserMedia = {reject})")
    page.click("#camera")
    page.locator("#bench-error", has_text=remedy).wait_for()
    assert page.locator("#pad").is_visible()


def test_without_https_the_button_says_why(user: User) -> None:
    user.context.add_init_script("delete Navigator.prototype.mediaDevices")
    user.page.reload()
    button = user.page.locator("#camera[aria-disabled=true]")
    assert "https" in (button.get_attribute("title") or "")
    button.press("Enter")
    user.page.locator("#bench-error", has_text="Open a photo instead.").wait_for()
