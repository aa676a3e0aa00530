"""How quickly the Studio's page answers: a real browser, somebody who draws, one Studio.

    python -m benchmarks.studio_page

Run it on a quiet machine, with Playwright and Chromium; the browser draws on the same processors.
Timed by the browser's own clock: from the newest point of a drawing to its answer on the page,
while the pen is still down and when it is lifted; and from the request to keep a drawing to the
answer that it is on disk and learned.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from siglum.images import strokes
from siglum.recogniser import backbone
from siglum.studio import server
from siglum.studio.changes import AddClass
from siglum.studio.studio import Studio

TESTS = Path(__file__).resolve().parents[1] / "tests" / "studio"
SIGNS = ("α", "β", "ψ", "zig", "wheel", "ladder")
KEPT = "performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/api/samples'))"


def taught(folder: Path, drawings: int) -> Studio:
    """Open a folder with so many drawings of each of the signs."""
    from hand_drawn import drawn

    opened = Studio(folder, backbone.shipped())
    for name in SIGNS:
        opened.record(AddClass(name))
        for seed in range(drawings):
            lines = [[[x, y, 0, 0.5] for x, y in line] for line in drawn(name, seed)]
            value = {"version": 1, "aspect": 1.0, "strokes": lines}
            opened.keep(strokes.parse(value), name, "", "taught")
    opened.learned()
    return opened


def visited(page: Any, rounds: int) -> tuple[dict[str, list[float]], list[float]]:
    """Draw signs and keep them; return the ms to each answer by the pen, and to each kept."""
    from hand_drawn import drawn

    answers: dict[str, list[float]] = {"still down": [], "lifted": []}
    draw = "([strokes, how]) => drawn('#pad', strokes, how)"
    took = "performance.getEntriesByName('answer').map((e) => e.duration)"
    for round_ in range(rounds):
        name = SIGNS[round_ % len(SIGNS)]
        page.evaluate(draw, [drawn(name, 1000 + round_), {"open": True}])
        page.evaluate("answered()")
        answers["still down"] += page.evaluate(took)
        page.evaluate("dispatchEvent(new PointerEvent('pointerup', {pointerId: 7}))")
        page.press("#pad", "Escape")
        page.evaluate(draw, [drawn(name, 1000 + round_), {}])
        page.evaluate("answered()")
        answers["lifted"] += page.evaluate(took)
        page.fill("#keep-name", name)
        page.press("#keep-name", "Enter")
        page.locator("#answer", has_text="Kept as").wait_for()
    kept = page.evaluate(
        f"{KEPT}.filter((e) => e.initiatorType === 'fetch').map((e) => e.duration)"
    )
    return answers, kept


def said(times: list[float]) -> str:
    """Say how long something took."""
    return f"median {statistics.median(times):.0f} ms, the longest {max(times):.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=24)
    given = parser.parse_args()
    sys.path += [str(TESTS), str(TESTS / "browser")]
    from playwright.sync_api import sync_playwright
    from visiting import serving

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    for drawings in (3, 50):
        with (
            tempfile.TemporaryDirectory() as place,
            closing(taught(Path(place) / "my-signs", drawings)) as opened,
            serving(opened, server.listen("127.0.0.1", 0)) as port,
            sync_playwright() as playwright,
        ):
            chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            page = chromium.new_page()
            page.add_init_script((TESTS / "browser" / "pen.js").read_text())
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_selector("#title:not(:empty)", state="attached")
            answers, kept = visited(page, given.rounds)
            chromium.close()
        print(f"{len(SIGNS)} signs, {drawings * len(SIGNS)} drawings, {given.rounds} more")
        for pen, times in answers.items():
            print(f"  answer after the newest point, pen {pen}: {said(times)}")
        print(f"  kept, on disk and learned: {said(kept)}", flush=True)


if __name__ == "__main__":
    main()
