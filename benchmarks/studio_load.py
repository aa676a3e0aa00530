"""A class-room: many people draw at one Studio at once, and nothing may be lost.

    python -m benchmarks.studio_load --clients 50 --seconds 60

Run it on a quiet machine; the people are simulated on the same processors. The Studio is a process
of its own, as `siglum studio` starts it. Each person draws a sign in a second and a half, has it
read while drawing as the page does (one question at a time, and a rest of four times as long as the
answer took), keeps it, and thinks for about as long. Printed are the times of the answers, as the
person meets them, and what of all that was promised is there at the end.
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
from pathlib import Path
from typing import Any

import numpy as np

DRAWS = 1.5  # seconds with the pen down
THINKS = 1.5  # seconds before the next sign
LEAST, RESTS = 0.06, 4  # seconds between two questions; times as long as the answer took
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


class Person(threading.Thread):
    """Somebody who draws until the time is over."""

    def __init__(self, number: int, port: int, ids: list[str], until: float) -> None:
        super().__init__()
        self.name = f"w{number:02}"
        self.random = np.random.RandomState(number)
        self.ids, self.until, self.port = ids, until, port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.reads: list[float] = []  # seconds
        self.keeps: list[float] = []
        self.kept: list[str] = []
        self.refused: dict[int, int] = {}

    def ask(self, path: str, value: Any, times: list[float]) -> Any:
        """POST; return the answer, or None where it was refused."""
        raw = json.dumps(value)
        headers = {
            "Content-Type": "application/json",
            "Origin": f"http://127.0.0.1:{self.port}",
        }
        begun = time.perf_counter()
        self.connection.request("POST", path, raw, headers)
        answer = self.connection.getresponse()
        found = answer.read()
        times.append(time.perf_counter() - begun)
        if answer.status != 200:
            self.refused[answer.status] = self.refused.get(answer.status, 0) + 1
            return None
        return json.loads(found)

    def run(self) -> None:
        """Draw, have it read, keep it, think."""
        time.sleep(self.random.uniform(0, DRAWS + THINKS))
        while time.monotonic() < self.until:
            sign = int(self.random.randint(SIGNS))
            seed, begun = int(self.random.randint(2**31)), time.monotonic()

            def drawn(share: float, sign: int = sign, seed: int = seed) -> dict[str, Any]:
                return a_drawing(sign, np.random.RandomState(seed), share)

            while (share := (time.monotonic() - begun) / DRAWS) < 1:
                self.ask("/api/recognise", {"drawing": drawn(max(share, 0.05))}, self.reads)
                time.sleep(max(LEAST, RESTS * self.reads[-1]))
            self.ask("/api/recognise", {"drawing": drawn(1)}, self.reads)
            sample = {"class": self.ids[sign], "drawing": drawn(1), "writer": self.name}
            answer = self.ask("/api/samples", sample, self.keeps)
            if answer is not None:
                self.kept.append(answer["id"])
            time.sleep(self.random.exponential(THINKS))


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
            first = Person(0, port, [], 0)
            ids = [first.ask("/api/classes", {"name": f"sign {n}"}, [])["id"] for n in range(SIGNS)]
            until = time.monotonic() + given.seconds
            people = [Person(number, port, ids, until) for number in range(given.clients)]
            for person in people:
                person.start()
            for person in people:
                person.join()
            first.connection.request("GET", "/api/samples")
            there = {one["id"] for one in json.loads(first.connection.getresponse().read())}
            running.send_signal(signal.SIGINT)
            running.wait(30)
        files = {path.stem for path in Path(folder).rglob("*.json")}
    kept = {name for person in people for name in person.kept}
    refused: dict[int, int] = {}
    for person in people:
        for status, times in person.refused.items():
            refused[status] = refused.get(status, 0) + times
    print(f"{given.clients} people for {given.seconds:g} s")
    print(f"read    {spread([one for person in people for one in person.reads])}")
    print(f"kept    {spread([one for person in people for one in person.keeps])}")
    print(f"refused {refused or 'none'}")
    print(f"lost    {len(kept - there)} of {len(kept)} in answers, {len(kept - files)} on disk")


if __name__ == "__main__":
    main()
