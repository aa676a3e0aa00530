"""Make what the docs show from the code: `python docs/generate.py`, or `make docs`.

`docs/cli.md` holds what every command says of itself; a test compares it with the code.
`docs/report.png` is the page of a run on the bundled digits, taken by Chromium where there is one.
"""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from siglum import cli

HERE = Path(__file__).resolve().parent

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


if __name__ == "__main__":
    (HERE / "cli.md").write_text(cli_page())
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("docs/report.png is left as it is: no Chromium here")
    else:
        report_picture(browser, HERE / "report.png")
