"""The command line: `siglum COMMAND ...`. Each command is a function of its name.

Its module is imported when it is called; its signature is its command line. Errors that the user
can fix are one line on standard error and exit code 2; a bug keeps its traceback.
"""

import os
import re
import sys
import warnings
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cyclopts

COMMANDS = {  # name: module and help
    "teach": ("light", "teach a recogniser from names of characters, from drawings, or both"),
    "predict": ("light", "recognise images with a bundle or a run"),
    "find": ("light", "find any character by its shape or its name, to copy it"),
    "studio": ("studio", "draw, teach, test and correct signs on a page in the browser"),
    "serve": ("studio", "recognise images by a REST API, for other programs"),
    "export": ("light", "export a run as a bundle, a bundle as a page or ONNX, a set as files"),
    "info": ("light", "describe a bundle"),
    "push": ("light", "upload a bundle to the Hugging Face Hub"),
    "pull": ("light", "download a bundle from the Hugging Face Hub"),
    "train": ("lab", "train a network, or resume a run"),
    "evaluate": ("lab", "measure a run, or a network of your own, on a data source"),
    "grade": ("lab", "measure a folder of hand-ins, each with limits of time and memory"),
    "report": ("lab", "write a report about a run"),
    "examine": ("lab", "look inside a network"),
    "compare": ("lab", "compare runs: which way of training is better"),
    "study": ("lab", "run a study: many trainings, one comparison"),
    "label-issues": ("lab", "find labels that are probably wrong"),
    "data": ("light", "describe a data source"),
    "runs": ("lab", "list runs"),
    "completion": ("light", "print a script that completes commands in bash, zsh or fish"),
}

HELP = """\
Siglum: teach a computer your signs.

Usage: siglum COMMAND ...

{commands}

"siglum COMMAND --help" explains a command, with examples. "siglum --version" prints the version.
"""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # looking for them reads every package
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.isatty():
            stream.reconfigure(errors="replace")
        elif isinstance(stream, TextIOWrapper):  # Windows redirects in a code page without Greek
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os._exit(0)
    sys.stderr.flush()
    os._exit(code)  # tearing down torch takes 0.7 s and frees nothing


def run(arguments: list[str]) -> int:
    """Run one command line; return its exit code: 0, 2 for a user's error, 130 for Ctrl-C."""
    name, *rest = arguments or ["--help"]
    if name in ("--help", "-h", "help"):
        width = max(map(len, COMMANDS))
        lines = "\n".join(f"  {key:<{width}}  {text}" for key, (_, text) in COMMANDS.items())
        print(HELP.format(commands=lines), end="")
        return 0
    if name in ("--version", "-V"):
        from siglum import __version__

        print(f"siglum {__version__}")
        return 0
    import cyclopts

    from siglum.errors import SiglumError, Stopped

    warnings.showwarning = _show
    try:
        app = command_app(name)
        app(rest, exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        from pydantic import ValidationError

        from siglum.config import TrainConfig, explain

        if isinstance(error.__cause__, ValidationError):
            _show(explain(error.__cause__, TrainConfig.model_fields))
        else:
            _show(f"{error} See: siglum {name} --help")
        return 2
    except SiglumError as error:
        _show(error)
        return 2
    except (KeyboardInterrupt, Stopped) as error:
        if str(error):
            print(error, file=sys.stderr)
        return 130
    return 0


def _show(message: Exception | str, *_: object, **__: object) -> None:
    from siglum.formatting import printable  # late: it imports numpy, which studio configures

    print(f"siglum: {printable(str(message))}", file=sys.stderr)


def command_app(name: str) -> "cyclopts.App":
    """Return the parser of a command, which imports its module."""
    from inspect import cleandoc

    import cyclopts

    from siglum.errors import choose

    module, _ = choose(COMMANDS, name, "command")
    command = getattr(import_module(f"siglum.cli.{module}"), name.replace("-", "_"))
    # Lines of a paragraph are joined, so that a narrow terminal breaks them where it ends.
    text = cleandoc(command.__doc__).partition("\n\nArgs:")[0]
    text = re.sub(r"(?<!\n)\n(?!\n|Example:)", " ", text)
    app = cyclopts.App(f"siglum {name}", version_flags=[], help_format="plaintext", help=text)
    app.default_parameter = cyclopts.Parameter(negative_bool=(), negative_iterable=())
    app["--help"].show = False  # the page is the answer to it
    app.default(command)
    return app
