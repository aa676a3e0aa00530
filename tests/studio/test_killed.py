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


def draw(client: Client, ids: list[str], seed: int, begun: list[int], kept: dict[str, str]) -> None:
    """Draw until nobody answers; note how often it was begun, and what was promised."""
    for number in range(1000):
        begun.append(number)
        class_ = ids[number % 3]
        try:
            kept[client.teach(class_, drawing_of(KINDS[number % 3], seed + number))["id"]] = class_
        except (OSError, http.client.HTTPException):
            return


@pytest.mark.slow
def test_a_killed_studio_has_every_drawing_that_it_promised(
    tmp_path: Path, backbone_file: Path
) -> None:
    """Killed at any moment while three people draw."""
    random = np.random.RandomState(0)
    kept: dict[str, str] = {}
    begun: list[int] = []
    for kills in range(KILLS + 1):
        with process(tmp_path / "my-signs", backbone_file) as (running, client):
            there = {sample["id"]: sample["class"] for sample in client.get("/api/samples")}
            assert kept.items() <= there.items(), f"after {kills} kills"
            assert len(there) <= len(begun)  # and nothing was made up
            if kills == KILLS:
                break
            if not kills:
                client.add(*KINDS)
            ids = [one["id"] for one in client.get("/api/state")["classes"]]
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
