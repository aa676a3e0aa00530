"""A Studio that others can reach: who may come in, and whose changes are whose."""

import socket
from collections.abc import Iterator

import pytest
from speaking import get, post, speak
from visiting import Client, serving

from siglum.studio import guard, server
from siglum.studio.studio import Studio

UNDO = "/api/undo"


@pytest.fixture
def room(studio: Studio) -> Iterator[tuple[int, str]]:
    """A Studio that others can reach: its port, and its token."""
    address = server.listen("0.0.0.0", 0)
    assert address.rules.token is not None and f"?token={address.rules.token}" in address.url
    with serving(studio, address) as port:
        yield port, address.rules.token


def test_others_need_the_token(room: tuple[int, str]) -> None:
    port, token = room
    for path in (
        "/",
        "/api/state",
        f"/?token={token[:-1]}",
        "/?token=",
        f"/api/state?token={token}",
    ):
        assert speak(port, get(path, port)).status == 403, path
    cookie = f"Cookie: siglum-{port}={token[:-1]}x"
    assert speak(port, get("/api/state", port, cookie)).status == 403
    assert speak(port, post(UNDO, port)).status == 403
    assert speak(port, post(f"/?token={token}", port)).status == 403


def test_the_token_becomes_a_cookie_that_no_script_and_no_other_site_has(
    room: tuple[int, str],
) -> None:
    port, token = room
    client = Client(port)
    status, page = client.ask(f"/?token={token}")
    answer = speak(port, get(f"/?token={token}", port))
    raw = get(f"/?token={token}", port)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(raw)
        head = connection.makefile("rb").read().partition(b"\r\n\r\n")[0].decode()

    assert status == 200 and b'content="0; url=/"' in page and token.encode() not in page
    assert answer.headers["referrer-policy"] == "no-referrer"
    cookies = [line for line in head.split("\r\n") if line.lower().startswith("set-cookie")]
    assert len(cookies) == 2
    assert all("; Path=/; HttpOnly; SameSite=Strict" in line for line in cookies)
    assert f"siglum-{port}={token};" in cookies[0]
    own = "; ".join(cookie.partition(": ")[2].partition(";")[0] for cookie in cookies)
    assert Client(port, own).get("/api/state")["classes"] == []


def test_who_comes_again_by_the_address_is_the_same_person(room: tuple[int, str]) -> None:
    port, token = room
    me = "0123456789abcdef"
    cookie = f"Cookie: siglum-{port}={token}; {guard.WHO}={me}"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(get(f"/?token={token}", port, cookie))
        found = connection.makefile("rb").read()

    assert f"{guard.WHO}={me};".encode() in found and b'content="0; url=/"' in found


def test_alone_one_is_nobody_in_particular(client: Client) -> None:
    """A cookie of another Studio on this machine does not hide what can be undone."""
    client.add("a")
    again = Client(client.port, f"{guard.WHO}=0123456789abcdef")

    assert again.get("/api/state")["undo"] == {"line": 1, "said": "added \u2068a\u2069"}


def test_the_host_counts_with_a_token_too(room: tuple[int, str]) -> None:
    port, token = room
    cookie = f"Cookie: siglum-{port}={token}"

    answer = speak(port, get("/api/state", port, cookie, host=f"evil.example:{port}"))
    assert answer.status == 400 and b"127.0.0.1" not in answer.body
    assert speak(port, get("/api/state", port, cookie, host=f"0.0.0.0:{port}")).status == 400


def test_undo_is_each_persons_own(room: tuple[int, str]) -> None:
    port, token = room
    ann, bob = (
        Client(port, f"siglum-{port}={token}; {guard.WHO}={number * 16}") for number in "ab"
    )
    ann.add("α")
    bob.add("β")

    assert ann.ask(UNDO, {"line": 2})[0] == 409
    redo = ann.post(UNDO, {"line": 1})["state"]["redo"]
    assert redo == {"line": 1, "said": "added \u2068α\u2069"}
    assert [one["name"] for one in bob.get("/api/state")["classes"]] == ["β"]
    assert ann.ask(UNDO, {"line": 1})[0] == 409
    assert bob.get("/api/state")["undo"] == {"line": 2, "said": "added \u2068β\u2069"}


def test_who_is_nobody_in_particular_is_not_everybody(room: tuple[int, str]) -> None:
    """With the token, but without the cookie that tells people apart."""
    port, token = room
    Client(port, f"siglum-{port}={token}; {guard.WHO}={'a' * 16}").add("α")
    for cookie in (f"siglum-{port}={token}", f"siglum-{port}={token}; {guard.WHO}=everybody"):
        nobody = Client(port, cookie)
        status, answer = nobody.ask(UNDO, {"line": 1})

        assert status == 403 and nobody.ask("/api/state")[0] == 403
        assert answer["error"] == (
            "cookies must say which of several people asks, got none that does. Open the address "
            "that siglum studio printed."
        )


@pytest.mark.parametrize("other", ['pref={"a":1}', "a b=c d", "=", ";;", '"', "x=y=z", "é=1"])
def test_cookies_of_other_programs_lock_nobody_out(room: tuple[int, str], other: str) -> None:
    port, token = room
    own = f"siglum-{port}={token}; {guard.WHO}={'a' * 16}"
    for cookie in (f"{other}; {own}", f"{own}; {other}"):
        assert Client(port, cookie).get("/api/state")["classes"] == []
