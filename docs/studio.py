"""Make docs/find.png, a character being found, and docs/studio*.png, a drawing being recognised.

Run by hand: python docs/studio.py
It needs playwright and Chromium.
"""

import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from PIL import Image

from siglum.recogniser.predict import default_backbone
from siglum.studio.app import listen
from siglum.studio.snapshot import Studio

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests" / "studio"
SIZE = {"width": 1280, "height": 900}
FIND = {"width": 1280, "height": 680}
TEACH = {"": {"width": 1280, "height": 780}, "-phone": {"width": 390, "height": 740}}
SIGNS = ("α", "β", "ψ", "zig", "wheel")


def save(page: Any, strokes: Any, name: str) -> None:
    """Draw a sign and save it."""
    page.evaluate("([pad, strokes]) => draw(pad, strokes, {})", ["#pad", strokes])
    page.fill("#save-name", name)
    page.press("#save-name", "Enter")
    page.locator("#toast", has_text=f"Saved to \u2068{name}").wait_for()


def photograph(url: str, folder: Path) -> None:
    """Find a character; teach five signs, draw one of them; and photograph the page."""
    from hand_drawn import draw
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport=SIZE)
        page.add_init_script((TESTS / "browser" / "pen.js").read_text())
        page.goto(url)
        page.wait_for_selector("#title:not(:empty)", state="attached")
        page.evaluate("([pad, strokes]) => draw(pad, strokes, {})", ["#pad", draw("∮")])
        page.evaluate("predicted()")
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=folder / "find.png", clip={"x": 0, "y": 0, **FIND})
        page.press("#pad", "Escape")
        page.click("nav a[href='#teach']")
        page.fill("#add-name", ", ".join(SIGNS))
        page.press("#add-name", "Enter")
        page.click("#stop")
        for seed in range(4):
            for name in SIGNS:
                save(page, draw(name, seed), name)
        page.evaluate("([pad, strokes]) => draw(pad, strokes, {})", ["#pad", draw("ψ", 7)])
        page.click("#why > summary")
        page.wait_for_selector("#heat-scale", state="visible")
        page.wait_for_selector("#toast", state="hidden")
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        for device, size in TEACH.items():
            for scheme, suffix in (("light", ""), ("dark", "-dark")):
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size(size)
                page.wait_for_timeout(500)
                page.screenshot(path=folder / f"studio{device}{suffix}.png")
    for file in (folder / "find.png", *folder.glob("studio*.png")):
        Image.open(file).convert("RGB").quantize(256).save(file, optimize=True)


def main() -> None:
    """Serve an empty set, and photograph what becomes of it."""
    sys.path += [str(TESTS), str(TESTS / "browser")]
    from studio_client import serving

    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Studio(Path(folder) / "my-signs", default_backbone())) as studio,
        serving(studio, listen("127.0.0.1", 0)) as port,
    ):
        photograph(f"http://127.0.0.1:{port}/", HERE)


if __name__ == "__main__":
    main()
