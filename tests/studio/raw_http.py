"""Requests byte by byte, as no well-behaved client would send them."""

import socket
import time
from collections.abc import Sequence
from typing import NamedTuple


class Response(NamedTuple):
    """What came back; status 0 if the connection was cut."""

    status: int
    headers: dict[str, str]
    body: bytes


def exchange(port: int, *pieces: bytes, pause: float = 0.0, timeout: float = 10.0) -> Response:
    """Send pieces with pauses between them, and read until the other side closes."""
    content = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        try:
            for number, piece in enumerate(pieces):
                if number:
                    time.sleep(pause)
                connection.sendall(piece)
            while part := connection.recv(1 << 16):
                content += part
        except (ConnectionResetError, BrokenPipeError):
            pass
    return parse_response(content)


def parse_response(raw: bytes) -> Response:
    """Read the first response of what was received."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not lines[0]:
        return Response(0, {}, b"")
    pairs = (line.partition(": ") for line in lines[1:])
    return Response(int(lines[0].split()[1]), {a.lower(): b for a, _, b in pairs}, body)


def get(path: str, port: int, *headers: str, host: str | None = None) -> bytes:
    """Return a GET."""
    name = f"127.0.0.1:{port}" if host is None else host
    return request("GET", path, [f"Host: {name}", *headers])


def post(path: str, port: int, body: bytes = b"{}", *headers: str, own: bool = True) -> bytes:
    """Return a POST; with the usual headers if it is our own page's."""
    lines = [f"Host: 127.0.0.1:{port}", f"Content-Length: {len(body)}"]
    if own:
        lines += [f"Origin: http://127.0.0.1:{port}", "Content-Type: application/json"]
    return request("POST", path, [*lines, *headers]) + body


def request(method: str, path: str, headers: Sequence[str], version: str = "HTTP/1.1") -> bytes:
    """Return the head of a request after which the connection is to be closed."""
    lines = [f"{method} {path} {version}", *headers, "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")
