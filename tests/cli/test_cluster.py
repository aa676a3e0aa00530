"""Studies on a Ray cluster of two nodes, which are processes of this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'siglum[cluster]'")
FLAGS = ("--precision", "float32", "--threads")
TEXT = """
seeds = [0, 1]
[base]
data = "folder:{signs}"
model = "mnist_net"
batch_size = 8
epochs = 80
[parents.first]
data = "folder:{signs}"
model = "mnist_net"
batch_size = 8
epochs = 50
[variants.after]
init = "parents.first"
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with a CPU each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        head = {"num_cpus": 1, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.add_node(num_cpus=1)
        yield cluster
        cluster.shutdown()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_study_survives_its_driver_and_a_node_with_the_same_bits(
    siglum, cluster: Any, signs: Path, tmp_path: Path
) -> None:
    file, folders = tmp_path / "kill.toml", (tmp_path / "one", tmp_path / "many")
    file.write_text(TEXT.format(signs=signs))
    arguments = ["study", "run", str(file), *FLAGS, "1", "--ray", cluster.address]
    arguments += ["--folder", str(folders[1])]

    def unfinished() -> int:
        logs = folders[1].glob("*/log.jsonl")
        return sum(not log.with_name("result.json").exists() for log in logs)

    def kill_node() -> None:
        wait_for(lambda: unfinished() > 1)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    with subprocess.Popen([sys.executable, "-m", "siglum", *arguments]) as driver:
        wait_for(lambda: unfinished() > 0)
        driver.kill()
    with ThreadPoolExecutor() as pool:
        killing = pool.submit(kill_node)
        done = siglum(*arguments)
        killing.result()
    alone = siglum("study", "run", file, "--folder", folders[0], *FLAGS, 1)

    assert done.returncode == 0 and "4 finished, 0 failed, of 4" in done.stdout, done.stderr
    assert alone.returncode == 0, alone.stderr
    for run in [run for run in folders[0].iterdir() if run.name != "locks"]:
        for name in ("last.safetensors", "predictions.npz"):
            assert (run / name).read_bytes() == (folders[1] / run.name / name).read_bytes()


def test_a_full_cluster_is_one_line(siglum, cluster: Any, signs: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "study.toml", tmp_path / "siglum-99.dist-info"
    file.write_text(f'[base]\ndata = "folder:{signs}"\nepochs = 1\nbatch_size = 8')
    other.mkdir()
    (other / "METADATA").write_text("Name: siglum\nVersion: 99")
    paths = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    cluster.add_node(num_cpus=2, env_vars={"PYTHONPATH": paths})
    for address, *options, message in (
        ("127.0.0.1:1", "Cannot connect to a Ray cluster at '127.0.0.1:1': Connection refused."),
        ("local", "--jobs", 2, "jobs must be 1 with --ray, which decides itself, got 2."),
        (cluster.address, "--threads", 9, "No node of the cluster has 9 CPUs for a training."),
        (cluster.address, "--threads", 2, " has siglum 99, but the study runs with "),
    ):
        call = siglum("study", "run", file, "--folder", tmp_path / "r", "--ray", address, *options)
        assert call.returncode == 2 and message in call.stderr, call.stderr
        assert call.stderr.count("\n") == 1 and "Traceback" not in call.stderr
    assert not list(tmp_path.glob("r/*/*.json"))
