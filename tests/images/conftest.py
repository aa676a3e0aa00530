"""Every test of this folder has a cache of its own."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, which SIGLUM_CACHE names."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SIGLUM_CACHE", str(folder))
    return folder
