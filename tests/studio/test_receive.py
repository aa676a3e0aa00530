"""What was taken along can be taken in again, and hostile files do no harm."""

import io
import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_backbone import printed
from visiting import drawing_of

from siglum.errors import ConfigError, DataError
from siglum.images import class_folders, strokes
from siglum.images.ink import normalise
from siglum.images.samples import Sample
from siglum.recogniser import bundle as bundles
from siglum.recogniser.predict import load
from siglum.studio import studio as studio_module
from siglum.studio import take
from siglum.studio.changes import AddClass, MoveDrawings, RemoveDrawings, RenameClass
from siglum.studio.receive import Given, Job, _taken, as_picture, receive
from siglum.studio.studio import Conflict, Studio

NAMES = ("o", "O", "a/b", "..", "אב", "<img src=x>", "CON")
KINDS = ("ring", "cross", "stroke")


def draw(
    studio: Studio, name: str, seed: int = 0, part: str = "taught", writer: str = "Ann"
) -> str:
    drawing = strokes.parse(drawing_of(KINDS[seed % 3], seed))
    return studio.draw(drawing, name, writer, part)[0]


def filled(folder: Path, backbone, names: tuple[str, ...] = NAMES) -> Studio:
    """A Studio with two drawings and a test of each class."""
    studio = Studio(folder, backbone)
    for number, name in enumerate(names):
        studio.record(AddClass(name))
        draw(studio, name, 3 * number)
        draw(studio, name, 3 * number + 1)
        draw(studio, name, 3 * number + 2, "quiz", "Bob")
    return studio


def contents(studio: Studio) -> list[tuple[str, str, str, str]]:
    """What there is, whatever the drawings are called."""
    now = studio.current
    return sorted(
        (entry.class_name, entry.part, entry.writer, now.seen[name].ink.tobytes().hex())
        for name, entry in now.state.drawings.items()
    )


def zip_of(studio: Studio) -> bytes:
    with take.zipped(studio, studio.current) as file:
        return file.read()


def test_drawings_travel_in_a_zip(tmp_path: Path, backbone) -> None:
    with (
        closing(filled(tmp_path / "one", backbone)) as one,
        closing(Studio(tmp_path / "two", backbone)) as two,
    ):
        names = list(one.current.state.drawings)
        one.record(MoveDrawings((names[0],), "O"))
        one.record(RemoveDrawings((names[1],)))
        raw = zip_of(one)
        now, (said, _) = receive(two, raw, "", Job())

        assert contents(two) == contents(one)
        assert set(now.state.classes) == set(NAMES)
        assert said == ["Took 20 drawings and 7 new signs."]
        again, (said, _) = receive(two, raw, "", Job())
        assert len(again.state.drawings) == 20
        assert said == [
            "Took 0 drawings and 0 new signs.",
            "20 drawings more: here already, to the pixel.",
        ]


def test_a_zip_of_the_folder_itself_has_what_counts(tmp_path: Path, backbone) -> None:
    """What was removed is no class; a class that is called so is one."""
    with (
        closing(filled(tmp_path / "one", backbone, ("o", "removed"))) as one,
        closing(Studio(tmp_path / "two", backbone)) as two,
    ):
        names = list(one.current.state.drawings)
        one.record(RemoveDrawings(tuple(names[:2])))
        for top in (tmp_path, tmp_path / "one"):
            shutil.make_archive(
                str(tmp_path / "all"), "zip", top, "one" if top == tmp_path else "."
            )
            receive(two, (tmp_path / "all.zip").read_bytes(), "", Job())

            assert two.current.state.classes == ("removed", "o")
            assert contents(two) == contents(one)


def test_drawings_that_are_moved_meanwhile_are_in_the_zip(tmp_path: Path, backbone) -> None:
    done = threading.Event()
    with closing(filled(tmp_path / "one", backbone, ("a", "b"))) as one:

        def rename() -> None:
            while not done.is_set():
                for old, new in (("a", "c"), ("c", "a")):
                    one.note(RenameClass(old, new))

        renaming = threading.Thread(target=rename)
        renaming.start()
        try:
            for _ in range(30):
                with zipfile.ZipFile(io.BytesIO(zip_of(one))) as archive:
                    assert sum(name.endswith(".png") for name in archive.namelist()) == 6
        finally:
            done.set()
            renaming.join()
        gone = next(iter(one.current.state.drawings))
        one.ledger.path(gone).with_suffix(".json").unlink()
        with pytest.raises(DataError, match=f"{gone}.json must be a file that can be read"):
            zip_of(one)


def test_a_bundle_with_too_many_classes_changes_nothing(
    tmp_path: Path, backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio_module, "MOST_CLASSES", len(backbone.classes))
    with closing(Studio(tmp_path / "two", backbone)) as two:
        two.record(AddClass("one of my own"))
        with pytest.raises(ConfigError, match="classes must be at most 14, got 1 and 14 more"):
            receive(two, bundles.encode(backbone.bundle), "", Job())
        assert two.ledger.state.classes == two.current.state.classes == ("one of my own",)


