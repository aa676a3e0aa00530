"""Shards: exported, trained on as their source is, and read in little memory."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from siglum.config import Preprocess
from siglum.images import shards, sources
from siglum.images.imageset import ImageSet
from siglum.lab.training_loop import Data
from tests.cli.conftest import Call

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pip install 'siglum[parquet]'")

NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(49, num_classes))
"""
REPORT_PEAK = """
from siglum import cli
cli.run(sys.argv[1:])
print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
sys.exit()
"""


@pytest.fixture
def folder(siglum: Call, signs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shards of 72 images, 5 in each."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 5 * 28 * 28)
    done = siglum("export", f"folder:{signs}", "-o", tmp_path / "signs.parquet")
    assert done.stdout == f"{tmp_path / 'signs.parquet'}: 72 images\n", done.stderr
    return tmp_path / "signs.parquet"


def test_shards_hold_the_images_of_their_source(folder: Path, signs: Path) -> None:
    """Also for other programs: a table of bytes and class names."""
    images, source = sources.load(f"shards:{folder}"), sources.load(f"folder:{signs}")
    table = parquet.read_table(folder).to_pydict()

    def contents(one: ImageSet) -> list[tuple[bytes, str]]:
        names = [one.classes[label] for label in one.labels]
        return sorted(zip([image.tobytes() for image in one.images], names, strict=True))

    assert len([*folder.iterdir()]) == 15
    assert images.classes == source.classes
    assert contents(images) == contents(source)
    assert sorted(zip(table["image"], table["label"], strict=True)) == contents(source)


def test_an_epoch_reads_a_few_shards_at_a_time(folder: Path) -> None:
    images = sources.load(str(folder))
    data = Data(images.subset(np.arange(0, 72, 2)))
    order = data.rows(seed=3, epoch=0)

    assert sorted(order.tolist()) == [*range(36)]
    assert order.tolist() == data.rows(seed=3, epoch=0).tolist()
    assert order.tolist() != data.rows(seed=3, epoch=1).tolist()
    used = data.train.rows[order] // 5  # the shard of each image
    assert len({*used[:8].tolist()}) == shards.WINDOW and len({*used.tolist()}) == 15


def test_trains_on_shards(siglum: Call, folder: Path, tmp_path: Path) -> None:
    """In a folder with the shards of a second export, and named by a URI."""
    shutil.copytree(folder, folder / "more")
    done = siglum(
        *("train", f"shards:{folder.as_uri()}", "--epochs", 3, "--batch-size", 16),
        *("-o", tmp_path / "run", "--threads", 1),
    )

    assert done.returncode == 0, done.stderr
    assert "129 training images" in done.stdout
    assert "of 15)" in siglum("evaluate", tmp_path / "run").stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["data", "shards:s3x://bucket/signs"], "Cannot read shards:s3x://bucket/signs: "),
        (["train", "{folder}", "--size", "32"], "must be used as it was exported, with size 28: "),
        (["train", "shards:{empty}"], "has no shards, such as train-00000.shard.parquet."),
        (["data", "{damaged}"], "Cannot read .*all-00007.shard.parquet': Parquet magic bytes"),
        (["data", "{mixed}"], "not all files are shards that were exported with the same"),
        (["export", "mnist5k", "-o", "{folder}"], "exists already. Choose another name."),
        (["export", "{folder}", "--size", "9", "-o", "x.html"], "size needs images: -o NAME.par"),
    ],
)
def test_mistakes(
    siglum: Call, folder: Path, signs: Path, tmp_path: Path, arguments: list[str], reason: str
) -> None:
    damaged, mixed = tmp_path / "damaged", tmp_path / "mixed"
    for path in (damaged, mixed):
        shutil.copytree(folder, path)
    (damaged / "all-00007.shard.parquet").write_bytes(b"PAR1, but no more")
    assert siglum("export", signs, "--size", 16, "-o", mixed / "small.parquet").returncode == 0
    (tmp_path / "empty").mkdir()
    places = {
        "empty": tmp_path / "empty",
        "folder": folder,
        "signs": signs,
        "damaged": damaged,
        "mixed": mixed,
    }

    done = siglum(*(argument.format(**places) for argument in arguments))

    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert re.search(reason, done.stderr), done.stderr


def test_memory_stays_while_a_set_grows_tenfold(
    siglum_process: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc here, which tells the peak of memory")
    monkeypatch.setattr(shards, "SHARD_BYTES", 2**20)
    (tmp_path / "net.py").write_text(NETWORK)
    options = ["--model", f"{tmp_path}/net.py:Net", "--epochs", 1, "--batch-size", 500]
    peaks = []
    for count in (10_000, 100_000):
        labels = np.arange(count) % 10
        images = np.random.RandomState(0).randint(256, size=(count, 28, 28), dtype=np.uint8)
        path = tmp_path / f"{count}.parquet"
        shards.write(
            [("all", ImageSet.from_arrays(images, labels, "0123456789"))], path, Preprocess()
        )
        run = ["-o", tmp_path / f"run{count}", "--threads", 1, "--empty-augment"]
        done = siglum_process("train", f"shards:{path}", *options, *run, start=REPORT_PEAK)
        peaks.append(int(done.stdout.splitlines()[-1]) / 1024)

    grown = 90_000 * 28 * 28 / 2**20  # 67 MB
    assert peaks[1] - peaks[0] < grown / 2, peaks
