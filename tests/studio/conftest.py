"""A Studio on a real socket, with a small backbone."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from studio_client import Client, serving

from siglum.studio.app import listen
from siglum.studio.snapshot import Studio

sys.path.append(str(Path(__file__).resolve().parents[1] / "recogniser"))


@pytest.fixture(scope="session")
def backbone():
    """A network whose features are a random projection."""
    from small_bundles import a_backbone

    return a_backbone()


@pytest.fixture
def studio(tmp_path: Path, backbone) -> Iterator[Studio]:
    """An empty set."""
    with closing(Studio(tmp_path / "my-signs", backbone)) as opened:
        yield opened


@pytest.fixture
def client(studio: Studio) -> Iterator[Client]:
    """A browser at that set."""
    with serving(studio, listen("127.0.0.1", 0)) as port:
        yield Client(port)
