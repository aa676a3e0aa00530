"""JSON that says one thing only."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siglum.errors import DataError
from siglum.recogniser import documents

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_what_is_written_is_read(value: object) -> None:
    raw = documents.encode(value)

    assert documents.parse(raw, "x.json") == value == json.loads(raw)


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', "'a' twice in a table"),
        (b"[NaN]", "NaN, which is no number"),
        (b"[-Infinity]", "-Infinity, which is no number"),
        (b"[" * 10_000 + b"]" * 10_000, "lists within lists too deep"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "lists within lists too deep"),
    ],
    ids=["twice", "nan", "infinity", "deep lists", "deep tables"],
)
def test_what_is_not_plain_is_refused(raw: bytes, found: str) -> None:
    with pytest.raises(DataError) as error:
        documents.parse(raw, "x.json")

    assert str(error.value) == f"x.json must be plain JSON, got {found}."


@pytest.mark.parametrize("raw", [b"", b"[1e999]", b'["\\ud800"]', b"\xff", b"9" * 9999, b"[1,]"])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(DataError, match=r"^x\.json must be plain JSON, got "):
        documents.parse(raw, "x.json")
