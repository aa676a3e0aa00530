"""What requests carry, when it is not what it should be; and what is accepted of odd names."""

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
from PIL import Image
from visiting import Client, drawing_of, serving

from siglum.errors import ConfigError
from siglum.studio import receive, seen, server
from siglum.studio.studio import Studio
from siglum.studio.wire import character, text

EMPTY = '{"version": 1, "aspect": 1, "strokes": []}'
NOBODY = "0123456789abcdef"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, backbone) -> Iterator[Client]:
    """A Studio with two classes, which nothing below may change."""
    folder = tmp_path_factory.mktemp("asked") / "my-signs"
    with closing(Studio(folder, backbone)) as opened:
        with serving(opened, server.listen("127.0.0.1", 0)) as port:
            client = Client(port)
            client.add("a", "b")
            before = client.get("/api/state")["version"]
            client.get("/api/state")
            yield client
            state = client.get("/api/state")
        assert [one["name"] for one in state["classes"]] == ["a", "b"]
        assert state["version"] <= before + 1 and not opened.current.state.drawings


def stroke(point: str, count: int = 1) -> str:
    """A reading of one stroke."""
    points = ",".join([point] * count)
    return f'{{"drawing": {{"version": 1, "aspect": 1, "strokes": [[{points}]]}}}}'


BAD = {
    "nothing": (b"", "body must be given, got nothing."),
    "half": (b'{"drawing"', "body must be JSON, got Expecting ':' delimiter"),
    "more behind it": (f"{stroke('[0.5,0.5,0,0.5]')} 1".encode(), "body must be JSON, got Extra"),
    "other bytes": ('{"drawing": 1}'.encode("utf-16"), "body must be JSON in UTF-8, got other"),
    "a mark first": (b"\xef\xbb\xbf{}", "body must be JSON, got Unexpected UTF-8 BOM"),
    "a list": (b"[]", "body must be so:"),
    "a text": (b'"x"', "body must be so:"),
    "a number of many digits": (b'{"drawing": ' + b"9" * 5000 + b"}", "body must be JSON, got Exc"),
    "deep lists": (b'{"drawing": ' + b"[" * 100_000, "body must be JSON, got lists within lists"),
    "deep tables": (b'{"a":' * 50_000, "body must be JSON, got lists within lists too deep."),
    "no drawing": (b"{}", "drawing must be given, got nothing."),
    "something else": (f'{{"drawing": {EMPTY}, "path": "x"}}'.encode(), "path must be left out"),
    "heat in words": (
        f'{{"drawing": {EMPTY}, "heat": "yes"}}'.encode(),
        "heat must be so: a valid",
    ),
    "NaN": (stroke("[NaN,0,0,0]").encode(), "numbers must be finite, got NaN."),
    "Infinity": (stroke("[0,Infinity,0,0]").encode(), "numbers must be finite, got Infinity."),
    "-Infinity": (stroke("[0,-Infinity,0,0]").encode(), "numbers must be finite, got -Infinity."),
    "1e999": (stroke("[1e999,0,0,0]").encode(), "x of point 1 of stroke 1 must be a number in"),
    "text for a number": (stroke('["0.5",0,0,0]').encode(), "x of point 1 of stroke 1 must be a"),
    "true for a number": (stroke("[true,0,0,0]").encode(), "x of point 1 of stroke 1 must be a"),
    "null for a number": (stroke("[0,0,0,null]").encode(), "pressure of point 1 of stroke 1"),
    "three numbers": (stroke("[0,0,0]").encode(), "point 1 of stroke 1 must be [x, y, t, pressure"),
    "100,000 points": (
        stroke("[0.5,0.5,0,1]", 100_000).encode(),
        "points must be at most 10,000 in all, got 100,000. Draw one character.",
    ),
    "2,000 strokes": (
        json.dumps({"drawing": {"version": 1, "aspect": 1, "strokes": [[]] * 2001}}).encode(),
        "strokes must be at most 1,000, got 2,001.",
    ),
    "another version": (
        b'{"drawing": {"version": 2, "aspect": 1, "strokes": []}}',
        "version must be 1, got 2.",
    ),
    "aspect 0": (
        b'{"drawing": {"version": 1, "aspect": 0, "strokes": []}}',
        "aspect must be a number in [0.25, 4], got 0.",
    ),
}


