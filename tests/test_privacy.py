"""Nothing leaves the machine, and no file appears outside the output and Siglum's own cache."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from siglum import teach

COMMANDS = {
    "teach": ("teach", "--chars", "αβγ", "-o", "work/new.siglum"),
    "predict": ("predict", "work/greek.siglum", "work/image.png"),
    "train": ("train", "folder:signs", "--epochs", "1", "--threads", "1", "-o", "work/run"),
    "studio": ("studio", "work/set", "--no-browser", "--port", "0"),
}
OURS = ("work/", "signs/", ".cache/siglum/")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, signs: Path) -> Path:
    """A home folder with a taught bundle, an image and labelled images in it."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(signs, home / "signs")
    (home / "work").mkdir()
    shutil.copy(next(signs.rglob("*.png")), home / "work" / "image.png")
    teach("αβγ").save(home / "work" / "greek.siglum")
    return home


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_leaves_a_trace_or_calls_out(name: str, home: Path, tmp_path: Path) -> None:
    """`CI` and `GITHUB_ACTIONS` would silence what some libraries send; they are unset here."""
    keep, trace = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT"), tmp_path / "trace"
    environment = {name: os.environ[name] for name in keep if name in os.environ}
    environment |= {"HOME": str(home), "TMPDIR": str(home / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    (home / "tmp").mkdir(exist_ok=True)
    command = [sys.executable, "-u", "-m", "siglum", *COMMANDS[name]]
    if shutil.which("strace"):
        command = f"strace -f -qq -e trace=connect,sendto -o {trace}".split() + command
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = subprocess.Popen(command, env=environment, cwd=home, start_new_session=True, **pipes)
    try:
        if name == "studio":
            while "http://127.0.0.1:" not in (line := started.stdout.readline()):
                assert line, "the Studio ended before it served"
        else:
            _, error = started.communicate(timeout=300)
            assert started.returncode == 0, error
        files = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()

    assert not {file for file in files if not file.startswith(OURS)}
    if trace.exists():
        calls = re.findall(r"sa_family=AF_INET6?, (.*)\}", trace.read_text())
        assert not [call for call in calls if '"127.0.0.1"' not in call and '"::1"' not in call]


def test_siglum_switches_off_reports_before_onnxruntime_is_imported() -> None:
    """Whoever imports it: torch's exporter and a notebook read the same variable."""
    program = (
        "import os, sys; os.environ['ORT_DISABLE_TELEMETRY'] = '0'; import siglum;"
        "print('onnxruntime' in sys.modules, os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.split() == ["False", "1"], done.stderr
