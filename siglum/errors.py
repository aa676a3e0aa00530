"""Every error that the package raises on purpose, and the one way to look up a name.

Messages give the rule, the value and the remedy. A broken internal assumption is an `assert`.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class SiglumError(Exception):
    """An error that the caller can fix; the message says how."""


class ConfigError(SiglumError, ValueError):
    """A setting breaks a rule."""


class DataError(SiglumError, ValueError):
    """A file or an array is not usable."""


class RunError(SiglumError):
    """A folder is an incomplete run, no run, or already exists."""


class MissingExtra(SiglumError, ImportError):
    """An optional package is absent."""


class Stopped(Exception):
    """Training was stopped on request; the message says how to resume it."""


@contextmanager
def require_extra(feature: str, extra: str = "lab") -> Iterator[None]:
    """Raise MissingExtra if the block imports a package that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        command = f"pip install '.[{extra}]' in Siglum's folder"
        remedy = f"Install Siglum with its extra {extra!r}: {command}."
        raise MissingExtra(f"{feature} needs {error.name}. {remedy}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without a full stop."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def closest_match(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """Return " Did you mean 'x'?" for the most similar of `names`, or "" if none is similar."""
    similar = get_close_matches(name, names, n=1, cutoff=cutoff)
    return f" Did you mean {similar[0]!r}?" if similar else ""


def choose(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return `table[name]`; raise ConfigError with the most similar name if it is missing."""
    if name in table:
        return table[name]
    hint = closest_match(name, table)
    raise ConfigError(f"{kind} must be one of {', '.join(sorted(table))}, got {name!r}.{hint}")
