"""Folders of samples: as files, and as a source that every command reads."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import VALUES, png, sign, write_folder
from PIL import Image

from siglum.errors import DataError
from siglum.images import samples, sources
from siglum.images.samples import Sample
from siglum.images.strokes import Drawing, parse, rasterise, to_json

WHEN = "2025-01-31T12:00:00Z"


def drawing(*points: tuple[float, float]) -> Drawing:
    line = [[x, y, 10.0 * place, 0.5] for place, (x, y) in enumerate(points or [(0.2, 0.3)])]
    return parse({"version": 1, "aspect": 1.0, "strokes": [line]})


def sample(
    writer: str = "ada", part: str = "taught", shown: Any = None, when: str = WHEN
) -> Sample:
    return Sample(drawing((0.2, 0.2), (0.7, 0.8)) if shown is None else shown, writer, part, when)


def kept(folder: Path) -> Path:
    """Make a folder what the Studio keeps."""
    folder.mkdir(exist_ok=True)
    (folder / "ledger.jsonl").touch()
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_sample_is_its_strokes_and_its_picture(tmp_path: Path) -> None:
    name = samples.write(tmp_path, sample("Ada Lovelace"), "α")

    assert re.fullmatch("[0-9a-f]{16}", name)
    assert files(tmp_path) == [f"samples/α/{name}.json", f"samples/α/{name}.png"]
    path = samples.stem(tmp_path, "taught", "α", name)
    found = samples.read(path)
    assert isinstance(found.drawing, Drawing)
    assert to_json(found.drawing) == to_json(drawing((0.2, 0.2), (0.7, 0.8)))
    assert (found.writer, found.part, found.when) == ("Ada Lovelace", "taught", WHEN)
    picture = np.asarray(Image.open(path.with_suffix(".png")))
    assert (picture == 255 - rasterise(found.drawing)).all()
    assert picture[0, 0] == 255


def test_a_photo_is_a_sample_without_strokes(tmp_path: Path) -> None:
    grey, colours = sign(70)[None], np.stack([sign(10), sign(20), sign(30)])
    for photo in (grey, colours):
        name = samples.write(tmp_path, sample(shown=photo), "α")
        found = samples.read(samples.stem(tmp_path, "taught", "α", name))

        assert isinstance(found.drawing, np.ndarray) and (found.drawing == photo).all()
        raw = samples.stem(tmp_path, "taught", "α", name).with_suffix(".json").read_text()
        assert json.loads(raw) == {"version": 1, "writer": "ada", "part": "taught", "when": WHEN}


@settings(max_examples=25, deadline=None)
@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80))
def test_a_class_of_any_name_is_found_again(name: str, tmp_path_factory: Any) -> None:
    folder = kept(tmp_path_factory.mktemp("any"))
    samples.write(folder, sample(), name)
    samples.write(folder, sample(), "o")

    assert {found.class_name for found in samples.find(folder)} == {name, "o"}
    assert sources.load(f"folder:{folder}").classes == tuple(sorted({name, "o"}))


def test_every_command_reads_the_folder_with_names_and_writers(tmp_path: Path) -> None:
    folder = kept(tmp_path / "my-signs")
    for name in ("O", "o", "<img src=x>", "a/b", "..", "CON", "אבג", "x" * 300):
        samples.write(folder, sample("ada"), name)
        samples.write(folder, sample("bob"), name)
    samples.write(folder, sample("eve", "quiz"), "O")

    found = sources.load(f"folder:{folder}")

    assert sources.parts(f"folder:{folder}") == ("train", "test")
    names = sorted(["O", "o", "<img src=x>", "a/b", "..", "CON", "אבג", "x" * 300])
    assert found.classes == tuple(names)
    assert found.counts.tolist() == [2] * 8
    assert sorted(found.writers or ()) == ["ada"] * 8 + ["bob"] * 8
    assert found.unreadable == ()
    assert found.originals is not None and found.originals.light.all()
    quiz = sources.load(f"folder:{folder}", "test")
    assert (quiz.classes, quiz.writers, len(quiz)) == (("O",), ("eve",), 1)
    below = sources.load(f"folder:{folder}/samples")
    assert (below.classes, below.writers) == (found.classes, found.writers)
    assert below.fingerprint == found.fingerprint


def test_each_picture_has_its_own_class_and_writer(tmp_path: Path) -> None:
    folder = kept(tmp_path)
    samples.write(folder, sample("ada", shown=drawing((0.1, 0.5), (0.9, 0.5))), "Level")
    samples.write(folder, sample("bob", shown=drawing((0.5, 0.1), (0.5, 0.9))), "Upright")

    found = sources.load(f"folder:{folder}")

    for picture, label, writer in zip(found.images, found.labels, found.writers or (), strict=True):
        rows = int(picture[0].any(axis=1).sum())
        assert (found.classes[label], writer) == (
            ("Level", "ada") if rows < 14 else ("Upright", "bob")
        )


def test_a_folder_without_a_quiz_is_whole(tmp_path: Path) -> None:
    folder = kept(tmp_path)
    message = f"folder:{folder} must hold drawings to learn from, got none yet."
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        sources.load(f"folder:{folder}")

    samples.write(folder, sample(), "α")

    assert sources.parts(f"folder:{folder}") == ("all",)
    assert len(sources.load(f"folder:{folder}", "all")) == 1
    message = f"folder:{folder} must hold drawings to test with, got none yet."
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        sources.load(f"folder:{folder}", "test")


def test_writers_are_known_when_all_are(tmp_path: Path) -> None:
    folder = kept(tmp_path)
    samples.write(folder, sample("ada"), "α")
    assert sources.load(f"folder:{folder}").writers == ("ada",)

    samples.write(folder, sample(""), "α")

    assert sources.load(f"folder:{folder}").writers is None


def test_a_folder_that_a_person_made_is_read_as_it_is(tmp_path: Path) -> None:
    signs = {
        "+o/0.png": png(10),
        "+o/1.png": png(20),
        "100%25/0.png": png(30),
        "100%25/1.png": png(40),
        "100%25/name.txt": b"percent",
        "+o/0.json": b'{"label": 3, "writer": "nobody"}',
        "+o/1.json": b"no JSON",
        "100%25/0.json": b"[" * 100_000,
    }
    root = write_folder(tmp_path / "signs", signs)

    found = sources.load(f"folder:{root}")

    assert found.classes == ("+o", "100%25")
    assert found.images.max(axis=(1, 2, 3)).tolist() == VALUES
    assert found.writers is None and found.unreadable == ()
    assert sources.parts(f"folder:{root}") == ("all",)


def test_a_folder_that_somebody_sent_needs_no_ledger(tmp_path: Path) -> None:
    samples.write(tmp_path, sample("ada"), "O")
    samples.write(tmp_path, sample("bob", "quiz"), "O")

    assert sources.parts(f"folder:{tmp_path}") == ("train", "test")
    assert sources.load(f"folder:{tmp_path}").writers == ("ada",)
    assert sources.load(f"folder:{tmp_path}", "test").writers == ("bob",)


def test_a_class_may_be_called_samples(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "signs", {"samples/0.png": png(10), "quiz/0.png": png(20)})

    assert sources.load(f"folder:{root}").classes == ("quiz", "samples")
    assert sources.parts(f"folder:{root}") == ("all",)


def test_two_folders_of_one_class_become_one(tmp_path: Path) -> None:
    """Who puts a folder of their own beside the Studio's means the same class."""
    folder = kept(tmp_path)
    samples.write(folder, sample(), "O")
    write_folder(folder / "samples", {"O/photo.png": png(10)})

    found = sources.load(f"folder:{folder}")

    assert (found.classes, len(found), found.writers) == (("O",), 2, None)


