"""Every rule of access, over a real socket, by bytes that a tidy client would not send."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pytest
from studio_client import Client, serving, studio_client

from siglum.errors import ConfigError
from siglum.images.decode import to_png
from siglum.images.studio_set import Entry
from siglum.studio import app
from siglum.studio.app import listen
from siglum.studio.snapshot import Studio
from siglum.studio.store import NewDrawing, timestamp

TEST = "/api/test/next"  # of an empty set: 409 if a request comes through
JSON = "Content-Type: application/json"
ORIGIN = "Origin: http://{own}"


class Response(NamedTuple):
    """The first response of a connection; status 0 if it was cut."""

    status: int
    headers: dict[str, str]
    body: bytes


def get(path: str, *headers: str, host: str = "{own}", method: str = "GET") -> str:
    """Return a request after which the connection closes; {own} stands for host and port."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""])


def post(path: str, *headers: str, host: str = "{own}", body: str = "{}") -> str:
    """Return a POST, without the headers that show where it comes from."""
    return get(path, f"Content-Length: {len(body)}", *headers, host=host, method="POST") + body


def exchange(
    port: int, *pieces: str, pause: float = 0.0, stall: float = 0.0, read_pause: float = 0.0
) -> Response:
    """Send pieces with pauses between them; after a stall read until the other side closes."""
    content = b""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        suppress(ConnectionResetError, BrokenPipeError),
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        for number, piece in enumerate(pieces):
            time.sleep(pause if number else 0)
            text = piece.replace("{own}", f"127.0.0.1:{port}").replace("{port}", str(port))
            connection.sendall(text.encode("latin-1"))
        time.sleep(stall)
        while part := connection.recv(1 << 17):
            content += part
            time.sleep(read_pause)
    return parse(content)


def parse(raw: bytes) -> Response:
    head, _, body = raw.partition(b"\r\n\r\n")
    if not head:
        return Response(0, {}, b"")
    start, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return Response(int(start.split()[1]), {name.lower(): value for name, _, value in pairs}, body)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, backbone) -> Iterator[int]:
    """An empty Studio that is sent everything below, and stays empty."""
    folder = tmp_path_factory.mktemp("attacked") / "my-signs"
    with studio_client(folder, backbone) as (studio, client):
        before = sorted(folder.rglob("*"))
        yield client.port
        assert not studio.current.state.classes and not studio.current.state.drawings
        assert client.get("/api/state")["undo"] is None
        assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}"])
def test_own_hosts_and_their_page_are_accepted(port: int, host: str) -> None:
    lines = (f"Origin: http://{host}", "Sec-Fetch-Site: same-origin", JSON)

    assert exchange(port, get("/", "Sec-Fetch-Site: cross-site", host=host)).status == 200
    assert exchange(port, get("/api/state", host=host)).status == 200
    assert exchange(port, post(TEST, *lines, host=host)).status == 409


