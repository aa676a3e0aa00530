"""Ray: a study's trainings, and predictions in bulk, on a cluster. Ray decides where each runs.

Images are loaded once, by the driver, and reach the tasks through Ray's object store. Runs are
written to the study's folder, which every node must see.
"""

import logging
import os
import platform
import socket
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from siglum import errors
from siglum.errors import ConfigError, DataError, RunError, SiglumError, first_line, require_extra
from siglum.formatting import count
from siglum.images.cache import Progress
from siglum.images.imageset import ImageSet
from siglum.lab import train_run
from siglum.lab.device import choose_device
from siglum.lab.search import LOCKS
from siglum.lab.study import POLL_SECONDS, STOPPED, Cell, run_cells
from siglum.recogniser.bulk import Part, Predictor, Unit

CONNECT_SECONDS = 10.0  # Ray itself tries for minutes
SAVE_SECONDS = 60.0  # until tasks that are to stop have saved their states


@dataclass(frozen=True)
class Driver:
    """The process that runs a study, as its tasks need to know it."""

    folder: Path  # its working directory
    token: Path  # a folder that exists while the study runs; tasks stop without it
    arguments: tuple[str, ...]
    versions: dict[str, str]
    device: tuple[str, str, int]  # name, precision, threads


@contextmanager
def connect(address: str) -> Iterator[None]:
    """Connect to the Ray cluster at `host:port`, or at `auto`, or start one of this machine."""
    host, _, port = address.rpartition(":")
    options = {"USAGE_STATS_ENABLED": "0"}  # nothing is sent to Ray's authors
    if host:  # a server that is not Ray's would be tried for minutes
        options |= {"NUM_REDIS_GET_RETRIES": "2", "py_gcs_connect_timeout_s": "5"}
    for name, value in options.items():
        os.environ.setdefault(f"RAY_{name}", value)
    with require_extra("A cluster", "cluster"):
        import ray
    local: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        if host:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        problem = f"Cannot connect to a Ray cluster at {address!r}: {reason}."
        remedy = "Start one with 'ray start --head', or use 'local'."
        raise ConfigError(f"{problem} {remedy}") from None
    try:
        yield
    finally:
        ray.shutdown()


def predict_on_ray(
    predictor: Predictor, units: Sequence[Unit], jobs: int, address: str
) -> Iterator[Part]:
    """Predict units by actors, each with a recogniser of one thread; 0 `jobs` are one per CPU."""
    if not units:
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray Data warns of its own actors
    with connect(address):
        import ray
        from ray.exceptions import RayError, RayTaskError

        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        cpus = int(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]
        if not cpus:
            raise ConfigError("The cluster has no CPU for predictions. Add a node.")
        recogniser: Any = Predictor  # each actor makes one
        parts = ray.data.from_items(list(units), override_num_blocks=len(units)).map(
            recogniser,
            fn_constructor_kwargs=vars(predictor),
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=min(jobs or cpus, cpus, len(units))),
        )
        try:
            yield from parts.iter_rows()
        except RayTaskError:
            raise  # a bug
        except RayError as error:
            raise DataError(f"The cluster cannot predict: {first_line(error)}.") from None


def run_on_ray(
    upcoming: Callable[[int, Container[Path]], list[Cell]],
    device: tuple[str, str, int],
    folder: Path,
    log: Callable[[str], None],
    progress: Progress,
) -> None:
    """Train the runs of a study, each as a task, until none is `upcoming`.

    `upcoming` is called with the number of tasks that can begin now, and the runs that are tasks;
    `log` with a line about each run that has ended.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    name, _, threads = device
    if threads < 1:
        raise ConfigError(f"threads must be at least 1 on a cluster, got {threads}.")
    needs = {"CPU": threads, "GPU": int(name == "cuda")}
    task = ray.remote(_train).options(num_cpus=threads, num_gpus=needs["GPU"])
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    fits = [min(n.get(kind, 0) // need for kind, need in needs.items() if need) for n in nodes]
    slots = int(sum(fits))
    if not slots:
        gpu = " and a GPU" * needs["GPU"]
        problem = f"No node of the cluster has {count(threads, 'CPU')}{gpu} for a training."
        remedy = "Add one, or change --threads and --device."
        raise ConfigError(f"{problem} {remedy}")
    tasks: dict[Path, Any] = {}  # the reference of each task, by its run
    images: dict[str, Any] = {}  # references of images, by the settings that decide them
    pending: dict[Any, Cell] = {}
    ended: list[Any] = []
    (folder / LOCKS).mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(prefix="driver-", dir=folder / LOCKS) as token:
            versions = train_run.versions()
            driver = Driver(Path.cwd(), Path(token), tuple(sys.argv), versions, device)
            while True:
                new = upcoming(slots - len(pending), tasks) if ended or not pending else []
                for cell in (cell for cell in new if cell.path not in tasks):
                    key = cell.config.model_dump_json(include=train_run.IMAGE_SETTINGS)
                    if key not in images:
                        images[key] = _put(train_run.load_images(cell.config, progress))
                    parent = None if cell.parent is None else tasks.get(cell.parent.path)
                    reference = task.remote(driver, cell, images[key], parent)
                    tasks[cell.path], pending[reference] = reference, cell
                if not pending:
                    return
                ended, _ = ray.wait([*pending], timeout=POLL_SECONDS)
                progress("trained", len(tasks) - len(pending), len(tasks))
                for cell in pending.values():
                    if cell.pruning is not None:
                        cell.pruning.report()
                for reference in ended:
                    cell = pending.pop(reference)
                    ray.get(reference)
                    log(f"{cell.path.name}  {cell.name}  {cell.state}  ({len(pending)} to go)")
    except KeyboardInterrupt:
        raise errors.Stopped(STOPPED.format(folder)) from None
    except RayTaskError as error:
        if isinstance(error.cause, SiglumError):
            raise error.cause from None
        raise
    except RayError as error:
        raise RunError(f"{cell.name} could not be trained: {first_line(error)}.") from None
    finally:  # the token is gone, so tasks stop
        ray.wait([*pending], num_returns=len(pending), timeout=SAVE_SECONDS)


def _put(images: dict[str, ImageSet]) -> Any:
    import ray
    from ray.exceptions import ObjectStoreFullError, OutOfDiskError

    try:
        return ray.put(images)
    except (ObjectStoreFullError, OutOfDiskError):
        size = sum(part.store.nbytes for part in images.values()) / 2**20
        problem = f"Ray's object store has no room for {size:,.0f} MB of images."
        remedy = "Start the nodes with a larger --object-store-memory, or free some disk."
        raise RunError(f"{problem} {remedy}") from None


def _train(driver: Driver, cell: Cell, images: dict[str, ImageSet], parent: None) -> None:
    """Train a run on a node; `parent` is the result of the task that trains its parent."""
    node = platform.node()
    for name, version in train_run.versions().items():
        if version != driver.versions[name]:
            problem = f"{node} has {name} {version}, but the study runs with"
            remedy = "Install the same versions on every node."
            raise RunError(f"{problem} {driver.versions[name]}. {remedy}")
    with suppress(OSError):  # paths may be relative
        os.chdir(driver.folder)
    if not driver.token.exists():
        remedy = "Share it with every node, at the same path."
        raise RunError(f"{node} does not see the folder {cell.path.parent}. {remedy}")
    sys.argv = [*driver.arguments]  # the run records the command
    device = choose_device(*driver.device)
    run_cells([cell], device, lambda *_: lambda record: not driver.token.exists(), images=images)
