"""Write the pages of docs that follow from the code: `python docs/generate.py`.

`docs/cli.md` holds what every command says of itself. A test compares it with the code.
"""

import os
import subprocess
import sys
from pathlib import Path

from siglum.cli import COMMANDS

HERE = Path(__file__).resolve().parent

HEAD = """\
# The command line

Made by `python docs/generate.py` from the commands themselves. A mistake is one line on standard error,
with the rule, the value and the remedy, and exit code 2; Ctrl-C in a training is exit code 130.
"""


def cli_page() -> str:
    """Return the text of docs/cli.md."""
    parts = [HEAD]
    for command in ("", *COMMANDS):
        words = ["siglum", *([command] if command else []), "--help"]
        done = subprocess.run(
            [sys.executable, "-m", *words],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
        )
        text = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
        title = f"siglum {command}".strip()
        parts.append(f"## {title}\n\n```\n{text}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    (HERE / "cli.md").write_text(cli_page())
