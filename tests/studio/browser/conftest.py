"""Chromium at a Studio on a real socket, and somebody who draws."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hand_drawn import Strokes, drawn
from studio_client import save, serving

from siglum.recogniser import backbone as backbones
from siglum.recogniser.predict import Recogniser
from siglum.studio.app import listen
from siglum.studio.state import Studio

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WAIT = 60_000  # ms: of a machine that does much else
WINDOW = {"width": 1280, "height": 900}
PEN = (Path(__file__).parent / "pen.js").read_text()


@pytest.fixture(scope="session")
def behind() -> Recogniser:
    """The shipped backbone."""
    if not resources.files("siglum.recogniser").joinpath(backbones.SHIPPED).is_file():
        pytest.skip("no backbone is shipped here")
    return backbones.shipped()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "my-signs"


@contextmanager
def studio_at(
    folder: Path, behind: Recogniser, port: int = 0, token: str | None = None
) -> Iterator[str]:
    """Serve a folder; the address is given."""
    address = listen("127.0.0.1", port)
    address = replace(address, access=replace(address.access, token=token))
    with closing(Studio(folder, behind)) as opened, serving(opened, address) as at:
        yield f"http://127.0.0.1:{at}/" + ("" if token is None else f"?token={token}")


@pytest.fixture
def url(folder: Path, behind: Recogniser) -> Iterator[str]:
    """The address of a Studio whose folder is empty."""
    with studio_at(folder, behind) as found:
        yield found


@pytest.fixture(scope="session")
def lesson(tmp_path_factory: pytest.TempPathFactory, behind: Recogniser) -> Path:
    """A folder with three drawings of zig and three of ladder."""
    folder = tmp_path_factory.mktemp("lesson") / "my-signs"
    with closing(Studio(folder, behind)) as opened:
        for name in ("zig", "ladder"):
            for seed in range(3):
                points = [[[x, y, 0, 0.5] for x, y in stroke] for stroke in drawn(name, seed)]
                value = {"version": 1, "aspect": 1.0, "strokes": points}
                save(opened, name, value)
    return folder


@pytest.fixture
def taught_url(lesson: Path, folder: Path, behind: Recogniser) -> Iterator[str]:
    """The address of a Studio that was taught zig and ladder."""
    shutil.copytree(lesson, folder)
    with studio_at(folder, behind) as found:
        yield found


class Process:
    """`siglum studio` as a process that can be killed, and started again at its port."""

    def __init__(self, folder: Path, port: int | None = 0) -> None:
        """Start it at a port, 0 for any; or at the usual one."""
        self.command = [sys.executable, "-m", "siglum", "studio", str(folder), "--no-browser"]
        self.usual = port is None
        self.port = port or 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it, and wait until it says where it is."""
        pipe = subprocess.PIPE
        command = [*self.command, *([] if self.usual else ["--port", str(self.port)])]
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")
        address = next((line for line in lines if "http://" in line), None)
        assert address is not None, self.process.communicate()[1]
        self.port = int(address.split(":")[2].split("/")[0])

    def kill(self) -> None:
        """Kill it as kill -9 does."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def process(folder: Path, behind: Recogniser) -> Iterator[Process]:
    """A Studio that can be killed."""
    found = Process(folder)
    yield found
    found.kill()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    reason = "no Playwright here: pip install playwright"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def context_of(browser: Any, **settings: Any) -> Any:
    """Something like a browser of one's own."""
    found = browser.new_context(**{"viewport": WINDOW, "reduced_motion": "reduce"} | settings)
    found.set_default_timeout(WAIT)
    found.add_init_script(PEN)
    return found


