"""JSON that says one thing only: no name twice, no NaN, nothing that cannot be written again."""

import json
from collections import Counter
from typing import Any

from siglum.errors import DataError


def parse(raw: bytes, name: str) -> Any:
    """Return the value that JSON bytes stand for.

    Args:
        name: of the document, for messages.

    Raises:
        DataError: if it is no JSON, has a name twice in a table, NaN, infinity, half a character,
            or more depth than Python follows.
    """
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_table, parse_constant=_no_number)
        encode(value)
    except RecursionError:
        raise DataError(f"{name} must be plain JSON, got lists within lists too deep.") from None
    except ValueError as error:
        raise DataError(f"{name} must be plain JSON, got {error}.") from None
    return value


def encode(value: Any) -> bytes:
    """Return a value as JSON in UTF-8, in the order of its tables."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{twice[:80]!r} twice in a table")
    return table


def _no_number(text: str) -> None:
    raise ValueError(f"{text}, which is no number")
