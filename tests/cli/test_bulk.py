"""Predictions in bulk: every row once, in order, whatever is killed in between."""

import io
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from siglum.recogniser import bundle as bundles
from tests.cli.conftest import Call
from tests.recogniser.small_bundles import CLASSES, a_bundle, by_hand, pictures

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
pa = pytest.importorskip("pyarrow")

ROWS, SHARDS, BROKEN = 20_000, 4, 777  # images, files, every which row is no image
PICTURES = pictures(ROWS)


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle and shards of 20,000 images."""
    home = tmp_path_factory.mktemp("bulk")
    bundles.save(a_bundle(), home / "signs.siglum")
    images = [png(one[0]) if n % BROKEN else b"broken" for n, one in enumerate(PICTURES)]
    (home / "shards").mkdir()
    for number in range(SHARDS):
        shard = images[number * ROWS // SHARDS : (number + 1) * ROWS // SHARDS]
        table = pa.table({"id": range(len(shard)), "image": shard})
        parquet.write_table(table, home / "shards" / f"{number}.parquet", row_group_size=700)
    return home


def start(place: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start to predict the shards, and return once a part is written."""
    program = "from siglum.cli import main; main()"
    command = [sys.executable, "-c", program, "predict", "signs.siglum", "shards", *arguments]
    process = subprocess.Popen(command, cwd=place)
    deadline = time.monotonic() + 60
    while not list(place.glob("killed.parquet/part-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    return process


def check(out: Path) -> None:
    """Assert that the table has every row once, in order, with the predictions by hand."""
    table = parquet.read_table(out)
    logits = by_hand(PICTURES) / 2
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    broken = np.arange(ROWS) % BROKEN == 0

    assert table.column_names == ["file", "row", "label", "probability", "set", "rejected", "error"]
    names = [Path(name).stem for name in table["file"].to_pylist()]
    assert names == np.repeat(np.arange(SHARDS), ROWS // SHARDS).astype(str).tolist()
    assert table["row"].to_pylist() == [*range(ROWS // SHARDS)] * SHARDS
    labels = np.array(CLASSES)[logits.argmax(axis=1)]
    expected = np.where(broken, None, labels)
    assert table["label"].to_pylist() == expected.tolist()
    values = table["probability"].to_numpy()
    np.testing.assert_allclose(values[~broken], probs.max(axis=1)[~broken], rtol=1e-4)
    errors = table["error"].to_pylist()
    assert [error is not None and "not an image" in error for error in errors] == broken.tolist()


def test_a_killed_job_continues_where_it_was(siglum: Call, place: Path) -> None:
    process = start(place, "-o", "killed.parquet", "--jobs", "1")
    process.kill()
    process.wait()
    written = {path: path.stat().st_mtime_ns for path in place.glob("killed.parquet/part-*")}
    done = siglum("predict", "signs.siglum", "shards/*", "-o", "killed.parquet", cwd=place)

    assert 0 < len(written) < len(list(place.glob("killed.parquet/part-*")))
    assert done.returncode == 0, done.stderr
    unreadable = len(range(0, ROWS, BROKEN))
    rows = f"20,000 rows, {unreadable} of them not read: column error"
    assert done.stdout == f"killed.parquet: {rows}\n"
    assert all(path.stat().st_mtime_ns == before for path, before in written.items())
    check(place / "killed.parquet")


def test_a_cluster_gives_the_same_table_if_an_actor_is_killed(siglum: Call, place: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    out, killed = place / "cluster.parquet", []

    def kill_an_actor() -> None:
        while not list(out.glob("part-*")):
            time.sleep(0.05)
        children = psutil.Process().children(recursive=True)
        killed.extend(one for one in children if "MapWorker" in one.cmdline()[0])
        killed[0].kill()

    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=1)
        thread = threading.Thread(target=kill_an_actor, daemon=True)
        thread.start()
        done = siglum(
            *("predict", "signs.siglum", "shards", "-o", out, "--ray", cluster.address), cwd=place
        )
    finally:
        cluster.shutdown()

    assert done.returncode == 0, done.stderr
    assert len(killed) == 2  # actors
    check(out)


def test_files_folders_addresses_and_columns_of_hugging_face(
    siglum: Call, place: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    raw = [png(one[0]) for one in PICTURES[:5]]
    (folder / "a.png").write_bytes(raw[0])
    (folder / "deep" / "b.png").write_bytes(raw[1])
    (folder / "notes.txt").write_text("x")
    column = [{"bytes": raw[2], "path": "c.png"}, {"bytes": None, "path": "d.png"}, None]
    parquet.write_table(pa.table({"thumb": raw[3:4] * 3, "photo": column}), tmp_path / "x.parquet")
    done = siglum(
        *("predict", place / "signs.siglum", "images", "x.parquet", f"file://{tmp_path}/images/*"),
        *("--column", "photo", "-o", "answers.parquet"),
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr
    rows = parquet.read_table(tmp_path / "answers.parquet").to_pylist()
    labels = [CLASSES[label] for label in by_hand(PICTURES[:3]).argmax(axis=1)]
    names = ["a.png", "b.png", "x.parquet", "x.parquet", "x.parquet", "a.png"]
    assert [Path(row["file"]).name for row in rows] == names
    assert [row["label"] for row in rows] == [*labels, None, None, labels[0]]
    assert [row["error"] for row in rows] == [*[None] * 3, *["empty file"] * 2, None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("other.siglum shards -o old.parquet", "has the predictions of another recogniser."),
        ("signs.siglum shards -o old.parquet", "has the predictions of another input."),
        ("signs.siglum one.parquet -o one.parquet", "one.parquet exists already."),
        ("signs.siglum none.parquet -o b.parquet", "No Parquet or image files in "),
        ("signs.siglum *.jpg -o b.parquet", "No Parquet or image files in "),
        ("signs.siglum text.parquet -o b.parquet", "has no column of encoded images, but 'text'"),
        ("signs.siglum one.parquet --column x -o b.parquet", "images called 'x', but 'image'"),
        ("signs.siglum damaged.parquet -o b.parquet", "damaged.parquet: "),
        ("signs.siglum foo://x -o b.parquet", "Cannot read foo://x: "),
        ("signs.siglum one.parquet -o b.parquet --jobs -1", "jobs must be at least 0, got -1."),
        ("signs.siglum one.parquet -o b.parquet --json", "allows only --column, --jobs and --ray"),
        ("signs.siglum one.parquet --jobs 2", "column, jobs and ray need -o NAME.parquet."),
        ("shards one.parquet -o b.parquet", "needs a bundle: siglum export shards -o "),
        ("signs.siglum -o b.parquet", "No image given."),
        ("signs.siglum one.parquet -o new.parquet --ray 127.0.0.1:1", "Cannot connect to a Ray"),
    ],
)
def test_a_mistake_is_one_line(siglum: Call, place: Path, arguments: str, message: str) -> None:
    if not (place / "old.parquet").exists():
        bundles.save(a_bundle(classes=("x", "y", "z")), place / "other.siglum")
        parquet.write_table(pa.table({"image": [png(PICTURES[0][0])]}), place / "one.parquet")
        parquet.write_table(pa.table({"text": ["x"]}), place / "text.parquet")
        (place / "damaged.parquet").write_bytes(b"PAR1")
        siglum("predict", "signs.siglum", "one.parquet", "-o", "old.parquet", cwd=place)
    done = siglum("predict", *arguments.split(), cwd=place)

    assert done.returncode == 2 and not done.stdout
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert not (place / "b.parquet").exists()
