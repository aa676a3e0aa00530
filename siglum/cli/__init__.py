"""The command line: `siglum COMMAND ...`, one file a command, imported when it is called.

Each file holds one function of the command's name, whose signature is its command line. What the
person who typed can put right is one line on standard error and exit code 2; a bug is a traceback.
"""

import os
import sys
import warnings
from collections.abc import Callable

COMMANDS: dict[str, str] = {
    "studio": "draw, teach, try and correct signs on a page in the browser",
    "teach": "teach a recogniser from names of characters, from drawings, or both",
    "predict": "read pictures with a bundle or a run",
    "info": "say what a bundle is",
    "data": "describe a source of pictures",
    "train": "train a network, or go on with a run",
    "evaluate": "measure a run on a source",
    "pretrain": "train a backbone on the characters of fonts",
    "export": "write a run as a bundle, which needs no torch",
    "normalise": "show what is taken for ink in pictures",
    "examine": "look inside a network",
    "relabel": "label a source's pictures with a run",
    "report": "write a run's page",
    "runs": "list runs",
    "compare": "tell which way of training is better",
    "crossval": "measure how well a small set is read",
    "study": "run a study of many trainings, and write its page",
}

HELP = """\
Siglum: teach a computer your signs.

Usage: siglum COMMAND ...

{commands}

siglum COMMAND --help explains each, with an example. siglum --version tells the version.
"""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os._exit(0)
    sys.stderr.flush()
    os._exit(code)  # at once: taking torch down piece by piece costs 0.7 s and frees nothing


def run(arguments: list[str]) -> int:
    """Carry out one command line and return its exit code: 0, 2 for a mistake, 130 for Ctrl-C."""
    name, *rest = arguments or ["--help"]
    if name in ("--help", "-h", "help"):
        width = max(map(len, COMMANDS))
        listed = "\n".join(f"  {command:<{width}}  {what}" for command, what in COMMANDS.items())
        print(HELP.format(commands=listed), end="")
        return 0
    if name in ("--version", "-V"):
        from siglum import __version__

        print(f"siglum {__version__}")
        return 0
    from siglum.errors import SiglumError

    warnings.showwarning = _show_warning
    try:
        _command(name, rest)
    except SiglumError as error:
        print(f"siglum: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _command(name: str, arguments: list[str]) -> None:
    """Parse and call one command.

    Raises:
        SiglumError: if the command line or what it asks for is wrong.
    """
    from importlib import import_module

    from siglum.errors import MissingExtra, choose

    choose(COMMANDS, name, "command")
    try:
        _call(name, getattr(import_module(f"siglum.cli.{name}"), name), arguments)
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package == "siglum":
            raise
        raise MissingExtra(
            f"{name} needs {package}. Install it with: pip install 'siglum[lab]'."
        ) from error


def _call(name: str, function: Callable[..., None], arguments: list[str]) -> None:
    """Parse a command's arguments and call it; what it needs may be imported then.

    Raises:
        SiglumError: if the arguments or what they ask for is wrong.
    """
    import cyclopts

    from siglum.errors import ConfigError

    app = cyclopts.App(name=f"siglum {name}", version_flags=[], help_format="plaintext")
    app["--help"].show = False  # it is on the page already
    app.default(function)
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        from pydantic import ValidationError

        from siglum.config import TrainConfig, explain

        if isinstance(error.__cause__, ValidationError):
            raise ConfigError(explain(error.__cause__, TrainConfig)) from None
        raise ConfigError(f"{error} See: siglum {name} --help") from None


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    print(f"siglum: {message}", file=sys.stderr)
