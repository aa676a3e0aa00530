"""Whoever sends slowly, or takes nothing of an answer, is waited for a while only."""

import contextlib
import json
import socket
import time
from dataclasses import replace

import numpy as np
import pytest
from speaking import Answer, get, parsed, post, speak
from visiting import Client

from siglum.studio import guard, server
from siglum.studio.changes import AddClass
from siglum.studio.studio import Studio

QUIZ = "/api/quiz"


def test_a_slow_body_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    port = client.port
    monkeypatch.setattr(guard, "JSON", replace(guard.JSON, seconds=0.3))
    whole = post(QUIZ, port, b"{" + b" " * 50 + b"}")
    answer = speak(port, whole[:-40], b" ", pause=0.1)

    assert answer.status == 408
    assert json.loads(answer.body)["error"].startswith("body must be sent within 0.3 seconds")


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: "], ids=["nothing", "a part"])
def test_a_slow_head_is_given_up(
    client: Client, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    port = client.port
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)

    assert speak(port, begun, b"", pause=1.5, patience=5) == Answer(0, {}, b"")


def test_a_slow_second_head_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    port = client.port
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    first = get("/api/state", port).replace(b"Connection: close\r\n", b"")
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(first)
        found = parsed(connection.recv(1 << 16))
        while len(found.body) < int(found.headers["content-length"]):
            found = found._replace(body=found.body + connection.recv(1 << 16))
        connection.sendall(b"GET / HT")
        began = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(10) == b""
        assert time.monotonic() - began < 4


def test_an_answer_that_nobody_takes_is_given_up(
    client: Client, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place is free again then; who takes it slowly has it whole."""
    monkeypatch.setattr(server, "STALLED_SECONDS", 1.0)
    monkeypatch.setattr(guard, "AT_ONCE", 1)
    studio.record(AddClass("a"))
    noise = np.random.RandomState(0).randint(0, 256, (3, 1500, 1500)).astype(np.uint8)
    name, _ = studio.draw(noise, "a", "", "taught")
    with socket.socket() as stalled, socket.socket() as slow:
        for connection in (stalled, slow):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            connection.settimeout(20)
            connection.connect(("127.0.0.1", client.port))
        stalled.sendall(get("/api/samples.zip", client.port))
        deadline = time.monotonic() + 20
        for status in (429, 200):  # its place is taken, and free again
            while client.ask("/api/state")[0] != status:
                assert time.monotonic() < deadline, status
                time.sleep(0.02)
        slow.sendall(get(f"/api/samples/{name}.png", client.port))
        begun, found = time.monotonic(), b""
        while part := slow.recv(1 << 16):
            found += part
            time.sleep(0.02)

    assert parsed(found).body == studio.picture(name)
    assert time.monotonic() - begun > server.STALLED_SECONDS
