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


class Watch:
    """Notes what is packed and how far it has come."""

    def __init__(self) -> None:
        self.packed: list[tuple[int, int]] = []

    def __call__(self, what: str, done: int, total: int) -> None:
        if what.startswith("packing"):
            self.packed.append((done, total))


def load(root: Path, watch: Watch | None = None, **settings: object) -> ImageSet:
    preprocess = Preprocess.model_validate(settings)
    return sources.load(f"folder:{root}", preprocess=preprocess, progress=watch or Watch())


def values(images: ImageSet) -> list[int]:
    return images.images.max(axis=(1, 2, 3)).tolist()


def packs(cache_folder: Path) -> list[Path]:
    return sorted((cache_folder / "packs").glob("*.bin"))


def test_a_set_is_decoded_once_wherever_it_is_moved(tmp_path: Path, cache_folder: Path) -> None:
    root, first, second = write_folder(tmp_path / "signs"), Watch(), Watch()

    before, after = load(root, first), load(root.rename(tmp_path / "moved"), second)

    assert (first.packed, second.packed) == ([(4, 4)], [])
    assert before.fingerprint == after.fingerprint
    for settings in ({"size": 32}, {"channels": 3}, {"resize": "stretch"}, {"polarity": "keep"}):
        load(tmp_path / "moved", **settings)
    assert len(packs(cache_folder)) == 5


def test_a_pack_holds_what_decoding_and_resizing_give(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    shapes = [(20, 40), (40, 20), (28, 28), (9, 9), (61, 60)]
    raws = [
        encoded(Image.fromarray(random.randint(0, 120, (*shape, 3)).astype(np.uint8)))
        for shape in shapes
    ]
    root = write_folder(tmp_path / "signs", {f"a/{i}.png": raw for i, raw in enumerate(raws)})
    for channels in (1, 3):
        preprocess = Preprocess(size=24, channels=channels, resize="stretch")
        expected = [decode.resize(decode.decode(raw, channels), preprocess) for raw in raws]

        images = sources.load(f"folder:{root}", preprocess=preprocess)

        np.testing.assert_array_equal(images.images, np.stack(expected))
        assert images.originals is not None
        assert images.originals["size"].tolist() == [list(shape) for shape in shapes]


def test_dark_ink_is_inverted_and_known_to_have_been_dark(tmp_path: Path) -> None:
    def dark(value: int) -> bytes:
        return encoded(Image.fromarray(255 - np.asarray(decode.decode(png(value))[0])))

    root = write_folder(tmp_path / "signs", {**SIGNS, "c/0.png": dark(50), "c/1.png": dark(60)})

    images = load(root)

    assert values(images) == [*VALUES, 50, 60]
    assert images.originals is not None
    assert images.originals["light"].tolist() == [False] * 4 + [True] * 2
    assert load(root, polarity="keep").images[4:, 0, 0, 0].tolist() == [255, 255]


def test_equal_pixels_have_equal_digests(tmp_path: Path) -> None:
    """Whatever file they are in: the digest is of pixels, before they are resized."""
    image = Image.fromarray(np.random.RandomState(0).randint(0, 256, (40, 30)).astype(np.uint8))
    files = {
        "a/0.png": encoded(image),
        "a/1.png": encoded(image, compress_level=0),
        "b/0.bmp": encoded(image, "BMP"),
        "b/1.png": encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        "b/2.png": encoded(image.resize((60, 80))),
    }

    originals = load(write_folder(tmp_path / "signs", files)).originals

    assert originals is not None
    assert len({*originals["digest"][:3].tolist()}) == 1
    assert len({*originals["digest"].tolist()}) == 3


def make(count: int = 6, side: int = 20) -> ImageSet:
    pixels = np.random.RandomState(0).randint(0, 100, (count, side, side)).astype(np.uint8)
    return ImageSet.from_arrays(pixels, np.arange(count) % 2, ("a", "b"), "mine")


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 1, 3], [5, 4, 3, 2, 1, 0]])
def test_a_set_in_memory_is_packed_at_another_size(order: list[int]) -> None:
    """Once, although it is a part of another one: their fingerprints are equal."""
    part, preprocess, watch = make().subset(np.array(order)), Preprocess(size=32), Watch()
    alone = ImageSet.from_arrays(part.images, part.labels, part.classes)
    expected = np.stack([decode.resize(image, preprocess) for image in part.images])

    for images in (part, alone):
        rebuilt = cache.rebuild(images, preprocess, watch)
        np.testing.assert_array_equal(rebuilt.images, expected)
        np.testing.assert_array_equal(rebuilt.labels, part.labels)
    assert watch.packed == [(len(order), len(order))]


@pytest.mark.parametrize("damage", ["cut", "no images", "index cut", "index empty"])
def test_a_damaged_pack_is_written_again(tmp_path: Path, cache_folder: Path, damage: str) -> None:
    root, watch = write_folder(tmp_path / "signs"), Watch()
    load(root)
    (pack,) = packs(cache_folder)
    if damage == "no images":
        pack.unlink()
    else:
        size = {"cut": 100, "index cut": 100, "index empty": 0}[damage]
        os.truncate(pack.with_suffix(".npz") if "index" in damage else pack, size)

    assert values(load(root, watch)) == values(load(root, watch)) == VALUES
    assert len(watch.packed) == 1


def test_what_a_killed_process_left_is_removed_after_a_day(
    tmp_path: Path, cache_folder: Path
) -> None:
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
