"""Make the generated parts of the docs: `python docs/generate.py`, or `make docs`.

`docs/cli.md` holds the help of every command; a test compares it with the code.
`docs/letters/` holds the drawings that README's first example reads.
`docs/examine/` holds the figures of docs/examine.md, `docs/report.png` a run's report and
`docs/studio.png` the Studio, photographed in Chromium; `docs/pictures.png` what the ink normaliser does.
"""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from siglum import cli
from siglum.images.strokes import parse, rasterise

HERE = Path(__file__).resolve().parent
DRAWN = HERE.parent / "tests" / "studio" / "browser"
LETTERS = {"alpha": "α", "beta": "β", "gamma": "γ"}
PAPER, PEN = (250, 247, 240), (38, 43, 94)

LARGEST = 200_000  # bytes of a picture; a larger one does with 256 colours
PANELS = ("diagram", "filters", "responses", "maps", "answers", "integrated_gradients", "embedding")

HEAD = """\
# The command line

Made by `python docs/generate.py` from the commands themselves. A mistake is one line on standard
error, with the rule, the value and the remedy, and exit code 2; Ctrl-C in a training is exit code
130. Defaults are those of `glyph_net`; another network's recipe may bring others, and says so in
the run's `config.json`.
"""


def cli_page() -> str:
    """Return the text of docs/cli.md."""
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}
    parts = [HEAD]
    for command in ("", *cli.COMMANDS):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            cli.run([*([command] if command else []), "--help"])
        text = "\n".join(line.rstrip() for line in said.getvalue().strip().splitlines())
        title = f"siglum {command}".strip()
        parts.append(f"## {title}\n\n```\n{text}\n```\n")
    return "\n".join(parts)


def report_picture(browser: str, path: Path) -> None:
    """Train on the bundled digits and photograph the top of the run's page."""
    with tempfile.TemporaryDirectory() as folder:
        siglum = [sys.executable, "-m", "siglum"]
        run = Path(folder) / "digits"
        subprocess.run([*siglum, "train", "mnist5k", "-o", str(run)], check=True)
        subprocess.run([*siglum, "report", str(run)], check=True)
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += ["--disable-background-networking", f"--user-data-dir={folder}/browser"]
        page = (run / "report.html").as_uri()
        shot = [f"--screenshot={path}", "--window-size=1200,1760", page]
        subprocess.run([browser, *flags, *shot], check=True, capture_output=True)


def examine_pictures(folder: Path) -> None:
    """Train as docs/examine.md says, and draw its figures."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        run = str(Path(place) / "digits")
        flags = ["--model", "mnist_net", "--epochs", "8", "--threads", "1"]
        cli.run(["train", "mnist5k", *flags, "-o", run])
        for panel in PANELS:
            file = folder / f"{panel}.png"
            cli.run(["examine", run, "--only", panel, "-o", str(file)])
            if file.stat().st_size > LARGEST:
                Image.open(file).convert("RGB").quantize(256).save(file, optimize=True)


def letter_pictures(folder: Path) -> None:
    """Draw three letters as a pen does, dark blue on paper."""
    sys.path.append(str(DRAWN))
    from hand_drawn import drawn

    folder.mkdir(exist_ok=True)
    for file, letter in LETTERS.items():
        lines = [[[x, y, 0, 0.5] for x, y in line] for line in drawn(letter, seed=2)]
        ink = strokes.rasterise(strokes.parse({"version": 1, "aspect": 1, "strokes": lines}), 160)
        share = ink[:, :, None] / 255
        pixels = np.rint(share * PEN + (1 - share) * PAPER).astype(np.uint8)
        Image.fromarray(pixels).quantize(64).save(folder / f"{file}.png", optimize=True)


if __name__ == "__main__":
    letter_pictures(HERE / "letters")
    examine_pictures(HERE / "examine")
    (HERE / "cli.md").write_text(cli_page())
    cli.run(["data", "invented:12x12", "--size", "48", "--sheet", str(HERE / "invented.png")])
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("docs/report.png is left as it is: no Chromium here")
    else:
        report_picture(browser, HERE / "report.png")