def test_what_was_taken_before_a_failure_is_learned(tmp_path: Path, backbone) -> None:
    def given() -> Iterator[Given]:
        yield Given("1", "a", Sample(strokes.parse(drawing_of("ring")), "", "taught", ""))
        raise OSError("the disk has gone")

    with closing(Studio(tmp_path / "two", backbone)) as two:
        with pytest.raises(OSError, match="the disk has gone"):
            _taken(two, (), given(), "", Job())
        assert len(two.current.state.drawings) == 1


def test_an_unpacked_zip_is_a_folder_to_open(tmp_path: Path, backbone) -> None:
    with closing(filled(tmp_path / "one", backbone)) as one:
        wanted = contents(one)
        zipfile.ZipFile(io.BytesIO(zip_of(one))).extractall(tmp_path / "unpacked")
    with closing(Studio(tmp_path / "unpacked", backbone)) as two:
        assert contents(two) == wanted


def test_a_recogniser_travels_as_a_bundle(tmp_path: Path, backbone) -> None:
    names = ("a", "b", "a sign of my own")
    with (
        closing(filled(tmp_path / "one", backbone, names)) as one,
        closing(Studio(tmp_path / "two", backbone)) as two,
    ):
        (tmp_path / "one.siglum").write_bytes(take.bundle(one.current))
        opened = load(tmp_path / "one.siglum")
        now, (said, _) = receive(two, (tmp_path / "one.siglum").read_bytes(), "", Job())

        assert opened.classes == names == now.state.classes
        assert opened.bundle.card.title == "3 signs: a b a sign of my own"
        assert said == ["Took 6 drawings and 3 new signs."]
        assert opened.bundle.samples is not None and len(opened.bundle.samples.labels) == 6
        assert [entry.part for entry in now.state.drawings.values()] == ["taught"] * 6
        there = [one.current.seen[name].ink for name in one.current.rows]
        here = [two.current.seen[name].ink for name in two.current.rows]
        for first, second in zip(there, here, strict=True):
            a, b = first.ravel().astype(float), second.ravel().astype(float)
            assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.9


def test_a_bundle_without_samples_brings_its_classes(tmp_path: Path, backbone) -> None:
    raw = bundles.encode(backbone.bundle)
    with closing(Studio(tmp_path / "two", backbone)) as two:
        now, (said, _) = receive(two, raw, "", Job())

    assert now.state.classes == backbone.classes and now.taught is not None
    assert said == ["Took 0 drawings and 14 new signs."]


