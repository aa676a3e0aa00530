"""Grade hand-ins: `siglum evaluate` in a process for each, with limits of time and memory.

The limits stop mistakes, and are no sandbox against a hostile hand-in.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from siglum import stats
from siglum.errors import ConfigError, DataError, SiglumError
from siglum.files import cache_dir, parse_json
from siglum.formatting import printable
from siglum.images.cache import Progress, no_progress
from siglum.lab.models import find_class
from siglum.lab.run_folder import CONFIG
from siglum.lab.transfer import SUFFIXES

# Variables that a hand-in gets; others may hold secrets.
ENVIRONMENT = ("PATH", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT", "OMP_NUM_THREADS", "SIGLUM_DATA")
MAX_OUTPUT, TAIL = 2**24, 4096  # bytes of a result, and of the output that ends with an error
COLUMNS = ("accuracy", "low", "high", "hits", "total", "parameters", "seconds", "failure")


def grade(
    folder: Path,
    source: str,
    class_name: str | None = None,
    options: Sequence[str] = (),
    timeout: float = 60.0,
    memory: float = 4.0,
    progress: Progress = no_progress,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each hand-in: a folder, or a file with its weights. A failure has a reason.

    `options` of `siglum evaluate` describe the input of networks that are not runs. A process is
    killed with its children after `timeout` seconds. On Linux, it may allocate `memory` GiB and
    write files of that size.
    """
    paths = [*folder.resolve().iterdir()] if folder.is_dir() else []
    paths = sorted((p for p in paths if p.name[0] not in "._"), key=Path.is_dir)  # these prevail
    hand_ins = {path.name if path.is_dir() else path.stem: path for path in paths}
    if not hand_ins:
        raise ConfigError(f"{folder} must be a folder with a hand-in for each student.")
    for number, (student, path) in enumerate(sorted(hand_ins.items()), 1):
        progress(f"hand-in {student}", number, len(hand_ins))
        row: dict[str, Any] = {"student": student} | dict.fromkeys(COLUMNS, "")
        started = time.monotonic()
        try:
            arguments = _find_files(path, class_name, options)
            home = path if path.is_dir() else path.parent
            measured = _evaluate([*arguments, source], home, timeout, memory)
            rate = stats.Rate(**measured["accuracy"])
            row |= asdict(rate) | {"accuracy": rate.value, "parameters": measured["parameters"]}
        except SiglumError as error:
            row["failure"] = printable(str(error))
        except (KeyError, TypeError):
            row["failure"] = "Its output is not that of siglum evaluate."
        yield row | {"seconds": round(time.monotonic() - started, 1)}


def _find_files(path: Path, class_name: str | None, options: Sequence[str]) -> list[str]:
    """Return the arguments of evaluate for a hand-in: its run, or its network and weights."""
    every = path.rglob("*") if path.is_dir() else path.parent.iterdir()
    files = [f for f in every if path.is_dir() or f.stem == path.stem]
    files = sorted(f for f in files if "/." not in f"/{f.relative_to(path.parent).as_posix()}")
    code = [file for file in files if file.suffix == ".py"]
    runs = [str(file.parent) for file in files if file.name == CONFIG]
    if len(runs) == 1 and not code:
        return runs
    weights = [file for file in files if file.suffix in SUFFIXES]
    if len(weights) != 1:
        names = ", ".join(file.name for file in weights) or "none"
        raise DataError(f"It must have one file of weights ({', '.join(SUFFIXES)}), got {names}.")
    return [find_class(*code, class_name=class_name), "--weights", str(weights[0]), *options]


def _evaluate(options: Sequence[str], folder: Path, timeout: float, memory: float) -> Any:
    command = [sys.executable, "-m", "siglum", "evaluate", *options, "--json", "--device", "cpu"]
    with TemporaryDirectory(prefix="siglum-", ignore_cleanup_errors=True) as home:
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        environment |= {"HOME": home, "TMPDIR": home, "SIGLUM_CACHE": str(cache_dir().resolve())}
        environment |= {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        environment |= {"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        output, errors = Path(home, "output"), Path(home, "errors")
        with output.open("wb") as stdout, errors.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=folder,
                env=environment,
                start_new_session=True,  # a group of processes, to be killed as one
            )
        try:
            if sys.platform == "linux":
                import resource

                for limit in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE):
                    with suppress(OSError, ValueError):  # it has ended, or has a stricter limit
                        resource.prlimit(process.pid, limit, (int(memory * 2**30),) * 2)
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise DataError(f"It took longer than {timeout:g} s.") from None
        finally:
            with suppress(OSError, AttributeError):  # all have ended; Windows has no groups
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()
        if code == 0 and 0 < output.stat().st_size < MAX_OUTPUT:
            return parse_json(output.read_bytes(), "Its output")
        with errors.open("rb") as file:
            file.seek(-min(errors.stat().st_size, TAIL), os.SEEK_END)
            lines = file.read().decode(errors="replace").strip().splitlines()
        reason = lines[-1].removeprefix("siglum: ") if code > 0 and lines else ""
        raise DataError(reason or f"It ended without a result: exit code {code}.")
