"""A class-room: many people draw at one Studio at once, and nothing may be lost.

    python -m benchmarks.studio_load --clients 50 --seconds 60

Run it on a quiet machine; the people are simulated on the same processors. The Studio is a process
of its own, as `siglum studio` starts it. Each person draws a sign in a second and a half, has it
read while drawing as the page does (one question at a time, and a rest of 20 to 1,000 ms, longer
where answers are slow), looks at the drawings that are nearest, keeps it, and thinks for about as
long. Each page follows the others as it does in a browser: it hears of every version over an open
stream, fetches the state half a second later, or twenty times as long as the last answer took, up
to twice that, and the list of drawings, while it is short, every two seconds. Printed are the times
of the answers, as the person meets them, and what of all that was promised is there at the end.
"""

import argparse
import http.client
import json
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

DRAWS = 1.5  # seconds with the pen down
THINKS = 1.5  # seconds before the next sign
REST, EASY = (0.02, 1.0), 0.01  # seconds between two questions; the square of the answer's by this
LATER, MOST, PATIENCE = 0.5, 5.0, 20  # seconds between news and asking for them; times the answer
LISTS = 2.0  # seconds between two lists of drawings
FEW = 300  # drawings whose list is fetched
SIGNS = 10
POINTS = 60


def a_drawing(sign: int, random: np.random.RandomState, share: float = 1.0) -> dict[str, Any]:
    """Draw a sign, a closed curve of its own for each number, as far as a share of it."""
    t = np.linspace(0, 2 * np.pi * share, max(2, round(POINTS * share)))
    size, x, y = random.uniform(0.25, 0.35), *random.uniform(0.45, 0.55, 2)
    across = x + size * np.cos(t) * np.cos((sign % 5) * t / 2)
    down = y + size * np.sin((1 + sign // 5) * t)
    points = np.stack([across, down], axis=1) + random.normal(0, 0.003, (len(t), 2))
    stroke = [[*point, 25.0 * i, 0.5] for i, point in enumerate(points.tolist())]
    return {"version": 1, "aspect": 1.0, "strokes": [stroke]}


class Asking(threading.Thread):
    """Whoever asks over a connection of their own until the time is over."""

    def __init__(self, number: int, port: int, until: float) -> None:
        super().__init__()
        self.random = np.random.RandomState(number)
        self.until, self.port = until, port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.times: dict[str, list[float]] = {}  # seconds, by what was asked for
        self.refused: Counter[int] = Counter()

    def ask(self, what: str, path: str, value: Any = None) -> Any:
        """POST, or GET where there is nothing to send; return the answer, None if refused."""
        sent: dict[str, Any] = {}
        if value is not None:
            headers = {"Content-Type": "application/json"}
            headers["Origin"] = f"http://127.0.0.1:{self.port}"
            sent = {"body": json.dumps(value), "headers": headers}
        begun = time.perf_counter()
        self.connection.request("GET" if value is None else "POST", path, **sent)
        answer = self.connection.getresponse()
        found = answer.read()
        self.times.setdefault(what, []).append(time.perf_counter() - begun)
        if answer.status != 200:
            self.refused[answer.status] += 1
            return None
        return json.loads(found) if path[-4:] != ".png" else found


class Person(Asking):
    """Somebody who draws."""

    def __init__(self, number: int, port: int, until: float, ids: list[str]) -> None:
        super().__init__(number, port, until)
        self.name, self.ids = f"w{number:02}", ids
        self.kept: list[str] = []
        self.shown: set[str] = set()  # pictures that a browser has already

    def run(self) -> None:
        """Draw, have it read, keep it, think."""
        time.sleep(self.random.uniform(0, DRAWS + THINKS))
        while time.monotonic() < self.until:
            sign = int(self.random.randint(SIGNS))
            seed, begun = int(self.random.randint(2**31)), time.monotonic()

            def drawn(share: float, sign: int = sign, seed: int = seed) -> dict[str, Any]:
                return a_drawing(sign, np.random.RandomState(seed), share)

            while (share := (time.monotonic() - begun) / DRAWS) < 1:
                self.ask("read", "/api/recognise", {"drawing": drawn(max(share, 0.05))})
                time.sleep(min(max(REST[0], self.times["read"][-1] ** 2 / EASY), REST[1]))
            read = self.ask("read", "/api/recognise", {"drawing": drawn(1)})
            for name in [] if read is None else [one["id"] for one in read["nearest"]]:
                if name not in self.shown:
                    self.ask("seen", f"/api/samples/{name}.png")
                    self.shown.add(name)
            sample = {"class": self.ids[sign], "drawing": drawn(1), "writer": self.name}
            answer = self.ask("kept", "/api/samples", sample)
            if answer is not None:
                self.kept.append(answer["id"])
            time.sleep(self.random.exponential(THINKS))


class Follower(Asking):
    """The page that somebody has open, as far as it follows the others."""

    heard, version, listed = 1, 0, 0.0

    def run(self) -> None:
        """Fetch the state after news."""
        took = 0.0
        while time.monotonic() < self.until:
            wait = max(LATER, min(PATIENCE * took, MOST))
            time.sleep(self.random.uniform(wait, 2 * wait))
            if self.heard > self.version:
                state = self.ask("followed", "/api/state")
                took = self.times["followed"][-1]
                if state is not None:
                    self.version = state["version"]
                    few = sum(one["taught"] for one in state["classes"]) <= FEW
                    if few and time.monotonic() - self.listed > max(LISTS, PATIENCE * took):
                        self.ask("listed", "/api/samples")
                        self.listed = time.monotonic()


def listen(port: int, followers: list[Follower], closing: threading.Event) -> None:
    """Hear the news for all followers, each over a stream of its own."""
    with selectors.DefaultSelector() as selector:
        for follower in followers:
            stream = socket.create_connection(("127.0.0.1", port))
            stream.sendall(f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            selector.register(stream, selectors.EVENT_READ, follower)
        while not closing.is_set():
            for key, _ in selector.select(0.2):
                assert isinstance(key.fileobj, socket.socket)
                if found := re.findall(rb"data: (\d+)", key.fileobj.recv(1 << 12)):
                    key.data.heard = int(found[-1])
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()


def spread(times: list[float]) -> str:
    """Say how long answers took."""
    if not times:
        return "none"
    half, most, nearly, longest = np.percentile(times, [50, 95, 99, 100]) * 1000
    return (
        f"{len(times):,}; median {half:.0f} ms, 95 % within {most:.0f} ms, "
        f"99 % within {nearly:.0f} ms, the longest {longest:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--backbone", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "siglum", "studio", f"{folder}/signs", "--no-browser"]
        command += [] if given.backbone is None else ["--backbone", str(given.backbone)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            said = running.stdout.readline() + running.stdout.readline()
            found = re.search(r":(\d+)/", said)
            assert found, said
            port = int(found[1])
            first = Asking(0, port, 0)
            names = [f"sign {number}" for number in range(SIGNS)]
            ids = [first.ask("", "/api/classes", {"name": name})["id"] for name in names]
            until, numbers = time.monotonic() + given.seconds, range(given.clients)
            people = [Person(number, port, until, ids) for number in numbers]
            followers = [Follower(1000 + number, port, until) for number in numbers]
            closing = threading.Event()
            listening = threading.Thread(target=listen, args=(port, followers, closing))
            for thread in (listening, *people, *followers):
                thread.start()
            for thread in (*people, *followers):
                thread.join()
            closing.set()
            listening.join()
            last = Asking(0, port, 0)  # the first connection has rested for too long
            there = {one["id"] for one in last.ask("", "/api/samples")}
            running.send_signal(signal.SIGINT)
            running.wait(30)
        files = {path.stem for path in Path(folder).rglob("*.json")}
    kept = {name for person in people for name in person.kept}
    asking = [*people, *followers]
    refused = sum((one.refused for one in asking), Counter[int]())
    print(f"{given.clients} people for {given.seconds:g} s")
    for what in ("read", "seen", "kept", "followed", "listed"):
        print(f"{what:8} {spread([took for one in asking for took in one.times.get(what, [])])}")
    print(f"refused  {dict(refused) or 'none'}")
    print(f"lost     {len(kept - there)} of {len(kept)} in answers, {len(kept - files)} on disk")


if __name__ == "__main__":
    main()