HOSTS = (
    *("evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.:{port}", ""),
    *("LOCALHOST:{port}", "127.1:{port}", "2130706433:{port}", "0.0.0.0:{port}", "[::1]"),
    *("evil@127.0.0.1:{port}", "127.0.0.1:{port}, evil.example", "127.0.0.1:{port}.evil.example"),
    *("127.0.0.1:0{port}", "::1:{port}", "[0:0:0:0:0:0:0:1]:{port}", "[::ffff:127.0.0.1]:{port}"),
)
OWN_POST = f"POST /api/undo HTTP/1.1\r\nHost: {{own}}\r\n{ORIGIN}\r\n{JSON}\r\n"
CHUNKS = "\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
FRAMES = {  # how a request is cut into head and body
    "HTTP/1.1 without Host": "GET /api/state HTTP/1.1\r\n\r\n",
    "HTTP/1.0 without Host": "GET /api/state HTTP/1.0\r\n\r\n",
    "HTTP/0.9": "GET /api/state\r\n\r\n",
    "two Hosts": get("/", "Host: evil.example"),
    "two equal Hosts in 1.0": "GET / HTTP/1.0\r\nHost: {own}\r\nhost: {own}\r\n\r\n",
    "blank before the colon": "GET / HTTP/1.1\r\nHost : {own}\r\n\r\n",
    "folded header": "GET / HTTP/1.1\r\nHost: evil.example\r\n {own}\r\n\r\n",
    "NUL in a header": get("/", "X: a\0b"),
    "another site as target": get("http://evil.example/"),
    "no slash": get("api/state"),
    "GET with a body": get("/", "Content-Length: 4") + "GET ",
    "chunks": OWN_POST + "Transfer-Encoding: chunked" + CHUNKS,
    "chunks and length": OWN_POST + "Content-Length: 2\r\nTransfer-Encoding: chunked" + CHUNKS,
    "two lengths": OWN_POST + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}}",
    "length below 0": OWN_POST + "Content-Length: -2\r\n\r\n{}",
    "two Origins": OWN_POST + f"{ORIGIN}\r\nContent-Length: 2\r\n\r\n{{}}",
    "coded body": OWN_POST + "Transfer-Encoding: gzip, chunked" + CHUNKS,
    "long line": get("/" + "a" * 70_000),
    "a head of 17 KB": get("/", "X: " + "y" * 17_000),
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\0" * 60 + "\r\n\r\n",
}
ORIGINS = (  # of requests that would change something
    *([], ["Origin: null"], ["Origin: http://evil.example"], ["Origin: https://{own}"]),
    *(["Origin: http://127.0.0.1"], ["Origin: HTTP://{own}"], ["Origin: GET"]),
    *([f"{ORIGIN}.evil.example"], ["Origin: http://evil@{own}"]),
    *([ORIGIN, "Sec-Fetch-Site: cross-site"], [ORIGIN, "Sec-Fetch-Site: same-site"]),
)
TYPES = (
    *([], ["Content-Type: text/plain"], ["Content-Type: application/x-www-form-urlencoded"]),
    *(["Content-Type: multipart/form-data; boundary=x"], [f"{JSON}; charset=utf-16"]),
    *(["Content-Type: image/png"], [JSON, "Content-Encoding: gzip"]),
)
PATHS = (
    *("/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/"),
    *("/static/..%5capp.py", "/static//etc/passwd", "//etc/passwd", "/static/style.css%00"),
    *("/static/index.html", "/static/STYLE.CSS", "/api/drawings/..%2f..%2fsigns.db.png"),
    *("/api/drawings/0123456789abcdef.png", "/api/drawings/0123456789abcde%0a.png"),
    *("/api/drawings/%D9%A0123456789abcde.png", "/api/", "/docs", "/openapi.json", "/.git/config"),
)
METHODS = {
    **{name: get("/api/state", method=name) for name in ("PUT", "DELETE", "HEAD", "OPTIONS")},
    **{name: get("/api/state", method=name) for name in ("TRACE", "get")},
    "overridden by a header": get(TEST, "X-HTTP-Method-Override: POST"),
    "overridden by a query": get(f"{TEST}?_method=POST"),
    "POST to the state": post("/api/state", ORIGIN, JSON),
    "POST to the page": post("/", ORIGIN, JSON),
}
OTHER_PAGES = ("Sec-Fetch-Site: cross-site", "Origin: http://evil.example")
READ = ("/api/state", "/api/drawings", "/api/bundle", "/static/style.css", "/api/events")
IMAGES = "/api/predict/image"
REFUSED = {
    **{f"host {host}": (400, get("/api/state", host=host)) for host in HOSTS},
    **{name: (400, text) for name, text in FRAMES.items()},
    **{f"method {name}": (405, text) for name, text in METHODS.items()},
    **{f"from {lines}": (403, post(TEST, JSON, *lines)) for lines in ORIGINS},
    **{f"{path} {line}": (403, get(path, line)) for path in READ for line in OTHER_PAGES},
    **{f"type {lines}": (415, post(TEST, ORIGIN, *lines)) for lines in TYPES},
    "SVG": (415, post(IMAGES, ORIGIN, "Content-Type: image/svg+xml")),
    "HTML": (415, post(IMAGES, ORIGIN, "Content-Type: text/html")),
    **{path: (404, get(path)) for path in PATHS},
}


@pytest.mark.parametrize(("status", "text"), REFUSED.values(), ids=REFUSED)
def test_a_hostile_request_is_refused(port: int, status: int, text: str) -> None:
    answer = exchange(port, text)

    assert answer.status in {status, {400: 501, 404: 422}.get(status, status)}
    assert not any(word in answer.body for word in (b"my-signs", b"root:", b"import"))
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_a_smuggled_request_meets_all_rules(port: int) -> None:
    head = post(TEST, ORIGIN, JSON).replace("Connection: close\r\n", "")
    hidden = get("/api/state", host="evil.example")
    first, second = exchange(port, head + hidden).body.split(b"HTTP/1.1 ")

    assert b"two signs" in first and second.startswith(b"400")


def test_a_large_body_is_refused_before_sending(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "DRAIN_SECONDS", 0.3)
    lines = (ORIGIN, JSON, "Content-Length: 99999999999")
    answer = exchange(port, get(TEST, *lines, method="POST"))

    assert answer.status == 413
    assert json.loads(answer.body) == {"detail": "This is too large: at most 2 MB."}


