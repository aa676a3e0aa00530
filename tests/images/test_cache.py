"""Images are decoded once, into packs that survive damage, full disks and other processes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from making import SIGNS, VALUES, encoded, png, write_folder
from PIL import Image

from siglum.config import Preprocess
from siglum.images import cache, decode, sources
from siglum.images.imageset import ImageSet


def load(root: Path, **settings: object) -> ImageSet:
    return sources.load(f"folder:{root}", preprocess=Preprocess.model_validate(settings))


def values(images: ImageSet) -> list[int]:
    return images.images.max(axis=(1, 2, 3)).tolist()


def packs(cache_folder: Path) -> list[Path]:
    return sorted((cache_folder / "packs").glob("*.bin"))


def test_a_set_is_decoded_once_wherever_it_is_moved(tmp_path: Path, cache_folder: Path) -> None:
    root = write_folder(tmp_path / "signs")

    before, after = load(root), load(root.rename(tmp_path / "moved"))

    assert before.fingerprint == after.fingerprint
    assert len(packs(cache_folder)) == 1
    for settings in ({"size": 32}, {"channels": 3}, {"resize": "stretch"}, {"polarity": "keep"}):
        load(tmp_path / "moved", **settings)
    assert len(packs(cache_folder)) == 5


def test_dark_ink_is_inverted_and_known_to_have_been_dark(tmp_path: Path) -> None:
    def dark(value: int) -> bytes:
        return encoded(Image.fromarray(255 - np.asarray(decode.decode(png(value))[0])))

    root = write_folder(tmp_path / "signs", {**SIGNS, "c/0.png": dark(50), "c/1.png": dark(60)})

    assert values(load(root)) == [*VALUES, 50, 60]
    assert load(root, polarity="keep").images[4:, 0, 0, 0].tolist() == [255, 255]


def test_a_set_in_memory_is_packed_at_another_size(cache_folder: Path) -> None:
    """Once, although it is a part of another one: their fingerprints are equal."""
    pixels = np.random.RandomState(0).randint(0, 100, (6, 20, 20)).astype(np.uint8)
    whole = ImageSet.from_arrays(pixels, np.arange(6) % 2, ("a", "b"), "mine")
    part, preprocess = whole.subset(np.array([5, 1, 3])), Preprocess(size=32)
    alone = ImageSet.from_arrays(part.images, part.labels, part.classes)
    expected = np.stack([decode.resize(image, preprocess) for image in part.images])

    for images in (part, alone):
        rebuilt = cache.rebuild(images, preprocess)
        np.testing.assert_array_equal(rebuilt.images, expected)
        np.testing.assert_array_equal(rebuilt.labels, part.labels)
    assert len(packs(cache_folder)) == 1


@pytest.mark.parametrize("damage", ["cut", "no images", "index cut", "index empty"])
def test_a_damaged_pack_is_written_again(tmp_path: Path, cache_folder: Path, damage: str) -> None:
    root = write_folder(tmp_path / "signs")
    load(root)
    (pack,) = packs(cache_folder)
    if damage == "no images":
        pack.unlink()
    else:
        size = {"cut": 100, "index cut": 100, "index empty": 0}[damage]
        os.truncate(pack.with_suffix(".npz") if "index" in damage else pack, size)

    assert values(load(root)) == values(load(root)) == VALUES


def test_leftovers_of_killed_processes_live_for_a_day(tmp_path: Path, cache_folder: Path) -> None:
    old, new = (cache_folder / "packs" / f".{name}.tmp" for name in ("old", "new"))
    for file in (old, new):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"half")
    os.utime(old, (0, 0))

    load(write_folder(tmp_path / "signs"))

    assert not old.exists() and new.exists()


PROGRAM = """
import sys, warnings
from siglum.images import sources
from siglum.config import Preprocess
from siglum.errors import DataError
warnings.simplefilter("error")
{before}
try:
    print(sources.load(sys.argv[1], preprocess=Preprocess(size=256)).fingerprint)
except DataError as error:
    print(error)
"""


def run(program: str, spec: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, spec]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("limit", [1000, 100_000])
def test_a_file_that_may_not_grow_leaves_nothing_behind(
    tmp_path: Path, cache_folder: Path, limit: int
) -> None:
    """The system's limit on the size of files; the second is met while images are written."""
    root = write_folder(tmp_path / "signs")
    before = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    out, err = run(PROGRAM.format(before=before), f"folder:{root}").communicate()

    assert err == ""
    remedy = r"Free some space, or set SIGLUM_CACHE to another folder\."
    assert re.fullmatch(rf"Cannot write .*: file too large\. .* needs 0 MB.* {remedy}\n", out)
    assert [*(cache_folder / "packs").iterdir()] == []


def test_without_a_cache_folder_a_temporary_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder(tmp_path / "signs")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SIGLUM_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with pytest.warns(UserWarning, match="Cannot write to the cache folder .* Set SIGLUM_CACHE"):
        assert values(load(root)) == VALUES


def test_two_processes_may_pack_the_same_folder_at_once(tmp_path: Path, cache_folder: Path) -> None:
    root = write_folder(tmp_path / "signs", {f"a/{i}.png": png(i % 256) for i in range(300)})
    both = [run(PROGRAM.format(before=""), f"folder:{root}") for _ in range(2)]
    results = [(*process.communicate(), process.returncode) for process in both]

    assert results[0] == results[1] and results[0][1:] == ("", 0)
    assert len(packs(cache_folder)) == 1
