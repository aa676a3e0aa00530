"""Chromium at a Studio on a real socket, and somebody who draws."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hand_drawn import Strokes
from visiting import serving

from siglum.recogniser import backbone as backbones
from siglum.recogniser.predict import Recogniser
from siglum.studio import server
from siglum.studio.studio import Studio

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WAIT = 60_000  # ms: of a machine that does much else
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


@pytest.fixture
def url(folder: Path, behind: Recogniser) -> Iterator[str]:
    """The address of a Studio whose folder is empty."""
    with (
        closing(Studio(folder, behind)) as opened,
        serving(opened, server.listen("127.0.0.1", 0)) as port,
    ):
        yield f"http://127.0.0.1:{port}/"


class Process:
    """`siglum studio` as a process that can be killed, and started again at its port."""

    def __init__(self, folder: Path) -> None:
        self.command = [sys.executable, "-m", "siglum", "studio", str(folder), "--no-browser"]
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it, and wait until it says where it is."""
        pipe = subprocess.PIPE
        command = [*self.command, "--port", str(self.port)]
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
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Visitor:
    """Somebody at the page, in a browser of their own."""

    def __init__(self, browser: Any, url: str, **settings: Any) -> None:
        self.url = url
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | settings
        )
        self.context.set_default_timeout(WAIT)
        self.context.add_init_script(PEN)
        self.mishaps: list[str] = []
        self.elsewhere: list[str] = []
        self.page = self.open()

    def open(self, view: str = "") -> Any:
        """Open one more tab."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.mishaps.append(str(error)))
        page.on("console", self._hear)
        page.on("dialog", lambda dialog: self.mishaps.append(dialog.message))
        page.on("request", self._watch)
        page.goto(self.url + view)
        page.wait_for_selector("#title:not(:empty)", state="attached")
        return page

    def _hear(self, message: Any) -> None:
        if message.type == "error" and "net::ERR_" not in message.text:  # a server that was killed
            self.mishaps.append(message.text)

    def _watch(self, request: Any) -> None:
        if not request.url.startswith(self.url):
            self.elsewhere.append(request.url)

    def draw(self, strokes: Strokes, pad: str = "#pad", **pointer: Any) -> None:
        """Draw with pointer events, as the browser would make them of a pen."""
        self.page.evaluate("([pad, strokes, how]) => drawn(pad, strokes, how)",
                           [pad, strokes, pointer])  # fmt: skip

    def name(self, names: str) -> None:
        """Name the first signs, and take none in hand."""
        self.page.fill("#first-names", names)
        self.page.press("#first-names", "Enter")
        self.page.wait_for_selector("#signs li:nth-child(2)")
        if self.page.locator("#done").is_visible():
            self.page.click("#done")

    def add(self, name: str) -> None:
        """Add a sign."""
        before = self.page.locator("#signs li").count()
        self.page.fill("#new-name", name)
        self.page.press("#new-name", "Enter")
        self.page.locator("#signs li").nth(before).wait_for()

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

    def counts(self) -> dict[str, str]:
        """What is said of how many drawings each sign has."""
        cards = self.page.locator("#signs li > button").all()
        return {card.locator(".name").inner_text(): card.locator(".known").inner_text()
                for card in cards}  # fmt: skip


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visitor]]:
    """Open a page in a new browser; nothing goes wrong in it, and nobody else is asked."""
    visitors = []

    def come(url: str, **settings: Any) -> Visitor:
        visitors.append(Visitor(browser, url, **settings))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.context.close()
        assert visitor.mishaps == []
        assert visitor.elsewhere == []


@pytest.fixture
def visitor(visit: Callable[..., Visitor], url: str) -> Visitor:
    """Somebody at the page of a Studio whose folder is empty."""
    return visit(url)