@pytest.mark.parametrize("path", ["/", "/static/style.css", "/api/state", "/nowhere"])
@pytest.mark.parametrize("host", ["{own}", "evil.example"])
def test_every_answer_has_security_headers(port: int, path: str, host: str) -> None:
    headers = exchange(port, get(path, host=host)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers and "access-control-allow-origin" not in headers
    assert "unsafe" not in headers["content-security-policy"]


def test_a_slow_body_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BODY_SECONDS", 0.3)
    whole = post(TEST, ORIGIN, JSON, body="{" + " " * 50 + "}")

    assert exchange(client.port, whole[:-40], " ", pause=0.1).status == 408


@pytest.mark.parametrize("start", ["", "GET / HTTP/1.1\r\nHost: "], ids=["nothing", "a part"])
def test_a_slow_head_is_ended(studio: Studio, monkeypatch: pytest.MonkeyPatch, start: str) -> None:
    monkeypatch.setattr(app, "HEAD_SECONDS", 1)
    with serving(studio, listen("127.0.0.1", 0)) as port:
        assert exchange(port, start, "", pause=2.5) == Response(0, {}, b"")
        first = get("/api/state").replace("Connection: close\r\n", "")
        answer = exchange(port, first, "GET / HT", pause=0.3)  # and a second head
        assert answer.status == 200


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
def test_a_stalled_answer_is_given_up_and_a_slow_one_is_whole(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "STALL_SECONDS", 1)
    random = np.random.RandomState(0)
    noise = to_png(random.randint(0, 256, (3, 3000, 3000)).astype(np.uint8), 3000)
    (label,) = studio.store.add_classes(["a"])
    new = NewDrawing(Entry(label, "", "train", timestamp(), True), None, noise)
    studio.store.add_drawing(new)
    studio.update()
    request = get(f"/api/drawings/{new.id}.png")
    with serving(studio, listen("127.0.0.1", 0)) as port:
        assert exchange(port, request, read_pause=0.01).body == noise
        assert exchange(port, request, stall=4).body != noise


@pytest.fixture
def shared(studio: Studio) -> Iterator[tuple[int, str]]:
    """A Studio that others can reach: its port and its token."""
    address = listen("0.0.0.0", 0)
    assert address.token is not None and f"?token={address.token}" in address.url
    with serving(studio, address) as port:
        yield port, address.token


def cookie(port: int, token: str, session: str = "a" * 16) -> str:
    return f"siglum-{port}={token}.{session}"


def test_without_the_token_nothing_is_served_and_with_it_all(shared: tuple[int, str]) -> None:
    port, token = shared
    paths = ("/", "/api/state", "/static/main.js", "/?token=", f"/?token={token[:-1]}")
    for path in (*paths, f"/api/state?token={token}"):
        assert exchange(port, get(path)).status == 403, path
    own = cookie(port, token)
    for wrong in (own.replace(token, token[::-1]), own.partition(".")[0], own[:-1]):
        assert exchange(port, get("/api/state", f"Cookie: {wrong}")).status == 403, wrong
    for other in ('pref={"a":1}', "=", ";;", '"', "é=1"):  # of other programs at this host
        for both in (f"{other}; {own}", f"{own}; {other}"):
            assert exchange(port, get("/api/state", f"Cookie: {both}")).status == 200, both
    assert b"new link" in exchange(port, get("/?token=old")).body  # a page for people
    assert exchange(port, post("/api/undo", ORIGIN, JSON)).status == 403
    assert exchange(port, post(f"/?token={token}", ORIGIN, JSON)).status == 403


def test_the_token_becomes_a_cookie_for_no_script_or_other_site(
    shared: tuple[int, str],
) -> None:
    port, token = shared
    answer = exchange(port, get(f"/?token={token}"))
    given, _, options = answer.headers["set-cookie"].partition("; ")

    assert b'content="0; url=/"' in answer.body and token.encode() not in answer.body
    assert given.startswith(f"siglum-{port}={token}.")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(options.split("; "))
    assert Client(port, given).get("/api/state")["classes"] == []
    again = exchange(port, get(f"/?token={token}", f"Cookie: {given}"))
    assert again.headers["set-cookie"].startswith(given)  # still the same person


def test_each_browser_undoes_only_its_own_changes(shared: tuple[int, str]) -> None:
    port, token = shared
    ann, bob = (Client(port, cookie(port, token, letter * 16)) for letter in "ab")
    ann.add("α")
    bob.add("β")

    assert ann.refused("/api/undo", {"event": 2}) == 409
    assert ann.post("/api/undo", {"event": 1})["state"]["redo"]["event"] == 1
    assert [one["name"] for one in bob.get("/api/state")["classes"]] == ["β"]
    assert ann.refused("/api/undo", {"event": 1}) == 409
    assert bob.get("/api/state")["undo"]["event"] == 2


def test_a_shared_address_has_a_new_token_each_time_and_loopback_none() -> None:
    first, second, own = (listen(host, 0) for host in ("0.0.0.0", "0.0.0.0", "localhost"))
    for address in (first, second, own):
        address.socket.close()

    assert own.token is None and own.url.startswith("http://localhost:")
    assert first.token != second.token and len(first.token or "") == 32
    assert first.url.endswith(f"/?token={first.token}")
    assert not any(host.startswith("0.0.0.0") for host in first.hosts)


def test_an_address_in_use_or_of_another_machine_is_refused() -> None:
    remedy = "Choose another --host or --port; --port 0 takes a free one."
    with socket.create_server(("127.0.0.1", 0)) as used:
        number = used.getsockname()[1]
        with pytest.raises(ConfigError, match=f"address already in use. {remedy}"):
            listen("127.0.0.1", number)
    for host in ("203.0.113.7", "no such host.invalid", "", "\ud800"):
        with pytest.raises(ConfigError, match="Cannot listen at"):
            listen(host, 0)
