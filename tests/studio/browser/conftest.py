"""Chromium at a Studio on a real socket, and a user who draws."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hand_drawn import Strokes, draw, record, to_json
from studio_client import Client, save, studio_client

from siglum.recogniser.predict import default_backbone
from siglum.studio.snapshot import Studio

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WAIT = 30_000  # ms, on a busy machine
WINDOW = {"width": 1280, "height": 900}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "device_scale_factor": 3}
Shared = tuple[Studio, Client]
Saved = Callable[[], list[str]]  # the class of every drawing of the shared server
HELPERS = (Path(__file__).parent / "pen.js").read_text()


@pytest.fixture(scope="session")
def backbone():
    return default_backbone()


@contextmanager
def studio_at(
    folder: Path, backbone: Any, port: int = 0, token: str | None = None
) -> Iterator[str]:
    """Serve a set of signs; yield its address."""
    with studio_client(folder, backbone, port, token) as (_, client):
        yield f"http://127.0.0.1:{client.port}/" + ("" if token is None else f"?token={token}")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, backbone) -> Iterator[Shared]:
    with studio_client(tmp_path_factory.mktemp("shared") / "my-signs", backbone) as opened:
        yield opened


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, with a camera that films a drawing of zig."""
    reason = "Playwright is missing: pip install playwright"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    if CHROMIUM is None:
        pytest.skip("Chromium is missing: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        film = tmp_path_factory.mktemp("camera") / "zig.y4m"
        film.write_bytes(record(draw("zig", 4)))
        camera = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}"]
        args = ["--no-sandbox", *camera]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        yield browser
        browser.close()


class User:
    """A user at the page, in a browser profile of their own."""

    def __init__(self, browser: Any, url: str, **settings: Any) -> None:
        options = {"viewport": WINDOW, "reduced_motion": "reduce"} | settings
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(WAIT)
        self.context.add_init_script(HELPERS)
        self.url, self.errors, self.foreign = url, list[str](), list[str]()
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))
        self.context.on("dialog", lambda dialog: self.errors.append(dialog.message))
        self.context.on("console", self._check_console)
        self.context.on("request", self._check_request)
        self.page = self.open()

    def open(self) -> Any:
        """Open the Studio in one more tab."""
        page = self.context.new_page()
        page.goto(self.url)
        page.wait_for_selector("#title:not(:empty), #join-name", state="attached")
        if not page.locator("#join-name").count():  # else it is a pupil who has to join
            page.click("nav a[href='#teach']")
        return page

    def leave(self) -> None:
        """Close the browser; nothing failed, and nothing was asked of other servers."""
        self.context.close()
        assert (self.errors, self.foreign) == ([], [])

    def expect_refusals(self) -> None:
        """The browser logs every refused request as an error."""
        self.errors = [error for error in self.errors if "status of 4" not in error]

    def _check_console(self, message: Any) -> None:
        is_gone = "404" in message.text and message.location["url"].endswith(".png")  # deleted
        if message.type == "error" and "net::ERR_" not in message.text and not is_gone:
            self.errors.append(message.text)

    def _check_request(self, request: Any) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
            self.foreign.append(request.url)

    def draw(self, strokes: Strokes, pad: str = "#pad", **pointer: Any) -> None:
        """Draw with the pointer events of a pen."""
        self.page.evaluate("(given) => draw(...given)", [pad, strokes, pointer])

    def start(self, names: str) -> None:
        """Name the first signs, and teach none of them yet."""
        self.submit("#add-name", names)
        if self.page.locator("#stop").is_visible():
            self.page.click("#stop")

    def submit(self, field: str, text: str) -> None:
        """Type into a field and press Enter; wait until it was accepted."""
        self.page.fill(field, text)
        self.page.press(field, "Enter")
        self.page.wait_for_function("(field) => !document.querySelector(field).value", arg=field)

    def save(self, name: str = "") -> None:
        """Save what is on the pad, under a name or as the best answer."""
        self.page.wait_for_selector("#save-form", state="visible")
        self.page.evaluate("document.querySelector('#toast-text').replaceChildren()")
        self.page.fill("#save-name", name)
        self.page.press("#save-name", "Enter")
        self.page.locator("#toast", has_text="Saved to").wait_for()

    def teach(self, name: str, *drawings: Strokes) -> None:
        """Draw a sign, and save each drawing."""
        for strokes in drawings:
            self.draw(strokes)
            self.save(name)

    def answer(self) -> str:
        """The headline, once the newest point has a prediction."""
        self.page.evaluate("predicted()")
        return " ".join(self.page.locator("#headline").inner_text().split())

    def answers(self, *drawings: tuple[str, int]) -> list[str]:
        """The headline for each drawing, named and seeded."""
        headlines = []
        for name, seed in drawings:
            self.draw(draw(name, seed))
            headlines.append(self.answer())
            self.page.click("#clear")
        return headlines

    def wait_for(self, statuses: str, page: Any = None) -> None:
        """Wait until the cards of the signs say so."""
        (page or self.page).wait_for_function("(text) => statuses() === text", arg=statuses)

    def wait_for_rows(self, rows: str) -> None:
        self.page.wait_for_function("(rows) => window.rows() === rows", arg=rows)

    def view(self, name: str) -> None:
        self.page.click(f"nav a[href='#{name}']")
        self.page.wait_for_selector(f"nav a[href='#{name}'][aria-current]")

    def select(self, name: str) -> None:
        """Choose a sign to be taught."""
        self.page.locator("#signs .card", has_text=name).click()

    def download(self, button: str, folder: Path) -> Path:
        """Save a file from the Share view."""
        self.view("share")
        with self.page.expect_download() as waiting:
            self.page.get_by_text(button).click()
        path = folder / waiting.value.suggested_filename
        waiting.value.save_as(path)
        return path


Visit = Callable[..., User]


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """Open a page in a browser of one's own, such as a phone's."""
    users: list[User] = []
    yield lambda url, **settings: users.append(User(browser, url, **settings)) or users[-1]
    for user in users:
        user.leave()


@pytest.fixture
def url(shared: Shared) -> str:
    """The address of the shared Studio, whose set is empty."""
    client = shared[1]
    for one in client.get("/api/state")["classes"]:
        client.post(f"/api/classes/{one['id']}/merge", {"into": None})
    return f"http://127.0.0.1:{client.port}/"


@pytest.fixture
def taught_url(url: str, shared: Shared) -> str:
    """The same with three drawings of zig and three of ladder."""
    for name in ("zig", "ladder"):
        for seed in range(3):
            save(shared[0], name, to_json(draw(name, seed)))
    return url


@pytest.fixture
def user(visit: Visit, url: str) -> User:
    return visit(url)


@pytest.fixture
def teacher(visit: Visit, taught_url: str) -> User:
    return visit(taught_url)


@pytest.fixture
def saved(shared: Shared) -> Saved:
    """A function that returns the class of every drawing that the shared server has."""
    store = shared[0].store
    return lambda: sorted(store.state.classes[one.label] for one in store.state.drawings.values())
