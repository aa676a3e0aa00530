"""A class draws in one Studio at the same time: answer times, and nothing may be lost.

    python -m benchmarks.studio --clients 50 --seconds 60
    python -m benchmarks.studio --clients 50 --seconds 60 --service

Run it on a quiet machine; the clients run on the same processors. The Studio is a process of its
own, as `siglum studio` starts it. Each client joins as a pupil, draws a sign in 1.5 s, asks for
predictions while drawing as the page does, saves the drawing, and pauses for about as long.
Measured is the time from a request to its answer. With --service the clients ask `siglum serve`
while they draw, at the same pace, and save nothing.
"""

import argparse
import http.client
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from typing import Any

import numpy as np

import siglum

DRAW_SECONDS = PAUSE_SECONDS = 1.5
SIGNS, POINTS = 10, 60


def drawing(sign: int, random: np.random.RandomState, share: float = 1.0) -> dict[str, Any]:
    """Draw a share of a sign: a closed curve of its own for each number."""
    t = np.linspace(0, 2 * np.pi * share, max(2, round(POINTS * share)))
    size, x, y = random.uniform(0.25, 0.35), *random.uniform(0.45, 0.55, 2)
    across = x + size * np.cos(t) * np.cos((sign % 5) * t / 2)
    down = y + size * np.sin((1 + sign // 5) * t)
    points = np.stack([across, down], axis=1) + random.normal(0, 0.003, (len(t), 2))
    stroke = [[*point, 25.0 * i, 0.5] for i, point in enumerate(points.tolist())]
    return {"version": 1, "aspect": 1.0, "strokes": [stroke]}


class Client(threading.Thread):
    """A person who enters the Studio by a link, or uses the service, until the time is over."""

    def __init__(self, number: int, port: int, link: str = "") -> None:
        super().__init__()
        self.random, self.until, self.ids = np.random.RandomState(number), 0.0, list[str]()
        self.saved = list[str]()
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Content-Type": "application/json", "Origin": f"http://127.0.0.1:{port}"}
        self.path = "/api/predict" if link else "/recognise/strokes"
        if link:
            self.connection.request("GET", link)
            with self.connection.getresponse() as answer:
                cookie = str(answer.headers["set-cookie"]).partition(";")[0]
                answer.read()
            self.headers["Cookie"] = cookie
        self.times = defaultdict[str, list[float]](list)
        self.errors: Counter[int] = Counter()

    def request(self, path: str, body: Any = None) -> Any:
        """POST `body`, or GET; return the answer, or None for an error."""
        content = None if body is None else json.dumps(body)
        start = time.perf_counter()
        method = "GET" if body is None else "POST"
        self.connection.request(method, path, content, self.headers)
        answer = self.connection.getresponse()
        value = json.loads(answer.read())
        self.times[path].append(time.perf_counter() - start)
        if answer.status != 200:
            self.errors[answer.status] += 1
            return None
        return value

    def run(self) -> None:
        """Draw, ask, save, pause."""
        time.sleep(self.random.uniform(0, DRAW_SECONDS + PAUSE_SECONDS))
        while time.monotonic() < self.until:
            sign, seed = int(self.random.randint(SIGNS)), int(self.random.randint(2**31))
            start, share = time.monotonic(), 0.0
            while share < 1:
                share = min(max((time.monotonic() - start) / DRAW_SECONDS, 0.05), 1)
                part = drawing(sign, np.random.RandomState(seed), share)
                self.request(self.path, {"drawing": part} if self.ids else part)
                time.sleep(min(max(0.02, 100 * self.times[self.path][-1] ** 2), 1))
            if self.ids:
                whole = {"class": self.ids[sign], "drawing": part}
                if answer := self.request("/api/drawings", whole):
                    self.saved.append(answer["id"])
            time.sleep(self.random.exponential(PAUSE_SECONDS))


def start(*arguments: str) -> tuple[subprocess.Popen[str], int, str]:
    """Start `siglum ...`; return the process, and the port and the path that it prints."""
    command = [sys.executable, "-m", "siglum", *arguments]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = re.compile(r"http:\S+:(\d+)(/\S+)")
    match = next(filter(None, (address.search(line) for line in server.stdout)))
    return server, int(match[1]), match[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--service", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.service:
            bundle = f"{folder}/digits.siglum"
            siglum.teach(chars="0123456789").save(bundle)
            server, port, _ = start("serve", bundle, "--port", "0")
            clients = [Client(number, port) for number in range(options.clients)]
        else:
            host = ("--host", "0.0.0.0")
            server, port, path = start("studio", f"{folder}/signs", "--no-browser", *host)
            teacher = Client(0, port, path)
            names = [f"sign {number}" for number in range(SIGNS)]
            ids = teacher.request("/api/classes", {"names": names})["ids"]
            link = "/j/" + teacher.request("/api/classroom")["link"].rpartition("/")[2]
            clients = [Client(number, port, link) for number in range(options.clients)]
            for number, client in enumerate(clients):
                client.request("/api/classroom/join", {"name": f"Pupil {number}"})
                client.ids = ids
        for client in clients:
            client.until = time.monotonic() + options.seconds
            client.start()
        for client in clients:
            client.join()
        drawings = [] if options.service else Client(0, port, path).request("/api/drawings")
        server.send_signal(signal.SIGINT)
        server.wait(30)
    stored, saved = {one["id"] for one in drawings}, [id for one in clients for id in one.saved]
    errors = sum((client.errors for client in clients), Counter[int]())
    print(f"{options.clients} clients for {options.seconds:g} s")
    for path in (clients[0].path, *(["/api/drawings"] if saved else [])):
        times = [1000 * t for client in clients for t in client.times[path]]
        half, most, longest = np.percentile(times, [50, 95, 100])
        print(f"{path:<18} {len(times):,}: median {half:.0f}, p95 {most:.0f}, max {longest:.0f} ms")
    print(f"errors             {dict(errors) or 'none'}")
    if saved:
        print(f"lost               {len({*saved} - stored)} of {len(saved)} saved drawings")


if __name__ == "__main__":
    main()