def test_what_cannot_be_a_sample_is_not_written(tmp_path: Path) -> None:
    empty = parse({"version": 1, "aspect": 1, "strokes": []})
    for wrong, class_name, message in (
        (sample(shown=empty), "α", "drawing must have ink on the pad, got none. Draw inside it."),
        (
            sample(shown=drawing((1.5, 1.5))),
            "α",
            "drawing must have ink on the pad, got none. Draw inside it.",
        ),
        (sample("x" * 101), "α", "writer must have 1 to 100 characters, got 101."),
        (sample("\udc80"), "α", "writer must be text, got half a character in '\\udc80'."),
        (sample(part="../test"), "α", "part must be taught or quiz, got '../test'."),
        (sample(when=""), "α", "when must have 1 to 100 characters, got 0."),
        (sample(), "", "class must have 1 to 1,000 characters, got 0."),
    ):
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            samples.write(tmp_path, wrong, class_name)
    with pytest.raises(DataError, match="^sample must be named by 16 hexadecimal digits, got '../"):
        samples.write(tmp_path, sample(), "α", "../../../../etc/x")
    assert files(tmp_path) == []


def test_a_sample_is_never_overwritten(tmp_path: Path) -> None:
    name = samples.write(tmp_path, sample("ada"), "α", "0123456789abcdef")
    before = {file: (tmp_path / file).read_bytes() for file in files(tmp_path)}

    message = (
        f"{tmp_path} must be a folder that can be written, got 'the file exists already'. "
        "Make room, or choose another."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        samples.write(tmp_path, sample("bob", shown=drawing((0.9, 0.9))), "α", name)

    assert {file: (tmp_path / file).read_bytes() for file in files(tmp_path)} == before


WHOLE: dict[str, Any] = {
    "version": 1,
    "writer": "ada",
    "part": "taught",
    "when": WHEN,
    "aspect": 1,
    "strokes": [[[0.5, 0.5, 0, 0.5]]],
}


@pytest.mark.parametrize(
    "raw, message",
    [
        (b"", "x.json must be JSON, got Expecting value: line 1 column 1 (char 0)."),
        (b"[" * 100_000, "x.json must be JSON, got lists within lists too deep."),
        (b" " * (4 * 2**20 + 1), "x.json must have at most 4,194,304 bytes, got more."),
        (b"[]", "x.json must hold a sample: it must be a table, got list."),
        (
            json.dumps(WHOLE | {"writer": ["ada"]}).encode(),
            "x.json must hold a sample: writer must be text, got list.",
        ),
        (
            json.dumps(WHOLE | {"part": "test"}).encode(),
            "x.json must hold a sample: part must be taught or quiz, got 'test'.",
        ),
        (
            json.dumps(WHOLE | {"aspect": float("nan")}).encode(),
            "x.json must hold a sample: aspect must be a number in [0.25, 4], got nan.",
        ),
        (
            json.dumps(WHOLE | {"open": "/etc/passwd"}).encode(),
            "x.json must hold a sample: drawing must have aspect, strokes and version only, "
            "got ['aspect', 'open', 'strokes', 'version'].",
        ),
    ],
)
def test_a_file_from_elsewhere_is_not_trusted(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(raw)

    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        samples.read(tmp_path / "x")


def test_a_sample_that_is_not_there_is_told(tmp_path: Path) -> None:
    message = "x.json must be a file that can be read: No such file or directory."
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        samples.read(tmp_path / "x")


def test_a_move_takes_both_files_and_the_name(tmp_path: Path) -> None:
    name = samples.write(tmp_path, sample(), "O")
    source = samples.stem(tmp_path, "taught", "O", name)
    target = samples.stem(tmp_path, "taught", "Ω", name)

    samples.move(source, target, "Ω")
    samples.close(source.parent)

    assert [found.class_name for found in samples.find(tmp_path)] == ["Ω"]
    assert files(tmp_path) == [
        f"samples/+ω/{name}.json",
        f"samples/+ω/{name}.png",
        "samples/+ω/name.txt",
    ]
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["+ω"]


def test_a_folder_with_somebody_elses_file_is_not_removed(tmp_path: Path) -> None:
    write_folder(tmp_path, {"samples/α/notes.txt": b"mine"})

    samples.close(tmp_path / "samples" / "α")

    assert files(tmp_path) == ["samples/α/notes.txt"]


@pytest.mark.parametrize("moved", [".json", ".png"])
def test_an_interrupted_move_is_ended(tmp_path: Path, moved: str) -> None:
    name = samples.write(tmp_path, sample(), "O")
    source = samples.stem(tmp_path, "taught", "O", name)
    target = samples.stem(tmp_path, "quiz", "α", name)
    target.parent.mkdir(parents=True)
    shutil.move(source.with_suffix(moved), target.with_suffix(moved))

    (found,) = samples.find(tmp_path)

    assert found.path == (target if moved == ".json" else source)
    assert samples.read(found.path).writer == "ada" and found.path.with_suffix(".png").exists()
    assert samples.find(tmp_path) == [found]


def test_half_a_picture_makes_room_for_the_whole(tmp_path: Path) -> None:
    """It was put away; the same drawing was sent again, and is removed now."""
    name = "0123456789abcdef"
    half = tmp_path / "samples" / "α" / f"{name}.png"
    half.parent.mkdir(parents=True)
    half.write_bytes(png(1))
    assert samples.find(tmp_path) == []
    samples.write(tmp_path, sample(), "α", name)
    whole = half.read_bytes()
    source, target = (
        samples.stem(tmp_path, "taught", "α", name),
        samples.removed_stem(tmp_path, name),
    )

    samples.move(source, target, None)

    assert files(tmp_path) == [f"removed/{name}.json", f"removed/{name}.png"]
    assert target.with_suffix(".png").read_bytes() == whole


def test_two_halves_without_facts_are_no_sample(tmp_path: Path) -> None:
    name = "0123456789abcdef"
    for folder in ("samples/α", "removed"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"{name}.png").write_bytes(png(1))

    assert samples.find(tmp_path) == []
    assert files(tmp_path) == [f"removed/{name}.png"]


@pytest.mark.parametrize("damage", [None, b"", b"my-signs", b"\xff" * 16])
def test_a_folder_keeps_its_random_name(tmp_path: Path, damage: bytes | None) -> None:
    name = samples.identity(tmp_path)

    assert samples.NAME.fullmatch(name) and samples.identity(tmp_path) == name
    if damage is not None:
        (tmp_path / ".id").write_bytes(damage)
        assert samples.identity(tmp_path) not in (name, damage.decode("latin-1"))
    assert samples.identity(tmp_path) == (tmp_path / ".id").read_text()


def test_what_an_interrupted_write_left_is_no_sample(tmp_path: Path) -> None:
    name = samples.write(tmp_path, sample(), "α")
    half = tmp_path / "samples" / "α" / "0000000000000000.png"
    half.write_bytes(png(1))
    (tmp_path / "samples" / "α" / ".1111111111111111.json.ab.new").write_bytes(b"{")
    (tmp_path / "samples" / "α" / "photo.png").write_bytes(png(2))

    assert [found.path.name for found in samples.find(tmp_path)] == [name]
    assert files(tmp_path) == sorted(
        [
            "removed/0000000000000000.png",
            f"samples/α/{name}.json",
            f"samples/α/{name}.png",
            "samples/α/photo.png",
        ]
    )
