"""Tools that make what the package ships; not installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from siglum.errors import SiglumError


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Report wrong input in one line, with exit code 2."""
    try:
        yield
    except SiglumError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
