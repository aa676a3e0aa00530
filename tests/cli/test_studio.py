"""`siglum studio`, up to where it serves."""

import contextlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from siglum.recogniser import bundle as bundles
from siglum.recogniser.predict import Recogniser
from siglum.studio import server
from siglum.studio.studio import Studio

sys.path.append(str(Path(__file__).resolve().parents[1] / "recogniser"))


@pytest.fixture(scope="module")
def backbone() -> Recogniser:
    from small_backbone import a_backbone

    return a_backbone()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, backbone: Recogniser) -> Path:
    """The small backbone as a file; it is a bundle of 14 classes without samples, too."""
    path = tmp_path_factory.mktemp("backbone") / "small.siglum"
    bundles.save(backbone.bundle, path)
    return path


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Studio]:
    """Studios that would have been served, had somebody not pressed Ctrl-C at once."""
    opened: list[Studio] = []

    class Interrupted:
        def __init__(self, app, address) -> None:
            opened.append(app.state.studio)
            address.listening.close()

        def run(self, sockets: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(server, "serving", Interrupted)
    return opened


def test_a_new_folder_is_made(
    siglum: Callable, tmp_path: Path, file: Path, served: list[Studio]
) -> None:
    done = siglum("studio", "--backbone", file, "--no-browser", cwd=tmp_path)
    said = done.stdout.splitlines()

    assert done.returncode == 0, done.stderr
    assert said[0] == "my-signs: 0 signs, 0 drawings"
    assert said[1].startswith("http://127.0.0.1:") and said[1].endswith("/   Ctrl-C ends it.")
    assert said[2] == "Everything is kept in my-signs."
    assert (tmp_path / "my-signs").is_dir() and len(served) == 1
    assert served[0].title == "my-signs"


def test_a_bundle_becomes_a_folder_beside_it_once(
    siglum: Callable, tmp_path: Path, file: Path, served: list[Studio]
) -> None:
    shutil.copy(file, tmp_path / "greek.siglum")
    (tmp_path / ".greek.new").mkdir()  # left by one that was killed
    (tmp_path / ".greek.new" / "ledger.jsonl").write_text("half")
    flags = ("--backbone", file, "--no-browser")
    first = siglum("studio", tmp_path / "greek.siglum", *flags)
    again = siglum("studio", tmp_path / "greek.siglum", *flags)

    assert first.returncode == again.returncode == 0, first.stderr
    assert first.stdout.splitlines()[:2] == [
        "Took 0 drawings and 14 new signs.",
        f"{tmp_path / 'greek'}: 14 signs, 0 drawings",
    ]
    assert again.stdout.splitlines()[0] == f"{tmp_path / 'greek'}: 14 signs, 0 drawings"
    assert served[0].title == served[1].title == "greek"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["greek", "greek.siglum"]


def test_mistakes_are_said(siglum: Callable, tmp_path: Path, file: Path, signs: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("x")
    shutil.copy(file, tmp_path / "other.siglum")
    (tmp_path / "bad.siglum").write_bytes(b"PK")
    for given, message in {
        "notes.txt": "notes.txt must be a folder of samples or a bundle (.siglum), got another",
        "other": "other must be a folder that the Studio made, or a new one, got one with 'a.txt'",
        "other.siglum": "other must be free, or hold the samples of other.siglum, got something",
        "none.siglum": "none.siglum must be a file that can be read, got 'No such file or",
        "bad.siglum": "file must be a bundle (.siglum) or a zip of drawings, got another kind",
    }.items():
        done = siglum("studio", given, "--backbone", file, "--no-browser", cwd=tmp_path)
        assert done.returncode == 2 and message in done.stderr, done.stderr
    assert not (tmp_path / "bad").exists() and not (tmp_path / ".bad.new").exists()

    done = siglum("studio", signs, "--backbone", file, "--no-browser")
    assert done.returncode == 2 and "zip them in a folder a sign, and open the zip" in done.stderr
    done = siglum("studio", tmp_path / "x", "--backbone", file, "--port", "70000")
    assert done.stderr == "siglum: port must be in [0, 65535], got 70000.\n"
    done = siglum("studio", tmp_path / "x", "--backbone", file, "--host", "203.0.113.7")
    assert done.returncode == 2 and "must be an address of this machine" in done.stderr
    done = siglum("studio", tmp_path / "x", "--backbone", tmp_path / "notes.txt")
    assert done.returncode == 2


def test_a_folder_is_open_once(siglum: Callable, tmp_path: Path, file: Path, backbone) -> None:
    with contextlib.closing(Studio(tmp_path / "my-signs", backbone)):
        done = siglum("studio", tmp_path / "my-signs", "--backbone", file, "--no-browser")

    assert done.returncode == 2
    assert "my-signs must be open in one Studio at a time, got a second one." in done.stderr
