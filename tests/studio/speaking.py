"""Requests byte by byte, as no well-behaved client would send them."""

import socket
import time
from collections.abc import Sequence
from typing import NamedTuple


class Answer(NamedTuple):
    """What came back; status 0 where the connection was cut without a word."""

    status: int
    headers: dict[str, str]
    body: bytes


def speak(port: int, *pieces: bytes, pause: float = 0.0, patience: float = 10.0) -> Answer:
    """Send pieces with pauses between them, and read until the other side closes."""
    found = b""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        try:
            for number, piece in enumerate(pieces):
                if number:
                    time.sleep(pause)
                connection.sendall(piece)
            while part := connection.recv(1 << 16):
                found += part
        except (ConnectionResetError, BrokenPipeError):
            pass
    return parsed(found)


def parsed(raw: bytes) -> Answer:
    """Read the first answer of what was received."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not lines[0]:
        return Answer(0, {}, b"")
    pairs = (line.partition(": ") for line in lines[1:])
    return Answer(int(lines[0].split()[1]), {a.lower(): b for a, _, b in pairs}, body)


def get(path: str, port: int, *more: str, host: str | None = None) -> bytes:
    """A GET with further headers."""
    named = f"127.0.0.1:{port}" if host is None else host
    return request("GET", path, [f"Host: {named}", *more])


def post(path: str, port: int, body: bytes = b"{}", *more: str, own: bool = True) -> bytes:
    """A POST with further headers; with the usual ones where it is our own."""
    lines = [f"Host: 127.0.0.1:{port}", f"Content-Length: {len(body)}"]
    if own:
        lines += [f"Origin: http://127.0.0.1:{port}", "Content-Type: application/json"]
    return request("POST", path, [*lines, *more]) + body


def request(method: str, path: str, lines: Sequence[str], version: str = "HTTP/1.1") -> bytes:
    """The head of a request after which the connection is to be closed."""
    head = [f"{method} {path} {version}", *lines, "Connection: close", "", ""]
    return "\r\n".join(head).encode("latin-1")
