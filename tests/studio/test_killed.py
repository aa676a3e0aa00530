"""A Studio that is killed, again and again, has every drawing of which it said that it is kept."""

import http.client
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from visiting import Client, drawing_of, serve

from siglum.images import sources
from siglum.recogniser import bundle as bundles

KILLS = 10
KINDS = ("ring", "cross", "stroke")


@pytest.fixture(scope="module")
def backbone_file(tmp_path_factory: pytest.TempPathFactory, backbone) -> Path:
    """The small backbone as a file."""
    path = tmp_path_factory.mktemp("backbone") / "small.siglum"
    bundles.save(backbone.bundle, path)
    return path


@contextmanager
def process(folder: Path, backbone_file: Path) -> Iterator[tuple[BaseProcess, Client]]:
    """A Studio in a process of its own, which begins where all is imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["siglum.studio.app", "onnxruntime", "visiting"])
    here, there = context.Pipe(duplex=False)
    ports: Connection = here
    running = context.Process(target=serve, args=(folder, backbone_file, there))
    running.start()
    there.close()
    try:
        yield running, Client(ports.recv())
    finally:
        running.kill()
        running.join()
        ports.close()


def send(client: Client, ids: list[str], number: int) -> None:
    """Keep a drawing under a key of its own."""
    kind = number % 3
    client.teach(ids[kind], drawing_of(KINDS[kind], number), key=f"{number:016x}")


def draw(client: Client, ids: list[str], first: int, begun: list[int], kept: set[int]) -> None:
    """Draw until nobody answers; note what was begun, and what was promised."""
    for number in range(first, first + 1000):
        begun.append(number)
        try:
            send(client, ids, number)
        except (OSError, http.client.HTTPException):
            return
        kept.add(number)


@pytest.mark.slow
def test_a_killed_studio_has_every_drawing_that_it_promised(
    tmp_path: Path, backbone_file: Path
) -> None:
    """Killed at any moment while three people draw, who send again what had no answer."""
    random = np.random.RandomState(0)
    kept: set[int] = set()
    begun: list[int] = []
    for kills in range(KILLS + 1):
        with process(tmp_path / "my-signs", backbone_file) as (running, client):
            ids = client.add(*KINDS)
            there = {int(sample["id"], 16): sample for sample in client.get("/api/samples")}
            assert kept <= there.keys(), f"after {kills} kills"
            assert there.keys() <= set(begun)  # and nothing was made up
            assert all(ids[number % 3] == there[number]["class"] for number in there)
            for number in set(begun) - kept:
                send(client, ids, number)
                kept.add(number)
            if kills == KILLS:
                break
            people = [
                threading.Thread(
                    target=draw, args=(client, ids, 10_000 * kills + 1000 * who, begun, kept)
                )
                for who in range(3)
            ]
            for person in people:
                person.start()
            enough = len(there) + random.randint(1, 5)
            while len(kept) < enough and all(person.is_alive() for person in people):
                time.sleep(0.002)
            time.sleep(random.uniform(0, 0.03))
            assert running.pid is not None
            os.kill(running.pid, signal.SIGKILL)
            for person in people:
                person.join(20)

    assert len(kept) > 2 * KILLS
    assert len(sources.load(f"folder:{tmp_path / 'my-signs'}")) == len(kept) == len(begun)


@pytest.mark.slow
def test_ctrl_c_ends_it_cleanly(tmp_path: Path, backbone_file: Path) -> None:
    """Also while a page listens for news."""
    folder = tmp_path / "my-signs"
    command = [sys.executable, "-m", "siglum", "studio", str(folder), "--no-browser"]
    command += ["--backbone", str(backbone_file)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == f"{folder}: 0 signs, 0 drawings\n"
        line = running.stdout.readline()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/   Ctrl-C ends it\.\n", line)
        assert found, line
        Client(int(found[1])).add("a", "b")
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=20)
        connection.request("GET", "/api/events")
        stream = connection.getresponse()
        assert stream.readline().startswith(b"data: ")
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()
        code = running.wait(20)
        stream.close()
        connection.close()

    assert (code, rest) == (0, f"Everything is kept in {folder}.\n")
