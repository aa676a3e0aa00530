"""`siglum studio` and `siglum serve`, up to the point where they serve."""

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import uvicorn

from siglum.recogniser import bundle as bundles
from siglum.studio.store import Store

sys.path.append(str(Path(__file__).resolve().parents[1] / "recogniser"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small backbone as a file, which is a bundle of 14 classes without drawings too."""
    from small_bundles import a_backbone

    path = tmp_path_factory.mktemp("backbone") / "small.siglum"
    bundles.save(a_backbone().bundle, path)
    return path


@pytest.fixture
def studio(
    siglum: Callable, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable:
    """`siglum studio`, stopped by Ctrl-C as soon as it serves."""

    def interrupt(server: uvicorn.Server, sockets: list) -> None:
        sockets[0].close()
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", interrupt)
    return lambda *rest: siglum("studio", *rest, "--backbone", file, "--no-browser", cwd=tmp_path)


def test_a_new_set_is_created_and_takes_a_free_port(
    studio: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr("siglum.cli.studio.PORT", other.getsockname()[1])
        done = studio()
    lines = done.stdout.splitlines()

    assert done.returncode == 0, done.stderr
    assert lines[0] == "my-signs: 0 signs, 0 drawings"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/   Press Ctrl-C to stop\.", lines[1])
    assert lines[2] == "Everything is saved in my-signs."
    assert (tmp_path / "my-signs" / "signs.db").is_file()


def test_a_bundle_or_a_folder_of_images_becomes_a_set_beside_it_once(
    studio: Callable, tmp_path: Path, file: Path, signs: Path
) -> None:
    shutil.copy(file, tmp_path / "greek.siglum")
    shutil.copytree(signs, tmp_path / "photos")
    before = sorted(tmp_path.rglob("photos/**/*"))
    for source, folder, size in (
        ("greek.siglum", "greek", "14 signs, 0 drawings"),
        ("photos", "photos-signs", "3 signs, 72 drawings"),
    ):
        first, again = studio(source), studio(source)
        assert first.returncode == again.returncode == 0, first.stderr
        assert first.stdout.startswith("Imported ")
        assert f"\n{folder}: {size}\n" in first.stdout
        assert again.stdout.startswith(f"{folder}: {size}\n")
    assert sorted(tmp_path.rglob("photos/**/*")) == before


def test_suspects_are_reviewed_and_the_decisions_trained_on(
    studio: Callable, siglum: Callable, run: Path, later_signs: Path, tmp_path: Path
) -> None:
    """One of three planted labels is corrected, one image deleted, one label kept."""
    shutil.copytree(later_signs, tmp_path / "planted")
    for image in sorted((tmp_path / "planted" / "ring").iterdir())[:3]:
        shutil.move(image, tmp_path / "planted" / "cross" / f"ring-{image.name}")
    flags = ("folder:planted", "-o", "issues.csv")
    assert siglum("label-issues", run, *flags, cwd=tmp_path).returncode == 0
    assert studio("issues.csv").stdout.startswith("3 suspects: see Review.\nissues: 3 signs, 3 ")
    with closing(Store(tmp_path / "issues")) as store:
        ids, ring = (
            [*store.state.drawings],
            {n: id for id, n in store.state.classes.items()}["ring"],
        )
        for id, label in zip(ids, (ring, None, store.state.drawings[ids[2]].label), strict=True):
            store.move_drawings([id], label)

    done = studio("issues.csv")
    counted = siglum("data", "issues-corrected.csv", cwd=tmp_path).stdout.split()

    assert "issues-corrected.csv: 1 label corrected, 1 left out. Train with: siglum" in done.stdout
    assert counted[-6:] == ["cross", "11", "ring", "8", "stroke", "10"]


def test_a_set_is_open_once(studio: Callable, tmp_path: Path) -> None:
    with closing(Store(tmp_path / "my-signs")):
        done = studio("my-signs")

    assert done.returncode == 2 and "my-signs is open in another Studio." in done.stderr


def test_the_studio_uses_one_blas_thread_and_nothing_heavy() -> None:
    """numpy reads the variable when it is imported, so the command must come first."""
    code = (
        "import os, sys, siglum.cli.studio; early = 'numpy' in sys.modules;"
        "import siglum.studio.app;"
        "heavy = {'torch', 'scipy', 'sklearn', 'matplotlib', 'siglum.lab', 'siglum.report'};"
        "print(early, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout.strip() == "False []", done.stderr


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (["none.siglum"], "Cannot read none.siglum: no such file."),
        (["folder"], "Cannot read folder: not a file."),
        (["text.siglum"], "text.siglum"),
        (["small.siglum", "--port", "70000"], "Must be <= 65535."),
        (["small.siglum", "--host", "203.0.113.7"], "Cannot listen at '203.0.113.7'"),
        ([], "siglum serve --help"),
    ],
)
def test_serve_explains_errors(siglum: Callable, file: Path, rest: list[str], message: str) -> None:
    (file.parent / "folder").mkdir(exist_ok=True)
    (file.parent / "text.siglum").write_text("hello")
    done = siglum("serve", *rest, cwd=file.parent)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_serve_prints_its_token_or_takes_one(
    studio: Callable, siglum: Callable, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(token: str | None) -> subprocess.CompletedProcess[str]:
        if token is not None:
            monkeypatch.setenv("SIGLUM_TOKEN", token)
        return siglum("serve", file.name, "--host", "0.0.0.0", "--port", 0, cwd=file.parent)

    printed, chosen, short = serve(None), serve("correct-horse-battery"), serve("short")

    assert re.search(r"Authorization: Bearer \S{32}\nhttp://\S+/docs ", printed.stdout)
    assert chosen.stdout.startswith("http://")
    assert short.returncode == 2 and "short" not in short.stderr.replace("SIGLUM_TOKEN", "")
