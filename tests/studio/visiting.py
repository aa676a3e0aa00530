"""Somebody at the page of a Studio, and the signs that they draw."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from siglum.recogniser import backbone as backbones
from siglum.studio import server
from siglum.studio.app import build
from siglum.studio.server import Address
from siglum.studio.studio import Studio

Json = dict[str, Any]


@dataclass(frozen=True)
class Client:
    """Somebody at the page of a Studio."""

    port: int
    cookie: str = ""

    def ask(
        self,
        path: str,
        value: Any = None,
        raw: bytes | None = None,
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """GET, or POST where there is something to send; return the status and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = raw if raw is not None or value is None else json.dumps(value).encode()
        own = {"Origin": f"http://127.0.0.1:{self.port}", "Content-Type": kind}
        own = {} if sent is None else own
        if self.cookie:
            own["Cookie"] = self.cookie
        try:
            method = "GET" if sent is None else "POST"
            connection.request(method, path, sent, own | (headers or {}))
            answer = connection.getresponse()
            found = answer.read()
            if answer.headers.get_content_type() == "application/json":
                return answer.status, json.loads(found)
            return answer.status, found
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """GET what must be there."""
        status, found = self.ask(path)
        assert status == 200, found
        return found

    def post(self, path: str, value: Any) -> Any:
        """POST what must be taken."""
        status, found = self.ask(path, value)
        assert status == 200, found
        return found

    def add(self, *names: str) -> list[str]:
        """Add classes; return their ids."""
        return [self.post("/api/classes", {"name": name})["id"] for name in names]

    def teach(self, class_: str, drawing: Json, **more: str) -> Json:
        """Keep a drawing."""
        return self.post("/api/samples", {"class": class_, "drawing": drawing, **more})


@contextmanager
def serving(studio: Studio, address: Address) -> Iterator[int]:
    """Answer requests in another thread; the port is given."""
    uvicorn = server.serving(build(studio), address)
    thread = threading.Thread(target=uvicorn.run, kwargs={"sockets": [address.listening]})
    port = address.listening.getsockname()[1]
    thread.start()
    try:
        yield port
    finally:
        uvicorn.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def serve(folder: Path, backbone: Path, ports: Connection) -> None:
    """Serve a folder until killed; the port is sent."""
    address = server.listen("127.0.0.1", 0)
    uvicorn = server.serving(build(Studio(folder, backbones.given(backbone))), address)
    ports.send(address.listening.getsockname()[1])
    uvicorn.run(sockets=[address.listening])


def drawing_of(kind: str, seed: int = 0) -> Json:
    """A ring, a cross or a stroke, as a pen would have drawn it."""
    random = np.random.RandomState(seed)
    middle, size = 0.5 + random.uniform(-0.05, 0.05, 2), random.uniform(0.2, 0.3)
    turn = np.linspace(0, 2 * np.pi, 40)
    line = np.linspace(-1, 1, 20)
    ways = {
        "ring": [(np.cos(turn), np.sin(turn))],
        "cross": [(line, line), (line, -line)],
        "stroke": [(0 * line, line)],
        "dot": [(np.zeros(1), np.zeros(1))],
    }
    strokes = []
    for x, y in ways[kind]:
        points = np.stack([x, y], axis=1) * size + middle + random.normal(0, 0.004, (len(x), 2))
        strokes.append([[*map(float, point), 10.0 * i, 0.5] for i, point in enumerate(points)])
    return {"version": 1, "aspect": 1.0, "strokes": strokes}
