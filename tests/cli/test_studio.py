"""`siglum studio`, up to the point where it serves."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import uvicorn

from siglum.recogniser import bundle as bundles
from siglum.recogniser.predict import Recogniser
from siglum.studio.state import Studio

sys.path += [str(Path(__file__).resolve().parents[1] / name) for name in ("recogniser", "studio")]


@pytest.fixture(scope="module")
def backbone() -> Recogniser:
    from small_backbone import a_backbone

    return a_backbone()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, backbone: Recogniser) -> Path:
    """The small backbone as a file, which is a bundle of 14 classes without drawings too."""
    path = tmp_path_factory.mktemp("backbone") / "small.siglum"
    bundles.save(backbone.bundle, path)
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


def test_a_new_set_is_created(studio: Callable, tmp_path: Path) -> None:
    done = studio()
    lines = done.stdout.splitlines()

    assert done.returncode == 0, done.stderr
    assert lines[0] == "my-signs: 0 signs, 0 drawings"
    assert lines[1].startswith("http://127.0.0.1:") and lines[1].endswith(
        "/   Press Ctrl-C to stop."
    )
    assert lines[2] == "Everything is saved in my-signs."
    assert (tmp_path / "my-signs" / "signs.db").is_file()


def test_a_bundle_becomes_a_set_beside_it_once(
    studio: Callable, tmp_path: Path, file: Path
) -> None:
    shutil.copy(file, tmp_path / "greek.siglum")
    first, again = studio("greek.siglum"), studio("greek.siglum")

    assert first.returncode == again.returncode == 0, first.stderr
    assert first.stdout.splitlines()[:2] == [
        "Imported 0 drawings and 14 new signs.",
        "greek: 14 signs, 0 drawings",
    ]
    assert again.stdout.splitlines()[0] == "greek: 14 signs, 0 drawings"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["greek", "greek.siglum"]


def test_a_folder_of_images_becomes_a_set_beside_it(
    studio: Callable, tmp_path: Path, signs: Path
) -> None:
    shutil.copytree(signs, tmp_path / "photos")
    before = sorted(tmp_path.rglob("photos/**/*"))
    done = studio("photos")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Imported ") and "photos-signs: " in done.stdout
    assert sorted(tmp_path.rglob("photos/**/*")) == before
    assert studio("photos").stdout.startswith("photos-signs: ")


def test_mistakes_are_explained(studio: Callable, tmp_path: Path, file: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("x")
    shutil.copy(file, tmp_path / "other.siglum")
    (tmp_path / "bad.siglum").write_bytes(b"PK")
    for arguments, message in {
        ("notes.txt",): "Choose a .siglum file or a .zip of images.",
        ("other",): "other has no images in class folders",
        ("other.siglum",): "other is in the way. Rename it, or other.siglum.",
        ("none.siglum",): "No such file: none.siglum.",
        ("bad.siglum",): "Choose a .siglum file or a .zip of images.",
        ("x", "--port", "70000"): "port must be in [0, 65535], got 70000.",
        ("x", "--host", "203.0.113.7"): "Cannot listen at '203.0.113.7'",
    }.items():
        done = studio(*arguments)
        assert done.returncode == 2 and message in done.stderr, done.stderr
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"other", "x"}


def test_a_set_is_open_once(studio: Callable, tmp_path: Path, backbone: Recogniser) -> None:
    with closing(Studio(tmp_path / "my-signs", backbone)):
        done = studio("my-signs")

    assert done.returncode == 2
    assert done.stderr == (
        "siglum: my-signs is open in another Studio. Use its page, or end it with Ctrl-C.\n"
    )


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