class Visitor:
    """Somebody at the page, in a browser of their own."""

    def __init__(self, context: Any, url: str, page: Any = None) -> None:
        self.context, self.url = context, url
        self.mishaps: list[str] = []
        self.elsewhere: list[str] = []
        self.hearing = {
            "weberror": lambda error: self.mishaps.append(str(error.error)),
            "console": self._hear,
            "dialog": lambda dialog: self.mishaps.append(dialog.message),
            "request": self._watch,
        }
        for event, heard in self.hearing.items():
            context.on(event, heard)
        self.page = self.open(page)

    def open(self, page: Any = None) -> Any:
        """Open the Studio, in one more tab."""
        page = page or self.context.new_page()
        page.goto(self.url)
        page.wait_for_selector("#title:not(:empty)", state="attached")
        return page

    def leave(self) -> None:
        """Nothing went wrong, and nobody else was asked."""
        for event, heard in self.hearing.items():
            self.context.remove_listener(event, heard)
        assert self.mishaps == []
        assert self.elsewhere == []

    def _hear(self, message: Any) -> None:
        killed = "net::ERR_" in message.text
        removed = "404" in message.text and message.location["url"].endswith(".png")  # elsewhere
        if message.type == "error" and not killed and not removed:
            self.mishaps.append(message.text)

    def _watch(self, request: Any) -> None:
        if not request.url.startswith(self.url.partition("?")[0]):
            self.elsewhere.append(request.url)

    def draw(self, strokes: Strokes, pad: str = "#pad", **pointer: Any) -> None:
        """Draw with pointer events, as the browser would make them of a pen."""
        self.page.evaluate("([pad, strokes, how]) => drawn(pad, strokes, how)",
                           [pad, strokes, pointer])  # fmt: skip

    def name(self, names: str) -> None:
        """Name the first signs, and take none in hand."""
        self.page.fill("#first-names", names)
        self.page.press("#first-names", "Enter")
        self._wait_for("first-names")
        if self.page.locator("#done").is_visible():
            self.page.click("#done")

    def add(self, name: str) -> None:
        """Add a sign."""
        self.page.fill("#new-name", name)
        self.page.press("#new-name", "Enter")
        self._wait_for("new-name")

    def _wait_for(self, field: str) -> None:
        """Wait until what was typed into a field was taken: then it is empty."""
        script = "(name) => !document.getElementById(name).value"
        self.page.wait_for_function(script, arg=field)

    def keep(self, name: str = "") -> None:
        """Keep what is on the pad, as a sign that is named or as the best answer."""
        if name:
            self.page.fill("#keep-name", name)
            self.page.press("#keep-name", "Enter")
        else:
            self.page.press("#pad", "Enter")
        self.page.locator("#answer", has_text="Kept as").wait_for()

    def teach(self, name: str, *drawings: Strokes) -> None:
        """Draw a sign, and keep each drawing under its name."""
        for strokes in drawings:
            self.draw(strokes)
            self.page.wait_for_selector("#keep", state="visible")
            self.keep(name)

    def answer(self) -> str:
        """The sign that is read, once what is on the pad now is answered."""
        self.page.evaluate("answered()")
        return str(self.page.locator("#answer .headline").inner_text()).split("\n")[0]

    def wait_for(self, known: str, page: Any = None) -> None:
        """Wait until so many drawings are said to be known of the signs."""
        (page or self.page).wait_for_function("(known) => window.known() === known", arg=known)

    def counts(self) -> dict[str, str]:
        """What is said of how many drawings each sign has."""
        cards = self.page.locator("#signs li > button").all()
        return {card.locator(".name").inner_text(): card.locator(".known").inner_text()
                for card in cards}  # fmt: skip


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visitor]]:
    """Open a page in a browser of one's own, such as a phone's."""
    visitors = []

    def come(url: str, **settings: Any) -> Visitor:
        visitors.append(Visitor(context_of(browser, **settings), url))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.context.close()
        visitor.leave()


@pytest.fixture(scope="session")
def tab(browser: Any) -> Iterator[Any]:
    """A tab that one test after the other uses: what a page stores is by its port."""
    context = context_of(browser)
    yield context.new_page()
    context.close()


@contextmanager
def come_to(url: str, tab: Any) -> Iterator[Visitor]:
    visitor = Visitor(tab.context, url, tab)
    yield visitor
    for page in tab.context.pages:
        if page != tab:
            page.close()
    tab.context.unroute_all()
    tab.emulate_media(color_scheme="light")
    tab.set_viewport_size(WINDOW)
    visitor.leave()
    tab.goto("about:blank")


@pytest.fixture
def visitor(url: str, tab: Any) -> Iterator[Visitor]:
    """Somebody at the page of a Studio whose folder is empty."""
    with come_to(url, tab) as found:
        yield found


@pytest.fixture
def pupil(taught_url: str, tab: Any) -> Iterator[Visitor]:
    """Somebody at the page of a Studio that was taught zig and ladder."""
    with come_to(taught_url, tab) as found:
        yield found
