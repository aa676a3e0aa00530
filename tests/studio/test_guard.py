"""Every rule of the guard, over a real socket, by bytes that a tidy client would not send."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from speaking import get, post, request, speak
from visiting import serving

from siglum.studio import guard, server
from siglum.studio.studio import Studio

QUIZ = "/api/quiz"  # of an empty folder: 409 where a request comes through
JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, backbone) -> Iterator[tuple[int, Path]]:
    """A Studio that is sent everything below, and its folder."""
    folder = tmp_path_factory.mktemp("attacked") / "my-signs"
    with contextlib.closing(Studio(folder, backbone)) as opened:
        before = sorted(folder.rglob("*"))
        with serving(opened, server.listen("127.0.0.1", 0)) as port:
            yield port, folder
            assert opened.current.state.classes == () and not opened.current.state.drawings
            assert speak(port, get("/api/state", port)).status == 200
        assert sorted(folder.rglob("*")) == before


HOSTS = {
    "foreign": "evil.example",
    "foreign with our port": "evil.example:{port}",
    "no port": "127.0.0.1",
    "another port": "127.0.0.1:1",
    "no port, name": "localhost",
    "dot at the end": "localhost.:{port}",
    "capitals": "LOCALHOST:{port}",
    "short address": "127.1:{port}",
    "hexadecimal address": "0x7f000001:{port}",
    "one number": "2130706433:{port}",
    "any address": "0.0.0.0:{port}",
    "user in front": "evil@127.0.0.1:{port}",
    "two in one": "127.0.0.1:{port}, evil.example",
    "ours in front": "127.0.0.1:{port}.evil.example",
    "ours behind": "evil.example#127.0.0.1:{port}",
    "port with zero": "127.0.0.1:0{port}",
    "IPv6 without port": "[::1]",
    "IPv6 without brackets": "::1:{port}",
    "IPv6 in full": "[0:0:0:0:0:0:0:1]:{port}",
    "IPv6 with IPv4 in it": "[::ffff:127.0.0.1]:{port}",
    "nothing": "",
}


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_a_strange_host_is_refused(attacked: tuple[int, Path], host: str) -> None:
    port, _ = attacked
    answer = speak(port, get("/api/state", port, host=host.format(port=port)))

    assert answer.status == 400
    assert b"my-signs" not in answer.body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_our_hosts_are_taken(attacked: tuple[int, Path], host: str) -> None:
    port, _ = attacked

    assert speak(port, get("/api/state", port, host=f"{host}:{port}")).status == 200


def test_what_is_wrong_with_a_host_is_said(attacked: tuple[int, Path]) -> None:
    port, _ = attacked
    answer = speak(port, get("/", port, host="evil.example"))

    assert json.loads(answer.body) == {
        "error": f"Host must be 127.0.0.1:{port} or [::1]:{port} or localhost:{port}, got "
        "'evil.example'."
    }


FRAMES = {  # how a request is cut into head and body
    "HTTP/1.1 without Host": b"GET /api/state HTTP/1.1\r\n\r\n",
    "HTTP/1.0 without Host": b"GET /api/state HTTP/1.0\r\n\r\n",
    "HTTP/0.9": b"GET /api/state\r\n\r\n",
    "HTTP/2 by word": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two equal Hosts": b"GET / HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: {own}\r\nHost: evil.example\r\n\r\n",
    "two Hosts in 1.0": b"GET / HTTP/1.0\r\nHost: {own}\r\nhost: {own}\r\n\r\n",
    "blank before the colon": b"GET / HTTP/1.1\r\nHost : {own}\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: evil.example\r\n {own}\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\n: x\r\nHost: {own}\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: {own}\r\nX: a\0b\r\n\r\n",
    "another site as target": b"GET http://evil.example/ HTTP/1.1\r\nHost: {own}\r\n\r\n",
    "star as target": b"GET * HTTP/1.1\r\nHost: {own}\r\n\r\n",
    "no slash": b"GET api/state HTTP/1.1\r\nHost: {own}\r\n\r\n",
    "GET with a body": b"GET / HTTP/1.1\r\nHost: {own}\r\nContent-Length: 4\r\n\r\nGET ",
    "GET in chunks": b"GET / HTTP/1.1\r\nHost: {own}\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\n",
    "chunks and length": b"POST /api/undo HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\n"
    b"Content-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{{}}\r\n0\r\n\r\n",
    "two lengths": b"POST /api/undo HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\n"
    b"Content-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}}}",
    "length below 0": b"POST /api/undo HTTP/1.1\r\nHost: {own}\r\nContent-Length: -2\r\n\r\n{{}}",
    "length with plus": b"POST /api/undo HTTP/1.1\r\nHost: {own}\r\nContent-Length: +2\r\n\r\n{{}}",
    "chunk of no size": b"POST /api/undo HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\n"
    b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n{{}}\r\n",
    "long line": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: {own}\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: {own}\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60) + b"\r\n\r\n",
}


@pytest.mark.parametrize("raw", FRAMES.values(), ids=FRAMES)
def test_a_request_that_is_no_plain_one_is_refused(attacked: tuple[int, Path], raw: bytes) -> None:
    port, _ = attacked
    own = f"127.0.0.1:{port}".encode()
    whole = raw.replace(b"{own}", own).replace(b"{{", b"{").replace(b"}}", b"}")

    assert speak(port, whole).status in (400, 431)


def test_other_codings_of_a_body_are_not_known(attacked: tuple[int, Path]) -> None:
    port, _ = attacked
    lines = [f"Host: 127.0.0.1:{port}", f"Origin: http://127.0.0.1:{port}", JSON]
    coded = request("POST", QUIZ, [*lines, "Transfer-Encoding: gzip, chunked"])

    assert speak(port, coded + b"2\r\n{}\r\n0\r\n\r\n").status in (400, 501)


def test_what_follows_a_body_is_no_request_of_its_own_right(attacked: tuple[int, Path]) -> None:
    """A second request behind the first meets all rules again."""
    port, _ = attacked
    lines = [f"Host: 127.0.0.1:{port}", f"Origin: http://127.0.0.1:{port}", JSON]
    head = "\r\n".join([f"POST {QUIZ} HTTP/1.1", *lines, "Content-Length: 2", "", ""]).encode()
    hidden = request("GET", "/api/state", ["Host: evil.example"])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head + b"{}" + hidden)
        found = b""
        while part := connection.recv(1 << 16):
            found += part

    first, second = found.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"409") and second.startswith(b"400")


METHODS = ("PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "GETT", "get", "PROPFIND")


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_are_refused(attacked: tuple[int, Path], method: str) -> None:
    port, _ = attacked
    answer = speak(port, request(method, "/api/state", [f"Host: 127.0.0.1:{port}"]))

    assert answer.status == 405 and answer.headers["allow"] == "GET, POST"
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_a_method_cannot_be_another_in_disguise(attacked: tuple[int, Path]) -> None:
    port, _ = attacked
    assert speak(port, get(QUIZ, port, "X-HTTP-Method-Override: POST")).status == 404
    assert speak(port, get(f"{QUIZ}?_method=POST", port)).status == 404
    assert speak(port, post("/api/state", port)).status == 404
    assert speak(port, post("/", port)).status == 404


def test_no_websockets(attacked: tuple[int, Path]) -> None:
    port, _ = attacked
    upgrade = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAA=")
    lines = [f"Host: 127.0.0.1:{port}", "Connection: Upgrade", *upgrade]

    assert speak(port, request("GET", "/api/events2", lines)).status == 404


ORIGINS = {
    "none": [],
    "null": ["Origin: null"],
    "foreign": ["Origin: http://evil.example"],
    "by https": ["Origin: https://127.0.0.1:{port}"],
    "another port": ["Origin: http://127.0.0.1:1"],
    "no port": ["Origin: http://127.0.0.1"],
    "slash at the end": ["Origin: http://127.0.0.1:{port}/"],
    "capitals": ["Origin: HTTP://127.0.0.1:{port}"],
    "longer": ["Origin: http://127.0.0.1:{port}.evil.example"],
    "user": ["Origin: http://evil@127.0.0.1:{port}"],
    "empty": ["Origin:"],
    "from another site": ["Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: cross-site"],
    "from a neighbour": ["Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: same-site"],
    "from nowhere known": ["Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: moon"],
}


@pytest.mark.parametrize("lines", ORIGINS.values(), ids=ORIGINS)
def test_another_page_changes_nothing(attacked: tuple[int, Path], lines: list[str]) -> None:
    port, _ = attacked
    sent = [line.format(port=port) for line in lines]

    assert speak(port, post(QUIZ, port, b"{}", JSON, *sent, own=False)).status == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_our_own_pages_may(attacked: tuple[int, Path], host: str) -> None:
    port, _ = attacked
    lines = (f"Origin: http://{host}:{port}", "Sec-Fetch-Site: same-origin", JSON)

    assert speak(port, post(QUIZ, port, b"{}", *lines, own=False)).status == 409


def test_two_origins_are_none(attacked: tuple[int, Path]) -> None:
    port, _ = attacked

    assert speak(port, post(QUIZ, port, b"{}", f"Origin: http://127.0.0.1:{port}")).status == 400


def test_another_page_reads_nothing(attacked: tuple[int, Path]) -> None:
    port, _ = attacked
    for path in ("/api/state", "/api/samples", "/api/bundle", "/static/style.css", "/api/events"):
        assert speak(port, get(path, port, "Sec-Fetch-Site: cross-site")).status == 403, path
        assert speak(port, get(path, port, "Origin: http://evil.example")).status == 403, path


def test_a_link_from_another_page_opens_ours(attacked: tuple[int, Path]) -> None:
    port, _ = attacked

    assert speak(port, get("/", port, "Sec-Fetch-Site: cross-site")).status == 200


KINDS = {
    "none": [],
    "plain text": ["Content-Type: text/plain"],
    "a form": ["Content-Type: application/x-www-form-urlencoded"],
    "parts": ["Content-Type: multipart/form-data; boundary=x"],
    "nearly JSON": ["Content-Type: application/jsonp"],
    "JSON in words": ["Content-Type: text/json"],
    "another charset": ["Content-Type: application/json; charset=utf-16"],
    "more": ["Content-Type: application/json; a=b"],
    "a picture": ["Content-Type: image/png"],
    "packed": [JSON, "Content-Encoding: gzip"],
}


@pytest.mark.parametrize("lines", KINDS.values(), ids=KINDS)
def test_a_body_is_what_it_should_be(attacked: tuple[int, Path], lines: list[str]) -> None:
    port, _ = attacked
    own = f"Origin: http://127.0.0.1:{port}"

    assert speak(port, post(QUIZ, port, b"{}", own, *lines, own=False)).status == 415


@pytest.mark.parametrize("kind", ["image/svg+xml", "image/tiff", "text/html", "application/pdf"])
def test_pictures_are_of_few_kinds(attacked: tuple[int, Path], kind: str) -> None:
    port, _ = attacked
    lines = (f"Origin: http://127.0.0.1:{port}", f"Content-Type: {kind}")

    assert speak(port, post("/api/picture", port, b"x", *lines, own=False)).status == 415


def test_a_body_that_is_too_large_is_refused_before_it_comes(
    attacked: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, _ = attacked
    monkeypatch.setattr(guard, "DRAIN", 0.3)
    lines = [f"Host: 127.0.0.1:{port}", f"Origin: http://127.0.0.1:{port}", JSON]
    answer = speak(port, request("POST", QUIZ, [*lines, "Content-Length: 99999999999"]))

    assert answer.status == 413
    assert json.loads(answer.body) == {"error": "body must have at most 2,097,152 bytes, got more."}


@pytest.mark.parametrize(
    ("path", "kind", "most"),
    [
        (QUIZ, "application/json", guard.JSON.most),
        ("/api/picture", "image/png", guard.PICTURE.most),
    ],
)
def test_a_body_of_unknown_length_is_counted(
    attacked: tuple[int, Path],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    kind: str,
    most: int,
) -> None:
    port, _ = attacked
    monkeypatch.setattr(guard, "DRAIN", 0.3)
    lines = [f"Host: 127.0.0.1:{port}", f"Origin: http://127.0.0.1:{port}"]
    lines += [f"Content-Type: {kind}", "Transfer-Encoding: chunked"]
    chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n"

    assert speak(port, request("POST", path, lines), *[chunk] * (most // 2**20 + 2)).status == 413


def test_no_more_requests_at_once_than_are_good(
    attacked: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, _ = attacked
    monkeypatch.setattr(guard, "AT_ONCE", 1)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as waiting:
        waiting.sendall(post(QUIZ, port, b"{" + b" " * 50 + b"}")[:-10])
        deadline = time.monotonic() + 5
        answer = speak(port, get("/api/state", port))
        while answer.status == 200 and time.monotonic() < deadline:
            answer = speak(port, get("/api/state", port))
        assert answer.status == 429
        assert json.loads(answer.body) == {
            "error": "requests at once must be at most 1, got more. Try again."
        }


PATHS = (
    "/static/../guard.py",
    "/static/..%2fguard.py",
    "/static/%2e%2e/guard.py",
    "/static/..%5cguard.py",
    "/static/....//guard.py",
    "/static//etc/passwd",
    "//etc/passwd",
    "/static/style.css%00",
    "/static/style.css/",
    "/static/",
    "/static/index.html",
    "/static/STYLE.CSS",
    "/api/samples/..%2f..%2fledger.jsonl.png",
    "/api/samples/../ledger.png",
    "/api/samples/0123456789abcdef.png",
    "/api/samples/0123456789abcdef/.png",
    "/api/samples/0123456789ABCDEF.png",
    "/api/samples/0123456789abcde%0a.png",
    "/api/samples/%D9%A0123456789abcde.png",
    "/api/state/",
    "/api/",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/.git/config",
)


@pytest.mark.parametrize("path", PATHS)
def test_there_is_nothing_elsewhere(attacked: tuple[int, Path], path: str) -> None:
    port, _ = attacked
    answer = speak(port, get(path, port))

    assert answer.status in (404, 422), answer
    assert b"root:" not in answer.body and b"import" not in answer.body


@pytest.mark.parametrize(
    "path", ["/", "/static/style.css", "/api/state", "/nowhere", "/api/bundle"]
)
def test_every_answer_has_the_headers(attacked: tuple[int, Path], path: str) -> None:
    port, _ = attacked
    headers = speak(port, get(path, port)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers and "access-control-allow-origin" not in headers
    assert "unsafe" not in headers["content-security-policy"]


def test_refusals_have_the_headers(attacked: tuple[int, Path]) -> None:
    port, _ = attacked
    headers = speak(port, get("/", port, host="evil.example")).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