@pytest.mark.parametrize(("raw", "said"), BAD.values(), ids=BAD)
def test_a_bad_drawing_is_refused_in_words(asked: Client, raw: bytes, said: str) -> None:
    status, answer = asked.ask("/api/recognise", raw=raw)

    assert status == 422, answer
    assert answer["error"].startswith(said)


NAMES = {
    "nothing": "",
    "blanks": "  \u3000",
    "101 characters": "x" * 101,
    "a line end": "a\nb",
    "NUL": "a\0",
    "an escape": "\x1b[2J",
    "half a character": "\ud800",
    "a paragraph": "a\u2029b",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_is_text_on_one_line(asked: Client, name: str) -> None:
    status, answer = asked.ask("/api/classes", {"name": name})

    assert status == 422
    assert answer["error"].startswith("name must ")


@pytest.mark.parametrize("value", [5, None, True, ["a"], {"a": 1}])
def test_a_name_is_nothing_else(asked: Client, value: object) -> None:
    status, answer = asked.ask("/api/classes", {"name": value})

    assert status == 422 and answer["error"].startswith("name must be so: a valid string; got ")


WRONG = {
    "class of another form": ("/api/classes/../rename", {"name": "x"}, 422),
    "class in capitals": (f"/api/classes/{NOBODY.upper()}/rename", {"name": "x"}, 422),
    "class that is not": (f"/api/classes/{NOBODY}/rename", {"name": "x"}, 404),
    "deleting what is not": (f"/api/classes/{NOBODY}/delete", {}, 404),
    "deleting with words": (f"/api/classes/{NOBODY}/delete", {"sure": True}, 422),
    "sample that is not": ("/api/samples/delete", {"samples": [NOBODY]}, 404),
    "sample of another form": ("/api/samples/delete", {"samples": ["ledger.jsonl"]}, 422),
    "no samples": ("/api/samples/delete", {"samples": []}, 422),
    "too many samples": ("/api/samples/delete", {"samples": [NOBODY] * 20_001}, 422),
    "moving what is not": ("/api/samples/move", {"samples": [NOBODY], "class": NOBODY}, 404),
    "into a path": ("/api/samples/move", {"samples": [NOBODY], "class": "../../x"}, 422),
    "nothing to redo": ("/api/redo", {"line": 1}, 409),
    "a line that was not said": ("/api/undo", {}, 422),
    "line 0": ("/api/undo", {"line": 0}, 422),
    "a line that is none": ("/api/undo", {"line": True}, 422),
    "an unknown deed": (f"/api/classes/{NOBODY}/explode", {}, 404),
}


@pytest.mark.parametrize(("path", "value", "status"), WRONG.values(), ids=WRONG)
def test_what_is_not_there_is_not_found(
    asked: Client, path: str, value: object, status: int
) -> None:
    found, answer = asked.ask(path, value)

    assert found == status, answer
    assert answer["error"].endswith(".")


@pytest.mark.parametrize(
    "change",
    [
        {"part": "test"},
        {"part": None},
        {"class": "a"},
        {"class": None},
        {"writer": 5},
        {"writer": "x" * 101},
        {"writer": "a\nb"},
        {"key": "../../../../x.png"},
        {"key": "ABCDEF0123456789"},
        {"folder": "my-signs"},
        {"when": "now"},
        {"drawing": None},
        {"drawing": {"version": 1, "aspect": 1, "strokes": []}},
    ],
    ids=str,
)
def test_a_bad_sample_is_not_kept(asked: Client, change: dict[str, object]) -> None:
    class_ = asked.get("/api/state")["classes"][0]["id"]
    value = {"class": class_, "drawing": drawing_of("ring"), "part": "taught"} | change

    assert asked.ask("/api/samples", value)[0] == 422


def png(side: int = 40) -> bytes:
    """A picture of a black square on white."""
    picture = np.full((side, side), 255, np.uint8)
    picture[10:30, 10:30] = 0
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def declared(side: int) -> bytes:
    """A small PNG whose head speaks of more."""
    raw = png()
    head = raw[12:16] + side.to_bytes(4, "big") * 2 + raw[24:29]
    return raw[:12] + head + zlib.crc32(head).to_bytes(4, "big") + raw[33:]


def other(kind: str) -> bytes:
    """The same picture in another format."""
    file = io.BytesIO()
    Image.open(io.BytesIO(png())).save(file, kind)
    return file.getvalue()


PICTURES = {
    "nothing": b"",
    "words": b"hello",
    "cut off": png()[:60],
    "a bomb": declared(30_000),
    "many pixels": declared(5_001),
    "TIFF": other("TIFF"),
    "JPEG": other("JPEG"),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "HTML behind the mark": b"\x89PNG\r\n\x1a\n<html>",
}


@pytest.mark.parametrize("raw", PICTURES.values(), ids=PICTURES)
def test_a_bad_picture_is_refused(asked: Client, raw: bytes) -> None:
    status, answer = asked.ask("/api/picture", raw=raw, kind="image/png")

    assert status == 422 and answer["error"].startswith("picture must be ")


def test_a_picture_has_at_most_25_million_pixels(asked: Client) -> None:
    status, answer = asked.ask("/api/picture", raw=declared(5_001), kind="image/png")

    assert status == 422
    assert answer["error"] == (
        "picture must be one that can be read, but it has 25010001 pixels, more than 25000000."
    )


def test_one_picture_is_decoded_at_a_time() -> None:
    with ThreadPoolExecutor(1) as pool:
        with seen.DECODING:
            waiting = pool.submit(seen.decoded, png(), "image/png")
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
        assert waiting.result(10).shape == (1, 40, 40)


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip of some files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return file.getvalue()


FILES = {
    "nothing": b"",
    "words": b"hello",
    "half a zip": zipped({"a/1.png": png()})[:40],
    "a bundle with nothing in it": zipped({"card.json": b"{}"}),
    "a bundle with more in it": zipped({"card.json": b'{"format": 1}', "run.py": b"1"}),
}


@pytest.mark.parametrize("raw", FILES.values(), ids=FILES)
def test_a_bad_file_is_refused(asked: Client, raw: bytes) -> None:
    status, answer = asked.ask("/api/open", raw=raw, kind="application/zip")

    assert status == 422, answer
    assert answer["error"].endswith(".")


def test_a_zip_that_grows_too_much_is_refused(
    asked: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "MOST_BYTES", 2**20)
    members = {f"a/{number}.png": b"\0" * 2**18 for number in range(5)}
    status, answer = asked.ask("/api/open", raw=zipped(members), kind="application/zip")

    assert status == 422 and "bytes in all" in answer["error"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("a", "a"),
        ("GREEK SMALL LETTER ALPHA", "α"),
        ("greek small letter alpha", "α"),
        ("sun", "sun"),
        ("my sign", "my sign"),
        ("a b", "a b"),
        ("greek", "greek"),
        ("a, b", "a, b"),
        ("greek small letter alpha, b", "greek small letter alpha, b"),
        ("../..", "../.."),
    ],
)
def test_a_character_may_be_named(given: str, found: str) -> None:
    assert character(given) == found


def test_names_are_composed() -> None:
    assert text("name", " e\u0301 ") == "é"
    with pytest.raises(ConfigError, match="name must have 1 to 100 characters, got 0 of them"):
        text("name", " ")


def test_json_of_an_answer_is_plain(asked: Client) -> None:
    """No NaN, no Infinity: browsers would not read it."""
    status, raw = asked.ask("/api/recognise", {"drawing": drawing_of("ring"), "heat": True})

    assert status == 200
    json.loads(json.dumps(raw, allow_nan=False))
