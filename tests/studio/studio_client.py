"""A client of a Studio on a real socket, and signs drawn by code."""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import uvicorn

from siglum.images import strokes
from siglum.images.decode import to_png
from siglum.images.studio_set import Entry
from siglum.recogniser.predict import Recogniser
from siglum.studio.app import Address, create_server, listen
from siglum.studio.snapshot import Studio, extract
from siglum.studio.store import NewDrawing, timestamp
from siglum.studio.workers import Workers

Json = dict[str, Any]
KINDS = ("ring", "cross", "stroke")


@dataclass(frozen=True)
class Client:
    """A browser at the page of a Studio."""

    port: int
    cookie: str = ""

    def request(self, path: str, value: Any = None, **more: Any) -> tuple[int, Any]:
        """GET, or POST if there is something to send; return status and body."""
        with closing(self.connect(path, value, **more)) as connection:
            response = connection.getresponse()
            content = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return response.status, json.loads(content) if is_json else content

    def connect(
        self,
        path: str,
        value: Any = None,
        raw: bytes | None = None,
        content_type: str = "application/json",
    ) -> http.client.HTTPConnection:
        """Send a request; return the connection, which has its response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = raw if raw is not None or value is None else json.dumps(value).encode()
        headers = {"Cookie": self.cookie} if self.cookie else {}
        if body is not None:
            origin = f"http://127.0.0.1:{self.port}"
            headers |= {"Origin": origin, "Content-Type": content_type}
        connection.request("GET" if body is None else "POST", path, body, headers)
        return connection

    def get(self, path: str) -> Any:
        """GET what must succeed."""
        return self.post(path)

    def post(self, path: str, value: Any = None) -> Any:
        """POST what must succeed."""
        status, content = self.request(path, value)
        assert status == 200, content
        return content

    def refused(self, path: str, value: Any = None, **more: Any) -> int:
        """Send what must be refused; return the status."""
        status, content = self.request(path, value, **more)
        assert status >= 400 and len(content["detail"]) > 8, content
        return status

    def add(self, *names: str) -> list[str]:
        """Add classes; return their ids."""
        ids: list[str] = self.post("/api/classes", {"names": names})["ids"]
        return ids

    def draw(self, label: str, drawing: Json, **more: Any) -> Json:
        """Save a drawing."""
        value = self.post("/api/drawings", {"class": label, "drawing": drawing, **more})
        assert isinstance(value, dict)
        return value

    def teach(self, count: int = 3, names: tuple[str, ...] = KINDS) -> dict[str, str]:
        """Teach three signs by `count` drawings each; return the ids by kind."""
        ids = dict(zip(KINDS, self.add(*names), strict=True))
        for seed in range(count):
            for kind, id in ids.items():
                self.draw(id, draw(kind, seed))
        return ids

    def analysed(self) -> Json:
        """Return the state once the analysis has caught up."""
        deadline = time.monotonic() + 60
        while not (state := self.get("/api/state"))["up_to_date"]:
            assert time.monotonic() < deadline, "the analysis never came"
            time.sleep(0.05)
        assert isinstance(state, dict)
        return state


@cache
def workers_of(recogniser: Recogniser) -> Workers:
    """Return processes that read images for all tests, since starting them takes a while."""
    return Workers(recogniser)


def serving(studio: Studio, address: Address) -> AbstractContextManager[int]:
    """Run a Studio in another thread; yield its port."""
    return running(create_server(studio, address, workers_of(studio.backbone)), address)


@contextmanager
def running(server: uvicorn.Server, address: Address) -> Iterator[int]:
    """Run a server in another thread; yield its port."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [address.socket]})
    thread.start()
    try:
        yield address.socket.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def studio_client(
    folder: Path, backbone: Any, port: int = 0, token: str | None = None
) -> Iterator[tuple[Studio, Client]]:
    """Open a set and serve it, at the port and with the token of an earlier Studio."""
    address = listen("127.0.0.1", port)._replace(token=token)
    with closing(Studio(folder, backbone)) as studio, serving(studio, address) as at:
        yield studio, Client(at)


class Process:
    """`siglum studio` as a process that can be killed, and started again at its port."""

    def __init__(self, folder: Path, backbone: Path | None = None) -> None:
        self.folder, self.port = folder, 0
        self.command = [sys.executable, "-m", "siglum", "studio", str(folder), "--no-browser"]
        self.command += ["--backbone", str(backbone)] if backbone else []

    def start(self) -> Client:
        """Start it, and wait for the address that it prints."""
        command = [*self.command, "--port", str(self.port)]
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.popen.stdout is not None
        address = next(line for line in self.popen.stdout if "http://" in line)
        self.port = urlsplit(address.split()[0]).port or 0
        return Client(self.port)

    def close(self) -> None:
        """Kill it as kill -9 does."""
        self.popen.kill()
        self.popen.wait()
        assert self.popen.stdout is not None
        self.popen.stdout.close()


def save(studio: Studio, name: str, drawing: Json, split: str = "train", author: str = "") -> str:
    """Save a drawing of a class by name, which is added if needed; return its id."""
    (label,) = studio.store.add_classes([name])
    points = strokes.parse(drawing)
    image = 255 - strokes.rasterise(points)[None]
    facts = Entry(label, author, split, timestamp(), False)
    new = NewDrawing(facts, json.dumps(strokes.to_json(points)), to_png(image))
    studio.inks[new.id] = extract(studio.backbone, image)[0]
    studio.store.add_drawing(new)
    studio.update()
    return new.id


def draw(kind: str, seed: int = 0) -> Json:
    """Return a ring, a cross, a stroke or a dot, as a pen would draw it."""
    random = np.random.RandomState(seed)
    middle, size = 0.5 + random.uniform(-0.05, 0.05, 2), random.uniform(0.2, 0.3)
    turn, line = np.linspace(0, 2 * np.pi, 40), np.linspace(-1, 1, 20)
    lines = {
        "ring": [(np.cos(turn), np.sin(turn))],
        "cross": [(line, line), (line, -line)],
        "stroke": [(0 * line, line)],
        "dot": [(np.zeros(1), np.zeros(1))],
    }[kind]
    drawing = []
    for x, y in lines:
        points = np.stack([x, y], axis=1) * size + middle + random.normal(0, 0.004, (len(x), 2))
        drawing.append([[*map(float, point), 10.0 * i, 0.5] for i, point in enumerate(points)])
    return {"version": 1, "aspect": 1.0, "strokes": drawing}
