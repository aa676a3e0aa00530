"""What several test folders share: a cache of their own, a small folder of signs, a small run."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image, ImageDraw

settings.register_profile("siglum", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("siglum")

CLASSES = ("cross", "ring", "stroke")
LONG = ("test_cluster", "test_docs", "test_study", "test_examine", "test_export", "test_grade")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that two processes end at about the same time."""
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep packs away from the user's own cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGLUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def draw_sign(kind: str, random: np.random.RandomState, size: int = 28) -> Image.Image:
    """Draw a cross, a ring or a stroke, dark on light, somewhere near the middle."""
    picture = Image.new("L", (size, size), 255)
    draw = ImageDraw.Draw(picture)
    x, y = size / 2 + random.uniform(-3, 3, size=2)
    r = size * random.uniform(0.2, 0.35)
    if kind == "ring":
        draw.ellipse([x - r, y - r, x + r, y + r], outline=0, width=2)
    else:
        draw.line([x - r, y - r, x + r, y + r], fill=0, width=2)
    if kind == "cross":
        draw.line([x - r, y + r, x + r, y - r], fill=0, width=2)
    return picture


def write_signs(folder: Path, count: int = 24, seed: int = 0) -> Path:
    """Write `count` pictures of each of three signs, a folder a class."""
    random = np.random.RandomState(seed)
    for kind in CLASSES:
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            draw_sign(kind, random).save(folder / kind / f"w{number % 4}_{number:02}.png")
    return folder


@pytest.fixture(scope="session")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 72 pictures of three signs by four writers."""
    return write_signs(tmp_path_factory.mktemp("signs") / "signs")


@pytest.fixture(scope="session")
def later_signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 30 further pictures, for a test."""
    return write_signs(tmp_path_factory.mktemp("later") / "later", count=10, seed=1)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real data sets: SIGLUM_DATA, or shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SIGLUM_DATA", beside))
    if not folder.is_dir():
        pytest.skip("no real data sets here: SIGLUM_DATA names no folder")
    return folder
