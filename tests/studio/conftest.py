"""A Studio on a real socket, with a small backbone, and somebody at its page."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from visiting import Client, serving

from siglum.studio import server
from siglum.studio.studio import Studio

sys.path.append(str(Path(__file__).resolve().parents[1] / "recogniser"))


@pytest.fixture(scope="session")
def backbone():
    """A network whose features are a random projection."""
    from small_backbone import a_backbone

    return a_backbone()


@pytest.fixture
def studio(tmp_path: Path, backbone) -> Iterator[Studio]:
    """An open folder without anything in it."""
    with contextlib.closing(Studio(tmp_path / "my-signs", backbone)) as opened:
        yield opened


@pytest.fixture
def client(studio: Studio) -> Iterator[Client]:
    """Somebody at the page of that Studio."""
    with serving(studio, server.listen("127.0.0.1", 0)) as port:
        yield Client(port)
