"""Every rule of access, over a real socket, by bytes that a tidy client would not send."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
from raw_http import Response, exchange, get, parse_response, post, request
from studio_client import Client, serving, studio_client

from siglum.errors import ConfigError
from siglum.images.studio_set import Entry
from siglum.studio import app
from siglum.studio.app import listen
from siglum.studio.state import Studio, to_png
from siglum.studio.store import NewDrawing, timestamp

TEST = "/api/test/next"  # of an empty set: 409 if a request comes through
JSON = "Content-Type: application/json"


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


HOSTS = (
    *("evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.:{port}", ""),
    *("LOCALHOST:{port}", "127.1:{port}", "2130706433:{port}", "0.0.0.0:{port}", "[::1]"),
    *("evil@127.0.0.1:{port}", "127.0.0.1:{port}, evil.example", "127.0.0.1:{port}.evil.example"),
    *("127.0.0.1:0{port}", "::1:{port}", "[0:0:0:0:0:0:0:1]:{port}", "[::ffff:127.0.0.1]:{port}"),
)


@pytest.mark.parametrize("host", HOSTS)
def test_a_foreign_host_is_refused(port: int, host: str) -> None:
    answer = exchange(port, get("/api/state", port, host=host.format(port=port)))

    assert answer.status == 400 and b"my-signs" not in answer.body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_own_hosts_and_their_page_are_accepted(port: int, host: str) -> None:
    lines = (f"Origin: http://{host}:{port}", "Sec-Fetch-Site: same-origin", JSON)

    assert exchange(port, get("/api/state", port, host=f"{host}:{port}")).status == 200
    assert exchange(port, post(TEST, port, b"{}", *lines, own=False)).status == 409


OWN_POST = (
    b"POST /api/undo HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\n"
    b"Content-Type: application/json\r\n"
)
FRAMES = {  # how a request is cut into head and body
    "HTTP/1.1 without Host": b"GET /api/state HTTP/1.1\r\n\r\n",
    "HTTP/1.0 without Host": b"GET /api/state HTTP/1.0\r\n\r\n",
    "HTTP/0.9": b"GET /api/state\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: {own}\r\nHost: evil.example\r\n\r\n",
    "two equal Hosts in 1.0": b"GET / HTTP/1.0\r\nHost: {own}\r\nhost: {own}\r\n\r\n",
    "blank before the colon": b"GET / HTTP/1.1\r\nHost : {own}\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: evil.example\r\n {own}\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: {own}\r\nX: a\0b\r\n\r\n",
    "another site as target": b"GET http://evil.example/ HTTP/1.1\r\nHost: {own}\r\n\r\n",
    "no slash": b"GET api/state HTTP/1.1\r\nHost: {own}\r\n\r\n",
    "GET with a body": b"GET / HTTP/1.1\r\nHost: {own}\r\nContent-Length: 4\r\n\r\nGET ",
    "chunks": OWN_POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks and length": OWN_POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n0\r\n\r\n",
    "two lengths": OWN_POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}}",
    "length below 0": OWN_POST + b"Content-Length: -2\r\n\r\n{}",
    "two Origins": OWN_POST + b"Origin: http://{own}\r\nContent-Length: 2\r\n\r\n{}",
    "coded body": OWN_POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "long line": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: {own}\r\n\r\n",
    "a head of 17 KB": b"GET / HTTP/1.1\r\nHost: {own}\r\nX: " + b"y" * 17_000 + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60) + b"\r\n\r\n",
}


@pytest.mark.parametrize("raw", FRAMES.values(), ids=FRAMES)
def test_a_malformed_request_is_refused(port: int, raw: bytes) -> None:
    own = f"127.0.0.1:{port}".encode()

    assert exchange(port, raw.replace(b"{own}", own)).status in (400, 501)


def test_a_smuggled_request_meets_all_rules(port: int) -> None:
    lines = [f"Host: 127.0.0.1:{port}", f"Origin: http://127.0.0.1:{port}", JSON]
    head = "\r\n".join([f"POST {TEST} HTTP/1.1", *lines, "Content-Length: 2", "", ""]).encode()
    hidden = request("GET", "/api/state", ["Host: evil.example"])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head + b"{}" + hidden)
        found = b""
        while part := connection.recv(1 << 16):
            found += part

    first, second = found.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"409") and second.startswith(b"400")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "get"])
def test_other_methods_are_refused(port: int, method: str) -> None:
    answer = exchange(port, request(method, "/api/state", [f"Host: 127.0.0.1:{port}"]))

    assert answer.status == 405 and answer.headers["allow"] == "GET, POST"
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_a_method_cannot_be_overridden(port: int) -> None:
    assert exchange(port, get(TEST, port, "X-HTTP-Method-Override: POST")).status == 405
    assert exchange(port, get(f"{TEST}?_method=POST", port)).status == 405
    assert exchange(port, post("/api/state", port)).status == 405
    assert exchange(port, post("/", port)).status == 405


ORIGINS = {
    "none": [],
    "null": ["Origin: null"],
    "foreign": ["Origin: http://evil.example"],
    "by https": ["Origin: https://127.0.0.1:{port}"],
    "no port": ["Origin: http://127.0.0.1"],
    "capitals": ["Origin: HTTP://127.0.0.1:{port}"],
    "longer": ["Origin: http://127.0.0.1:{port}.evil.example"],
    "user": ["Origin: http://evil@127.0.0.1:{port}"],
    "a method": ["Origin: GET"],
    "from another site": ["Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: cross-site"],
    "from a neighbour": ["Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: same-site"],
}


@pytest.mark.parametrize("lines", ORIGINS.values(), ids=ORIGINS)
def test_another_page_changes_nothing(port: int, lines: list[str]) -> None:
    sent = [line.format(port=port) for line in lines]

    assert exchange(port, post(TEST, port, b"{}", JSON, *sent, own=False)).status == 403


def test_another_page_may_link_here_and_reads_nothing(port: int) -> None:
    assert exchange(port, get("/", port, "Sec-Fetch-Site: cross-site")).status == 200
    for path in ("/api/state", "/api/drawings", "/api/bundle", "/static/style.css", "/api/events"):
        assert exchange(port, get(path, port, "Sec-Fetch-Site: cross-site")).status == 403, path
        assert exchange(port, get(path, port, "Origin: http://evil.example")).status == 403, path


IMAGES = "/api/predict/image"
KINDS = {
    "none": (TEST, []),
    "plain text": (TEST, ["Content-Type: text/plain"]),
    "a form": (TEST, ["Content-Type: application/x-www-form-urlencoded"]),
    "parts": (TEST, ["Content-Type: multipart/form-data; boundary=x"]),
    "another charset": (TEST, ["Content-Type: application/json; charset=utf-16"]),
    "a picture": (TEST, ["Content-Type: image/png"]),
    "packed": (TEST, [JSON, "Content-Encoding: gzip"]),
    "SVG": (IMAGES, ["Content-Type: image/svg+xml"]),
    "HTML": (IMAGES, ["Content-Type: text/html"]),
}


@pytest.mark.parametrize(("path", "lines"), KINDS.values(), ids=KINDS)
def test_another_content_type_is_refused(port: int, path: str, lines: list[str]) -> None:
    own = f"Origin: http://127.0.0.1:{port}"

    assert exchange(port, post(path, port, b"{}", own, *lines, own=False)).status == 415


def test_a_large_body_is_refused_before_it_is_sent(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "DRAIN_SECONDS", 0.3)
    lines = [f"Host: 127.0.0.1:{port}", f"Origin: http://127.0.0.1:{port}", JSON]
    answer = exchange(port, request("POST", TEST, [*lines, "Content-Length: 99999999999"]))

    assert answer.status == 413
    assert json.loads(answer.body) == {"detail": "This is too large: at most 2 MB."}


PATHS = (
    *(
        "/static/../security.py",
        "/static/..%2fsecurity.py",
        "/static/%2e%2e/security.py",
        "/static/",
    ),
    *("/static/..%5csecurity.py", "/static//etc/passwd", "//etc/passwd", "/static/style.css%00"),
    *("/static/index.html", "/static/STYLE.CSS", "/api/drawings/..%2f..%2fsigns.db.png"),
    *("/api/drawings/0123456789abcdef.png", "/api/drawings/0123456789abcde%0a.png"),
    *("/api/drawings/%D9%A0123456789abcde.png", "/api/", "/docs", "/openapi.json", "/.git/config"),
)


@pytest.mark.parametrize("path", PATHS)
def test_no_other_path_serves_anything(port: int, path: str) -> None:
    answer = exchange(port, get(path, port))

    assert answer.status in (404, 422), answer
    assert b"root:" not in answer.body and b"import" not in answer.body


@pytest.mark.parametrize("path", ["/", "/static/style.css", "/api/state", "/nowhere"])
@pytest.mark.parametrize("host", [None, "evil.example"], ids=["own", "foreign"])
def test_every_answer_has_security_headers(port: int, path: str, host: str | None) -> None:
    headers = exchange(port, get(path, port, host=host)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers and "access-control-allow-origin" not in headers
    assert "unsafe" not in headers["content-security-policy"]


def test_a_slow_body_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "BODY_SECONDS", 0.3)
    whole = post(TEST, client.port, b"{" + b" " * 50 + b"}")

    assert exchange(client.port, whole[:-40], b" ", pause=0.1).status == 408


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: "], ids=["nothing", "a part"])
def test_a_slow_head_is_given_up(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(app, "HEAD_SECONDS", 1)
    with serving(studio, listen("127.0.0.1", 0)) as port:
        assert exchange(port, start, b"", pause=2.5, timeout=5) == Response(0, {}, b"")
        first = get("/api/state", port).replace(b"Connection: close\r\n", b"")
        answer = exchange(port, first, b"GET / HT", pause=0.3, timeout=5)  # and a second head
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

    def receive(pause: float, start: float) -> bytes:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            connection.settimeout(20)
            connection.connect(("127.0.0.1", port))
            connection.sendall(get(f"/api/drawings/{new.id}.png", port))
            time.sleep(start)
            content = b""
            with suppress(ConnectionResetError):
                while part := connection.recv(1 << 17):
                    content += part
                    time.sleep(pause)
            return parse_response(content).body

    with serving(studio, listen("127.0.0.1", 0)) as port:
        assert receive(0.01, start=0) == noise
        assert receive(0, start=4) != noise


@pytest.fixture
def shared(studio: Studio) -> Iterator[tuple[int, str]]:
    """A Studio that others can reach: its port and its token."""
    address = listen("0.0.0.0", 0)
    assert address.token is not None and f"?token={address.token}" in address.url
    with serving(studio, address) as port:
        yield port, address.token


def cookie(port: int, token: str, session: str = "a" * 16) -> str:
    return f"siglum-{port}={token}.{session}"


def test_without_the_token_nothing_is_served(shared: tuple[int, str]) -> None:
    port, token = shared
    paths = ("/", "/api/state", "/static/main.js", "/?token=", f"/?token={token[:-1]}")
    for path in (*paths, f"/api/state?token={token}"):
        assert exchange(port, get(path, port)).status == 403, path
    for wrong in (
        cookie(port, token[:-1] + "x"),
        f"siglum-{port}={token}",
        cookie(port, token, "x"),
    ):
        assert exchange(port, get("/api/state", port, f"Cookie: {wrong}")).status == 403, wrong
    assert exchange(port, post("/api/undo", port)).status == 403
    assert exchange(port, post(f"/?token={token}", port)).status == 403


def test_an_old_link_explains_itself_in_html(shared: tuple[int, str]) -> None:
    page = exchange(shared[0], get("/?token=old", shared[0]))

    assert page.headers["content-type"].startswith("text/html") and b"new link" in page.body


def test_the_token_becomes_a_cookie_that_no_script_and_no_other_site_has(
    shared: tuple[int, str],
) -> None:
    port, token = shared
    answer = exchange(port, get(f"/?token={token}", port))
    given, _, options = answer.headers["set-cookie"].partition("; ")

    assert b'content="0; url=/"' in answer.body and token.encode() not in answer.body
    assert given.startswith(f"siglum-{port}={token}.")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(options.split("; "))
    assert Client(port, given).get("/api/state")["classes"] == []
    again = exchange(port, get(f"/?token={token}", port, f"Cookie: {given}"))
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


@pytest.mark.parametrize("other", ['pref={"a":1}', "=", ";;", '"', "é=1"])
def test_cookies_of_other_programs_lock_nobody_out(shared: tuple[int, str], other: str) -> None:
    port, token = shared
    own = cookie(port, token)
    for both in (f"{other}; {own}", f"{own}; {other}"):
        assert Client(port, both).get("/api/state")["classes"] == []


def test_a_shared_address_has_a_new_token_each_time_and_loopback_none() -> None:
    first, second, own = (listen(host, 0) for host in ("0.0.0.0", "0.0.0.0", "localhost"))
    for address in (first, second, own):
        address.socket.close()

    assert own.token is None and own.url.startswith("http://localhost:")
    assert first.token != second.token and len(first.token or "") == 32
    assert first.url.endswith(f"/?token={first.token}")
    assert not any(host.startswith("0.0.0.0") for host in first.hosts)


def test_a_port_in_use_is_refused_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        with pytest.raises(ConfigError) as error:
            listen("127.0.0.1", port)

    assert str(error.value) == (
        f"Cannot listen at '127.0.0.1', port {port}: address already in use. Choose another "
        "--host, and leave out --port for a free one."
    )


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host.invalid", "", "\ud800"])
def test_a_foreign_address_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="Cannot listen at"):
        listen(host, 0)