def test_a_changed_bundle_is_refused(tmp_path: Path, backbone) -> None:
    raw = bytearray(bundles.encode(backbone.bundle))
    raw[len(raw) // 2] ^= 1
    with (
        closing(Studio(tmp_path / "two", backbone)) as two,
        pytest.raises(DataError, match="the bundle"),
    ):
        receive(two, bytes(raw), "", Job())
    assert not two.current.state.classes


@pytest.mark.parametrize("place", [[0.6, 0.6, 0.5], [0.2, 0.2, 0.8], [np.nan] * 3, [1, 1, 0.5]])
def test_a_picture_of_ink_is_read_as_that_ink(place: list[float]) -> None:
    drawing = strokes.parse(drawing_of("cross"))
    ink, _ = normalise(strokes.rasterise(drawing), 40)
    again, found = normalise(as_picture(ink, np.array(place, np.float32)), 40)

    a, b = ink.ravel().astype(float), again.ravel().astype(float)
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.85
    if np.isfinite(place).all() and max(place) < 1:
        assert [found.height, found.position] == pytest.approx([place[0], place[2]], abs=0.03)


def picture(number: int = 0) -> bytes:
    """A photo of print."""
    file = io.BytesIO()
    Image.fromarray(255 - np.kron(printed()[number], np.ones((9, 9), np.uint8))).save(file, "PNG")
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return file.getvalue()


def test_pictures_in_a_folder_a_class_are_taken(tmp_path: Path, backbone) -> None:
    raw = zipped(
        {
            "signs/a/1.png": picture(0),
            "signs/a/2.PNG": picture(1),
            "signs\\b\\1.png": picture(2),
            "signs/b/notes.txt": b"x",
            "__MACOSX/signs/a/1.png": b"x",
            "signs/a/.hidden.png": b"x",
            "top.png": picture(),
        }
    )
    with closing(Studio(tmp_path / "two", backbone)) as two:
        now, _ = receive(two, raw, "", Job())

    assert now.state.classes == ("a", "b")
    assert [entry.class_name for entry in now.state.drawings.values()] == ["a", "a", "b"]


def test_names_that_climb_lead_nowhere(tmp_path: Path, backbone) -> None:
    """Nothing is written but below the folder."""
    raw = zipped(
        {
            "../../../evil/1.png": picture(0),
            "/etc/evil/1.png": picture(1),
            "C:\\evil\\1.png": picture(2),
            "samples/../0123456789abcdef.png": picture(3),
            "a\x01b/1.png": picture(4),
        }
    )
    with closing(Studio(tmp_path / "two" / "my-signs", backbone)) as two:
        now, (said, _) = receive(two, raw, "", Job())

    assert now.state.classes == ("evil",) and len(now.state.drawings) == 2
    reason = "class must be text on one line, got U+0001 in it."
    assert said[1] == f"1 drawing could not be taken: 1: {reason}"
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["my-signs"]


BAD = {
    "no picture": b"x",
    "25 million pixels and more": picture()[:16] + (5_001).to_bytes(4, "big") * 2 + picture()[24:],
    "a bomb": picture()[:16] + (30_000).to_bytes(4, "big") * 2 + picture()[24:],
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_said_and_the_rest_is_taken(
    tmp_path: Path, backbone, raw: bytes
) -> None:
    with closing(Studio(tmp_path / "two", backbone)) as two:
        now, (said, _) = receive(two, zipped({"a/1.png": raw, "a/2.png": picture()}), "", Job())

    assert len(now.state.drawings) == 1
    assert said[0] == "Took 1 drawing and 1 new sign."
    assert said[1].startswith("1 drawing could not be taken: 1: it ")


FACTS = {
    "no JSON": b"{",
    "deep": b"[" * 100_000,
    "points as text": json.dumps(drawing_of("ring") | {"strokes": [[["0", 0, 0, 0]]]}).encode(),
    "a list": b"[]",
    "another writer": json.dumps(
        drawing_of("ring") | {"writer": 5, "part": "taught", "when": "now"}
    ).encode(),
    "another part": json.dumps(
        drawing_of("ring") | {"writer": "", "part": "../..", "when": "now"}
    ).encode(),
}


@pytest.mark.parametrize("raw", FACTS.values(), ids=FACTS)
def test_bad_facts_about_a_drawing_are_refused(tmp_path: Path, backbone, raw: bytes) -> None:
    members = {"samples/a/0123456789abcdef.png": picture()}
    members["samples/a/0123456789abcdef.json"] = raw
    with closing(Studio(tmp_path / "two", backbone)) as two:
        now, (said, _) = receive(two, zipped(members), "", Job())

    assert not now.state.drawings and not now.state.classes
    assert "1 drawing could not be taken: 0123456789abcdef: " in said[1]


def test_a_name_beside_a_folder_is_believed_where_it_fits(tmp_path: Path, backbone) -> None:
    folder = class_folders.folder_of("a/B")
    members = {
        f"samples/{folder}/name.txt": b"a/B",
        f"samples/{folder}/1.png": picture(0),
        "samples/plain/name.txt": b"something else",
        "samples/plain/1.png": picture(1),
    }
    with closing(Studio(tmp_path / "two", backbone)) as two:
        now, _ = receive(two, zipped(members), "", Job())

    assert now.state.classes == ("a/B", "plain")


def test_one_file_at_a_time_and_it_can_be_cancelled(tmp_path: Path, backbone) -> None:
    raw = zipped({f"a/{number}.png": picture(number) for number in range(14)})
    job = Job()
    with closing(Studio(tmp_path / "two", backbone)) as two:
        said: list[str] = []
        thread = threading.Thread(target=lambda: said.extend(receive(two, raw, "", job)[1].said))
        thread.start()
        while not two.ledger.state.drawings:
            pass
        with pytest.raises(Conflict, match="one file must be taken in at a time"):
            receive(two, raw, "", job)
        job.cancelled.set()
        thread.join()
        taken = len(two.current.state.drawings)

    assert 0 < taken < 14
    assert said[0].startswith(f"Took {taken} drawing")
    assert said[1] == "It was cancelled; what was taken until then is kept."


def test_a_zip_that_lists_too_many_files_is_refused_before_it_is_read(
    tmp_path: Path, backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("siglum.studio.receive.MOST_MEMBERS", 3)
    raw = zipped({f"a/{number}.png": b"" for number in range(4)})
    with (
        closing(Studio(tmp_path / "two", backbone)) as two,
        pytest.raises(DataError, match="zip must hold at most 3 files, got 4. Send a part of it."),
    ):
        receive(two, raw, "", Job())


def test_the_drawings_that_came_with_a_file_are_named(tmp_path: Path, backbone) -> None:
    with (
        closing(filled(tmp_path / "one", backbone, ("o", "x"))) as one,
        closing(Studio(tmp_path / "two", backbone)) as two,
    ):
        now, taken = receive(two, zip_of(one), "", Job())

        assert len(taken.samples) == 6 and set(taken.samples) == set(now.state.drawings)
