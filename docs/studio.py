"""Make docs/studio.png: the Studio's page with three signs, while a fourth drawing is read.

Run by hand: python docs/studio.py
It needs playwright, and a Chromium.
"""

import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from PIL import Image

from siglum.recogniser import backbone
from siglum.studio.app import listen
from siglum.studio.state import Studio

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests" / "studio"
SIZE = {"width": 1280, "height": 900}
SIGNS = ("α", "β", "ψ", "zig", "wheel")


def keep(page: Any, strokes: Any, name: str) -> None:
    """Draw a sign and keep it."""
    page.evaluate("([pad, strokes, how]) => drawn(pad, strokes, how)", ["#pad", strokes, {}])
    page.fill("#keep-name", name)
    page.press("#keep-name", "Enter")
    page.locator("#answer", has_text="Kept as").wait_for()


def photograph(url: str, path: Path) -> None:
    """Teach five signs, draw one of them, and photograph the page."""
    from hand_drawn import drawn
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser).new_page(viewport=SIZE)
        page.add_init_script((TESTS / "browser" / "pen.js").read_text())
        page.goto(url)
        page.fill("#first-names", ", ".join(SIGNS))
        page.press("#first-names", "Enter")
        page.click("#done")
        for seed in range(4):
            for name in SIGNS:
                keep(page, drawn(name, seed), name)
        page.wait_for_selector(".plot .line", state="attached")
        page.evaluate("([pad, strokes]) => drawn(pad, strokes, {})", ["#pad", drawn("ψ", 7)])
        page.click("#heat")
        page.wait_for_selector("#scale", state="visible")
        page.wait_for_selector("#growth:not(.stale)", state="attached")
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def main() -> None:
    """Serve an empty folder, and photograph what becomes of it."""
    sys.path += [str(TESTS), str(TESTS / "browser")]
    from studio_client import serving

    with (
        tempfile.TemporaryDirectory() as place,
        closing(Studio(Path(place) / "my-signs", backbone.shipped())) as opened,
        serving(opened, listen("127.0.0.1", 0)) as port,
    ):
        photograph(f"http://127.0.0.1:{port}/", HERE / "studio.png")


if __name__ == "__main__":
    main()
